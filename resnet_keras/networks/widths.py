"""How many channels the stages and the blocks of other widths have; imports no Keras."""

import numbers
from collections.abc import Sequence
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import FIRST_STAGES

WIDEST = 10  # a factor; more is a number of channels, given for one


def first_stage(dataset: str, width: Any) -> int:
    """Channels of the first stage at a width; the stages after it have 2, 4 and 8 times as many.

    For ImageNet they are rounded to the nearest multiple of 8 that is not below 90 % of them, as
    MobileNets' are (the authors' `_make_divisible`), for CIFAR to a whole number.

    Args:
        dataset: that the network was made for, of `facts.FIRST_STAGES`.
        width: times the channels that the network has by its paper, above 0 and at most 10.

    Raises:
        InputError: the width is none of these.
    """
    channels, multiple = FIRST_STAGES[dataset]
    if isinstance(width, bool) or not isinstance(width, numbers.Real):
        raise _no_factor(width, channels)
    if not 0 < width <= WIDEST:
        raise _no_factor(width, channels)
    scaled = channels * float(width)
    rounded = max(multiple, int(scaled + multiple / 2) // multiple * multiple)
    return rounded if rounded >= 0.9 * scaled else rounded + multiple


def exact(dataset: str, width: Any) -> float:
    """The width without the rounding: by so much the channels are multiplied."""
    return first_stage(dataset, width) / FIRST_STAGES[dataset][0]


def inner_widths(
    given: Sequence[int] | None, blocks: Sequence[int], first: int
) -> list[Sequence[int | None]]:
    """For each stage, how many channels are between the convolutions of its blocks.

    Args:
        given: for each block in turn; None for as many as its stage has, which is the most. Those
            of a bottleneck are its first 1x1's and its 3x3's, of which each has so many.
        blocks: how many the stages have.
        first: channels of the first stage; of bottlenecks a quarter of its features.

    Returns:
        Those of each block; None for as many as its stage has.

    Raises:
        InputError: they are not of so many blocks, or a number is none of the above.
    """
    if given is None:
        return [[None] * count for count in blocks]
    limits = [first * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(limits):
        raise InputError(
            f"inner_widths has a number for each of the {len(limits)} blocks, the channels between "
            f"its convolutions; it cannot be {given!r}."
        )
    for number, (count, limit) in enumerate(zip(given, limits, strict=True), 1):
        whole = isinstance(count, numbers.Integral) and not isinstance(count, bool)
        if not whole or not 1 <= count <= limit:
            raise InputError(
                f"inner_widths of block {number} must be a whole number from 1 to {limit}, not "
                f"{count!r}."
            )
    counts = iter(map(int, given))
    return [[next(counts) for _ in range(count)] for count in blocks]


def _no_factor(width, channels):
    return InputError(
        f"width multiplies the channels of this network, {channels} in its first stage, by a "
        f"number above 0 and at most {WIDEST}, such as 0.5; it cannot be {width!r}."
    )
