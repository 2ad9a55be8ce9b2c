"""What one check found, in words."""

from collections.abc import Sequence
from typing import NamedTuple

LISTED = 20  # names in one finding


class Finding(NamedTuple):
    """What one check found; `ok` is False for a problem."""

    ok: bool
    text: str


def many(count: int, noun: str) -> str:
    """Returns "1 file", "3 files" or "1,000 classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def listed(names: Sequence[str], noun: str, what: str) -> str:
    """Returns "3 files WHAT: a, b, c", or the first of them and how many more."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"{many(len(names), noun)} {what}: {', '.join(names[:LISTED])}{more}"
