"""What a detector learns from: the anchors and RoIs that are drawn, and what each should say.

TensorFlow. Draws depend on the key of each image only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from . import anchors, losses, masks, matching, sampling
from . import boxes as geometry
from .proposals import Level
from .settings import Settings

_SECOND_DRAW = 0x2545F491  # turns an image's key into another for the second stage


class Truth(NamedTuple):
    """The objects of a batch, N for each image, which is 1 at least.

    Attributes:
        boxes: float32 (batch, N, 4), padded with 0.
        labels: int32 (batch, N), padded with -1.
        crowd: bool (batch, N).
        key: int32 (batch, 2), by which an image's samples are drawn.
        valid: bool (batch,), whether an image's boxes can be true.
        masks: uint8 (batch, N, S, S), of each object within its box; None where there are none.
    """

    boxes: tf.Tensor
    labels: tf.Tensor
    crowd: tf.Tensor
    key: tf.Tensor
    valid: tf.Tensor
    masks: tf.Tensor | None = None


class Rois(NamedTuple):
    """RoIs that the head is trained on, S of each image.

    Attributes:
        boxes: float32 (batch, S, 4).
        labels: int32 (batch, S); the number of classes is the background.
        deltas: float32 (batch, S, 4), that lead to the objects.
        weights: float32 (batch, S), 0 for what fills up.
        objects: int32 (batch, S), which object of the image a RoI overlaps most.
    """

    boxes: tf.Tensor
    labels: tf.Tensor
    deltas: tf.Tensor
    weights: tf.Tensor
    objects: tf.Tensor


def read(
    targets: Mapping[str, tf.Tensor],
    key: tf.Tensor,
    sizes: tf.Tensor,
    num_classes: int,
    *,
    raises: bool = True,
) -> Truth:
    """Targets of `fit`, checked.

    Args:
        targets: "boxes", "labels" and, where there are such, "crowd" and "masks"; see `FasterRCNN`
            and `MaskRCNN`.
        key: int32 (batch, 2).
        sizes: height and width of each image, int32 (batch, 2).
        num_classes: of the labels.
        raises: whether boxes that cannot be true are an error; `Truth.valid` tells of them
            otherwise.

    Raises:
        InputError: see `boxes.check` and `masks.check`.
    """
    boxes, labels = tf.cast(targets["boxes"], "float32"), tf.cast(targets["labels"], "int32")
    if raises:
        checked = geometry.check(boxes, labels, sizes, num_classes)
        with tf.control_dependencies([checked] if checked is not None else []):
            boxes, labels = tf.identity(boxes), tf.identity(labels)
        valid = tf.ones(tf.shape(labels)[0], "bool")
    else:
        valid = geometry.valid(boxes, labels, sizes, num_classes)
    # A place at least: the largest IoU of none would be nothing.
    empty = tf.maximum(1 - tf.shape(labels)[1], 0)
    boxes = tf.pad(boxes, [[0, 0], [0, empty], [0, 0]])
    labels = tf.pad(labels, [[0, 0], [0, empty]], constant_values=-1)
    crowd = targets.get("crowd")
    if crowd is None:
        crowd = tf.zeros(tf.shape(labels), "bool")
    else:
        crowd = tf.pad(tf.cast(crowd, "bool"), [[0, 0], [0, empty]])
    shapes = targets.get("masks")
    if shapes is not None:
        masks.check(targets)
        shapes = tf.pad(shapes, [[0, 0], [0, empty], [0, 0], [0, 0]])
    return Truth(boxes, labels, crowd, tf.cast(key, "int32"), valid, shapes)


def rpn_losses(
    levels: Sequence[Level], truth: Truth, sizes: tf.Tensor, settings: Settings
) -> tuple[Any, Any]:
    """The losses of the region proposal network on anchors that are drawn, each (batch,).

    Args:
        levels: of features.
        truth: the objects.
        sizes: height and width of each image, int32 (batch, 2).
        settings: of the detector.
    """
    grid = tf.concat([level.anchors for level in levels], 0)
    usable = tf.concat([level.present for level in levels], 1)
    if not settings.cross_boundary:
        usable &= anchors.inside(grid, sizes)
    index, state = matching.assign(
        grid,
        truth.boxes,
        settings.rpn_negative,
        settings.rpn_positive,
        crowd=truth.crowd,
        low_quality=True,
        usable=usable,
    )
    drawn, weights = sampling.balanced(
        state, settings.rpn_samples, settings.rpn_positive_share, truth.key
    )
    objects = _rows(truth.boxes, _rows(index, drawn))
    return losses.rpn(
        _rows(tf.concat([level.objectness for level in levels], 1), drawn),
        _rows(tf.concat([level.deltas for level in levels], 1), drawn),
        _rows(state, drawn) == 1,
        geometry.encode(tf.gather(grid, drawn), objects),
        weights,
        beta=settings.rpn_beta,
    )


def rois(
    boxes: tf.Tensor, is_box: tf.Tensor, truth: Truth, num_classes: int, settings: Settings
) -> Rois:
    """Draws the RoIs that the head is trained on.

    Args:
        boxes: proposals, float32 (batch, P, 4).
        is_box: which of them are no padding, bool (batch, P).
        truth: the objects.
        num_classes: of objects.
        settings: of the detector.
    """
    # Objects themselves are candidates, as in all implementations: without them there would be no
    # positive RoI while the proposals are bad.
    candidates = tf.concat([boxes, truth.boxes], 1)
    # An image without objects would have no background from an IoU of .1 on.
    is_object = (truth.labels >= 0) & ~truth.crowd
    any_object = tf.reduce_any(is_object, 1, keepdims=True)
    floor = tf.where(any_object, settings.roi_negative[0], 0.0)
    usable = tf.concat([is_box, is_object], 1)
    index, state = matching.assign(
        candidates,
        truth.boxes,
        settings.roi_negative[1],
        settings.roi_positive,
        floor=floor,
        crowd=truth.crowd,
        usable=usable,
    )
    key = tf.bitwise.bitwise_xor(truth.key, _SECOND_DRAW)
    drawn, weights = sampling.balanced(
        state, settings.roi_samples, settings.roi_positive_share, key
    )
    chosen, index = _rows(candidates, drawn), _rows(index, drawn)
    labels = tf.where(_rows(state, drawn) == 1, _rows(truth.labels, index), num_classes)
    deltas = geometry.encode(chosen, _rows(truth.boxes, index), settings.box_weights)
    return Rois(chosen, labels, deltas, weights, index)


def positives(rois: Rois, settings: Settings) -> Rois:
    """The first of RoIs, among which all of an object are: `sampling` puts these first."""
    most = max(int(settings.roi_samples * settings.roi_positive_share), 1)
    return Rois(*(column[:, :most] for column in rois))


def repeated(rois: Rois, num_classes: int) -> Rois:
    """RoIs of which each image's own objects, which come first, fill the places of all others.

    So a head's batch statistics are those of objects, as in inference; copies have the weight 0. An
    image without objects keeps its first RoI, with the weight 0.
    """
    is_object = (rois.weights > 0) & (rois.labels < num_classes)
    count = tf.reduce_sum(tf.cast(is_object, tf.int32), 1, keepdims=True)
    places = tf.range(tf.shape(rois.labels)[1])[None]
    result = Rois(*(_rows(column, places % tf.maximum(count, 1)) for column in rois))
    return result._replace(weights=tf.where(places < count, result.weights, 0.0))


def _rows(values, index):
    return tf.gather(values, index, batch_dims=1)
