"""Boxes: overlap, clipping, the coder of regression targets, and what is wrong with given boxes.

A box is (x1, y1, x2, y2) in pixels, half-open, so its area is (x2 - x1)(y2 - y1). All arithmetic is
float32, whatever comes in, and made of Keras operations; only what `check` says from inside a graph
is TensorFlow's.
"""

import math

import numpy as np
from keras import ops

from resnet_keras.errors import MARKS, InputError

# A 1000-pixel box out of a 16-pixel anchor is the largest that is decoded (Detectron).
CLAMP = math.log(1000 / 16)


def area(boxes):
    """Areas in square pixels, float32 (...,) of boxes (..., 4); 0 where a side is not positive."""
    x1, y1, x2, y2 = corners(boxes)
    return ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)


def iou(a, b):
    """Intersection over union of all pairs.

    Args:
        a: boxes (..., N, 4).
        b: boxes (..., M, 4).

    Returns:
        float32 (..., N, M), 0 where a box has no area, so 0 for padding.
    """
    overlap = _intersection(a, b)
    union = area(a)[..., :, None] + area(b)[..., None, :] - overlap
    return _share(overlap, union)


def iou_crowd(boxes, crowds):
    """The share of each box that lies on a crowd region: what COCO takes for IoU with crowds.

    Args:
        boxes: (..., N, 4).
        crowds: boxes of crowd regions, (..., M, 4); padded with 0.

    Returns:
        float32 (..., N, M).
    """
    return _share(_intersection(boxes, crowds), area(boxes)[..., :, None])


def clip(boxes, size):
    """Boxes (..., N, 4) cut to their images, float32.

    Args:
        boxes: (N, 4) or (B, N, 4).
        size: height and width of the images, (2,) or (B, 2).
    """
    height, width = _sides(size)
    x1, y1, x2, y2 = corners(boxes)
    x1, x2 = (ops.clip(x, 0.0, width) for x in (x1, x2))
    y1, y2 = (ops.clip(y, 0.0, height) for y in (y1, y2))
    return ops.stack([x1, y1, x2, y2], axis=-1)


def encode(anchors, boxes, weights=(1.0, 1.0, 1.0, 1.0)):
    """Regression targets (dx, dy, dw, dh) that lead from anchors to boxes (Girshick et al. 2014).

    A side that is not positive counts as one pixel, so targets of padding and their gradients are
    finite; they mean nothing and want a weight of 0.

    Args:
        anchors: (..., 4), the boxes that are regressed from.
        boxes: (..., 4), of the same shape or one that broadcasts.
        weights: factors of the four targets; the detection head's are (10, 10, 5, 5).

    Returns:
        float32 (..., 4).
    """
    anchor_x, anchor_y, anchor_width, anchor_height = _centered(anchors)
    x, y, width, height = _centered(boxes)
    anchor_width, anchor_height, width, height = (
        ops.where(side > 0, side, 1.0) for side in (anchor_width, anchor_height, width, height)
    )
    deltas = (
        (x - anchor_x) / anchor_width,
        (y - anchor_y) / anchor_height,
        ops.log(width / anchor_width),
        ops.log(height / anchor_height),
    )
    return ops.stack([d * w for d, w in zip(deltas, weights, strict=True)], axis=-1)


def decode(deltas, anchors, weights=(1.0, 1.0, 1.0, 1.0), clamp=CLAMP):
    """The boxes to which regression outputs lead: the inverse of `encode`, not clipped.

    Args:
        deltas: (..., 4).
        anchors: (..., 4); for deltas of each class, (B, N, K, 4), give (B, N, 1, 4).
        weights: as of `encode`.
        clamp: limit of dw and dh, so that an untrained network's boxes stay finite.

    Returns:
        float32 (..., 4).
    """
    anchor_x, anchor_y, anchor_width, anchor_height = _centered(anchors)
    dx, dy, dw, dh = (d / w for d, w in zip(corners(deltas), weights, strict=True))
    x, y = anchor_x + dx * anchor_width, anchor_y + dy * anchor_height
    half_width = 0.5 * anchor_width * ops.exp(ops.minimum(dw, clamp))
    half_height = 0.5 * anchor_height * ops.exp(ops.minimum(dh, clamp))
    boxes = [x - half_width, y - half_height, x + half_width, y + half_height]
    return ops.stack(boxes, axis=-1)


def valid(boxes, labels, size, num_classes):
    """Which entries of a batch `check` would pass, bool (B,): for XLA, where nothing can be raised.

    Arguments are those of `check`.
    """
    wrong = [mask for mask, _ in _faults(boxes, labels, size, num_classes)]
    return ops.logical_not(ops.any(ops.stack(wrong), axis=(0, 2)))


