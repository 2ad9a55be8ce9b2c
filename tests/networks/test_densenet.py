"""Densely connected networks: counts, endpoints, saving, and what has no meaning for them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, densenet, layers, rematerialize, surgery

LARGE = [pytest.mark.slow, pytest.mark.large]

# Parameters and multiply-adds: torchvision's; of CIFAR in closed form and bearpaw's.
COUNTS = {
    "densenet121": (7_978_856, 2_834_161_664),
    "densenet161": (28_681_000, 7_727_907_072),
    "densenet169": (14_149_480, 3_359_843_328),
    "densenet201": (20_013_928, 4_291_365_888),
    "densenet40_12": (1_019_722, 264_812_928),
    "densenet_bc100_12": (769_162, 287_929_692),
    "densenet_bc190_40": (25_624_430, 9_301_945_740),
}
CIFAR100 = {"densenet40_12": 1_060_132, "densenet_bc100_12": 800_032}
QUICK = ("densenet40_12",)
# One of each builder and block, as small as it can be.
SMALL = {
    "densenet121": {"growth_rate": 2, "input_shape": (64, 64, 3)},
    "densenet10_4": {},
    "densenet_bc16_4": {},
}
# Of 430 layers, which take seconds to build.
EACH = [pytest.param("densenet121", marks=pytest.mark.slow), "densenet10_4", "densenet_bc16_4"]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), "uint8")


def small(name, **options):
    return zoo.get(name, **{**SMALL.get(name, {}), "num_classes": 5, **options})


def images(model):
    side = model.input_shape[1]
    return IMAGES[:, :side, :side]


def randomized(model):
    """So that no normalization is the identity."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        if "_bn/" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=LARGE) for name in COUNTS],
)
def test_counts(name):
    model = zoo.get(name)
    assert (counts.count_parameters(model), counts.count_multiply_adds(model)) == COUNTS[name]
    if name in CIFAR100:
        (features, classes) = model.get_layer("logits").kernel.shape
        more = (100 - classes) * (features + 1)
        assert counts.count_parameters(model) + more == CIFAR100[name]


def test_endpoints_stand_before_transitions_and_the_last_is_activated():
    model = zoo.get("densenet121", growth_rate=4, include_top=False, input_shape=(229, 160, 3))
    endpoints = surgery.endpoints(model)
    assert {name: tensor.shape[1:] for name, tensor in endpoints.items()} == {
        "conv2": (58, 40, 32),
        "conv3": (29, 20, 64),
        "conv4": (14, 10, 128),
        "conv5": (7, 5, 128),
    }
    pixels = np.tile(IMAGES[:1], (1, 4, 3, 1))[:, :229, :160]
    values = keras.Model(model.input, endpoints)(pixels)
    activated = [float(np.min(value)) >= 0 for value in values.values()]
    assert activated == [False, False, False, True]
    assert endpoints["conv5"] is model.output
    backbone = zoo.backbone("densenet_bc16_4", endpoints=("conv2", "conv4"))
    assert {name: x.shape[1:] for name, x in backbone.output.items()} == {
        "conv2": (32, 32, 16),
        "conv4": (8, 8, 16),
    }


@pytest.mark.parametrize("name", EACH)
def test_a_stage_is_frozen_with_what_follows_it(name):
    model = small(name)
    *_, before, last = surgery.endpoints(model)
    surgery.freeze(model, before)
    stages = {re.split("[_/]", v.path)[0] for v in model.trainable_variables}
    assert stages == {last, "logits"}
    surgery.freeze(model, last)
    assert [v.path for v in model.trainable_variables] == ["logits/kernel", "logits/bias"]


@pytest.mark.parametrize("name", EACH)
def test_gradients_reach_every_parameter(name):
    keras.utils.set_random_seed(0)  # by others a channel may be dead at all positions
    model = randomized(small(name))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images(model)) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    unreached = [
        v.path
        for v, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.any(gradient)
    ]
    assert not unreached


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("densenet7_4", {"block_dropout": 0.2}),
        ("densenet10_4", {"dropout": 0.2}),
        ("densenet_bc16_4", {"block_dropout": 0.2, "dtype": "mixed_bfloat16"}),
    ],
)
def test_rematerialized_networks_train_as_they_are(name, options):
    assert_trains_rematerialized(name, **options)


@pytest.mark.slow
def test_a_deep_rematerialized_network_trains_as_it_is():
    """Without oneDNN, whose kernels round in another way where this network is cut."""
    code = "import test_densenet; test_densenet.assert_trains_rematerialized('densenet121')"
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def assert_trains_rematerialized(name, **options):
    """To the bit: losses, weights and moving statistics of two steps."""

    def trained(remat):
        keras.utils.set_random_seed(0)
        model = small(name, **options)
        if remat:
            model = rematerialize.rematerialize(model)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, jit_compile=False)
        losses = [model.train_on_batch(images(model), np.arange(4)) for _ in range(2)]
        return losses, {v.path: v.numpy() for v in model.variables}

    (losses, values), (expected, plain) = trained(True), trained(False)
    assert losses == expected
    assert list(values) == list(plain)
    for path, value in values.items():
        np.testing.assert_array_equal(value, plain[path], err_msg=path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("densenet121", {"block_dropout": 0.1}, marks=pytest.mark.slow),
        pytest.param("densenet10_4", {"dtype": "mixed_bfloat16"}, marks=pytest.mark.slow),
        ("densenet_bc16_4", {"block_dropout": 0.2, "epsilon": 1e-3}),
    ],
)
def test_saved_networks_load(name, options, tmp_path):
    model = randomized(small(name, **options))
    expected = np.asarray(model(images(model)))
    zoo.save(model, tmp_path / "saved", class_names=list("abcde"))
    np.testing.assert_array_equal(zoo.get(tmp_path / "saved")(images(model)), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images(model)), expected)
    dtype = {"dtype": options.get("dtype")}
    loaded = zoo.get(name, weights=tmp_path / "model.keras", **dtype)
    np.testing.assert_array_equal(loaded(images(model)), expected)
    # Training's options change the order of no weights.
    model.save_weights(tmp_path / "model.weights.h5")
    said = {"epsilon": options.get("epsilon", 1e-5)}
    side = {"input_shape": model.input_shape[1:]}
    loaded = zoo.get(name, weights=tmp_path / "model.weights.h5", **said, **dtype, **side)
    np.testing.assert_array_equal(loaded(images(model)), expected)
    features = zoo.get(name, weights=tmp_path / "saved", include_top=False, pooling="avg", **dtype)
    assert features.output_shape == (None, model.get_layer("logits").kernel.shape[0])
    assert zoo.get(name, weights=tmp_path / "saved", num_classes=7).output_shape == (None, 7)


