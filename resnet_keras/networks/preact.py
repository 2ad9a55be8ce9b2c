"""Pre-activation networks of He, Zhang, Ren and Sun (arXiv 1603.05027), and wide ones of CIFAR.

Batch normalization and ReLU come before each convolution, and nothing but the addition is on the
way from block to block. `preact_resnet` builds ImageNet networks in the authors' form,
`keras_preact_resnet` in that of keras.applications, `cifar_preact_resnet` the CIFAR networks, and
`wide_resnet` those of Zagoruyko and Komodakis (arXiv 1605.07146).

Endpoints are the sums that stages end in, `conv2_block3_out` and so on, as timm's `features_only`
gives them: not normalized and not rectified, for the next block does that. The last one,
`conv5_block3_out` or `conv4_blockN_out`, is behind the final batch normalization and ReLU: it is
what the head sees. (timm's is the sum here, too.)
"""

import functools
from collections.abc import Sequence
from typing import Unpack

import keras
from keras import layers, ops

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_BLOCKS,
    IMAGENET_OUTPUT_STRIDES,
    INCEPTION_MEAN,
    INCEPTION_STD,
)

from . import widths
from .blocks import CHANNELS_LAST, checked_output_stride, conv, stages
from .layers import Dropout, StochasticDepth, Subsampling
from .network import CIFAR, Shared, network, positive, rate

KERAS: Shared = {"mean": INCEPTION_MEAN, "std": INCEPTION_STD, "epsilon": 1.001e-5}
LEAST_BOTTLENECK = 164  # of the depths that are both 6n+2 and 9n+2


def basic_block(
    x,
    filters,
    stride,
    name,
    norm,
    drop_rate,
    dilations=(1, 1),
    *,
    ends,
    block_dropout=0.0,
    inner=None,
):
    """Two 3x3 convolutions, each behind its activation (Fig. 4e).

    Args:
        ends: names of the network's first and last blocks; see `_enter` and `_leave`.
        block_dropout: of the values between the convolutions (arXiv 1605.07146, Sec. 2.4).
        inner: channels between the convolutions; None for `filters`.
    """
    before, behind = dilations
    identity, x = _enter(x, filters, stride, name, norm, drop_rate, ends)
    x = conv(x, inner or filters, 3, stride, f"{name}_1", before)
    x = _bn_relu(x, f"{name}_1", norm)
    if block_dropout:
        x = Dropout(block_dropout, name=f"{name}_dropout")(x)
    x = conv(x, filters, 3, 1, f"{name}_2", behind)
    return _leave(identity, x, name, drop_rate, ends)


def bottleneck_block(
    x,
    filters,
    stride,
    name,
    norm,
    drop_rate,
    dilations=(1, 1),
    *,
    ends,
    stride_in_1x1,
    inner=None,
):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, each behind its activation.

    The authors' CIFAR code strides in the first 1x1, timm's ImageNet networks in the 3x3. Which
    dilation the first 3x3 has follows from that, as in `resnet.bottleneck_block`.
    """
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    dilation = dilations[1 if stride_in_1x1 else 0]
    identity, x = _enter(x, 4 * filters, stride, name, norm, drop_rate, ends)
    inner = inner or filters
    x = conv(x, inner, 1, first, f"{name}_1")
    x = _bn_relu(x, f"{name}_1", norm)
    x = conv(x, inner, 3, second, f"{name}_2", dilation)
    x = _bn_relu(x, f"{name}_2", norm)
    x = conv(x, 4 * filters, 1, 1, f"{name}_3")
    return _leave(identity, x, name, drop_rate, ends)


def keras_block(x, filters, stride, name, norm, drop_rate, *, ends):
    """keras.applications' bottleneck: biases where no normalization follows, its own shortcuts.

    The first block of a stage, which widens, does not stride; the last one does, in its 3x3.
    """
    activated = _bn_relu(x, f"{name}_preact", norm)
    identity = x
    if x.shape[-1] != 4 * filters:
        identity = conv(activated, 4 * filters, 1, 1, f"{name}_0", bias=True)
        identity = _kept(identity, name, drop_rate)
    elif stride > 1:
        # keras.applications writes this as max pooling of 1x1.
        identity = Subsampling(stride, name=f"{name}_0_stride")(x)
    x = conv(activated, filters, 1, 1, f"{name}_1")
    x = _bn_relu(x, f"{name}_1", norm)
    x = conv(x, filters, 3, stride, f"{name}_2")
    x = _bn_relu(x, f"{name}_2", norm)
    x = conv(x, 4 * filters, 1, 1, f"{name}_3", bias=True)
    return _leave(identity, x, name, drop_rate, ends)


def _enter(x, filters, stride, name, norm, drop_rate, ends):
    """A block's shortcut, and its activated input.

    Where dimensions grow, both branches begin with the activation, and the projection has neither
    bias nor batch normalization (the authors' code and timm's; fb.resnet.torch's and bearpaw's
    project what is not activated). So they do in the first block of all, right behind the stem
    (Appendix).
    """
    activated = _bn_relu(x, f"{name}_preact", norm)
    if x.shape[-1] != filters:
        projected = conv(activated, filters, 1, stride, f"{name}_0")
        return _kept(projected, name, drop_rate), activated
    if name == ends[0]:  # a layer, by which such a network is told from a wide one of width 1
        return layers.Identity(name=f"{name}_0_identity")(activated), activated
    return x, activated


def _leave(identity, x, name, drop_rate, ends):
    """The addition, which only the last block of all is activated behind (Appendix)."""
    if drop_rate:
        x = StochasticDepth(drop_rate, name=f"{name}_drop")(x)
    return layers.Add(name=f"{name}_{'add' if name == ends[1] else 'out'}")([identity, x])


def _kept(projected, name, drop_rate):
    """Keeps the order of weights in files, see `blocks.shortcut_connection`."""
    return layers.Identity(name=f"{name}_0_keep")(projected) if drop_rate else projected


def _bn_relu(x, name, norm):
    x = norm(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _finish(x, norm, ends):
    """The last stage's batch normalization and ReLU: part of it, that it is frozen with it."""
    x = norm(name=f"{ends[1].split('_')[0]}_post_bn")(x)
    return layers.Activation("relu", name=f"{ends[1]}_out")(x)


