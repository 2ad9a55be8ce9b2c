"""What files of other projects tell of pre-activation networks, and of their own older ones.

timm's file of an ImageNet network in the authors' form and keras.applications' of its own form are
read; of the CIFAR networks none are. Every translation keeps the function of the network.
"""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import BOTTLENECK_DEPTHS, IMAGENET_BLOCKS, INCEPTION_MEAN, INCEPTION_STD

from ..network import Network
from . import architecture, layouts, preactivation, resnets, widths, wrappers
from .foreign import contents
from .formats import Tensor
from .layouts import KERAS_APPLICATIONS, TORCH, changed, keras_name, renamed
from .resnets import LEAVES
from .wrappers import FOREIGN_HEAD

_STEM = "stem.conv.weight"
WRAPPED = (wrappers.Names(_STEM), wrappers.RESNET)
_BLOCK = re.compile(r"stages\.(\d)\.blocks\.(\d+)\.(?:(conv|norm)(\d)|downsample\.(conv))")
_DENSE = re.compile(
    r"(?!conv\d|post_bn/|logits/)[^/]+/(kernel|bias|gamma|beta|moving_mean|moving_variance)"
)


def recognise(tensors: Collection[str]) -> str | None:
    """Tells another project's layout by the names of its tensors; None for none of them."""
    if _STEM in tensors:
        return TORCH
    return KERAS_APPLICATIONS if "post_bn/gamma" in {keras_name(n) for n in tensors} else None


