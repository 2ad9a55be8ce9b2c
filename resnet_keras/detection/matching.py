"""Which object each anchor or proposal is to learn (Ren et al. 2015, Sec. 3.1.2).

Keras operations, float32.
"""

from keras import ops

from resnet_keras.detection import boxes as geometry

# Share of a candidate on a crowd region from which it is no example of the background.
CROWD = 0.5


def match(iou, low, high, *, floor=0.0, low_quality=False, usable=None, crowd=None):
    """Assigns to each candidate the object with the largest IoU, the first of equal ones.

    Args:
        iou: of objects and candidates, (..., G, N); G is at least 1, padded with zeros.
        low: a candidate whose largest IoU is below this is background.
        high: from this IoU on it is that object; between the two it is neither.
        floor: background only from this IoU on: Fast R-CNN's .1.
        low_quality: whether an object also gets the candidates that overlap it most, below `high`,
            all of them where several are equal.
        usable: bool (..., N), the candidates that count at all, such as anchors inside the image;
            the others match nothing, and an object's best is sought without them.
        crowd: bool (..., N), the candidates on a crowd region: they are no background.

    Returns:
        index int32 (..., N) in [0, G) and state int32 (..., N): 1 an object, 0 background, -1 not
        to be trained on. A low-quality match keeps the index of its own largest IoU, as in
        detectron2 and torchvision.
    """
    iou = ops.cast(iou, "float32")
    if usable is not None:
        iou = ops.where(usable[..., None, :], iou, 0.0)
    largest = ops.max(iou, axis=-2)
    index = ops.cast(ops.argmax(iou, axis=-2), "int32")
    positive = largest >= high
    if low_quality:
        best = ops.max(iou, axis=-1, keepdims=True)
        # An object that overlaps nothing, padding above all, is not every candidate's.
        positive = positive | ops.any((iou == best) & (best > 0), axis=-2)
    background = (largest < low) & (largest >= floor)
    if crowd is not None:
        background = background & ~crowd
    state = ops.where(positive, 1, ops.where(background, 0, -1))
    if usable is not None:
        state = ops.where(usable, state, -1)
    return index, ops.cast(state, "int32")


def assign(candidates, truth, low, high, *, crowd=None, **options):
    """`match` for boxes: crowd regions are nobody's object, and what lies on one no background.

    Args:
        candidates: anchors (N, 4) or proposals (B, N, 4).
        truth: boxes of objects, (B, G, 4), padded with 0.
        low: as of `match`.
        high: as of `match`.
        crowd: bool (B, G), which of the objects are crowd regions.
        **options: the others of `match`.

    Returns:
        index and state of `match`, (B, N).
    """
    if crowd is None:
        return match(geometry.iou(truth, candidates), low, high, **options)
    zero = ops.zeros_like(truth)
    objects = ops.where(crowd[..., None], zero, truth)
    regions = ops.where(crowd[..., None], truth, zero)
    on_crowd = ops.max(geometry.iou_crowd(candidates, regions), axis=-1) >= CROWD
    return match(geometry.iou(objects, candidates), low, high, crowd=on_crowd, **options)
