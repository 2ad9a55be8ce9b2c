"""Tells of which network a file's weights are, by the names of its tensors and layers.

An identity and a zero-padded shortcut (option A) have no weights: by its tensors alone a residual
network without projections is the plain network of the same depth. Keras's files name layers
without weights too, additions among them, and tell the two apart.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.facts import BOTTLENECK_DEPTHS, IMAGENET_BLOCKS

from .. import networks
from ..network import Network
from .formats import Tensor

_BLOCK_LAYER = re.compile(r"(conv\d)_block(\d+)_(\d)_(?:conv|bn)")
_ADDITION = re.compile(r".*_add|add(?:_\d+)?")  # by this package's name, or by Keras's number


class Architecture(NamedTuple):
    """What a file shows of its network.

    Attributes:
        blocks: how many each stage has, from conv2 on.
        bottleneck: whether blocks have three convolutions, or two.
        projections: shortcuts that are convolutions.
        residual: whether there are shortcuts; None where the file does not tell.
        form: cardinality and base width of bottlenecks, (1, 64) of the paper's, the width as it is
            beside an output of 256 channels; None where blocks have two convolutions, or the
            tensors do not fit one another.
    """

    blocks: tuple[int, ...]
    bottleneck: bool
    projections: int
    residual: bool | None
    form: tuple[int, int] | None = None


def of(tensors: Mapping[str, Tensor], layers: Iterable[str] = ()) -> Architecture | None:
    """What a file's tensors show; None where they are of no block.

    Args:
        tensors: by names of this package's variables, such as `conv2_block1_1_conv/kernel`.
        layers: names of all layers, those without weights too; empty where the file has none.
    """
    places, numbers, projections = set(), set(), set()
    for name in tensors:
        match = _BLOCK_LAYER.match(name)
        if match:
            stage, block, number = match.groups()
            places.add((stage, block))
            numbers.add(number)
            if number == "0":
                projections.add((stage, block))
    if not places:
        return None
    stages = sorted({stage for stage, _ in places})
    layers = list(layers)
    added = any(_ADDITION.fullmatch(name) for name in layers)
    return Architecture(
        blocks=tuple(sum(place[0] == stage for place in places) for stage in stages),
        bottleneck="3" in numbers,
        projections=len(projections),
        residual=True if projections or added else False if layers else None,
        form=_form(tensors) if "3" in numbers else None,
    )


def _form(tensors):
    """By the first block's 3x3 kernel, (3, 3, channels of a group, channels), and its output."""
    inner, last = (
        tensors.get(f"conv2_block1_{number}_conv/kernel", Tensor((), tuple)).shape
        for number in (2, 3)
    )
    if len(inner) != 4 or len(last) != 4 or not inner[2] or inner[3] % inner[2]:
        return None
    cardinality = inner[3] // inner[2]
    return cardinality, inner[2] * 256 // max(last[3], 1)


def name(shown: Architecture) -> str | None:
    """The network here that has these blocks, in words; None for another network's."""
    layers = depth(shown)
    return _name(shown, layers) if layers else None


def check(path: object, shown: Architecture, network: Network) -> None:
    """Raises `InputError`, which names the file's network, where it is not `network`."""
    layers = depth(shown)
    form = network.arguments.get("cardinality", 1), network.arguments.get("base_width", 64)
    residual = shown.residual in (None, not network.plain)
    alike = shown.form == form or resnext_name(layers, shown.form) is None
    if layers == network.depth and residual and alike:
        return
    name = _name(shown, layers)
    advice = f": ask for {name}" if layers else ", and of no network that is known here"
    raise InputError(f"{path} holds weights of {name}, not of {network.name}{advice}.")


def check_numbered(path: object, layers: Iterable[str], network: Network) -> None:
    """The same for a file of an older Keras, whose layers have numbers in place of names."""
    residual = any(_ADDITION.fullmatch(name) for name in layers)
    if residual == network.plain:
        kind = "residual" if residual else "plain"
        raise InputError(f"{path} holds weights of a {kind} network, not of {network.name}.")


def depth(shown: Architecture) -> int | None:
    """The depth of the network here that has these blocks; None for another network's."""
    for layers, blocks in IMAGENET_BLOCKS.items():
        if (blocks, layers in BOTTLENECK_DEPTHS) == (shown.blocks, shown.bottleneck):
            return layers
    count = shown.blocks[0]
    if shown.blocks == (count,) * 3:
        return (9 if shown.bottleneck else 6) * count + 2
    return None


def _name(shown, depth):
    if depth is None:
        kind = "bottleneck" if shown.bottleneck else "basic"
        return f"a network of {', '.join(map(str, shown.blocks))} {kind} blocks"
    if name := resnext_name(depth, shown.form):
        return name
    plain, residual = f"plain{depth}", f"resnet{depth}"
    if shown.residual is None and _exists(plain):
        return f"{plain} or, with shortcut='A', {residual}"
    return plain if shown.residual is False else residual


def resnext_name(depth: int | None, form: tuple[int, int] | None) -> str | None:
    """What the network of ResNeXt's family, or the wide one, is called; None for none of these."""
    if depth is None or form is None:
        return None
    cardinality, base_width = form
    name = f"resnext{depth}_{cardinality}x{base_width}d"
    if depth not in BOTTLENECK_DEPTHS:  # of CIFAR, where no other network has bottlenecks
        return name
    if cardinality == 1:
        name = f"wide_resnet{depth}_{base_width // 64}"
    return name if name in networks.NETWORKS else None


def _exists(name):
    try:
        networks.find(name)
    except InputError:  # bottlenecks are residual
        return False
    return True
