"""A network that teaches another one: found, checked against the data, told by its file's hash.

Imports neither TensorFlow nor Keras; how it teaches is in `distillation`.
"""

import hashlib
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from resnet_keras import zoo
from resnet_keras.errors import InputError

DISTILL, TEMPERATURE = 0.9, 4.0  # the teacher's share of the loss, and what divides the logits
# Columns of metrics.csv beside those of `classifier`: what Keras's logs call them.
COLUMNS = {"distillation": "distillation", "val_distillation": "val_distillation"}
CHECKSUM_DIGITS = 16  # of the SHA-256, as in the names of checkpoints


class Teacher(NamedTuple):
    """A trained network of the zoo.

    Attributes:
        network: its row.
        file: its weights.
        checksum: the first digits of the SHA-256 of their file.
    """

    network: zoo.networks.Network
    file: "zoo.weights.WeightsFile"
    checksum: str


def find(
    name: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    weights_dir: str | os.PathLike | None = None,
) -> Teacher:
    """Finds a teacher; arguments as of `zoo.weights.find`.

    Raises:
        InputError: it is not there, or has not learnt to tell classes.
    """
    network, file = zoo.weights.find(name, weights, weights_dir)
    if file is None:
        tags = [tag for _, tag in zoo.list_weights(network.name)]
        ways = f"{', '.join(tags)} or a file" if tags else "a file"
        raise InputError(
            f"An untrained teacher has nothing to teach: name the weights of {network.name} as "
            f"teacher_weights ({ways}), or as `teacher` the folder of a run."
        )
    if file.headless:
        raise InputError(f"{file.path} has no head, but features: a teacher tells classes.")
    with open(file.path, "rb") as content:
        digits = hashlib.file_digest(content, "sha256").hexdigest()
    return Teacher(network, file, digits[:CHECKSUM_DIGITS])


def check_amounts(distill: float, temperature: float) -> None:
    """Raises `InputError` for a share of the teacher, or a temperature, that there cannot be."""
    if not 0 < distill <= 1:
        raise InputError(
            "`distill` is the teacher's share of the loss, above 0 and at most 1, not "
            f"distill={distill!r}."
        )
    if not 0 < temperature < math.inf:
        raise InputError(f"`temperature` must be above 0, not temperature={temperature!r}.")


def check(teacher: Teacher, num_classes: int, input_shape: Sequence[int | None]) -> None:
    """Checks whether a teacher knows the classes and the images, or series, of a data set.

    Warns where the file does not tell the size of the images, and was published for another one.

    Args:
        teacher: as `find` returns it.
        num_classes: of the data set.
        input_shape: of an example, without the batch.

    Raises:
        InputError: it does not.
    """
    network, file = teacher.network, teacher.file
    kinds = [
        "series" if series else "images"
        for series in (network.takes_series, _is_series(input_shape))
    ]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"The teacher {network.name} takes {kinds[0]}, and the data are {kinds[1]}."
        )
    classes = file.options["num_classes"]
    if classes != num_classes:
        raise InputError(
            f"The teacher in {file.path} tells {classes} classes, and the data set has "
            f"{num_classes}: take a teacher that was trained on these classes."
        )
    own: Any = file.options.get("input_shape")
    if own is not None and not fits(own, input_shape):
        raise InputError(
            f"The teacher in {file.path} has learnt from {kinds[0]} of {_sizes(own)}, and the "
            f"student is shown {_sizes(input_shape)}: {_way(own)}."
        )
    size = file.preprocessing.image_size
    if own is None and kinds[0] == "images" and not file.assumed and size != input_shape[0]:
        warnings.warn(
            f"the teacher in {file.path} was measured on images of {size} pixels, and is shown "
            f"such of {input_shape[0]}: it may know them less well",
            stacklevel=2,
        )


def check_names(teacher: Teacher, names: Sequence[str] | None) -> None:
    """Compares the teacher's classes with those of the data, in their order, where both have names.

    Warns of other names, which may be other words for the same classes.

    Raises:
        InputError: they are the same in another order.
    """
    own = teacher.file.class_names
    if own is None or names is None or tuple(own) == tuple(names):
        return
    place = next(n for n, pair in enumerate(zip(own, names, strict=True)) if pair[0] != pair[1])
    said = f"class {place} of the teacher is {own[place]!r}, and of the data {names[place]!r}"
    if sorted(own) == sorted(names):
        raise InputError(f"The teacher has the classes in another order: {said}.")
    warnings.warn(f"{said}: they are taken for the same", stacklevel=2)


def fits(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Whether two shapes, whose sides may be free, can be the same."""
    same = (None in (a, b) or a == b for a, b in zip(one, other, strict=False))
    return len(one) == len(other) and all(same)


def _is_series(shape):
    return len(shape) == 2


def _sizes(shape):
    return " x ".join(map(str, shape))


def _way(shape):
    square = not _is_series(shape) and shape[0] == shape[1] and shape[2] == 3
    return f"take image_size={shape[0]}, or another teacher" if square else "take another teacher"
