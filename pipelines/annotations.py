"""Boxes of a split's images, in memory, and what can be wrong with them.

Boxes are xyxy in pixels and half-open: [0, 0, 1, 1] is the first pixel. Imports no TensorFlow.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from resnet_keras.errors import InputError

TOLERANCE = 1.0  # pixels by which boxes may leave their image, as tools round
REMEDY = "`python -m resnet_keras.pipelines check` lists all such faults"
MASKS_REMEDY = "`python -m resnet_keras.pipelines check --masks` lists all such faults"


class Annotations(NamedTuple):
    """Images and their objects, in the order of the images.

    Attributes:
        class_names: in the order of the labels.
        category_ids: what the labels are called in the file; 0, 1, ... where it has only names.
        paths: of the images' files.
        image_ids: int64 (images,).
        sizes: int32 (images, 2), height and width.
        images: int64 (objects,), which image each object is in, ascending.
        boxes: float64 (objects, 4).
        labels: int32 (objects,).
        crowd: bool (objects,), regions of objects that are not told apart.
        difficult: bool (objects,), objects that VOC's metric leaves out.
        areas: float64 (objects,), in pixels, of the masks where they are known.
        where: says where an object is written, by its number.
        outlines: run lengths (objects,), see `outlines.encode`; empty where they were not read.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    paths: list[str]
    image_ids: np.ndarray
    sizes: np.ndarray
    images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    areas: np.ndarray
    where: Callable[[int], str]
    outlines: Sequence[bytes] = ()

    @property
    def row_splits(self) -> np.ndarray:
        """Where each image's objects begin and end, int64 (images + 1,)."""
        return np.searchsorted(self.images, np.arange(len(self.paths) + 1))


class Fault(NamedTuple):
    """What is wrong, in one sentence; `object` is -1 where it is not one object alone."""

    text: str
    object: int = -1


def of_objects(
    class_names: Sequence[str],
    category_ids: Sequence[int],
    paths: Sequence[str],
    image_ids: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    objects: Sequence[tuple],
    where: Callable[[object], str],
) -> Annotations:
    """Makes `Annotations` of rows (image's number, box, label, crowd, difficult, area, id).

    Args:
        class_names: as in `Annotations`, like all that is not told here.
        category_ids: see there.
        paths: see there.
        image_ids: see there.
        sizes: see there.
        objects: in any order; those of one image stay in theirs.
        where: says where an object is written, by its id.
    """
    rows = sorted(objects, key=lambda row: row[0])
    images, boxes, labels, crowd, difficult, areas, ids = zip(*rows) if rows else [()] * 7  # noqa: B905
    return Annotations(
        tuple(class_names),
        tuple(category_ids),
        list(paths),
        np.asarray(image_ids, np.int64),
        np.asarray(sizes, np.int32).reshape([-1, 2]),
        np.asarray(images, np.int64),
        np.asarray(boxes, np.float64).reshape([-1, 4]),
        np.asarray(labels, np.int32),
        np.asarray(crowd, bool),
        np.asarray(difficult, bool),
        np.asarray(areas, np.float64),
        lambda number: where(ids[number]),
    )


def chosen(annotations: Annotations, images: np.ndarray) -> Annotations:
    """Some of the images, by their numbers, ascending, with their objects."""
    place = np.full(len(annotations.paths), -1, np.int64)
    place[images] = np.arange(len(images))
    kept = _only(annotations, np.flatnonzero(place[annotations.images] >= 0))
    return kept._replace(
        paths=[annotations.paths[n] for n in images],
        image_ids=annotations.image_ids[images],
        sizes=annotations.sizes[images],
        images=place[kept.images],
    )


def without(annotations: Annotations, numbers: Sequence[int]) -> Annotations:
    """Without these objects."""
    return _only(annotations, np.setdiff1d(np.arange(len(annotations.boxes)), numbers))


def _only(annotations, numbers):
    """With these objects alone."""
    columns = ("images", "boxes", "labels", "crowd", "difficult", "areas")
    kept = {name: getattr(annotations, name)[numbers] for name in columns}
    where, outlines = annotations.where, annotations.outlines
    if outlines:
        kept["outlines"] = [outlines[number] for number in numbers]
    return annotations._replace(**kept, where=lambda number: where(numbers[number]))


