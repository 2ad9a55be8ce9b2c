"""Whose names and shapes a file's weights have, and the same under this package's names.

Names of this package and of Keras are known here; those of other projects to the module that a
network's family names.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from resnet_keras.errors import InputError

from ..network import MAXOUT, WIDTH, Network
from . import kerashub
from .formats import Tensor

OWN, KERAS, KERAS_APPLICATIONS, TORCH = "resnet_keras", "keras", "keras_applications", "torch"
KERAS_HUB = "keras_hub"

_KERAS_LAYER = re.compile(r"(?:model_weights/)?(?:[^/]+/)*?([^/]+)/([^/:]+)(?::0)?")
_KERAS_VARIABLE = re.compile(r"((?:.*/)?layers/(\w+))/vars/(\d+)")
_NUMBER = re.compile(r"([^/]+)/(\d+)")
# The variables of this package's layers in Keras's order, trainable ones first.
_KERAS_LEAVES = {
    "conv": ("kernel", "bias"),
    **dict.fromkeys(("fc6", "fc7"), ("kernel", "bias")),
    "bn": ("gamma", "beta", "moving_mean", "moving_variance"),
    "logits": ("kernel", "bias"),
    MAXOUT: ("kernel", "bias"),
    "normalization": ("mean", "std"),
}


def recognise(tensors: dict[str, Tensor], network: Network | None = None) -> str | None:
    """Tells a layout by the names of its tensors; None for one that is not known.

    Args:
        tensors: by their names.
        network: that they are read for, whose family may know other projects' names.
    """
    if kerashub.recognise(tensors):
        return KERAS_HUB
    own = getattr(network and network.files, "recognise", None)
    if own is not None and (layout := own(tensors)):
        return layout
    if any(_KERAS_VARIABLE.fullmatch(name) for name in tensors):
        return KERAS
    if "conv1.weight" in tensors:  # of `wrappers.bare`
        return TORCH
    names = {keras_name(name) for name in tensors}
    if {"normalization/mean", "normalization/std"} <= names:
        return OWN
    if "conv1_conv/kernel" not in names or "post_bn/gamma" in names:  # that of ResNet V2
        return None
    # keras.applications' convolutions have biases, this package's have none.
    return KERAS_APPLICATIONS if "conv1_conv/bias" in names else OWN


def translate(
    layout: str, tensors: dict[str, Tensor], network: Network, layers: Mapping[str, str]
) -> dict[str, Tensor]:
    """Renames a file's tensors to this package's variables, and reshapes them as they are read.

    What has no counterpart keeps its name. The layout `KERAS` numbers layers in the order of a
    model; where `layers` (see `hdf5.layer`) has no names for the numbers, `keras_variables` is
    needed.

    Raises:
        InputError: two tensors come to one name, or the layout is not known for the network.
    """
    if layout == KERAS:
        return renamed((_named(name, layers), tensor) for name, tensor in tensors.items())
    if layout == OWN:
        return renamed((keras_name(name), tensor) for name, tensor in tensors.items())
    if layout == KERAS_HUB:
        return kerashub.translate(tensors)
    if network.files is None:
        raise InputError(
            f"This is a ResNet in another project's layout; {network.name} is read from this "
            "package's files and from Keras's."
        )
    return network.files.translate(layout, tensors, network)


def defaults(layout: str, network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    if layout == KERAS_HUB:
        return kerashub.defaults(network)
    return network.files.defaults(layout, network) if network.files else {}


def options(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show: classes, normalization, and more.

    Args:
        tensors: of `translate`.
        network: that they are read for.
        layers: the names of all layers, where the file has them.
    """
    shown: dict[str, Any] = {}
    head, mean, std = "logits/kernel", "normalization/mean", "normalization/std"
    maxout = f"{MAXOUT}/kernel"
    own = tensors
    if numbered(tensors):
        own = by_layer_number(tensors)
        first = "series" if "series_normalization/vars/0" in own else "pixel"
        mean, std = f"{first}_normalization/vars/0", f"{first}_normalization/vars/1"
        dense = [match for name in own if (match := re.fullmatch(r"dense(?:_(\d+))?/vars/0", name))]
        head = max(dense, key=lambda match: int(match[1] or 0))[0] if dense else ""
    of_network = network.files.shown(tensors, network, layers) if network.files else {}
    # The whole kernel, so that a small file cannot ask for a large head.
    features = network.files.features(network) if network.files else None
    if features and WIDTH in network.late:
        features = int(features * of_network.get(WIDTH, 1))
    shape = own[head].shape if head in own else ()
    if len(shape) == 2 and shape[0] > 0 and features in (None, shape[0]):
        shown["num_classes"] = own[head].shape[-1]
    shape = own[maxout].shape if maxout in own else ()
    if "num_classes" in shown and len(shape) == 2 and shape[0] and shape[1] >= 2 * shape[0]:
        shown[MAXOUT] = shape[1] // shape[0]
    if mean in own and std in own:
        shown |= {"mean": own[mean].read(), "std": own[std].read()}
        if len(own[mean].shape) > 1:  # one per pixel, or per step of series
            shown["input_shape"] = own[mean].shape
    return {**shown, **of_network}


