"""How many channels the stages of a network of another width have; imports no Keras."""

import numbers
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


def _no_factor(width, channels):
    return InputError(
        f"width multiplies the channels of this network, {channels} in its first stage, by a "
        f"number above 0 and at most {WIDEST}, such as 0.5; it cannot be {width!r}."
    )
