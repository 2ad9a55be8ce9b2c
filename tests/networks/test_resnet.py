"""Networks: counts, shapes, names, initialization, saving, and the JAX backend."""

import functools
import math
import re
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest

from resnet_keras import facts
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, resnet, surgery
from resnet_keras.zoo import weights

PARAMETERS = {  # the facts of the paper's architectures, counted independently of this code
    (18, "B"): 11_689_512,
    (34, "B"): 21_797_672,
    (50, "B"): 25_557_032,
    (101, "B"): 44_549_160,
    (152, "B"): 60_192_808,
    (18, "A"): 11_515_688,
    (34, "A"): 21_623_848,
    (34, "C"): 22_716_840,
    (18, None): 11_515_688,
    (34, None): 21_623_848,
}
CIFAR_PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@functools.cache
def counted(depth, shortcut, stride_in_1x1):
    """Parameters and multiply-adds; the deepest networks take seconds to build."""
    model = resnet.resnet(depth, shortcut=shortcut, stride_in_1x1=stride_in_1x1)
    return trainable(model), counts.count_multiply_adds(model)


@pytest.mark.parametrize(
    ("depth", "shortcut"),
    [pytest.param(*p, marks=pytest.mark.slow if p[0] > 50 else ()) for p in PARAMETERS],
)
def test_imagenet_parameters(depth, shortcut):
    assert counted(depth, shortcut, True)[0] == PARAMETERS[depth, shortcut]


@pytest.mark.parametrize(
    ("depth", "shortcut"),
    [
        *((20, "A"), (32, "A"), (20, None)),
        *(pytest.param(d, "A", marks=pytest.mark.slow) for d in CIFAR_PARAMETERS if d > 32),
        pytest.param(44, None, marks=pytest.mark.slow),
    ],
)
def test_cifar_parameters(depth, shortcut):
    model = resnet.cifar_resnet(depth, shortcut=shortcut)
    assert trainable(model) == CIFAR_PARAMETERS[depth]


@pytest.mark.parametrize(
    ("depth", "stride_in_1x1", "billions"),
    [
        (18, True, "1.814"),
        (34, True, "3.664"),
        (50, True, "3.858"),
        pytest.param(101, True, "7.570", marks=pytest.mark.slow),
        pytest.param(152, True, "11.282", marks=pytest.mark.slow),
        (50, False, "4.089"),
        pytest.param(101, False, "7.801", marks=pytest.mark.slow),
        pytest.param(152, False, "11.514", marks=pytest.mark.slow),
    ],
)
def test_multiply_adds(depth, stride_in_1x1, billions):
    _, multiply_adds = counted(depth, "B", stride_in_1x1)
    assert f"{multiply_adds / 1e9:.3f}" == billions


@pytest.mark.slow
def test_resnet_1202_builds_in_time():
    start = time.process_time()
    model = resnet.cifar_resnet(1202)
    assert time.process_time() - start < 200  # what grows with the square of the depth takes more
    assert trainable(model) == 19_421_274


@pytest.mark.parametrize("shortcut", ["A", "B", "C", None])
@pytest.mark.parametrize(
    "build", [lambda **kw: resnet.resnet(18, **kw), lambda **kw: resnet.cifar_resnet(14, **kw)]
)
def test_pixels_to_logits(build, shortcut):
    model = build(shortcut=shortcut, input_shape=(None, None, 3), num_classes=7)
    images = np.random.default_rng(0).integers(0, 256, (2, 45, 64, 3), "uint8")
    logits = model(images)
    assert logits.shape == (2, 7)
    assert logits.dtype == "float32"
    # uint8 and float pixels are the same picture.
    np.testing.assert_array_equal(logits, model(images.astype("float32")))


def test_bfloat16_policy_keeps_logits_and_pixels_float32():
    model = resnet.cifar_resnet(8, dtype="mixed_bfloat16")
    assert model.get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"  # the global policy is left alone
    # 200.5 is no bfloat16 number: rounded before the mean is subtracted it would be 200 or 201.
    images = np.full((1, 32, 32, 3), 200.5, "float32")
    seen = keras.Model(model.input, model.get_layer("normalization").output)(images)
    expected = (200.5 - np.array(facts.CIFAR10_MEAN)) / np.array(facts.CIFAR10_STD)
    np.testing.assert_allclose(np.asarray(seen[0, 0, 0], "float32"), expected, rtol=2**-8)


