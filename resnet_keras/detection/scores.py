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

from .precision import VOC_METRICS, Curve, average_precision, curve, iou_with, share_within

COCO = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
CURVE_IOUS = (0.5, 0.75)
EXTRA = "detection"
Rle = dict[str, Any]  # COCO's run lengths: "size", height and width, and "counts", bytes


class Truth(NamedTuple):
    """The objects of an image.

    Attributes:
        image_id: any that no other image has.
        boxes: float (objects, 4).
        labels: int (objects,), 0 to classes - 1.
        crowd: bool (objects,), regions in which nothing counts as wrong; None for none.
        difficult: bool (objects,), which VOC's metric leaves out; None for none.
        areas: float (objects,), of the masks; None for the boxes'.
        masks: COCO's run lengths of each object, see `masks.encode`; None without.
    """

    image_id: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray | None = None
    difficult: np.ndarray | None = None
    areas: np.ndarray | None = None
    masks: list[Rle] | None = None


class Found(NamedTuple):
    """What was detected in an image: float boxes (n, 4), float scores (n,), int labels (n,).

    With masks, COCO's run lengths of each detection, too; see `masks.encode`.
    """

    image_id: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[Rle] | None = None


class CocoScores(NamedTuple):
    """What `coco` finds; -1 stands where there is nothing to find.

    Attributes:
        values: the twelve numbers by their names in `COCO`, in COCO's order.
        ap: float (classes,), at IoU .5 to .95.
        ap50: float (classes,), at IoU .5.
        recall: float (101,), from 0 to 1.
        precision: float (IoUs, classes, 101), at the IoUs `CURVE_IOUS` and these recalls.
    """

    values: dict[str, float]
    ap: np.ndarray
    ap50: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


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


