"""From what the head says of RoIs to detections, with the paper's box refinement. TensorFlow."""

from collections.abc import Callable

import tensorflow as tf

from . import boxes as geometry
from . import nms
from .proposals import NEVER
from .settings import Settings

Answer = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def of_rois(logits, deltas, rois, sizes, weights):
    """Scores and boxes of RoIs from a head's outputs.

    Args:
        logits: (batch, R, K + 1), the last the background's.
        deltas: (batch, R, K, 4).
        rois: (batch, R, 4), in pixels.
        sizes: height and width of the images, (batch, 2).
        weights: the four that the deltas are multiplied by.

    Returns:
        Probabilities float32 (batch, R, K), and boxes float32 (batch, R, K, 4), clipped.
    """
    boxes = geometry.decode(deltas, rois[:, :, None], weights)
    flat = tf.reshape(boxes, [tf.shape(boxes)[0], -1, 4])
    boxes = tf.reshape(geometry.clip(flat, sizes), tf.shape(boxes))
    boxes = tf.ensure_shape(boxes, [None, rois.shape[1], deltas.shape[2], 4])
    return tf.nn.softmax(tf.cast(logits, tf.float32))[..., :-1], boxes


def detect(answer: Answer, rois, is_roi, settings: Settings, *, refine: bool = False):
    """The detections of each image.

    Args:
        answer: gives of RoIs (batch, R, 4) scores (batch, R, K) and boxes (batch, R, K, 4).
        rois: proposals, (batch, R, 4), padded.
        is_roi: which of them are none of the padding, bool (batch, R).
        settings: of the detector: thresholds and limits.
        refine: box refinement (the paper, appendix B): the regressed boxes are RoIs in turn, whose
            answers join the first; what is left after suppression is moved by voting.

    Returns:
        What `FasterRCNN.predict` does: {"boxes", "scores", "labels", "count"}.
    """
    scores, boxes = answer(rois)
    scores = tf.where(is_roi[..., None], scores, NEVER)
    if refine:
        scores, boxes = _refined(answer, scores, boxes, is_roi)
    sides = boxes[..., 2:] - boxes[..., :2]
    large = tf.reduce_all((sides > 0) & (sides >= settings.detection_side), -1)
    scores = tf.where(large, scores, NEVER)
    found, found_scores, labels, count = nms.per_class(
        boxes,
        scores,
        settings.detections,
        settings.nms_iou,
        score_threshold=settings.score_threshold,
    )
    if refine:
        found = nms.vote(found, labels, boxes, scores)
    return {"boxes": found, "scores": found_scores, "labels": labels, "count": count}


def _refined(answer, scores, boxes, is_roi):
    """First and second answers: (batch, 2 R, K) and (batch, 2 R, K, 4).

    Of a RoI's boxes, one for each class, that of the likeliest class is pooled again: the paper
    speaks of 300 new predictions for 300.
    """
    best = tf.argmax(scores, -1, output_type=tf.int32)
    second_scores, second_boxes = answer(tf.gather(boxes, best, batch_dims=2))
    second_scores = tf.where(is_roi[..., None], second_scores, NEVER)
    return tf.concat([scores, second_scores], 1), tf.concat([boxes, second_boxes], 1)
