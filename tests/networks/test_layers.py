"""BatchNormalization against Keras's layer; pixels; the zero-padded shortcut; random drops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.networks.layers import (
    BatchNormalization,
    Dropout,
    PixelNormalization,
    StochasticDepth,
    ZeroPaddedShortcut,
)


def pair(dtype="float32", **kwargs):
    """Our layer and Keras's, with equal and uneven parameters."""
    layers = [
        kind(momentum=0.9, epsilon=1e-5, dtype=dtype, **kwargs)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    generator = np.random.default_rng(1)
    for layer in layers:
        layer.build((None, 5, 6, 16))
    values = [generator.uniform(0.5, 1.5, v.shape) for v in layers[0].variables]
    for layer in layers:
        layer.set_weights(values)
    return layers


def images(dtype="float32", seed=0, batch=8):
    generator = np.random.default_rng(seed)
    return tf.cast(generator.normal(3.0, 2.0, (batch, 5, 6, 16)), dtype)


def outputs_and_gradients(layer, x, *, training, like=None):
    weights = [v.value for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        coefficients = tf.cast(np.random.default_rng(5).normal(size=y.shape), y.dtype)
        loss = tf.reduce_sum(tf.cast(y * coefficients, "float32"))
    return y, tape.gradient(loss, [x, *weights])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kwargs", [{}, {"scale": False}, {"center": False}])
def test_equals_keras(dtype, training, kwargs):
    ours, theirs = pair(dtype, **kwargs)
    x = images("float32" if dtype == "float32" else "bfloat16")
    y, gradients = outputs_and_gradients(ours, x, training=training)
    expected, expected_gradients = outputs_and_gradients(theirs, x, training=training)
    assert y.dtype == expected.dtype
    # bfloat16 has 8 bits; Keras computes in float32 between the roundings, the kernel too.
    tolerance = 2e-5 if dtype == "float32" else 2e-2
    for one, other in zip([y, *gradients], [expected, *expected_gradients], strict=True):
        one, other = np.asarray(one, "float32"), np.asarray(other, "float32")
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * abs(other).max())
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_uses_the_fused_kernel():
    layer = BatchNormalization()
    layer.build((None, 5, 6, 16))
    for training in (True, False):
        traced = tf.function(lambda x, t=training: layer(x, training=t))
        graph = traced.get_concrete_function(images()).graph
        assert "FusedBatchNormV3" in {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("shape", [(4, 3, 2, 1), (4, 7), (2, 9, 3), (1, 1, 1, 2)])
def test_other_shapes_equal_keras(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours = BatchNormalization(momentum=0.9, epsilon=1e-5)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-5)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_defaults_variables_and_config_are_kerass():
    ours, theirs = BatchNormalization(name="bn"), keras.layers.BatchNormalization(name="bn")
    assert (ours.momentum, ours.epsilon) == (0.9, 1e-5)
    differing = {key for key, v in theirs.get_config().items() if ours.get_config()[key] != v}
    assert differing == {"momentum", "epsilon"}
    assert ours.get_config().keys() == theirs.get_config().keys()
    ours.build((None, 4, 4, 3))
    theirs.build((None, 4, 4, 3))
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    theirs.set_weights([w + 1 for w in ours.get_weights()])
    ours.set_weights(theirs.get_weights())


def test_not_trainable_means_frozen():
    layer = BatchNormalization()
    model = keras.Sequential([keras.Input((5, 6, 16)), layer, keras.layers.Flatten()])
    layer.trainable = False
    before = layer.get_weights()
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    inference = layer(images(), training=False)
    np.testing.assert_array_equal(layer(images(), training=True), inference)
    model.fit(images(), np.ones(8), epochs=2, verbose=0)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def run_on_two(strategy, layer, x):
    """Gives each replica one half of `x`; returns their outputs side by side."""
    halves = tf.split(x, 2)
    values = strategy.experimental_distribute_values_from_function(
        lambda context: halves[context.replica_id_in_sync_group]
    )

    @tf.function
    def step(batch):
        return strategy.run(lambda part: layer(part, training=True), args=(batch,))

    return tf.concat(strategy.experimental_local_results(step(values)), 0)


def replica_values(strategy, variable):
    return [v.numpy() for v in strategy.experimental_local_results(variable.value)]


def test_moving_statistics_agree_on_all_replicas(mirrored):
    x = images(batch=8)
    with mirrored.scope():
        layer = BatchNormalization()
        layer.build(x.shape)
    run_on_two(mirrored, layer, x)
    halves = [np.asarray(half) for half in tf.split(x, 2)]
    mean = np.mean([half.mean((0, 1, 2)) for half in halves], axis=0)
    variance = np.mean([half.var((0, 1, 2)) for half in halves], axis=0)
    for variable, start, batch in (
        (layer.moving_mean, 0.0, mean),
        (layer.moving_variance, 1.0, variance),
    ):
        first, second = replica_values(mirrored, variable)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, 0.9 * start + 0.1 * batch, rtol=1e-5)


def test_synchronized_normalizes_the_global_batch(mirrored):
    x = images(batch=8)
    with mirrored.scope():
        layer = BatchNormalization(synchronized=True)
        layer.build(x.shape)
    together = run_on_two(mirrored, layer, x)
    alone = BatchNormalization()
    np.testing.assert_allclose(together, alone(x, training=True), atol=1e-4)
    for variable, expected in zip(layer.variables, alone.variables, strict=True):
        for value in replica_values(mirrored, variable):
            np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_unsynchronized_normalizes_each_share(mirrored):
    x = images(batch=8)
    with mirrored.scope():
        layer = BatchNormalization()
        layer.build(x.shape)
    expected = [BatchNormalization()(half, training=True) for half in tf.split(x, 2)]
    np.testing.assert_allclose(run_on_two(mirrored, layer, x), tf.concat(expected, 0), atol=1e-4)


def test_pixel_normalization_per_channel_and_per_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), "uint8")
    for mean in (np.array([1.0, 2.0, 3.0]), np.arange(60.0).reshape(4, 5, 3)):
        layer = PixelNormalization(mean, (2.0, 4.0, 8.0))
        expected = (pixels - mean) / np.array([2.0, 4.0, 8.0])
        np.testing.assert_allclose(layer(pixels), expected, rtol=1e-6)
        assert [v.path.split("/")[-1] for v in layer.non_trainable_variables] == ["mean", "std"]
        copy = PixelNormalization.from_config(layer.get_config())
        np.testing.assert_array_equal(copy(pixels), layer(pixels))


