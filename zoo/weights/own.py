"""This package's own file of weights.

It is safetensors: one float32 tensor per variable under its Keras path (`conv1_conv/kernel`), and
in the header the network, the options it was built with, and how images are shown to it. A folder
that `zoo.save` writes has the same description in its config.json.
"""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError
from resnet_keras.facts import GROUP, LAYER
from resnet_keras.files import write_atomically

from .. import networks
from ..entry import Preprocessing
from ..network import MAXOUT, PROJECTIONS, Network
from ..networks import canonical
from . import foreign, formats, layouts, provenance, record
from .file import WeightsFile, check_preprocessing, guessed
from .provenance import is_whole

if TYPE_CHECKING:
    import keras
    import numpy as np

FORMAT = "resnet_keras"
ASSUMED = "preprocessing_assumed"  # in a header: whether nobody said how images were shown
CONFIG, TENSORS = "config.json", "model.safetensors"
RUN_WEIGHTS = ("weights.safetensors", "best.safetensors")  # of a run's end, and before


def read(path: Path, opened: formats.Opened, network: Network) -> WeightsFile:
    """Opens this package's own file as weights of a network; `InputError` where they are not."""
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
        options = {name: canonical(name, value) for name, value in made["options"].items()}
        training = dict(made["training"])
        network = _registered(made["model"])
        record.check_arguments(network, made.get("arguments", {}))
        depth = network.depth if isinstance(network.depth, int) else 0
        if len(tensors) < depth:  # before so many layers are built
            raise ValueError(f"{len(tensors)} tensors for {depth} layers")
        shown = layouts.options(tensors, network)
        if options.get("include_top") is False:
            options.pop("num_classes", None)  # once the channels of the features
        for option, value in network.arguments.items():  # which older files have too
            if option in options and options.pop(option) != value:
                raise ValueError(f"{option} of {network.name}")
        check_options(options, network, shown.get("num_classes"))
        options = {**{name: network.options[name] for name in network.settled}, **options}
        # Several shares may be of one network; tensors of another are refused as they are loaded.
        for option in (name for name in network.late if name != PROJECTIONS):
            if option in shown and options[option] != shown[option]:
                raise ValueError(f"{option} {options[option]!r}, and tensors of {shown[option]!r}")
        if options.get(MAXOUT) != shown.get(MAXOUT):
            raise ValueError(
                f"maxout {options.get(MAXOUT)!r}, and tensors of {shown.get(MAXOUT)!r}"
            )
        names = made.get("class_names")
        if names is not None:
            if not isinstance(names, list) or len(names) != options.get("num_classes"):
                raise ValueError(f"class names {names!r}")
            names = tuple(map(str, names))
        view = made.get("preprocessing")
        guess = not network.takes_series and (not view or made.get(ASSUMED))
        unsaid = provenance.UNSAID if guess else ""  # series are shown as they are
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


def _registered(name):
    try:
        return networks.find(name)
    except InputError as error:
        raise InputError(
            f"{error} (A network from outside this package is registered first: zoo.register.)"
        ) from error


_CHECKS = {
    "num_classes": lambda v: is_whole(v) and v > 0,
    "input_shape": lambda v: (
        isinstance(v, list | tuple)
        and len(v) in (2, 3)
        and all(s is None or (is_whole(s) and s > 0) for s in v)
    ),
    "include_top": lambda v: isinstance(v, bool),
    "pooling": lambda v: v in ("avg", "max", None),
    "epsilon": lambda v: isinstance(v, float) and 0 < v < 1,
    "normalization": lambda v: v in (GROUP, LAYER),  # batch normalization is not written down
    MAXOUT: lambda v: is_whole(v) and v >= 2,  # of networks with such a layer
    "dtype": lambda v: v in ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"),
}


def check_options(options: Mapping[str, Any], network: Network, classes: int | None) -> None:
    """Raises `ValueError` for options that no file of the network has."""
    for option, value in options.items():
        if option in (*network.settled, *network.free):
            choices = network.family.choices.get(option)
            valid = not choices or value in choices
        else:
            valid = option in _CHECKS and _CHECKS[option](value)
        if option == "input_shape" and valid:
            valid = len(value) == (2 if network.takes_series else 3)
        if not valid:
            raise ValueError(f"option {option} {value!r}")
    if options.get("include_top", True) and options["num_classes"] != classes:
        raise ValueError(f"{options['num_classes']} classes and logits for {classes}")


