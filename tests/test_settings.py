"""Keras's global settings do not leak into networks, and models carry their own policy."""

import functools
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from resnet_keras import optimizers, zoo
from resnet_keras.classification import metrics, protocols
from resnet_keras.networks import blocks, counts, layers, rematerialize

ROOT = Path(__file__).parent.parent
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("float32")
LABELS = np.arange(8) % 3


@pytest.fixture(autouse=True)
def _restored():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    epsilon, data_format = keras.config.epsilon(), keras.config.image_data_format()
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(data_format)


# Global settings


def networks():
    """Each kind of block, pooling and padding, seeded."""
    options = {"num_classes": 3, "input_shape": (32, 32, 3)}
    for name, more in {
        "resnet8": {},
        "plain8": {},
        "resnet14": {"include_top": False, "pooling": "max", "num_classes": None},
        "resnet18": {"shortcut": "C"},
        "resnet50": {"stride_in_1x1": False},
    }.items():
        keras.utils.set_random_seed(1)
        yield zoo.get(name, **{**options, **more})


@functools.cache
def answers():
    """Of the networks under Keras's own settings, by the test that comes first."""
    return [np.asarray(model(IMAGES)) for model in networks()]


@pytest.mark.parametrize(
    "change",
    [
        lambda: keras.config.set_image_data_format("channels_first"),
        pytest.param(lambda: keras.config.set_epsilon(0.5), marks=pytest.mark.slow),
    ],
    ids=["channels_first", "epsilon"],
)
def test_a_global_setting_changes_no_network(change):
    expected = answers()
    change()
    for model, answer in zip(networks(), expected, strict=True):
        np.testing.assert_array_equal(model(IMAGES), answer)


def test_channels_first_changes_no_fully_convolutional_test():
    def scores():
        keras.utils.set_random_seed(1)
        model = zoo.get("resnet18", num_classes=3, input_shape=(None, None, 3))
        return np.asarray(
            protocols.fully_convolutional(model, 32)(
                np.pad(IMAGES, [(0, 0), (0, 32), (0, 64), (0, 0)])
            )
        )

    before = scores()
    keras.config.set_image_data_format("channels_first")
    np.testing.assert_array_equal(scores(), before)


@pytest.mark.parametrize(
    "floatx",
    ["float64", *(pytest.param(n, marks=pytest.mark.slow) for n in ("bfloat16", "float16"))],
)
def test_floatx_is_the_policy_of_networks_that_name_none(floatx):
    """As `dtype=None` says; one that is named, and the logits, are as without."""
    keras.utils.set_random_seed(1)
    named = zoo.get("resnet8", dtype="float32")
    answer = np.asarray(named(IMAGES))
    keras.config.set_dtype_policy(floatx)
    keras.config.set_floatx(floatx)
    keras.utils.set_random_seed(1)
    again = zoo.get("resnet8", dtype="float32")
    np.testing.assert_allclose(again(IMAGES), answer, rtol=1e-5, atol=1e-5)
    taken = zoo.get("resnet8")
    assert taken.get_layer("conv1_conv").kernel.dtype == floatx
    assert taken(IMAGES).dtype == "float32"
    trained = zoo.get("resnet20", weights="digits", dtype="float32")
    assert trained.get_layer("conv1_conv").kernel.dtype == "float32"


def test_labels_are_whole_whatever_floatx_is():
    """bfloat16 has no 257: it would be taken for 256."""
    logits = np.eye(300, dtype="float32")[[257, 299]] * 50
    keras.config.set_floatx("bfloat16")
    loss = metrics.CrossEntropy()(np.array([257, 299]), logits)
    assert float(loss) < 1e-3


# float16 and loss scaling


@pytest.mark.parametrize(
    ("how", "make"),
    [
        pytest.param("argument", lambda: keras.optimizers.Adam(1e-3), marks=pytest.mark.slow),
        pytest.param("argument", lambda: optimizers.SGD(0.1), marks=pytest.mark.slow),
        ("global", lambda: keras.optimizers.Adam(1e-3)),
        pytest.param("rematerialized", lambda: optimizers.SGD(0.1), marks=pytest.mark.slow),
    ],
)
def test_float16_comes_with_loss_scaling(make, how):
    if how == "global":
        keras.config.set_dtype_policy("mixed_float16")
    options = {} if how == "global" else {"dtype": "mixed_float16"}
    model = zoo.get("resnet8", num_classes=3, **options)
    if how == "rematerialized":
        model = rematerialize.rematerialize(model)
    else:
        assert model.dtype_policy.name == "mixed_float16"
    model.compile(make(), loss=metrics.CrossEntropy())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(IMAGES, LABELS)
    assert all(np.isfinite(v).all() for v in model.trainable_variables)
    assert any(
        (v.numpy() != b).any() for v, b in zip(model.trainable_variables, before, strict=True)
    )
    # An overflow leaves the update out, and halves the scale.
    assert float(model.optimizer.dynamic_scale) > 1
    model.optimizer.dynamic_scale.assign(1e38)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(IMAGES, LABELS)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert float(model.optimizer.dynamic_scale) == pytest.approx(0.5e38)


