"""By which of its measures a run is judged, and what people are told of that."""

import re
from collections.abc import Mapping
from typing import NamedTuple

TRAINING, TEST = "top1_error", "val_top1_error"  # columns of metrics.csv, of classifiers
_EVALUATED = "val_"  # begins the names of what is measured by an evaluation


class Monitor(NamedTuple):
    """A column of metrics.csv by which a run is judged, and which of its values is the best.

    Attributes:
        column: such as "val_top1_error".
        direction: "min" or "max".
    """

    column: str = TEST
    direction: str = "min"

    @property
    def is_evaluated(self) -> bool:
        """Whether an evaluation measures it, and training may measure the same."""
        return self.column.startswith(_EVALUATED)

    @property
    def measure(self) -> str:
        """What is measured, such as "top1_error"; in training, the name of a column."""
        return self.column.removeprefix(_EVALUATED)

    @property
    def is_error(self) -> bool:
        """Whether it is a share of wrong answers, which is told in percent."""
        return re.fullmatch(r"(top\d+_)?error", self.measure) is not None

    @property
    def name(self) -> str:
        """The measure as people are told of it."""
        return "error" if self.measure == TRAINING else self.measure

    @property
    def form(self) -> str:
        """How a value is written, see `runs.shown`."""
        return "{:.2%}" if self.is_error else "{:.4g}"

    def named(self, split: str) -> str:
        """What its values are called, such as "test error".

        Args:
            split: what to call the examples of an evaluation.
        """
        return f"{split} {self.name}" if self.is_evaluated else self.name

    @property
    def best_is(self) -> str:
        """Which value is the best one."""
        return "least" if self.direction == "min" else "largest"

    def order(self, value: float) -> float:
        """Sorts values from the best one on."""
        return value if self.direction == "min" else -value


def monitor_of(environment: Mapping[str, str]) -> Monitor:
    """What a run's environment.json says of it; the error, where it says nothing."""
    default = Monitor()
    return Monitor(
        environment.get("monitor", default.column),
        environment.get("direction", default.direction),
    )
