"""Squeeze-and-excitation networks (Hu, Shen, Albanie, Sun and Wu, arXiv 1709.01507).

`seresnet` builds SE-ResNets and SE-ResNeXts for ImageNet, `cifar_seresnet` those of 6n+2 layers.
There are two forms. The usual one, timm's, strides in the 3x3 and squeezes to multiples of 8
channels. The authors' Caffe networks ("legacy") squeeze to a 16th, stride a ResNet's bottlenecks in
the first 1x1, and pad their max pooling at the bottom and right only.
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

from . import widths
from .blocks import (
    CHANNELS_LAST,
    add_relu,
    checked_output_stride,
    conv_bn_relu,
    he_normal,
    max_pool_stem,
    shortcut_connection,
    stages,
)
from .network import CIFAR, Shared, cifar_blocks, network, positive
from .resnet import basic_branch, bottleneck_branch
from .resnext import resnext_branch

REDUCTION = 16  # Sec. 6.1


def squeeze_excite(x, reduced, name):
    """Scales each channel by what all channels' means say of it (Fig. 3).

    Args:
        x: (batch, height, width, channels).
        reduced: channels between the two 1x1 convolutions.
        name: of the block.
    """
    pool = layers.GlobalAveragePooling2D(CHANNELS_LAST, keepdims=True, name=f"{name}_se_squeeze")
    scale = pool(x)
    scale = _dense(scale, reduced, "relu", f"{name}_se_1_conv")
    scale = _dense(scale, x.shape[-1], "sigmoid", f"{name}_se_2_conv")
    return layers.Multiply(name=f"{name}_se_scale")([x, scale])


def _dense(x, units, activation, name):
    """A 1x1 convolution of a 1x1 map: a dense layer whose kernel is laid out as others' are."""
    return layers.Conv2D(
        units,
        1,
        data_format=CHANNELS_LAST,
        activation=activation,
        kernel_initializer=he_normal(),
        name=name,
    )(x)