def translate(layout: str, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Renames another project's tensors to this package's, and reshapes them as they are read.

    What has no counterpart keeps its name.
    """
    if layout == TORCH:
        return renamed(_from_torch(name, tensor) for name, tensor in tensors.items())
    named = renamed((_from_keras(name), tensor) for name, tensor in tensors.items())
    return {  # users' own layers behind the network
        f"{FOREIGN_HEAD}{name}" if _DENSE.fullmatch(name) else name: tensor
        for name, tensor in named.items()
    }


def defaults(layout: str, network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    if layout == KERAS_APPLICATIONS:
        return {"mean": INCEPTION_MEAN, "std": INCEPTION_STD, "epsilon": 1.001e-5}
    if layout == TORCH:  # what all of timm's networks of this kind have
        return {"mean": INCEPTION_MEAN, "std": INCEPTION_STD}
    return {}


def shown(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show, beside those of every network."""
    late = widths.shown(tensors, network)
    if "width" not in network.options or "width" in network.late:
        return late
    own, stem = tensors, "conv1_conv/kernel"
    if layouts.numbered(tensors):
        own = layouts.by_layer_number(tensors)
        stem = "conv2d/vars/0"
    known = stem in own and len(own[stem].shape) == 4
    return {**late, "width": own[stem].shape[-1]} if known else late


def check(
    path: Path, layout: str, tensors: dict[str, Tensor], network: Network, layers: Collection[str]
) -> None:
    """Raises `InputError`, which names the file's network, where it is not `network`."""
    if layouts.numbered(tensors):
        return
    if not preactivation.shown(tensors):
        shown = architecture.of(resnets.named(layout, tensors), layers)
        name = shown and architecture.name(shown)
        raise InputError(
            f"{path} holds weights of {name}, without pre-activation, not of {network.name}: ask "
            f"for {name}."
            if name
            else f"{path} holds weights of no network that is known here with pre-activation, such "
            f"as {network.name}: {contents(tensors)}."
        )
    if layout == TORCH and not any(name.endswith("/moving_mean") for name in tensors):
        raise InputError(
            f"{path} is of a network with group normalization, such as BiT's, and the networks "
            "here have batch normalization."
        )
    preactivation.check(path, tensors, network.name, layers)


def elsewhere(path: Path, tensors: Mapping[str, Tensor]) -> InputError | None:
    """The error for a file of timm's or keras.applications' where another network was asked for.

    Args:
        path: of the file.
        tensors: as the file has them.
    """
    prefix = next((name.removesuffix(_STEM) for name in tensors if name.endswith(_STEM)), None)
    if prefix is None:
        named = {_from_keras(name): tensor for name, tensor in tensors.items()}
    elif any(name.endswith("norm1.running_mean") for name in tensors):
        bare = ((name.removeprefix(prefix), tensor) for name, tensor in tensors.items())
        named = dict(_from_torch(name, tensor) for name, tensor in bare)
    else:
        return None  # BiT's
    found = preactivation.names(named) if preactivation.shown(named) else []
    return InputError(f"{path} holds weights of {found[0]}: ask for {found[0]}.") if found else None


def unsaid(network: Network, options: Mapping[str, Any]) -> str | None:
    """What else must be given beside a file that says no more than `options`: nothing."""


def features(network: Network) -> int | None:
    """Channels that the logits are made of; None where the row does not tell."""
    if "width" in network.arguments:
        return 64 * network.arguments["width"]
    return 2048 if network.dataset == "imagenet" and "width" not in network.options else None


def described(layers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """Tells by a network's layers what it is; as `resnets.described`.

    Raises:
        KeyError: these are not the layers of a network of `networks.preact`.
    """
    blocks, bottleneck = preactivation.blocks(layers)
    first = layers["conv1_conv"][1]
    if "pool1_pool" in layers:
        depth = {IMAGENET_BLOCKS[depth]: depth for depth in BOTTLENECK_DEPTHS}[blocks]
        if first["use_bias"]:
            return f"resnet{depth}v2", {}
        options = {**widths.of_layers(layers, "imagenet"), "width": first["filters"]}
        options["output_stride"] = _output_stride(layers, 4)
        return f"resnetv2_{depth}", options
    options = {"output_stride": _output_stride(layers, 1)}
    count, late = sum(blocks), widths.of_layers(layers, "cifar10")
    if bottleneck:
        return f"preact_resnet{3 * count + 2}", {**options, **late}
    if "conv2_block1_0_identity" in layers:
        return f"preact_resnet{2 * count + 2}", {**options, **late}
    rates = [c["rate"] for name, (_, c) in layers.items() if re.fullmatch(r".*\d_dropout", name)]
    options["block_dropout"] = max(rates, default=0.0)
    return f"wrn{2 * count + 4}_{late.pop('width'):g}", {**options, **late}


def _output_stride(layers, stem):
    convolutions = [c for name, (_, c) in layers.items() if re.match(r"conv\d_block1_[12]_c", name)]
    return stem * math.prod(convolution["strides"][0] for convolution in convolutions)


def _torch_name(name):
    layer, _, leaf = name.rpartition(".")
    if layer == "fc":  # of `wrappers.bare`
        return {"weight": "logits/kernel", "bias": "logits/bias"}.get(leaf)
    if name == _STEM:
        return "conv1_conv/kernel"
    if layer == "norm":
        return f"conv5_post_bn/{LEAVES[leaf]}" if leaf in LEAVES else None
    match = _BLOCK.fullmatch(layer)
    if match is None:
        return None
    stage, block, kind, number, projection = match.groups()
    place = f"conv{int(stage) + 2}_block{int(block) + 1}"
    if kind == "norm":
        # A convolution's number is that of the normalization before it.
        which = "preact" if number == "1" else int(number) - 1
        return f"{place}_{which}_bn/{LEAVES[leaf]}" if leaf in LEAVES else None
    if leaf != "weight":
        return None
    return f"{place}_{0 if projection else number}_conv/kernel"


def _from_torch(name, tensor):
    ours = _torch_name(name)
    if ours is None or not ours.endswith("/kernel"):
        return ours or name, tensor
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(tensor.shape))
    return ours, tensor if axes is None else changed(tensor, lambda v: v.transpose(axes), axes)


def _from_keras(name):
    layer, _, leaf = keras_name(name).rpartition("/")
    layer = {"post_bn": "conv5_post_bn", "predictions": "logits", "probs": "logits"}.get(
        layer, layer
    )
    return f"{layer}/{leaf}"
