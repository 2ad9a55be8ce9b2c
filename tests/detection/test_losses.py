"""Losses of each image by hand, and that what has no weight cannot hurt."""

import math

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import losses


@pytest.mark.parametrize("beta", [1 / 9, 1.0, 2.0])
def test_smooth_l1(beta):
    x = np.array([-3, -beta, -beta / 2, 0, beta / 3, 5], "float32")
    small = np.abs(x) < beta
    expected = np.where(small, 0.5 * x**2 / beta, np.abs(x) - 0.5 * beta)
    np.testing.assert_allclose(losses.smooth_l1(x, beta), expected, rtol=1e-5)


def test_smooth_l1_without_a_parabola():
    np.testing.assert_array_equal(losses.smooth_l1(np.array([-2.0, 0, 0.5]), 0), [2, 0, 0.5])


LOGITS = np.array([[2.0, -1, 0.5, 3], [0, 0, 0, 0]], "float32")
POSITIVE = np.array([[1, 0, 0, 1], [0, 0, 0, 0]])
WEIGHTS = np.array([[1.0, 1, 1, 0], [0, 0, 0, 0]], "float32")
DELTAS = np.arange(32, dtype="float32").reshape(2, 4, 4) / 10
TARGETS = DELTAS + np.array([0.05, -0.05, 1, -2], "float32")
# Of the one positive example: two in the parabola and two on the slopes.
BOX = {beta: 2 * 0.5 * 0.05**2 / beta + 1 + 2 - beta for beta in (1 / 9, 1.0)}


def test_rpn_by_hand():
    classification, box = losses.rpn(LOGITS, DELTAS, POSITIVE, TARGETS, WEIGHTS)
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(0.5))
    np.testing.assert_allclose(classification, [expected / 3, 0], rtol=1e-5)
    np.testing.assert_allclose(box, [BOX[1 / 9] / 3, 0], rtol=1e-5)


def head_inputs():
    """Two classes and the background: an object of class 1, two of background, one unsampled."""
    logits = np.zeros((2, 4, 3), "float32")
    logits[0, :, 0] = [1, 2, 3, 4]
    return logits, np.array([[1, 2, 2, -1], [-1, -1, -1, -1]])


@pytest.mark.parametrize("own", [False, True])
def test_head_by_hand(own):
    logits, labels = head_inputs()
    deltas = DELTAS
    if own:
        deltas = np.stack([np.full_like(DELTAS, 50), DELTAS], axis=2)
    classification, box = losses.head(logits, deltas, labels, TARGETS, WEIGHTS)
    expected = sum(math.log(math.exp(x) + 2) for x in (1, 2, 3)) / 3
    np.testing.assert_allclose(classification, [expected, 0], rtol=1e-5)
    np.testing.assert_allclose(box, [BOX[1.0] / 3, 0], rtol=1e-5)


def both(logits, deltas, targets, weights):
    """Losses of both kinds, summed over images, from the same inputs."""
    head_logits = tf.stack([logits, -logits, 0 * logits], axis=-1)
    _, labels = head_inputs()
    own = tf.stack([deltas, deltas], axis=2)
    parts = losses.rpn(logits, deltas, POSITIVE, targets, weights)
    parts += losses.head(head_logits, own, labels, targets, weights)
    return tf.stack(parts)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e38])
def test_what_has_no_weight_adds_nothing(garbage):
    unsampled = WEIGHTS == 0
    plain, dirty = (
        [tf.constant(LOGITS), tf.constant(DELTAS), tf.constant(TARGETS)] for _ in range(2)
    )
    # In targets also where there is background, as its nearest object may be padding.
    masks = unsampled, unsampled[..., None], (unsampled | (POSITIVE == 0))[..., None]
    dirty = [tf.where(mask, garbage, x) for mask, x in zip(masks, dirty, strict=True)]
    results = []
    for inputs in (plain, dirty):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            parts = both(*inputs, WEIGHTS)
        results.append((parts, *tape.gradient(parts, inputs)))
    for clean, soiled in zip(*results, strict=True):
        assert np.isfinite(soiled).all()
        np.testing.assert_array_equal(clean, soiled)


def test_nan_that_has_a_weight_is_seen():
    logits = LOGITS.copy()
    logits[0, 0] = np.nan
    parts = both(tf.constant(logits), DELTAS, TARGETS, WEIGHTS).numpy()
    assert np.isnan(parts[[0, 2], 0]).all()
    assert np.isfinite(parts[:, 1]).all()


def test_padding_and_order_change_nothing():
    def padded(x):
        return np.concatenate([x, np.zeros_like(x)], axis=1)[:, ::-1]

    inputs = LOGITS, DELTAS, POSITIVE, TARGETS, WEIGHTS
    for got, expected in zip(losses.rpn(*map(padded, inputs)), losses.rpn(*inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_half_precision_is_computed_in_float32():
    """Logits of 200 and a loss of 60,000 are sums that float16 cannot hold."""
    logits = np.full((1, 400), 200, "float16")
    deltas = np.full((1, 400, 4), 60000, "float16")
    zeros, ones = np.zeros((1, 400)), np.ones((1, 400), "float16")
    for positive, expected in [(zeros, 200), (ones, 0)]:
        classification, box = losses.rpn(logits, deltas, positive, 0 * deltas, ones)
        assert classification.dtype == box.dtype == "float32"
        np.testing.assert_allclose(classification, [expected], rtol=1e-5)
        np.testing.assert_allclose(box, [240000 * (positive is ones)], rtol=1e-4)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
