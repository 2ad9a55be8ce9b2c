"""Contestants take turns, and medians over rounds are told of them."""

import functools

import pytest

from resnet_keras.benchmarks import rounds
from resnet_keras.benchmarks.clocks import Timing


def timings(*seconds):
    return [Timing(s, 2 * s, 0, 0) for s in seconds]


def test_ratio_is_the_median_of_the_rounds():
    assert rounds.ratio(timings(3, 2, 8), timings(1, 2, 4)) == {"wall": 2, "cpu": 2}


def test_medians_are_of_one_step():
    medians = rounds.medians(timings(1, 2, 6), 2)
    assert medians == {"wall": 1, "cpu": 2, "system": 0, "faults": 0}
    assert rounds.medians(timings(1, 2, 6))["wall"] == 2


def test_all_make_a_round_before_any_makes_the_next():
    order = []
    contestants = {name: functools.partial(order.append, name) for name in "ab"}
    assert rounds.take_turns(contestants, 2) == {"a": [None] * 2, "b": [None] * 2}
    assert order == ["a", "b", "a", "b"]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
