"""The loss over pixels: its mean, what is ignored, and replicas that share a batch unequally."""

import contextlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.segmentation.losses import IGNORED, PixelCrossEntropy


def batch(classes=3):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (4, 5, 6)).astype(np.uint8)
    labels[0] = IGNORED
    labels[1, :3] = IGNORED
    return labels, rng.normal(size=(4, 5, 6, classes)).astype(np.float32)


def test_the_mean_is_over_pixels_that_are_not_ignored():
    labels, logits = batch()
    counted = labels != IGNORED
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    wanted = -np.log(np.take_along_axis(shares[counted], labels[counted][:, None], 1)).mean()
    assert float(PixelCrossEntropy()(labels, logits)) == pytest.approx(wanted, rel=1e-5)
    halves = PixelCrossEntropy()(labels, tf.cast(logits, tf.bfloat16))
    assert halves.dtype == tf.float32


def test_a_batch_of_ignored_pixels_teaches_nothing():
    logits = tf.Variable(batch()[1])
    with tf.GradientTape() as tape:
        loss = PixelCrossEntropy()(np.full([4, 5, 6], IGNORED), logits)
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros(logits.shape))


def test_ignored_pixels_have_no_gradient():
    labels, logits = batch()
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = PixelCrossEntropy()(labels, logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert not gradient[labels == IGNORED].any()
    assert gradient[labels != IGNORED].any(axis=-1).all()


def trained(scope):
    with scope:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((5, 6, 3)), keras.layers.Conv2D(3, 3, padding="same")]
        )
        model.compile(keras.optimizers.SGD(0.5), loss=PixelCrossEntropy())
    labels, images = batch()
    data = tf.data.Dataset.from_tensors((images, labels)).repeat(3)
    data = data.unbatch().batch(4, drop_remainder=True)
    losses = model.fit(data, epochs=2, shuffle=False, verbose=0).history["loss"]
    return model.get_weights(), losses


def test_replicas_that_have_unequal_shares_of_the_pixels_learn_as_one_does(mirrored):
    alone, losses = trained(contextlib.nullcontext())
    together, others = trained(mirrored.scope())
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
