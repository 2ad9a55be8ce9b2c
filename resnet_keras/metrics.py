"""The paper's measures: top-1 and top-5 error, in [0, 1], and cross-entropy.

Labels are int, (batch,) or (batch, 1), or shares of each class, float (batch, classes), as mixup
makes them; an error is then counted against the largest share.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="resnet_keras")
def top1_error(labels, logits):
    """Per-example error: 0.0 where the label's logit is the largest, else 1.0.

    Args:
        labels: see above.
        logits: (batch, classes).

    Returns:
        float32 (batch,). `compile(metrics=[top1_error])` averages it over all examples.
    """
    return top_k_error(labels, logits, 1)


@keras.saving.register_keras_serializable(package="resnet_keras")
def top5_error(labels, logits):
    """Per-example error: 0.0 where the label is among the 5 largest logits (Russakovsky et al.)."""
    return top_k_error(labels, logits, 5)


@keras.saving.register_keras_serializable(package="resnet_keras")
def cross_entropy(labels, logits, label_smoothing=0.0):
    """Per-example softmax cross-entropy, float32 (batch,).

    Args:
        labels: see above.
        logits: (batch, classes).
        label_smoothing: share that is spread over all classes (Szegedy et al. 2015).
    """
    classes = logits.shape[-1]
    if not _are_shares(labels, logits):
        labels = ops.one_hot(ops.reshape(ops.cast(labels, "int32"), (-1,)), classes)
    shares = (1.0 - label_smoothing) * ops.cast(labels, "float32") + label_smoothing / classes
    return ops.categorical_crossentropy(shares, ops.cast(logits, "float32"), from_logits=True)


@keras.saving.register_keras_serializable(package="resnet_keras")
class CrossEntropy(keras.losses.Loss):
    """`cross_entropy` as a loss for `compile`, for labels of both kinds."""

    def __init__(self, label_smoothing=0.0, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        return cross_entropy(y_true, y_pred, self.label_smoothing)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def top_k_error(labels, logits, k):
    """1.0 where `k` or more classes have a logit above the label's, or where it is NaN."""
    logits = ops.cast(logits, "float32")
    if _are_shares(labels, logits):
        labels = ops.argmax(labels, axis=-1)
    labels = ops.reshape(ops.cast(labels, "int32"), (-1, 1))
    own = ops.take_along_axis(logits, labels, axis=-1)
    # Ties count against the label, so that constant logits are an error and not a lucky hit.
    others = ops.sum(ops.cast(logits >= own, "int32"), axis=-1) - 1
    correct = ops.logical_and(others < k, ops.isfinite(own[:, 0]))
    return 1.0 - ops.cast(correct, "float32")


def _are_shares(labels, logits):
    return len(labels.shape) == 2 and labels.shape[-1] == logits.shape[-1] != 1
