"""Grouped convolution that a CPU can train (ResNeXt; arXiv 1611.05431, Fig. 3c)."""

import keras


@keras.saving.register_keras_serializable(package="resnet_keras")
class GroupedConvolution(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with `groups`, that is fast on TensorFlow's CPUs.

    A drop-in: the same arguments, variables and config, so weights interchange, and the same
    numbers. Keras has a grouped convolution compiled by XLA, of which the gradient takes a CPU
    about a hundred times as long as the gradients of the groups by themselves, and the convolution
    up to ten times as long as TensorFlow's own kernel. Here, where there is no accelerator, the
    one is taken by that kernel and the other group by group. On accelerators and on other backends
    it is Keras's layer in all.
    """

    def call(self, inputs):
        if not self._is_on_cpu():
            return super().call(inputs)
        import tensorflow as tf

        outputs = self._grouped()(inputs, tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            outputs = keras.ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def _is_on_cpu(self):
        if keras.backend.backend() != "tensorflow" or self.groups == 1:
            return False
        if self.data_format != "channels_last":
            return False
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:  # TensorFlow's has no such
            return False
        import tensorflow as tf

        return not any(map(tf.config.list_logical_devices, ("GPU", "TPU")))

    def _grouped(self):
        """A function of maps and kernel, whose gradient is that of its groups one by one."""
        import tensorflow as tf

        def convolve(x, kernel):
            return tf.nn.convolution(
                x, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate
            )

        @tf.custom_gradient
        def run(x, kernel):
            def gradient(dy):
                with tf.GradientTape() as tape:
                    tape.watch([x, kernel])
                    shares = tf.split(x, self.groups, -1), tf.split(kernel, self.groups, -1)
                    # Graphs leave these convolutions out: no gradient needs their results.
                    parts = [convolve(*share) for share in zip(*shares, strict=True)]
                    y = tf.concat(parts, -1)
                return tape.gradient(y, [x, kernel], dy)

            return convolve(x, kernel), gradient

        return run
