"""What a row of the registry says of a network, and of the family that it belongs to. No Keras."""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import BATCH, GROUP, LAYER, NORMALIZATIONS

from . import paper

if TYPE_CHECKING:
    import keras

# Arguments of every builder, see `resnet_keras.networks.network`. These may differ from what
# weights were made with,
FREE = ("num_classes", "input_shape", "include_top", "pooling", "dtype")
# these are of the training, and in no file,
TRAINING = ("synchronized", "stochastic_depth", "dropout")
# and these belong to the weights, as a family's own options do.
OF_WEIGHTS = ("mean", "std", "epsilon")
# This one is of the weights and of the training: see `of_weights`.
NORMALIZATION = "normalization"
# This one belongs to weights with a head, see `building`.
MAXOUT = "maxout"
WIDTH, INNER = "width", "inner_widths"
PROJECTIONS, BLOCK_DROPOUT = "projections", "block_dropout"
# Options of families that had none at first, which are `Network.late`.
PRUNED = {INNER: None}
WIDTHS = {WIDTH: 1.0, **PRUNED}
RESIDUAL = {PROJECTIONS: 0.0, BLOCK_DROPOUT: 0.0}
SHARED = (*FREE, *OF_WEIGHTS, NORMALIZATION, MAXOUT, *TRAINING)
IMAGES, SERIES = "images", "series"  # what networks take


def of_weights(normalization: str) -> str:
    """What weights are of that were trained with a normalization: "batch", "group" or "layer"."""
    return normalization if normalization in (GROUP, LAYER) else BATCH


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
        inputs: what its networks take: `IMAGES`, of shape (height, width, channels), or `SERIES`,
            of shape (length, channels).
        residual: whether there are residual branches, which stochastic depth drops.
        lacks: options of other families that these have not, and why, in words that go on after a
            colon.
    """

    builder: str | Callable[..., "keras.Model"]
    choices: Mapping[str, tuple[Any, ...]] = {}
    files: str | None = None
    head: tuple[str, str] | None = None
    inputs: str = IMAGES
    residual: bool = True
    lacks: Mapping[str, str] = {}


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
        late: which files and configurations have only where they are not the default: they came
            when there were files without them.
        paper_parameters: what its paper gives, such as "0.27M".
        paper_multiply_adds: what its paper gives, such as "1.8e9".
        paper_result: its error in its own paper, in words, such as "5.46 % test error
            (arXiv 1603.05027, Table 4)"; those of the paper itself are in `paper`.
    """

    name: str
    family: Family
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]
    dataset: str
    training: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    paper_parameters: str | None = None
    paper_multiply_adds: str | None = None
    paper_result: str | None = None

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
    def takes_series(self) -> bool:
        """Whether it is a network for series, and not for images."""
        return self.family.inputs == SERIES

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
    def residual(self) -> bool:
        """Whether it has residual branches."""
        return self.family.residual and not self.plain

    @property
    def normalized(self) -> bool:
        """Whether it has batch normalization."""
        return self.arguments.get("batch_norm", True)

    def check_normalization(self, normalization: str) -> None:
        """Raises `InputError` for what the network cannot have behind its convolutions."""
        if normalization not in NORMALIZATIONS:
            raise unknown(f"normalization of {self.name}:", normalization, NORMALIZATIONS)
        if not self.normalized and normalization != BATCH:
            raise InputError(
                f"{self.name} has no normalization behind its convolutions: leave it out, or take "
                f"{self.name}_bn."
            )

    @property
    def shortcut(self) -> str | None:
        """The default option: the paper's for CIFAR (Sec. 4.2), and B for ImageNet."""
        return {**self.arguments, **self.options}.get("shortcut")

    @property
    def paper_error(self) -> str | None:
        """What its paper gives for the default option, or else for another one, in words."""
        if self.paper_result is not None:
            return self.paper_result
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
