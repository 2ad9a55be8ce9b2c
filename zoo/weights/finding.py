"""Weights of a network: the registered ones, and files and folders of every layout."""

import os
from pathlib import Path

from resnet_keras.errors import InputError

from .. import entries, networks
from ..entry import Preprocessing, WeightsEntry
from ..network import Network
from . import (
    densenets,
    download,
    foreign,
    formats,
    kerashub,
    layouts,
    own,
    preacts,
    provenance,
    record,
    wrappers,
)
from .file import WeightsFile


def find(
    name: str | os.PathLike,
    weights: str | os.PathLike | None,
    weights_dir: str | os.PathLike | None = None,
) -> tuple[Network, WeightsFile | None]:
    """Finds a network and opens its weights, downloading a registered file on first use.

    Args:
        name: of a network, or a folder that has weights, of `zoo.save` or of a run of `train`;
            a folder that is called as a network is `./resnet50` or a `Path`.
        weights: a registered tag, the path of a file or of such a folder, or None.
        weights_dir: a folder in which registered files are looked for instead of at their address.

    Raises:
        InputError: unknown name, weights that are not there, do not match their checksum, or are
            not the network's.
    """
    if own.is_published(name):
        if weights is not None:
            raise InputError(f"{name} has its own weights: leave weights={str(weights)!r} out.")
        file = own.read_published(name)
        return networks.find(file.model), file
    run = own.of_run(name)
    if run is not None:
        if weights is not None:
            raise InputError(
                f"{name} has its own weights: leave weights={str(weights)!r} out, or give one of "
                f"its files as `weights` of the network {own.model_in(run)}."
            )
        network = networks.find(own.model_in(run))
        return network, read(run, network)
    if not networks.is_name(name) and Path(str(name)).is_dir():
        raise foreign.folder(Path(name))
    if not networks.is_name(name) and Path(str(name)).is_file():
        raise InputError(f"{name} is a file: give it as `weights` of its network.")
    if isinstance(name, os.PathLike) or (isinstance(name, str) and os.sep in name):
        raise InputError(f"There is no folder {name}: name a network, or a folder of zoo.save.")
    network = networks.find(name)
    if weights is None:
        return network, None
    entry = entries.find(network.name, str(weights))
    return network, read(resolve(network.name, weights, weights_dir), network, entry)


def resolve(
    model: str, weights: str | os.PathLike, weights_dir: str | os.PathLike | None = None
) -> Path:
    """Returns the file of a registered tag of `model`, fetched and verified, or of a path."""
    entry = entries.find(model, str(weights))
    if entry is not None:
        return download.fetch(entry, weights_dir)
    path = Path(weights).expanduser()
    if own.is_published(path):
        return path / own.TENSORS
    if path.is_file():
        return path
    if path.is_dir():
        if kerashub.is_preset(path):
            return path / kerashub.BACKBONE
        run = own.of_run(path)
        if run is None:
            raise foreign.folder(path)
        return run
    if os.sep in str(weights) or path.suffix:
        raise InputError(f"There is no weights file {weights}.")
    if not entries.of_model(model):
        raise InputError(
            f"{model} has no registered weights; give weights=None or the path of a file, not "
            f"{str(weights)!r}."
        )
    raise entries.no_such(model, str(weights))


def read(
    path: str | os.PathLike, network: Network, entry: WeightsEntry | None = None
) -> WeightsFile:
    """Opens a file of any layout as weights of a network.

    Args:
        path: of the file.
        network: that it is read for.
        entry: of a registered tag; without, the file's name and hash may tell it, or what timm
            writes beside its weights how images are shown.

    Raises:
        InputError: names the file and what is wrong with it.
    """
    path = Path(path)
    opened = formats.open_file(path)
    if own.FORMAT in opened.metadata:
        file = own.read(path, opened, network)
    else:
        file = _foreign(path, opened, network)
    if entry is not None:
        return _registered(file, entry)
    if file.layout == layouts.KERAS_HUB:
        return _with_converter(file)
    entry = provenance.registered(path, file.layout, network)
    file = file if entry is None else _registered(file, entry)
    return _with_timm_config(file) if file.layout == layouts.TORCH else file