def coco(
    truth: Iterable[Truth],
    found: Iterable[Found],
    category_ids: Sequence[int],
    *,
    masks: bool = False,
) -> CocoScores:
    """COCO's metric, by pycocotools.

    A crowd region is ignored, and so are detections in it. Difficult objects, of which this metric
    does not know, are objects as any other.

    Args:
        truth: of every image, those without objects too.
        found: at most one for an image; an image may have none.
        category_ids: of the labels, in their order, as in the data set's file.
        masks: whether overlaps are those of masks, and not of boxes.

    Returns:
        The scores.

    Raises:
        InputError: detections in an image that `truth` has not, two of one image, a label
            without a category, or masks are asked for and not there.
        MissingExtraError: pycocotools is not installed.
    """
    tools = require("pycocotools.coco", extra=EXTRA)
    metric = require("pycocotools.cocoeval", extra=EXTRA)
    truth, found = _checked(truth, found, len(category_ids))
    if masks and any(image.masks is None for image in [*truth, *found]):
        raise InputError("Masks cannot be scored: there are images, or detections, without masks.")
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
            **({"segmentation": rle} if masks else {}),
        }
        for image in truth
        for box, label, crowd, area, rle in zip(
            image.boxes,
            image.labels,
            _flags(image.crowd, image),
            _areas(image),
            _masks(image),
            strict=True,
        )
    ]
    detections = coco_results(found, category_ids)
    for detection in detections if masks else []:
        del detection["bbox"]  # by whose area pycocotools would tell small ones from large ones
    kind = "segm" if masks else "bbox"
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of every step
        data = tools.COCO()
        data.dataset = {
            # Heights and widths are looked up, but run lengths have their own.
            "images": [{"id": image.image_id, "height": 0, "width": 0} for image in truth],
            "annotations": objects,
            "categories": [{"id": int(key)} for key in category_ids],
        }
        data.createIndex()
        evaluation = metric.COCOeval(data, _results(tools, data, detections), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return _coco_scores(evaluation, category_ids)


def coco_results(found: Iterable[Found], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Detections in COCO's results format, which its server and pycocotools read.

    Args:
        found: what was detected.
        category_ids: of the labels, in their order, as in the data set's file.

    Returns:
        A dict of image_id, category_id, bbox (x, y, width, height) and score for each detection,
        and segmentation (run lengths) where there are masks. pycocotools then takes areas from the
        boxes: for its APs of small, medium and large masks, remove bbox.
    """
    return [
        {
            "image_id": image.image_id,
            "category_id": int(category_ids[label]),
            "bbox": _xywh(box),
            "score": float(score),
            **({} if rle is None else {"segmentation": readable(rle)}),
        }
        for image in found
        for box, score, label, rle in zip(
            image.boxes, image.scores, image.labels, _masks(image), strict=True
        )
    ]


def relabelled(found: Iterable[Found], names: Sequence[str], wanted: Sequence[str]) -> list[Found]:
    """Detections with the labels of a data set, where a detector has more classes or another order.

    Args:
        found: what was detected.
        names: of the detector's classes.
        wanted: of the data set's classes.

    Returns:
        The detections, but those of classes that the data set has not.

    Raises:
        InputError: see `check_classes`.
    """
    check_classes(names, wanted)
    labels = {name: label for label, name in enumerate(wanted)}
    table = np.array([labels.get(name, -1) for name in names], np.int32)
    return [_chosen(image, table[np.asarray(image.labels, np.int64)]) for image in found]


def _chosen(image, labels):
    kept = labels >= 0
    boxes, scores = np.reshape(image.boxes, [-1, 4])[kept], np.asarray(image.scores)[kept]
    masks = None if image.masks is None else [image.masks[n] for n in np.flatnonzero(kept)]
    return Found(image.image_id, boxes, scores, labels[kept], masks)


def check_classes(names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises `InputError` where one of the classes `wanted` is not one of a detector's."""
    for name in wanted:
        if list(names).count(name) != 1 or list(wanted).count(name) != 1:
            raise InputError(
                f"The detector has the classes {some(names)}, and the data set has {some(wanted)}: "
                f"{name!r} is not once in each of them."
            )


def some(names: Sequence[str]) -> str:
    """The first names of a list, in words."""
    return f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"


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
    values = dict(zip(COCO, map(float, evaluation.stats), strict=True))
    params = evaluation.params
    places = [int(np.argmin(np.abs(params.iouThrs - iou))) for iou in CURVE_IOUS]
    curves = precision[places].transpose(0, 2, 1)
    return CocoScores(values, ap, ap50, np.asarray(params.recThrs), curves)


def _xywh(box):
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


def _masks(image):
    return [None] * len(image.labels) if image.masks is None else image.masks


def readable(rle: Rle) -> Rle:
    """Run lengths as JSON can have them."""
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}


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
    need not be found, and a detection of one counts neither way. Crowd regions, of which VOC has
    none, need not be found either; what finds no object and lies in one by more than half of its
    area counts neither way. Equal scores are in the order of the images' ids.

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
    objects, difficult, crowds, positives = {}, {}, {}, 0
    for image in truth:
        own = np.asarray(image.labels) == label
        crowd = _flags(image.crowd, image)
        boxes = np.reshape(np.asarray(image.boxes, np.float64), [-1, 4])
        objects[image.image_id], crowds[image.image_id] = boxes[own & ~crowd], boxes[own & crowd]
        difficult[image.image_id] = _flags(image.difficult, image)[own & ~crowd]
        positives += int((~difficult[image.image_id]).sum())
    rows = [
        (image.image_id, box, score)
        for image in sorted(found, key=lambda image: image.image_id)
        for box, score, other in zip(image.boxes, image.scores, image.labels, strict=True)
        if other == label
    ]
    order = np.argsort([-float(score) for *_, score in rows], kind="stable")
    taken = {key: np.zeros(len(boxes), bool) for key, boxes in objects.items()}
    is_true = []
    for key, box, _ in (rows[n] for n in order):
        box = np.asarray(box, np.float64)
        overlaps = iou_with(objects[key], box)
        best = int(np.argmax(overlaps)) if len(overlaps) else -1
        if best >= 0 and overlaps[best] > least:
            if not difficult[key][best]:
                is_true.append(not taken[key][best])
                taken[key][best] = True
        elif not (share_within(crowds[key], box) > 0.5).any():
            is_true.append(False)
    return is_true, positives


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
