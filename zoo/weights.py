"""Weight files: what is registered, how a file is written, checked and loaded.

A file is safetensors: one float32 tensor per variable under its Keras path (`conv1_conv/kernel`),
and in the header the network and the options it was built with.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError, unknown
from resnet_keras.files import write_atomically

FORMAT = "resnet_keras"
STORED = {"num_classes", "input_shape", "shortcut", "stride_in_1x1", "epsilon"}
RESULTS = Path(__file__).parent / "results.json"


class Preprocessing(NamedTuple):
    """How photographs are shown to a network: resized to image_size / crop_fraction, then cropped.

    The defaults are the paper's 1-crop test, 224 of 256.
    """

    image_size: int = 224
    crop_fraction: float = 224 / 256
    interpolation: str = "bilinear"


class WeightsEntry(NamedTuple):
    """A registered set of weights; the architecture's options are in the file's header."""

    model: str
    tag: str
    file: str
    sha256: str
    licence: str
    dataset: str
    recipe: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing = Preprocessing()

    @property
    def path(self) -> Path:
        return Path(__file__).parent / "files" / self.file

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The rows of results.json that measure these weights; empty means not measured."""
        rows = json.loads(RESULTS.read_text())
        return [r for r in rows if (r["model"], r["weights"]) == (self.model, self.tag)]


ENTRIES = {
    (entry.model, entry.tag): entry
    for entry in (
        WeightsEntry(
            model="resnet20",
            tag="digits",
            file="resnet20_digits.safetensors",
            sha256="e44ca823eaaeca14ccbe0ec0c4172dcf751b99e9c4d93b495c67842b5dd2018a",
            licence="Apache-2.0",
            dataset="digits",
            recipe="resnet20_digits",
            class_names=tuple("0123456789"),
        ),
    )
}


class WeightsFile(NamedTuple):
    """A checked file in memory."""

    path: Path
    model: str
    options: dict[str, Any]
    training: dict[str, Any]
    tensors: dict[str, Any]


def resolve(model: str, weights: str | os.PathLike) -> Path:
    """Returns the file for a registered tag of `model`, or for a path of the user's."""
    if (model, str(weights)) in ENTRIES:
        return ENTRIES[model, str(weights)].path
    path = Path(weights)
    if path.is_file():
        return path
    if os.sep in str(weights) or path.suffix:
        raise InputError(f"There is no weights file {weights}.")
    tags = [tag for name, tag in ENTRIES if name == model]
    if not tags:
        raise InputError(
            f"{model} has no registered weights; give weights=None or the path of a "
            ".safetensors file, not {!r}.".format(str(weights))
        )
    raise unknown(f"weights for {model}:", str(weights), tags)


def preprocessing(model: str, weights: str | os.PathLike) -> Preprocessing:
    """How photographs are shown to a network with these weights; the paper's way for a file."""
    entry = ENTRIES.get((model, str(weights)))
    return entry.preprocessing if entry else Preprocessing()


def save(
    path: str | os.PathLike,
    model,
    *,
    name: str,
    options: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model's variables, moving statistics and normalization included.

    Args:
        path: ends in .safetensors; replaced as a whole or not at all.
        model: a `keras.Model` that `zoo.get(name, **options)` can rebuild.
        name: a zoo network.
        options: the arguments of `zoo.get` that it was built with.
        training: how the weights were made (recipe, seed, steps), for the record.
    """
    import numpy as np
    from keras import ops
    from safetensors.numpy import save as to_bytes

    tensors = {
        v.path: np.ascontiguousarray(ops.convert_to_numpy(v), "float32") for v in model.variables
    }
    # The normalization is among the tensors.
    stored = {key: value for key, value in options.items() if key not in ("mean", "std")}
    stored |= {"num_classes": model.output_shape[-1], "input_shape": model.input_shape[1:]}
    made = {"model": name, "options": stored, "training": dict(training or {})}
    # One entry: safetensors writes several in no fixed order, and equal models would differ.
    header = {FORMAT: json.dumps(made, sort_keys=True)}
    write_atomically(path, to_bytes(tensors, metadata=header))


def read(path: str | os.PathLike) -> WeightsFile:
    """Reads a file that `save` wrote; `InputError` names the file and what is wrong with it."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}.") from error
    if FORMAT not in header:
        raise InputError(
            f"{path} is not a weights file of this package: its header has no entry {FORMAT!r}."
        )
    for key in ("normalization/mean", "normalization/std"):  # every network here has them
        if key not in tensors:
            raise InputError(f"{path} lacks {key}.")
    try:
        made = json.loads(header[FORMAT])
        options, training = dict(made["options"]), dict(made["training"])
        if not {"num_classes"} <= options.keys() <= STORED:
            raise ValueError(f"options {sorted(options)}")
        return WeightsFile(path, made["model"], options, training, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} has a header that cannot be read: {error!r}.") from error


def assign(model, weights: WeightsFile, *, skip: tuple[str, ...] = ()) -> None:
    """Loads a file's tensors into a model's variables, all of them or none.

    Args:
        model: a `keras.Model`.
        weights: from `read`.
        skip: layers that keep their own values, whatever the file holds for them.

    Raises:
        InputError: a tensor is missing, left over or of another shape.
    """

    def skipped(name):
        return name.split("/", 1)[0] in skip

    wanted = {v.path: v for v in model.variables if not skipped(v.path)}
    given = {name: t for name, t in weights.tensors.items() if not skipped(name)}
    missing = sorted(wanted.keys() - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the model lacks"
        raise InputError(
            f"{weights.path} does not fit {model.name}: it {what} "
            f"({len(missing)} missing, {len(extra)} left over)."
        )
    for name, variable in wanted.items():
        if tuple(variable.shape) != given[name].shape:
            raise InputError(
                f"{weights.path} does not fit {model.name}: {name} has shape "
                f"{given[name].shape} in the file and {tuple(variable.shape)} in the model."
            )
    for name, variable in wanted.items():
        variable.assign(given[name])
