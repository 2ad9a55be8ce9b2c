"""What one check found, in words."""

from collections.abc import Sequence
from typing import NamedTuple

LISTED = 20  # names in one finding


class Finding(NamedTuple):
    """What one check found.

    `ok` is False for a problem, which training or evaluation refuses or has to work around;
    `warns` is True for what both leave out, with a warning.
    """

    ok: bool
    text: str
    warns: bool = False

    @property
    def kind(self) -> str:
        """How the finding is called: ok, warning or problem."""
        return "problem" if not self.ok else "warning" if self.warns else "ok"


def many(count: int, noun: str) -> str:
    """Returns "1 file", "3 files" or "1,000 classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def listed(names: Sequence[str], noun: str, what: str) -> str:
    """Returns "3 files WHAT: a, b, c", or the first of them and how many more."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"{many(len(names), noun)} {what}: {', '.join(names[:LISTED])}{more}"
