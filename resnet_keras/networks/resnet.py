"""Plain and residual networks of He, Zhang, Ren and Sun (arXiv 1512.03385).

`resnet` builds the ImageNet networks of Table 1 and `cifar_resnet` the CIFAR networks of Sec. 4.2;
`shortcut=None` makes either plain. Each network takes raw RGB pixels in [0, 255] and normalizes
them itself. Layer names follow Keras Applications; the stages' last layers, `conv2_block3_out` and
so on, are the endpoints that `surgery.endpoints` names.
"""

import functools
from collections.abc import Sequence
from typing import Unpack

import keras
from keras import layers

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_BLOCKS,
    IMAGENET_OUTPUT_STRIDES,
)

from . import projections as projected_blocks
from . import widths
from .blocks import (
    add_relu,
    checked_output_stride,
    conv_bn,
    conv_bn_relu,
    max_pool_stem,
    shortcut_connection,
    stages,
)
from .layers import Dropout
from .network import CIFAR, Shared, network, positive, rate

SHORTCUTS = ("A", "B", "C", None)


def plain_block(x, filters, stride, name, norm, drop_rate, dilations=(1, 1), *, inner=None):
    """Two 3x3 convolutions, and no shortcut around them (Sec. 3.3), so that none may be dropped."""
    assert not drop_rate
    x = basic_branch(x, filters, stride, name, norm, dilations, inner)
    return layers.Activation("relu", name=f"{name}_out")(x)


def basic_block(
    x,
    filters,
    stride,
    name,
    norm,
    drop_rate,
    dilations=(1, 1),
    *,
    shortcut,
    projected=frozenset(),
    block_dropout=0.0,
    inner=None,
):
    """Two 3x3 convolutions around which the shortcut leads (Fig. 5, left).

    Args:
        shortcut: "A", "B" or "C"; the blocks whose names are `projected` have "C".
        block_dropout: rate at which values in front of the last convolution are dropped.
    """
    shortcut = "C" if name in projected else shortcut
    identity = shortcut_connection(x, filters, stride, shortcut, name, norm, drop_rate)
    branch = basic_branch(x, filters, stride, name, norm, dilations, inner, block_dropout)
    return add_relu(identity, branch, name, drop_rate)


def basic_branch(x, filters, stride, name, norm, dilations, inner=None, block_dropout=0.0):
    """The F(x) of a basic block; `inner` channels are between its convolutions, or `filters`."""
    before, behind = dilations
    x = conv_bn_relu(x, inner or filters, 3, stride, f"{name}_1", norm, before)
    x = _dropped(x, block_dropout, name)
    return conv_bn(x, filters, 3, 1, f"{name}_2", norm, behind)


def _dropped(x, block_dropout, name):
    """Dropout in front of a block's last convolution.

    That one is as far from the addition as a projection, so that the order of weights stays what
    it is without dropout; see `blocks.shortcut_connection`.
    """
    return Dropout(block_dropout, name=f"{name}_dropout")(x) if block_dropout else x


