"""Features of regions: RoIAlign (He et al. 2017), RoI max pooling (Girshick 2015), FPN's levels.

RoIAlign has two forms that agree. "crop" is `crop_and_resize` on a map that is padded by one cell:
the fast one on CPUs, which XLA does not compile. "matmul" is two products with matrices of bilinear
weights: for XLA and for LiteRT's own operations, and where the number of samples differs between
boxes; it needs memory and time in proportion to the map's sides, so it suits stride 16. All is
TensorFlow, float32, and has a gradient for the features and none for the boxes. The gradient of
"crop" has the same bits in each run only under `tf.config.experimental.enable_op_determinism`, with
which TensorFlow refuses it on GPUs (tensorflow#48905): there "matmul" is the form that repeats.
"""

import tensorflow as tf

from resnet_keras.detection import boxes as geometry
from resnet_keras.errors import unknown

FORMS = ("auto", "crop", "matmul")


def align(features, boxes, size, stride, *, sampling=2, aligned=True, form="auto"):
    """RoIAlign: means over bilinear samples in `size` x `size` bins of each box.

    A sample beyond [-1, side of the map] is 0; nearer ones are clamped to the map.

    Args:
        features: (B, H, W, C).
        boxes: (B, R, 4), in pixels.
        size: bins on each side.
        stride: pixels from one cell of the features to the next.
        sampling: samples in a bin on each side; None takes as many as there are cells in a bin,
            rounded up, and 0 for a box without area (detectron2's 0).
        aligned: cell 0 has its centre at pixel `stride` / 2, as in detectron2; False has it at
            pixel 0 and makes boxes one cell wide at least, as in torchvision's detectors.
        form: "crop", "matmul", or "auto": "matmul" where only that is exact.

    Returns:
        float32 (B, R, size, size, C).

    Raises:
        InputError: no such form, or "crop" with `sampling=None`.
    """
    _check_form(form, sampling)
    features = tf.cast(features, tf.float32)
    boxes = tf.stop_gradient(tf.cast(boxes, tf.float32))
    if form == "matmul" or sampling is None:
        return _by_matmul(features, boxes, size, stride, sampling, aligned)
    flat, batch = _flat(boxes)
    return _unflat(_by_crop(features, flat, batch, size, stride, sampling, aligned), boxes)


def align_pyramid(features, boxes, size, strides, *, sampling=2, aligned=True, form="auto"):
    """`align`, each box on the level of a feature pyramid that `level` gives for its size.

    Args:
        features: maps (B, H, W, C), the finest first.
        boxes: (B, R, 4), in pixels.
        size: bins on each side.
        strides: of the maps, powers of 2 one after the other; 4, 8, 16, 32 are levels 2 to 5.
        sampling: as of `align`.
        aligned: as of `align`.
        form: as of `align`. "crop" pools each box on its own level; "matmul", as XLA wants static
            shapes, on every one.

    Returns:
        float32 (B, R, size, size, C).
    """
    _check_form(form, sampling)
    boxes = tf.stop_gradient(tf.cast(boxes, tf.float32))
    lowest = int(strides[0]).bit_length() - 1
    levels = level(boxes, lowest, lowest + len(strides) - 1) - lowest
    pyramid = [(tf.cast(f, tf.float32), s) for f, s in zip(features, strides, strict=True)]
    if form == "matmul" or sampling is None:
        pooled = []
        for number, (maps, stride) in enumerate(pyramid):
            # The other levels' boxes are moved away from the map, where there are only zeros.
            own = tf.where((levels == number)[..., None], boxes, _AWAY)
            pooled.append(_by_matmul(maps, own, size, stride, sampling, aligned))
        return tf.add_n(pooled)
    flat, batch = _flat(boxes)
    places = [tf.where(tf.reshape(levels, [-1]) == number)[:, 0] for number in range(len(pyramid))]
    pooled = [
        _by_crop(maps, tf.gather(flat, own), tf.gather(batch, own), size, stride, sampling, aligned)
        for own, (maps, stride) in zip(places, pyramid, strict=True)
    ]
    back = tf.math.invert_permutation(tf.concat(places, axis=0))
    return _unflat(tf.gather(tf.concat(pooled, axis=0), back), boxes)


