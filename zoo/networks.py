"""The registry of networks: a row is all that a new one costs. Plain data, no Keras.

A row names the builder, what it is called with, the options that remain to the user, the data set
and the paper's figures. What other projects' files tell of a family is told by one module, which
its `Family` names. `register` adds rows from outside this package.
"""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_BLOCKS,
    IMAGENET_OUTPUT_STRIDES,
)

from . import paper

if TYPE_CHECKING:
    import keras

IMAGENET_DEPTHS = tuple(IMAGENET_BLOCKS)

# Arguments of every builder, see `resnet_keras.networks.network`. These may differ from what
# weights were made with,
FREE = ("num_classes", "input_shape", "include_top", "pooling", "dtype")
# these are of the training, and in no file,
TRAINING = ("synchronized", "stochastic_depth", "dropout")
# and these belong to the weights, as a family's own options do.
OF_WEIGHTS = ("mean", "std", "epsilon")
SHARED = (*FREE, *OF_WEIGHTS, *TRAINING)


class Family(NamedTuple):
    """What the networks of one builder have in common.

    Attributes:
        builder: a function that returns a `keras.Model`, or "module:function", which is imported
            when it is used.
        choices: the values that an option may have, where they are few.
        files: the module that knows other projects' files of such networks; None: they are read
            only as this package and Keras write them.
        head: the stage and the last of the hidden layers behind it, where there are such: what a
            detector takes RoIs of, and what it makes of each.
    """

    builder: str | Callable[..., "keras.Model"]
    choices: Mapping[str, tuple[Any, ...]] = {}
    files: str | None = None
    head: tuple[str, str] | None = None


class Network(NamedTuple):
    """A row of the registry.

    Attributes:
        name: what `zoo.get` is asked for.
        family: of the network.
        arguments: of the builder, which make it this network.
        options: of the builder, which are the user's to set, with their defaults.
        dataset: that the network was made for, such as "imagenet" or "cifar10".
        training: which of the options are of the training and not of the weights.
        free: which may differ from what weights were made with.
        paper_parameters: what its paper gives, such as "0.27M".
        paper_multiply_adds: what its paper gives, such as "1.8e9".
    """

    name: str
    family: Family
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]
    dataset: str
    training: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    paper_parameters: str | None = None
    paper_multiply_adds: str | None = None

    @property
    def builder(self) -> Callable[..., "keras.Model"]:
        """The family's; imports Keras."""
        if callable(self.family.builder):
            return self.family.builder
        module, _, function = self.family.builder.partition(":")
        return getattr(importlib.import_module(module), function)

    def build(self, **options: Any) -> "keras.Model":
        """Calls the builder with these options; without one, its default is taken.

        Raises:
            InputError: the builder refuses them.
        """
        options = {**self.options, **options}
        try:
            return self.builder(**self.arguments, name=self.name, **options)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            own = {name: value for name, value in options.items() if name in self.options}
            raise InputError(f"{self.name} cannot be built with {own}: {error}") from error

    @property
    def files(self) -> Any:
        """The module that knows other projects' files of such networks, or None."""
        return self.family.files and importlib.import_module(self.family.files)

    @property
    def settled(self) -> tuple[str, ...]:
        """The options that belong to weights, beside those of every network."""
        return tuple(name for name in self.options if name not in (*self.training, *self.free))

    @property
    def accepted(self) -> tuple[str, ...]:
        """What a user may set: the network's own options, and those of every network."""
        return (*self.options, *SHARED)

    @property
    def depth(self) -> int | None:
        """Layers with weights, where the network has a depth."""
        return self.arguments.get("depth")

    @property
    def plain(self) -> bool:
        """Whether it is a plain network of the paper."""
        return "shortcut" in self.arguments and self.shortcut is None

    @property
    def shortcut(self) -> str | None:
        """The default option: the paper's for CIFAR (Sec. 4.2), and B for ImageNet."""
        return {**self.arguments, **self.options}.get("shortcut")

    @property
    def paper_error(self) -> str | None:
        """What the paper gives for the default option, or else for another one, in words."""
        ten_crop = self.dataset == "imagenet"
        protocol = paper.TEN_CROP if ten_crop else paper.SINGLE_VIEW
        for shortcut in (self.shortcut, *paper.OPTIONS):
            errors = paper.errors(self.name, shortcut, protocol)
            if errors:
                kind = "top-1 error, 10-crop" if ten_crop else "test error"
                option = f", option {shortcut}" if ten_crop and shortcut else ""
                note = f", {errors.note}" if errors.note else ""
                return f"{errors.top1} % {kind}{option}{note} ({errors.place})"
        return None


