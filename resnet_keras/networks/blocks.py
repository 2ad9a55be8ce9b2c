"""What blocks are made of: convolutions, shortcuts, the addition, and stages of blocks."""

import keras
from keras import layers

from .layers import StochasticDepth, Subsampling, ZeroPaddedShortcut

# Said in every layer: Keras's global setting would make another network of the same calls.
CHANNELS_LAST = "channels_last"
# With fewer, oneDNN crashes in the gradient of a strided 1x1 kernel (seen for 3 to 8 channels).
STRIDED_CHANNELS = 16


def conv(x, filters, kernel_size, stride, name):
    """A bias-free convolution with symmetric zero padding and He initialization [13]."""
    padding = "same"
    if stride > 1 and kernel_size > 1:
        # At stride 2 "same" would pad at the bottom and right only; Caffe and torch pad both sides.
        x = layers.ZeroPadding2D(kernel_size // 2, CHANNELS_LAST, name=f"{name}_pad")(x)
        padding = "valid"
    if stride > 1 and kernel_size == 1 and x.shape[-1] < STRIDED_CHANNELS:
        # The same numbers; of wider inputs it takes 1.3 to 3 times as long.
        x = Subsampling(stride, name=f"{name}_stride")(x)
        stride = 1
    return layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding=padding,
        data_format=CHANNELS_LAST,
        use_bias=False,
        kernel_initializer=he_normal(),
        name=f"{name}_conv",
    )(x)


def he_normal():
    """A normal distribution of variance 2 / fan-in, not truncated (Sec. 3.4, [13])."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv_bn(x, filters, kernel_size, stride, name, norm):
    """Batch normalization right after each convolution and before activation (Sec. 3.4)."""
    x = conv(x, filters, kernel_size, stride, name)
    return norm(name=f"{name}_bn")(x)


def conv_bn_relu(x, filters, kernel_size, stride, name, norm):
    """The same, and the activation."""
    x = conv_bn(x, filters, kernel_size, stride, name, norm)
    return layers.Activation("relu", name=f"{name}_relu")(x)


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


def stage(x, block, filters, stride, name, norm, drop_rates):
    """A stack of blocks, one for each of `drop_rates`, the first of which may stride."""
    for index, drop_rate in enumerate(drop_rates):
        place = f"{name}_block{index + 1}"
        x = block(x, filters, stride if index == 0 else 1, place, norm, drop_rate)
    return x


def linear_drop_rates(blocks, last):
    """For each stage, its blocks' rates: block l of L drops its branch at l/L of the last one's.

    The linear rule of Huang et al. (arXiv 1603.09382, Sec. 3), whose survival rate falls from 1 to
    1 - last.
    """
    numbers = iter(range(1, sum(blocks) + 1))
    return [[next(numbers) / sum(blocks) * last for _ in range(count)] for count in blocks]
