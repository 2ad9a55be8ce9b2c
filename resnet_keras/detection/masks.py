"""Masks of objects: what the mask branch is to learn of a RoI, and masks in whole images.

A mask is a square grid over a box: cell (0, 0) is its upper left corner.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.pipelines import instances

from . import roi
from .scores import Rle


def targets(masks, boxes, rois, size):
    """What each RoI's mask should be: the object's, where the RoI lies on it.

    RoIAlign of the object's mask, as torchvision has it, which is 0 outside of the object's box.

    Args:
        masks: uint8 (batch, R, S, S), 0 to 255, of the object that each RoI is to learn.
        boxes: float32 (batch, R, 4), of these objects.
        rois: float32 (batch, R, 4).
        size: cells of each side of a mask.

    Returns:
        float32 (batch, R, size, size) in [0, 1]; there is no gradient.
    """
    side = masks.shape[-1]
    padded = tf.pad(tf.cast(masks, tf.float32) / 255, [[0, 0], [0, 0], [1, 1], [1, 1]])
    cell = tf.maximum(boxes[..., 2:] - boxes[..., :2], 1e-3) / side
    # In cells of the padded grid, the first of which has its centre at 0.
    low = (rois[..., :2] - boxes[..., :2]) / cell + 0.5
    high = (rois[..., 2:] - boxes[..., :2]) / cell + 0.5
    # A RoI is at most twice as wide as its object: then no cell is left out.
    sampling = -(-2 * side // size)
    columns, rows = (
        roi.weights(low[..., axis], high[..., axis], size, sampling, side + 2) for axis in (0, 1)
    )
    return tf.stop_gradient(tf.einsum("brph,brhw,brqw->brpq", rows, padded, columns))


def paste(
    masks: np.ndarray, boxes: np.ndarray, size: Sequence[int], *, threshold: float = 0.5
) -> np.ndarray:
    """Masks of boxes as masks of the whole image, as detectron2 makes them.

    Each pixel's value is that of the mask at its centre, bilinear, and 0 outside of the mask.

    Args:
        masks: float (n, M, M), in [0, 1]; of `MaskRCNN.predict` for one image.
        boxes: float (n, 4), in pixels of the image.
        size: height and width of the image.
        threshold: from which value on a pixel is the object's.

    Returns:
        bool (n, height, width).
    """
    height, width = map(int, size)
    result = np.zeros([len(masks), height, width], bool)
    for whole, mask, box in zip(result, masks, np.asarray(boxes, np.float64), strict=True):
        rows, top, bottom = _bilinear(box[1], box[3], mask.shape[0], height)
        columns, left, right = _bilinear(box[0], box[2], mask.shape[1], width)
        whole[top:bottom, left:right] = rows @ mask @ columns.T >= threshold
    return result


def _bilinear(low, high, side, pixels):
    """Weights of a mask's cells for the pixels on it (pixels, side), and the first and last + 1."""
    if not high > low:
        return np.zeros([0, side]), 0, 0
    # Half a cell beyond the box a mask fades to 0.
    margin = 0.5 * (high - low) / side
    first, last = (int(np.clip(v, 0, pixels)) for v in (low - margin, np.ceil(high + margin)))
    place = (np.arange(first, last) + 0.5 - low) / (high - low) * side - 0.5
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side))), first, last


def encode(masks: np.ndarray, boxes: np.ndarray, size: Sequence[int]) -> list[Rle]:
    """COCO's run lengths of what `paste` makes; of large images one at a time fits into memory.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    height, width = map(int, size)
    pairs = zip(masks, boxes, strict=True)
    counts = instances.encode(paste(mask[None], box[None], size)[0] for mask, box in pairs)
    return [{"size": [height, width], "counts": one} for one in counts]


def check(targets: Mapping[str, Any]) -> None:
    """Raises `InputError` where the masks of targets are none of their boxes."""
    masks, labels = targets["masks"], targets["labels"]
    shape = masks.shape
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] is None:
        raise InputError(
            "Masks are (batch, objects, S, S), each object's within its box, not of shape "
            f"{tuple(shape)}: see resnet_keras.pipelines.instances."
        )
    if masks.dtype != "uint8":
        raise InputError(
            "Masks are uint8, from 0 to 255 for what share of a cell is the object's, not of type "
            f"{getattr(masks.dtype, 'name', masks.dtype)}."
        )
    if None not in (shape[1], labels.shape[1]) and shape[1] != labels.shape[1]:
        raise InputError(f"There are {labels.shape[1]} labels and {shape[1]} masks for an image.")