def test_endpoints_have_the_papers_strides():
    model = resnet.resnet(50, include_top=False, input_shape=(224, 160, 3))
    shapes = {name: tensor.shape[1:] for name, tensor in surgery.endpoints(model).items()}
    assert shapes == {
        "conv2": (56, 40, 256),
        "conv3": (28, 20, 512),
        "conv4": (14, 10, 1024),
        "conv5": (7, 5, 2048),
    }
    assert model.output_shape == (None, 7, 5, 2048)


def test_layer_names_follow_keras_applications():
    ours = {layer.name for layer in resnet.resnet(50).layers}
    theirs = {layer.name for layer in keras.applications.ResNet50(weights=None).layers}
    # Theirs has other names for input and classifier; only ours pads each strided 3x3 explicitly.
    assert theirs - ours == {
        name for name in theirs if name.startswith(("input_layer", "predictions"))
    }


def test_stride_place_changes_where_the_map_shrinks():
    for stride_in_1x1, side in ((True, 28), (False, 56)):
        model = resnet.resnet(50, stride_in_1x1=stride_in_1x1)
        assert model.get_layer("conv3_block1_1_conv").output.shape[1] == side


def test_he_initialization():
    kernel = resnet.resnet(18).get_layer("conv5_block2_1_conv").kernel.numpy()
    assert kernel.std() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.01)
    assert abs(kernel).max() > 4 * kernel.std()  # a normal distribution, not truncated at 2
    twin = resnet.resnet(18).get_layer("conv5_block2_1_conv").kernel.numpy()
    assert not np.array_equal(kernel, twin)
    keras.utils.set_random_seed(3)
    first = resnet.cifar_resnet(8).get_weights()
    keras.utils.set_random_seed(3)
    for one, two in zip(first, resnet.cifar_resnet(8).get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_symmetric_padding_at_stride_2():
    """The first output reads 3 padded pixels before pixel 0, as torch's padding=3 does."""
    model = resnet.resnet(18, include_top=False, input_shape=(64, 64, 3))
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), "uint8")
    conv = keras.Model(model.input, model.get_layer("conv1_conv").output)
    kernel = model.get_layer("conv1_conv").kernel
    normalized = (images - np.array(facts.IMAGENET_MEAN)) / np.array(facts.IMAGENET_STD)
    padded = np.pad(normalized, ((0, 0), (3, 3), (3, 3), (0, 0)))
    window = padded[0, 0:7, 0:7]
    np.testing.assert_allclose(
        conv(images)[0, 0, 0], np.tensordot(window, kernel.numpy(), 3), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: resnet.cifar_resnet(14, mean=np.full((32, 32, 3), 99.0), std=(1, 1, 1)),
        pytest.param(
            lambda: resnet.resnet(50, input_shape=(32, 32, 3), stride_in_1x1=False),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: resnet.resnet(
                18, shortcut="A", input_shape=(32, 32, 3), dtype="mixed_bfloat16"
            ),
            marks=pytest.mark.slow,
        ),
        lambda: resnet.cifar_resnet(8, stochastic_depth=0.2, dropout=0.3),
    ],
)
def test_saved_and_loaded_models_give_equal_outputs(tmp_path, build):
    model = build()
    side = model.input_shape[1]
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), "uint8")
    model.compile("sgd", "mse")
    model.train_on_batch(images, np.zeros(model.output_shape[1:]))  # statistics differ from 0 and 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(images), loaded.predict(images))
    model.save_weights(tmp_path / "model.weights.h5")
    clone = keras.models.clone_model(model)
    clone.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(model.predict(images), clone.predict(images))


@pytest.mark.slow
def test_very_deep_networks_train_and_survive_saving(tmp_path):
    """Keras walks graphs by recursion, deeper here than Python's default limit."""
    model = resnet.cifar_resnet(362, input_shape=(8, 8, 3))
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((2, 8, 8, 3), "uint8"), np.zeros((2, 10)))
    model.save(tmp_path / "deep.keras")
    loaded = keras.models.load_model(tmp_path / "deep.keras")
    assert trainable(loaded) == trainable(model)


@pytest.mark.slow
def test_a_saved_model_loads_in_a_process_that_imports_the_layers_only(tmp_path):
    model = resnet.cifar_resnet(8)
    model.save(tmp_path / "model.keras")
    images = np.zeros((1, 32, 32, 3), "uint8")
    np.save(tmp_path / "logits.npy", model.predict(images))
    code = """
        import sys
        import keras, numpy as np
        import resnet_keras.layers
        model = keras.models.load_model(sys.argv[1] + "/model.keras")
        logits = model.predict(np.zeros((1, 32, 32, 3), "uint8"))
        np.testing.assert_allclose(logits, np.load(sys.argv[1] + "/logits.npy"), rtol=1e-5)
        """
    script = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    subprocess.run(script, check=True, capture_output=True)


