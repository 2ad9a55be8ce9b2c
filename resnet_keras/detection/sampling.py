"""The examples of each image that are trained on, drawn without state. TensorFlow, XLA too."""

import tensorflow as tf


def balanced(state, count, positive_share, key):
    """Draws `count` candidates of each image, at most a share of them positive.

    Where there are fewer positives, background fills up; where there is less background, the
    sample is smaller and the last weights are 0. All have static shapes.

    Args:
        state: int (B, N), 1 positive, 0 background, -1 neither, as `matching.match` gives it.
        count: size of the sample; the RPN's is 256, the head's 128 / 2 images.
        positive_share: the largest share of positives, .5 and .25.
        key: int32 (B, 2), one for each image. The same key and states give the same sample, in any
            batch, compiled or not.

    Returns:
        index int32 (B, count), positives first, and weight float32 (B, count): 1 for what was
        drawn, 0 for the rest, whose index is 0.
    """
    state = tf.convert_to_tensor(state)
    slots = tf.range(count)
    # With fewer than `count` candidates there are still that many ranks.
    state = tf.pad(state, [[0, 0], [0, count]], constant_values=-1)
    priority = _priorities(key, state.shape[1] or tf.shape(state)[1])
    limit = int(count * positive_share)
    positives, drawn = _first(state == 1, priority, max(limit, 1))
    negatives, background = _first(state == 0, priority, count)
    drawn = tf.minimum(drawn, limit)[:, None]
    background = background[:, None]
    is_positive = slots < drawn
    # What is past the ends of both lists has no weight, so any index will do.
    positive = tf.gather(positives, tf.minimum(slots, max(limit, 1) - 1), axis=1)
    negative = tf.gather(negatives, tf.maximum(slots - drawn, 0), axis=1, batch_dims=1)
    weight = slots < drawn + background
    index = tf.where(weight, tf.where(is_positive, positive, negative), 0)
    return index, tf.cast(weight, tf.float32)


def _priorities(key, count):
    """Random int32 (B, count) in [0, 2**30). Philox by name: the default differs by device."""

    def draw(image_key):
        return tf.random.stateless_uniform(
            [count], image_key, minval=0, maxval=2**30, dtype=tf.int32, alg="philox"
        )

    length = count if isinstance(count, int) else None
    return tf.map_fn(
        draw, tf.cast(key, tf.int32), fn_output_signature=tf.TensorSpec([length], tf.int32)
    )


def _first(mask, priority, count):
    """Where the `count` largest priorities among `mask` are, and how many there are (B,)."""
    values, index = tf.math.top_k(tf.where(mask, priority, -1), count)
    return index, tf.reduce_sum(tf.cast(values >= 0, tf.int32), axis=1)
