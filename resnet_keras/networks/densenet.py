"""Densely connected networks of Huang, Liu, van der Maaten and Weinberger (arXiv 1608.06993).

Each block puts a few new channels beside those of all blocks before it in its stage, and sees them
all. Between stages a transition mixes the channels and halves the map. `densenet` builds ImageNet
networks, `cifar_densenet` those of CIFAR. Layer names follow Keras Applications but for endpoints
and what stands between stages, which have their stage's name before them.

Endpoints are what stages end in, before the transition, as timm's `features_only` gives them:
`conv2_block6_out` and so on, channels that the next layer normalizes. The last one is behind the
final batch normalization and ReLU: it is what the head sees.
"""

from typing import Unpack

import keras
from keras import layers

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    DENSENET_BLOCKS,
)

from .blocks import CHANNELS_LAST, conv, conv_bn_relu
from .layers import Dropout
from .network import CIFAR, Shared, network, positive, rate

BOTTLENECK = 4  # a 1x1 convolution has so many times the channels of the 3x3 behind it (Sec. 3)


def dense_block(x, growth_rate, name, norm, dropped):
    """A 3x3 convolution behind its activation; returns its channels."""
    x = _bn_relu(x, f"{name}_0", norm)
    return _dropout(conv(x, growth_rate, 3, 1, f"{name}_1"), f"{name}_1", dropped)


def bottleneck_block(x, growth_rate, name, norm, dropped):
    """The same with a 1x1 convolution before it, which sees fewer channels ("DenseNet-B")."""
    x = _bn_relu(x, f"{name}_0", norm)
    x = _dropout(conv(x, BOTTLENECK * growth_rate, 1, 1, f"{name}_1"), f"{name}_1", dropped)
    x = _bn_relu(x, f"{name}_1", norm)
    return _dropout(conv(x, growth_rate, 3, 1, f"{name}_2"), f"{name}_2", dropped)


def _transition(x, filters, name, norm, dropped):
    """Batch normalization, ReLU, a 1x1 convolution and 2x2 average pooling (Sec. 3)."""
    x = _bn_relu(x, f"{name}_pool", norm)
    x = _dropout(conv(x, filters, 1, 1, f"{name}_pool"), f"{name}_pool", dropped)
    return layers.AveragePooling2D(2, data_format=CHANNELS_LAST, name=f"{name}_pool")(x)


