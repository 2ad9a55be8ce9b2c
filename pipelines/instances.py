"""Objects' masks in the form that detectors learn from: within their boxes, and all of one size.

An object's mask is a grid of cells over its box, which tells what share of each cell's area is the
object's, from 0 to 255. So it stays as it is where an image is scaled, and is mirrored with it
exactly. What is lost are details finer than a cell, a 56th of the box's sides.
"""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from resnet_keras.errors import InputError, require

from .annotations import Annotations, without
from .outlines import EXTRA

SIDE = 56  # cells: twice the resolution of masks in Mask R-CNN (arXiv 1703.06870)


def crops(
    outlines: Sequence[bytes], size: Sequence[int], boxes: np.ndarray, side: int = SIDE
) -> np.ndarray:
    """The masks of an image's objects within their boxes.

    Args:
        outlines: run lengths of each object's mask, see `outlines.encode`; empty for none.
        size: height and width of the image.
        boxes: float (objects, 4), in pixels of that image.
        side: cells of each side of a box.

    Returns:
        uint8 (objects, side, side).

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    mask = require("pycocotools.mask", extra=EXTRA)
    height, width = map(int, size)
    result = np.zeros([len(outlines), side, side], np.uint8)
    for place, (counts, box) in enumerate(zip(outlines, boxes, strict=True)):
        if not counts:
            continue
        pixels = mask.decode({"size": [height, width], "counts": counts})
        x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height])
        rows, top = _shares(y1, y2, side)
        columns, left = _shares(x1, x2, side)
        inside = pixels[top : top + rows.shape[1], left : left + columns.shape[1]]
        result[place] = np.rint(255 * (rows @ inside @ columns.T))
    return result


def _shares(low, high, side):
    """What share of each cell between `low` and `high` each pixel there covers, (side, pixels).

    And which pixel is the first.
    """
    edges = np.linspace(low, high, side + 1)
    first = np.arange(int(np.floor(low)), int(np.ceil(high)))
    covered = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
    return np.maximum(covered, 0) * (side / (high - low)), int(np.floor(low))


def encode(masks: Iterable[np.ndarray]) -> list[bytes]:
    """Run lengths of masks, as of `outlines.encode`; bool or uint8 0 and 1 (objects, h, w)."""
    mask = require("pycocotools.mask", extra=EXTRA)
    return [mask.encode(np.asfortranarray(one, np.uint8))["counts"] for one in masks]


def checked(annotations: Annotations, *, max_faulty: int = 0) -> Annotations:
    """Annotations whose objects, but for crowd regions, have masks with pixels in their boxes.

    Args:
        annotations: with outlines.
        max_faulty: so many objects with other masks are left out, with a warning.

    Raises:
        InputError: there are more; the message names the first.
    """
    faults = {
        number: fault
        for number in np.flatnonzero(~annotations.crowd).tolist()
        if (fault := _fault(annotations, number))
    }
    if not faults:
        return annotations
    first = next(iter(faults))
    text = f"{annotations.where(first)} has {faults[first]}"
    if len(faults) > max_faulty:
        more = f" There are {len(faults) - 1} more such objects." if len(faults) > 1 else ""
        raise InputError(f"{text}.{more} With max_faulty=N up to N are left out.")
    warnings.warn(
        f"{len(faults)} object(s) are left out for their masks (max_faulty={max_faulty}): {text}.",
        stacklevel=2,
    )
    return without(annotations, list(faults))


def _fault(annotations, number):
    """What is wrong with an object's mask; None for nothing."""
    mask = require("pycocotools.mask", extra=EXTRA)
    size = annotations.sizes[annotations.images[number]].tolist()
    rle = {"size": size, "counts": annotations.outlines[number]}
    if not mask.area(rle):
        return "an empty mask: no pixel of the image is the object's"
    x, y, width, height = mask.toBbox(rle).tolist()
    x1, y1, x2, y2 = annotations.boxes[number].tolist()
    # By a pixel more: masks are whole pixels, and boxes need not be.
    across = min(x2 + 1, x + width) - max(x1 - 1, x)
    down = min(y2 + 1, y + height) - max(y1 - 1, y)
    # Cut to another object's box, it would be learnt as far as it is there, without a word.
    if min(across, down) <= 0 or across * down < 0.5 * width * height:
        return (
            f"a mask from {x:g}, {y:g} to {x + width:g}, {y + height:g}, most of it outside of the "
            f"object's box from {x1:g}, {y1:g} to {x2:g}, {y2:g}"
        )
    return None
