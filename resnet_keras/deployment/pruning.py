"""Structured pruning: networks of which whole channels are removed, so that any runtime is faster.

    model = zoo.get("resnet56", weights="digits")
    smaller = pruning.prune(model, 0.3)  # then trained on, as any network

Of each block its inner channels are pruned, those between its convolutions: nothing outside sees
them, so that shortcuts stay as they are (Li, Kadav, Durdanovic, Samet and Graf, arXiv 1608.08710,
Sec. 3.2 and Fig. 4). Of a bottleneck these are the channels of its first 1x1 and those of its 3x3.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import FROZEN
from resnet_keras.zoo import network as rows
from resnet_keras.zoo import weights as files

if TYPE_CHECKING:
    import keras

_LAYER = re.compile(r"(conv\d+_block\d+)_(\d)_(conv|bn)")


def prune(model: "keras.Model", share: float, *, by: str = "l1") -> "keras.Model":
    """Removes a share of the inner channels of each block.

    Args:
        model: of `zoo.get`, pruned before or not; it is left as it is.
        share: of the inner channels of each block, above 0 and below 1, rounded to whole channels
            of which one at least remains. Of a pruned network it is of those that it still has.
        by: which channels go: "l1", those whose filters have the smallest sum of absolute values
            (Li et al.), or "gamma", those whose batch normalization has the smallest factor (Liu
            et al., arXiv 1708.06519).

    Returns:
        A network of the zoo with option `inner_widths`, and with the weights that are left. It
        computes what the model computes with the removed channels at zero.

    Raises:
        InputError: an argument is none of the above, or the network's blocks have no inner
            channels that could be removed.
    """
    check(share, by)
    network, options = files.own.identity(model)
    check_network(network)
    if rows.NORMALIZATION in options:  # what remains would be normalized by what went
        raise InputError(
            f"This {network.name} has {options[rows.NORMALIZATION]} normalization, which sees "
            "channels together: networks with batch normalization can be pruned."
        )
    kept = _kept(model, share, CRITERIA[by])
    pixels = model.get_layer("normalization")
    options = {
        **options,
        rows.INNER: tuple(len(kept[place]) for place in kept if place.endswith("_1_conv")),
        "mean": pixels.initial_mean,
        "std": pixels.initial_std,
    }
    if any(type(layer).__name__ == "FrozenBatchNormalization" for layer in model.layers):
        options[rows.NORMALIZATION] = FROZEN  # which is of the training, and not among these
    smaller = network.build(**options)
    files.record.write(smaller, network, options)
    weights = {variable.path: variable for variable in model.weights}
    for variable in smaller.weights:
        variable.assign(_remaining(weights[variable.path], kept))
    files.publish.pass_on(model, smaller)
    return smaller


def check(share: float, by: str) -> None:
    """Raises `InputError` for arguments that `prune` would refuse whatever the network."""
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
        raise InputError(f"`share` of a block's channels is above 0 and below 1, not {share!r}.")
    if by not in CRITERIA:
        raise unknown("criterion", by, CRITERIA)


def check_network(network) -> None:
    """Raises `InputError` for a row of the zoo whose blocks have no inner channels to remove."""
    if rows.INNER not in network.late:
        reason = network.family.lacks.get(
            rows.INNER, "its blocks have no channels that nothing else sees"
        )
        raise InputError(f"{network.name} cannot be pruned: {reason}.")


def _kept(model, share, criterion) -> "dict[str, np.ndarray]":
    """Of each convolution inside a block, by its name, the channels that remain, in order."""
    numbers: dict[str, list[int]] = {}
    for layer in model.layers:
        match = _LAYER.fullmatch(layer.name)
        if match and match[3] == "conv" and match[2] != "0":
            numbers.setdefault(match[1], []).append(int(match[2]))
    kept = {}
    for place in sorted(numbers, key=_place):
        for number in sorted(numbers[place])[:-1]:  # the last one's go into the addition
            scores = criterion(model, f"{place}_{number}")
            count = max(1, len(scores) - int(share * len(scores) + 0.5))
            strongest = np.argsort(-scores, kind="stable")[:count]
            kept[f"{place}_{number}_conv"] = np.sort(strongest)
    return kept


def _place(name):
    return tuple(map(int, re.findall(r"\d+", name)))


def _remaining(variable, kept):
    """What is left of a variable's values: of filters, of what they see, of normalizations."""
    from keras import ops

    values = ops.convert_to_numpy(variable)
    layer, _, leaf = variable.path.rpartition("/")
    match = _LAYER.fullmatch(layer)
    if match is None:
        return values
    own = kept.get(f"{match[1]}_{match[2]}_conv")
    seen = kept.get(f"{match[1]}_{int(match[2]) - 1}_conv")
    if own is not None:  # the last axis, of a normalization the only one
        values = values.take(own, axis=-1)
    if seen is not None and leaf == "kernel":
        values = values.take(seen, axis=-2)
    return values


def _l1(model, layer) -> "np.ndarray":
    kernel = _values(model, f"{layer}_conv", "kernel")
    return np.abs(kernel, dtype="float64").sum(axis=(0, 1, 2))


def _gamma(model, layer) -> "np.ndarray":
    return np.abs(_values(model, f"{layer}_bn", "gamma"))


def _values(model, layer, leaf):
    from keras import ops

    return ops.convert_to_numpy(getattr(model.get_layer(layer), leaf))


# What a channel is worth: functions of a network and the name of a convolution in it.
CRITERIA: "dict[str, Callable[[keras.Model, str], np.ndarray]]" = {"l1": _l1, "gamma": _gamma}
