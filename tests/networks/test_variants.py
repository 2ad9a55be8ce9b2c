"""ResNeXt, wide, C, D and SE networks: counts, saving, training, and what is refused."""

import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, rematerialize, resnet_d, resnext, senet, surgery

COUNTS = {  # torchvision's and timm's, and by closed forms for CIFAR
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x4d": (44_177_704, 7_969_996_800),
    "resnext101_32x8d": (88_791_336, 16_414_015_488),
    "resnext101_64x4d": (83_455_272, 15_460_270_080),
    "resnext29_8x64d": (34_426_698, 5_387_266_048),
    "resnext29_16x64d": (68_155_210, 10_688_866_304),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "wide_resnet101_2": (126_886_696, 22_753_050_624),
    "resnet50c": (25_576_264, 4_328_824_832),
    "resnet18d": (11_708_744, 2_053_713_920),
    "resnet34d": (21_816_904, 3_903_401_984),
    "resnet50d": (25_576_264, 4_328_824_832),
    "resnet101d": (44_568_392, 8_041_046_016),
    "resnet152d": (60_212_040, 11_753_267_200),
    "seresnet18": (11_779_624, 1_814_161_408),
    "seresnet50": (28_088_024, 4_091_699_200),
    "seresnet101": (49_326_872, 7_806_148_608),
    "seresnet152": (66_821_848, 11_520_204_800),
    "seresnext50_32x4d": (27_559_896, 4_232_994_816),
    "seresnext101_32x4d": (48_955_416, 7_974_739_968),
    "legacy_seresnet18": (11_778_592, 1_814_160_384),
    "legacy_seresnet50": (28_088_024, 3_860_488_192),
}
SMALL = ("resnext20_2x8d", "resnet8d", "seresnet8")
OPTIONS = {"input_shape": (16, 16, 3), "num_classes": 3}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), "uint8")


DEEP = re.compile(r"\D+(101|152|29_16)")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.large] if DEEP.match(n) else []) for n in COUNTS],
)
def test_counts(name):
    model = zoo.get(name)
    assert (counts.count_parameters(model), counts.count_multiply_adds(model)) == COUNTS[name]


@pytest.mark.slow
def test_classes_of_cifar100():
    assert counts.count_parameters(resnext.cifar_resnext(29, num_classes=100)) == 34_518_948


def test_counts_of_a_small_resnext_follow_from_its_widths():
    """Two groups of 8 channels in the first stage, 16 and 32 in the others; one block in each."""
    kernels, inputs = 9 * 3 * 64, 64
    for stage in range(3):
        inner, outputs = 16 * 2**stage, 256 * 2**stage
        kernels += inputs * inner + 9 * inner * inner // 2 + inner * outputs + inputs * outputs
        inputs = outputs
    channels = 64 + sum((2 * 16 + 2 * 256) * 2**stage for stage in range(3))
    model = zoo.get("resnext11_2x8d")
    assert counts.count_parameters(model) == kernels + 2 * channels + 1024 * 10 + 10


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_saved_networks_load(name, tmp_path, images):
    model = zoo.get(name, **OPTIONS)
    expected = np.asarray(model(images))
    zoo.save(model, tmp_path / "saved", class_names=list("abc"))
    np.testing.assert_array_equal(zoo.get(tmp_path / "saved")(images), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        loaded = zoo.get(name, weights=tmp_path / file, input_shape=(16, 16, 3))
        np.testing.assert_array_equal(loaded(images), expected)
        record = loaded.get_layer("normalization").network
        assert record == model.get_layer("normalization").network
    other = zoo.get(tmp_path / "saved", num_classes=5)
    assert other.output_shape == (None, 5)
    for v, w in zip(other.weights[:-2], model.weights[:-2], strict=True):
        np.testing.assert_array_equal(v, w)


def test_networks_of_the_builders_own_are_not_taken_for_others(tmp_path):
    """Their layers do not tell what they are as the zoo's record does."""
    model = resnext.cifar_resnext(11, cardinality=2, base_width=8)
    with pytest.raises(InputError, match=r"zoo.get"):
        zoo.save(model, tmp_path / "saved", class_names=list("0123456789"))


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name, images):
    keras.utils.set_random_seed(0)
    model = zoo.get(name, **OPTIONS, stochastic_depth=0.2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True)[:, 0])
    gradients = tape.gradient(loss, model.trainable_variables)
    zeros = [
        v.path
        for v, gradient in zip(model.trainable_variables, gradients, strict=True)
        if not np.any(gradient) and not v.path.startswith("logits")
    ]
    assert zeros == []