@pytest.mark.slow
def test_jax_builds_trains_and_serializes_to_the_same_numbers(tmp_path):
    """The same weights give the same logits on JAX, and nothing of ours needs TensorFlow."""
    pytest.importorskip("jax")
    keras.utils.set_random_seed(0)
    model = resnet.cifar_resnet(14, shortcut="A")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "logits.npy", model.predict(images))
    code = """
        import os, sys
        os.environ["KERAS_BACKEND"] = "jax"
        import numpy as np
        from resnet_keras import layers, optimizers, resnet, zoo
        import keras
        assert keras.backend.backend() == "jax"
        folder = sys.argv[1]
        images, logits = np.load(folder + "/images.npy"), np.load(folder + "/logits.npy")
        model = keras.models.load_model(folder + "/model.keras")
        np.testing.assert_allclose(model.predict(images), logits, rtol=1e-4, atol=1e-4)
        trained = zoo.get("resnet20", weights="digits")
        assert trained.output_shape == (None, 10)
        keras.utils.set_random_seed(0)
        drops = {"stochastic_depth": 0.2, "dropout": 0.2}
        model = resnet.resnet(18, shortcut="C", input_shape=(32, 32, 3), num_classes=4, **drops)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.SGD(optimizers.StepDecay(0.002, [4])), loss)
        losses = [model.train_on_batch(images, np.arange(4)) for _ in range(6)]
        assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
        model.save(folder + "/jax.keras")
        again = keras.models.load_model(folder + "/jax.keras")
        np.testing.assert_array_equal(model.predict(images), again.predict(images))
        assert int(model.get_layer("dropout").seed_generator.state.value[1]) == len(losses)
        drawn = layers.StochasticDepth(0.5, seed=1)(np.ones((64, 2, 2)), training=True)
        assert set(np.unique(drawn)) == {0.0, 2.0}
        """
    script = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def described(model):
    return weights.record.of(model)[1]


def drop_rates(model):
    return {x.name: x.rate for x in model.layers if x.name.endswith("drop")}


def test_stochastic_depth_follows_the_linear_rule():
    """Huang et al., Sec. 3: block l of L has l/L of the last block's rate."""
    model = resnet.cifar_resnet(20, stochastic_depth=0.5)
    blocks = [f"conv{stage}_block{block}" for stage in (2, 3, 4) for block in (1, 2, 3)]
    expected = {f"{name}_drop": 0.5 * number / 9 for number, name in enumerate(blocks, 1)}
    assert drop_rates(model) == pytest.approx(expected)
    rates = drop_rates(resnet.resnet(50, stochastic_depth=0.2, input_shape=(32, 32, 3)))
    assert len(rates) == 16
    assert rates["conv5_block3_drop"] == 0.2
    assert rates["conv3_block1_drop"] == pytest.approx(0.2 * 4 / 16)


def test_a_dropped_branch_leaves_the_shortcut():
    model = resnet.cifar_resnet(8, shortcut="A", stochastic_depth=0.999)
    name = "conv4_block1"
    pair = [model.get_layer(f"{name}_0_pad").output, model.get_layer(f"{name}_out").output]
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), "uint8")
    shortcut, out = keras.Model(model.input, pair)(images, training=True)
    np.testing.assert_array_equal(out, shortcut)  # of activations, which are not negative


