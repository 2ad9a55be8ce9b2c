"""Models that bring their losses with them, one of each image and kind. TensorFlow."""

import keras
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.training import keras_patches


class OwnLosses(keras.Model):
    """A Keras model whose call with `targets` gives losses: {name: float32 (batch,)}.

    A batch's loss is the mean over images of what the losses add up to, weighted by an image's
    weight; `fit` and `evaluate` tell it, and the mean of each.

    Attributes:
        noun: what it is, for messages, such as "detector".
        loss_names: in the order in which its call gives the losses.
    """

    noun = "model"
    loss_names: tuple[str, ...] = ()

    def prepare(self) -> None:
        """The end of each `__init__`."""
        self.loss_means = [keras.metrics.Mean(name=name) for name in self.loss_names]
        self.seeds = keras.random.SeedGenerator(0)  # for targets without a key
        self.jit_compile = False  # Keras's own choice, where nothing is compiled, is XLA on a GPU
        self.built = True

    def compile(self, optimizer="rmsprop", *, jit_compile=False, **options):
        """Compiles the model; it brings its own losses.

        Args:
            optimizer: of Keras.
            jit_compile: compile steps with XLA, RoIAlign in the form that XLA takes.
            **options: of `keras.Model.compile`, but no loss and no metrics.

        Raises:
            InputError: there is a loss, or there are metrics.
        """
        for name in ("loss", "metrics", "weighted_metrics", "loss_weights"):
            if options.get(name) is not None:
                raise InputError(f"A {self.noun} has its own losses: compile it without {name}.")
        if self.distribute_strategy.num_replicas_in_sync > 1:
            keras_patches.mend()  # for "crowd" among the targets
        super().compile(optimizer, jit_compile=jit_compile, **options)

    def compile_from_config(self, config):
        """Compiles a model that is loaded as the one that was saved."""
        config = keras.saving.deserialize_keras_object(config)
        names = ("optimizer", "jit_compile", "run_eagerly", "steps_per_execution")
        self.compile(**{name: config[name] for name in names if name in config})
        self.optimizer.build(self.trainable_variables)

    def train_step(self, batch):
        x, targets, weights = _unpack(batch)
        with tf.GradientTape() as tape:
            per_image = self(x, targets=targets, training=True)
            loss = self._mean_loss(per_image, weights)
            # Gradients are added up over the replicas.
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
            scaled = self.optimizer.scale_loss(share)
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._measured(per_image, weights)

    def test_step(self, batch):
        x, targets, weights = _unpack(batch)
        return self._measured(self(x, targets=targets, training=False), weights)

    def _mean_loss(self, per_image, weights):
        total = tf.add_n(list(per_image.values()))
        if weights is not None:
            total *= tf.cast(weights, total.dtype)
        return tf.add_n([tf.reduce_mean(total), *self.losses])

    def _measured(self, per_image, weights):
        total = tf.add_n(list(per_image.values()))
        self._loss_tracker.update_state(total, sample_weight=weights)
        for mean, values in zip(self.loss_means, per_image.values(), strict=True):
            mean.update_state(values, sample_weight=weights)
        return self.get_metrics_result()

    def build(self, input_shape):
        """Everything is built by `__init__`."""


def _unpack(batch):
    """Inputs, targets, and weights of images or None, of what `fit` takes."""
    x, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
    if isinstance(weights, dict):  # Keras gives an array's copies to each of the targets
        weights = weights["boxes"]
    return x, targets, weights
