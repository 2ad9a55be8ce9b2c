"""Tells by its tensors or layers how wide a network is; see `resnet_keras.networks.widths`."""

from collections.abc import Mapping
from typing import Any

from resnet_keras.facts import FIRST_STAGES

from ..network import WIDTH, Network
from . import layouts
from .formats import Tensor

# A block's last convolution, of bottlenecks and of others, and how many times wider than the
# stage it is.
_LAST = (("conv2_block1_3_conv", 4), ("conv2_block1_2_conv", 1))


def shown(tensors: Mapping[str, Tensor], network: Network) -> dict[str, float]:
    """The option `width` that the tensors show, if the network has it.

    Args:
        tensors: of `layouts.translate`.
        network: that they are read for.
    """
    if WIDTH not in network.late:
        return {}
    if layouts.numbered(tensors):
        tensors = layouts.by_layer_number(tensors)
        # The stem's last convolution is as wide as the first stage.
        place = "conv2d_2/vars/0" if "pooled" in network.arguments else "conv2d/vars/0"
        return _width(_filters(tensors, place), network.dataset)
    for layer, times in _LAST:
        if f"{layer}/kernel" in tensors:
            return _width(_filters(tensors, f"{layer}/kernel") / times, network.dataset)
    return {}


def of_layers(
    layers: Mapping[str, tuple[str, Mapping[str, Any]]], dataset: str
) -> dict[str, float]:
    """The option `width` of a network by the (class name, config) of its layers."""
    layer, times = next(place for place in _LAST if place[0] in layers)
    return _width(layers[layer][1]["filters"] / times, dataset)


def _filters(tensors, place):
    shape = tensors[place].shape if place in tensors else ()
    return shape[-1] if len(shape) == 4 else 0


def _width(filters, dataset):
    return {WIDTH: filters / FIRST_STAGES[dataset][0]} if filters else {}