def test_drops_add_layers_only_where_asked_and_leave_inference_alone():
    keras.utils.set_random_seed(0)
    plain = resnet.cifar_resnet(8)
    net = resnet.cifar_resnet(8, stochastic_depth=0.5, dropout=0.5)
    names = [layer.name for layer in net.layers]
    added = {"conv2_block1_drop", "conv3_block1_drop", "conv4_block1_drop", "dropout"}
    assert set(names) - {layer.name for layer in plain.layers} == added
    assert names.index("avg_pool") < names.index("dropout") < names.index("logits")
    assert [v.path for v in net.weights] == [v.path for v in plain.weights]
    net.set_weights(plain.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    np.testing.assert_array_equal(net(images), plain(images))
    assert not np.array_equal(net(images, training=True), plain(images, training=True))
    extra = described(net).items() - described(plain).items()
    assert extra == {("stochastic_depth", 0.5), ("dropout", 0.5)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "options"),
    [(resnet.cifar_resnet, {"depth": 14, "shortcut": shortcut}) for shortcut in "ABC"]
    + [(resnet.resnet, {"depth": 18})]
    + [(resnet.resnet, {"depth": 50, "shortcut": "C", "stride_in_1x1": False})],
)
def test_drops_keep_the_order_of_weights(build, options):
    """Keras's own files number layers in the model's order, and shapes do not tell all apart."""
    side = {"input_shape": (32, 32, 3)}
    plain, net = build(**options, **side), build(**options, **side, stochastic_depth=0.1)
    assert [v.path for v in net.weights] == [v.path for v in plain.weights]


@pytest.mark.slow
def test_one_replica_and_two_drop_alike(mirrored):
    """A network whose batch statistics are shared by the replicas trains the same on both."""
    options = {"stochastic_depth": 0.5, "dropout": 0.5, "synchronized": True}
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")

    def trained():
        keras.utils.set_random_seed(0)
        model = resnet.cifar_resnet(8, input_shape=(16, 16, 3), **options)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01), loss)
        history = model.fit(images, np.arange(8), batch_size=8, epochs=3, verbose=0)
        return model, history.history["loss"]

    one, alone = trained()
    with mirrored.scope():
        two, together = trained()
    np.testing.assert_allclose(alone, together, rtol=1e-3)
    states = [v for v in two.variables if v.path.endswith("seed_generator_state")]
    assert [v.path for v in states] == [v.path for v in one.variables if "seed_gen" in v.path]
    assert [int(v.numpy()[1]) for v in states] == [3, 3, 3, 3]


def test_every_kind_of_convolution_is_counted():
    x = pixels = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(8, 3, padding="same", groups=2)(x)  # 64 places, 3 x 3 x 2 x 8
    x = keras.layers.DepthwiseConv2D(3, 2, padding="same")(x)  # 16 places, 3 x 3 x 8
    x = keras.layers.SeparableConv2D(6, 3, padding="same")(x)  # 3 x 3 x 8 and 8 x 6
    x = keras.layers.Reshape((16, 6))(x)
    x = keras.layers.Conv1D(5, 3, padding="same")(x)  # 3 x 6 x 5
    x = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    expected = 64 * 144 + 16 * 72 + 16 * (72 + 48) + 16 * 90 + 80 * 2
    assert counts.count_multiply_adds(keras.Model(pixels, x)) == expected


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: resnet.resnet(20), "18, 34, 50, 101 or 152"),
        (lambda: resnet.cifar_resnet(21), "6n+2"),
        (lambda: resnet.cifar_resnet(2), "6n+2"),
        (lambda: resnet.cifar_resnet(-4), "positive"),
        (lambda: resnet.resnet(18, shortcut="D"), "A, B, C"),
        (lambda: resnet.resnet(50, shortcut=None), "18 or 34"),
        (lambda: resnet.resnet(18, num_classes=0), "num_classes"),
        (lambda: resnet.resnet(18, input_shape=(224, 224)), "height, width, channels"),
        (lambda: resnet.resnet(18, input_shape=(224, 224, None)), "height, width, channels"),
        (lambda: resnet.resnet(18, input_shape=(-1, 224, 3)), "height, width, channels"),
        (lambda: resnet.resnet(18, input_shape=(224, 224, 4)), "per channel"),
        (lambda: resnet.resnet(18, pooling="avg"), "include_top=False"),
        (lambda: resnet.resnet(18, include_top=False, pooling="mean"), "avg, max"),
        (lambda: resnet.cifar_resnet(20, dtype="float17"), "dtype policy"),
        (lambda: resnet.cifar_resnet(20, stochastic_depth=1.0), "stochastic_depth"),
        (lambda: resnet.resnet(18, dropout=-0.1), "dropout"),
        (lambda: resnet.resnet(18, dropout="much"), "dropout"),
        (lambda: resnet.resnet(18, shortcut=None, stochastic_depth=0.1), "residual branches"),
        (lambda: resnet.resnet(18, include_top=False, dropout=0.1), "include_top"),
    ],
)
def test_bad_arguments_get_a_sentence(build, words):
    with pytest.raises(InputError, match=re.escape(words)) as error:
        build()
    assert "\n" not in str(error.value)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
