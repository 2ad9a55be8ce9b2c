"""Networks written for others to load, with what they remember of the weights they began with."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, write_atomically

from .. import cards, networks
from ..entry import Preprocessing
from ..network import Network
from . import formats, own, record
from .file import check_preprocessing, guessed

if TYPE_CHECKING:
    import keras

CARD = "README.md"
_CALL = 'zoo.get("FOLDER")'
_SOURCE = "began as"
_TRAINED = ("kernel", "bias", "gamma", "beta")  # variables that are parameters
_MEMORY = "_zoo_weights"  # the attribute of a model that has its `Origin`


class Origin(NamedTuple):
    """What a model remembers of the weights it was built with."""

    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    licence: str | None
    source: str
    new_head: bool
    assumed: str  # why the preprocessing is a guess, as in `weights.WeightsFile`


def remember(
    model: "keras.Model", file, *, class_names: tuple[str, ...] | None, new_head: bool
) -> None:
    """Lets `save` know the weights that a model began with."""
    preprocessing = file.preprocessing
    if len(model.input_shape) == 4:  # and not of series
        height, width = model.input_shape[1:3]
        if height == width is not None:
            preprocessing = preprocessing.at(height)
    entry = file.entry
    source = f"{entry.model} {entry.tag}: {entry.origin}" if entry else file.path.name
    source = file.training.get(_SOURCE, source)
    origin = Origin(
        preprocessing,
        class_names,
        entry.licence if entry else None,
        source,
        new_head,
        file.assumed,
    )
    _set(model, origin)


def pass_on(model: "keras.Model", other: "keras.Model") -> None:
    """Lets `save` know of a model that was made from another what it knows of that."""
    origin = recall(model)
    if origin is not None:
        _set(other, origin)


def _set(model, origin):
    # Past Keras, which would track it as a part of the model and save it.
    object.__setattr__(model, _MEMORY, origin)


def recall(model: "keras.Model") -> Origin | None:
    """What a model remembers of the weights it was built with; None where it began with none."""
    return getattr(model, _MEMORY, None)


def save(
    model: "keras.Model",
    folder: str | os.PathLike,
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    licence: str | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network for others: `zoo.get(folder)` reads it back.

    The folder receives model.safetensors, config.json (network, options, preprocessing, class
    names) and README.md, a model card as the Hugging Face hub reads it. What is not given is taken
    from the weights that the model was built with, if they know it; a warning says where it is
    assumed. A model of `keras.models.load_model` or `clone_model` knows no such weights any more.

    Args:
        model: of `zoo.get`, trained further or not. (`model.save` writes any other.)
        folder: made if it is not there.
        preprocessing: how images were shown to it in training: `Preprocessing.stretched(224)` for
            Keras's `image_dataset_from_directory(image_size=(224, 224))`.
        class_names: in the order of the logits.
        licence: of the weights, an SPDX name.
        training: how they were made, for the record; anything JSON can hold.

    Raises:
        InputError: not a network of the zoo, names that do not fit its classes, a preprocessing
            that cannot be, what JSON cannot hold, or a folder that cannot be written to.
    """
    network, options, parameters = _described(model)
    origin = recall(model)
    shown = preprocessing or (origin.preprocessing if origin else None)
    names = class_names if class_names is not None else (origin.class_names if origin else None)
    if names is not None:
        names = [str(name) for name in names]
        if len(names) != options.get("num_classes"):
            raise InputError(
                f"{len(names)} class_names do not fit {model.name}: it has "
                f"{options.get('num_classes', 'no')} classes."
            )
    if preprocessing and network.takes_series:
        raise InputError(f"{model.name} takes series: leave preprocessing out, it is for images.")
    square = _is_square(options)
    if preprocessing and not square:
        raise InputError(
            f"{model.name} was built for images of {_size(options)} pixels, and a Preprocessing "
            "is of square ones: leave it out, and tell in `training` how images were shown."
        )
    licence = licence or (origin.licence if origin else None)
    began = {_SOURCE: origin.source} if origin else {}
    # Of images that are not square no preprocessing is written, so none is assumed.
    told = preprocessing is not None or not square
    unknown = unsaid(origin, told, names is not None, options)
    try:
        shown = Preprocessing(*(shown or guessed(options["input_shape"])))
        checked = check_preprocessing(shown)
        made = own.describe(
            network,
            options,
            training={**(training or {}), **began},
            preprocessing=checked if square else None,
            class_names=names,
        )
        if unknown and "preprocessing" in unknown[1]:
            made[own.ASSUMED] = True  # for `predict` and `evaluate` to tell
        json.dumps(made)
    except (TypeError, ValueError) as error:
        raise InputError(f"This cannot be written beside {model.name}: {error}.") from error
    if not square and not network.takes_series:
        warnings.warn(
            f"{model.name} was built for images of {_size(options)} pixels: how they are shown is "
            "not written, and predict and evaluate, which show squares, will ask for image_size.",
            stacklevel=2,
        )
    if unknown:
        warnings.warn(advice("zoo.save", model.name, shown, *unknown), stacklevel=2)
    facts = _facts(made, parameters, str(shown) if square else f"{_size(options)} pixels")
    rows = [*facts, *made["training"].items(), ("accuracy", "not measured")]
    content = own.to_bytes(model, made)
    _write(
        folder, content, made, cards.page(network.name, _CALL, [*rows, _licence(licence)]), licence
    )


