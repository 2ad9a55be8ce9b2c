"""The registry: every network of the paper by name, with its weights.

    from resnet_keras import zoo
    model = zoo.get("resnet50")                       # He initialization
    model = zoo.get("resnet20", weights="digits")     # trained

Importing this package imports neither TensorFlow nor Keras; `get`, `backbone` and `info` do.
"""

import fnmatch
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError, unknown

from . import networks, recipes
from . import weights as weights_files
from .networks import NETWORKS
from .weights import ENTRIES, WeightsEntry

if TYPE_CHECKING:
    import keras

__all__ = [
    "ENTRIES",
    "NETWORKS",
    "ModelInfo",
    "WeightsEntry",
    "backbone",
    "get",
    "info",
    "list_models",
    "networks",
    "recipes",
]

# What `get` takes besides its own arguments; those of `resnet.resnet` and `resnet.cifar_resnet`.
OVERRIDES = ("shortcut", "stride_in_1x1", "mean", "std", "dtype", "synchronized", "epsilon")


class ModelInfo(NamedTuple):
    """What `info` returns; `print` shows it as a table.

    `parameters` counts trainable values, `multiply_adds` those of one image of `input_shape`
    through convolutions and dense layers; both are counted on the model, the `paper_` figures are
    the paper's own words.
    """

    name: str
    dataset: str
    shortcut: str | None
    input_shape: tuple[int, int, int]
    num_classes: int
    parameters: int
    multiply_adds: int
    paper_parameters: str | None
    paper_multiply_adds: str | None
    paper_error: str | None
    weights: tuple[WeightsEntry, ...]

    def __str__(self) -> str:
        height, width, channels = self.input_shape
        rows = [
            ("data set", f"{self.dataset}, {self.num_classes} classes"),
            ("input", f"{height} x {width} x {channels} RGB pixels, 0 to 255"),
            ("shortcuts", f"option {self.shortcut}" if self.shortcut else "none (plain)"),
            ("parameters", f"{self.parameters:,}{_paper(self.paper_parameters)}"),
            ("multiply-adds", f"{self.multiply_adds:,}{_paper(self.paper_multiply_adds)}"),
            ("paper's error", self.paper_error or "not given"),
            ("weights", ", ".join(entry.tag for entry in self.weights) or "none registered"),
        ]
        lines = [self.name, *(f"  {label:<14} {value}" for label, value in rows)]
        for entry in self.weights:
            lines += [f"  {entry.tag!r}: {line}" for line in _measured(entry)]
        return "\n".join(lines)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Returns the names of the networks, in the paper's order.

    Args:
        pattern: shell wildcards, such as "resnet*".
        pretrained: only networks with registered weights.
    """
    trained = {model for model, _ in ENTRIES}
    return [
        name
        for name in NETWORKS
        if fnmatch.fnmatchcase(name, pattern) and (name in trained or not pretrained)
    ]


def info(name: str) -> ModelInfo:
    """Builds the network and returns its counts, beside the paper's, and its weights.

    Raises:
        InputError: unknown name.
    """
    from resnet_keras.resnet import count_multiply_adds

    network = networks.find(name)
    model = get(name)
    return ModelInfo(
        name=name,
        dataset=network.dataset,
        shortcut=network.shortcut,
        input_shape=model.input_shape[1:],
        num_classes=model.output_shape[-1],
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        multiply_adds=count_multiply_adds(model),
        paper_parameters=network.paper_parameters,
        paper_multiply_adds=network.paper_multiply_adds,
        paper_error=network.paper_error,
        weights=tuple(entry for (model, _), entry in ENTRIES.items() if model == name),
    )


def get(
    name: str,
    *,
    weights: str | os.PathLike | None = None,
    num_classes: int | None = None,
    input_shape: Sequence[int | None] | None = None,
    include_top: bool = True,
    **overrides: Any,
) -> "keras.Model":
    """Builds a network, and loads weights into it.

    Args:
        name: one of `list_models()`, or resnetN or plainN of any other depth 6n+2.
        weights: None (He initialization), a registered tag such as "digits", or the path of a
            .safetensors file of this package. Its own options (classes, input shape, shortcut,
            normalization) become the defaults of the other arguments.
        num_classes: with weights of another number, the head is new and the rest is loaded.
        input_shape: (height, width, channels); height and width may be None.
        include_top: False ends at the last stage's features.
        **overrides: `shortcut`, `stride_in_1x1` (ImageNet), `mean`, `std`, `dtype`,
            `synchronized`, `epsilon`, as for `resnet.resnet`.

    Returns:
        A model from raw RGB pixels (batch, height, width, channels) in [0, 255], uint8 or float,
        to float32 logits (batch, classes).

    Raises:
        InputError: unknown name, weights or option, or weights that do not fit.
    """
    from resnet_keras import resnet

    network = networks.find(name)
    given = dict(overrides)
    for option in given:
        if option not in OVERRIDES:
            raise unknown("option", option, OVERRIDES)
    if num_classes is not None:
        given["num_classes"] = num_classes
    if input_shape is not None:
        given["input_shape"] = input_shape
    _check_options(network, given)

    options = {"shortcut": network.shortcut, **given}
    file = None
    if weights is not None:
        file = weights_files.read(weights_files.resolve(name, weights))
        options = {**_stored_options(network, file, given), **given}
    build = resnet.resnet if network.dataset == "imagenet" else resnet.cifar_resnet
    model = build(network.depth, include_top=include_top, name=name, **options)
    if file is not None:
        new_head = not include_top or options["num_classes"] != file.options["num_classes"]
        weights_files.assign(model, file, skip=("logits",) if new_head else ())
    return model


def backbone(
    name: str,
    *,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] | None = None,
    endpoints: str | Sequence[str] | None = None,
    **overrides: Any,
) -> "keras.Model":
    """Builds a network that returns the features of its stages.

    Args:
        name, weights, input_shape, **overrides: as for `get`.
        endpoints: of "conv2" to "conv5" (ImageNet, strides 4 to 32) or "conv2" to "conv4" (CIFAR,
            strides 1 to 4); None takes all.

    Returns:
        A model from pixels to a dict of features by endpoint, each (batch, h, w, channels).
    """
    import keras

    from resnet_keras.resnet import endpoints as outputs_of

    if "include_top" in overrides or "num_classes" in overrides:
        raise InputError("A backbone has no head: include_top and num_classes are for zoo.get.")
    if isinstance(endpoints, str):
        endpoints = (endpoints,)

    model = get(name, weights=weights, input_shape=input_shape, include_top=False, **overrides)
    found = outputs_of(model)
    for endpoint in endpoints or ():
        if endpoint not in found:
            raise unknown(f"endpoint of {name}:", endpoint, found)
    chosen = {key: found[key] for key in endpoints or found}
    return keras.Model(model.input, chosen, name=f"{name}_backbone")


def _check_options(network, given):
    shortcut = given.get("shortcut", network.shortcut)
    if network.plain and shortcut is not None:
        raise InputError(f"{network.name} is plain and has no shortcuts: take a resnet.")
    if not network.plain and shortcut is None:
        raise InputError(f"shortcut=None makes a plain network: take plain{network.depth}.")
    if "stride_in_1x1" in given and network.depth not in networks.BOTTLENECK_DEPTHS:
        raise InputError(f"{network.name} has no bottleneck blocks and no option stride_in_1x1.")


def _stored_options(network, file, given):
    """The options a weights file was saved with, its normalization among them."""
    if file.model != network.name:
        raise InputError(f"{file.path} holds weights of {file.model}, not of {network.name}.")
    stored = {"shortcut": network.shortcut, **file.options}
    if network.depth in networks.BOTTLENECK_DEPTHS:
        stored.setdefault("stride_in_1x1", True)
    stored |= {key: file.tensors[f"normalization/{key}"] for key in ("mean", "std")}
    for option in stored.keys() & given.keys() - {"num_classes", "input_shape"}:
        if option in ("mean", "std") or given[option] != stored[option]:
            raise InputError(
                f"{option} belongs to the weights in {file.path} and cannot be set beside them."
            )
    return stored


def _paper(figure):
    return f"  (paper: {figure})" if figure else ""


def _measured(entry):
    rows = entry.measured
    if not rows:
        return ["not measured"]
    return [
        f"top-1 error {100 * row['top1_error']:.2f} % on {row['dataset']}/{row['split']} "
        f"({row['examples']} images, {row['protocol']})"
        for row in rows
    ]