def max_pool(features, boxes, size, stride):
    """RoI max pooling as Caffe's layer: rounded corners, the last row and column included.

    Args:
        features: (B, H, W, C). Cells of -inf are outside of the map.
        boxes: (B, R, 4), in pixels. Caffe's boxes end with their last pixel: x2 - 1, y2 - 1 here.
        size: bins on each side.
        stride: pixels from one cell of the features to the next.

    Returns:
        float32 (B, R, size, size, C); a bin outside the map is 0.
    """
    features = tf.cast(features, tf.float32)
    boxes = tf.stop_gradient(tf.cast(boxes, tf.float32))
    flat, batch = _flat(boxes)
    height, width = tf.shape(features)[1], tf.shape(features)[2]
    x1, y1, x2, y2 = tf.unstack(_rounded(flat / stride), axis=-1)
    tops, bottoms = _bins(y1, y2, size, height)
    lefts, rights = _bins(x1, x2, size, width)
    first = (batch[:, None, None] * height + tops[:, :, None]) * width + lefts[:, None, :]
    rows = tf.reshape(features, [-1, tf.shape(features)[3]])
    heights, widths = (bottoms - tops)[:, :, None, None], (rights - lefts)[:, None, :, None]
    largest, places = _largest(tf.stop_gradient(rows), first, heights, widths, width)
    # One gather at the places found, so the gradient goes to the largest cell and to no other.
    channels = tf.shape(rows)[1]
    places = places * channels + tf.range(channels)
    pooled = tf.gather(tf.reshape(rows, [-1]), places)
    return _unflat(tf.where(largest > float("-inf"), pooled, 0.0), boxes)


def level(boxes, lowest=2, highest=5, *, canonical_size=224, canonical_level=4):
    """The pyramid level of each box: floor(4 + log2(sqrt(area) / 224)) (Lin et al. 2017, Eq. 1).

    Args:
        boxes: (..., 4), in pixels.
        lowest: the finest level.
        highest: the coarsest.
        canonical_size: ImageNet's 224 pixels...
        canonical_level: ...are pooled on this level.

    Returns:
        int32 (...,) in [lowest, highest].
    """
    areas = geometry.area(boxes)
    # Compared and not by a logarithm, whose rounding would decide for boxes of 112 or 448 pixels.
    sides = [canonical_size * 2.0 ** (k - canonical_level) for k in range(lowest + 1, highest + 1)]
    limits = tf.constant([side**2 for side in sides], tf.float32)
    above = tf.cast(areas[..., None] >= limits, tf.int32)
    return lowest + tf.reduce_sum(above, axis=-1)


_AWAY = -1e6  # pixels: all corners there make an empty box far from the map


def _check_form(form, sampling):
    if form not in FORMS or (form == "crop" and sampling is None):
        choices = FORMS if sampling else ("auto", "matmul")
        raise unknown(f"form of RoIAlign with sampling={sampling}:", form, choices)


def _flat(boxes):
    """Boxes (B * R, 4) and the image of each (B * R,)."""
    batch = tf.repeat(tf.range(tf.shape(boxes)[0]), tf.shape(boxes)[1])
    return tf.reshape(boxes, [-1, 4]), batch


def _unflat(pooled, boxes):
    shape = [boxes.shape[0] or tf.shape(boxes)[0], boxes.shape[1] or tf.shape(boxes)[1]]
    return tf.reshape(pooled, [*shape, *pooled.shape[1:]])


def _spans(boxes, stride, aligned):
    """First and last edges of boxes in cells, so that cell k has its centre at k: x and y."""
    scaled = boxes / stride
    x1, y1, x2, y2 = (scaled[..., i] for i in range(4))
    if aligned:
        return (x1 - 0.5, x2 - 0.5), (y1 - 0.5, y2 - 0.5)
    return (x1, x1 + tf.maximum(x2 - x1, 1.0)), (y1, y1 + tf.maximum(y2 - y1, 1.0))


def _by_crop(features, boxes, batch, size, stride, sampling, aligned):
    """All samples by `crop_and_resize`, and their means.

    On the plain map it gives 0 in the outer half of the cells at the borders, where RoIAlign
    clamps. On one that is padded with copies of its borders it clamps, and gives 0 beyond them.
    """
    padded = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    sides = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)
    samples = size * sampling
    normalized = []
    for (low, high), side in zip(_spans(boxes, stride, aligned), (sides[1], sides[0]), strict=True):
        half = 0.5 * (high - low) / samples
        normalized.append(((low + half + 1) / side, (high - half + 1) / side))
    (x1, x2), (y1, y2) = normalized
    corners = tf.stack([y1, x1, y2, x2], axis=-1)
    # The operation would read anywhere in memory for NaN, which is here, as a box far away, 0.
    known = tf.reduce_all(tf.math.is_finite(corners), axis=-1, keepdims=True)
    corners = tf.where(known, tf.clip_by_value(corners, -1e6, 1e6), -1.0)
    crops = tf.image.crop_and_resize(padded, corners, batch, [samples, samples])
    return tf.nn.avg_pool2d(crops, sampling, sampling, "VALID") if sampling > 1 else crops


