"""The registry of networks: a row is all that a new one costs. Plain data, no Keras.

A row names the builder, what it is called with, the options that remain to the user, the data set
and the paper's figures; the rows of a family are a file of `zoo.families`. What other projects'
files tell of a family is told by one module, which its `Family` names. `register` adds rows from
outside this package.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError, unknown

from .families import FAMILIES
from .network import SHARED, Family, Network

if TYPE_CHECKING:
    import keras

PACKAGED = tuple(row for family in FAMILIES for row in family.ROWS)
NETWORKS = {row.name: row for row in PACKAGED}
_PATTERNS = tuple(pattern for family in FAMILIES for pattern in family.PATTERNS)


def is_name(name: object) -> bool:
    """Whether a text is the name of a network, of whatever depth; a `Path` is none."""
    if not isinstance(name, str):
        return False
    return name in NETWORKS or any(pattern.fullmatch(name) for pattern, _ in _PATTERNS)


def find(name: str) -> Network:
    """Returns a network by name; besides those listed, resnetN and plainN of any N = 6n+2."""
    if isinstance(name, str) and name in NETWORKS:
        return NETWORKS[name]
    for pattern, row in _PATTERNS:
        match = pattern.fullmatch(str(name))
        if match:
            return row(match)
    raise unknown("model", name, NETWORKS)


def can_be_name(name: object) -> bool:
    """Whether it has letters, digits and underscores, as the names of all networks."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is not None


def canonical(name: str, value: Any) -> Any:
    """The value of an option as a file gives it back: with tuples for lists, and Python's numbers.

    Raises:
        InputError: no file can hold it; the message calls it `name`.
    """

    def tuples(value):
        if isinstance(value, dict):
            raise TypeError("dict")
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    try:
        return tuples(json.loads(json.dumps(value, default=lambda array: array.tolist())))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} is a {type(value).__name__}: a network is rebuilt from its options, which "
            "must be numbers, texts, True, False, None, or lists of these."
        ) from error


def register(
    name: str,
    builder: Callable[..., "keras.Model"],
    *,
    arguments: Mapping[str, Any] | None = None,
    training: Iterable[str] = (),
    free: Iterable[str] = (),
    dataset: str = "imagenet",
    head: tuple[str, str] | None = None,
) -> Network:
    """Adds a network from outside this package: everything here then takes it by its name.

        zoo.register("toy16", toy, arguments={"width": 16}, dataset="cifar10")
        model = zoo.get("toy16", num_classes=4)

    It is known in this process: a script that calls `resnet_keras.train.main` registers first.

    Args:
        name: letters, digits and underscores. Registered again under the same name, a network
            takes the place of the first.
        builder: a function that returns a `keras.Model` as those of `resnet_keras.networks` do. It
            takes `**shared`, which it passes to `networks.network.network`, or all parameters of
            that by name. Its other parameters, which need defaults, become options of `zoo.get`.
        arguments: of the builder, which make it this network and are no options.
        training: options that are of the training and not of the weights.
        free: options that may differ from what weights were made with, such as an output stride.
        dataset: that the network was made for; of "cifar10", images are shown whole, at 32x32.
        head: see `Family`.

    Raises:
        InputError: the name is one of this package's or cannot be one, or the builder's
            parameters are not as above.
    """
    if not can_be_name(name):
        raise InputError(f"A network's name has letters, digits and underscores, not {name!r}.")
    if name in {row.name for row in PACKAGED} or (name not in NETWORKS and is_name(name)):
        raise InputError(f"{name} is a network of this package: choose another name.")
    options = _own_options(name, builder, arguments or {})
    fixed = {key: canonical(f"{key} of {name}", value) for key, value in (arguments or {}).items()}
    for option in (*training, *free):
        if option not in options:
            raise unknown(f"option of {name}:", option, options)
    family = Family(builder, head=head)
    row = Network(name, family, fixed, options, dataset, tuple(training), tuple(free))
    NETWORKS[name] = row
    return row


def _own_options(name, builder, arguments):
    """The options of a builder from outside, with their defaults, by its signature."""
    parameters = inspect.signature(builder).parameters
    shared = {*SHARED, "name"}
    named = {p.name: p for p in parameters.values() if p.kind is not p.VAR_KEYWORD}
    missing = sorted(shared - named.keys()) if len(named) == len(parameters) else []
    if missing:
        raise InputError(
            f"The builder of {name} lacks {', '.join(missing)}: let it take **shared and pass it "
            "to networks.network.network."
        )
    own = {key: parameter for key, parameter in named.items() if key not in shared}
    for argument in arguments:
        if argument not in own:
            raise unknown(f"parameter of {name}'s own builder:", argument, own)
    for parameter in named.values():
        if parameter.name not in arguments and parameter.default is parameter.empty:
            raise InputError(
                f"{parameter.name} of {name}'s builder has no default: give it one, or a value in "
                "arguments."
            )
    return {
        key: canonical(f"{key} of {name}", parameter.default)
        for key, parameter in own.items()
        if key not in arguments
    }
