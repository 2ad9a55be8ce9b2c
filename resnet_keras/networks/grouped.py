"""Grouped convolution that a CPU can train (ResNeXt; arXiv 1611.05431, Fig. 3c)."""

import keras


@keras.saving.register_keras_serializable(package="resnet_keras")
class GroupedConvolution(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with `groups`, and a gradient that is fast on TensorFlow's CPUs.

    A drop-in: the same arguments, variables and config, so weights interchange, and the same
    numbers. TensorFlow computes a grouped convolution fast on a CPU, and its gradient about a
    hundred times slower than those of the groups by themselves: in training, where there is no
    GPU, the gradient is taken of these. In inference, on a GPU and on other backends it is Keras's
    layer in all.
    """

    def call(self, inputs, training=False):
        if self.groups == 1 or not training or not _trains_on_cpu():
            return super().call(inputs)
        outputs = _grouped(self.convolution_op, self.groups)(inputs, self.kernel)
        if self.use_bias:
            outputs = keras.ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


def _trains_on_cpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def _grouped(convolve, groups):
    """`convolve`, a function of maps and kernel, with the gradient of its groups one by one."""
    import tensorflow as tf

    @tf.custom_gradient
    def run(x, kernel):
        def gradient(dy):
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                # Graphs leave these forward convolutions out: no gradient needs their results.
                parts = [
                    convolve(some, part)
                    for some, part in zip(
                        tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True
                    )
                ]
                y = tf.concat(parts, axis=-1)
            return tape.gradient(y, [x, kernel], dy)

        return convolve(x, kernel), gradient

    return run