def _ends(blocks):
    """The names of the first and the last block of a network."""
    return "conv2_block1", f"conv{len(blocks) + 1}_block{blocks[-1]}"


def _pool(x, padding):
    """The stem's max pooling; its input may be negative, so that it matters what is padded.

    timm pads nothing that could be a maximum, keras.applications pads zeros.
    """
    x = padding(x)
    return layers.MaxPooling2D(3, 2, data_format=CHANNELS_LAST, name="pool1_pool")(x)


def preact_resnet(
    depth: int,
    *,
    width: int = 64,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 32,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an ImageNet network in the authors' form, as timm has it: strides in the 3x3.

    Args:
        depth: 50, 101 or 152.
        width: channels of the stem; stages have 4, 8, 16 and 32 times as many.
        inner_widths: of a pruned network, as of `resnet.resnet`.
        output_stride: how many times smaller than the images the last features are: 32, or 16 or
            8 with dilated stages; see `blocks.stages`.
        num_classes, input_shape, mean, std, **shared: as of `network.network`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to activated features
        (batch, height / output_stride, width / output_stride, 32 * width), rounded up.

    Raises:
        InputError: an argument is none of the above.
    """
    blocks, width = _imagenet_blocks(depth), positive("width", width, "the channels of the stem")
    ends = _ends(blocks)
    output_stride = checked_output_stride(output_stride, IMAGENET_OUTPUT_STRIDES)
    block = functools.partial(bottleneck_block, ends=ends, stride_in_1x1=False)
    inner = widths.inner_widths(inner_widths, blocks, width)

    def trunk(x, norm, drop_rates):
        x = _pool(conv(x, width, 7, 2, "conv1"), EdgePadding(name="pool1_pad"))
        x = stages(
            x, block, width, norm, drop_rates, stem=4, output_stride=output_stride, inner=inner
        )
        return _finish(x, norm, ends)

    return network(
        trunk,
        blocks=blocks,
        name=name or f"resnetv2_{depth}",
        **shared,
    )


def keras_preact_resnet(
    depth: int,
    *,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds an ImageNet network in the form of keras.applications: stages stride at their ends.

    So `conv2`, `conv3` and `conv4` end at strides 8, 16 and 32, and conv5 does not stride; in
    ResNet-50 that saves 15 % of the multiply-adds. There are biases in the stem, the projections
    and each block's last convolution. Pixels are taken to -1..1, and epsilon is 1.001e-5.

    Arguments, result and errors are those of `preact_resnet`, without `width` and `output_stride`.
    """
    blocks = _imagenet_blocks(depth)
    ends = _ends(blocks)

    def trunk(x, norm, drop_rates):
        x = conv(x, 64, 7, 2, "conv1", bias=True)
        x = _pool(x, layers.ZeroPadding2D(1, CHANNELS_LAST, name="pool1_pad"))
        for index, rates in enumerate(drop_rates):
            for number, drop_rate in enumerate(rates, 1):
                stride = 2 if number == len(rates) and index < len(drop_rates) - 1 else 1
                place = f"conv{index + 2}_block{number}"
                x = keras_block(x, 64 * 2**index, stride, place, norm, drop_rate, ends=ends)
        return _finish(x, norm, ends)

    return network(
        trunk,
        blocks=blocks,
        name=name or f"resnet{depth}v2",
        **{**KERAS, **shared},
    )


def _imagenet_blocks(depth):
    if depth not in BOTTLENECK_DEPTHS:
        raise InputError(
            f"Pre-activation networks of ImageNet have depth 50, 101 or 152, not {depth!r}."
        )
    return IMAGENET_BLOCKS[depth]


def is_bottleneck(depth: int) -> bool:
    """Whether the CIFAR network of a depth is made of bottlenecks; it has 9n+2 layers, then.

    Others have 6n+2. Of the depths that are both (20, 38, 56, ..., every 18), the paper has 110
    with basic blocks and 164 with bottlenecks: those below 164 are basic, the others bottlenecks.

    Raises:
        InputError: it is neither.
    """
    depth = positive("depth", depth)
    basic, bottleneck = depth >= 8 and depth % 6 == 2, depth >= 11 and depth % 9 == 2
    if not basic and not bottleneck:
        raise InputError(
            "Pre-activation CIFAR networks have 6n+2 layers (basic blocks: 8, 14, 20, ..., 110) or "
            f"9n+2 (bottlenecks: 11, 29, 47, ..., 164, 1001), not {depth}."
        )
    return bottleneck and (not basic or depth >= LEAST_BOTTLENECK)


def cifar_preact_resnet(
    depth: int,
    *,
    width: float = 1.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 4,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds a CIFAR network, with projections where dimensions grow, as the authors' code has it.

    Args:
        depth: 6n+2 with basic blocks or 9n+2 with bottlenecks, such as 110, 164 and 1001; see
            `is_bottleneck`. (bearpaw's bottlenecks stride in the 3x3: the same weights, another
            network.)
        width: times how many channels all convolutions have, the stem's too, which `wide_resnet`
            leaves as it is; see `widths.first_stage`.
        inner_widths: of a pruned network, as of `resnet.resnet`.
        output_stride: how many times smaller than the images the last features are: 4, or 2 or 1
            with dilated stages; see `blocks.stages`.
        num_classes, input_shape, mean, std, **shared: as of `network.network`.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to activated features
        (batch, height / output_stride, width / output_stride, 64; of bottlenecks 256; of another
        `width` times as many), rounded up.

    Raises:
        InputError: an argument is none of the above.
    """
    bottleneck = is_bottleneck(depth)
    blocks = [(depth - 2) // (9 if bottleneck else 6)] * 3
    ends = _ends(blocks)
    if bottleneck:
        block = functools.partial(bottleneck_block, ends=ends, stride_in_1x1=True)
    else:
        block = functools.partial(basic_block, ends=ends)
    first = widths.first_stage("cifar10", width)
    inner = widths.inner_widths(inner_widths, blocks, first)
    return network(
        _cifar_trunk(block, first, first, ends, output_stride, inner),
        blocks=blocks,
        name=name or f"preact_resnet{depth}",
        **{**CIFAR, **shared},
    )


def wide_resnet(
    depth: int,
    width: int,
    *,
    block_dropout: float = 0.0,
    inner_widths: Sequence[int] | None = None,
    output_stride: int = 4,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds the wide network WRN-depth-width of CIFAR (arXiv 1605.07146, Table 1).

    The authors count the projections as layers: depth is 6n+4 where He et al. have 6n+2. Of width
    1, the first block's shortcut leads from the stem itself, as in the authors' code.

    Args:
        depth: 10, 16, 22, 28, 34, 40, ...: 6n+4.
        width: how many times wider than ResNet's the stages are, whose widths are 16, 32 and 64.
        block_dropout: rate at which features are dropped between a block's convolutions in
            training: 0.3 in the paper's CIFAR networks with dropout.
        inner_widths: of a pruned network, as of `resnet.resnet`.
        output_stride, num_classes, input_shape, mean, std, **shared: as of `cifar_preact_resnet`.
        name: of the model.

    Returns:
        As `cifar_preact_resnet`, with 64 * width features.

    Raises:
        InputError: an argument is none of the above.
    """
    depth, width = positive("depth", depth), positive("width", width)
    if depth < 10 or depth % 6 != 4:
        raise InputError(
            f"Wide CIFAR networks have 6n+4 layers (10, 16, 22, 28, 34, 40, ...), not {depth}."
        )
    blocks = [(depth - 4) // 6] * 3
    ends = (None, _ends(blocks)[1])
    dropped = rate("block_dropout", block_dropout)
    block = functools.partial(basic_block, ends=ends, block_dropout=dropped)
    inner = widths.inner_widths(inner_widths, blocks, 16 * width)
    return network(
        _cifar_trunk(block, 16, 16 * width, ends, output_stride, inner),
        blocks=blocks,
        name=name or f"wrn{depth}_{width}",
        **{**CIFAR, **shared},
    )


def _cifar_trunk(block, stem, width, ends, output_stride, inner):
    output_stride = checked_output_stride(output_stride, CIFAR_OUTPUT_STRIDES)

    def trunk(x, norm, drop_rates):
        x = conv(x, stem, 3, 1, "conv1")
        x = stages(
            x, block, width, norm, drop_rates, stem=1, output_stride=output_stride, inner=inner
        )
        return _finish(x, norm, ends)

    return trunk


@keras.saving.register_keras_serializable(package="resnet_keras")
class EdgePadding(layers.Layer):
    """Repeats the outermost rows and columns once: (batch, height + 2, width + 2, channels).

    Max pooling of 3x3 behind it answers as with a padding of minus infinity, as torch has it: what
    is repeated is in the same window.
    """

    def call(self, x):
        x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
        return ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = [None if side is None else side + 2 for side in (height, width)]
        return (batch, *sides, channels)