def _registered(file, entry):
    """The file with what its entry says."""
    said = {**file.defaults, **entry.options}
    if entry.mean is not None:
        said |= {"mean": entry.mean, "std": entry.std}
    names = entry.class_names
    classes = file.options.get("num_classes")  # of a file by its name, the head may be another
    return file._replace(
        options={**said, **file.options},
        defaults={},
        preprocessing=entry.preprocessing,
        class_names=names if names and len(names) == classes else file.class_names,
        entry=entry,
        assumed="",
    )


def _with_converter(file):
    """The file with what the image converter of a KerasHub preset says of its images."""
    converter = kerashub.converter(file.path)
    if converter is None:
        return file
    return file._replace(
        options={**file.options, "mean": converter.mean, "std": converter.std},
        preprocessing=converter.preprocessing or file.preprocessing,
        assumed="" if converter.preprocessing else file.assumed,
    )


def _with_timm_config(file):
    """The file with what timm's config.json beside it says of its images."""
    config = provenance.timm_config(file.path, file.options.get("num_classes"))
    if config is None:
        return file
    return file._replace(
        options={**file.options, "mean": config.mean, "std": config.std},
        preprocessing=config.preprocessing,
        class_names=config.class_names or file.class_names,
        assumed=config.assumed,
    )


def _foreign(path, opened, network):
    if wrappers.of_transformers(opened.tensors):
        foreign.check_transformers(path)
    try:
        named = foreign.by_layer_names(kerashub.with_head(path, opened))
        bare = wrappers.bare(path, named, getattr(network.files, "WRAPPED", (wrappers.RESNET,)))
        layout = layouts.recognise(bare, network)
        tensors = bare
        if layout is not None:
            tensors = layouts.translate(layout, bare, network, opened.layers)
        if network.files not in (None, densenets):
            densenets.elsewhere(path, tensors, network.name)
        if layout is None:
            raise preacts.elsewhere(path, bare) or foreign.unknown(path, bare, opened)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    if layout in (layouts.OWN, layouts.KERAS) and not foreign.is_own(tensors):
        raise foreign.unknown(path, bare, opened)
    config = opened.metadata if opened.format in ("keras", "hdf5") else {}
    if layout in (layouts.KERAS_APPLICATIONS, layouts.KERAS_HUB):
        config = {}
    _check_recorded(path, config, network)
    layers = opened.layers.values()
    if network.files is not None:
        network.files.check(path, layout, tensors, network, layers)
    options = layouts.options(tensors, network, layers)
    if layout in (layouts.OWN, layouts.KERAS) and "mean" not in options:
        raise InputError(f"{path} lacks the normalization of its pixels, which networks here have.")
    if config:
        options |= _configured(path, config, network)
    small = network.dataset == "cifar10"
    return WeightsFile(
        path=path,
        layout=layout,
        model=network.name,
        options=options,
        defaults=layouts.defaults(layout, network),
        tensors=tensors,
        preprocessing=Preprocessing(32, 32) if small else Preprocessing(),
        class_names=None,
        training={},
        assumed=provenance.UNSAID,
    )


def _check_recorded(path, config, network):
    """Raises `InputError` where a `.keras` file says that it is of another network."""
    name = record.name_in(config)
    if name is not None and name != network.name:
        advice = f": ask for {name}" if networks.is_name(name) else ", and none here has that name"
        raise InputError(f"{path} holds weights of {name}, not of {network.name}{advice}.")


def _configured(path, config, network):
    """What a `.keras` file's configuration says of its network."""
    try:
        settled = record.stored(network, record.of_config(config, network))
        # The number of classes is that of the tensors, which are as large as the file at most.
        settled.pop("num_classes", None)
        own.check_options({**settled, "include_top": False}, network, None)
    except InputError as error:
        raise InputError(f"{path} holds another network: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} holds no {network.name} as this package builds it ({error!r})."
        ) from error
    return settled