def test_policies_of_backbones_features_and_logits():
    for model in (
        zoo.backbone("resnet8", dtype="mixed_float16"),
        zoo.get("resnet8", dtype="mixed_float16", include_top=False),
        zoo.get("resnet8", dtype="mixed_float16", num_classes=4, weights=None),
    ):
        assert model.dtype_policy.name == "mixed_float16"
    assert model(IMAGES).dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert zoo.get("resnet8").dtype_policy.name == "float32"


@pytest.mark.slow
def test_a_loaded_float16_model_is_told_to_need_the_policy(tmp_path):
    model = zoo.get("resnet8", num_classes=3, dtype="mixed_float16")
    model.compile(keras.optimizers.Adam(1e-3), loss=metrics.CrossEntropy())
    model.train_on_batch(IMAGES, LABELS)
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match=r"set_dtype_policy\('mixed_float16'\)"):
        keras.models.clone_model(model)
    with (
        pytest.warns(UserWarning, match=r"set_dtype_policy\('mixed_float16'\)"),
        pytest.warns(UserWarning, match="Skipping variable loading for optimizer"),
    ):
        keras.models.load_model(tmp_path / "m.keras")
    keras.config.set_dtype_policy("mixed_float16")  # what it says
    again = keras.models.load_model(tmp_path / "m.keras")
    assert isinstance(again.optimizer, keras.optimizers.LossScaleOptimizer)
    assert int(again.optimizer.inner_optimizer.iterations) == 1
    model.train_on_batch(IMAGES, LABELS)
    again.train_on_batch(IMAGES, LABELS)
    np.testing.assert_allclose(again(IMAGES), model(IMAGES), rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_learning_rate_rules_find_the_optimizer_in_keras_wrapper():
    model = zoo.get("resnet8", num_classes=3, dtype="mixed_float16")
    model.compile(optimizers.SGD(0.1), metrics.CrossEntropy(), metrics=[metrics.top1_error])
    rules = [
        optimizers.WarmUpUntilBelow(0.5, error=0.01, batches=100),
        optimizers.DivideOnPlateau("top1_error", factor=0.1, patience=1, min_delta=10),
    ]
    model.fit(IMAGES, LABELS, epochs=2, verbose=0, callbacks=rules)
    scale = model.optimizer.inner_optimizer.learning_rate_scale
    assert float(scale) == pytest.approx(0.05)


def test_loss_scaling_of_both_is_refused():
    model = zoo.get("resnet8", num_classes=3, dtype="mixed_float16")
    model.compile(optimizers.SGD(0.1, loss_scaling=True), loss=metrics.CrossEntropy())
    with pytest.raises(ValueError, match="auto_scale_loss=False"):
        model.train_on_batch(IMAGES, LABELS)
    model.compile(  # what it says
        optimizers.SGD(0.1, loss_scaling=True), loss=metrics.CrossEntropy(), auto_scale_loss=False
    )
    assert isinstance(model.optimizer, optimizers.SGD)
    model.train_on_batch(IMAGES, LABELS)


# Strided 1x1 convolutions of few channels


def block(channels, filters):
    inputs = keras.Input((17, 16, channels))
    outputs = blocks.conv(inputs, filters, 1, 2, "narrow")
    return keras.Model(inputs, outputs)


def test_narrow_strided_convolutions_are_those_of_every_second_pixel(tmp_path):
    """The same outputs and gradients as the strided convolution of wider inputs."""
    import tensorflow as tf

    narrow, wide = block(8, 24), block(16, 24)
    assert [type(x) for x in narrow.layers[1:]] == [layers.Subsampling, keras.layers.Conv2D]
    assert [type(x) for x in wide.layers[1:]] == [keras.layers.Conv2D]
    assert narrow.output_shape == wide.output_shape == (None, 9, 8, 24)
    positions = 9 * 8 * 24
    assert counts.count_multiply_adds(narrow) == 8 * positions
    assert counts.count_multiply_adds(wide) == 16 * positions
    x = np.random.default_rng(0).normal(size=(4, 17, 16, 8)).astype("float32")
    kernel = narrow.get_layer("narrow_conv").kernel
    # The other channels are 0, and so is what they add.
    wide.get_layer("narrow_conv").kernel.assign(np.pad(kernel, [(0, 0), (0, 0), (0, 8), (0, 0)]))
    padded = np.pad(x, [(0, 0), (0, 0), (0, 0), (0, 8)])
    gradients = []
    for model, pixels in ((narrow, x), (wide, padded)):
        variable = model.get_layer("narrow_conv").kernel.value
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(pixels) ** 2)
        gradients.append(np.asarray(tape.gradient(loss, variable))[:, :, :8])
    np.testing.assert_allclose(narrow(x), wide(padded), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-3)
    narrow.save(tmp_path / "narrow.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "narrow.keras")(x), narrow(x))


@pytest.mark.slow
def test_narrow_strided_convolutions_train_with_onednn():
    """In a process of its own, which a crash would end."""
    code = """
        import os
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
        import keras, tensorflow as tf
        from resnet_keras.networks import blocks
        for channels, filters in ((3, 16), (4, 8), (8, 8), (8, 16), (12, 20)):
            x = tf.random.normal((8, 64, 64, channels))
            inputs = keras.Input(x.shape[1:])
            model = keras.Model(inputs, blocks.conv(inputs, filters, 1, 2, "narrow"))
            @tf.function
            def gradient():
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(model(x) ** 2)
                return tape.gradient(loss, model.trainable_variables[0].value)
            for _ in range(30):
                gradient()
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-1000:]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
