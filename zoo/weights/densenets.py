"""What files of other projects tell of DenseNets, and of their own older ones.

torchvision's and timm's files and keras.applications' are read; of the CIFAR networks none are.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import DENSENET_BLOCKS, IMAGENET_MEAN, IMAGENET_STD

from ..network import Network
from . import architecture, layouts, resnets, wrappers
from .foreign import contents
from .formats import Tensor
from .layouts import KERAS_APPLICATIONS, TORCH, changed, keras_name, renamed
from .resnets import LEAVES
from .wrappers import FOREIGN_HEAD

_STEM = "features.conv0.weight"
WRAPPED = (wrappers.Names(_STEM, body=re.compile(r"features\.")), wrappers.RESNET)
# Newer files have `norm1` where older ones have `norm.1`.
_TORCH = re.compile(
    r"features\.(?:(?P<stem>conv|norm)0|(?P<last>norm)5"
    r"|transition(?P<before>\d)\.(?P<transition>conv|norm)"
    r"|denseblock(?P<stage>\d)\.denselayer(?P<block>\d+)\.(?P<kind>conv|norm)\.?(?P<number>[12]))"
)
_KERAS = re.compile(r"pool(\d)_(conv|bn)")
_KERAS_LAYERS = {"bn": "conv5_post_bn", "predictions": "logits", "fc1000": "logits"}
_PLACE = re.compile(r"conv(\d)_block(\d+)_(\d)_conv(?:/|$)")
_DENSE = re.compile(r"(?!conv\d|logits/)[^/]+/(kernel|bias|gamma|beta|moving_mean|moving_variance)")


def recognise(tensors: Collection[str]) -> str | None:
    """Tells another project's layout by the names of its tensors; None for none of them."""
    if _STEM in tensors:
        return TORCH
    layers = (keras_name(name).partition("/")[0] for name in tensors)
    return KERAS_APPLICATIONS if any(map(_KERAS.fullmatch, layers)) else None


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
    if layout == KERAS_APPLICATIONS:  # whose "torch" mode these pixels have
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "epsilon": 1.001e-5}
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if layout == TORCH else {}