def test_zero_padded_shortcut_keeps_every_second_pixel_and_adds_zeros():
    x = np.random.default_rng(0).normal(size=(2, 5, 8, 3)).astype("float32")
    y = ZeroPaddedShortcut(7, 2)(x)
    assert y.shape == (2, 3, 4, 7)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    assert not np.any(y[..., 3:])
    symbolic = ZeroPaddedShortcut(7, 2)(keras.Input((5, None, 3)))
    assert symbolic.shape == (None, 3, None, 7)


@pytest.mark.parametrize("kind", [Dropout, StochasticDepth])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_drops_preserve_the_expectation_and_inference_is_the_identity(kind, dtype):
    layer = kind(0.25, seed=3, dtype=dtype)
    x = tf.cast(images(batch=4000)[:, :2, :2, :2], layer.compute_dtype)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    y = layer(x, training=True)
    assert y.dtype == layer.compute_dtype
    kept = np.asarray(y, "float32") != 0
    # A binomial's standard deviation over 4,000 examples is 0.007.
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    expected = np.where(kept, np.asarray(x, "float32") / 0.75, 0)
    np.testing.assert_allclose(np.asarray(y, "float32"), expected, rtol=2**-7)
    whole = (kept == kept[:, :1, :1, :1]).all()
    assert whole == (kind is StochasticDepth)


@pytest.mark.parametrize("kind", [Dropout, StochasticDepth])
def test_a_rate_of_0_is_the_identity_and_keeps_no_state(kind):
    layer = kind(0.0)
    np.testing.assert_array_equal(layer(images(), training=True), images())
    assert not layer.variables


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_rates_outside_0_and_1_are_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        StochasticDepth(rate)


@pytest.mark.parametrize("kind", [Dropout, StochasticDepth])
def test_draws_depend_on_seed_and_number_of_calls_only(kind):
    x = tf.ones((64, 3))
    first, same, other = kind(0.5, seed=1), kind(0.5, seed=1), kind(0.5, seed=2)
    drawn = [first(x, training=True).numpy() for _ in range(3)]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], other(x, training=True))
    np.testing.assert_array_equal(drawn[0], same(x, training=True))
    same(x, training=False)  # does not count
    np.testing.assert_array_equal(drawn[1], same(x, training=True))
    copy = kind.from_config(first.get_config())
    copy.seed_generator.state.assign(same.seed_generator.state)  # as a checkpoint restores it
    np.testing.assert_array_equal(drawn[2], copy(x, training=True))
    keras.utils.set_random_seed(5)
    unseeded = kind(0.5)(x, training=True)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(unseeded, kind(0.5)(x, training=True))


@pytest.mark.parametrize("kind", [Dropout, StochasticDepth])
def test_two_replicas_draw_as_one(mirrored, kind):
    x = images(batch=16)
    alone = kind(0.5, seed=9, name="drop")
    expected = [alone(x, training=True).numpy() for _ in range(3)]
    with mirrored.scope():
        layer = kind(0.5, seed=9, name="drop")
    for step in range(3):
        np.testing.assert_array_equal(run_on_two(mirrored, layer, x), expected[step])
    (state,) = layer.variables
    assert not layer.weights
    assert state.path == alone.variables[0].path
    # Once per step on every replica, and read and assigned across replicas as any variable.
    for value in [*replica_values(mirrored, state), state.numpy()]:
        np.testing.assert_array_equal(value, [9, 3])
    state.assign([9, 1])
    for value in replica_values(mirrored, state):
        np.testing.assert_array_equal(value, [9, 1])
    np.testing.assert_array_equal(run_on_two(mirrored, layer, x), expected[1])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