@pytest.mark.parametrize("name", SMALL)
def test_rematerialization_gives_the_same(name, images):
    keras.utils.set_random_seed(0)
    model = zoo.get(name, **OPTIONS)
    results = []
    for network in (model, rematerialize.rematerialize(model)):
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.reduce_sum(logits[:, 0])
        results.append([logits, *tape.gradient(loss, model.trainable_variables)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_backbones_and_freezing(name):
    model = zoo.backbone(name, input_shape=(16, 16, 3))
    sides = {endpoint: tensor.shape[1] for endpoint, tensor in model.output.items()}
    assert sides == {"conv2": 16, "conv3": 8, "conv4": 4}
    zoo.freeze(model, "conv3")
    trained = {v.path.split("_")[0] for v in model.trainable_variables}
    assert trained == {"conv4"}
    features = zoo.get(name, input_shape=(16, 16, 3), include_top=False, pooling="avg")
    assert features.output_shape == (None, surgery.endpoints(features)["conv4"].shape[-1])


@pytest.mark.parametrize("name", SMALL)
def test_half_precision(name, images):
    model = zoo.get(name, **OPTIONS, dtype="mixed_bfloat16")
    assert model.get_layer("conv3_block1_1_conv").compute_dtype == "bfloat16"
    logits = model(images, training=True)
    assert logits.dtype == "float32"
    assert np.all(np.isfinite(logits))


@pytest.mark.slow
def test_jax_answers_alike_and_trains(run_on_jax, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 17, 17, 3), "uint8")
    np.save(tmp_path / "images.npy", images)
    for name in SMALL:
        model = zoo.get(name, input_shape=(None, None, 3), num_classes=3)
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", model(images))
    code = """
        import sys
        import keras
        import numpy as np
        from resnet_keras import zoo
        from resnet_keras.networks import grouped, layers

        folder, *names = sys.argv[1:]
        images = np.load(folder + "/images.npy")
        for name in names:
            model = keras.models.load_model(f"{folder}/{name}.keras")
            logits = np.load(f"{folder}/{name}.npy")
            np.testing.assert_allclose(model.predict(images), logits, rtol=1e-4, atol=1e-4)
            model = zoo.get(name, weights=f"{folder}/{name}.keras")
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("sgd", loss)
            assert np.isfinite(model.train_on_batch(images, np.arange(2)))
        """
    run_on_jax(code, tmp_path, *SMALL)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnext50_32x4d", {"shortcut": "D"}, "Unknown shortcut of resnext50_32x4d"),
        ("resnext50_32x4d", {"stride_in_1x1": True}, "Unknown option of resnext50_32x4d"),
        ("resnet50d", {"shortcut": "A"}, "Unknown option of resnet50d: 'shortcut'"),
        ("seresnet50", {"output_stride": 4}, "Unknown output_stride of seresnet50: 4"),
        ("seresnet50", {"cardinality": 32}, "Unknown option of seresnet50: 'cardinality'"),
    ],
)
def test_what_has_no_meaning_is_refused(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


def test_unknown_depths():
    with pytest.raises(InputError, match="50, 101 or 152, not 18"):
        resnext.resnext(18)
    with pytest.raises(InputError, match=r"9n\+2 layers .* not 30"):
        zoo.get("resnext30_8x64d")
    with pytest.raises(InputError, match=r"there are resnext50_32x4d.* of 9n\+2 layers"):
        zoo.get("resnext101_32x16d")
    with pytest.raises(InputError, match="cardinality must be a positive whole number"):
        resnext.resnext(50, cardinality=0)
    with pytest.raises(InputError, match="ResNet-C has depth 50, 101 or 152, not 18"):
        resnet_d.resnet_d(18, pooled=False)
    with pytest.raises(InputError, match="SE-ResNeXts have depth 50, 101 or 152, not 34"):
        senet.seresnet(34, cardinality=32, base_width=4)
    for name in ("seresnet21", "resnet21d", "seresnet2", "resnet26d", "resnet200d"):
        with pytest.raises(InputError, match=rf"Unknown model '{name}'.* 6n\+2"):
            zoo.get(name)


def test_every_row_has_counts_or_is_a_wider_one():
    rows = [row for row in zoo.networks.PACKAGED if str(row.family.files).endswith("variants")]
    named = {row.name for row in rows}
    assert set(COUNTS) <= named
    untold = {"seresnet34", "seresnext101_32x8d", "seresnext101_64x4d"}
    legacy = {f"legacy_seresnet{depth}" for depth in (34, 101, 152)}
    assert named - set(COUNTS) == untold | legacy | {
        "legacy_seresnext50_32x4d",
        "legacy_seresnext101_32x4d",
    }


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
