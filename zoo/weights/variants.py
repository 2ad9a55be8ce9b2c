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
from . import architecture, layouts, resnets, widths, wrappers
from .foreign import contents
from .formats import Tensor
from .layouts import TORCH, renamed

_DEEP_STEM, _LEGACY_STEM = "conv1.0.weight", "layer0.conv1.weight"
WRAPPED = tuple(
    wrappers.RESNET._replace(stem=stem) for stem in (_LEGACY_STEM, wrappers.RESNET.stem, _DEEP_STEM)
)
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
    return TORCH if any(kind.stem in tensors for kind in WRAPPED) else None


def translate(layout: str, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Renames torch's tensors to this package's, and reshapes them as they are read.

    What has no counterpart keeps its name.

    Raises:
        InputError: the names are those of another form of the network, C or D, legacy or not.
    """
    if layout != TORCH:
        return resnets.translate(layout, tensors, network)
    pooled = any(match[2] == "2" for name in tensors if (match := _PROJECTION.match(name)))
    legacy = _LEGACY_STEM in tensors
    if "pooled" in network.arguments and pooled != _pools(network) and _has_both(network):
        raise _other_form(network, f"resnet{network.depth}{'d' if pooled else 'c'}")
    if pooled != _pools(network):
        pools = "pool where dimensions grow, as ResNet-D's" if pooled else "do not pool"
        raise InputError(f"These are weights of a network whose shortcuts {pools}.")
    if "legacy" in network.arguments and legacy != network.arguments["legacy"]:
        raise _other_form(network, _in_form(network, legacy))
    deep = _DEEP_STEM in tensors
    return renamed(_from_torch(name, tensor, deep, pooled) for name, tensor in tensors.items())


def defaults(layout: str, network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    known = layout == TORCH and network.dataset == "imagenet"
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if known else {}


def shown(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show, beside those of every network."""
    if "shortcut" not in network.options or layouts.numbered(tensors):
        return widths.shown(tensors, network)
    projections = [name for name in tensors if name.endswith("_0_conv/kernel")]
    everywhere = any("_block2_" in name for name in projections)
    return {"shortcut": "C" if everywhere else "B" if projections else "A"}


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
    if layers and any(place.endswith("_0_pool") for place in layers) != _pools(network):
        raise InputError(
            f"{path} holds weights of a network whose shortcuts "
            f"{'do not pool' if _pools(network) else 'pool'}, not of {network.name}."
        )
    legacy = _is_legacy(tensors, layers)
    if legacy is not None and legacy != network.arguments.get("legacy", False):
        raise InputError(f"{path}: {_other_form(network, _in_form(network, legacy))}")


def unsaid(network: Network, options: Mapping[str, Any]) -> str | None:
    """What else must be given beside a file that says no more than `options`: nothing."""


def features(network: Network) -> int:
    """Channels of the last stage."""
    if network.dataset == "imagenet":
        return 2048 if network.depth in BOTTLENECK_DEPTHS else 512
    return 1024 if "cardinality" in network.arguments else 64


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
    grouped = architecture.resnext_name(depth, of.form)
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


def _pools(network):
    """Whether the network's shortcuts pool: those of D."""
    small = network.dataset != "imagenet" and "cardinality" not in network.arguments
    return network.arguments.get("pooled", small and network.name.endswith("d"))


def _has_both(network):
    """Whether there are C and D of the network's depth."""
    return network.depth in BOTTLENECK_DEPTHS


def _in_form(network, legacy):
    """The name of an SE network in one form or the other."""
    return f"{'legacy_' if legacy else ''}{network.name.removeprefix('legacy_')}"


def _other_form(network, other):
    return InputError(f"These are weights of {other}, not of {network.name}: ask for {other}.")


def _is_legacy(tensors, layers):
    """Whether an SE network is of the authors' form; None where nothing shows it.

    A squeeze to 64 / 16 channels does in basic blocks, and in bottlenecks a 3x3 that is not padded
    by a layer of its own, as it does not stride. Nothing tells it of ResNeXts in Keras's layouts.
    """
    kernel = tensors.get("conv2_block1_se_1_conv/kernel")
    if kernel is None or len(kernel.shape) != 4:
        return None
    channels, reduced = kernel.shape[2:]
    if channels < 128:
        return reduced == channels // 16
    form = architecture.of(tensors)
    if layers and form is not None and form.form == (1, 64):
        return "conv3_block1_2_pad" not in layers
    return None


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
