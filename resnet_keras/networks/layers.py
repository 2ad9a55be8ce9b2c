"""Layers the networks need beside Keras's own: batch normalization, pixels, option A, dropout..."""

import json
import sys
import warnings
from typing import Any

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
    (on other backends they always are: a step sees the batch as a whole). With `trainable=False`
    the layer uses and keeps its moving statistics, as Keras's does; set before `compile`.
    """

    def __init__(self, axis=-1, momentum=0.9, epsilon=1e-5, synchronized=False, **kwargs):
        self._asked = synchronized
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)
        self.synchronized = synchronized

    @property
    def synchronized(self):
        """What Keras is to see to: elsewhere a step sees the batch of all devices anyhow."""
        return self._asked and keras.backend.backend() == "tensorflow"

    @synchronized.setter
    def synchronized(self, value):
        self._asked = value

    def get_config(self):
        return {**super().get_config(), "synchronized": self._asked}

    def build(self, input_shape):
        super().build(input_shape)
        # `optimizers.SGD(ema=...)` averages these too, and is given trainable variables only.
        trained = [v for v in (self.gamma, self.beta) if v is not None]
        statistics = tuple(v for v in self.variables if not any(v is one for one in trained))
        if trained:
            trained[0].moving_statistics = statistics

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
class FrozenBatchNormalization(BatchNormalization):
    """Batch normalization that stays as it was loaded, as detectors have it.

    Arguments, variables and file contents as of `BatchNormalization`. None of the variables is
    trained, whatever `trainable` says of the layer or of the model around it, and inputs are
    normalized by the moving statistics in training, too.
    """

    def add_weight(self, *args, **kwargs):
        return super().add_weight(*args, **{**kwargs, "trainable": False})

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


@keras.saving.register_keras_serializable(package="resnet_keras")
class PixelNormalization(keras.layers.Layer):
    """Raw pixels to network input: `(pixels - mean) / std`, with values the model carries.

    Args:
        mean: numbers in pixel units (0 to 255): one per channel, shape (channels,), or one per
            pixel, shape (height, width, channels), as in Sec. 4.2 of the paper.
        std: the same for the divisor.
        network: what the network that begins with this layer was built with, for `.keras` files;
            see `zoo.weights.record`.

    Input of any dtype and shape (batch, height, width, channels) is computed in float32 and
    returned in the layer's compute dtype; one channel becomes as many as `mean` has. `mean` and
    `std` are non-trainable weights: they are saved and loaded with the others.
    """

    def __init__(self, mean, std, network=None, **kwargs):
        # Without autocast=False, a bfloat16 policy would round the pixels before the subtraction.
        super().__init__(autocast=False, **kwargs)
        self.initial_mean = np.asarray(mean, "float32")
        self.initial_std = np.asarray(std, "float32")
        self.network = network

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
        network = {"network": self.network} if self.network else {}
        return {**super().get_config(), **values, **network}

    @property
    def network(self) -> dict[str, Any] | None:
        """A copy of its own, or None."""
        return json.loads(self._network)

    @network.setter
    def network(self, value):
        self._network = json.dumps(value)  # as text: Keras would track what is in a dict

    @classmethod
    def from_config(cls, config):
        layer = super().from_config(config)
        if layer.dtype_policy.name == "mixed_float16" != keras.config.dtype_policy().name:
            # Keras keeps the policy of layers, and not the model's, by which `compile` decides.
            warnings.warn(
                "This network computes in float16, and a loaded or cloned model trains without "
                "loss scaling: call keras.config.set_dtype_policy('mixed_float16') before it.",
                stacklevel=2,
            )
        return layer


@keras.saving.register_keras_serializable(package="resnet_keras")
class SeriesNormalization(PixelNormalization):
    """The same for series, of which each channel is then brought to mean 0 and deviation 1.

    The z-normalization of each series by itself is usual with the UCR archive. Arguments as of
    `PixelNormalization`; a first scale by the data set's own mean and deviation does not change
    the result, and keeps float32 exact where series have a large common offset. Where a channel is
    constant, it becomes 0: what deviates by less than a millionth of its values is rounding.
    """

    def call(self, pixels):
        series = (ops.cast(pixels, "float32") - self.mean) / self.std
        largest = ops.max(ops.abs(series), axis=1, keepdims=True)
        series = series - ops.mean(series, axis=1, keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(series), axis=1, keepdims=True))
        varies = deviation > 1e-6 * largest
        scaled = ops.where(varies, series / ops.where(varies, deviation, 1.0), 0.0)
        return ops.cast(scaled, self.compute_dtype)


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
        return (batch, *_strided(height, width, self.stride), self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}


@keras.saving.register_keras_serializable(package="resnet_keras")
class Subsampling(keras.layers.Layer):
    """Every `stride`-th pixel: (batch, ceil(height / stride), ceil(width / stride), channels)."""

    def __init__(self, stride, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, x):
        return x[:, :: self.stride, :: self.stride, :]

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, *_strided(height, width, self.stride), channels)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable(package="resnet_keras")
class DilatedAveragePooling(keras.layers.Layer):
    """The mean of each value and its next, `dilation` apart, along both sides: of those there are.

    Maps (batch, height, width, channels) to the same shape. Every 2nd value of it at dilation 1 is
    what `keras.layers.AveragePooling2D(2, padding="same")` gives.
    """

    def __init__(self, dilation, **kwargs):
        super().__init__(**kwargs)
        self.dilation = dilation

    def call(self, x):
        return self._summed(x) / self._summed(ops.ones_like(x[:1, :, :, :1]))

    def _summed(self, x):
        by = self.dilation
        padded = ops.pad(x, ((0, 0), (0, by), (0, by), (0, 0)))
        rows = padded[:, by:] + padded[:, :-by]
        return rows[:, :, by:] + rows[:, :, :-by]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "dilation": self.dilation}


@keras.saving.register_keras_serializable(package="resnet_keras")
class Maxout(keras.layers.Layer):
    """The maximum over several linear maps (Goodfellow et al., arXiv 1302.4389).

    Args:
        units: of the result.
        pieces: linear maps, each with biases, of which the largest value is taken for each unit.

    Maps (batch, channels) to (batch, units), or each place of a map likewise. The weights are
    `kernel` (channels, units * pieces), in which the pieces of a unit are side by side, and `bias`;
    they begin as those of the networks here, by He's initialization.
    """

    def __init__(self, units, pieces, **kwargs):
        super().__init__(**kwargs)
        for what, value in (("units", units), ("pieces", pieces)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{what} must be a positive whole number, not {value!r}.")
        self.units = units
        self.pieces = pieces

    def build(self, input_shape):
        he_normal = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
        size = self.units * self.pieces
        self.kernel = self.add_weight(
            shape=(input_shape[-1], size), initializer=he_normal, name="kernel"
        )
        self.bias = self.add_weight(shape=(size,), initializer="zeros", name="bias")

    def call(self, x):
        x = ops.matmul(x, self.kernel) + self.bias
        sides = ops.shape(x)[1:-1]
        return ops.max(ops.reshape(x, (-1, *sides, self.units, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "pieces": self.pieces}


def _strided(height, width, stride):
    return [None if side is None else -(-side // stride) for side in (height, width)]


@keras.saving.register_keras_serializable(package="resnet_keras")
class Dropout(keras.layers.Layer):
    """Dropout whose draws do not depend on the number of replicas.

    Args:
        rate: of the values that are dropped in training, in [0, 1).
        seed: of the draws; None draws one, which `keras.utils.set_random_seed` settles.

    In training each value is 0 with probability `rate` and otherwise divided by 1 - rate, so that
    its expectation stays; in inference nothing is done. What an example loses depends on the seed,
    on how often the layer was called in training, and on the example's place in the global batch.
    Keras's layer takes a seed alone: under `tf.distribute` every replica would draw the same for
    its own share. Here every replica draws for the whole global batch and takes its share, which
    is right where all have equal shares. The count of calls is in `variables`, not in `weights`.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1), not {rate!r}.")
        self.rate = rate
        self.seed = seed
        if rate:
            # Named by the layer: its variable has the same path in every copy of a network.
            self.seed_generator = keras.random.SeedGenerator(seed, name=self.name)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        replicas, index = _replicas()
        shape: Any = ops.shape(inputs)
        rows = replicas * shape[0]
        # In float32 under every policy: bfloat16 has 256 numbers between 1/2 and 1.
        draws = keras.random.uniform(
            (rows, *self._draws(shape[1:])), dtype="float32", seed=self.seed_generator
        )
        if replicas > 1:
            draws = draws[index * shape[0] : (index + 1) * shape[0]]
        return inputs * (ops.cast(draws >= self.rate, inputs.dtype) / (1 - self.rate))

    def _draws(self, sides):
        """The shape of one example's draws, by the sides of the example."""
        return sides

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="resnet_keras")
class StochasticDepth(Dropout):
    """Drops residual branches whole, for each example by its own draw.

    For a residual branch before it is added to its shortcut, of any shape (batch, ...): the block
    is then the identity for the examples that lose it (Huang et al., arXiv 1603.09382). They drop
    a block for the whole batch and multiply by the survival rate at test time; here each example
    draws, and survivors are divided in training, which is the same in expectation (timm's
    DropPath, torchvision's StochasticDepth in mode "row"). Arguments and draws as of `Dropout`.
    """

    def _draws(self, sides):
        return (1,) * len(sides)


def _replicas():
    """How many replicas run the layer side by side, and the place of this one among them."""
    if keras.backend.backend() != "tensorflow":
        return 1, 0
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:  # called once for all replicas, with the global batch
        return 1, 0
    return context.num_replicas_in_sync, context.replica_id_in_sync_group
