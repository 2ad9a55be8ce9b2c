"""Cross-entropy over the pixels of images, of which some are ignored."""

import keras
from keras import ops

from resnet_keras.facts import IGNORED


@keras.saving.register_keras_serializable(package="resnet_keras")
class PixelCrossEntropy(keras.losses.Loss):
    """Softmax cross-entropy, the mean over all pixels of a global batch that are not ignored.

    Where several replicas share a batch, the mean is that over all of their pixels: each alone
    would weigh its own by how few it has. A batch without any pixel has the loss 0, and gradients
    of 0. Of an optimizer that accumulates gradients, each part of a batch is a batch in this sense.

    Called with labels (batch, height, width), of any type, 0 to classes - 1, or 255 where a pixel
    is ignored, and logits (batch, height, width, classes); the loss is float32.
    """

    def __init__(self, name="pixel_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        """The loss of each image, so that their mean over a replica's images is its share of it."""
        labels = ops.cast(y_true, "int32")
        counted = ops.not_equal(labels, IGNORED)
        logits = ops.cast(y_pred, "float32")
        losses = ops.sparse_categorical_crossentropy(
            ops.where(counted, labels, 0), logits, from_logits=True
        )
        losses = ops.where(counted, losses, 0.0)
        pixels, replicas = _over_replicas(ops.sum(ops.cast(counted, "float32")))
        images = ops.cast(ops.shape(labels)[0], "float32")
        # Keras takes the mean over the images of a replica, and divides by the replicas.
        scale = images * replicas / ops.maximum(pixels, 1.0)
        return ops.sum(losses, axis=(1, 2)) * scale


def _over_replicas(count):
    """The sum of a number over the replicas that share a batch, and how many replicas there are."""
    if keras.backend.backend() != "tensorflow":
        return count, 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return count, 1
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(count))
    return total, context.num_replicas_in_sync