def bottleneck_block(
    x,
    filters,
    stride,
    name,
    norm,
    drop_rate,
    dilations=(1, 1),
    *,
    shortcut,
    stride_in_1x1,
    projected=frozenset(),
    block_dropout=0.0,
    inner=None,
):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide (Fig. 5, right).

    `projected` and `block_dropout` as of `basic_block`.
    """
    shortcut = "C" if name in projected else shortcut
    identity = shortcut_connection(x, 4 * filters, stride, shortcut, name, norm, drop_rate)
    branch = bottleneck_branch(
        x,
        *(filters, stride, name, norm, dilations, inner, block_dropout),
        stride_in_1x1=stride_in_1x1,
    )
    return add_relu(identity, branch, name, drop_rate)


def bottleneck_branch(
    x,
    filters,
    stride,
    name,
    norm,
    dilations,
    inner=None,
    block_dropout=0.0,
    *,
    stride_in_1x1,
):
    """The F(x) of a bottleneck block, whose first 1x1 and 3x3 have `inner` channels, or `filters`.

    The paper's own networks stride in the first 1x1; fb.resnet.torch and torchvision in the 3x3
    ("v1.5"), which costs 6 % more multiply-adds in ResNet-50. Of a dilated stage's first block the
    3x3 is behind that place in the one (Caffe's weights in detectron2's DC5), before it in the
    other (torchvision).
    """
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    dilation = dilations[1 if stride_in_1x1 else 0]
    inner = inner or filters
    x = conv_bn_relu(x, inner, 1, first, f"{name}_1", norm)
    x = conv_bn_relu(x, inner, 3, second, f"{name}_2", norm, dilation)
    x = _dropped(x, block_dropout, name)
    return conv_bn(x, 4 * filters, 1, 1, f"{name}_3", norm)


def resnet(
    depth: int,
    *,
    shortcut: str | None = "B",
    stride_in_1x1: bool = True,
    projections: float = 0.0,
    block_dropout: float = 0.0,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 32,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an ImageNet network of Table 1.

    Args:
        depth: 18, 34, 50, 101 or 152.
        shortcut: "A" (zero-padded), "B" (projection where dimensions grow), "C" (projection
            everywhere), or None for a plain network (18 and 34 only).
        stride_in_1x1: whether a bottleneck strides in its first 1x1 (the paper) or in its 3x3.
        projections: share of the blocks in [0, 1], counted from the first, whose shortcuts are
            projections even where dimensions stay, beside shortcut "A" or "B".
        block_dropout: rate at which features are dropped in front of the last convolution of each
            block in training (residual networks only); none in the paper.
        width: times how many channels all convolutions have, such as 0.5; see
            `widths.first_stage`.
        inner_widths: channels between the convolutions of each block in turn, of a pruned network;
            see `widths.inner_widths`.
        output_stride: how many times smaller than the images the last features are: 32, or 16 or
            8 with dilated stages; see `blocks.stages`.
        num_classes, input_shape, mean, std, **shared: as of `network.network`, which has
            `include_top`, `pooling`, `dtype`, `normalization`, `synchronized`, `epsilon`,
            `stochastic_depth` (residual networks only) and `dropout`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to features
        (batch, height / output_stride, width / output_stride, channels), rounded up.

    Raises:
        InputError: an argument is none of the above.
    """
    if depth not in IMAGENET_BLOCKS:
        raise InputError(
            f"ImageNet networks have depth {_listed(IMAGENET_BLOCKS)}, not {depth!r}; "
            "other depths, 6n+2, are CIFAR networks."
        )
    if shortcut is None and depth in BOTTLENECK_DEPTHS:
        raise InputError(f"Plain ImageNet networks have depth 18 or 34, not {depth}.")
    block = _block(
        IMAGENET_BLOCKS[depth],
        shortcut,
        projections,
        block_dropout,
        bottleneck={"stride_in_1x1": stride_in_1x1} if depth in BOTTLENECK_DEPTHS else None,
    )
    output_stride = checked_output_stride(output_stride, IMAGENET_OUTPUT_STRIDES)
    first = widths.first_stage("imagenet", width)
    inner = widths.inner_widths(inner_widths, IMAGENET_BLOCKS[depth], first)

    def trunk(x, norm, drop_rates):
        x = max_pool_stem(x, norm, first)
        return stages(
            x, block, first, norm, drop_rates, stem=4, output_stride=output_stride, inner=inner
        )

    return network(
        trunk,
        blocks=IMAGENET_BLOCKS[depth],
        residual=shortcut is not None,
        name=name or f"{_kind(shortcut)}{depth}",
        **shared,
    )


def cifar_resnet(
    depth: int,
    *,
    shortcut: str | None = "A",
    projections: float = 0.0,
    block_dropout: float = 0.0,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 4,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds a CIFAR network of Sec. 4.2: 6n+2 layers, 2n of them at each of three map sizes.

    Arguments as for `resnet`, but for 10 classes and 32x32 pixels by default; `depth` is 8, 14, 20,
    26, ..., and `output_stride` 4, 2 or 1. Returns a model from pixels (batch, height, width,
    channels) to float32 logits (batch, num_classes); `include_top=False` ends at features (batch,
    height / output_stride, width / output_stride, 64; of another `width` times as many), rounded
    up.
    """
    depth = positive("depth", depth)
    if depth < 8 or (depth - 2) % 6:
        raise InputError(
            f"CIFAR networks have 6n+2 layers (8, 14, 20, 26, 32, ...), not {depth}; "
            f"ImageNet networks have {_listed(IMAGENET_BLOCKS)}."
        )
    output_stride = checked_output_stride(output_stride, CIFAR_OUTPUT_STRIDES)
    first = widths.first_stage("cifar10", width)
    blocks = [(depth - 2) // 6] * 3
    block = _block(blocks, shortcut, projections, block_dropout)
    inner = widths.inner_widths(inner_widths, blocks, first)

    def trunk(x, norm, drop_rates):
        x = conv_bn_relu(x, first, 3, 1, "conv1", norm)
        return stages(
            x, block, first, norm, drop_rates, stem=1, output_stride=output_stride, inner=inner
        )

    return network(
        trunk,
        blocks=blocks,
        residual=shortcut is not None,
        name=name or f"{_kind(shortcut)}{depth}",
        **{**CIFAR, **shared},
    )


def _block(blocks, shortcut, projections, block_dropout, bottleneck=None):
    """The function that builds a block; `bottleneck` has arguments of those, or is None."""
    if shortcut not in SHORTCUTS:
        raise unknown("shortcut", shortcut, ("A", "B", "C", "None (plain)"))
    dropped = rate("block_dropout", block_dropout)
    options = {
        "shortcut": shortcut,
        "projected": projected_blocks.places(projections, shortcut, blocks),
        "block_dropout": dropped,
    }
    if shortcut is None:
        if dropped:
            raise InputError("Plain networks have no dropout in blocks: leave block_dropout out.")
        return plain_block
    if bottleneck is not None:
        return functools.partial(bottleneck_block, **options, **bottleneck)
    return functools.partial(basic_block, **options)


def _kind(shortcut):
    return "plain" if shortcut is None else "resnet"


def _listed(numbers):
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}"