def _by_matmul(features, boxes, size, stride, sampling, aligned):
    """Weights of rows, features, weights of columns: the samples' means are separable."""
    height, width = features.shape[1], features.shape[2]
    x, y = _spans(boxes, stride, aligned)
    rows = weights(*y, size, sampling, height or tf.shape(features)[1])
    columns = weights(*x, size, sampling, width or tf.shape(features)[2])
    # The longer side first: what remains is smaller.
    if height and width and width > height:
        partial = tf.einsum("brqw,bhwc->brqhc", columns, features)
        return tf.einsum("brph,brqhc->brpqc", rows, partial)
    partial = tf.einsum("brph,bhwc->brpwc", rows, features)
    return tf.einsum("brqw,brpwc->brpqc", columns, partial)


def weights(low, high, size, sampling, side):
    """Each cell's weight in the mean over a bin's samples, float32 (..., size, side).

    Args:
        low: first edges of boxes in cells, (...,).
        high: last edges.
        size: bins.
        sampling: samples in a bin, or None.
        side: cells of the map.
    """
    if sampling is None:
        count = tf.maximum(tf.math.ceil((high - low) / size), 0.0)[..., None, None]
        most = tf.maximum(tf.reduce_max(count), 1.0)
    else:
        count = most = float(sampling)
    sample = tf.range(most)  # (samples,), the second of (bins, samples)
    fraction = tf.range(float(size))[:, None] + (sample + 0.5) / tf.maximum(count, 1.0)
    low, high = low[..., None, None], high[..., None, None]
    position = low + fraction * (high - low) / size
    last = tf.cast(side, tf.float32) - 1
    is_sample = (sample < count) & (position >= -1) & (position <= last + 1)
    # The clamp belongs after the test: a sample at -.5 then weighs 1, and not .5.
    position = tf.clip_by_value(position, 0.0, last)
    distance = tf.abs(position[..., None] - tf.range(last + 1))
    weights = tf.where(is_sample[..., None], tf.maximum(1 - distance, 0.0), 0.0)
    return tf.reduce_sum(weights, axis=-2) / tf.maximum(count, 1.0)


def _rounded(x):
    """To the nearest whole number, halves away from zero as C's `round`, int32."""
    return tf.cast(tf.sign(x) * tf.floor(tf.abs(x) + 0.5), tf.int32)


def _bins(first, last, size, side):
    """Where the bins of a span of cells begin and end, each int32 (R, size), within the map."""
    length = tf.cast(tf.maximum(last - first + 1, 1), tf.float32)[:, None] / size
    number = tf.range(float(size))
    start = first[:, None] + tf.cast(tf.floor(number * length), tf.int32)
    end = first[:, None] + tf.cast(tf.math.ceil((number + 1) * length), tf.int32)
    return tf.clip_by_value(start, 0, side), tf.clip_by_value(end, 0, side)


def _largest(rows, first, heights, widths, width):
    """The largest value in each bin, and its row in `rows` int32, both (R, size, size, C).

    Where there is none, the value is -inf.

    Args:
        rows: features, a row for each cell.
        first: each bin's first cell, (R, size, size).
        heights: of the bins, (R, size, 1, 1).
        widths: of the bins, (R, 1, size, 1).
        width: of the map.
    """
    most_rows, most_columns = tf.reduce_max(heights), tf.reduce_max(widths)
    last = tf.shape(rows)[0] - 1
    shape = tf.concat([tf.shape(first), tf.shape(rows)[1:]], axis=0)

    def look(number, largest, places):
        row, column = number // most_columns, number % most_columns
        place = tf.clip_by_value(first + row * width + column, 0, last)
        values = tf.gather(rows, place)
        # Strictly larger: of equal cells the first counts, in any order of the images.
        better = (row < heights) & (column < widths) & (values > largest)
        places = tf.where(better, place[..., None], places)
        return number + 1, tf.where(better, values, largest), places

    start = (0, tf.fill(shape, float("-inf")), tf.zeros(shape, tf.int32))
    return tf.while_loop(
        lambda number, *_: number < most_rows * most_columns, look, start, parallel_iterations=1
    )[1:]
