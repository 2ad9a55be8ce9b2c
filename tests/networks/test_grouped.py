"""A grouped convolution computes what Keras's does; its gradient takes the groups one by one."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.networks import counts
from resnet_keras.networks.grouped import GroupedConvolution

OPTIONS = [
    {"padding": "same"},
    {"padding": "valid", "strides": 2},
    {"padding": "same", "dilation_rate": 2, "use_bias": False},
    {"padding": "same", "activation": "relu"},
]


def pair(**options):
    """Keras's layer and this package's, with the same weights."""
    shape = (None, 9, 8, 8)
    theirs = keras.layers.Conv2D(12, 3, groups=4, bias_initializer="normal", **options)
    ours = GroupedConvolution.from_config(theirs.get_config())
    theirs.build(shape)
    ours.build(shape)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def results(layer, x, jit_compile=False):
    """Output, and gradients by the input and the weights, in training."""

    @tf.function(jit_compile=jit_compile)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.cast(y, "float32") ** 2)
        return [y, *tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])]

    return [np.asarray(tf.cast(value, "float32")) for value in step(x)]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_output_and_gradients_are_keras(options, jit_compile):
    theirs, ours = pair(**options)
    x = tf.random.stateless_normal((2, 9, 8, 8), [0, 1])
    for value, expected in zip(results(ours, x, jit_compile), results(theirs, x), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_each_group():
    _, ours = pair(padding="same", use_bias=False)

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            y = ours(x)
        return tape.gradient(y, ours.kernel.value)

    graph = gradient.get_concrete_function(tf.TensorSpec((1, 9, 8, 8))).graph
    shapes = [
        operation.outputs[0].shape
        for operation in graph.get_operations()
        if operation.type == "Conv2DBackpropFilter"
    ]
    assert len(shapes) == 4
    assert all(tuple(shape) in ((3, 3, 2, 3), (None,) * 4) for shape in shapes)


def test_half_precision():
    layer = GroupedConvolution(8, 3, groups=2, padding="same", dtype="mixed_bfloat16")
    values = results(layer, tf.ones((1, 4, 4, 4), "bfloat16"))
    assert all(np.all(np.isfinite(value)) for value in values)
    assert layer(tf.ones((1, 4, 4, 4))).dtype == "bfloat16"


def test_it_is_saved_counted_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((9, 8, 8)), GroupedConvolution(12, 3, groups=4)])
    assert counts.count_multiply_adds(model) == 7 * 6 * 9 * 2 * 12
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 8)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_one_group_is_keras_own():
    layer = GroupedConvolution(4, 3)
    x = tf.ones((1, 5, 5, 2))
    np.testing.assert_array_equal(layer(x), keras.layers.Conv2D.call(layer, x))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
