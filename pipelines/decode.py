"""Encoded images to pixels: whole or a window of one, and what becomes of those that are broken."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.files import readable

from . import exif, listing

MAX_PIXELS = listing.MAX_PIXELS
RATIOS = (1, 2, 4, 8)  # by which libjpeg can shrink an image while it decodes
# The accurate transform is bit for bit that of Pillow and OpenCV, and as fast as the default.
_JPEG = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}


class Undecodable(InputError):
    """A file that holds no image, or a broken one."""


def of_file(
    path: str | os.PathLike, *, exif_orientation: bool = False
) -> tuple[tf.Tensor, np.ndarray]:
    """Reads and decodes an image file.

    Args:
        path: of the file; its name need not be UTF-8.
        exif_orientation: as of `decode`.

    Returns:
        The file's content, string (), and the pixels, uint8 (height, width, 3).

    Raises:
        Undecodable: it is no image.
        InputError: it cannot be read.
    """
    path = os.fspath(path)
    try:
        contents = tf.io.read_file(os.fsencode(path))
        return contents, decode(contents, exif_orientation=exif_orientation).numpy()
    except tf.errors.NotFoundError as error:
        raise InputError(f"There is no image {readable(path)}.") from error
    except tf.errors.PermissionDeniedError as error:
        raise InputError(f"{readable(path)} may not be read.") from error
    except tf.errors.OpError as error:
        message = f"{readable(path)} cannot be decoded as {listing.FORMATS}."
        raise Undecodable(message) from error


def decode(contents: tf.Tensor, *, exif_orientation: bool = False, webp: bool = True) -> tf.Tensor:
    """Decodes a JPEG (grey and CMYK too), PNG or WebP.

    Args:
        contents: string ().
        exif_orientation: whether the image is turned as a JPEG's EXIF says, see `exif`.
        webp: False refuses WebP, in a graph for versions of TensorFlow that cannot decode it.

    Returns:
        uint8 (height, width, 3) RGB. An alpha channel is dropped.

    Raises:
        tf.errors.InvalidArgumentError: no such image, a broken one, or more than `MAX_PIXELS`.
    """

    def jpeg():
        shape = tf.io.extract_jpeg_shape(contents)[:2]
        image = tf.io.decode_jpeg(bounded(contents, shape), **_JPEG)
        return exif.upright(image, exif.orientation(contents)) if exif_orientation else image

    others = _decode_others if webp else _decode_png
    return tf.cond(is_jpeg(contents), jpeg, lambda: others(contents))


def decode_window(
    contents: tf.Tensor,
    window_of: Callable[[tf.Tensor], tf.Tensor],
    size: int,
    *,
    exif_orientation: bool = False,
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
        exif_orientation: as for `decode`; the window is one of the upright image.

    Returns:
        uint8 (window's height, window's width, 3), or both over 2, 4 or 8.
    """

    def jpeg():
        shape = tf.io.extract_jpeg_shape(contents)[:2]
        checked = bounded(contents, shape)
        if exif_orientation:
            turn = exif.orientation(contents)
            wanted = window_of(exif.upright_shape(shape, turn))
            window = exif.stored_window(wanted, shape, turn)
        else:
            turn, window = None, window_of(shape)

        def shrunk(ratio):
            part = tf.maximum(window // ratio, [0, 0, 1, 1])
            return tf.io.decode_and_crop_jpeg(checked, part, ratio=ratio, **_JPEG)

        branch = tf.reduce_sum(tf.cast(_times(window, size) >= RATIOS[1:], tf.int32))
        image = tf.switch_case(branch, [lambda ratio=ratio: shrunk(ratio) for ratio in RATIOS])
        return image if turn is None else exif.upright(image, turn)

    def others():
        image = _decode_others(contents)
        top, left, height, width = tf.unstack(window_of(tf.shape(image)[:2]))
        return image[top : top + height, left : left + width]

    return tf.cond(is_jpeg(contents), jpeg, others)


def decode_small_window(
    contents: tf.Tensor,
    window_of: Callable[[tf.Tensor], tf.Tensor],
    size: int,
    *,
    exif_orientation: bool = False,
) -> tf.Tensor:
    """`decode_window` for JPEGs that need no shrinking or turning; it fails for all other images.

    Without a branch it takes 8 % less time: each costs as much as a few rows of pixels.
    """
    jpeg = [_require(is_jpeg(contents), "no JPEG")]  # or libjpeg would complain
    if exif_orientation:
        jpeg.append(_require(exif.orientation(contents) == 1, "not upright"))
    with tf.control_dependencies(jpeg):
        shape = tf.io.extract_jpeg_shape(contents)[:2]
    window = window_of(shape)
    small = _require(_times(window, size) < 2, "large")
    with tf.control_dependencies([small]):
        return tf.io.decode_and_crop_jpeg(contents, window, **_JPEG)


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


def _require(condition, *message):
    """Fails where it is false; unlike tf.debugging.Assert, without a branch."""
    return tf.raw_ops.Assert(
        condition=condition, data=[tf.convert_to_tensor(part) for part in message]
    )


def _times(window, size):
    """How many times as large as needed a window is, rounded down."""
    return tf.reduce_min(window[2:]) // size


def _decode_others(contents):
    """A PNG or WebP."""
    begins = tf.strings.substr(contents, 0, 4) == b"RIFF"
    is_webp = begins & (tf.strings.substr(contents, 8, 7) == b"WEBPVP8")
    return tf.cond(is_webp, lambda: _decode_webp(contents), lambda: _decode_png(contents))


def _decode_webp(contents):
    head = tf.strings.substr(contents, 0, 30)
    head = tf.cast(tf.io.decode_raw(head, tf.uint8, fixed_length=30), tf.int32)  # zeros beyond

    def number(*places):
        return tf.add_n([head[place] * 256**power for power, place in enumerate(places)])

    lossy = tf.stack([number(28, 29), number(26, 27)]) & 0x3FFF
    bits = number(21, 22, 23) + (head[24] & 0xF) * 2**24
    lossless = tf.stack([bits // 2**14, bits & 0x3FFF]) + 1
    canvas = tf.stack([number(27, 28, 29), number(24, 25, 26)]) + 1
    kind = head[15]
    # Of an animation, all frames would be decoded at once.
    still = (kind != ord("X")) | (head[20] & 2 == 0)
    declared = tf.where(kind == ord("L"), lossless, tf.where(kind == ord("X"), canvas, lossy))
    checked = bounded(contents, tf.where(still, declared, 0))
    return tf.io.decode_webp(checked, channels=3)[0]


def _decode_png(contents):
    # A chunk before the header would hide the size from the check, and not from the decoder.
    begins = tf.strings.substr(contents, 0, 8) == b"\x89PNG\r\n\x1a\n"
    header = begins & (tf.strings.substr(contents, 12, 4) == b"IHDR")
    declared = tf.io.decode_raw(tf.strings.substr(contents, 16, 8), tf.int32, little_endian=False)
    checked = bounded(contents, tf.where(header, declared, 0))
    return tf.io.decode_png(checked, channels=3)


def bounded(contents: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """The contents; fails where the sides, int32 (2,), that they declare are out of bounds."""
    sides = tf.cast(shape, tf.int64)
    within = _require(
        tf.reduce_all(sides > 0) & (tf.reduce_prod(sides) <= MAX_PIXELS),
        "not a JPEG, PNG or still WebP, or not of 1 to",
        MAX_PIXELS,
        "pixels:",
        shape,
    )
    with tf.control_dependencies([within]):
        return tf.identity(contents)
