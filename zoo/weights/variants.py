"""What other projects' files tell of the ResNets that followed, in torchvision's or timm's names.

ResNeXt and wide networks, C and D, and squeeze-and-excitation networks in timm's form and in their
authors' ("legacy"). Files of keras.applications there are none.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import BOTTLENECK_DEPTHS, IMAGENET_MEAN, IMAGENET_STD

from ..network import Network
from . import architecture, layouts, resnets, wrappers
from .foreign import contents
from .formats import Tensor
from .layouts import TORCH, renamed

_DEEP_STEM, _LEGACY_STEM = "conv1.0.weight", "layer0.conv1.weight"
_STEMS = ("conv1.weight", _DEEP_STEM, _LEGACY_STEM)
_EXCITATION = re.compile(r"layer(\d)\.(\d+)\.se(?:_module)?\.fc([12])\.(weight|bias)")
_PROJECTION = re.compile(r"(layer\d\.\d+\.downsample)\.([12])(?=\.)")
# timm's deep stem is a Sequential, of which bn1 is the last normalization.
_DEEP = {
    "conv1.0": ("conv1_1", "conv"),
    "conv1.1": ("conv1_1", "bn"),
    "conv1.3": ("conv1_2", "conv"),
    "conv1.4": ("conv1_2", "bn"),
    "conv1.6": ("conv1_3", "conv"),
    "bn1": ("conv1_3", "bn"),
}
_LEGACY = {"layer0.": "", "last_linear.": "fc."}


def recognise(tensors: Collection[str]) -> str | None:
    """Tells torch's layout by the names of its tensors; None for another one."""
    return TORCH if any(stem in tensors for stem in _STEMS) else None


def bare(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes off what people wrap torch's weights in; see `wrappers.bare`."""
    stems = (_DEEP_STEM, _LEGACY_STEM)
    stem = next((s for s in stems if any(name.endswith(s) for name in tensors)), "conv1.weight")
    return wrappers.bare(path, tensors, stem)


def translate(layout: str, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Renames torch's tensors to this package's, and reshapes them as they are read.

    What has no counterpart keeps its name.

    Raises:
        InputError: its shortcuts are those of the other form, C or D.
    """
    if layout != TORCH:
        return resnets.translate(layout, tensors, network)
    pooled = any(match[2] == "2" for name in tensors if (match := _PROJECTION.match(name)))
    if "pooled" in network.arguments and pooled != network.arguments["pooled"]:
        other = f"resnet{network.depth}{'d' if pooled else 'c'}"
        raise InputError(f"These are weights of {other}, not of {network.name}: ask for {other}.")
    deep = _DEEP_STEM in tensors
    return renamed(_from_torch(name, tensor, deep, pooled) for name, tensor in tensors.items())


def defaults(layout: str, network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if layout == TORCH else {}


def shown(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show, beside those of every network."""
    if "shortcut" not in network.options or layouts.numbered(tensors):
        return {}
    projections = sum(name.endswith("_0_conv/kernel") for name in tensors)
    return {"shortcut": resnets.shortcut(projections, network)}


def check(
    path: Path, layout: str, tensors: dict[str, Tensor], network: Network, layers: Collection[str]
) -> None:
    """Raises `InputError`, which names the file's network, where it is not `network`."""
    if layouts.numbered(tensors):
        return
    name = called(tensors)
    if name is None:
        raise InputError(
            f"{path} is of no network that is known here, of which {network.name} is one: "
            f"{contents(tensors)}."
        )
    if name != _as_its_tensors(network):
        raise InputError(f"{path} holds weights of {name}, not of {network.name}: ask for {name}.")
    legacy = _squeezes_exactly(tensors)
    if legacy is not None and legacy != network.arguments.get("legacy", False):
        other = f"legacy_{name}" if legacy else name
        raise InputError(f"{path} holds weights of {other}, not of {network.name}: ask for it.")


def unsaid(network: Network, options: Mapping[str, Any]) -> str | None:
    """What else must be given beside a file that says no more than `options`: nothing."""


def features(network: Network) -> int:
    """Channels of the last stage."""
    if network.dataset == "imagenet":
        return 2048 if network.depth in BOTTLENECK_DEPTHS else 512
    return 1024 if "cardinality" in network.arguments else 64


def described(layers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """Raises `KeyError`: such a network is known by what the zoo records in it."""
    raise KeyError("no record of the network")


def called(tensors: Mapping[str, Tensor]) -> str | None:
    """The network that these tensors are of, in this package's names; None for none of these.

    Of C and D it is D, and of an SE network the form that is not "legacy", as their tensors have
    the same names.
    """
    of = architecture.of(tensors)
    if of is None:
        return None
    depth = architecture.depth(of)
    if depth is None:
        return None
    excited = "se" if "conv2_block1_se_1_conv/kernel" in tensors else ""
    grouped = architecture.resnext_name(depth, *(of.form or ()))
    if grouped is not None:
        return excited + grouped
    # On small images the shortcuts alone are D's, which tensors do not show.
    deep = "d" if "conv1_3_conv/kernel" in tensors else ""
    return f"{excited}resnet{depth}{deep}"


def _as_its_tensors(network):
    """The name of the network as `called` gives it."""
    name = network.name.removeprefix("legacy_")
    if "pooled" in network.arguments:
        return f"{name[:-1]}d"
    return name if "cardinality" in network.arguments else name.removesuffix("d")


def _squeezes_exactly(tensors):
    """Whether an SE network's first block shows the authors' form; None where both are alike."""
    kernel = tensors.get("conv2_block1_se_1_conv/kernel")
    if kernel is None or len(kernel.shape) != 4:
        return None
    channels, reduced = kernel.shape[2:]
    return None if channels >= 128 else reduced == channels // 16


def _from_torch(name, tensor, deep, pooled):
    for old, new in _LEGACY.items():
        name = f"{new}{name.removeprefix(old)}" if name.startswith(old) else name
    match = _EXCITATION.fullmatch(name)
    if match:
        stage, block, number, leaf = match.groups()
        place = f"conv{int(stage) + 1}_block{int(block) + 1}_se_{number}_conv"
        name = f"{place}/{'kernel' if leaf == 'weight' else 'bias'}"
        return name, resnets.reshaped(name, tensor)
    layer, _, leaf = name.rpartition(".")
    if deep and layer in _DEEP:
        place, kind = _DEEP[layer]
        leaf = {"weight": "kernel"}.get(leaf) if kind == "conv" else resnets.LEAVES.get(leaf)
        name = f"{place}_{kind}/{leaf}" if leaf else name
        return name, resnets.reshaped(name, tensor)
    if pooled:  # the pooling is the first of a Sequential
        name = _PROJECTION.sub(lambda m: f"{m[1]}.{int(m[2]) - 1}", name)
    name = resnets.torch_name(name) or name
    return name, resnets.reshaped(name, tensor)