def describe(
    network: Network,
    options: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a file says of its weights, ready for JSON.

    Args:
        network: that they are of.
        options: that it was built with, of `record.of`.
        training: as for `save`, and so the others.
    """
    # The normalization is among the tensors.
    description: dict[str, Any] = {
        "model": network.name,
        "arguments": dict(network.arguments),
        "options": record.stored(network, options),
        "training": dict(training or {}),
    }
    if preprocessing is not None:
        description["preprocessing"] = preprocessing._asdict()
    if class_names is not None:
        description["class_names"] = list(class_names)
    return description


def save(
    path: str | os.PathLike,
    model: "keras.Model",
    *,
    training: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes a model's weights, moving statistics and normalization included.

    Args:
        path: ends in .safetensors; replaced as a whole or not at all.
        model: of `zoo.get`, trained further or not.
        training: how the weights were made (recipe, seed, steps), for the record.
        preprocessing: how images are shown to the network.
        class_names: in the order of the logits.

    Raises:
        InputError: the model is none of the zoo's, or the folder cannot be written to.
    """
    network, options = identity(model)
    del options["dtype"]  # how a network computes is not of its weights
    description = describe(
        network,
        options,
        training=training,
        preprocessing=preprocessing,
        class_names=class_names,
    )
    write_atomically(path, to_bytes(model, description))


def identity(model: "keras.Model") -> tuple[Network, dict[str, Any]]:
    """A model's network and options, see `record.of`; `InputError` where it is no network."""
    try:
        return record.of(model)
    except InputError:
        raise
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise no_network(model) from error


def no_network(model: "keras.Model") -> InputError:
    """The error for a model that is not as the zoo builds it."""
    return InputError(
        f"{getattr(model, 'name', model)!r} is not a network as zoo.get builds them: keep it with "
        "model.save."
    )


def to_bytes(model: "keras.Model", description: Mapping[str, Any]) -> bytes:
    """The content of a file with a model's weights and what `describe` says of them."""
    import numpy as np
    from keras import ops

    # The states of random draws are among the variables, but not among the weights.
    tensors = {
        v.path: np.ascontiguousarray(ops.convert_to_numpy(v), "float32") for v in model.weights
    }
    return serialized(tensors, description)


def serialized(tensors: "Mapping[str, np.ndarray]", description: Mapping[str, Any]) -> bytes:
    """The content of a file with float32 tensors by name and what `describe` says of them."""
    from safetensors.numpy import save as serialize

    # One entry: safetensors writes several in no fixed order, and equal models would differ.
    return serialize(dict(tensors), metadata={FORMAT: json.dumps(description, sort_keys=True)})


def is_published(name: str | os.PathLike) -> bool:
    """Whether `name` is a folder that `zoo.save` wrote; the name of a network is none."""
    if networks.is_name(name):
        return False
    folder = Path(str(name)).expanduser()
    return (folder / CONFIG).is_file() and (folder / TENSORS).is_file()


def of_run(folder: str | os.PathLike) -> Path | None:
    """The weights in the folder of a run of `train`, with a warning that says which; or None.

    Those of its end are taken, and the best ones while it has not ended.
    """
    if networks.is_name(folder):
        return None
    folder = Path(str(folder)).expanduser()
    files = [folder / name for name in RUN_WEIGHTS if (folder / name).is_file()]
    if not files or not (folder / "run.flags").is_file():
        return None
    ended = files[0].name == RUN_WEIGHTS[0]
    others = "".join(f"; {path.name} is there too" for path in files[1:])
    warnings.warn(
        f"{folder} is the folder of a run{'' if ended else ' that has not ended'}: its "
        f"{files[0].name} is taken{others}.",
        stacklevel=2,
    )
    return files[0]


def model_in(path: Path) -> str:
    """The name of the network in one of this package's own files."""
    return description_in(path)["model"]


def description_in(path: Path) -> dict[str, Any]:
    """What `describe` said in one of this package's own files."""
    opened = formats.open_file(path)
    try:
        description = json.loads(opened.metadata[FORMAT])
        return {**description, "model": str(description["model"])}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} has a header that cannot be read: {error!r}.") from error


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
        header, config = json.loads(opened.metadata[FORMAT]), json.loads(text)
        belong = all(header[key] == config[key] for key in ("model", "options"))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not what zoo.save wrote: {error!r}.") from error
    if not belong:
        raise InputError(f"{folder / CONFIG} describes other weights than {path} holds.")
    return file
