"""From what the region proposal network says of anchors to proposals ([32], Sec. 3). TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from . import boxes as geometry
from . import nms
from .settings import Settings

NEVER = float("-inf")  # the score of what is never taken


class Level(NamedTuple):
    """The anchors of one level of features, and what the network says of them.

    Attributes:
        anchors: float32 (N, 4).
        objectness: float32 logits (batch, N).
        deltas: float32 (batch, N, 4).
        present: bool (batch, N), whether the anchor's cell belongs to the image.
    """

    anchors: tf.Tensor
    objectness: tf.Tensor
    deltas: tf.Tensor
    present: tf.Tensor


def propose(
    levels: Sequence[Level], sizes: tf.Tensor, settings: Settings, *, training: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The best candidates, without those that better ones cover.

    Args:
        levels: of the features.
        sizes: height and width of each image, int32 (batch, 2).
        settings: of the detector.
        training: whether there are as many as for training.

    Returns:
        Boxes float32 (batch, P, 4), clipped to the images and padded with 0, and which of them
        are proposals, bool (batch, P); the best first. P is settled by `settings`. No gradient
        goes back through them.
    """
    place = 0 if training else 1
    best = [_best(level, sizes, settings, settings.proposals_before[place]) for level in levels]
    boxes = tf.concat([boxes for boxes, _ in best], 1)
    scores = tf.concat([scores for _, scores in best], 1)
    groups = tf.concat([tf.fill([tf.shape(s)[1]], k) for k, (_, s) in enumerate(best)], 0)
    limit = settings.proposals[place]
    index, count = nms.grouped(boxes, scores, groups, limit, settings.proposal_iou)
    is_proposal = tf.range(limit) < count[:, None]
    boxes = tf.where(is_proposal[..., None], tf.gather(boxes, index, batch_dims=1), 0.0)
    return tf.stop_gradient(boxes), is_proposal


def _best(level, sizes, settings, limit):
    """The best candidates of a level: boxes (batch, n, 4) and scores (batch, n)."""
    scores = tf.where(level.present, level.objectness, NEVER)
    scores, index = tf.math.top_k(scores, tf.minimum(limit, tf.shape(scores)[1]))
    deltas = tf.gather(level.deltas, index, batch_dims=1)
    boxes = geometry.clip(geometry.decode(deltas, tf.gather(level.anchors, index)), sizes)
    sides = boxes[..., 2:] - boxes[..., :2]
    large = tf.reduce_all((sides > 0) & (sides >= settings.proposal_side), -1)
    return boxes, tf.where(large, scores, NEVER)
