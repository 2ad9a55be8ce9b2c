"""Images of many sizes in few padded ones: which goes into which batch, and how large that is.

A window of the stream is sorted by the shape of its images and cut into batches, which then are
mixed. So every image comes once, and nearly all batches hold images of one shape; at the borders
between two shapes, a batch gets the smallest bucket that holds both.
"""

from collections.abc import Sequence

import tensorflow as tf

from resnet_keras.errors import InputError

MULTIPLE = 32  # of both sides of a bucket: what a network to conv5 divides by
_BATCHES = 64  # in a window, at most

Scale = tuple[int, int]


def check_scales(scales: Sequence[Scale]) -> None:
    """Raises `InputError` where a scale is not (shorter side, most of the longer side)."""
    if not scales or not all(len(s) == 2 and 1 <= s[0] <= s[1] for s in scales):
        raise InputError(
            "A scale is (length of the shorter side, most of the longer side), such as "
            f"(600, 1000); scales={scales!r} are not."
        )


def buckets(scales: Sequence[Scale]) -> list[tuple[int, int]]:
    """Heights and widths of the padded images, the smallest areas first.

    For each scale these are a square, 4:3 (which most photographs have) and the longest, lying and
    standing, and the square that holds all of them.
    """
    sides = set()
    for shorter, longest in scales:
        middle = min(round(shorter * 4 / 3), longest)
        low, middle, high = (-(-side // MULTIPLE) * MULTIPLE for side in (shorter, middle, longest))
        sides |= {(low, low), (low, middle), (low, high), (middle, low), (high, low), (high, high)}
    return sorted(sides, key=lambda side: (side[0] * side[1], side))


def window_size(batch_size: int, examples: int) -> int:
    """How many positions of the stream are dealt together: whole batches.

    They are no more than an epoch, if that has a batch: or one would hold an image several times.
    """
    return batch_size * min(_BATCHES, max(1, examples // batch_size))


def resized(sizes: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
    """The size of each image on its scale, as the paper's reference [32] has it.

    The shorter side becomes scales[:, 0], or less where the longer one would exceed scales[:, 1].

    Args:
        sizes: int32 (n, 2), height and width.
        scales: int32 (n, 2).

    Returns:
        int32 (n, 2).
    """
    sizes = tf.cast(sizes, tf.float64)
    scales = tf.cast(scales, tf.float64)
    shorter, longer = tf.reduce_min(sizes, axis=1), tf.reduce_max(sizes, axis=1)
    times = tf.minimum(scales[:, 0] / shorter, scales[:, 1] / longer)
    return tf.cast(tf.maximum(tf.round(sizes * times[:, None]), 1.0), tf.int32)


def smallest(sizes: tf.Tensor, sides: Sequence[tuple[int, int]]) -> tf.Tensor:
    """The number of the first bucket, int32 (n,), that holds each of the sizes, int32 (n, 2)."""
    fits = tf.reduce_all(sizes[:, None] <= tf.constant(sides), axis=-1)
    return tf.argmax(fits, axis=1, output_type=tf.int32)


def dealt(
    sizes: tf.Tensor,
    batch_size: int,
    sides: Sequence[tuple[int, int]],
    key: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Deals the images of a window to batches.

    Args:
        sizes: int32 (n, 2) of the resized images.
        batch_size: images in a batch; the last batch of the window holds what is left.
        sides: of the buckets, see `buckets`.
        key: int64 (2,), by which whole batches are mixed; without it they come by their shapes,
            standing ones first.

    Returns:
        The images' numbers in their new order, int32 (n,), and height and width of the bucket of
        the batch where each stands, int32 (n, 2).
    """
    # Neighbours in this order need little more together than each alone.
    by_shape = sorted(range(len(sides)), key=lambda n: (-sides[n][0] / sides[n][1], sides[n]))
    rank = tf.argsort(tf.constant(by_shape))
    order = tf.argsort(tf.gather(rank, smallest(sizes, sides)), stable=True)
    count = tf.shape(sizes)[0]
    batches = tf.range(count) // batch_size
    largest = tf.math.segment_max(tf.gather(sizes, order), batches)
    sides_of_batch = tf.gather(tf.constant(sides), smallest(largest, sides))
    if key is not None:
        mixed = tf.argsort(tf.random.stateless_uniform([count // batch_size], key))
        order = tf.reshape(tf.gather(tf.reshape(order, [-1, batch_size]), mixed), [-1])
        sides_of_batch = tf.gather(sides_of_batch, mixed)
    return order, tf.gather(sides_of_batch, batches)
