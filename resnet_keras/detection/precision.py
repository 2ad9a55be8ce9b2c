"""Precision and recall of one class, and Pascal VOC's average precision of them; NumPy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

VOC_METRICS = ("07", "area")
_TINY = np.finfo(np.float64).tiny


class Curve(NamedTuple):
    """Precision at each recall, float (points,), of one class."""

    recall: np.ndarray
    precision: np.ndarray


def shared_area(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The area that one box (4,) has in common with each of boxes (n, 4)."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    return np.maximum(sides, 0.0).prod(axis=1)


def iou_with(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The IoU of each of boxes (n, 4) with one box (4,), float (n,)."""
    shared = shared_area(boxes, box)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, _TINY)


def share_within(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The share of a box (4,) that lies in each of boxes (n, 4)."""
    return shared_area(boxes, box) / max((box[2:] - box[:2]).prod(), _TINY)


def curve(is_true: Sequence[bool], positives: int) -> Curve:
    """Recall and precision after each detection.

    Args:
        is_true: of each detection, the highest score first.
        positives: how many objects there are to be found.
    """
    true = np.cumsum(np.asarray(is_true, np.float64))
    count = np.arange(1, len(true) + 1)
    return Curve(true / max(positives, 1), true / count)


def average_precision(curve: Curve, metric: str) -> float:
    """VOC's average precision; the curve is made monotone from the right first.

    Args:
        curve: of one class.
        metric: "07" or "area", see `voc`.
    """
    recall = np.concatenate([[0.0], curve.recall, [1.0]])
    precision = np.concatenate([[0.0], curve.precision, [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "area":
        return float(np.sum(np.diff(recall) * precision[1:]))
    # arange's own thresholds, of which the third is a little above .3, as in the reference.
    thresholds = np.arange(0.0, 1.1, 0.1)
    reached = [curve.precision[curve.recall >= least] for least in thresholds]
    return float(sum(values.max() if len(values) else 0.0 for values in reached) / 11)
