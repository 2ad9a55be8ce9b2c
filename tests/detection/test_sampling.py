"""Counts, shares and chances of samples, and that a key alone decides."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import sampling


def states(positives, negatives, ignored=3):
    """Shuffled states of one image."""
    state = np.repeat([1, 0, -1], [positives, negatives, ignored])
    return np.random.default_rng(0).permutation(state)


def keys(count):
    return np.stack([np.arange(count), np.arange(count) + 100], axis=1).astype("int32")


@pytest.mark.parametrize(
    ("positives", "negatives", "drawn_positives", "drawn_negatives"),
    [
        (50, 100, 4, 12),  # enough of both
        (2, 100, 2, 14),  # background fills up
        (0, 100, 0, 16),
        (50, 5, 4, 5),  # positives do not
        (1, 2, 1, 2),
        (0, 0, 0, 0),
    ],
)
def test_counts_and_shares(positives, negatives, drawn_positives, drawn_negatives):
    state = states(positives, negatives)
    index, weight = (x.numpy() for x in sampling.balanced(state[None], 16, 0.25, keys(1)))
    assert index.shape == weight.shape == (1, 16)
    assert index.dtype == "int32"
    assert weight.dtype == "float32"
    drawn = index[weight > 0]
    assert len(set(drawn)) == len(drawn)
    # Positives come first, what is drawn before what is not.
    expected = [1] * drawn_positives + [0] * drawn_negatives
    assert state[drawn].tolist() == expected
    assert weight[0].tolist() == [1] * len(expected) + [0] * (16 - len(expected))
    assert not index[weight == 0].any()


def test_a_share_of_zero_and_of_one():
    state = states(20, 20)[None]
    for share, expected in [(0.0, 0), (1.0, 1)]:
        index, weight = sampling.balanced(state, 8, share, keys(1))
        assert (state[0][np.ravel(index)] == expected).all()
        assert np.all(weight == 1)


def test_the_key_alone_decides():
    state = np.tile(states(50, 100), (4, 1))
    index, _ = sampling.balanced(state, 16, 0.5, keys(4))
    assert len({tuple(row) for row in index.numpy()}) == 4
    alone, _ = sampling.balanced(state[2:3], 16, 0.5, keys(4)[2:3])
    np.testing.assert_array_equal(alone[0], index[2])
    compiled = tf.function(sampling.balanced, jit_compile=True)
    again, _ = compiled(tf.constant(state), 16, 0.5, keys(4))
    np.testing.assert_array_equal(again, index)


def test_unknown_shapes_in_a_graph():
    spec = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, 2], tf.int32)
    graph = tf.function(lambda state, key: sampling.balanced(state, 16, 0.5, key), spec)
    state = np.tile(states(50, 100), (2, 1)).astype("int32")
    index, _ = graph(state, keys(2))
    np.testing.assert_array_equal(index, sampling.balanced(state, 16, 0.5, keys(2))[0])


def test_each_candidate_has_the_same_chance():
    """Of 4000 keys, each of 6 pairs among 4 positives: 667 expected, with a deviation of 24."""
    state = np.tile([1, 0, 1, 1, -1, 1], (4000, 1))
    index, _ = tf.function(sampling.balanced)(state, 2, 1.0, keys(4000))
    pairs, counts = np.unique(np.sort(index, axis=1), axis=0, return_counts=True)
    assert pairs.tolist() == [[0, 2], [0, 3], [0, 5], [2, 3], [2, 5], [3, 5]]
    assert np.abs(counts - 4000 / 6).max() < 100


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
