"""Mean intersection over union and pixel accuracy in `fit` and `evaluate`, by exact counts."""

from typing import Any

import keras
import numpy as np
from keras import ops

from . import scores


@keras.saving.register_keras_serializable(package="resnet_keras")
class ConfusionMatrix(keras.metrics.Metric):
    """Counts pixels in int64, which stays exact where float32 does not: from 16 million pixels on.

    Args:
        num_classes: of labels (batch, height, width), 255 where a pixel is ignored, and of logits
            (batch, height, width, num_classes).
        name: of the metric; its measures are called "miou" and "pixel_accuracy".

    Attributes:
        matrix: int64 (num_classes, num_classes), see `scores`.
    """

    def __init__(self, num_classes: int, name: str = "confusion_matrix", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.matrix = self.add_variable(
            (num_classes, num_classes), "zeros", dtype="int64", name="matrix"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch's pixels; weights of pixels are not heeded, for the label 255 is."""
        classes = self.num_classes
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        found = ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        counted = ops.logical_and(labels >= 0, labels < classes)
        places = ops.where(counted, labels * classes + found, classes**2)  # behind all cells
        counts = ops.bincount(places, minlength=classes**2 + 1)[: classes**2]
        counts = ops.reshape(counts, (classes, classes))
        self.matrix.assign_add(ops.cast(counts, "int64"))

    def result(self):
        """{"miou", "pixel_accuracy"}, float32; 0 where there were no pixels."""
        matrix = ops.cast(self.matrix, "float64")
        hits = ops.diagonal(matrix)
        pixels = ops.sum(matrix)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - hits
        occurring = ops.cast(union > 0, "float64")
        shares = hits / ops.maximum(union, 1.0)
        miou = ops.sum(shares * occurring) / ops.maximum(ops.sum(occurring), 1.0)
        accuracy = ops.sum(hits) / ops.maximum(pixels, 1.0)
        return {
            "miou": ops.cast(miou, "float32"),
            "pixel_accuracy": ops.cast(accuracy, "float32"),
        }

    def per_class(self) -> np.ndarray:
        """Intersection over union of each class, see `scores.iou`."""
        return scores.iou(ops.convert_to_numpy(self.matrix))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}