def faults(annotations: Annotations) -> list[Fault]:
    """Finds boxes that cannot be trained on: one sentence for each, in the order of the objects.

    Boxes must be finite, not empty or inverted, in pixels, and inside their image but for
    `TOLERANCE`. Where most are wrong in one way, that comes first.
    """
    boxes = annotations.boxes
    height, width = annotations.sizes[annotations.images].T
    low, high = boxes[:, :2], boxes[:, 2:]
    finite = np.isfinite(boxes).all(axis=1)
    with np.errstate(invalid="ignore"):
        inverted = finite & (high < low).any(axis=1)
        scaled = finite & (boxes >= 0).all(axis=1) & (boxes <= 1).all(axis=1)
        scaled &= (boxes != np.round(boxes)).any(axis=1)
        cut = np.clip(boxes, 0, np.stack([width, height] * 2, axis=1))
        outside = finite & (np.abs(cut - boxes) > TOLERANCE).any(axis=1)
        empty = finite & ((cut[:, 2:] <= cut[:, :2]).any(axis=1))
    ways = {
        "is not finite": ~finite,
        "is inverted: x2 < x1 or y2 < y1": inverted,
        "seems to be scaled to [0, 1]: boxes are in pixels": scaled,
        "leaves its image": outside,
        "is empty": empty,
    }
    wrong = np.any([*ways.values()], axis=0) if len(boxes) else np.zeros([0], bool)
    first = [*_most(annotations, inverted | outside, scaled)]
    return first + [_fault(annotations, n, ways) for n in np.flatnonzero(wrong).tolist()]


def _most(annotations, not_corners, scaled):
    """What is wrong with more than half of the boxes, of which there is more than one."""
    count = len(annotations.boxes)
    if count < 2:
        return
    if 2 * not_corners.sum() > count:
        number = int(np.argmax(not_corners))
        yield Fault(
            f"{annotations.where(number)} and most others are inverted or leave their images: the "
            "boxes seem to be written otherwise than this format has them (COCO: x, y, width, "
            "height; VOC: xmin, ymin, xmax, ymax)."
        )
    if 2 * scaled.sum() > count:
        number = int(np.argmax(scaled))
        yield Fault(
            f"{annotations.where(number)} and most others seem to be scaled to [0, 1]: boxes are "
            "in pixels."
        )


def _fault(annotations, number, ways):
    reason = next(text for text, wrong in ways.items() if wrong[number])
    height, width = annotations.sizes[annotations.images[number]]
    box = ", ".join(f"{value:g}" for value in annotations.boxes[number])
    return Fault(
        f"{annotations.where(number)}: the box [{box}] (x1, y1, x2, y2) {reason}; the image is "
        f"{width} pixels wide and {height} high.",
        number,
    )


def checked(
    annotations: Annotations,
    problems: Iterable[Fault] = (),
    *,
    max_faulty: int = 0,
    outlined: bool = False,
) -> Annotations:
    """What a stream is made of; raises where something is wrong.

    Args:
        annotations: as they were read.
        problems: that reading met.
        max_faulty: so many objects with faulty boxes are left out, with a warning. (COCO's own
            train2017 has two boxes without height.)
        outlined: whether outlines were read, too, for the advice on problems.

    Raises:
        InputError: the first fault, with how many more there are.
    """
    problems, of_boxes = list(problems), faults(annotations)
    numbers = {fault.object for fault in of_boxes}
    if problems or -1 in numbers or len(numbers) > max_faulty:
        raise InputError(_first([*problems, *of_boxes], MASKS_REMEDY if outlined else REMEDY))
    if not annotations.paths:
        raise InputError("The data set is empty: there are no images.")
    if of_boxes:
        warnings.warn(
            f"{len(of_boxes)} object(s) with faulty boxes are left out (max_faulty={max_faulty}): "
            f"{of_boxes[0].text}",
            stacklevel=2,
        )
        annotations = without(annotations, sorted(numbers))
    return annotations  # boxes as they are written, for scoring: streams cut them to their images


def _first(problems, remedy):
    more = f" There are {len(problems) - 1} more faults: {remedy}." if len(problems) > 1 else ""
    return f"{problems[0].text}{more}"
