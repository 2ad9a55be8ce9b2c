"""What files of other projects tell of this package's ResNets, and of its own older ones.

Every translation keeps the function of the network: what it computes agrees up to rounding.
"""

import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CAFFE_MEAN,
    CAFFE_STD,
    FIRST_STAGES,
    IMAGENET_BLOCKS,
    IMAGENET_MEAN,
    IMAGENET_STD,
)
from resnet_keras.networks import projections

from ..network import BLOCK_DROPOUT, PROJECTIONS, Network
from . import architecture, layouts, preactivation, widths
from .formats import Tensor
from .layouts import KERAS_APPLICATIONS, TORCH, changed, keras_name, renamed
from .wrappers import FOREIGN_HEAD

LEAVES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_TORCH_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|(?:downsample|shortcut)\.([01]))")
_CONVOLUTION = re.compile(r"conv(\d+)_block(\d+)_(\d)_conv(?:/kernel)?")
_VARIANT = re.compile(r"conv1_3_conv|conv\d_block\d+_(se_|0_pool)")
_DENSE = re.compile(r"(?!conv\d|logits/)[^/]+/(kernel|bias|gamma|beta|moving_mean|moving_variance)")


def translate(layout: str, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Renames another project's tensors to this package's, and reshapes them as they are read.

    What has no counterpart keeps its name.
    """
    if layout == TORCH:
        return _from_torch(tensors, network)
    return _from_keras_applications(tensors)


def defaults(layout: str, network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    bottleneck = network.depth in BOTTLENECK_DEPTHS
    if layout == KERAS_APPLICATIONS:
        stride = {"stride_in_1x1": True} if bottleneck else {}
        return {"mean": CAFFE_MEAN, "std": CAFFE_STD, "epsilon": 1.001e-5, **stride}
    if layout == TORCH:
        stride = {"stride_in_1x1": False} if bottleneck else {}
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **stride}
    return {}


def shown(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors themselves show, beside those of every network.

    Args:
        tensors: of `layouts.translate`.
        network: that they are read for.
        layers: the names of all layers, where the file has them: they show where bottlenecks
            stride.
    """
    options: dict[str, Any] = {**widths.shown(tensors, network)}
    if not network.plain:
        options |= _shown_shortcuts(tensors, network)
    if network.depth in BOTTLENECK_DEPTHS and "conv3_block1_1_conv" in layers:
        # Only a 3x3 convolution that strides is padded by a layer of its own.
        options["stride_in_1x1"] = "conv3_block1_2_pad" not in layers
    return options


def _shown_shortcuts(tensors, network):
    """The options `shortcut` and `projections`; Keras's numbers show only how many there are."""
    if not layouts.numbered(tensors):
        return shortcuts(tensors) or {"shortcut": shortcut(_projections(tensors), network)}
    names = [name.rpartition("layers/")[2] for name in tensors]
    kernels = sum(re.fullmatch(r"conv2d(_\d+)?/vars/0", name) is not None for name in names)
    count = kernels - (network.arguments["depth"] - 1)
    total = sum(_blocks(network))
    if 0 < count < total and count != _growing(network):
        return {}  # which `unsaid` asks for
    return {"shortcut": shortcut(count, network)}


def _projections(names):
    return sum(name.endswith("_0_conv/kernel") for name in names)


def shortcuts(names: Iterable[str]) -> dict[str, Any]:
    """The options `shortcut` and `projections` of a network of the paper's; empty for another.

    Where all that is told apart is the same network, of the options that make it "C" is given
    before "B", "B" before "A", and the smallest share.

    Args:
        names: of its convolutions, or of their kernels.
    """
    found = [match for name in names if (match := _CONVOLUTION.fullmatch(name))]
    blocks = sorted({(int(match[1]), int(match[2])) for match in found})
    projected = {(int(match[1]), int(match[2])) for match in found if match[3] == "0"}
    bottleneck = any(match[3] == "3" for match in found)
    growing = {(stage, 1) for stage, _ in blocks if bottleneck or stage > 2}
    leading = list(itertools.takewhile(projected.__contains__, blocks))
    if not projected or projected == set(blocks):
        return {"shortcut": "C" if projected else "A", PROJECTIONS: 0.0}
    if projected == {*leading} | growing:
        while leading and leading[-1] in growing:
            leading.pop()
        return {"shortcut": "B", PROJECTIONS: len(leading) / len(blocks)}
    if projected == {*leading}:
        return {"shortcut": "A", PROJECTIONS: len(leading) / len(blocks)}
    return {}


def check(
    path: Path, layout: str, tensors: dict[str, Tensor], network: Network, layers: Collection[str]
) -> None:
    """Raises `InputError`, which names the file's network, where it is not `network`."""
    excitation = next((name for name in tensors if re.search(r"[._]se(_module)?[._]", name)), None)
    if excitation is not None:
        raise InputError(
            f"{path} is of a squeeze-and-excitation network, of which {excitation} is a part, and "
            f"not of {network.name}: ask for seresnet50 or another of these."
        )
    if preactivation.shown(tensors):
        preactivation.check(path, tensors, network.name)
    if any(name.endswith("_0_pool") for name in layers):
        raise InputError(
            f"{path} holds weights of a network whose shortcuts pool, ResNet-D's, not of "
            f"{network.name}: ask for {network.name}d."
        )
    of = architecture.of(tensors, layers)
    if of is not None:
        architecture.check(path, of, network)
    elif layouts.numbered(tensors):
        architecture.check_numbered(path, layers, network)
    if layout == TORCH:
        _check_stem(path, tensors, network)
        if not network.plain:
            _check_shortcuts(path, tensors)


def unsaid(network: Network, options: Mapping[str, Any]) -> str | None:
    """What else must be given beside a file that says no more than `options`; None: nothing."""
    if network.depth in BOTTLENECK_DEPTHS and "stride_in_1x1" not in options:
        return (
            "does not say where its bottlenecks stride: give stride_in_1x1 (and epsilon, if it is "
            "not 1e-5)"
        )
    if not network.plain and "shortcut" not in options:
        return "does not say which of its shortcuts are projections: give shortcut and projections"
    return None


def described(layers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """Tells by a network's layers what it is, where nothing is recorded in it.

    Args:
        layers: (class name, config) of each layer, by its name.

    Returns:
        The network's name, and the options of its own that it was built with.

    Raises:
        KeyError: these are not the layers of a ResNet of this package.
    """
    if any(_VARIANT.search(name) or c == "GroupedConvolution" for name, (c, _) in layers.items()):
        raise KeyError("a record of the network")  # which is of `variants`
    blocks = [name for name in layers if re.fullmatch(r"conv\d_block\d+_out", name)]
    bottleneck, imagenet = "conv2_block1_3_conv" in layers, "pool1_pool" in layers
    depth = (3 if bottleneck else 2) * len(blocks) + 2
    plain = "conv2_block1_add" not in layers
    options: dict[str, Any] = {} if plain else _described_shortcuts(layers)
    if imagenet and bottleneck:
        options["stride_in_1x1"] = tuple(layers["conv3_block1_1_conv"][1]["strides"]) == (2, 2)
    options["output_stride"] = _described_output_stride(layers, stem=4 if imagenet else 1)
    if "conv1_conv" not in layers:
        raise KeyError("conv1_conv")
    options |= widths.of_layers(layers, "imagenet" if imagenet else "cifar10")
    return f"{'plain' if plain else 'resnet'}{depth}", options


def _described_shortcuts(layers):
    options = shortcuts(layers)
    if not options:
        raise KeyError("projections in the first blocks")
    rates = [c["rate"] for name, (_, c) in layers.items() if re.fullmatch(r".*\d_dropout", name)]
    return {**options, BLOCK_DROPOUT: max(rates, default=0.0)}


def _described_output_stride(layers, stem):
    convolutions = [c for name, (_, c) in layers.items() if re.match(r"conv\d_block1_[12]_c", name)]
    return stem * math.prod(convolution["strides"][0] for convolution in convolutions)


def _check_shortcuts(path, tensors):
    """Raises `InputError` where torch's tensors show projections, but not where dimensions grow."""
    shown = shortcuts(tensors)
    if shown.get("shortcut") == "A" and shown[PROJECTIONS]:
        raise InputError(
            f"{path} has projections in some shortcuts and none in others where dimensions grow, "
            "of which torch's names do not say how: keep such a network with zoo.save."
        )


def _check_stem(path, tensors, network):
    """Raises `InputError` where torch's tensors show a ResNet with another stem or width."""
    stem = _shape(tensors, "conv1_conv/kernel")
    first = _shape(tensors, "conv2_block1_1_conv/kernel")
    if stem is None:
        return
    height, _, channels, filters = stem
    if channels == 1:
        raise InputError(
            f"{path} is of a network that sees one channel, and the networks here see three, grey "
            "pixels too: repeat conv1.weight three times along its second axis and divide it by "
            "three, and give mean and std of three equal numbers."
        )
    if channels != 3:
        raise InputError(
            f"{path} is of a network that sees {channels} channels; the networks here see RGB."
        )
    stage, _ = FIRST_STAGES[network.dataset]
    if filters != stage and network.dataset == "cifar10":
        raise _other_width(path, filters, network)
    if network.dataset != "imagenet" or filters != stage:
        return
    if height == 3:
        raise InputError(
            f"{path} is of a network for small images, whose first convolution is 3x3 with 64 "
            f"filters; {network.name} has 7x7, and no network here has that one."
        )
    if first is not None and first[3] not in (64, filters):
        raise _other_width(path, first[3], network)


def _other_width(path, filters, network):
    return InputError(
        f"{path} is of a network of another width: its first block has {filters} filters where "
        f"{network.name} has {FIRST_STAGES[network.dataset][0]}."
    )


def _shape(tensors, name):
    shape = tensors[name].shape if name in tensors else ()
    return shape if len(shape) == 4 else None


def _from_torch(tensors, network):
    ours = ((torch_name(name) or name, tensor) for name, tensor in tensors.items())
    named = renamed((name, reshaped(name, tensor)) for name, tensor in ours)
    projections = any(re.search(r"_0_conv/kernel$", name) for name in named)
    if network.dataset == "cifar10" and not network.plain and not projections:
        return _zeros_behind(named)
    return named


def torch_name(name: str) -> str | None:
    """This package's name of a tensor of torchvision's ResNets; None where it has none."""
    layer, _, leaf = name.rpartition(".")
    if layer in ("fc", "linear"):
        return {"weight": "logits/kernel", "bias": "logits/bias"}.get(leaf)
    match = _TORCH_BLOCK.fullmatch(layer)
    if layer in ("conv1", "bn1"):
        prefix, kind = "conv1", layer[:-1]
    elif match:
        stage, block, kind, number, place = match.groups()
        kind = kind or ("conv", "bn")[int(place)]
        prefix = f"conv{int(stage) + 1}_block{int(block) + 1}_{number or 0}"
    else:
        return None
    if kind == "conv":
        return f"{prefix}_conv/kernel" if leaf == "weight" else None
    return f"{prefix}_bn/{LEAVES[leaf]}" if leaf in LEAVES else None


def named(layout: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors that were translated for another family, by a ResNet's names and shapes."""
    if layout != TORCH:
        return tensors
    names = {name: torch_name(name) or name for name in tensors}
    return {ours: reshaped(ours, tensors[name]) for name, ours in names.items()}


def reshaped(name: str, tensor: Tensor) -> Tensor:
    """torch's kernels are (out, in, height, width), its matrices (out, in)."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(tensor.shape))
    if axes is None or not name.endswith("/kernel"):
        return tensor
    return changed(tensor, lambda values: values.transpose(axes), axes)


def _zeros_behind(tensors):
    """akamaster's networks, whose option A adds zero channels on both sides of the others.

    This package adds them behind, as the paper's "extra zero entries". To renumber the channels of
    each stage makes one of the other: what each network computes stays the same.
    """
    orders = {2: list(range(16))}
    for stage in (3, 4):
        width, before = 16 * 2 ** (stage - 2), orders[stage - 1]
        front, back = range(width // 4), range(3 * width // 4, width)
        orders[stage] = [*(channel + width // 4 for channel in before), *front, *back]

    def reordered(name, tensor):
        match = re.fullmatch(r"conv(\d)_block(\d+)_([12])_(conv|bn)/\w+", name)
        if name == "logits/kernel":
            return _along(tensor, 0, orders[4])
        if not match:
            return tensor
        stage, block, number, kind = match.groups()
        if number == "2":  # into the sum with the shortcut
            return _along(tensor, -1, orders[int(stage)])
        if kind == "conv":  # out of the sum before
            return _along(tensor, 2, orders[int(stage) - (block == "1" and stage != "2")])
        return tensor

    return {name: reordered(name, tensor) for name, tensor in tensors.items()}


def _along(tensor, axis, order):
    if len(tensor.shape) <= axis or tensor.shape[axis] != len(order):
        return tensor  # it does not fit, which is said when it is assigned
    return changed(tensor, lambda values: values.take(order, axis))


def _from_keras_applications(tensors):
    split = ((keras_name(name).rpartition("/"), tensor) for name, tensor in tensors.items())
    named = renamed(
        (f"{'logits' if layer in ('probs', 'predictions') else layer}/{leaf}", tensor)
        for (layer, _, leaf), tensor in split
    )
    biases = {name: named.pop(name) for name in list(named) if name.endswith("_conv/bias")}
    for name, bias in biases.items():
        mean = name.replace("_conv/bias", "_bn/moving_mean")
        if mean not in named or named[mean].shape != bias.shape:
            raise InputError(f"The bias {name} belongs to no batch normalization.")
        named[mean] = _without(named[mean], bias)
    kernel = "conv1_conv/kernel"
    # Its input is BGR.
    named[kernel] = changed(named[kernel], lambda values: values[:, :, ::-1])
    # Users' own layers behind the network.
    return {
        f"{FOREIGN_HEAD}{name}" if _DENSE.fullmatch(name) else name: tensor
        for name, tensor in named.items()
    }


def _without(mean, bias):
    """A convolution's bias moves into the mean that the batch normalization subtracts."""
    return changed(mean, lambda values: values - bias.read())


def shortcut(projections: int, network: Network) -> str:
    """The option by the number of convolutions beside the network's own layers."""
    if projections <= 0:
        return "A"
    return "B" if projections <= _growing(network) else "C"


def _growing(network):
    """How many blocks have more channels behind them than in front."""
    if network.dataset == "cifar10":
        return 2
    return 4 if network.depth in BOTTLENECK_DEPTHS else 3


def same_shortcuts(network: Network, options: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether options `shortcut` and `projections` make one network in two ways, such as "C"."""
    return _projected(network, options) == _projected(network, others)


def _projected(network, options):
    """The blocks with projections, as (stage, number)."""
    blocks = [(s, n) for s, many in enumerate(_blocks(network)) for n in range(many)]
    option = options.get("shortcut", network.shortcut)
    if option == "C":
        return {*blocks}
    leading = {*blocks[: projections.count(options.get(PROJECTIONS, 0.0), len(blocks))]}
    skipped = len(_blocks(network)) - _growing(network)  # stages that begin as wide as the stem
    growing = {(stage, 0) for stage in range(skipped, len(_blocks(network)))}
    return leading | growing if option == "B" else leading


def _blocks(network):
    if network.dataset == "cifar10":
        return [(network.depth - 2) // 6] * 3
    return IMAGENET_BLOCKS[network.depth]


def features(network: Network) -> int:
    """Channels of the last stage."""
    if network.dataset == "cifar10":
        return 64
    return 2048 if network.depth in BOTTLENECK_DEPTHS else 512
