"""What blocks are made of: convolutions, shortcuts, the addition, and stages of blocks."""

import keras
from keras import layers

from resnet_keras.errors import unknown

from .grouped import GroupedConvolution
from .layers import StochasticDepth, Subsampling, ZeroPaddedShortcut

# Said in every layer: Keras's global setting would make another network of the same calls.
CHANNELS_LAST = "channels_last"
# With fewer, oneDNN crashes in the gradient of a strided 1x1 kernel (seen for 3 to 8 channels).
STRIDED_CHANNELS = 16


def conv(x, filters, kernel_size, stride, name, dilation=1, groups=1, *, bias=False):
    """A convolution with symmetric zero padding and He initialization [13]; without a bias.

    Each of `groups` sees its share of the channels. What strides is not dilated: where strides are
    replaced, all that follow are.
    """
    padding = "same"
    if stride > 1 and kernel_size > 1:
        # At stride 2 "same" would pad at the bottom and right only; Caffe and torch pad both sides.
        x = layers.ZeroPadding2D(kernel_size // 2, CHANNELS_LAST, name=f"{name}_pad")(x)
        padding = "valid"
    if stride > 1 and kernel_size == 1 and x.shape[-1] < STRIDED_CHANNELS:
        # The same numbers; of wider inputs it takes 1.3 to 3 times as long.
        x = Subsampling(stride, name=f"{name}_stride")(x)
        stride = 1
    grouped = {"groups": groups} if groups > 1 else {}
    layer = GroupedConvolution if grouped else layers.Conv2D
    return layer(
        filters,
        kernel_size,
        stride,
        padding=padding,
        data_format=CHANNELS_LAST,
        dilation_rate=dilation,
        use_bias=bias,
        kernel_initializer=he_normal(),
        name=f"{name}_conv",
        **grouped,
    )(x)


def he_normal():
    """A normal distribution of variance 2 / fan-in, not truncated (Sec. 3.4, [13])."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv_bn(x, filters, kernel_size, stride, name, norm, dilation=1, groups=1):
    """Batch normalization right after each convolution and before activation (Sec. 3.4)."""
    x = conv(x, filters, kernel_size, stride, name, dilation, groups)
    return norm(name=f"{name}_bn")(x)


def conv_bn_relu(x, filters, kernel_size, stride, name, norm, dilation=1, groups=1):
    """The same, and the activation."""
    x = conv_bn(x, filters, kernel_size, stride, name, norm, dilation, groups)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def max_pool_stem(x, norm, filters=64):
    """The ImageNet networks' conv1 and the pooling of conv2 (Table 1): stride 4 in all."""
    return max_pool(conv_bn_relu(x, filters, 7, 2, "conv1", norm))


def max_pool(x):
    """The 3x3 maxima of every second place, padded on all sides as Caffe and torch do it."""
    x = layers.ZeroPadding2D(1, CHANNELS_LAST, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, 2, data_format=CHANNELS_LAST, name="pool1_pool")(x)


def shortcut_connection(x, filters, stride, shortcut, name, norm, drop_rate):
    """The x of y = F(x) + x, by option A, B or C where dimensions grow (Sec. 3.3, 4.1)."""
    if shortcut != "C" and stride == 1 and x.shape[-1] == filters:
        return x
    if shortcut == "A":
        return ZeroPaddedShortcut(filters, stride, name=f"{name}_0_pad")(x)
    x = conv_bn(x, filters, 1, stride, f"{name}_0", norm)
    # Keras orders weights, in files too, by their layers' distance from the output: what lengthens
    # the branch must lengthen the projection, or one is loaded in the other's place.
    return layers.Identity(name=f"{name}_0_keep")(x) if drop_rate else x


def add_relu(x, residual, name, drop_rate):
    """The second nonlinearity comes after the addition (Fig. 2)."""
    if drop_rate:
        residual = StochasticDepth(drop_rate, name=f"{name}_drop")(residual)
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.Activation("relu", name=f"{name}_out")(x)


def stage(x, block, filters, stride, name, norm, drop_rates, dilations=(1, 1), inner=None):
    """A stack of blocks, one for each of `drop_rates`, the first of which may stride.

    `dilations` are those before and behind the place where the stage strides, or would. `inner`
    are the channels between the convolutions of each block, of blocks that take an argument
    `inner`; None, as a whole or in a place, for `filters`.
    """
    for index, drop_rate in enumerate(drop_rates):
        place = f"{name}_block{index + 1}"
        narrow = {"inner": inner[index]} if inner and inner[index] else {}
        x = block(x, filters, stride, place, norm, drop_rate, dilations, **narrow)
        stride, dilations = 1, (dilations[1], dilations[1])
    return x


def stages(x, block, width, norm, drop_rates, *, stem, output_stride, inner=None):
    """conv2 and the stages after it, each but the first of half the size and twice the width.

    Where the map is `output_stride` times smaller than the image, it stays so: a stage does not
    stride, and convolutions behind this place look at what they would have seen of the smaller
    map, twice as far apart (dilation; "a trous" in Chen et al., arXiv 1412.7062). So each value of
    the smaller map is still there, and the weights stay what they are.

    Args:
        stem: how many times smaller the stem has made the map.
        output_stride: the most that the stages make of it: a power of 2, `stem` or more.
        inner: for each stage as of `stage`; None for as many as there are outside.
    """
    reached, dilation = stem, 1
    for index, rates in enumerate(drop_rates):
        stride, before = 1 if index == 0 else 2, dilation
        if reached * stride > output_stride:
            stride, dilation = 1, dilation * stride
        reached *= stride
        name = f"conv{index + 2}"
        narrow = inner and inner[index]
        filters = width * 2**index
        x = stage(x, block, filters, stride, name, norm, rates, (before, dilation), narrow)
    return x


def checked_output_stride(output_stride, possible):
    """An output stride as a number, if it is one of those; `InputError` otherwise."""
    if isinstance(output_stride, bool) or output_stride not in possible:
        raise unknown("output_stride", output_stride, possible)
    return int(output_stride)


def linear_drop_rates(blocks, last):
    """For each stage, its blocks' rates: block l of L drops its branch at l/L of the last one's.

    The linear rule of Huang et al. (arXiv 1603.09382, Sec. 3), whose survival rate falls from 1 to
    1 - last.
    """
    numbers = iter(range(1, sum(blocks) + 1))
    return [[next(numbers) / sum(blocks) * last for _ in range(count)] for count in blocks]
