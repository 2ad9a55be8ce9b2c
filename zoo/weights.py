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
RESULTS = Path(__file__).parent / "results.json"


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
            sha256="ef37ee1c06244266a00e6b3c796b07b427a8f8d25fa02a1727a09325d0eaba05",
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
    if (model, weights) in ENTRIES:
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
        options: the arguments of `zoo.get` that it was built with, `num_classes` among them.
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
    header = {
        "format": FORMAT,
        "model": name,
        "options": json.dumps(stored),
        "training": json.dumps(dict(training or {})),
    }
    write_atomically(path, to_bytes(tensors, metadata=header))


def read(path: str | os.PathLike) -> WeightsFile:
    """Reads a file that `save` wrote; `InputError` names the file and what is wrong with it."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise InputError(
                    f"{path} is not a weights file of this package: its header names "
                    f"{header.get('format', 'no format')!r} instead of {FORMAT!r}."
                )
            options, training = json.loads(header["options"]), json.loads(header["training"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            for key in ("normalization/mean", "normalization/std"):
                tensors[key]  # every network of this package has them
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}.") from error
    return WeightsFile(path, header["model"], options, training, tensors)


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
