"""The registered weights of all families, by network and tag; plain data.

None of the addresses could be reached while this was written: addresses and hashes are as their
publishers' sources give them.
"""

from resnet_keras.errors import unknown

from .entry import WeightsEntry
from .families import FAMILIES

ENTRIES = {(entry.model, entry.tag): entry for family in FAMILIES for entry in family.WEIGHTS}
DEFAULTS = {name: tag for family in FAMILIES for name, tag in family.DEFAULTS.items()}


def find(model: str, tag: str) -> WeightsEntry | None:
    """The entry of a tag, or of "imagenet" and "cifar10", which name each network's default."""
    return ENTRIES.get((model, DEFAULTS.get((model, tag), tag)))


def of_model(model: str) -> list[WeightsEntry]:
    """The entries of a network."""
    return [entry for (name, _), entry in ENTRIES.items() if name == model]


def no_such(model: str, tag: str) -> Exception:
    """The error for a tag that `find` does not know."""
    defaults = [alias for name, alias in DEFAULTS if name == model]
    return unknown(f"weights for {model}:", tag, [*defaults, *(e.tag for e in of_model(model))])
