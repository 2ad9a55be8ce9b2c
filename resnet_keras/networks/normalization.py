"""What stands behind convolutions: batch normalization, or what needs no batch.

Layers keep the names of batch normalization (`conv1_bn`), `gamma` and `beta`, whatever they are:
of the same place in the network. The figure of Wu and He (arXiv 1803.08494, Fig. 2) shows which
values each of them averages.
"""

import functools
from collections.abc import Callable

import keras
from keras import layers

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import BATCH, FROZEN, GROUP, LAYER, NORMALIZATIONS, SYNCHRONIZED

from .layers import BatchNormalization, FrozenBatchNormalization

MOST_GROUPS = 32  # of Wu and He (Sec. 4.1)


def maker(normalization: str, epsilon: float, synchronized: bool = False) -> Callable:
    """Returns a function that makes normalizations, as `norm(name=...)(x)`.

    Args:
        normalization: one of `NORMALIZATIONS`:
            "batch": over the images of a batch, by each replica for its own.
            "synchronized": over those of all replicas.
            "group": over groups of channels of each image, `groups_of` them.
            "layer": over all channels and positions of each image, which is one group.
            "frozen": batch normalization by constant statistics, with constant scale and offset.
        epsilon: added to variances.
        synchronized: "batch" is over all replicas.

    Raises:
        InputError: the normalization is none of these, or has no statistics to synchronize.
    """
    if normalization not in NORMALIZATIONS:
        raise unknown("normalization", normalization, NORMALIZATIONS)
    if synchronized and normalization not in (BATCH, SYNCHRONIZED):
        raise InputError(
            f'normalization="{normalization}" has no batch statistics to be synchronized: leave '
            "one of the two out."
        )
    if normalization in (GROUP, LAYER):
        return functools.partial(_grouped, normalization == LAYER, epsilon)
    if normalization == FROZEN:
        return functools.partial(FrozenBatchNormalization, epsilon=epsilon)
    synchronized = synchronized or normalization == SYNCHRONIZED
    return functools.partial(BatchNormalization, epsilon=epsilon, synchronized=synchronized)


def like(network: keras.Model, epsilon: float = 1e-5) -> Callable:
    """What a head on a network takes: normalization of groups or layers where the network has it.

    Over the batch otherwise, of all replicas where the network's is, and where the network's is
    frozen, too: a head is trained.

    Args:
        network: of this package's builders.
        epsilon: as of `maker`, which has the result.
    """
    groups = [n.groups for n in network.layers if isinstance(n, layers.GroupNormalization)]
    if groups:
        return maker(GROUP if max(groups) > 1 else LAYER, epsilon)
    shared = any(
        layer.get_config()["synchronized"]
        for layer in network.layers
        if isinstance(layer, BatchNormalization)
    )
    return maker(SYNCHRONIZED if shared else BATCH, epsilon)


def groups_of(channels: int) -> int:
    """How many groups so many channels have: 32, or the next divisor with 2 channels in each."""
    most = max(1, min(MOST_GROUPS, channels // 2))
    return max(n for n in range(1, most + 1) if channels % n == 0)


def _grouped(whole, epsilon, name):
    def normalized(x):
        groups = 1 if whole else groups_of(x.shape[-1])
        return layers.GroupNormalization(groups, epsilon=epsilon, name=name)(x)

    return normalized
