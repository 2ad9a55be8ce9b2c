"""Tells pre-activation networks by the names of their variables, as `architecture` does others."""

import re
from collections.abc import Collection, Iterable, Mapping

from resnet_keras.errors import InputError
from resnet_keras.facts import BOTTLENECK_DEPTHS, IMAGENET_BLOCKS

from .formats import Tensor

_LAYER = re.compile(r"(conv\d)_block(\d+)_(\w+?)_(?:conv|bn)(?:/|$)")


def shown(tensors: Iterable[str]) -> bool:
    """Whether there is a block that begins with its normalization."""
    return any("_preact_bn/" in name for name in tensors)


def blocks(layers: Iterable[str]) -> tuple[tuple[int, ...], bool]:
    """How many blocks each stage has, and whether they are bottlenecks.

    Args:
        layers: names of layers, or of variables in them.
    """
    places = {match.groups() for name in layers if (match := _LAYER.match(name))}
    stages = sorted({stage for stage, _, _ in places})
    counts = tuple(len({block for at, block, _ in places if at == stage}) for stage in stages)
    return counts, any(kind == "3" for _, _, kind in places)


def names(tensors: Mapping[str, Tensor]) -> list[str]:
    """The networks whose weights these may be; none where it is not known here.

    Those of basic blocks and of width 1 are two with the same weights, see `networks.preact`.
    """
    counts, bottleneck = blocks(tensors)
    depths = {IMAGENET_BLOCKS[depth]: depth for depth in BOTTLENECK_DEPTHS}
    if bottleneck and counts in depths:
        biased = "conv1_conv/bias" in tensors
        return [f"resnet{depths[counts]}v2" if biased else f"resnetv2_{depths[counts]}"]
    stem, kernel = (tensors.get(f"{layer}_conv/kernel") for layer in ("conv1", "conv2_block1_2"))
    if len(counts) != 3 or len(set(counts)) != 1 or stem is None or kernel is None:
        return []
    total, width = sum(counts), kernel.shape[-1] // 16
    if bottleneck:
        return [f"preact_resnet{3 * total + 2}"]
    if stem.shape[-1] != 16:  # a wide network's has 16 channels whatever its width
        return [f"preact_resnet{2 * total + 2}"]
    wide = f"wrn{2 * total + 4}_{width}"
    return [f"preact_resnet{2 * total + 2}", wide] if width == 1 else [wide]


def check(
    path: object, tensors: Mapping[str, Tensor], asked: str, layers: Collection[str] = ()
) -> None:
    """Raises `InputError`, which names the network, where it is not the one that is asked for.

    Args:
        path: of the file.
        tensors: by this package's names.
        asked: the network's name.
        layers: the names of all layers, where the file has them: of two networks with the same
            weights they tell which it is.
    """
    found = names(tensors)
    if len(found) == 2 and layers:
        found = found[:1] if "conv2_block1_0_identity" in layers else found[1:]
    if asked not in found:
        of = " or ".join(found) or "a network with pre-activation that is not known here"
        advice = f": ask for {' or '.join(found)}" if found else ""
        raise InputError(f"{path} holds weights of {of}, not of {asked}{advice}.")
