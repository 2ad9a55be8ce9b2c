"""Pre-activation and wide networks: counts, endpoints, saving, and what has no meaning for them."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, preact, rematerialize, surgery

LARGE = [pytest.mark.slow, pytest.mark.large]

# Parameters and multiply-adds: timm's; keras.applications'; of CIFAR in closed form and bearpaw's.
COUNTS = {
    "resnetv2_50": (25_549_352, 4_089_184_256),
    "resnetv2_101": (44_541_480, 7_801_405_440),
    "resnetv2_152": (60_185_128, 11_513_626_624),
    "resnet50v2": (25_568_360, 3_482_255_360),
    "resnet101v2": (44_577_896, 7_194_476_544),
    "resnet152v2": (60_236_904, 10_906_697_728),
    "preact_resnet110": (1_730_522, 253_149_824),
    "preact_resnet164": (1_703_258, 244_500_992),
    "preact_resnet1001": (10_327_706, 1_487_849_984),
    "wrn28_10": (36_479_194, 5_243_328_768),
    "wrn16_8": (10_961_370, 1_548_145_664),
    "wrn40_4": (8_949_210, 1_298_582_016),
}
# Parameters with CIFAR-100's classes.
CIFAR100 = {
    "preact_resnet110": 1_736_372,
    "preact_resnet164": 1_726_388,
    "preact_resnet1001": 10_350_836,
    "wrn28_10": 36_536_884,
}
QUICK = ("resnet50v2", "wrn16_8")
# One of each builder, as small as it can be.
SMALL = {
    "resnetv2_50": {"width": 4, "input_shape": (64, 64, 3)},
    "preact_resnet8": {},
    "preact_resnet11": {},
    "wrn10_2": {},
}
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), "uint8")


def small(name, **options):
    return zoo.get(name, **{**SMALL[name], "num_classes": 5, **options})


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


def test_blocks_by_depth():
    """The paper's 110 is basic and its 164 has bottlenecks, though both are 6n+2 and 9n+2."""
    basic, bottleneck = (8, 20, 56, 110, 146, 1202), (11, 29, 47, 101, 164, 182, 1001)
    assert [preact.is_bottleneck(depth) for depth in basic] == [False] * len(basic)
    assert [preact.is_bottleneck(depth) for depth in bottleneck] == [True] * len(bottleneck)
    for depth in (2, 9, 51, 1000):
        with pytest.raises(InputError, match=rf"6n\+2 layers .* or 9n\+2 .*, not {depth}"):
            preact.cifar_preact_resnet(depth)


def test_projections_stand_where_dimensions_grow():
    def projections(name):
        model = zoo.get(name, include_top=False)
        return [layer.name for layer in model.layers if layer.name.endswith("_0_conv")]

    assert projections("preact_resnet14") == ["conv3_block1_0_conv", "conv4_block1_0_conv"]
    grown = [f"conv{stage}_block1_0_conv" for stage in (2, 3, 4)]
    assert projections("preact_resnet20") == grown[1:]
    assert projections("preact_resnet29") == grown
    assert projections("wrn16_2") == grown
    assert projections("wrn16_1") == grown[1:]


def test_the_first_block_begins_with_its_activation():
    """Of preact_resnet both branches do (Appendix); of a wide network of width 1 one of them."""

    def begins(name):
        model = zoo.get(name, include_top=False)
        identity, _ = model.get_layer("conv2_block1_out").input
        start = keras.Model(model.input, identity)(IMAGES[:, :32, :32])
        return float(np.min(start)) >= 0

    assert begins("preact_resnet8")
    assert not begins("wrn10_1")


def test_endpoints_are_sums_and_the_last_is_activated():
    model = zoo.get("resnetv2_50", width=4, include_top=False, input_shape=(224, 160, 3))
    endpoints = surgery.endpoints(model)
    assert {name: tensor.shape[1:] for name, tensor in endpoints.items()} == {
        "conv2": (56, 40, 16),
        "conv3": (28, 20, 32),
        "conv4": (14, 10, 64),
        "conv5": (7, 5, 128),
    }
    pixels = np.tile(IMAGES[:1], (1, 4, 3, 1))[:, :224, :160]
    values = keras.Model(model.input, endpoints)(pixels)
    activated = [float(np.min(value)) >= 0 for value in values.values()]
    assert activated == [False, False, False, True]
    assert endpoints["conv5"] is model.output


def test_endpoints_of_the_form_of_keras_applications_stride_at_their_ends():
    model = zoo.backbone("resnet50v2", input_shape=(224, 160, 3))
    assert {name: tensor.shape[1:3] for name, tensor in model.output.items()} == {
        "conv2": (28, 20),
        "conv3": (14, 10),
        "conv4": (7, 5),
        "conv5": (7, 5),
    }


