"""Layers the networks need beside Keras's own: batch normalization, pixels, option A."""

import sys

import keras
import numpy as np
from keras import ops

# Keras walks a functional model's graph by recursion, one frame per layer in a row, whenever it
# builds, loads or clones one. ResNet-1202 has 4,208 in a row; Python's limit is 1,000.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))


@keras.saving.register_keras_serializable(package="resnet_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with TensorFlow's fused kernel and statistics shared by all replicas.

    A drop-in for `keras.layers.BatchNormalization`: the same arguments, variables and config, so
    weights interchange, and the same numbers: moving averages take the population variance, as
    Keras's do (torch and Caffe take the Bessel-corrected one). It differs in three ways.

    - Defaults are momentum 0.9 and epsilon 1e-5, those of the authors' released networks.
    - On the TensorFlow backend an input of shape (batch, height, width, channels) is normalized by
      one fused kernel in float32, float16 or bfloat16, statistics always in float32. Keras's own
      operations are used for everything else, and on every other backend.
    - Under `tf.distribute` the moving statistics are the mean over the replicas at every step.
      Keras's layer keeps one set per replica and saves the first replica's only.

    With `synchronized=True` the batch's own statistics too are taken over all replicas
    (TensorFlow backend only). With `trainable=False` the layer uses and keeps its moving
    statistics, as Keras's does; set before `compile`.
    """

    def __init__(self, axis=-1, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)

    def add_weight(self, *args, **kwargs):
        if not kwargs.get("trainable", True):
            kwargs.setdefault("aggregation", "mean")
        return super().add_weight(*args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        batch_statistics = bool(training) and self.trainable
        if mask is not None or not self._kernel_applies(inputs, batch_statistics):
            return super().call(inputs, training=training, mask=mask)
        return self._fused(inputs, batch_statistics)

    def _kernel_applies(self, inputs, batch_statistics):
        if keras.backend.backend() != "tensorflow" or self.renorm:
            return False
        if self.variable_dtype != "float32":  # the kernel takes no other statistics
            return False
        if len(inputs.shape) != 4 or self.axis not in (-1, 3):
            return False
        if inputs.dtype not in ("float32", "float16", "bfloat16"):
            return False
        if not (batch_statistics and self.synchronized):
            return True
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync == 1

    def _fused(self, inputs, batch_statistics):
        import tensorflow as tf

        channels = inputs.shape[-1]
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma if self.scale else tf.ones(channels),
            offset=self.beta if self.center else tf.zeros(channels),
            mean=tf.zeros(0) if batch_statistics else self.moving_mean,
            variance=tf.zeros(0) if batch_statistics else self.moving_variance,
            epsilon=self.epsilon,
            is_training=batch_statistics,
        )
        if batch_statistics:
            # The kernel returns the Bessel-corrected variance; Keras averages the plain one.
            count = tf.cast(tf.size(inputs) // channels, "float32")
            variance = outputs.batch_variance * (tf.maximum(count - 1.0, 1.0) / count)
            self._average(self.moving_mean, outputs.batch_mean)
            self._average(self.moving_variance, variance)
        return outputs.y

    def _average(self, moving, value):
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


@keras.saving.register_keras_serializable(package="resnet_keras")
class PixelNormalization(keras.layers.Layer):
    """Raw pixels to network input: `(pixels - mean) / std`, with values the model carries.

    Args:
        mean: numbers in pixel units (0 to 255): one per channel, shape (channels,), or one per
            pixel, shape (height, width, channels), as in Sec. 4.2 of the paper.
        std: the same for the divisor.

    Input of any dtype and shape (batch, height, width, channels) is computed in float32 and
    returned in the layer's compute dtype; one channel becomes as many as `mean` has. `mean` and
    `std` are non-trainable weights: they are saved and loaded with the others.
    """

    def __init__(self, mean, std, **kwargs):
        # Without autocast=False, a bfloat16 policy would round the pixels before the subtraction.
        super().__init__(autocast=False, **kwargs)
        self.initial_mean = np.asarray(mean, "float32")
        self.initial_std = np.asarray(std, "float32")

    def build(self, input_shape):
        self.mean = self._constant("mean", self.initial_mean)
        self.std = self._constant("std", self.initial_std)

    def _constant(self, name, value):
        return self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype),
            dtype="float32",
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(self, pixels):
        normalized = (ops.cast(pixels, "float32") - self.mean) / self.std
        return ops.cast(normalized, self.compute_dtype)

    def compute_output_spec(self, pixels):
        channels = max(pixels.shape[-1], self.initial_mean.shape[-1])
        return keras.KerasTensor((*pixels.shape[:-1], channels), dtype=self.compute_dtype)

    def get_config(self):
        values = {"mean": self.initial_mean.tolist(), "std": self.initial_std.tolist()}
        return {**super().get_config(), **values}


@keras.saving.register_keras_serializable(package="resnet_keras")
class ZeroPaddedShortcut(keras.layers.Layer):
    """Option A of Sec. 3.3: every `stride`-th pixel, with zero channels added behind.

    Args:
        filters: channels of the output, at least those of the input.
        stride: step between the pixels that are kept.

    Maps (batch, height, width, channels) to (batch, ceil(height / stride),
    ceil(width / stride), filters) without parameters. A layer of its own and not a `Lambda`, so
    that a saved model loads without running stored code.
    """

    def __init__(self, filters, stride, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def call(self, x):
        x = x[:, :: self.stride, :: self.stride, :]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.filters - x.shape[-1])))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        size = [None if side is None else -(-side // self.stride) for side in (height, width)]
        return (batch, *size, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}
