"""Encoded images to pixels: whole or a window of one, and what becomes of those that are broken."""

from collections.abc import Callable

import tensorflow as tf

# An image of more pixels is taken for a broken one, before memory is set aside for it.
MAX_PIXELS = 128 * 2**20
RATIOS = (1, 2, 4, 8)  # by which libjpeg can shrink an image while it decodes
# The accurate transform is bit for bit that of Pillow and OpenCV, and as fast as the default.
_JPEG = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}


def decode(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG (grey and CMYK too), PNG, GIF (its first frame) or BMP.

    Args:
        contents: string ().

    Returns:
        uint8 (height, width, 3) RGB. An alpha channel is dropped, orientation tags are not heeded.

    Raises:
        tf.errors.InvalidArgumentError: no such image, a broken one, or more than `MAX_PIXELS`.
    """
    return tf.cond(
        is_jpeg(contents),
        lambda: tf.io.decode_jpeg(_bounded_jpeg(contents)[0], **_JPEG),
        lambda: _decode_other(contents),
    )


def decode_window(
    contents: tf.Tensor, window_of: Callable[[tf.Tensor], tf.Tensor], size: int
) -> tf.Tensor:
    """Decodes a window of an image; of a JPEG only that window.

    Where the window is twice as large as needed or more, a JPEG is shrunk while it is decoded, and
    the window's corners are rounded to the shrunk image's pixels. At a window's left and right
    edge, colours may differ from those of the whole image, decoded: JPEG's colour planes are
    coarser, and what lies outside is not read.

    Args:
        contents: string (), as for `decode`.
        window_of: maps the image's int32 (height, width) to a window int32 (top, left, height,
            width) inside it.
        size: the side that the window will be resized to.

    Returns:
        uint8 (window's height, window's width, 3), or both over 2, 4 or 8.
    """

    def jpeg():
        checked, shape = _bounded_jpeg(contents)
        window = window_of(shape)

        def shrunk(ratio):
            part = tf.maximum(window // ratio, [0, 0, 1, 1])
            return tf.io.decode_and_crop_jpeg(checked, part, ratio=ratio, **_JPEG)

        times = tf.reduce_min(window[2:]) // size
        return tf.cond(times < 2, lambda: shrunk(1), lambda: _shrink(shrunk, times))

    def other():
        image = _decode_other(contents)
        top, left, height, width = tf.unstack(window_of(tf.shape(image)[:2]))
        return image[top : top + height, left : left + width]

    return tf.cond(is_jpeg(contents), jpeg, other)


def is_jpeg(contents: tf.Tensor) -> tf.Tensor:
    """Whether encoded bytes, string (), begin as a JPEG does."""
    return tf.strings.substr(contents, 0, 3) == b"\xff\xd8\xff"


def attempt(
    function: Callable[..., tf.Tensor], columns: tuple[tf.Tensor, ...], result: tf.TensorSpec
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies `function` row by row and leaves out the rows at which it fails.

    Args:
        function: of one row of each column.
        columns: tensors of one length.
        result: what the function returns.

    Returns:
        The numbers of the rows that succeeded, int32 (n,), and their results (n, ...).
    """
    # A nested data set is TensorFlow's only way to catch an error inside a graph.
    rows = tf.data.Dataset.from_tensor_slices((tf.range(tf.shape(columns[0])[0]), columns))
    good = rows.map(lambda number, row: (number, function(*row))).ignore_errors()
    count = tf.shape(columns[0], out_type=tf.int64)[0]
    nothing = (
        tf.zeros([0], tf.int32),
        tf.zeros([0, *(s or 0 for s in result.shape)], result.dtype),
    )
    batches = good.batch(count).concatenate(tf.data.Dataset.from_tensors(nothing))
    return batches.take(1).get_single_element()


def _shrink(shrunk, times):
    branch = tf.where(times < 4, 0, tf.where(times < 8, 1, 2))
    return tf.switch_case(branch, [lambda ratio=ratio: shrunk(ratio) for ratio in RATIOS[1:]])


def _bounded_jpeg(contents):
    """The contents, and the int32 (height, width); fails for an image that is too large."""
    shape = tf.io.extract_jpeg_shape(contents)[:2]
    with tf.control_dependencies([_within_bounds(tf.cast(shape, tf.int64))]):
        return tf.identity(contents), shape


def _decode_other(contents):
    with tf.control_dependencies([_within_bounds(_declared_shape(contents))]):
        return tf.io.decode_image(contents, channels=3, expand_animations=False)


def _declared_shape(contents):
    """Height and width, int64 (2,), that a PNG, GIF or BMP says it has; decoders trust it."""

    def numbers(start, count, dtype, little_endian):
        part = tf.strings.substr(contents, start, count * dtype.size)
        return tf.cast(tf.io.decode_raw(part, dtype, little_endian), tf.int64)

    begins = tf.strings.substr(contents, 0, 4)
    return tf.case(
        [
            (begins == b"\x89PNG", lambda: numbers(16, 2, tf.int32, False)),
            (begins == b"GIF8", lambda: numbers(6, 2, tf.uint16, True)),
            (tf.strings.substr(contents, 0, 2) == b"BM", lambda: numbers(18, 2, tf.int32, True)),
        ],
        default=lambda: tf.constant([-1, -1], tf.int64),  # no format that is decoded here
    )


def _within_bounds(shape):
    pixels = tf.reduce_prod(tf.abs(shape))  # a BMP upside down has a negative height
    known = tf.reduce_all(shape != -1)
    return tf.debugging.Assert(
        known & (pixels > 0) & (pixels <= MAX_PIXELS),
        ["not a JPEG, PNG, GIF or BMP, or not of 1 to", MAX_PIXELS, "pixels:", shape],
    )
