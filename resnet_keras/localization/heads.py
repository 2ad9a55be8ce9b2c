"""The head of a network for localization: a logit and a box for each class and anchor. Keras."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="resnet_keras")
class PerClass(keras.layers.Layer):
    """Sibling 1x1 convolutions "in a per-class form" (appendix C), for the classes asked for.

    Each class has weights of its own, and only those of the classes in question are multiplied: of
    1000 classes with 9 anchors, the whole would be 45,000 channels at each place. Predictions are
    float32: give dtype="float32" under a policy of less.

    Args:
        num_classes: how many there are.
        anchors: of each place.
        stddev: of the normal distribution that weights are drawn from.
        **options: of `keras.layers.Layer`.
    """

    def __init__(self, num_classes: int, anchors: int = 1, *, stddev: float = 0.01, **options):
        super().__init__(**options)
        self.num_classes, self.anchors, self.stddev = num_classes, anchors, stddev

    # Keras asks for the names of the arguments of `call`.
    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, features_shape, classes_shape=None
    ):
        shape = (self.num_classes, features_shape[-1], 5 * self.anchors)
        normal = keras.initializers.RandomNormal(stddev=self.stddev)
        self.kernel = self.add_weight(shape, normal, name="kernel")
        self.bias = self.add_weight((self.num_classes, 5 * self.anchors), "zeros", name="bias")

    def call(self, features, classes):
        """Logits and deltas of some classes.

        Args:
            features: (batch, places, channels).
            classes: int32 (batch, k); -1 gives zeros.

        Returns:
            float32 logits (batch, k, places * anchors) and deltas (batch, k, places * anchors, 4).
        """
        # As a product, whose gradient adds up in one order on any processor; a gather's does not.
        chosen = ops.one_hot(classes, self.num_classes, dtype=self.compute_dtype)
        flat = ops.reshape(self.kernel, (self.num_classes, -1))
        count = classes.shape[1] or ops.shape(classes)[1]
        kernel = ops.reshape(
            ops.matmul(chosen, ops.cast(flat, self.compute_dtype)),
            (-1, count, self.kernel.shape[1], self.kernel.shape[2]),
        )
        bias = ops.matmul(chosen, ops.cast(self.bias, self.compute_dtype))
        out = ops.einsum("bpc,bkco->bkpo", ops.cast(features, self.compute_dtype), kernel)
        out = ops.cast(out + bias[:, :, None], "float32")
        places = features.shape[1] or ops.shape(features)[1]
        logits = ops.reshape(out[..., : self.anchors], (-1, count, places * self.anchors))
        deltas = ops.reshape(out[..., self.anchors :], (-1, count, places * self.anchors, 4))
        return logits, deltas

    def compute_output_spec(self, features, classes):
        batch, count = classes.shape
        places = features.shape[1] and features.shape[1] * self.anchors
        return (
            keras.KerasTensor((batch, count, places), "float32"),
            keras.KerasTensor((batch, count, places, 4), "float32"),
        )

    def get_config(self):
        own = {"num_classes": self.num_classes, "anchors": self.anchors, "stddev": self.stddev}
        return {**super().get_config(), **own}