_FILES = "resnet_keras.zoo.weights.resnets"
_SHORTCUTS = {"shortcut": paper.OPTIONS}
_RESNET = Family(
    "resnet_keras.networks.resnet:resnet",
    {**_SHORTCUTS, "stride_in_1x1": (True, False), "output_stride": IMAGENET_OUTPUT_STRIDES},
    _FILES,
)
_CIFAR_RESNET = Family(
    "resnet_keras.networks.resnet:cifar_resnet",
    {**_SHORTCUTS, "output_stride": CIFAR_OUTPUT_STRIDES},
    _FILES,
)
_VGG = Family(
    "resnet_keras.networks.vgg:vgg", files="resnet_keras.zoo.weights.vggs", head=("conv5", "fc7")
)


def _imagenet(depth, plain=False):
    bottleneck = {"stride_in_1x1": True} if depth in BOTTLENECK_DEPTHS else {}
    return Network(
        name=f"{'plain' if plain else 'resnet'}{depth}",
        family=_RESNET,
        arguments={"depth": depth, **({"shortcut": None} if plain else {})},
        options={**({} if plain else {"shortcut": "B"}), **bottleneck, "output_stride": 32},
        free=("output_stride",),
        dataset="imagenet",
        paper_multiply_adds=paper.MULTIPLY_ADDS[depth],
    )


def _cifar(depth, plain=False):
    return Network(
        name=f"{'plain' if plain else 'resnet'}{depth}",
        family=_CIFAR_RESNET,
        arguments={"depth": depth, **({"shortcut": None} if plain else {})},
        options={**({} if plain else {"shortcut": "A"}), "output_stride": 4},
        free=("output_stride",),
        dataset="cifar10",
        paper_parameters=paper.PARAMETERS.get(depth),
    )


def _vgg(depth, batch_norm=False):
    return Network(
        name=f"vgg{depth}{'_bn' if batch_norm else ''}",
        family=_VGG,
        arguments={"depth": depth, "batch_norm": batch_norm},
        options={"width": 64, "hidden": 4096},
        dataset="imagenet",
        paper_multiply_adds=None if batch_norm else paper.VGG_MULTIPLY_ADDS[depth],
    )


PACKAGED = (
    *(_imagenet(depth) for depth in IMAGENET_DEPTHS),
    *(_imagenet(depth, plain=True) for depth in (18, 34)),
    *(_cifar(depth) for depth in paper.PARAMETERS),
    *(_cifar(depth, plain=True) for depth in (20, 32, 44, 56, 110)),
    *(_vgg(depth, batch_norm) for depth in (16, 19) for batch_norm in (False, True)),
)
NETWORKS = {row.name: row for row in PACKAGED}


def _resnet_of(match):
    """The CIFAR network of a depth that the paper has not."""
    name, depth = match[0], int(match[2])
    if depth in IMAGENET_DEPTHS:
        raise InputError(f"Plain ImageNet networks are plain18 and plain34; there is no {name}.")
    if depth < 8 or (depth - 2) % 6:
        imagenet = ", ".join(f"resnet{known}" for known in IMAGENET_DEPTHS)
        raise InputError(
            f"Unknown model {name!r}: ImageNet networks are {imagenet}, plain18 and plain34; "
            "CIFAR networks have 6n+2 layers (resnet8, resnet14, resnet20, resnet26, ...)."
        )
    return _cifar(depth, plain=match[1] == "plain")


# Names of which there are more than are listed, and what makes a row of one.
_PATTERNS: tuple[tuple[re.Pattern, Callable[[re.Match], Network]], ...] = (
    (re.compile(r"(resnet|plain)(\d{1,5})"), _resnet_of),
)


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