def of_file(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    training: Mapping[str, Any],
    accuracy: str,
    licence: str | None = None,
    appendix: str = "",
) -> None:
    """Writes what `save` does from a file of `weights.save`, without building the network.

    Args:
        path: of the file, whose description is kept.
        folder: made if it is not there.
        training: how the weights were made, beside what the file says.
        accuracy: what was measured of them, for the card.
        licence: of the weights, an SPDX name.
        appendix: ends the card, as Markdown.

    Raises:
        InputError: no such file, or a folder that cannot be written to.
    """
    from safetensors.numpy import load_file

    path = Path(path)
    file = own.read(path, formats.open_file(path), networks.find(own.model_in(path)))
    made = own.description_in(path)
    began = made.get("training", {})
    tensors = load_file(path)
    count = sum(v.size for name, v in tensors.items() if name.split("/")[-1] in _TRAINED)
    rows = [
        *_facts(made, count, str(file.preprocessing)),
        *((name, value) for name, value in began.items() if value is not None),
        ("accuracy", accuracy),
        _licence(licence),
    ]
    made["training"] = {**began, **training}
    card = cards.page(file.model, _CALL, rows) + appendix
    _write(folder, own.serialized(tensors, made), made, card, licence)


def _write(folder, content, made, card, licence):
    folder = make_folder(folder)
    write_atomically(folder / own.TENSORS, content)
    front = cards.front_matter(licence, images=not _is_series(made["options"]))
    write_atomically(folder / CARD, front + card)
    write_atomically(folder / own.CONFIG, json.dumps(made, indent=2) + "\n")


def _facts(made, parameters, images):
    """Rows of a card by what `own.describe` says."""
    options = made["options"]
    shape = options["input_shape"]
    inputs = (
        [("input", f"series of {shape[0] or 'any number of'} steps x {shape[1]} channel(s)")]
        if _is_series(options)
        else [
            ("input", f"{_pixels(options)} pixels in [0, 255], normalized by the network"),
            ("images", images),
        ]
    )
    return [
        ("network", f"{made['model']}, {parameters:,} parameters"),
        ("options", cards.listed(options)),
        *inputs,
        ("classes", cards.classes(made.get("class_names"), options.get("num_classes"))),
    ]


def _licence(licence):
    return ("licence", licence or "not given")


def unsaid(
    origin: Origin | None, shown_given: bool, names_given: bool, options: Mapping[str, Any]
) -> tuple[str, list[str]] | None:
    """Why something must be assumed, and what of preprocessing and class_names; None: nothing."""
    if origin is None:
        why = (
            "it remembers no weights that it began with, which keras.models.load_model and "
            "clone_model lose"
        )
    elif origin.new_head:
        why = "its head is new"
    elif origin.assumed:
        why = f"{origin.source} {origin.assumed}"
    else:
        return None
    # Under a head that is the file's own, classes have the names that the file gives, if any.
    unnamed = "num_classes" in options and (origin is None or origin.new_head) and not names_given
    missing = [
        *([] if shown_given else ["preprocessing"]),
        *(["class_names"] if unnamed else []),
    ]
    return (why, missing) if missing else None


def advice(caller: str, name: str, shown: Preprocessing, why: str, missing: Sequence[str]) -> str:
    """Says what a function assumes of a network, and how to say otherwise; see `unsaid`."""
    assumed = {
        "preprocessing": f"that training showed images thus: {shown}",
        "class_names": "classes without names",
    }
    remedies = {
        "preprocessing": f"preprocessing=zoo.Preprocessing.stretched({shown.image_size}) for "
        "Keras's image_dataset_from_directory, or zoo.Preprocessing(image_size, resize, "
        "interpolation)",
        "class_names": "class_names=[...]",
    }
    return (
        f"{name}: {why}, so {caller} assumes {', and '.join(assumed[m] for m in missing)}; to say "
        f"otherwise, give {', and '.join(remedies[m] for m in missing)}."
    )


def _described(model) -> tuple[Network, dict[str, Any], int]:
    """A network, what it was built with, and how many parameters it has.

    Raises:
        InputError: it is not as the zoo builds it.
    """
    from resnet_keras.networks.counts import count_parameters

    network, options = own.identity(model)
    normalization = model.get_layer("normalization")
    given = {**options, "mean": normalization.initial_mean, "std": normalization.initial_std}
    try:
        twin = network.build(**given)
    except InputError as error:
        raise own.no_network(model) from error
    if _outline(twin) != _outline(model):
        raise own.no_network(model)
    # Of the model itself, some may be frozen.
    return network, record.stored(network, options), count_parameters(twin)


def _is_series(options):
    return len(options["input_shape"]) == 2


def _is_square(options):
    if _is_series(options):
        return False
    height, width = options["input_shape"][:2]
    return height == width


def _size(options):
    height, width = options["input_shape"][:2]
    return f"{height} x {width}"


def _pixels(options):
    channels = options["input_shape"][2]
    return {1: "grey", 3: "RGB"}.get(channels, f"{channels}-channel")


def _outline(model):
    # A clone's input has a name of its own; what is frozen is of the training.
    frozen = {"FrozenBatchNormalization": "BatchNormalization"}
    kinds = [(layer.name, type(layer).__name__) for layer in model.layers]
    layers = [(name, frozen.get(kind, kind)) for name, kind in kinds if kind != "InputLayer"]
    return layers, [(v.path, tuple(v.shape)) for v in model.variables]
