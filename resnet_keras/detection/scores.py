"""How well objects are found: COCO's twelve numbers and Pascal VOC's mean average precision.

Boxes are xyxy in pixels of the original image and half-open. VOC's own corners are inclusive, which
is what the +1 in its widths is for; of half-open boxes the same widths are x2 - x1.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_keras.errors import InputError, require, unknown

COCO = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
VOC_METRICS = ("07", "area")
EXTRA = "detection"


class Truth(NamedTuple):
    """The objects of an image.

    Attributes:
        image_id: any that no other image has.
        boxes: float (objects, 4).
        labels: int (objects,), 0 to classes - 1.
        crowd: bool (objects,), regions in which nothing counts as wrong; None for none.
        difficult: bool (objects,), which VOC's metric leaves out; None for none.
        areas: float (objects,), of the masks; None for the boxes'.
    """

    image_id: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray | None = None
    difficult: np.ndarray | None = None
    areas: np.ndarray | None = None


class Found(NamedTuple):
    """What was detected in an image: float boxes (n, 4), float scores (n,), int labels (n,)."""

    image_id: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Curve(NamedTuple):
    """Precision at each recall, float (points,), of one class or of several together."""

    recall: np.ndarray
    precision: np.ndarray


class CocoScores(NamedTuple):
    """What `coco` finds; -1 stands where there is nothing to find.

    Attributes:
        values: the twelve numbers by their names in `COCO`, in COCO's order.
        ap: float (classes,), at IoU .5 to .95.
        ap50: float (classes,), at IoU .5.
        curve: at IoU .5, the mean over the classes, at COCO's 101 recalls.
    """

    values: dict[str, float]
    ap: np.ndarray
    ap50: np.ndarray
    curve: Curve


class VocScores(NamedTuple):
    """What `voc` finds.

    Attributes:
        mean: mean average precision over the classes that have objects; NaN where none has.
        ap: float (classes,), NaN for classes without objects.
        curves: of each class.
    """

    mean: float
    ap: np.ndarray
    curves: tuple[Curve, ...]


def coco(truth: Iterable[Truth], found: Iterable[Found], category_ids: Sequence[int]) -> CocoScores:
    """COCO's metric, by pycocotools.

    A crowd region is ignored, and so are detections in it. Difficult objects, of which this metric
    does not know, are objects as any other.

    Args:
        truth: of every image, those without objects too.
        found: at most one for an image; an image may have none.
        category_ids: of the labels, in their order, as in the data set's file.

    Returns:
        The scores.

    Raises:
        InputError: detections in an image that `truth` has not, two of one image, or a label
            without a category.
        MissingExtraError: pycocotools is not installed.
    """
    tools = require("pycocotools.coco", extra=EXTRA)
    cocoeval = require("pycocotools.cocoeval", extra=EXTRA)
    truth, found = _checked(truth, found, len(category_ids))
    ids = np.asarray(category_ids)
    number = iter(range(1, 2**62))
    objects = [
        {
            "id": next(number),  # 0 would count as no match
            "image_id": image.image_id,
            "category_id": int(ids[label]),
            "bbox": _xywh(box),
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for image in truth
        for box, label, crowd, area in zip(
            image.boxes, image.labels, _flags(image.crowd, image), _areas(image), strict=True
        )
    ]
    detections = [
        {
            "image_id": image.image_id,
            "category_id": int(ids[label]),
            "bbox": _xywh(box),
            "score": float(score),
        }
        for image in found
        for box, score, label in zip(image.boxes, image.scores, image.labels, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of every step
        data = tools.COCO()
        data.dataset = {
            "images": [{"id": image.image_id} for image in truth],
            "annotations": objects,
            "categories": [{"id": int(key)} for key in category_ids],
        }
        data.createIndex()
        evaluation = cocoeval.COCOeval(data, _results(tools, data, detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return _coco_scores(evaluation, category_ids)


def _results(tools, data, detections):
    if detections:
        return data.loadRes(detections)
    empty = tools.COCO()  # loadRes fails on none
    empty.dataset = {**data.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _coco_scores(evaluation: Any, category_ids) -> CocoScores:
    # (IoUs, recalls, classes, areas, numbers of detections), classes in the order of their ids.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    precision = precision[:, :, np.searchsorted(np.sort(category_ids), category_ids)]
    known = (precision > -1).any(axis=(0, 1))
    ap = np.where(known, precision.mean(axis=(0, 1)), -1.0)
    ap50 = np.where(known, precision[0].mean(axis=0), -1.0)
    recall = np.asarray(evaluation.params.recThrs)
    mean = precision[0][:, known].mean(axis=1) if known.any() else np.full(len(recall), -1.0)
    values = dict(zip(COCO, map(float, evaluation.stats), strict=True))
    return CocoScores(values, ap, ap50, Curve(recall, mean))


def _xywh(box):
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


def _areas(image):
    if image.areas is not None:
        return image.areas
    boxes = np.reshape(image.boxes, [-1, 4])
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _flags(flags, image):
    return np.zeros(len(image.labels), bool) if flags is None else np.asarray(flags, bool)


def voc(
    truth: Iterable[Truth],
    found: Iterable[Found],
    num_classes: int,
    *,
    metric: str = "area",
    iou: float = 0.5,
) -> VocScores:
    """Pascal VOC's metric, as py-faster-rcnn's `voc_eval.py` has it.

    In the order of their scores, detections take the object of their class that they overlap most.
    The first one of an object with an IoU above `iou` is true, others are false. Difficult objects
    need not be found, and a detection of one counts neither way; nor do crowd regions.

    Args:
        truth: of every image.
        found: at most one for an image; an image may have none.
        num_classes: how many labels there are.
        metric: "07" takes the precision at 11 recalls, as VOC did until 2009, and "area" that below
            the whole curve.
        iou: which overlap must be exceeded.

    Returns:
        The scores.

    Raises:
        InputError: another metric, detections in an image that `truth` has not, two of one image,
            or a label that is none.
    """
    if metric not in VOC_METRICS:
        raise unknown("metric", metric, VOC_METRICS)
    truth, found = _checked(truth, found, num_classes)
    precisions, curves = [], []
    for label in range(num_classes):
        is_true, positives = _matched(label, truth, found, iou)
        curves.append(curve(is_true, positives))
        precisions.append(average_precision(curves[-1], metric) if positives else np.nan)
    ap = np.asarray(precisions, np.float64)
    mean = float(np.nanmean(ap)) if np.isfinite(ap).any() else float("nan")
    return VocScores(mean, ap, tuple(curves))


def _matched(label, truth, found, least):
    """Whether each detection of a class that counts is true, by score, and how many objects are."""
    objects, ignored, positives = {}, {}, 0
    for image in truth:
        chosen = np.asarray(image.labels) == label
        objects[image.image_id] = np.reshape(image.boxes, [-1, 4])[chosen]
        easy = ~_flags(image.difficult, image) & ~_flags(image.crowd, image)
        ignored[image.image_id] = ~easy[chosen]
        positives += int(easy[chosen].sum())
    rows = [
        (image.image_id, box, score)
        for image in found
        for box, score, other in zip(image.boxes, image.scores, image.labels, strict=True)
        if other == label
    ]
    order = np.argsort([-float(score) for *_, score in rows], kind="stable")
    taken = {key: np.zeros(len(boxes), bool) for key, boxes in objects.items()}
    is_true = []
    for key, box, _ in (rows[n] for n in order):
        overlaps = _iou(objects[key], np.asarray(box, np.float64))
        best = int(np.argmax(overlaps)) if len(overlaps) else -1
        if best < 0 or overlaps[best] <= least:
            is_true.append(False)
        elif not ignored[key][best]:
            is_true.append(not taken[key][best])
            taken[key][best] = True
    return is_true, positives


def _iou(boxes, box):
    """Of each of boxes (n, 4) with one box (4,)."""
    boxes = np.asarray(boxes, np.float64)
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.maximum(sides, 0.0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, np.finfo(np.float64).tiny)


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


def _checked(truth, found, classes):
    """Both as lists, if they are about the same images and there are such labels."""
    truth, found = list(truth), list(found)
    known = {image.image_id for image in truth}
    for images, what in ((truth, "objects"), (found, "detections")):
        if len({image.image_id for image in images}) != len(images):
            raise InputError(f"There are {what} of one image twice: give each image once.")
        for image in images:
            labels = np.asarray(image.labels)
            if image.image_id not in known:
                raise InputError(f"There are detections in the unknown image {image.image_id}.")
            if ((labels < 0) | (labels >= classes)).any():
                raise InputError(
                    f"Image {image.image_id} has {what} with labels outside 0 to {classes - 1}: "
                    "leave out what fills up a batch."
                )
    return truth, found