def rounded(channels: int) -> int:
    """A 16th of the channels to the nearest multiple of 8, at least 8 (timm)."""
    return max(8, (channels // REDUCTION + 4) // 8 * 8)


def exact(channels: int) -> int:
    """A 16th of the channels (the authors), rounded down."""
    return max(1, channels // REDUCTION)


def se_block(
    x,
    filters,
    stride,
    name,
    norm,
    drop_rate,
    dilations=(1, 1),
    *,
    branch,
    expansion,
    reduced,
    inner=None,
):
    """A residual block whose branch is scaled before the addition (Fig. 3).

    Args:
        branch: makes the F(x) of a block, such as `resnet.basic_branch`.
        expansion: how many times wider than `filters` its result is.
        reduced: the channels of the squeeze, by those of the branch.
        inner: channels between the branch's convolutions; None for as many as it has by itself.
    """
    channels = expansion * filters
    identity = shortcut_connection(x, channels, stride, "B", name, norm, drop_rate)
    narrow = {"inner": inner} if inner else {}
    x = branch(x, filters, stride, name, norm, dilations, **narrow)
    x = squeeze_excite(x, reduced(channels), name)
    return add_relu(identity, x, name, drop_rate)


def legacy_basic_branch(x, filters, stride, name, norm, dilations, inner=None):
    """The F(x) of timm's legacy SE-ResNet-18 and 34, which end in a ReLU before the squeeze."""
    x = basic_branch(x, filters, stride, name, norm, dilations, inner)
    return layers.Activation("relu", name=f"{name}_2_relu")(x)


def legacy_stem(x, norm, filters):
    """conv1 and a max pooling that is padded at the bottom and right (Caffe's, torch's ceil_mode).

    Zeros pad as well as the least number: what is pooled has passed a ReLU.
    """
    x = conv_bn_relu(x, filters, 7, 2, "conv1", norm)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), CHANNELS_LAST, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, 2, data_format=CHANNELS_LAST, name="pool1_pool")(x)


def seresnet(
    depth: int,
    *,
    cardinality: int = 1,
    base_width: int = 64,
    legacy: bool = False,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 32,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an SE-ResNet or SE-ResNeXt for ImageNet.

    Args:
        depth: 18, 34, 50, 101 or 152; of a ResNeXt 50, 101 or 152.
        cardinality, base_width: of a ResNeXt, see `resnext.resnext`; 1 and 64 make a ResNet.
        legacy: whether it is of the authors' form.
        width: times how many channels all convolutions of a ResNet have, see
            `widths.first_stage`; a ResNeXt's is 1.
        inner_widths: of a pruned ResNet, as of `resnet.resnet`; a ResNeXt has none.
        output_stride: 32, or 16 or 8 with dilated stages; see `blocks.stages`. The squeeze then
            averages a finer map, so that values are nearly those of the coarser one.
        num_classes, input_shape, mean, std, **shared: as of `network.network`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to features
        (batch, height / output_stride, width / output_stride, channels), rounded up.

    Raises:
        InputError: an argument is none of the above.
    """
    cardinality = positive("cardinality", cardinality)
    base_width = positive("base_width", base_width)
    grouped = (cardinality, base_width) != (1, 64)
    depths = BOTTLENECK_DEPTHS if grouped else tuple(IMAGENET_BLOCKS)
    if depth not in depths:
        *most, last = map(str, depths)
        kind = "SE-ResNeXts" if grouped else "SE-ResNets"
        raise InputError(f"{kind} have depth {', '.join(most)} or {last}, not {depth!r}.")
    block = _block(depth, cardinality, base_width, legacy)
    output_stride = checked_output_stride(output_stride, IMAGENET_OUTPUT_STRIDES)
    first = widths.first_stage("imagenet", width)
    if grouped and (first != 64 or inner_widths is not None):
        raise InputError(
            "SE-ResNeXts have their widths in cardinality and base_width: leave width and "
            "inner_widths out."
        )
    inner = widths.inner_widths(inner_widths, IMAGENET_BLOCKS[depth], first)

    def trunk(x, norm, drop_rates):
        x = legacy_stem(x, norm, first) if legacy else max_pool_stem(x, norm, first)
        return stages(
            x, block, first, norm, drop_rates, stem=4, output_stride=output_stride, inner=inner
        )

    kind = f"seresnext{depth}_{cardinality}x{base_width}d" if grouped else f"seresnet{depth}"
    return network(
        trunk,
        blocks=IMAGENET_BLOCKS[depth],
        name=name or f"{'legacy_' if legacy else ''}{kind}",
        **shared,
    )


def cifar_seresnet(
    depth: int,
    *,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 4,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an SE-ResNet of 6n+2 layers, of projections (option B), for small images.

    Arguments as for `seresnet`, but for 10 classes and 32x32 pixels by default; `depth` is 8, 14,
    20, ..., and `output_stride` 4, 2 or 1. Returns a model from pixels (batch, height, width,
    channels) to float32 logits (batch, num_classes).
    """
    blocks = cifar_blocks(depth)
    block = functools.partial(se_block, branch=basic_branch, expansion=1, reduced=rounded)
    output_stride = checked_output_stride(output_stride, CIFAR_OUTPUT_STRIDES)
    first = widths.first_stage("cifar10", width)
    inner = widths.inner_widths(inner_widths, blocks, first)

    def trunk(x, norm, drop_rates):
        x = conv_bn_relu(x, first, 3, 1, "conv1", norm)
        return stages(
            x, block, first, norm, drop_rates, stem=1, output_stride=output_stride, inner=inner
        )

    return network(
        trunk,
        blocks=blocks,
        name=name or f"seresnet{depth}",
        **{**CIFAR, **shared},
    )


def _block(depth, cardinality, base_width, legacy):
    reduced = exact if legacy else rounded
    if depth not in BOTTLENECK_DEPTHS:
        branch = legacy_basic_branch if legacy else basic_branch
        return functools.partial(se_block, branch=branch, expansion=1, reduced=reduced)
    if (cardinality, base_width) == (1, 64):
        branch = functools.partial(bottleneck_branch, stride_in_1x1=legacy)
    else:
        branch = functools.partial(resnext_branch, cardinality=cardinality, base_width=base_width)
    return functools.partial(se_block, branch=branch, expansion=4, reduced=reduced)
