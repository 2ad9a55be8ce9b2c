"""What a data set of encoded images is to the pipelines, wherever it is stored."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from .stream import Chunks


class Source(NamedTuple):
    """Encoded images with labels.

    Attributes:
        num_examples: how many there are.
        class_names: in the order of the labels.
        training: (seed, chunks) to an endless data set of (chunk number int64 (), keys string
            (CHUNK,), labels int32 (CHUNK,), names string (CHUNK,)), in an order that depends on
            the seed only.
        ordered: () to a data set of (key, label, name), each example once.
        read: maps a key to the encoded bytes, string ().
        exif_orientation: whether images are turned as a JPEG's EXIF says, see `exif`.
    """

    num_examples: int
    class_names: tuple[str, ...]
    training: Callable[[int, Chunks], tf.data.Dataset]
    ordered: Callable[[], tf.data.Dataset]
    read: Callable[[tf.Tensor], tf.Tensor]
    exif_orientation: bool = False
