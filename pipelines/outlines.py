"""COCO's outlines of objects, polygons or run lengths, as maps of labels, by pycocotools."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnet_keras.errors import InputError, require
from resnet_keras.facts import IGNORED

EXTRA = "detection"


def encode(segmentation: Any, height: int, width: int) -> bytes:
    """Makes compressed run lengths of an outline.

    Args:
        segmentation: of a COCO annotation: a list of polygons, each of x, y, x, y, ...; or
            {"size": (height, width), "counts": numbers or a string}.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Raises:
        InputError: it is none of these, or of an image of another size; the message goes on where
            "annotation 5" stands before.
        MissingExtraError: pycocotools is not installed.
    """
    mask = require("pycocotools.mask", extra=EXTRA)
    if isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        size = segmentation["size"]
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            raise InputError(
                f"has run lengths of the size {segmentation['size']} (height, width), and its "
                f"image is {[height, width]}"
            )
        counts = segmentation["counts"]
        if isinstance(counts, str | bytes):
            counts = counts.encode() if isinstance(counts, str) else counts
            try:
                area = mask.area({"size": [height, width], "counts": counts})
                whole = mask.decode({"size": [height, width], "counts": counts})
            except (ValueError, TypeError) as error:
                raise InputError(f"has run lengths that cannot be read: {error}") from error
            if whole.shape != (height, width) or int(area) != int(whole.sum()):
                raise InputError("has run lengths that do not fit the image")
            return counts
        if not _numbers(counts, int) or sum(counts) != height * width or min(counts) < 0:
            raise InputError("has run lengths that do not add up to the image's pixels")
        return mask.frPyObjects(segmentation, height, width)["counts"]
    polygons = segmentation if isinstance(segmentation, list) else []
    if not polygons or not all(_is_polygon(polygon) for polygon in polygons):
        raise InputError(
            "has no segmentation: a list of polygons of three corners or more, or run lengths with "
            "their size"
        )
    # So far away, a polygon would be drawn in gigabytes.
    limit = 2 * max(height, width)
    if any(abs(corner) > limit for polygon in polygons for corner in polygon):
        raise InputError(
            f"has a polygon far outside of its image, which is {[height, width]} (height, width)"
        )
    return mask.merge(mask.frPyObjects(polygons, height, width))["counts"]


def area(counts: bytes, height: int, width: int) -> float:
    """Pixels of an outline, as `encode` gives it."""
    mask = require("pycocotools.mask", extra=EXTRA)
    return float(mask.area({"size": [height, width], "counts": counts}))


def _is_polygon(polygon):
    numeric = _numbers(polygon, int | float)
    return numeric and len(polygon) >= 6 and len(polygon) % 2 == 0 and np.isfinite(polygon).all()


def _numbers(values, kind):
    return isinstance(values, list) and bool(values) and all(isinstance(v, kind) for v in values)


def label_map(
    outlines: Sequence[bytes], labels: Sequence[int], crowd: Sequence[bool], height: int, width: int
) -> np.ndarray:
    """Draws the objects of an image into one map of labels.

    Where objects of several classes overlap, which of them is seen is not known, and pixels are
    ignored, as those of crowd regions are where no other object is.

    Args:
        outlines: of the objects, see `encode`.
        labels: of the objects, 0 for the ground and from 1 on for classes.
        crowd: which of them are regions of objects that are not told apart.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        uint8 (height, width), 255 where pixels are ignored.
    """
    mask = require("pycocotools.mask", extra=EXTRA)
    result = np.zeros([height, width], np.uint8)
    regions = np.zeros([height, width], bool)
    for counts, label, is_crowd in zip(outlines, labels, crowd, strict=True):
        shape = mask.decode({"size": [height, width], "counts": counts}).astype(bool)
        if is_crowd:
            regions |= shape
            continue
        other = shape & (result != 0) & (result != label)
        result[shape] = label
        result[other] = IGNORED
    result[regions & (result == 0)] = IGNORED
    return result
