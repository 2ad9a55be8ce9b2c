"""The orientation that a camera notes in a JPEG, and what it means for the pixels.

A phone stores a photograph as its sensor lies, and in the EXIF tag 0x0112 of the first directory
how it must be turned to be upright. TensorFlow's decoder does not heed the tag. All here is made of
TensorFlow's operations, for the pipelines run in its graphs, on other hosts too. PNGs, whose rare
chunk eXIf is not read, count as upright.
"""

import tensorflow as tf

from . import augment

TAG = 0x0112
_SHORT = 3  # EXIF's type of two bytes
_EXIF = 0xE1  # marker of the segment
_LAST = (0xD9, 0xDA)  # markers after which there is no more about the image
_MOST_SEGMENTS = 100  # a colour profile takes up to 255, but stands behind
_TRANSPOSED = 5  # and above
_ROWS_REVERSED, _COLUMNS_REVERSED = (3, 4, 6, 7), (2, 3, 7, 8)


def orientation(contents: tf.Tensor) -> tf.Tensor:
    """Returns an encoded image's orientation, int32 () from 1, upright, to 8.

    What cannot be read, or is no orientation, counts as upright, as browsers have it.

    Args:
        contents: string ().
    """
    # Most JPEGs without EXIF begin with JFIF's segment, of 16 bytes, and then a table.
    head = tf.io.decode_raw(contents, tf.uint8, fixed_length=22)
    begins = tf.gather(head, [0, 1, 2, 3, 4, 5, 20, 21])
    has_none = tf.reduce_all(begins == [0xFF, 0xD8, 0xFF, 0xE0, 0, 16, 0xFF, 0xDB])
    return tf.cond(has_none, lambda: 1, lambda: _read(_directory(contents)))


def _directory(contents):
    """What stands in the segment of EXIF; an empty string where there is none."""

    def is_wanted(place, length):
        del length
        header = _bytes(contents, place, 10)
        name = tf.reduce_all(header[4:] == [*b"Exif\0\0"])
        return (header[0] == 0xFF) & (header[1] == _EXIF) & name

    def is_before(place, length):
        marker = _bytes(contents, place, 2)
        goes_on = (marker[0] == 0xFF) & tf.reduce_all(marker[1] != _LAST)
        return goes_on & ~is_wanted(place, length)

    def next_segment(place, length):
        del length
        marker = _bytes(contents, place, 4)
        step = tf.where(marker[1] == 0xFF, 1, 2 + _number(marker[2:], False))  # 0xFF may fill up
        place += step
        return place, _number(_bytes(contents, place + 2, 2), False)

    first = tf.constant(2)
    place, length = tf.while_loop(
        is_before,
        next_segment,
        (first, _number(_bytes(contents, first + 2, 2), False)),
        maximum_iterations=_MOST_SEGMENTS,
    )
    start = tf.minimum(place + 10, tf.strings.length(contents))
    length = tf.where(is_wanted(place, length), tf.maximum(length - 8, 0), 0)
    return tf.strings.substr(contents, start, length)


def _read(directory):
    """The orientation in a directory, which is laid out as a TIFF file's."""
    size = tf.strings.length(directory)
    head = _bytes(directory, 0, 8)
    little = tf.reduce_all(head[:4] == [*b"II*\0"])
    known = little | tf.reduce_all(head[:4] == [*b"MM\0*"])
    # Beyond the segment, of 64 KiB at most, there is nothing: so high bytes can be cut off.
    upper = tf.where(little, _number(head[6:], True), _number(head[4:6], False))
    lower = tf.where(little, _number(head[4:6], True), _number(head[6:], False))
    place = tf.where(upper == 0, tf.minimum(lower, size), size)
    declared = _number(_bytes(directory, place, 2), little)
    count = tf.clip_by_value((size - place - 2) // 12, 0, declared)
    count = tf.maximum(count, 1)  # which is all zeros, where there is none
    entries = tf.reshape(_bytes(directory, place + 2, 12 * count), [count, 12])
    tags, types, values = (_number(entries[:, at : at + 2], little) for at in (0, 2, 8))
    valid = known & (tags == TAG) & (types == _SHORT) & (values >= 1) & (values <= 8)
    return tf.where(tf.reduce_any(valid), values[tf.argmax(valid)], 1)


def _bytes(contents, start, count):
    """`count` bytes as int32, zeros where there are no more."""
    start = tf.minimum(start, tf.strings.length(contents))
    piece = tf.strings.substr(contents, start, count)
    return tf.cast(tf.io.decode_raw(piece, tf.uint8, fixed_length=count), tf.int32)


def _number(pair, little):
    """Of two bytes, (..., 2)."""
    return tf.reduce_sum(pair * tf.where(little, [1, 256], [256, 1]), axis=-1)


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns a stored image, or a window of one, (height, width, channels), as it should be seen."""

    def turned():
        rows = tf.reduce_any(orientation == _ROWS_REVERSED)
        columns = tf.reduce_any(orientation == _COLUMNS_REVERSED)
        reversed = tf.raw_ops.Reverse(tensor=image, dims=tf.stack([rows, columns, False]))
        order = tf.where(orientation >= _TRANSPOSED, [1, 0, 2], [0, 1, 2])
        return tf.ensure_shape(augment.transposed(reversed, order), [None, None, image.shape[-1]])

    image = tf.ensure_shape(image, [None, None, image.shape[-1]])
    return tf.cond(orientation == 1, lambda: image, turned)


def upright_shape(shape: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The (height, width) of a stored image when it is upright."""
    return tf.where(orientation >= _TRANSPOSED, shape[::-1], shape)


def stored_window(window: tf.Tensor, shape: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Where a window of the upright image lies in the stored one.

    Args:
        window: int32 (top, left, height, width).
        shape: int32 (height, width) of the stored image.
        orientation: int32 ().

    Returns:
        int32 (top, left, height, width).
    """
    swapped = tf.gather(window, [1, 0, 3, 2])
    window = tf.where(orientation >= _TRANSPOSED, swapped, window)
    reversed = tf.stack(
        [
            tf.reduce_any(orientation == _ROWS_REVERSED),
            tf.reduce_any(orientation == _COLUMNS_REVERSED),
        ]
    )
    corner = tf.where(reversed, shape - window[:2] - window[2:], window[:2])
    return tf.concat([corner, window[2:]], axis=0)
