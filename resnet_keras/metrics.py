"""The paper's measures: top-1 and top-5 error, in [0, 1]."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="resnet_keras")
def top1_error(labels, logits):
    """Per-example error: 0.0 where the label's logit is the largest, else 1.0.

    Args:
        labels: int (batch,) or (batch, 1).
        logits: (batch, classes).

    Returns:
        float32 (batch,). `compile(metrics=[top1_error])` averages it over all examples.
    """
    return top_k_error(labels, logits, 1)


@keras.saving.register_keras_serializable(package="resnet_keras")
def top5_error(labels, logits):
    """Per-example error: 0.0 where the label is among the 5 largest logits (Russakovsky et al.)."""
    return top_k_error(labels, logits, 5)


def top_k_error(labels, logits, k):
    """1.0 where `k` or more classes have a logit above the label's, or where it is NaN."""
    logits = ops.cast(logits, "float32")
    labels = ops.reshape(ops.cast(labels, "int32"), (-1, 1))
    own = ops.take_along_axis(logits, labels, axis=-1)
    # Ties count against the label, so that constant logits are an error and not a lucky hit.
    others = ops.sum(ops.cast(logits >= own, "int32"), axis=-1) - 1
    correct = ops.logical_and(others < k, ops.isfinite(own[:, 0]))
    return 1.0 - ops.cast(correct, "float32")
