"""The paper's measures: top-1 and top-5 error, in [0, 1], and cross-entropy.

Labels are int, (batch,) or (batch, 1), or shares of each class, float (batch, classes), as mixup
makes them; an error is then counted against the largest share.

A label that is none of the classes (negative, too large, not whole) makes every measure NaN. On
TensorFlow, `fit` and `evaluate` fail and name it, but not under XLA, which drops such checks; on
JAX they print it where they run on CPUs.
"""

import math

import keras
from keras import ops

from resnet_keras import backends


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
    classes, valid = logits.shape[-1], None
    if not _are_shares(labels, logits):
        labels, valid = _checked(labels, classes)
        labels = ops.one_hot(labels, classes)
    shares = (1.0 - label_smoothing) * ops.cast(labels, "float32") + label_smoothing / classes
    losses = ops.categorical_crossentropy(shares, ops.cast(logits, "float32"), from_logits=True)
    return losses if valid is None else ops.where(valid, losses, math.nan)


@keras.saving.register_keras_serializable(package="resnet_keras")
class CrossEntropy(keras.losses.Loss):
    """`cross_entropy` as a loss for `compile`, for labels of both kinds."""

    def __init__(self, label_smoothing=0.0, name="cross_entropy", dtype="float32", **kwargs):
        # Keras casts labels, too: to Keras's floatx without a dtype, and bfloat16 has no 257.
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Per-example losses; arguments as of `cross_entropy`."""
        return cross_entropy(y_true, y_pred, self.label_smoothing)

    def get_config(self):
        """The arguments that make this loss."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def top_k_error(labels, logits, k):
    """1.0 where `k` or more classes have a logit above the label's, or where it is NaN."""
    logits, valid = ops.cast(logits, "float32"), None
    if _are_shares(labels, logits):
        labels = ops.cast(ops.argmax(labels, axis=-1), "int32")
    else:
        labels, valid = _checked(labels, logits.shape[-1])
    own = ops.take_along_axis(logits, labels[:, None], axis=-1)
    # Ties count against the label, so that constant logits are an error and not a lucky hit.
    others = ops.sum(ops.cast(logits >= own, "int32"), axis=-1) - 1
    correct = ops.logical_and(others < k, ops.isfinite(own[:, 0]))
    errors = 1.0 - ops.cast(correct, "float32")
    return errors if valid is None else ops.where(valid, errors, math.nan)


def _checked(labels, classes):
    """Labels as int32 (batch,), 0 where they are none of the classes, and where they are one."""
    labels = ops.reshape(ops.convert_to_tensor(labels), (-1,))
    whole = ops.cast(labels, "int32")
    # As int32: of uint8 labels there may be more classes than the type holds.
    valid = ops.logical_and(whole >= 0, whole < classes)
    valid = ops.logical_and(valid, ops.equal(ops.cast(whole, labels.dtype), labels))
    backends.name_invalid(labels, valid, classes)
    return ops.where(valid, whole, 0), valid


def _are_shares(labels, logits):
    return len(labels.shape) == 2 and labels.shape[-1] == logits.shape[-1] != 1
