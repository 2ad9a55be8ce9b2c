"""Pure image functions on batches: every random draw comes from a key that is handed in."""

import math

import tensorflow as tf


def pad(images: tf.Tensor, padding: int, colour) -> tf.Tensor:
    """Frames uint8 images (batch, height, width, 3) with `padding` pixels of one colour."""
    fill = tf.constant(colour, images.dtype)
    # tf.pad fills with one number only: shift the colour to zero and back, modulo 256.
    return tf.pad(images - fill, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]) + fill


def random_crop(images: tf.Tensor, size: int, key: tf.Tensor, *, flip: bool = False) -> tf.Tensor:
    """Cuts a window of its own out of each image, mirrored in half the cases if `flip`.

    Args:
        images: (batch, height, width, channels), any dtype.
        size: side of the window.
        key: int64 (2,), see `stream.draw_seed`.
        flip: mirror left and right at random (Sec. 3.4, 4.2).

    Returns:
        (batch, size, size, channels) of the same dtype.
    """
    batch, height, width, _ = images.shape
    top_key, left_key, flip_key = tf.unstack(tf.random.experimental.stateless_split(key, 3))
    top = _uniform(batch, top_key, height - size + 1)
    left = _uniform(batch, left_key, width - size + 1)
    rows = top[:, None] + tf.range(size)
    columns = left[:, None] + tf.range(size)
    if flip:
        mirrored = _uniform(batch, flip_key, 2)[:, None] == 1
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def random_affine(
    images: tf.Tensor, key: tf.Tensor, *, degrees: float, scale: float, shift: float
) -> tf.Tensor:
    """Turns, scales and shifts each image about its centre by bilinear interpolation.

    Args:
        images: uint8 or float (batch, height, width, channels).
        key: int64 (2,), see `stream.draw_seed`.
        degrees: largest rotation to either side.
        scale: 0.1 draws the magnification from [1/1.1, 1.1], uniformly in its logarithm.
        shift: largest shift along each axis, in pixels.

    Returns:
        The same shape and dtype; what comes in from outside is 0.
    """
    batch, height, width, _ = images.shape
    draws = tf.random.stateless_uniform([4, batch], key, -1.0, 1.0)
    turn, stretch, right, down = tf.unstack(draws)
    angle = turn * (degrees * math.pi / 180.0)
    zoom = tf.exp(-stretch * math.log1p(scale))  # the transform leads from output to input
    cos, sin = zoom * tf.cos(angle), zoom * tf.sin(angle)
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    zero = tf.zeros_like(cos)
    across = [cos, -sin, x - cos * x + sin * y + shift * right]
    along = [sin, cos, y - sin * x - cos * y + shift * down]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([*across, *along, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
    )


def _uniform(count, key, limit):
    return tf.random.stateless_uniform([count], key, 0, limit, tf.int32)
