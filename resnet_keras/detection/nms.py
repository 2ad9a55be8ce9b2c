"""Non-maximum suppression, by class too, and box voting. TensorFlow; XLA and LiteRT compile it.

A box is suppressed by a better one with an IoU strictly above the limit. Of equal scores the first
counts. Results have static shapes and are padded; what is padded in comes with a score of -inf.
"""

import tensorflow as tf

from resnet_keras.detection import boxes as geometry


def nms(boxes, scores, limit, iou):
    """The best boxes that do not overlap.

    Args:
        boxes: (B, N, 4).
        scores: (B, N); -inf and NaN are never chosen, nor boxes with NaN.
        limit: the largest number of boxes.
        iou: above this IoU with a better one, a box is suppressed.

    Returns:
        index int32 (B, limit), the best first, 0 past the end; and count int32 (B,).
    """
    boxes, scores = (tf.stop_gradient(tf.cast(x, tf.float32)) for x in (boxes, scores))
    count = boxes.shape[1] or tf.shape(boxes)[1]
    # x != x is NaN, of which LiteRT has no operation.
    unknown = (scores != scores) | tf.reduce_any(boxes != boxes, axis=-1)
    scores = tf.where(unknown, float("-inf"), scores)
    # Under XLA the operation takes equal scores in no order, so it is given ranks.
    scores, order = tf.math.top_k(scores, count)
    boxes = tf.gather(boxes, order, batch_dims=1)
    # Nor may it be asked for more boxes than there are.
    most = limit if boxes.shape[1] is None else min(limit, boxes.shape[1])
    ranks = tf.where(scores > float("-inf"), -tf.range(tf.cast(count, tf.float32)), float("-inf"))

    def choose(image):
        index, chosen = tf.raw_ops.NonMaxSuppressionV4(
            boxes=image[0],
            scores=image[1],
            max_output_size=most,
            iou_threshold=iou,
            score_threshold=float("-inf"),
            pad_to_max_output_size=True,
        )
        # What the operation pads with differs between devices.
        is_chosen = tf.range(most) < chosen
        return tf.where(is_chosen, tf.gather(image[2], tf.where(is_chosen, index, 0)), 0), chosen

    specs = tf.TensorSpec([most], tf.int32), tf.TensorSpec([], tf.int32)
    index, chosen = tf.map_fn(choose, (boxes, ranks, order), fn_output_signature=specs)
    return tf.pad(index, [[0, 0], [0, limit - most]]), chosen


def grouped(boxes, scores, groups, limit, iou):
    """`nms` within groups, such as classes or pyramid levels: boxes of two never suppress.

    Each group's boxes are moved away from the others', as in torchvision, so they are exact to a
    hundredth of a pixel for 80 groups in an image of 1000 pixels.

    Args:
        boxes: (B, N, 4).
        scores: (B, N).
        groups: int, (N,) or (B, N), 0 and above.
        limit: the largest number of boxes in all.
        iou: as of `nms`.

    Returns:
        index and count of `nms`.
    """
    boxes, scores = tf.cast(boxes, tf.float32), tf.cast(scores, tf.float32)
    # Of those only that can be chosen: padding and NaN must not move the others.
    scores = tf.where(tf.reduce_any(boxes != boxes, axis=-1), float("-inf"), scores)
    chosen = tf.where((scores > float("-inf"))[..., None], boxes, 0.0)
    lowest = tf.minimum(tf.reduce_min(chosen, axis=[1, 2], keepdims=True), 0.0)
    highest = tf.maximum(tf.reduce_max(chosen, axis=[1, 2], keepdims=True), 0.0)
    offset = tf.cast(groups, tf.float32)[..., None] * (highest - lowest + 1)
    return nms(chosen + offset, scores, limit, iou)


def per_class(boxes, scores, limit, iou, *, score_threshold=0.05, candidates=None):
    """The final detections of each image: suppression within each class, the best of all classes.

    Args:
        boxes: one for all classes, (B, N, 4), or one for each, (B, N, K, 4).
        scores: (B, N, K), without the background's.
        limit: the largest number of detections in an image.
        iou: as of `nms`.
        score_threshold: only scores above it are detections.
        candidates: how many of the best scores are looked at; None takes all N * K. It bounds the
            time under XLA.

    Returns:
        boxes float32 (B, limit, 4), scores float32 (B, limit), labels int32 (B, limit) and count
        int32 (B,), the best first; padded with 0, 0 and -1.
    """
    scores = tf.cast(scores, tf.float32)
    classes = scores.shape[2]
    shape = [scores.shape[0] or tf.shape(scores)[0], -1]
    flat = tf.reshape(tf.where(scores > score_threshold, scores, float("-inf")), shape)
    size = tf.shape(flat)[1] if flat.shape[1] is None else flat.shape[1]
    taken = tf.tile(tf.range(size)[None], [shape[0], 1])
    if candidates is not None and (flat.shape[1] is None or candidates < flat.shape[1]):
        flat, taken = tf.math.top_k(flat, tf.minimum(candidates, size))
    labels = taken % classes
    if len(boxes.shape) == 4:
        boxes = tf.reshape(boxes, [*shape, 4])
        corners = tf.gather(boxes, taken, batch_dims=1)
    else:
        corners = tf.gather(boxes, taken // classes, batch_dims=1)
    index, count = grouped(corners, flat, labels, limit, iou)
    corners, flat, labels = (tf.gather(x, index, batch_dims=1) for x in (corners, flat, labels))
    detected = tf.range(limit) < count[:, None]
    return (
        tf.where(detected[..., None], tf.cast(corners, tf.float32), 0.0),
        tf.where(detected, flat, 0.0),
        tf.where(detected, labels, -1),
        count,
    )


def vote(kept, labels, boxes, scores, iou=0.5):
    """Box voting: each detection becomes the mean of its class's boxes around it, by their scores.

    Gidaris & Komodakis 2015, Sec. 6, which the paper follows (Sec. B). Voters are all boxes given,
    also suppressed ones; a score of 0 or below has no vote.

    Args:
        kept: detections, (B, M, 4), as `per_class` gives them.
        labels: their classes, int (B, M), padded with -1.
        boxes: all boxes before suppression, (B, N, 4) or (B, N, K, 4).
        scores: theirs, (B, N, K).
        iou: boxes with at least this IoU vote.

    Returns:
        float32 (B, M, 4); a box without voters is as it was.
    """
    kept = tf.cast(kept, tf.float32)
    own = tf.maximum(labels, 0)
    weights = tf.gather(tf.transpose(tf.cast(scores, tf.float32), [0, 2, 1]), own, batch_dims=1)
    boxes = tf.cast(boxes, tf.float32)
    if len(boxes.shape) == 4:
        boxes = tf.gather(tf.transpose(boxes, [0, 2, 1, 3]), own, batch_dims=1)  # (B, M, N, 4)
        overlaps = geometry.iou(kept[:, :, None], boxes)[:, :, 0]
    else:
        overlaps = geometry.iou(kept, boxes)
        boxes = boxes[:, None]
    weights = tf.where((overlaps >= iou) & (labels >= 0)[..., None], tf.maximum(weights, 0.0), 0.0)
    total = tf.reduce_sum(weights, axis=-1, keepdims=True)
    voted = tf.reduce_sum(weights[..., None] * boxes, axis=-2)
    return tf.where(total > 0, voted / tf.where(total > 0, total, 1.0), kept)