@pytest.mark.parametrize("name", EACH)
def test_networks_of_the_builders_own_tell_what_they_are(name, tmp_path):
    builders = {
        "densenet121": lambda: densenet.densenet(121, **SMALL["densenet121"]),
        "densenet10_4": lambda: densenet.cifar_densenet(10, 4, block_dropout=0.2),
        "densenet_bc16_4": lambda: densenet.cifar_densenet(16, 4, bottleneck=True),
    }
    model = builders[name]()
    assert model.name == name
    zoo.save(model, tmp_path / "saved")
    loaded = zoo.get(tmp_path / "saved")
    assert loaded.name == name
    np.testing.assert_array_equal(loaded(images(model)), model(images(model)))


@pytest.mark.parametrize("name", EACH)
def test_dropout_stands_behind_each_convolution_but_the_first(name):
    model = small(name, block_dropout=0.2)
    dropped = [x.input for x in model.layers if isinstance(x, layers.Dropout)]
    convolutions = [x.output for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(dropped) == len(convolutions) - 1
    assert {id(x) for x in dropped} == {id(x) for x in convolutions[1:]}
    without = small(name)
    without.set_weights(model.get_weights())
    np.testing.assert_array_equal(without(images(model)), model(images(model)))
    assert np.any(without(images(model), training=True) != model(images(model), training=True))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("densenet121", {"shortcut": "B"}, "Unknown option of densenet121: 'shortcut'"),
        ("densenet121", {"output_stride": 16}, "Unknown option of densenet121: 'output_stride'"),
        ("densenet121", {"stochastic_depth": 0.5}, "densenet121 has no residual branches"),
        ("densenet121", {"growth_rate": 0}, "growth_rate must be a positive whole number"),
        ("densenet121", {"input_shape": (28, 64, 3)}, "images of 29x29 pixels at least"),
        ("densenet10_4", {"input_shape": (3, 8, 3)}, "images of 4x4 pixels at least"),
        ("densenet10_4", {"block_dropout": 1}, r"block_dropout must be a rate in \[0, 1\), not 1"),
        ("densenet41_12", {}, r"'densenet41_12': .* densenetL_k with 3n\+4 layers"),
        ("densenet_bc13_12", {}, r"'densenet_bc13_12': .* densenet_bcL_k with 6n\+4"),
        ("densenet40_0", {}, "'densenet40_0': .* a growth rate of 1 or more"),
        ("densenet264", {}, "Unknown model 'densenet264'"),
    ],
)
def test_what_has_no_meaning_is_refused(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


@pytest.mark.slow
def test_the_smallest_photographs_have_features():
    model = densenet.densenet(121, growth_rate=2, input_shape=(29, 30, 3), include_top=False)
    assert model.output_shape == (None, 1, 1, 64)


def test_the_smallest_images_have_features():
    features = densenet.cifar_densenet(7, 2, input_shape=(4, 5, 3), include_top=False)
    assert features.output_shape == (None, 1, 1, 22)


def test_builders_refuse_depths_of_other_networks():
    with pytest.raises(InputError, match="depth 121, 161, 169 or 201, not 100"):
        densenet.densenet(100)
    with pytest.raises(InputError, match=r"CIFAR DenseNets have 3n\+4 layers .*, not 41"):
        densenet.cifar_densenet(41, 12)
    with pytest.raises(InputError, match=r"DenseNet-BC networks have 6n\+4 layers .*, not 13"):
        densenet.cifar_densenet(13, 12, bottleneck=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_jax_answers_as_tensorflow_does(name, run_on_jax, tmp_path):
    keras.utils.set_random_seed(0)
    options = {**SMALL[name], "num_classes": 3, "input_shape": (None, None, 3)}
    model = zoo.get(name, **options, block_dropout=0.2)
    model.save(tmp_path / "model.keras")
    pixels = IMAGES[:2, :, :45]
    np.save(tmp_path / "images.npy", pixels)
    np.save(tmp_path / "logits.npy", model(pixels))
    code = """
        import sys
        import keras
        import numpy as np
        import resnet_keras.networks.densenet

        folder = sys.argv[1]
        images, logits = np.load(folder + "/images.npy"), np.load(folder + "/logits.npy")
        model = keras.models.load_model(folder + "/model.keras")
        found = model.predict(images)
        np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
        assert np.isfinite(model.train_on_batch(images, np.arange(2)))
        """
    run_on_jax(code, tmp_path)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
