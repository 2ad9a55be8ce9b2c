"""ResNet-C and ResNet-D (He, Zhang, Zhang, Zhang, Xie and Li, arXiv 1812.01187, Sec. 4).

C has three 3x3 convolutions in place of the stem's 7x7. D has them too, and where a shortcut
projects and strides, a 2x2 average takes the stride, so that no value goes unseen. Both stride in
the 3x3 of a bottleneck (their B).
"""

import functools
from collections.abc import Sequence
from typing import Unpack

import keras
from keras import layers

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_BLOCKS,
    IMAGENET_OUTPUT_STRIDES,
)

from . import resnet, widths
from .blocks import (
    CHANNELS_LAST,
    add_relu,
    checked_output_stride,
    conv_bn_relu,
    max_pool,
    shortcut_connection,
    stages,
)
from .layers import DilatedAveragePooling
from .network import CIFAR, Shared, cifar_blocks, network
from .resnet import basic_branch, bottleneck_branch


def pooled_shortcut(x, filters, stride, name, norm, drop_rate, dilations):
    """A projection of 2x2 averages, where dimensions grow; else the identity.

    At odd sides the last average is of what is there, as in GluonCV and timm. A dilated stage takes
    averages at every place, of values as far apart as those that it would have averaged. (timm's
    are always of neighbours, and of zeros beyond the border.)
    """
    before, behind = dilations
    if stride > 1:
        pool = layers.AveragePooling2D(
            2, stride, padding="same", data_format=CHANNELS_LAST, name=f"{name}_0_pool"
        )
        x, stride = pool(x), 1
    elif behind > before:
        x = DilatedAveragePooling(before, name=f"{name}_0_pool")(x)
    return shortcut_connection(x, filters, stride, "B", name, norm, drop_rate)


def basic_block(x, filters, stride, name, norm, drop_rate, dilations=(1, 1), *, inner=None):
    """Two 3x3 convolutions, with a pooled shortcut."""
    identity = pooled_shortcut(x, filters, stride, name, norm, drop_rate, dilations)
    x = basic_branch(x, filters, stride, name, norm, dilations, inner)
    return add_relu(identity, x, name, drop_rate)


def bottleneck_block(x, filters, stride, name, norm, drop_rate, dilations=(1, 1), *, inner=None):
    """1x1, 3x3 and 1x1 convolutions, with a pooled shortcut."""
    identity = pooled_shortcut(x, 4 * filters, stride, name, norm, drop_rate, dilations)
    x = bottleneck_branch(x, filters, stride, name, norm, dilations, inner, stride_in_1x1=False)
    return add_relu(identity, x, name, drop_rate)


# The block of ResNet-B and C, whose projections do not pool.
unpooled_bottleneck_block = functools.partial(
    resnet.bottleneck_block, shortcut="B", stride_in_1x1=False
)


def deep_stem(x, norm, filters):
    """Three 3x3 convolutions, the first two half as wide, and the pooling of conv2."""
    convolutions = (filters // 2, 2), (filters // 2, 1), (filters, 1)
    for number, (channels, stride) in enumerate(convolutions, 1):
        x = conv_bn_relu(x, channels, 3, stride, f"conv1_{number}", norm)
    return max_pool(x)


def resnet_d(
    depth: int,
    *,
    pooled: bool = True,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 32,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an ImageNet network of the form D, or C.

    Args:
        depth: 18, 34, 50, 101 or 152; of the form C 50, 101 or 152.
        pooled: True for D, whose shortcuts pool; False for C.
        width: times how many channels all convolutions have; see `widths.first_stage`.
        inner_widths: of a pruned network, as of `resnet.resnet`.
        output_stride: 32, or 16 or 8 with dilated stages; see `blocks.stages`.
        num_classes, input_shape, mean, std, **shared: as of `network.network`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to features
        (batch, height / output_stride, width / output_stride, channels), rounded up.

    Raises:
        InputError: an argument is none of the above.
    """
    depths = tuple(IMAGENET_BLOCKS) if pooled else BOTTLENECK_DEPTHS
    if depth not in depths:
        *most, last = map(str, depths)
        form = "D" if pooled else "C"
        raise InputError(f"ResNet-{form} has depth {', '.join(most)} or {last}, not {depth!r}.")
    block = basic_block if depth not in BOTTLENECK_DEPTHS else bottleneck_block
    block = block if pooled else unpooled_bottleneck_block
    output_stride = checked_output_stride(output_stride, IMAGENET_OUTPUT_STRIDES)
    first = widths.first_stage("imagenet", width)
    inner = widths.inner_widths(inner_widths, IMAGENET_BLOCKS[depth], first)

    def trunk(x, norm, drop_rates):
        x = deep_stem(x, norm, first)
        return stages(
            x, block, first, norm, drop_rates, stem=4, output_stride=output_stride, inner=inner
        )

    return network(
        trunk,
        blocks=IMAGENET_BLOCKS[depth],
        name=name or f"resnet{depth}{'d' if pooled else 'c'}",
        **shared,
    )


def cifar_resnet_d(
    depth: int,
    *,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 4,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds a CIFAR network of 6n+2 layers with pooled shortcuts; its stem is a 3x3 anyway.

    The paper has none for CIFAR: this is `resnet.cifar_resnet` with the shortcuts of D. Arguments
    as for that and for `resnet_d`.
    """
    blocks = cifar_blocks(depth)
    output_stride = checked_output_stride(output_stride, CIFAR_OUTPUT_STRIDES)
    first = widths.first_stage("cifar10", width)
    inner = widths.inner_widths(inner_widths, blocks, first)

    def trunk(x, norm, drop_rates):
        x = conv_bn_relu(x, first, 3, 1, "conv1", norm)
        return stages(
            *(x, basic_block, first, norm, drop_rates),
            stem=1,
            output_stride=output_stride,
            inner=inner,
        )

    return network(
        trunk,
        blocks=blocks,
        name=name or f"resnet{depth}d",
        **{**CIFAR, **shared},
    )