@pytest.mark.parametrize("name", SMALL)
def test_the_last_stage_is_frozen_with_what_activates_it(name):
    model = small(name)
    *_, last = surgery.endpoints(model)
    surgery.freeze(model, last)
    assert [v.path for v in model.trainable_variables] == ["logits/kernel", "logits/bias"]
    *_, before, _ = surgery.endpoints(model)
    surgery.freeze(model, before)
    stages = {re.split("[_/]", v.path)[0] for v in model.trainable_variables}
    assert stages == {last, "logits"}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name):
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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("preact_resnet8", {}, marks=pytest.mark.slow),
        pytest.param(
            "wrn10_2",
            {"stochastic_depth": 0.5, "block_dropout": 0.3, "dropout": 0.2},
            marks=pytest.mark.slow,
        ),
        pytest.param("preact_resnet11", {"stochastic_depth": 0.5}, marks=pytest.mark.slow),
        # oneDNN rounds a thin stem's convolution otherwise where it stands alone.
        pytest.param("resnetv2_50", {"width": 64}, marks=pytest.mark.slow),
    ],
)
def test_rematerialized_networks_train_as_they_are(name, options):
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


def test_what_rematerialization_keeps():
    model = rematerialize.rematerialize(small("preact_resnet8"))
    kept = [segment.layers[-1].name for segment in model._segments]
    assert kept[:-1] == ["conv1_conv", *(f"conv{stage}_block1_out" for stage in (2, 3, 4))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnetv2_50", {"stochastic_depth": 0.2, "dropout": 0.1}),
        ("preact_resnet8", {"dtype": "mixed_bfloat16"}),
        ("preact_resnet11", {"stochastic_depth": 0.2}),
        ("wrn10_2", {"block_dropout": 0.3, "epsilon": 1e-3}),
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


@pytest.mark.slow
def test_1001_layers_are_saved_and_loaded(tmp_path):
    model = zoo.get("preact_resnet1001")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    pixels = IMAGES[:1, :32, :32]
    np.testing.assert_array_equal(loaded(pixels), model(pixels))


@pytest.mark.slow
def test_networks_of_the_builders_own_tell_what_they_are(tmp_path):
    networks = [
        preact.preact_resnet(50, width=4, input_shape=(64, 64, 3), output_stride=16),
        preact.cifar_preact_resnet(8),
        preact.cifar_preact_resnet(11),
        preact.wide_resnet(10, 3, block_dropout=0.3),
    ]
    for model in networks:
        zoo.save(model, tmp_path / model.name)
        loaded = zoo.get(tmp_path / model.name)
        assert loaded.name == model.name
        pixels = IMAGES[:1, : model.input_shape[1], : model.input_shape[2]]
        np.testing.assert_array_equal(loaded(pixels), model(pixels))


def test_dropout_between_the_convolutions_is_of_the_training():
    model = small("wrn10_2", block_dropout=0.3)
    assert [x.rate for x in model.layers if isinstance(x, preact.Dropout)] == [0.3] * 3
    place = model.get_layer("conv3_block1_dropout")
    assert place.input is model.get_layer("conv3_block1_1_relu").output
    without = small("wrn10_2")
    without.set_weights(model.get_weights())
    np.testing.assert_array_equal(without(images(model)), model(images(model)))
    assert np.any(without(images(model), training=True) != model(images(model), training=True))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnetv2_50", {"shortcut": "B"}, "Unknown option of resnetv2_50: 'shortcut'"),
        ("resnetv2_50", {"output_stride": 4}, "output_stride of resnetv2_50: 4.* 32, 16"),
        ("resnetv2_50", {"width": 0}, "width must be a positive whole number"),
        ("resnet50v2", {"output_stride": 16}, "Unknown option of resnet50v2: 'output_stride'"),
        ("preact_resnet110", {"output_stride": 8}, "output_stride of preact_resnet110: 8.* 4, 2"),
        ("wrn10_2", {"block_dropout": 1}, r"block_dropout must be a rate in \[0, 1\), not 1"),
        ("preact_resnet21", {}, r"'preact_resnet21': .* have 6n\+2 layers .* or 9n\+2"),
        (
            "preact_resnet50",
            {},
            "no preact_resnet50: of ImageNet ask for resnetv2_50 or resnet50v2",
        ),
        ("wrn28", {}, "Unknown model 'wrn28'"),
        ("wrn27_10", {}, r"'wrn27_10': wide networks of CIFAR have 6n\+4 layers"),
        ("resnetv2_18", {}, "Unknown model 'resnetv2_18'"),
    ],
)
def test_what_has_no_meaning_is_refused(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


def test_builders_refuse_depths_of_other_networks():
    with pytest.raises(InputError, match="depth 50, 101 or 152, not 18"):
        preact.preact_resnet(18)
    with pytest.raises(InputError, match="depth 50, 101 or 152, not 34"):
        preact.keras_preact_resnet(34)
    with pytest.raises(InputError, match=r"6n\+4 layers .*, not 27"):
        preact.wide_resnet(27, 10)
    with pytest.raises(InputError, match="width must be a positive whole number"):
        preact.wide_resnet(28, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, "resnet50v2"])
def test_jax_answers_as_tensorflow_does(name, run_on_jax, tmp_path):
    keras.utils.set_random_seed(0)
    options = {**SMALL.get(name, {}), "num_classes": 3, "input_shape": (None, None, 3)}
    model = zoo.get(name, **options, stochastic_depth=0.2)
    model.save(tmp_path / "model.keras")
    pixels = IMAGES[:2, :, :45]
    np.save(tmp_path / "images.npy", pixels)
    np.save(tmp_path / "logits.npy", model(pixels))
    code = """
        import sys
        import keras
        import numpy as np
        import resnet_keras.networks.preact

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
    import sys

    sys.exit(pytest.main([__file__]))
