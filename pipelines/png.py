"""PNG files of labels: a pixel's number is its class, as a grey value or as a palette's index.

TensorFlow would turn indices into the palette's colours, of which two may be the same. To a decoder
indices are grey values, if only the header says so.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from resnet_keras.facts import IGNORED as IGNORED

from . import decode
from .encoded import fail_if, listed

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = 33  # bytes of the signature and the first chunk: depth and colour type are in both
_DEPTH, _COLOURS, _CRC = 24, 25, 29  # places therein
_GREY, _PALETTE = 0, 3
_CHECKS = "; `python -m resnet_keras.pipelines check --masks` finds all such masks"


def _crc_change() -> bytes:
    """By which a header's CRC changes, whatever is in it, where its colour type turns 3 into 0."""
    grey, palette = (zlib.crc32(b"IHDR" + bytes([*[0] * 9, kind, 0, 0, 0])) for kind in (0, 3))
    return (grey ^ palette).to_bytes(4, "big")  # CRC is linear: equal changes change it equally


_CHANGE = np.zeros(_HEADER, np.int32)
_CHANGE[_COLOURS] = _PALETTE ^ _GREY
_CHANGE[_CRC:] = list(_crc_change())
_BYTES = [bytes([value]) for value in range(256)]


def labels(contents: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    """Decodes a mask, to the numbers that the file holds.

    Args:
        contents: string (), of a PNG of grey values or palette indices of 1, 2, 4 or 8 bits.
        name: string (), for messages.

    Returns:
        uint8 (height, width).

    Raises:
        tf.errors.InvalidArgumentError: another file, or a broken one; its message is a sentence
            for `errors.told`.
    """
    begin = tf.strings.substr(contents, 0, _HEADER)
    head = tf.cast(tf.io.decode_raw(begin, tf.uint8, fixed_length=_HEADER), tf.int32)
    is_png = (tf.strings.substr(contents, 0, 8) == _SIGNATURE) & tf.reduce_all(
        head[12:16] == tf.constant([*b"IHDR"])
    )
    colours = (head[_COLOURS] != _GREY) & (head[_COLOURS] != _PALETTE)
    place = listed(name)
    one = "a mask has one number for each pixel, a grey value or a palette's index, of 8 bits"
    checks = [
        fail_if(~is_png, [place, " is no PNG file, which masks are", _CHECKS]),
        fail_if(is_png & colours, [place, f" is a picture of colours: {one}", _CHECKS]),
        fail_if(is_png & (head[_DEPTH] > 8), [place, f" has 16 bits for a pixel: {one}", _CHECKS]),
    ]
    with tf.control_dependencies(checks):
        contents = tf.identity(contents)
    good, pixels = decode.attempt(
        lambda whole: _decode_grey(whole, head), (contents[None],), tf.TensorSpec([0, 0], tf.uint8)
    )
    broken = fail_if(tf.size(good) == 0, ["cannot decode the mask ", place, _CHECKS])
    with tf.control_dependencies([broken]):
        return tf.identity(pixels)[0]


def _decode_grey(contents, head):
    """The numbers of a PNG with this header, of grey values or indices."""
    sides = tf.io.decode_raw(tf.strings.substr(contents, 16, 8), tf.int32, little_endian=False)
    contents = decode.bounded(contents, sides)
    is_palette = head[_COLOURS] == _PALETTE
    changed = tf.bitwise.bitwise_xor(head, tf.where(is_palette, tf.constant(_CHANGE), 0))
    grey = tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), changed))
    # What stands between, such as the palette, would be complained of.
    (begin,) = tf.while_loop(
        lambda place: tf.strings.substr(contents, place + 4, 4) != b"IDAT",
        lambda place: [place + 12 + _length(contents, place)],
        [tf.constant(_HEADER, tf.int64)],
    )
    length = tf.cast(tf.strings.length(contents), tf.int64)
    rest = tf.strings.substr(contents, begin, length)
    pixels = tf.io.decode_png(tf.strings.join([grey, rest]), channels=1)[..., 0]
    # The decoder stretches 1, 2 and 4 bits to 8.
    most = tf.bitwise.left_shift(1, tf.minimum(head[_DEPTH], 8)) - 1
    return pixels // tf.cast(255 // most, tf.uint8)


def _length(contents, place):
    """Of the data of the chunk at a place; not negative, so that the search comes to an end."""
    length = tf.io.decode_raw(tf.strings.substr(contents, place, 4), tf.int32, little_endian=False)
    return tf.cast(tf.maximum(length[0], 0), tf.int64)


def palette() -> np.ndarray:
    """Pascal VOC's colours of labels, uint8 (256, 3): black, maroon, green, ...; 255 is cream."""
    bits = np.arange(256)[:, None] >> np.arange(9) & 1  # the lowest first
    # Bits 0, 3 and 6 are red's highest, 1, 4 and 7 green's, 2, 5 and 8 blue's.
    return (bits.reshape([256, 3, 3]) * [[128], [64], [32]]).sum(axis=1).astype(np.uint8)


def encode(mask: Any, colours: np.ndarray | None = None) -> bytes:
    """Encodes a mask as a PNG of palette indices.

    Args:
        mask: uint8 (height, width).
        colours: uint8 (256, 3); those of `palette` without.

    Returns:
        The file's content.
    """
    mask = np.asarray(mask, np.uint8)
    height, width = mask.shape
    colours = palette() if colours is None else np.asarray(colours, np.uint8)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, _PALETTE, 0, 0, 0])
    rows = np.pad(mask, [(0, 0), (1, 0)])  # a row begins with the number of its filter, 0 for none
    chunks = {b"IHDR": header, b"PLTE": colours.tobytes(), b"IDAT": zlib.compress(rows.tobytes())}
    return _SIGNATURE + b"".join(_chunk(*item) for item in [*chunks.items(), (b"IEND", b"")])


def _chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def ground(class_names: Sequence[str]) -> int:
    """The class that overlays leave as it is: "background", or the first."""
    return list(class_names).index("background") if "background" in class_names else 0


def overlay(image: Any, mask: Any, *, share: float = 0.6, ground: int = 0) -> np.ndarray:
    """Lays a mask's colours over an image, which the ground leaves as it is.

    Args:
        image: uint8 (height, width, 3).
        mask: uint8 (height, width).
        share: of the mask's colours, in [0, 1].
        ground: the class of the ground.

    Returns:
        uint8 (height, width, 3).
    """
    image, mask = np.asarray(image), np.asarray(mask)
    mixed = (1 - share) * image + share * palette()[mask]
    return np.where(mask[..., None] == ground, image, np.round(mixed).astype(np.uint8))