def shown(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show, beside those of every network."""
    if "growth_rate" not in network.options:
        return {}
    own, stem = tensors, "conv1_conv/kernel"
    if layouts.numbered(tensors):
        own = layouts.by_layer_number(tensors)
        stem = "conv2d/vars/0"
    known = stem in own and len(own[stem].shape) == 4
    return {"growth_rate": own[stem].shape[-1] // 2} if known else {}


def check(
    path: Path, layout: str, tensors: dict[str, Tensor], network: Network, layers: Collection[str]
) -> None:
    """Raises `InputError`, which names the file's network, where it is not `network`."""
    if layouts.numbered(tensors):
        return
    if not _is_dense(tensors):
        of = architecture.of(resnets.named(layout, tensors), layers)
        name = of and architecture.name(of)
        raise InputError(
            f"{path} holds weights of {name}, not of {network.name}: ask for {name}."
            if name
            else f"{path} holds weights of no DenseNet that is known here, of which {network.name} "
            f"is one: {contents(tensors)}."
        )
    _check(path, tensors, network.name)


def elsewhere(path: Path, tensors: Mapping[str, Tensor], asked: str) -> None:
    """Raises `InputError` for a file of a DenseNet where another family's network is asked for.

    Args:
        path: of the file.
        tensors: by the file's names, or by this package's.
        asked: the network's name.
    """
    prefix = next((name.removesuffix(_STEM) for name in tensors if name.endswith(_STEM)), None)
    if prefix is None:
        named = {_from_keras(name): tensor for name, tensor in tensors.items()}
    else:
        bare = ((name.removeprefix(prefix), tensor) for name, tensor in tensors.items())
        named = dict(_from_torch(name, tensor) for name, tensor in bare)
    if _is_dense(named):
        _check(path, named, asked)


def unsaid(network: Network, options: Mapping[str, Any]) -> str | None:
    """What else must be given beside a file that says no more than `options`: nothing."""


def features(network: Network) -> None:
    """Channels that the logits are made of, which the row does not tell."""


def described(layers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """Tells by a network's layers what it is; as `resnets.described`.

    Raises:
        KeyError: these are not the layers of a network of `networks.densenet`.
    """
    bottleneck = "conv2_block1_2_conv" in layers
    growth = layers[f"conv2_block1_{2 if bottleneck else 1}_conv"][1]["filters"]
    rates = [c["rate"] for name, (_, c) in layers.items() if re.fullmatch(r".*\d_dropout", name)]
    options = {"block_dropout": max(rates, default=0.0)}
    name = _name(layers, bottleneck, growth)
    if name == "densenet161" and growth != 48:  # whose row has it
        raise KeyError("densenet161 of growth rate 48")
    if "pool1_pool" in layers and name != "densenet161":
        options["growth_rate"] = growth
    return name, options


def _is_dense(tensors):
    """Whether there is a transition between stages."""
    return any(name.startswith("conv2_pool_conv/") for name in tensors)


def _check(path, tensors, asked):
    bottleneck = "conv2_block1_2_conv/kernel" in tensors
    kernel = tensors.get(f"conv2_block1_{2 if bottleneck else 1}_conv/kernel")
    try:
        name = _name(tensors, bottleneck, kernel.shape[-1] if kernel and kernel.shape else None)
    except KeyError:
        name = None
    if name != asked:
        of, advice = (
            name or "a DenseNet that is not known here",
            f": ask for {name}" if name else "",
        )
        raise InputError(f"{path} holds weights of {of}, not of {asked}{advice}.")


def _name(names: Iterable[str], bottleneck, growth):
    """The network with these layers or variables; `KeyError` where there is none."""
    places = {match.groups()[:2] for name in names if (match := _PLACE.match(name))}
    stages = sorted({stage for stage, _ in places})
    blocks = tuple(sum(place[0] == stage for place in places) for stage in stages)
    if len(blocks) == 3 and len(set(blocks)) == 1:
        kind, step = ("_bc", 6) if bottleneck else ("", 3)
        return f"densenet{kind}{step * blocks[0] + 4}_{growth}"
    return f"densenet{ {stages: depth for depth, stages in DENSENET_BLOCKS.items()}[blocks] }"


def _torch_name(name):
    layer, _, leaf = name.rpartition(".")
    if layer == "fc":  # of `wrappers.bare`
        return {"weight": "logits/kernel", "bias": "logits/bias"}.get(leaf)
    match = _TORCH.fullmatch(layer)
    if match is None:
        return None
    kind = match["stem"] or match["last"] or match["transition"] or match["kind"]
    if match["stem"]:
        place = "conv1"
    elif match["last"]:
        place = "conv5_post"
    elif match["transition"]:
        place = f"conv{int(match['before']) + 1}_pool"
    else:
        number = int(match["number"])
        # A normalization has the number of the convolution before it, and the first one 0.
        number -= kind == "norm"
        place = f"conv{int(match['stage']) + 1}_block{match['block']}_{number}"
    if kind == "norm":
        return f"{place}_bn/{LEAVES[leaf]}" if leaf in LEAVES else None
    return f"{place}_conv/kernel" if leaf == "weight" else None


def _from_torch(name, tensor):
    ours = _torch_name(name)
    if ours is None or not ours.endswith("/kernel"):
        return ours or name, tensor
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(tensor.shape))
    return ours, tensor if axes is None else changed(tensor, lambda v: v.transpose(axes), axes)


def _from_keras(name):
    """The released files are older than Keras's names of layers: `conv1/conv/kernel`."""
    older = re.search(r"(?:^|/)conv1/(conv|bn)/([^/:]+)(?::0)?$", name)
    if older:
        return f"conv1_{older[1]}/{older[2]}"
    layer, _, leaf = keras_name(name).rpartition("/")
    match = _KERAS.fullmatch(layer)
    layer = f"conv{match[1]}_pool_{match[2]}" if match else _KERAS_LAYERS.get(layer, layer)
    return f"{layer}/{leaf}"
