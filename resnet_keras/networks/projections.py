"""Which shortcuts are projections where a share of the blocks has them; imports no Keras."""

import math
import numbers
from collections.abc import Sequence
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import IMAGENET_BLOCKS


def checked(share: Any) -> float:
    """The share as a number; `InputError` where it is none in [0, 1]."""
    if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0 <= share <= 1:
        raise InputError(
            f"projections is the share of the blocks whose shortcuts are projections, a number in "
            f"[0, 1]; it cannot be {share!r}."
        )
    return float(share)


def count(share: Any, total: int) -> int:
    """How many of so many blocks a share is, half a block rounded up."""
    return math.floor(checked(share) * total + 0.5)


def exact(dataset: str, depth: int, share: Any) -> float:
    """The share without the rounding: that of whole blocks of a network of the paper's."""
    total = sum(IMAGENET_BLOCKS[depth]) if dataset == "imagenet" else (depth - 2) // 2
    return count(share, total) / total


def check(share: Any, shortcut: str | None) -> None:
    """Raises `InputError` for a share above 0 where all shortcuts are projections, or none is."""
    if checked(share) and shortcut == "C":
        raise InputError(
            f'With shortcut="C" every block has a projection: leave projections={share!r} out, or '
            'take shortcut="A" or "B".'
        )
    if share and shortcut is None:
        raise InputError(f"A plain network has no shortcuts: leave projections={share!r} out.")


def places(share: Any, shortcut: str | None, blocks: Sequence[int]) -> frozenset[str]:
    """Names of the blocks, counted from the first, that a share of them is.

    Args:
        share: of the blocks, in [0, 1].
        shortcut: of the others, "A" or "B".
        blocks: how many the stages have.

    Raises:
        InputError: as `check`.
    """
    check(share, shortcut)
    names = [
        f"conv{stage}_block{number}"
        for stage, many in enumerate(blocks, 2)
        for number in range(1, many + 1)
    ]
    return frozenset(names[: count(share, len(names))])
