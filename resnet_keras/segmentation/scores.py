"""How good masks are, by the confusion matrix: intersection over union, and pixel accuracy.

A confusion matrix is int64 (classes, classes): how many pixels of each class (rows) were taken for
each (columns). Ignored pixels are in none.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from resnet_keras.errors import InputError
from resnet_keras.facts import IGNORED


def confusion_matrix(labels: Any, found: Any, num_classes: int) -> np.ndarray:
    """Counts pixels.

    Args:
        labels: int, any shape; 255 where pixels are ignored.
        found: int, of the same shape.
        num_classes: of which both are.

    Returns:
        int64 (num_classes, num_classes).

    Raises:
        InputError: shapes differ, or there is a label that is no class.
    """
    labels, found = np.asarray(labels), np.asarray(found)
    if labels.shape != found.shape:
        raise InputError(f"Masks of shape {found.shape} do not fit labels of {labels.shape}.")
    counted = labels != IGNORED
    labels, found = labels[counted].astype(np.int64), found[counted].astype(np.int64)
    for values in (labels, found):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise InputError(
                f"Labels are 0 to {num_classes - 1}, and {IGNORED}, not {values.min()} to "
                f"{values.max()}."
            )
    counts = np.bincount(labels * num_classes + found, minlength=num_classes**2)
    return counts.reshape([num_classes, num_classes])


def total(matrices: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of confusion matrices."""
    return np.asarray(np.sum(list(matrices), axis=0), np.int64)


def iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 (classes,); NaN where it occurs nowhere."""
    intersection = np.diagonal(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - intersection
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """The share of each class's pixels that are found, float64 (classes,); NaN without pixels."""
    pixels = matrix.sum(axis=1)
    return np.where(pixels > 0, np.diagonal(matrix) / np.maximum(pixels, 1), np.nan)


def mean_iou(matrix: np.ndarray) -> float:
    """The mean over classes that occur, among labels or masks, as Pascal VOC has it."""
    values = iou(matrix)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def pixel_accuracy(matrix: np.ndarray) -> float:
    """The share of all pixels whose class is found; NaN where there are none."""
    pixels = matrix.sum()
    return float(np.trace(matrix) / pixels) if pixels else float("nan")