def _bn_relu(x, name, norm):
    x = norm(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _dropout(x, name, dropped):
    """Behind each convolution but the stem's (the paper); torchvision: behind 3x3 ones alone."""
    return Dropout(dropped, name=f"{name}_dropout")(x) if dropped else x


def _stages(x, block, growth_rate, norm, blocks, dropped, compression):
    """Stages of blocks with transitions between them; what activates the last one is part of it."""
    last = f"conv{len(blocks) + 1}_block{blocks[-1]}"
    for index, count in enumerate(blocks):
        stage = f"conv{index + 2}"
        if index:
            before = f"conv{index + 1}"
            x = _transition(x, int(x.shape[-1] * compression), before, norm, dropped)
        for number in range(1, count + 1):
            name = f"{stage}_block{number}"
            y = block(x, growth_rate, name, norm, dropped)
            end = "concat" if name == last else "out"
            x = layers.Concatenate(name=f"{name}_{end}")([x, y])
    x = norm(name=f"{last.split('_')[0]}_post_bn")(x)
    return layers.Activation("relu", name=f"{last}_out")(x)


def densenet(
    depth: int,
    *,
    growth_rate: int = 32,
    block_dropout: float = 0.0,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an ImageNet network, a DenseNet-BC of Table 1.

    Args:
        depth: 121, 161, 169 or 201.
        growth_rate: channels that each block adds; the stem has twice as many. The authors' network
            of depth 161 has 48.
        block_dropout: rate at which channels are dropped behind each convolution but the stem's in
            training; none in the paper's ImageNet networks.
        num_classes, input_shape, mean, std, **shared: as of `network.network`; there are no
            residual branches, and so no `stochastic_depth`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to activated features
        (batch, height / 32, width / 32, channels), rounded up in the stem and down behind it:
        1024 channels of DenseNet-121, 2208, 1664 and 1920 of the authors' others.

    Raises:
        InputError: an argument is none of the above.
    """
    if depth not in DENSENET_BLOCKS:
        raise InputError(
            f"DenseNets of ImageNet have depth 121, 161, 169 or 201, not {depth!r}; those of CIFAR "
            "are called densenet40_12, densenet_bc100_12 and so on."
        )
    growth_rate, dropped = (
        positive("growth_rate", growth_rate),
        rate("block_dropout", block_dropout),
    )
    _check_sides(shared.get("input_shape"), 29)

    def trunk(x, norm, drop_rates):
        x = conv_bn_relu(x, 2 * growth_rate, 7, 2, "conv1", norm)
        x = layers.ZeroPadding2D(1, CHANNELS_LAST, name="pool1_pad")(x)
        x = layers.MaxPooling2D(3, 2, data_format=CHANNELS_LAST, name="pool1_pool")(x)
        blocks = DENSENET_BLOCKS[depth]
        return _stages(x, bottleneck_block, growth_rate, norm, blocks, dropped, 0.5)

    return network(
        trunk,
        blocks=DENSENET_BLOCKS[depth],
        residual=False,
        name=name or f"densenet{depth}",
        **shared,
    )


def cifar_densenet(
    depth: int,
    growth_rate: int,
    *,
    bottleneck: bool = False,
    block_dropout: float = 0.0,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds a CIFAR network of Sec. 4.2, of three stages of equally many blocks.

    Args:
        depth: 3n+4, such as 40 and 100; with bottlenecks 6n+4, such as 100, 190 and 250.
        growth_rate: channels that each block adds ("k").
        bottleneck: True builds a DenseNet-BC: a block has a 1x1 convolution before its 3x3, and
            transitions halve the number of channels. Its stem has twice the growth rate's
            channels; that of the others has 16 (Sec. 3; the authors' later code has twice, too).
        block_dropout: rate at which channels are dropped behind each convolution but the stem's in
            training: 0.2 in the paper where images are not augmented.
        num_classes, input_shape, mean, std, **shared, name: as of `densenet`.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to activated features
        (batch, height / 4, width / 4, channels), rounded down.

    Raises:
        InputError: an argument is none of the above.
    """
    depth, growth_rate = positive("depth", depth), positive("growth_rate", growth_rate)
    step = 6 if bottleneck else 3
    if depth < step + 4 or (depth - 4) % step:
        kind = "6n+4 layers (10, 16, ..., 100, 190" if bottleneck else "3n+4 layers (7, 10, ..., 40"
        named = "DenseNet-BC networks" if bottleneck else "DenseNets"
        raise InputError(f"CIFAR {named} have {kind}, ...), not {depth}.")
    blocks, dropped = [(depth - 4) // step] * 3, rate("block_dropout", block_dropout)
    block, compression = (bottleneck_block, 0.5) if bottleneck else (dense_block, 1)
    _check_sides(shared.get("input_shape"), 4)

    def trunk(x, norm, drop_rates):
        x = conv(x, 2 * growth_rate if bottleneck else 16, 3, 1, "conv1")
        return _stages(x, block, growth_rate, norm, blocks, dropped, compression)

    return network(
        trunk,
        blocks=blocks,
        residual=False,
        name=name or f"densenet{'_bc' if bottleneck else ''}{depth}_{growth_rate}",
        **{**CIFAR, **shared},
    )


def _check_sides(input_shape, least):
    """Refuses images of which pooling would leave nothing; `network` checks the rest."""
    for side in input_shape[:2] if isinstance(input_shape, tuple | list) else ():
        if isinstance(side, int) and 0 < side < least:
            raise InputError(
                f"This DenseNet takes images of {least}x{least} pixels at least, not input_shape "
                f"{tuple(input_shape)}."
            )