def check(boxes, labels, size, num_classes):
    """Raises where a batch's boxes or labels cannot be true, and names the entry of the batch.

    Inside a graph it fails with TensorFlow's `InvalidArgumentError`, from which `errors.told` takes
    the sentence. XLA cannot compile that: see `valid`.

    Args:
        boxes: (B, N, 4), padded with 0.
        labels: int (B, N), 0 to `num_classes` - 1, padded with -1.
        size: height and width of the images without their padding, (2,) or (B, 2).
        num_classes: how many classes there are, background not counted.

    Returns:
        None, or in a graph the operation that fails: what is computed of the boxes is to depend on
        it, as else weights could be updated beforehand.

    Raises:
        InputError: a corner is no number; a label is no class; padding is not 0; boxes are scaled
            to [0, 1]; a box ends before it begins, has no area, or leaves its image by more than a
            pixel.
    """
    masks, sentences = zip(*_faults(boxes, labels, size, num_classes), strict=True)
    wrong = ops.stack(masks)
    if _in_graph(wrong):
        return _assert_none(wrong, sentences, boxes, labels)
    if np.any(wrong):
        fault, entry, box = np.argwhere(wrong)[0]
        x1, y1, x2, y2 = (f"{corner:g}" for corner in np.asarray(boxes)[entry, box])
        raise InputError(
            f"Batch entry {entry}, box {box}, [{x1} {y1} {x2} {y2}] with label"
            f" {np.asarray(labels)[entry, box]}: {sentences[fault]}"
        )
    return None


def corners(boxes):
    """x1, y1, x2 and y2, each float32 (...,), of boxes (..., 4); also the four parts of deltas."""
    boxes = ops.cast(boxes, "float32")
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def _centered(boxes):
    """Centre and sides: x, y, width and height."""
    x1, y1, x2, y2 = corners(boxes)
    width, height = x2 - x1, y2 - y1
    return x1 + 0.5 * width, y1 + 0.5 * height, width, height


def _intersection(a, b):
    a, b = ops.cast(a, "float32")[..., :, None, :], ops.cast(b, "float32")[..., None, :, :]
    # Side by side and not as pairs: the last axis would be 2, which vectorizes badly.
    width = ops.minimum(a[..., 2], b[..., 2]) - ops.maximum(a[..., 0], b[..., 0])
    height = ops.minimum(a[..., 3], b[..., 3]) - ops.maximum(a[..., 1], b[..., 1])
    return ops.maximum(width, 0.0) * ops.maximum(height, 0.0)


def _share(part, whole):
    """`part` / `whole`, 0 where nothing is shared; its gradient is finite there, too."""
    positive = part > 0
    return ops.where(positive, part / ops.where(positive, whole, 1.0), 0.0)


def _sides(size):
    """Height and width as float32 that broadcast against (N,) or (B, N)."""
    size = ops.cast(size, "float32")
    return size[..., 0, None], size[..., 1, None]


def _faults(boxes, labels, size, num_classes):
    """What can be wrong: bool (B, N) and a sentence of each, the first to be told first."""
    labels = ops.cast(labels, "int32")
    x1, y1, x2, y2 = corners(boxes)
    height, width = _sides(size)
    real = labels != -1
    parts = ops.stack([x1, y1, x2, y2])
    finite = ops.all(ops.isfinite(parts), axis=0)
    narrow = ops.minimum(x2 - x1, y2 - y1) < 1
    least = ops.minimum(ops.minimum(x1, x2), ops.minimum(y1, y2))
    largest = ops.maximum(ops.maximum(x1, x2), ops.maximum(y1, y2))
    outside = (least < -1) | (x2 > width + 1) | (y2 > height + 1)
    # In [0, 1] may also lie the box of an image's first pixel, which is not narrower than that.
    small = (least >= 0) & (largest <= 1)
    all_small = ops.all(small | ~real, axis=1, keepdims=True)
    count = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True)
    leaving = ops.sum(ops.cast(outside & real, "int32"), axis=1, keepdims=True)
    return [
        (~finite, "a corner is not a number; remove the box or correct it."),
        (
            (labels < -1) | (labels >= num_classes),
            f"the label is none of the classes 0 to {num_classes - 1}; the background has no label,"
            " and -1 is padding.",
        ),
        (
            ~real & ops.any(parts != 0, axis=0),
            "label -1 marks padding, whose box is 0; give the object a class or remove it.",
        ),
        (
            real & narrow & all_small,
            "all boxes of the image lie within [0, 1]; give pixels, x times the width and y times"
            " the height.",
        ),
        (
            real & ((x2 < x1) | (y2 < y1)),
            "the box ends before it begins; boxes are (x1, y1, x2, y2), so turn (x, y, width,"
            " height) into (x, y, x + width, y + height).",
        ),
        (real & ((x2 == x1) | (y2 == y1)), "the box has no area; remove it."),
        (
            real & outside & (2 * leaving > count),
            "it and most boxes of the image leave the image; boxes are (x1, y1, x2, y2) in pixels"
            " of the image that is given, with the corner x2, y2 and not width and height added to"
            " it.",
        ),
        (real & outside, "the box leaves its image; clip it or correct it."),
    ]


def _in_graph(tensor):
    import tensorflow as tf

    return tf.is_symbolic_tensor(tensor)


def _assert_none(wrong, sentences, boxes, labels):
    """An operation that fails where `wrong` (faults, B, N) is true, and tells the first fault."""
    import tensorflow as tf

    def message():
        fault, entry, box = tf.unstack(tf.where(wrong)[0])
        corners, label = tf.convert_to_tensor(boxes), tf.convert_to_tensor(labels)
        values = [entry, box, corners[entry, box], label[entry, box]]
        place = tf.strings.format("Batch entry {}, box {}, {} with label {}: ", values)
        return tf.strings.join([MARKS[0], place, tf.gather(sentences, fault), MARKS[1]])

    found = tf.reduce_any(wrong)
    return tf.raw_ops.Assert(condition=~found, data=[tf.cond(found, message, lambda: "")])