def numbered(tensors: Collection[str]) -> bool:
    """Whether tensors have Keras's numbers, which `translate` had no names for."""
    return any(_KERAS_VARIABLE.fullmatch(name) for name in tensors)


def normalizes_groups(tensors: Collection[str]) -> bool:
    """Whether tensors are of layers for group or layer normalization, which have no statistics."""
    if numbered(tensors):
        layers = (name.rpartition("layers/")[2] for name in tensors)
        return any(name.startswith("group_normalization") for name in layers)
    leaves = {name.rpartition("/")[2] for name in tensors}
    return {"gamma", "beta"} <= leaves and "moving_mean" not in leaves


def by_layer_number(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with Keras's numbers by `conv2d/vars/0` and so on, without what stands before."""
    return {name.rpartition("layers/")[2]: tensor for name, tensor in tensors.items()}


def keras_variables(tensors: dict[str, Tensor], model) -> dict[str, Tensor]:
    """Names the tensors of a `.weights.h5` file by the variables of the model they belong to.

    Keras numbers the layers of each class in the model's order, and the variables of each layer,
    trainable ones first. What comes before the head has the same numbers with any head, which is
    the last layer of its class.
    """
    paths: dict[tuple[str, str], str] = {}
    counts: dict[str, int] = {}
    for layer in model.layers:
        name = re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        number = counts[name] = counts.get(name, -1) + 1
        group = f"{name}_{number}" if number else name
        for index, variable in enumerate(layer.variables):
            paths[group, str(index)] = variable.path
    if "logits" not in {layer.name for layer in model.layers}:
        group = f"dense_{counts['dense'] + 1}" if "dense" in counts else "dense"
        paths |= {(group, "0"): "logits/kernel", (group, "1"): "logits/bias"}

    def path(name):
        match = _KERAS_VARIABLE.fullmatch(name)
        return paths.get((match[2], match[3]), name) if match else name

    return renamed((path(name), tensor) for name, tensor in tensors.items())


def _named(name, layers):
    """`conv1_conv/kernel` of `layers/conv2d/vars/0`, whose group is named so in the file."""
    match = _KERAS_VARIABLE.fullmatch(name)
    layer = layers.get(match[1]) if match else None
    if match is None or layer is None or (layer == match[2] and layer != MAXOUT):
        return name  # the name of a layer of maxout is that of its class
    leaves, index = _KERAS_LEAVES.get(layer.rpartition("_")[2], ()), int(match[3])
    return f"{layer}/{leaves[index] if index < len(leaves) else index}"


def by_index(tensors: dict[str, Tensor], model) -> dict[str, Tensor]:
    """Names the tensors of layers that `translate` knows by name only, as `logits/0`."""
    layers = {layer.name: layer for layer in model.layers}

    def path(name):
        match = _NUMBER.fullmatch(name)
        layer = layers.get(match[1]) if match else None
        if match is None or layer is None or int(match[2]) >= len(layer.variables):
            return name
        return layer.variables[int(match[2])].path

    return renamed((path(name), tensor) for name, tensor in tensors.items())


def renamed(pairs):
    """A dict of tensors; `InputError` where two of a file come to one name."""
    named = {}
    for name, tensor in pairs:
        if name in named:
            raise InputError(f"There are two tensors for {name}.")
        named[name] = tensor
    return named


def changed(tensor, change: Callable, axes=None):
    """A tensor whose values are changed when they are read; `axes` say how its shape is."""
    shape = tensor.shape if axes is None else tuple(tensor.shape[axis] for axis in axes)
    return Tensor(shape, lambda: change(tensor.read()))


def keras_name(name):
    """`conv1_conv/kernel` of `conv1_conv/conv1_conv/kernel:0`."""
    match = _KERAS_LAYER.fullmatch(name)
    return f"{match.group(1)}/{match.group(2)}" if match else name
