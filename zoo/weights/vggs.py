"""What files of other projects tell of VGG networks."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    CAFFE_MEAN,
    CAFFE_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    VGG_BLOCKS,
    VGG_SIDE,
)

from ..network import Network
from . import layouts, wrappers
from .foreign import contents
from .formats import Tensor
from .layouts import KERAS_APPLICATIONS, TORCH, changed, keras_name, renamed
from .resnets import LEAVES

HIDDEN = ("fc6", "fc7")
_STEM = "features.0.weight"
WRAPPED = (
    wrappers.Names(
        _STEM,
        body=re.compile(r"(features|classifier\.[03])\."),
        linear=re.compile(rf"classifier\.6(\.[01])?|{wrappers.LINEAR.pattern}"),
    ),
)
_FEATURE = re.compile(r"features\.(\d+)\.(\w+)")
_CLASSIFIER = {"classifier.0": "fc6", "classifier.3": "fc7", "fc": "logits"}
_KERAS = re.compile(r"block(\d)_conv(\d)")
_KERAS_DENSE = {"fc1": "fc6", "fc2": "fc7", "predictions": "logits"}
_FIRST = "conv1_block1_conv/kernel"


def recognise(tensors: Collection[str]) -> str | None:
    """Tells another project's layout by the names of its tensors; None for none of them."""
    if _STEM in tensors:
        return TORCH
    return KERAS_APPLICATIONS if any(_KERAS.match(keras_name(n)) for n in tensors) else None


def translate(layout: str, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Renames another project's tensors to this package's, and reshapes them as they are read.

    What has no counterpart keeps its name.
    """
    if layout == TORCH:
        places = _torch_places(tensors)
        return renamed(_from_torch(name, tensor, places) for name, tensor in tensors.items())
    named = renamed(_from_keras(name, tensor) for name, tensor in tensors.items())
    if _FIRST in named:  # its input is BGR
        named[_FIRST] = changed(named[_FIRST], lambda values: values[:, :, ::-1])
    return named


def defaults(layout: str, network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    if layout == KERAS_APPLICATIONS:
        return {"mean": CAFFE_MEAN, "std": CAFFE_STD}
    if layout == TORCH:
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return {}


def shown(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show, beside those of every network."""
    own, first, dense = tensors, _FIRST, "fc6/kernel"
    if layouts.numbered(tensors):
        own = layouts.by_layer_number(tensors)
        first, dense = "conv2d/vars/0", "dense/vars/0"
    options = {}
    for option, name, rank in (("width", first, 4), ("hidden", dense, 2)):
        if name in own and len(own[name].shape) == rank:
            options[option] = own[name].shape[-1]
    return options


def check(
    path: Path, layout: str, tensors: dict[str, Tensor], network: Network, layers: Collection[str]
) -> None:
    """Raises `InputError`, which names the file's network, where it is not `network`."""
    if layouts.numbered(tensors):
        return
    blocks = {m[0] for name in tensors if (m := re.match(r"conv\d_block\d_conv(?=/)", name))}
    norms = {m[0] for name in tensors if (m := re.match(r"conv\d_block\d_bn(?=/)", name))}
    found = {sum(stages): f"vgg{depth}" for depth, stages in VGG_BLOCKS.items()}.get(len(blocks))
    found = found and f"{found}{'_bn' if norms else ''}"
    if found is None:
        raise InputError(
            f"{path} is of no VGG network that is known here, of which {network.name} is one: "
            f"{contents(tensors)}."
        )
    if found != network.name:
        raise InputError(
            f"{path} holds weights of {found}, not of {network.name}: ask for {found}."
        )


def unsaid(network: Network, options: Mapping[str, Any]) -> str | None:
    """What else must be given beside a file that says no more than `options`: nothing."""


def features(network: Network) -> None:
    """Channels that the logits are made of: those of the hidden layers, which may have any."""


def described(layers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """Tells by a network's layers what it is; as `resnets.described`.

    Raises:
        KeyError: these are not the layers of a VGG network of this package.
    """
    count = sum(re.fullmatch(r"conv\d_block\d_conv", name) is not None for name in layers)
    depth = {sum(stages): depth for depth, stages in VGG_BLOCKS.items()}[count]
    options = {"width": layers["conv1_block1_conv"][1]["filters"]}
    if "fc6" in layers:
        options["hidden"] = layers["fc6"][1]["units"]
    return f"vgg{depth}{'_bn' if 'conv1_block1_bn' in layers else ''}", options


def _torch_places(tensors):
    """What a tensor's number in torch's `features` stands for; empty for another network's."""
    numbers = sorted(
        int(match[1])
        for name, tensor in tensors.items()
        if (match := _FEATURE.fullmatch(name)) and len(tensor.shape) == 4
    )
    stages = {sum(stages): stages for stages in VGG_BLOCKS.values()}.get(len(numbers), ())
    blocks = [
        f"conv{stage}_block{block}"
        for stage, count in enumerate(stages, 1)
        for block in range(1, count + 1)
    ]
    places = {}
    for number, block in zip(numbers, blocks, strict=False):
        places |= {number: f"{block}_conv", number + 1: f"{block}_bn"}
    return places


def _from_torch(name, tensor, places):
    layer, _, leaf = name.rpartition(".")
    match = _FEATURE.fullmatch(name)
    place = places.get(int(match[1])) if match else _CLASSIFIER.get(layer)
    if place is None:
        return name, tensor
    if place.endswith("_bn"):
        return f"{place}/{LEAVES.get(leaf, leaf)}", tensor
    if leaf != "weight":
        return f"{place}/{leaf}", tensor
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(tensor.shape))
    if axes is not None:
        tensor = changed(tensor, lambda values: values.transpose(axes), axes)
    if place == "fc6":
        tensor = changed(tensor, _channels_last)
    return f"{place}/kernel", tensor


def _channels_last(kernel):
    """torch's first dense layer sees its features flattened with the channels first."""
    inputs, units = kernel.shape
    if inputs % VGG_SIDE**2:
        return kernel  # it does not fit, which is said when it is assigned
    parts = kernel.reshape(inputs // VGG_SIDE**2, VGG_SIDE, VGG_SIDE, units)
    return parts.transpose(1, 2, 0, 3).reshape(inputs, units)


def _from_keras(name, tensor):
    """The released files are older than Keras's names of variables: `block1_conv1_W_1`."""
    layer, _, leaf = keras_name(name).rpartition("/")
    kind = {"W_1": "kernel", "b_1": "bias"}.get(leaf.removeprefix(f"{layer}_"), leaf)
    match = _KERAS.fullmatch(layer)
    if match:
        return f"conv{match[1]}_block{match[2]}_conv/{kind}", tensor
    return f"{_KERAS_DENSE.get(layer, layer)}/{kind}", tensor
