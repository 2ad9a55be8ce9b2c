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
        shape = tf.io.extract_jpeg_shape(contents)[:2]

        def as_it_is():
            return tf.io.decode_and_crop_jpeg(contents, window_of(shape), **_JPEG)

        def large():
            checked = _bounded(contents, tf.cast(shape, tf.int64))
            window = window_of(shape)

            def shrunk(ratio):
                part = tf.maximum(window // ratio, [0, 0, 1, 1])
                return tf.io.decode_and_crop_jpeg(checked, part, ratio=ratio, **_JPEG)

            return _shrink(shrunk, tf.reduce_min(window[2:]) // size)

        # Most photographs have too few pixels for a window to be shrunk. (int32 would overflow.)
        few = tf.reduce_prod(tf.cast(shape, tf.float32)) < 4 * size * size
        return tf.cond(few, as_it_is, large)

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
    branch = tf.reduce_sum(tf.cast(times >= RATIOS[1:], tf.int32))
    return tf.switch_case(branch, [lambda ratio=ratio: shrunk(ratio) for ratio in RATIOS])


def _bounded_jpeg(contents):
    """The contents, and the int32 (height, width); fails for an image that is too large."""
    shape = tf.io.extract_jpeg_shape(contents)[:2]
    return _bounded(contents, tf.cast(shape, tf.int64)), shape


def _decode_other(contents):
    def numbers(start, count, dtype, little_endian=True):
        part = tf.strings.substr(contents, start, count * dtype.size)
        return tf.cast(tf.io.decode_raw(part, dtype, little_endian), tf.int64)

    def image(checked):
        return tf.io.decode_image(checked, channels=3, expand_animations=False)

    def png():
        first = tf.strings.substr(contents, 12, 4) == b"IHDR"
        shape = tf.where(first, numbers(16, 2, tf.int32, False), 0)
        return image(_bounded(contents, shape))

    def gif():
        return image(_bounded(*_first_frame(contents)))

    def bmp():
        pixels = image(_bounded(contents, numbers(18, 2, tf.int32)))
        return tf.cond(numbers(28, 1, tf.int16)[0] == 8, lambda: coloured(pixels), lambda: pixels)

    def coloured(indices):
        # TensorFlow takes a palette's indices for greys.
        start = 14 + numbers(14, 1, tf.int32)[0]
        colours = (numbers(10, 1, tf.int32)[0] - start) // 4
        palette = tf.strings.substr(contents, start, 4 * colours)
        palette = tf.reshape(tf.io.decode_raw(palette, tf.uint8), [-1, 4])[:, 2::-1]
        return tf.gather(palette, tf.cast(indices[..., 0], tf.int32))

    def unknown():
        return image(_bounded(contents, tf.zeros([2], tf.int64)))

    begins = tf.strings.substr(contents, 0, 4)
    return tf.case(
        [
            (begins == b"\x89PNG", png),
            (begins == b"GIF8", gif),
            (tf.strings.substr(contents, 0, 2) == b"BM", bmp),
        ],
        default=unknown,
    )


def _first_frame(contents):
    """A GIF that ends after its first frame, and that frame's int64 (width, height).

    The size of the whole, in the header, binds no frame; and TensorFlow decodes all frames.
    """
    data = tf.cast(tf.io.decode_raw(contents, tf.uint8), tf.int32)

    def table(flags):  # of colours
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def after_blocks(at):  # each begins with its length, and the last is empty
        return 1 + tf.while_loop(lambda i: data[i] > 0, lambda i: [i + data[i] + 1], [at])[0]

    frame = tf.while_loop(
        lambda i: data[i] == 0x21, lambda i: [after_blocks(i + 2)], [13 + table(data[10])]
    )[0]
    shape = data[frame + 5 : frame + 9 : 2] + 256 * data[frame + 6 : frame + 10 : 2]
    end = after_blocks(frame + 11 + table(data[frame + 9]))
    return tf.strings.substr(contents, 0, end) + b";", tf.cast(shape, tf.int64)


def _bounded(contents, shape):
    """The contents; fails where int64 (2,) sides that they declare, and decoders trust, are not."""
    pixels = tf.reduce_prod(tf.abs(shape))  # a BMP upside down has a negative height
    within = tf.debugging.Assert(
        (pixels > 0) & (pixels <= MAX_PIXELS),
        ["not a JPEG, PNG, GIF or BMP, or not of 1 to", MAX_PIXELS, "pixels:", shape],
    )
    with tf.control_dependencies([within]):
        return tf.identity(contents)
