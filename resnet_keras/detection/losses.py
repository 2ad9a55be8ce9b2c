"""The losses of the RPN and the detection head, one for each image. Keras operations, float32.

All are over sampled examples with weights, as `sampling.balanced` gives them. What has a weight of
0 adds nothing to a loss or gradient, whatever stands there, infinities and NaN included. Both parts
are divided by the sum of an image's weights (Ren et al. 2015, Eq. 1 with the sample as N_reg, as
py-faster-rcnn has it and later projects), by 1 where it has none.
"""

from keras import ops


def smooth_l1(x, beta=1.0):
    """Huber's loss over its width: x^2 / (2 beta) within `beta`, |x| - beta / 2 beyond; float32.

    Args:
        x: any shape.
        beta: where the parabola ends; 0 is |x|. Caffe's sigma is beta = 1 / sigma^2.
    """
    x = ops.abs(ops.cast(x, "float32"))
    if beta == 0:
        return x
    return ops.where(x < beta, 0.5 * x * x / beta, x - 0.5 * beta)


def rpn(logits, deltas, positive, targets, weights, *, beta=1 / 9):
    """The RPN's losses: object or not, and the boxes of the positive anchors.

    Args:
        logits: of objects, (B, S).
        deltas: regression outputs, (B, S, 4).
        positive: which anchors are an object's, bool or 1 and 0, (B, S).
        targets: of the regression, (B, S, 4), from `boxes.encode`.
        weights: (B, S).
        beta: of `smooth_l1`; 1 / 9 is Caffe's sigma of 3.

    Returns:
        Two float32 (B,): binary cross-entropy and box loss.
    """
    positive = ops.cast(positive, "bool")
    weights = ops.cast(weights, "float32")
    logits = _counted(logits, weights > 0)
    # log(1 + exp(x)) - x y, without overflow.
    losses = ops.softplus(logits) - ops.where(positive, logits, 0.0)
    return _mean(losses, weights), _box_loss(deltas, targets, positive, weights, beta)


def head(logits, deltas, labels, targets, weights, *, beta=1.0):
    """The detection head's losses: the class, and the boxes of what is no background.

    Args:
        logits: (B, S, K + 1), the last the background's.
        deltas: regression outputs of each class, (B, S, K, 4), or one for all, (B, S, 4).
        labels: int (B, S), 0 to K - 1, and K for background.
        targets: of the regression, (B, S, 4), from `boxes.encode`.
        weights: (B, S).
        beta: of `smooth_l1`.

    Returns:
        Two float32 (B,): cross-entropy and box loss.
    """
    weights = ops.cast(weights, "float32")
    background = logits.shape[-1] - 1
    labels = ops.where(weights > 0, ops.cast(labels, "int32"), background)
    logits = _counted(logits, (weights > 0)[..., None])
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if len(deltas.shape) == 4:
        # A row of the own class: as a mask, the other classes' outputs would be read, too.
        own = ops.minimum(labels, background - 1)[..., None, None]
        deltas = ops.take_along_axis(deltas, own, axis=2)[:, :, 0]
    return (
        _mean(losses, weights),
        _box_loss(deltas, targets, labels != background, weights, beta),
    )


def mask(logits, targets, is_object):
    """The mask branch's loss: the mean cross-entropy of the pixels of RoIs (arXiv 1703.06870).

    Args:
        logits: of each RoI's own class, (B, R, M, M).
        targets: in [0, 1], (B, R, M, M).
        is_object: which RoIs count, bool (B, R).

    Returns:
        float32 (B,), a mean over the RoIs that count, 0 where none does.
    """
    counted = is_object[..., None, None]
    logits, targets = _counted(logits, counted), _counted(targets, counted)
    losses = ops.mean(ops.softplus(logits) - logits * targets, axis=(-2, -1))
    return _mean(losses, ops.cast(is_object, "float32"))


def _box_loss(deltas, targets, positive, weights, beta):
    errors = ops.cast(deltas, "float32") - ops.cast(targets, "float32")
    errors = _counted(errors, (positive & (weights > 0))[..., None])
    return _mean(ops.sum(smooth_l1(errors, beta), axis=-1), weights)


def _counted(x, mask):
    """float32 `x`, 0 where `mask` is not, before anything can make NaN of what stands there."""
    return ops.where(mask, ops.cast(x, "float32"), 0.0)


def _mean(losses, weights):
    return ops.sum(losses * weights, axis=-1) / ops.maximum(ops.sum(weights, axis=-1), 1.0)
