"""A file for each family of networks: all that the registry knows of it, as plain data.

- `ROWS`: its networks, see `zoo.network`.
- `PATTERNS`: names of which there are more than are listed, and what makes a row of a match.
- `WEIGHTS`: its public weights, see `zoo.entry`.
- `DEFAULTS`: which of them "imagenet" and "cifar10" stand for, by (network, name).
"""

from . import preacts, resnets, variants, vggs

FAMILIES = (resnets, vggs, variants, preacts)
