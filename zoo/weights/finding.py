"""Weight files: found, checked, loaded into a network, and written.

This package's own file is safetensors: one float32 tensor per variable under its Keras path
(`conv1_conv/kernel`), and in the header the network, the options it was built with, and how images
are shown to it. Other projects' files are translated by `layouts`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.facts import INTERPOLATIONS
from resnet_keras.files import write_atomically

from .. import entries, networks
from ..entries import MAX_SIDE, Preprocessing, WeightsEntry
from ..networks import BOTTLENECK_DEPTHS, Network
from . import architecture, download, foreign, formats, layouts, provenance, wrappers
from .provenance import is_whole

FORMAT = "resnet_keras"
ASSUMED = "preprocessing_assumed"  # in a header: whether nobody said how images were shown
CONFIG, TENSORS = "config.json", "model.safetensors"


class WeightsFile(NamedTuple):
    """An opened and checked file; its tensors are read when they are assigned.

    Attributes:
        path: of the file.
        layout: one of `layouts`.
        model: the network's name.
        options: arguments of `zoo.get` that the file or its entry settles.
        defaults: those that it leaves open, as its project has them.
        tensors: by this package's names, or by Keras's numbers where the file has no names.
        preprocessing: how images are shown to the network.
        class_names: in the order of the logits, if they are known.
        training: how the weights were made, as far as the file says.
        entry: the registered one, if it is.
        assumed: why `preprocessing` is a guess, in words that go on after the file's name; empty
            where the file or its entry says it.
    """

    path: Path
    layout: str
    model: str
    options: dict[str, Any]
    defaults: dict[str, Any]
    tensors: dict[str, formats.Tensor]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    training: dict[str, Any]
    entry: WeightsEntry | None = None
    assumed: str = ""

    @property
    def headless(self) -> bool:
        return self.options.get("include_top") is False

    def shown(self, image_size: int | None = None) -> Preprocessing:
        """How images are shown at a size; without one, at that which the network was built for.

        Raises:
            InputError: it was built for images that are not square.
        """
        height, width = (self.options.get("input_shape") or (None, None))[:2]
        if image_size is None and height != width:
            raise InputError(
                f"{self.path} was built for images of {height} x {width} pixels, and here they are "
                "shown as squares: give their side as image_size, or call the network itself."
            )
        built_for = height
        return self.preprocessing.at(image_size or built_for or self.preprocessing.image_size)


def find(
    name: str, weights: str | os.PathLike | None, weights_dir: str | os.PathLike | None = None
) -> tuple[Network, WeightsFile | None]:
    """Finds a network and opens its weights, downloading a registered file on first use.

    Args:
        name: of a network, or a folder that `zoo.save` wrote, which has its weights; a folder
            that is called as a network is `./resnet50` or a `Path`.
        weights: a registered tag, the path of a file, or None.
        weights_dir: a folder in which registered files are looked for instead of at their address.

    Raises:
        InputError: unknown name, weights that are not there, do not match their checksum, or are
            not the network's.
    """
    if is_published(name):
        if weights is not None:
            raise InputError(f"{name} has its own weights: leave weights={str(weights)!r} out.")
        file = read_published(name)
        return networks.find(file.model), file
    if not networks.is_name(name) and Path(str(name)).is_dir():
        raise foreign.folder(Path(name))
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
    if is_published(path):
        return path / TENSORS
    if path.is_file():
        return path
    if path.is_dir():
        raise foreign.folder(path)
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
    if FORMAT in opened.metadata:
        file = _own(path, opened, network)
    else:
        file = _foreign(path, opened, network)
    if entry is not None:
        return _registered(file, entry)
    entry = provenance.registered(path, file.layout, network)
    file = file if entry is None else _registered(file, entry)
    return _with_timm_config(file) if file.layout == layouts.TORCH else file


def _registered(file, entry):
    """The file with what its entry says."""
    own = {**file.defaults, **entry.options}
    if entry.mean is not None:
        own |= {"mean": entry.mean, "std": entry.std}
    names = entry.class_names
    classes = file.options.get("num_classes")  # of a file by its name, the head may be another
    return file._replace(
        options={**own, **file.options},
        defaults={},
        preprocessing=entry.preprocessing,
        class_names=names if names and len(names) == classes else file.class_names,
        entry=entry,
        assumed="",
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


def _own(path, opened, network):
    file = _described(path, opened.metadata[FORMAT], opened.tensors)
    if file.model != network.name:
        raise InputError(f"{path} holds weights of {file.model}, not of {network.name}.")
    return file


def _described(path, text, tensors):
    """A file with the description that `describe` made, which is JSON."""
    for key in ("normalization/mean", "normalization/std"):  # every network here has them
        if key not in tensors:
            raise InputError(f"{path} lacks {key}.")
    try:
        made = json.loads(text)
        options, training = dict(made["options"]), dict(made["training"])
        network = networks.find(made["model"])
        if len(tensors) < network.depth:  # before so many layers are built
            raise ValueError(f"{len(tensors)} tensors for {network.depth} layers")
        shown = layouts.options(tensors, network)
        if options.get("include_top") is False:
            options.pop("num_classes", None)  # once the channels of the features
        _check_options(options, network, shown.get("num_classes"))
        options = {"shortcut": network.shortcut, **options}
        if (options["shortcut"] is None) != network.plain:
            raise ValueError(f"shortcut {options['shortcut']!r} of {network.name}")
        if network.depth in BOTTLENECK_DEPTHS:
            options.setdefault("stride_in_1x1", True)
        names = made.get("class_names")
        if names is not None:
            if not isinstance(names, list) or len(names) != options.get("num_classes"):
                raise ValueError(f"class names {names!r}")
            names = tuple(map(str, names))
        view = made.get("preprocessing")
        unsaid = provenance.UNSAID if not view or made.get(ASSUMED) else ""
        view = view or guessed(options.get("input_shape"))._asdict()
        return WeightsFile(
            path=path,
            layout=layouts.OWN,
            model=network.name,
            options={**options, "mean": shown["mean"], "std": shown["std"]},
            defaults={},
            tensors=tensors,
            preprocessing=check_preprocessing(Preprocessing(**view)),
            class_names=names,
            training=training,
            assumed=unsaid,
        )
    except InputError as error:
        raise InputError(f"{path} has a header that cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} has a header that cannot be read: {error!r}.") from error


_CHECKS = {
    "num_classes": lambda v: is_whole(v) and v > 0,
    "input_shape": lambda v: (
        isinstance(v, list | tuple)
        and len(v) == 3
        and all(s is None or (is_whole(s) and s > 0) for s in v)
    ),
    "include_top": lambda v: isinstance(v, bool),
    "pooling": lambda v: v in ("avg", "max", None),
    "shortcut": lambda v: v in ("A", "B", "C", None),
    "stride_in_1x1": lambda v: isinstance(v, bool),
    "epsilon": lambda v: isinstance(v, float) and 0 < v < 1,
    "dtype": lambda v: v in ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"),
}
STORED = _CHECKS.keys()


def _check_options(options, network, classes):
    """Raises `ValueError` for options that `save` does not write."""
    for key, value in options.items():
        if key not in _CHECKS or not _CHECKS[key](value):
            raise ValueError(f"option {key} {value!r}")
    if "stride_in_1x1" in options and network.depth not in BOTTLENECK_DEPTHS:
        raise ValueError(f"stride_in_1x1 of {network.name}")
    if options.get("include_top", True) and options["num_classes"] != classes:
        raise ValueError(f"{options['num_classes']} classes and logits for {classes}")


def check_preprocessing(preprocessing: Preprocessing) -> Preprocessing:
    """Returns it; `ValueError` where images cannot be shown so."""
    size, resize, interpolation, crop_mode, antialias = preprocessing
    if not (is_whole(size) and is_whole(resize) and 1 <= size <= resize <= MAX_SIDE):
        raise ValueError(f"a crop of {size!r} from a shorter side of {resize!r}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation {interpolation!r}")
    if crop_mode not in entries.CROP_MODES:
        raise ValueError(f"crop_mode {crop_mode!r}, which is 'centre' or 'stretch'")
    if not isinstance(antialias, bool):
        raise ValueError(f"antialias {antialias!r}, which is True or False")
    return preprocessing


def guessed(input_shape):
    """The paper's 1-crop test at the network's own size; of small images, the whole."""
    side, width = input_shape[:2] if input_shape else (None, None)
    if side is None or side != width:
        return Preprocessing()
    return Preprocessing(side, side) if side < 64 else Preprocessing().at(side)


def _foreign(path, opened, network):
    if wrappers.of_transformers(opened.tensors):
        foreign.check_transformers(path)
    try:
        found = wrappers.bare(path, foreign.by_layer_names(opened))
        layout = layouts.recognise(found)
        if layout is None:
            raise foreign.unknown(path, found, opened)
        tensors = layouts.translate(layout, found, network, opened.layers)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    if layout in (layouts.OWN, layouts.KERAS) and not foreign.is_own(tensors):
        raise foreign.unknown(path, found, opened)
    layers = opened.layers.values()
    shown = architecture.of(tensors, layers)
    if shown is not None:
        architecture.check(path, shown, network)
    elif layouts.numbered(tensors):
        architecture.check_numbered(path, layers, network)
    if layout == layouts.TORCH:
        foreign.check_stem(path, tensors, network)
    options = layouts.options(tensors, network, layers)
    if layout in (layouts.OWN, layouts.KERAS) and "mean" not in options:
        raise InputError(f"{path} lacks the normalization of its pixels, which networks here have.")
    if opened.metadata and opened.format in ("keras", "hdf5") and layout != "keras_applications":
        options |= _configured(path, opened.metadata, network)
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


def _configured(path, config, network):
    """What a `.keras` file's configuration says of its network."""
    from resnet_keras.networks import resnet

    try:
        layers = {
            layer["config"]["name"]: (layer["class_name"], layer["config"])
            for layer in config["config"]["layers"]
        }
        described = resnet.describe(layers)
        settled = {key: value for key, value in described.items() if key in STORED}
        # The number of classes is that of the tensors, which are as large as the file at most.
        settled.pop("num_classes", None)
        _check_options({**settled, "include_top": False}, network, None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds no network of this package ({error!r}).") from error
    if (described["depth"], described["shortcut"] is None) != (network.depth, network.plain):
        raise InputError(f"{path} is configured as another network than {network.name}.")
    return settled


def describe(
    name: str,
    options: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a file says of its weights, ready for JSON; arguments as for `save`."""
    # The normalization is among the tensors.
    stored = {key: value for key, value in options.items() if key in STORED}
    made: dict[str, Any] = {"model": name, "options": stored, "training": dict(training or {})}
    if preprocessing is not None:
        made["preprocessing"] = preprocessing._asdict()
    if class_names is not None:
        made["class_names"] = list(class_names)
    return made


def save(
    path: str | os.PathLike,
    model,
    *,
    name: str,
    options: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes a model's weights, moving statistics and normalization included.

    Args:
        path: ends in .safetensors; replaced as a whole or not at all.
        model: a `keras.Model` that `zoo.get(name, **options)` can rebuild.
        name: a zoo network.
        options: the arguments of `zoo.get` that it was built with.
        training: how the weights were made (recipe, seed, steps), for the record.
        preprocessing: how images are shown to the network.
        class_names: in the order of the logits.
    """
    shapes = {"num_classes": model.output_shape[-1], "input_shape": model.input_shape[1:]}
    made = describe(
        name,
        {**options, **shapes},
        training=training,
        preprocessing=preprocessing,
        class_names=class_names,
    )
    write_atomically(path, to_bytes(model, made))


def to_bytes(model, made: Mapping[str, Any]) -> bytes:
    """The content of a file with a model's weights and the description `made`."""
    import numpy as np
    from keras import ops
    from safetensors.numpy import save as serialize

    # The states of random draws are among the variables, but not among the weights.
    tensors = {
        v.path: np.ascontiguousarray(ops.convert_to_numpy(v), "float32") for v in model.weights
    }
    # One entry: safetensors writes several in no fixed order, and equal models would differ.
    return serialize(tensors, metadata={FORMAT: json.dumps(made, sort_keys=True)})


def is_published(name: str | os.PathLike) -> bool:
    """Whether `name` is a folder that `zoo.save` wrote; the name of a network is none."""
    if networks.is_name(name):
        return False
    folder = Path(str(name)).expanduser()
    return (folder / CONFIG).is_file() and (folder / TENSORS).is_file()


def read_published(folder: str | os.PathLike) -> WeightsFile:
    """Opens a folder that `zoo.save` wrote; its config.json is what counts."""
    folder = Path(folder).expanduser()
    path = folder / TENSORS
    try:
        text = (folder / CONFIG).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {folder / CONFIG}: {error}.") from error
    foreign.check_published(folder, text)
    opened = formats.open_file(path)
    file = _described(path, text, opened.tensors)
    try:
        own = json.loads(opened.metadata[FORMAT])
        made = json.loads(text)
        belong = all(own[key] == made[key] for key in ("model", "options"))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not what zoo.save wrote: {error!r}.") from error
    if not belong:
        raise InputError(f"{folder / CONFIG} describes other weights than {path} holds.")
    return file
