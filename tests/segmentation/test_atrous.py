"""The convolution of wide dilation is Keras's, with its weights."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from resnet_keras.segmentation.atrous import atrous


def both(rate):
    """The layer and Keras's, with the same weights."""
    ours = atrous(5, rate, "ours")
    keras_own = layers.Conv2D(5, 3, padding="same", dilation_rate=rate, use_bias=False)
    for layer in (ours, keras_own):
        layer.build((None, None, None, 4))
    keras_own.set_weights(ours.get_weights())
    return ours, keras_own


def images(height, width):
    return np.random.default_rng(0).normal(size=(2, height, width, 4)).astype("float32")


@pytest.mark.parametrize("size", [(9, 14), (1, 6), (7, 1)])
@pytest.mark.parametrize("rate", [1, 2, 6, 9, 40])
def test_values_and_gradients_are_those_of_keras(rate, size):
    found = []
    for layer in both(rate):
        x = tf.Variable(images(*size))
        with tf.GradientTape() as tape:
            y = layer(x)
            loss = tf.reduce_sum(y**2)
        found.append([y, *tape.gradient(loss, [x, layer.kernel])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_sizes_may_be_known_in_the_graph_alone():
    ours, keras_own = both(4)
    pixels = keras.Input((None, None, 4))
    model = keras.Model(pixels, ours(pixels))
    for size in ((3, 9), (12, 5)):
        found = model.predict(images(*size), verbose=0)
        np.testing.assert_allclose(found, keras_own(images(*size)), atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 14, 4), (None, None, 4)])
def test_it_is_compiled_by_xla_and_saved(shape, tmp_path):
    ours, keras_own = both(6)
    pixels = keras.Input(shape)
    keras.Model(pixels, ours(pixels)).save(tmp_path / "layer.keras")
    model = keras.models.load_model(tmp_path / "layer.keras")
    compiled = tf.function(model, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(images(9, 14)), keras_own(images(9, 14)), atol=1e-5)


def test_precision_is_that_of_the_policy():
    layer = atrous(5, 3, "ours")
    layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    assert layer(images(6, 6)).dtype == tf.bfloat16


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
