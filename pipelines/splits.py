"""Shares of a split in TensorFlow Datasets' notation: "train[:90%]", "train[90%:]", "test[-500:]".

Shares that meet at the same bound have no example in common and leave none out. TFDS cuts its own
data sets in the order of their records, which it shuffled when it wrote them. Of other data sets
the order to cut is made here: mixed by a hash that is the same on every machine, with the classes
spread evenly. Imports no TensorFlow.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resnet_keras.errors import InputError

_BOUND = r"(?:-?\d+(?:\.\d+)?%|-?\d+)?"
_NOTATION = re.compile(rf"(?P<name>[^\[\]+:%]+)(?:\[(?P<start>{_BOUND}):(?P<stop>{_BOUND})\])?")
HOLD_OUT = (
    "Without one, hold out a share of train: split='train[:90%]' for training and "
    "split='train[90%:]' for evaluation."
)


class Split(NamedTuple):
    """A split by its name, and the bounds of a share as they are written; "" for an open one."""

    name: str
    start: str = ""
    stop: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it is the split itself and no share of it."""
        return not self.start and not self.stop

    def __str__(self) -> str:
        return self.name if self.is_whole else f"{self.name}[{self.start}:{self.stop}]"

    def limits(self, examples: int) -> tuple[int, int]:
        """The positions (start, stop) of the share in a split of so many examples.

        Raises:
            InputError: it holds no example, or a bound lies outside.
        """
        start = _position(self.start or "0", examples)
        stop = _position(self.stop or "100%", examples)
        if not 0 <= start < stop <= examples:
            raise InputError(f"{self} is no share of the {examples} examples of {self.name}.")
        return start, stop


def parse(text: str) -> Split:
    """Reads "NAME" or "NAME[START:STOP]"; bounds are in percent or in examples, < 0 from the end.

    Raises:
        InputError: it is neither.
    """
    match = _NOTATION.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"{text!r} is no split: write its name, such as train, or a share of it as "
            "'train[:90%]', 'train[90%:]' or 'train[:5000]'."
        )
    return Split(match["name"], match["start"] or "", match["stop"] or "")


def _position(bound, examples):
    if bound.endswith("%"):
        percent = float(bound.removesuffix("%"))
        place = round(percent * examples / 100)  # as TFDS rounds
    else:
        place = int(bound)
    return place + examples if place < 0 else place


def share(split: Split, labels: Sequence[int], names: Sequence[bytes]) -> np.ndarray:
    """Picks a share's examples, the same whatever the machine and the order they are listed in.

    Args:
        split: whose share.
        labels: (examples,) of the whole split.
        names: (examples,) by which the examples are told apart, such as CLASS/FILE.

    Returns:
        The numbers of its examples, int64, ascending.
    """
    start, stop = split.limits(len(labels))
    if split.is_whole:
        return np.arange(len(labels))
    mixed = sorted(range(len(labels)), key=lambda n: hashlib.sha256(names[n]).digest())
    sizes = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    seen = dict.fromkeys(sizes, 0)
    places = []
    for number in mixed:
        label = labels[number]
        # Evenly over 0 to 1, so that a cut anywhere leaves each class the same share.
        places.append((seen[label] + 0.5) / sizes[label])
        seen[label] += 1
    spread = np.asarray(mixed)[np.argsort(places, kind="stable")]
    return np.sort(spread[start:stop])


def tenth(name: str, labels: Sequence[int]) -> np.ndarray:
    """Picks "val", a tenth of the training examples in memory, or "train", the others.

    The tenth has its share of each class, and is the same on every machine.

    Args:
        name: "train" or "val".
        labels: (examples,) of all training examples.

    Returns:
        The numbers of its examples, int64, ascending.
    """
    bounds = ("90%", "") if name == "val" else ("", "90%")
    places = [str(number).encode() for number in range(len(labels))]
    return share(Split("trainval", *bounds), labels, places)


def of_arrays(
    name: str,
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A split of training and test examples in memory: (examples, labels).

    "trainval" is all training examples, "val" a `tenth` of them, "train" the others.
    """
    if name == "test":
        return test, test_labels
    if name == "trainval":
        return train, train_labels
    chosen = tenth(name, train_labels)
    return train[chosen], train_labels[chosen]


def held_out(names: Sequence[bytes], share: float = 0.2) -> list[bool]:
    """Which examples of one class are held out: those whose names' hashes are the smallest.

    The choice is the same on every machine and in whatever order they are listed, and each example
    that is added moves one of the others at most.

    Args:
        names: by which the examples are told apart, such as CLASS/FILE.
        share: of them; at least one is held out and one is not, where there are two.
    """
    count = min(max(round(share * len(names)), 1), max(len(names) - 1, 0))
    mixed = sorted(range(len(names)), key=lambda n: hashlib.sha256(names[n]).digest())
    chosen = {*mixed[:count]}
    return [number in chosen for number in range(len(names))]


def overlap(first: str, second: str) -> bool:
    """Whether two splits surely have examples in common.

    Bounds are compared where all are in percent, or all counted from the same end.
    """
    one, two = parse(first), parse(second)
    if one.name != two.name:
        names = {one.name, two.name}
        held_in_trainval = "trainval" in names and names < {"train", "val", "trainval"}
        return held_in_trainval and one.is_whole and two.is_whole
    if one.is_whole or two.is_whole:
        return True
    bounds = [bound for bound in (*one[1:], *two[1:]) if bound]
    if all(bound.endswith("%") for bound in bounds):
        examples = 10**6
    elif any(bound.endswith("%") for bound in bounds):
        return False
    elif len({bound.startswith("-") for bound in bounds}) > 1:
        return False  # that depends on how many examples there are
    else:
        examples = max(abs(int(bound)) for bound in bounds) + 1
    (low, high), (start, stop) = one.limits(examples), two.limits(examples)
    return max(low, start) < min(high, stop)
