"""The one-dimensional ResNet: counts, the literal network, saving, and what has no meaning."""

import re

import keras
import numpy as np
import pytest

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, rematerialize, surgery
from resnet_keras.networks.layers import SeriesNormalization

NAME = "resnet1d"
KINDS = {
    "_conv": keras.layers.Conv1D,
    "_bn": keras.layers.BatchNormalization,
    "logits": keras.layers.Dense,
}


def series(examples=3, length=96, channels=1):
    draws = np.random.default_rng(0).normal(100, 7, (examples, length, channels))
    return draws.astype("float32")


def literal(length, channels, classes, width, epsilon):
    """The classifier of dl-4-tsc, layer by layer, as its authors published it."""
    layers = keras.layers

    def norm(x):
        return layers.BatchNormalization(epsilon=epsilon)(x)

    def block(x, filters, project):
        y = layers.Conv1D(filters, 8, padding="same")(x)
        y = layers.Activation("relu")(norm(y))
        y = layers.Conv1D(filters, 5, padding="same")(y)
        y = layers.Activation("relu")(norm(y))
        y = norm(layers.Conv1D(filters, 3, padding="same")(y))
        shortcut = layers.Conv1D(filters, 1, padding="same")(x) if project else x
        return layers.Activation("relu")(layers.add([norm(shortcut), y]))

    inputs = keras.Input((length, channels))
    x = block(inputs, width, project=True)
    x = block(x, 2 * width, project=True)
    x = block(x, 2 * width, project=False)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


def in_order(model):
    """Its layers with weights, in the order in which `literal` makes them."""
    names = [
        f"conv{stage}_block1_{number}_{kind}"
        for stage in (1, 2, 3)
        for number in (1, 2, 3, 0)
        for kind in ("conv", "bn")
        if (stage, number, kind) != (3, 0, "conv")
    ]
    return [model.get_layer(name) for name in [*names, "logits"]]


def test_counts():
    info = zoo.info(NAME)
    assert (info.parameters, info.multiply_adds) == (504_258, 48_027_904)
    assert "96 steps" in str(info)
    longer = counts.count_multiply_adds(zoo.get(NAME, input_shape=(192, 1)))
    assert longer - 2 * 128 == 2 * (info.multiply_adds - 2 * 128)  # linear but for the head


@pytest.mark.parametrize(("length", "channels"), [(20, 1), (33, 3)])
def test_logits_are_the_literal_networks(length, channels):
    """With random weights and statistics; z-normalization is what its authors do beforehand."""
    options = {"num_classes": 5, "input_shape": (length, channels), "epsilon": 1e-3}
    model = zoo.get(NAME, width=8, **options)
    other = literal(length, channels, 5, 8, 1e-3)
    draws = np.random.default_rng(1)
    ours = [(kind, layer) for layer in in_order(model) for kind in KINDS if kind in layer.name]
    for kind, class_ in KINDS.items():
        made = [layer for layer in ours if layer[0] == kind]
        for (_, one), two in zip(made, as_made(other, class_), strict=True):
            values = [draws.uniform(-0.3, 0.3, weight.shape) for weight in one.weights]
            if kind == "_bn":
                values = [1 + value for value in values]
            one.set_weights(values)
            two.set_weights(values)
    x = series(4, length, channels)
    scaled = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    expected = np.asarray(other(scaled))
    assert np.abs(np.asarray(model(x)) - expected).max() <= 1e-6 * np.abs(expected).max()
    plain = zoo.get(NAME, width=8, z_normalization=False, **options)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(plain(scaled), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def as_made(model, class_):
    """Its layers of a class in the order in which Keras numbered them, not in the graph's."""
    own = [layer for layer in model.layers if type(layer) is class_]
    return sorted(own, key=lambda layer: int(re.sub(r"\D", "", layer.name.replace("1d", "")) or 0))


def test_series_are_normalized_by_themselves():
    layer = SeriesNormalization([50.0, 0.0], [2.0, 3.0])
    x = series(2, 12, 2)
    x[1, :, 0] = 100.1  # constant, and not exactly so once it is scaled
    y = np.asarray(layer(x))
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=1), [[1, 1], [0, 1]], atol=1e-5)
    np.testing.assert_allclose(layer(1000 * x + 5), y, atol=1e-3)


def test_levels_tell_without_z_normalization():
    x = series()
    for chosen, moves in ((True, False), (False, True)):
        model = zoo.get(NAME, width=2, z_normalization=chosen, mean=100.0, std=7.0)
        assert np.allclose(model(x), model(x + 3), atol=1e-3) != moves


def test_normalization_is_per_channel_or_per_step():
    model = zoo.get(NAME, width=2, input_shape=(7, 2), mean=[1, 2], std=np.ones((7, 2)))
    assert model.get_layer("normalization").std.shape == (7, 2)
    assert zoo.get(NAME, width=2, input_shape=(7, 2)).get_layer("normalization").mean.shape == (2,)
    for mean in ((1.0, 2.0, 3.0), np.ones((7, 2))):
        with pytest.raises(
            InputError, match=r"must be \(1,\) \(per channel\) or \(7, 1\) \(per step"
        ):
            zoo.get(NAME, input_shape=(7, 1), mean=mean)


