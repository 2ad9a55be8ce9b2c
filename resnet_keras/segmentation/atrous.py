"""A convolution of wide dilation that costs no more than what it sees.

TensorFlow on a CPU pads the map by the dilation on each side and convolves all of it: DeepLabV3's
3x3 kernels of rate 36 on 30x40 features took 1.85 seconds of processor time (batch 2, 2048 to 256
channels, AMD EPYC with AVX-512) where 0.03 suffice, for most of a kernel's places see padding only.
"""

from typing import Any

import keras
from keras import layers

from resnet_keras.networks.blocks import CHANNELS_LAST, he_normal


@keras.saving.register_keras_serializable(package="resnet_keras")
class AtrousConvolution(layers.Conv2D):
    """Keras's `Conv2D`, with its weights and numbers, of stride 1 and zero padding.

    On a CPU under TensorFlow it is a sum of products, one for each place of the kernel, over the
    part of the map that this place sees. Elsewhere it is Keras's own operation.
    """

    def convolution_op(self, inputs, kernel):
        """Maps (batch, height, width, channels) to (batch, height, width, filters)."""
        if not _on_cpu():
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        sizes: list[Any] = list(inputs.shape[1:3])
        if None in sizes:
            sizes = [tf.shape(inputs)[1], tf.shape(inputs)[2]]
        total = None
        for row in range(self.kernel_size[0]):
            y = _Seen(row, self.kernel_size[0], self.dilation_rate[0], sizes[0])
            for column in range(self.kernel_size[1]):
                x = _Seen(column, self.kernel_size[1], self.dilation_rate[1], sizes[1])
                if y.is_empty or x.is_empty:
                    continue
                seen = inputs[:, y.start : y.stop, x.start : x.stop]
                part = tf.linalg.matmul(seen, kernel[row, column])
                part = tf.pad(part, [[0, 0], y.padding, x.padding, [0, 0]])
                total = part if total is None else total + part
        return total


class _Seen:
    """Of one axis, what a place of a kernel sees of the map: from `start` to `stop`.

    `padding` is what its product lacks before and behind.
    """

    def __init__(self, place, places, rate, size):
        offset = (place - (places - 1) // 2) * rate
        least, most = _min_max(size)
        self.start = max(offset, 0)
        self.stop = most(size + min(offset, 0), self.start)
        before = least(max(-offset, 0), size)
        self.padding = [before, size - before - (self.stop - self.start)]
        self.is_empty = isinstance(size, int) and self.stop == self.start


def _min_max(size):
    """Of numbers, or of tensors where a size is known in the graph alone."""
    if isinstance(size, int):
        return min, max
    import tensorflow as tf

    return tf.minimum, tf.maximum


def _on_cpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def atrous(filters: int, rate: int, name: str) -> AtrousConvolution:
    """A bias-free 3x3 convolution of a dilation, initialized as `blocks.conv`."""
    return AtrousConvolution(
        filters,
        3,
        padding="same",
        data_format=CHANNELS_LAST,
        dilation_rate=rate,
        use_bias=False,
        kernel_initializer=he_normal(),
        name=name,
    )
