"""Contestants take turns, round by round, and what is told of them are medians over the rounds.

So a machine whose speed drifts treats all alike. A round is a tuple with names, of which `wall` and
`cpu` are common to all benchmarks.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

COMPARED = ("wall", "cpu")  # of which ratios are told
Round = TypeVar("Round")


def take_turns(
    contestants: Mapping[str, Callable[[], Round]], rounds: int
) -> dict[str, list[Round]]:
    """Makes so many rounds of each contestant, one of all before the next of any.

    Args:
        contestants: by name, what makes a round and returns its figures.
        rounds: of each.

    Returns:
        The figures of each contestant's rounds, in order.
    """
    figures: dict[str, list[Round]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, make in contestants.items():
            figures[name].append(make())
    return figures


def medians(rounds: Sequence[NamedTuple], steps: int = 1) -> dict[str, float]:
    """Each figure's median over rounds, for one of so many equal steps."""
    return {
        field: statistics.median(getattr(figures, field) for figures in rounds) / steps
        for field in rounds[0]._fields
    }


def ratio(rounds: Sequence[NamedTuple], others: Sequence[NamedTuple]) -> dict[str, float]:
    """The figures of one contestant over those of another: medians of the rounds' ratios."""
    return {
        field: statistics.median(
            getattr(one, field) / getattr(other, field)
            for one, other in zip(rounds, others, strict=True)
        )
        for field in COMPARED
    }
