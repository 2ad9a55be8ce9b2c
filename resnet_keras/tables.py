"""Tables of results: the paper's number beside the measured one, as text and as Markdown."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

NOT_RUN = "not run"
NOT_GIVEN = "not given"


class Table(NamedTuple):
    """A table of texts; each row has as many as there are columns. None is `NOT_GIVEN`."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | None]]


def percent(share: float | None) -> str:
    """An error in [0, 1] as a number of percent, or `NOT_RUN`."""
    return NOT_RUN if share is None else f"{100 * share:.2f}"


def spread(shares: Sequence[float]) -> str:
    """Mean and sample standard deviation of errors in [0, 1], in percent; the mean of one run."""
    if len(shares) < 2:
        return percent(shares[0] if shares else None)
    values = [100 * share for share in shares]
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"


def markdown(table: Table) -> str:
    """The table in Markdown, with columns of numbers to the right; without its title."""
    numbers = [_is_number(column) for column in zip(*table.rows, strict=True)]
    rule = ["---:" if number else "---" for number in numbers] or ["---"] * len(table.columns)
    lines = [_line(table.columns), f"|{'|'.join(rule)}|", *map(_line, table.rows)]
    return "\n".join(lines)


def _is_number(texts):
    told = [text for text in texts if text not in (None, NOT_RUN, NOT_GIVEN)]
    return bool(told) and all(text.lstrip("-+")[:1].isdigit() for text in told)


def _line(texts):
    cells = (" ".join((text or NOT_GIVEN).split()).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(cells)} |"
