"""RoIs that are looked at some after the others: what is pooled for all needs much memory."""

from collections.abc import Callable, Sequence

import tensorflow as tf

SLICE = 64  # RoIs of an image that are looked at together in inference: memory, Sec. 4


def mapped(
    answer: Callable[..., tf.Tensor],
    columns: Sequence[tf.Tensor],
    shape: Sequence[int],
    dtype: tf.DType | str,
) -> tf.Tensor:
    """`answer(*columns)`, for `SLICE` rows at once.

    Args:
        answer: of columns (batch, n, ...) something (batch, n, *shape).
        columns: of RoIs, (batch, R, ...).
        shape: of what is answered for one RoI.
        dtype: of it.

    Returns:
        What is answered for all, (batch, R, *shape).
    """
    count = columns[0].shape[1]
    if count is not None and count <= SLICE:
        return answer(*columns)
    batch, count = tf.shape(columns[0])[0], tf.shape(columns[0])[1]
    slices = -(-count // SLICE)
    answers = tf.map_fn(
        lambda parts: answer(*parts),
        tuple(_cut(column, slices) for column in columns),
        fn_output_signature=tf.TensorSpec([None, SLICE, *shape], dtype),
        parallel_iterations=1,
    )
    answers = tf.transpose(answers, [1, 0, 2, *range(3, 3 + len(shape))])
    return tf.reshape(answers, [batch, slices * SLICE, *shape])[:, :count]


def _cut(column, slices):
    """(slices, batch, SLICE, ...) of (batch, R, ...)."""
    batch, count = tf.shape(column)[0], tf.shape(column)[1]
    rest = column.shape[2:]
    column = tf.pad(column, [[0, 0], [0, slices * SLICE - count], *([[0, 0]] * len(rest))])
    parts = tf.reshape(column, [batch, slices, SLICE, *rest])
    parts = tf.transpose(parts, [1, 0, 2, *range(3, 3 + len(rest))])
    return tf.ensure_shape(parts, [None, None, SLICE, *rest])
