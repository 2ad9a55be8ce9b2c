"""What a segmenter computes of a network's features: FCN's head, DeepLabV3's, and a decoder."""

from collections.abc import Callable, Sequence

import keras
from keras import layers

from resnet_keras.networks.blocks import CHANNELS_LAST, conv_bn_relu
from resnet_keras.networks.layers import Dropout

from .atrous import atrous
from .resizing import resized

# Of DeepLabV3+ (arXiv 1802.02611, Sec. 4.1): more would outweigh the deep features.
SKIP_CHANNELS = 48


def fcn(x, *, channels: int, dropout: float, norm: Callable, name: str) -> keras.KerasTensor:
    """A 3x3 convolution before the logits: torchvision's FCN, after Long et al. (arXiv 1411.4038).

    Args:
        x: features (batch, h, w, any).
        channels: of the result.
        dropout: rate at which its values are dropped in training.
        norm: makes batch normalizations, as `norm(name=...)`.
        name: with which those of the layers begin.

    Returns:
        (batch, h, w, channels).
    """
    x = conv_bn_relu(x, channels, 3, 1, name, norm)
    return _dropped(x, dropout, name)


def deeplabv3(
    x, *, channels: int, dropout: float, norm: Callable, name: str, rates: Sequence[int]
) -> keras.KerasTensor:
    """DeepLabV3's head (Chen et al., arXiv 1706.05587, Sec. 3.3): ASPP, and a 3x3 convolution.

    Atrous spatial pyramid pooling looks at features by a 1x1 convolution, by 3x3 ones of several
    dilations, and at the mean over the image, side by side. The convolution behind it is
    torchvision's. Arguments and result as of `fcn`.

    Args:
        rates: dilations of the 3x3 convolutions.
    """
    branches = [conv_bn_relu(x, channels, 1, 1, f"{name}_aspp0", norm)]
    for number, rate in enumerate(rates, 1):
        branches.append(_atrous(x, channels, rate, f"{name}_aspp{number}", norm))
    pool = layers.GlobalAveragePooling2D(CHANNELS_LAST, keepdims=True, name=f"{name}_pool_mean")(x)
    pool = conv_bn_relu(pool, channels, 1, 1, f"{name}_pool", norm)
    branches.append(resized(pool, x, f"{name}_pool_resized"))
    x = layers.Concatenate(name=f"{name}_aspp")(branches)
    x = conv_bn_relu(x, channels, 1, 1, f"{name}_project", norm)
    x = _dropped(x, dropout, name)
    return conv_bn_relu(x, channels, 3, 1, name, norm)


def _atrous(x, channels, rate, name, norm):
    """As `conv_bn_relu`, of a dilation as wide as the map."""
    x = atrous(channels, rate, f"{name}_conv")(x)
    x = norm(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def decoder(x, skip, *, channels: int, norm: Callable, name: str) -> keras.KerasTensor:
    """DeepLabV3+'s decoder (arXiv 1802.02611, Sec. 3.1): features of a finer stage refine others.

    Args:
        x: what a head computes, (batch, h, w, any).
        skip: features of an earlier stage, (batch, height, width, any).
        channels, norm, name: as of `fcn`.

    Returns:
        (batch, height, width, channels).
    """
    fine = conv_bn_relu(skip, min(SKIP_CHANNELS, skip.shape[-1]), 1, 1, f"{name}_skip", norm)
    x = layers.Concatenate(name=f"{name}_joined")([resized(x, skip, f"{name}_finer"), fine])
    for number in (1, 2):
        x = conv_bn_relu(x, channels, 3, 1, f"{name}_decoder{number}", norm)
    return x


def logits(x, num_classes: int, *, name: str) -> keras.KerasTensor:
    """A 1x1 convolution; float32 under every dtype policy, (batch, h, w, num_classes)."""
    return layers.Conv2D(
        num_classes,
        1,
        data_format=CHANNELS_LAST,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name=f"{name}_logits",
    )(x)


def _dropped(x, rate, name):
    return Dropout(rate, name=f"{name}_dropout")(x) if rate else x
