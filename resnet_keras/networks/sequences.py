"""Networks for time series: the one-dimensional ResNet of Wang, Yan and Oates (arXiv 1611.06455).

`series_resnet` builds it as its reference implementation does, dl-4-tsc of Ismail Fawaz et al.
(arXiv 1809.04356). Three residual blocks, no pooling between them, so that every endpoint has the
length of the series: conv1, conv2 and conv3 are stages of one block.
"""

import numbers
from typing import Any, Unpack

import keras
from keras import layers

from .blocks import CHANNELS_LAST, add_relu, he_normal
from .layers import PixelNormalization, SeriesNormalization
from .network import SERIES, Common, network, positive

WIDTHS = (1, 2, 2)  # of the blocks, in widths of the first
KERNELS = (8, 5, 3)  # of each block's convolutions


def series_resnet(
    *,
    width: int = 64,
    z_normalization: bool = True,
    num_classes: int = 2,
    input_shape: tuple[int | None, int] = (96, 1),
    mean: Any = 0.0,
    std: Any = 1.0,
    name: str = "resnet1d",
    **shared: Unpack[Common],
) -> keras.Model:
    """Builds the one-dimensional ResNet.

    Args:
        width: channels of the first block; the others have twice as many. The paper's is 64.
        z_normalization: whether each channel of each series is brought to mean 0 and deviation 1,
            as is usual with the UCR archive. False keeps levels and amplitudes that tell classes.
        num_classes, **shared: as of `network.network`.
        input_shape: (length, channels) of the series; the length may be None for any.
        mean, std: of the values, per channel, per step, or one number for all.
        name: of the model.

    Returns:
        A model from series (batch, length, channels), numbers of any size, to float32 logits
        (batch, num_classes); with `include_top=False` to features (batch, length, 2 * width).

    Raises:
        InputError: an argument is none of the above.
    """
    width = positive("width", width, "the channels of the first block")

    def trunk(x, norm, drop_rates):
        for number, (times, (rate,)) in enumerate(zip(WIDTHS, drop_rates, strict=True), 1):
            x = _block(x, times * width, f"conv{number}_block1", norm, rate)
        return x

    return network(
        trunk,
        blocks=(1,) * len(WIDTHS),
        name=name,
        num_classes=num_classes,
        input_shape=input_shape,
        mean=_per_channel(mean, input_shape),
        std=_per_channel(std, input_shape),
        axes=SERIES,
        pixel_normalization=SeriesNormalization if z_normalization else PixelNormalization,
        **shared,
    )


def _per_channel(value, input_shape):
    """One number for each channel; `network` checks the shape, and what is no number."""
    if isinstance(value, numbers.Real) and isinstance(input_shape, tuple | list) and input_shape:
        channels = input_shape[-1]
        return [value] * channels if isinstance(channels, int) else value
    return value


def _block(x, filters, name, norm, drop_rate):
    """Three convolutions of kernels 8, 5 and 3, and the shortcut."""
    residual = x
    for number, kernel in enumerate(KERNELS, 1):
        residual = _conv_bn(residual, filters, kernel, f"{name}_{number}", norm)
        if number < len(KERNELS):
            residual = layers.Activation("relu", name=f"{name}_{number}_relu")(residual)
    x = _shortcut(x, filters, f"{name}_0", norm)
    # As in `blocks.shortcut_connection`: Keras orders weights by their distance from the output.
    x = layers.Identity(name=f"{name}_0_keep")(x) if drop_rate else x
    return add_relu(x, residual, name, drop_rate)


def _shortcut(x, filters, name, norm):
    if x.shape[-1] != filters:
        return _conv_bn(x, filters, 1, name, norm)
    # dl-4-tsc normalizes the identity of the last block too; the paper's text does not say so.
    return norm(name=f"{name}_bn")(x)


def _conv_bn(x, filters, kernel, name, norm):
    """A convolution with a bias, as in dl-4-tsc; of an even kernel "same" pads one more behind."""
    x = layers.Conv1D(
        filters,
        kernel,
        padding="same",
        data_format=CHANNELS_LAST,
        kernel_initializer=he_normal(),
        name=f"{name}_conv",
    )(x)
    return norm(name=f"{name}_bn")(x)
