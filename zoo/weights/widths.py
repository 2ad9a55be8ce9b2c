"""Tells by its tensors or layers how wide a network is; see `resnet_keras.networks.widths`."""

import re
from collections.abc import Mapping
from typing import Any

from resnet_keras.facts import FIRST_STAGES

from ..network import INNER, WIDTH, Network
from . import layouts
from .formats import Tensor

# A block's last convolution, of bottlenecks and of others, and how many times wider than the
# stage it is.
_LAST = (("conv2_block1_3_conv", 4), ("conv2_block1_2_conv", 1))
_FIRST = re.compile(r"conv(\d+)_block(\d+)_1_conv(?:/kernel)?")


def shown(tensors: Mapping[str, Tensor], network: Network) -> dict[str, Any]:
    """The options `width` and `inner_widths` that the tensors show, of those the network has late.

    Keras's numbers tell no blocks, so that they show no inner widths; where they are as many as
    their stages have, none are shown either.

    Args:
        tensors: of `layouts.translate`.
        network: that they are read for.
    """
    if layouts.numbered(tensors):
        tensors = layouts.by_layer_number(tensors)
        # The stem's last convolution is as wide as the first stage.
        place = "conv2d_2/vars/0" if "pooled" in network.arguments else "conv2d/vars/0"
        options = _width(_filters(tensors, place), network.dataset)
    else:
        filters = {name: _filters(tensors, name) for name in tensors if name.endswith("/kernel")}
        filters = {name.removesuffix("/kernel"): count for name, count in filters.items() if count}
        options = _of_filters(filters, network.dataset)
    return {name: value for name, value in options.items() if name in network.late}


def of_layers(layers: Mapping[str, tuple[str, Mapping[str, Any]]], dataset: str) -> dict[str, Any]:
    """The same of a network by the (class name, config) of its layers."""
    filters = {name: c["filters"] for name, (_, c) in layers.items() if "filters" in c}
    return _of_filters(filters, dataset)


def _of_filters(filters, dataset):
    """The options by the channels of each convolution's result."""
    first = next((filters[name] // times for name, times in _LAST if name in filters), 0)
    places = {match: filters[match[0]] for name in filters if (match := _FIRST.fullmatch(name))}
    inner = {(int(match[1]), int(match[2])): count for match, count in places.items()}
    whole = all(count == first * 2 ** (stage - 2) for (stage, _), count in inner.items())
    narrow = {} if whole or not first else {INNER: tuple(inner[place] for place in sorted(inner))}
    return {**_width(first, dataset), **narrow}


def _filters(tensors, place):
    shape = tensors[place].shape if place in tensors else ()
    return shape[-1] if len(shape) == 4 else 0


def _width(filters, dataset):
    return {WIDTH: filters / FIRST_STAGES[dataset][0]} if filters else {}
