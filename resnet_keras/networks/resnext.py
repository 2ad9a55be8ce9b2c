"""ResNeXt (Xie, Girshick, Dollar, Tu and He, arXiv 1611.05431), and wide bottleneck networks.

`resnext` builds the ImageNet networks, `cifar_resnext` those for CIFAR (Sec. 5.3). A block's inner
convolutions are `cardinality * base_width` wide in the first stage, and the 3x3 sees as many groups
of channels; with one group of 128 this is the Wide ResNet-50-2 of Zagoruyko and Komodakis
(arXiv 1605.07146, Sec. 3.4), which doubles the inner width alone.
"""

import functools
from typing import Unpack

import keras

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_BLOCKS,
    IMAGENET_OUTPUT_STRIDES,
)

from .blocks import (
    add_relu,
    checked_output_stride,
    conv_bn,
    conv_bn_relu,
    max_pool_stem,
    shortcut_connection,
    stages,
)
from .network import CIFAR, Shared, network, positive

SHORTCUTS = ("A", "B", "C")


def resnext_block(
    x,
    filters,
    stride,
    name,
    norm,
    drop_rate,
    dilations=(1, 1),
    *,
    cardinality,
    base_width,
    shortcut,
):
    """1x1, grouped 3x3 and 1x1 convolutions around which the shortcut leads (Fig. 3c)."""
    identity = shortcut_connection(x, 4 * filters, stride, shortcut, name, norm, drop_rate)
    branch = resnext_branch(
        *(x, filters, stride, name, norm, dilations),
        cardinality=cardinality,
        base_width=base_width,
    )
    return add_relu(identity, branch, name, drop_rate)


def resnext_branch(x, filters, stride, name, norm, dilations, *, cardinality, base_width):
    """The F(x) of such a block; the 3x3 strides in every implementation.

    Of 64 filters, the first stage's, the inner width is `cardinality * base_width`; the output is
    four times as wide as `filters`, whatever that is.
    """
    width = filters // 64 * cardinality * base_width
    x = conv_bn_relu(x, width, 1, 1, f"{name}_1", norm)
    x = conv_bn_relu(x, width, 3, stride, f"{name}_2", norm, dilations[0], cardinality)
    return conv_bn(x, 4 * filters, 1, 1, f"{name}_3", norm)


def resnext(
    depth: int,
    *,
    cardinality: int = 32,
    base_width: int = 4,
    shortcut: str = "B",
    output_stride: int = 32,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an ImageNet network of Table 1 of ResNeXt's paper, or a wide one.

    Args:
        depth: 50, 101 or 152.
        cardinality: groups of the 3x3 convolutions; 1 for a wide network.
        base_width: channels of each group in the first stage ("bottleneck width d"); the other
            stages have 2, 4 and 8 times as many.
        shortcut: "A", "B" or "C", as of `resnet.resnet`.
        output_stride: 32, or 16 or 8 with dilated stages; see `blocks.stages`.
        num_classes, input_shape, mean, std, **shared: as of `network.network`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to features
        (batch, height / output_stride, width / output_stride, 2048), rounded up.

    Raises:
        InputError: an argument is none of the above.
    """
    if depth not in BOTTLENECK_DEPTHS:
        raise InputError(f"ResNeXt and wide networks have depth 50, 101 or 152, not {depth!r}.")
    block = _block(cardinality, base_width, shortcut)
    output_stride = checked_output_stride(output_stride, IMAGENET_OUTPUT_STRIDES)

    def trunk(x, norm, drop_rates):
        x = max_pool_stem(x, norm)
        return stages(x, block, 64, norm, drop_rates, stem=4, output_stride=output_stride)

    return network(
        trunk,
        blocks=IMAGENET_BLOCKS[depth],
        name=name or _name(depth, cardinality, base_width),
        **shared,
    )


def cifar_resnext(
    depth: int,
    *,
    cardinality: int = 8,
    base_width: int = 64,
    shortcut: str = "B",
    output_stride: int = 4,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds a CIFAR network of Sec. 5.3: 9n+2 layers, stages of 256, 512 and 1024 channels.

    Arguments as for `resnext`, but for 10 classes and 32x32 pixels by default; `depth` is 11, 20,
    29, ..., of which the paper has 29, and `output_stride` 4, 2 or 1. Returns a model from pixels
    (batch, height, width, channels) to float32 logits (batch, num_classes); `include_top=False`
    ends at features (batch, height / output_stride, width / output_stride, 1024), rounded up.
    """
    depth = positive("depth", depth)
    if depth < 11 or (depth - 2) % 9:
        raise InputError(f"CIFAR's ResNeXts have 9n+2 layers (11, 20, 29, ...), not {depth}.")
    block = _block(cardinality, base_width, shortcut)
    output_stride = checked_output_stride(output_stride, CIFAR_OUTPUT_STRIDES)

    def trunk(x, norm, drop_rates):
        x = conv_bn_relu(x, 64, 3, 1, "conv1", norm)
        return stages(x, block, 64, norm, drop_rates, stem=1, output_stride=output_stride)

    return network(
        trunk,
        blocks=[(depth - 2) // 9] * 3,
        name=name or f"resnext{depth}_{cardinality}x{base_width}d",
        **{**CIFAR, **shared},
    )


def _block(cardinality, base_width, shortcut):
    if shortcut not in SHORTCUTS:
        raise unknown("shortcut", shortcut, SHORTCUTS)
    return functools.partial(
        resnext_block,
        cardinality=positive("cardinality", cardinality),
        base_width=positive("base_width", base_width),
        shortcut=shortcut,
    )


def _name(depth, cardinality, base_width):
    if cardinality == 1 and base_width % 64 == 0:
        return f"wide_resnet{depth}_{base_width // 64}"
    return f"resnext{depth}_{cardinality}x{base_width}d"