def test_any_length_and_endpoints():
    model = zoo.get(NAME, width=2, input_shape=(None, 3))
    assert model(series(2, 5, 3)).shape == model(series(2, 31, 3)).shape == (2, 2)
    features = zoo.get(NAME, width=2, include_top=False, input_shape=(9, 1))
    assert features.output_shape == (None, 9, 4)
    assert {name: x.shape[1:] for name, x in surgery.endpoints(features).items()} == {
        "conv1": (9, 2),
        "conv2": (9, 4),
        "conv3": (9, 4),
    }
    backbone = zoo.backbone(NAME, width=2, endpoints="conv2")
    assert backbone(series()).keys() == {"conv2"}
    for pooling in ("avg", "max"):
        pooled = zoo.get(NAME, width=2, include_top=False, pooling=pooling)
        assert pooled.output_shape == (None, 4)


def test_gradients_reach_every_parameter():
    import tensorflow as tf

    model = zoo.get(NAME, width=2, stochastic_depth=0.2, dropout=0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(series(8), training=True) - 1.0))
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, [v.value for v in model.trainable_variables]),
        strict=True,
    ):
        biased = variable.path.endswith("_conv/bias")  # which batch normalization takes out again
        assert gradient is not None, variable.path
        assert biased or np.abs(gradient).max() > 0, variable.path


def test_rematerialized_it_is_the_same():
    model = zoo.get(NAME, width=2, num_classes=3)
    again = rematerialize.rematerialize(model)
    x = series()
    np.testing.assert_array_equal(model(x), again(x))
    y = again(x, training=True)
    assert y.shape == (3, 3)


def test_stages_are_frozen_and_precision_is_lowered():
    model = zoo.get(NAME, width=2, dtype="mixed_bfloat16")
    surgery.freeze(model, "conv2")
    names = {variable.path.split("_")[0] for variable in model.trainable_variables}
    assert names == {"conv3", "logits/kernel", "logits/bias"}
    assert model(series()).dtype == "float32"
    assert model.get_layer("conv1_block1_1_conv").compute_dtype == "bfloat16"


@pytest.mark.parametrize("suffix", [".safetensors", ".keras", ".weights.h5"])
def test_saved_networks_come_back(suffix, tmp_path):
    options = {"width": 2, "z_normalization": False}
    options |= {"num_classes": 4, "input_shape": (None, 2), "stochastic_depth": 0.2}
    model = zoo.get(NAME, **options)
    path = tmp_path / f"network{suffix}"
    if suffix == ".safetensors":
        zoo.weights.save(path, model)
    elif suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    known = options if suffix == ".weights.h5" else {}
    loaded = zoo.get(NAME, weights=path, **known)
    x = series(2, 10, 2)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.input_shape == (None, None, 2)
    with pytest.raises(InputError, match=r"resnet20"):
        zoo.get("resnet20", weights=path)
    other = zoo.get(NAME, weights=path, **{**known, "num_classes": 7})
    assert other.output_shape == (None, 7)


def test_clones_and_keras_know_what_they_are(tmp_path):
    model = zoo.get(NAME, width=2, num_classes=4)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    zoo.weights.save(tmp_path / "network.safetensors", loaded)
    again = zoo.get(NAME, weights=tmp_path / "network.safetensors")
    np.testing.assert_array_equal(again(series(2, 96)), model(series(2, 96)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 8}, "Unknown option of resnet1d: 'output_stride'"),
        ({"shortcut": "A"}, "Unknown option of resnet1d: 'shortcut'"),
        ({"input_shape": (32, 32, 3)}, r"input_shape is \(length, channels\), .* the first may be"),
        ({"input_shape": (32, None)}, r"input_shape is \(length, channels\)"),
        ({"width": 0}, "width must be a positive whole number, not 0"),
        ({"z_normalization": "yes"}, "Unknown z_normalization"),
        ({"mean": "a"}, "mean and std must be numbers"),
    ],
)
def test_what_has_no_meaning_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        zoo.get(NAME, **options)


def test_other_networks_take_no_series():
    with pytest.raises(InputError, match=r"input_shape is \(height, width, channels\)"):
        zoo.get("resnet20", input_shape=(96, 1))


@pytest.mark.slow
def test_jax_answers_as_tensorflow_does(run_on_jax, tmp_path):
    model = zoo.get(NAME, width=4, num_classes=3, input_shape=(None, 2))
    zoo.weights.save(tmp_path / "network.safetensors", model)
    x = series(2, 31, 2)
    np.savez(tmp_path / "expected.npz", x=x, logits=model(x))
    code = """
        import sys
        import numpy as np
        from resnet_keras import zoo
        expected = np.load(f"{sys.argv[1]}/expected.npz")
        model = zoo.get("resnet1d", weights=f"{sys.argv[1]}/network.safetensors")
        model.compile("sgd", "mse")
        assert np.isfinite(model.train_on_batch(np.zeros((2, 9, 2)), np.zeros((2, 3))))
        model = zoo.get("resnet1d", weights=f"{sys.argv[1]}/network.safetensors")
        np.testing.assert_allclose(model(expected["x"]), expected["logits"], rtol=0, atol=1e-5)
        """
    run_on_jax(code, tmp_path)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
