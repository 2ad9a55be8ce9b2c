"""VGG networks: counts, shapes, saving, and what has no meaning for them."""

import keras
import numpy as np
import pytest

from resnet_keras import facts, zoo
from resnet_keras.classification import protocols
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, rematerialize, surgery, vgg
from resnet_keras.reproduction import responses

COUNTS = {  # torchvision's
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg19_bn": (143_678_248, 19_632_062_464),
}
THIN = {"width": 4, "hidden": 16}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    model = zoo.get(name)
    assert (counts.count_parameters(model), counts.count_multiply_adds(model)) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_thin_networks_follow_from_the_full_ones(name):
    """Kernels between stages have a 16th of the values at a quarter of the width, and so on."""
    model = zoo.get(name, width=16, hidden=16, input_shape=(64, 64, 3))
    kernels, biases = 0, 0
    depth, norm = int(name[3:5]), name.endswith("_bn")
    inputs = 3
    for stage, blocks in enumerate(facts.VGG_BLOCKS[depth]):
        filters = 16 * (1, 2, 4, 8, 8)[stage]
        for _ in range(blocks):
            kernels += 9 * inputs * filters
            biases += filters * (3 if norm else 1)
            inputs = filters
    dense = 49 * 128 * 16 + 16 * 16 + 16 * 1000 + 16 + 16 + 1000
    assert counts.count_parameters(model) == kernels + biases + dense


def test_endpoints_are_before_the_pooling_behind_their_stages():
    model = vgg.vgg(16, include_top=False, width=4, input_shape=(224, 160, 3))
    shapes = {name: tensor.shape[1:] for name, tensor in surgery.endpoints(model).items()}
    assert shapes == {
        "conv1": (224, 160, 4),
        "conv2": (112, 80, 8),
        "conv3": (56, 40, 16),
        "conv4": (28, 20, 32),
        "conv5": (14, 10, 32),
    }
    assert model.output_shape == (None, 14, 10, 32)
    backbone = zoo.backbone("vgg16", **THIN, endpoints=("conv5", "fc7"))
    assert {name: x.shape[1:] for name, x in backbone.output.items()} == {
        "conv5": (14, 14, 32),
        "fc7": (16,),
    }
    assert backbone.layers[-1].name == "dropout"  # which is behind both hidden layers
    zoo.freeze(backbone, "conv2")
    trained = {v.path.split("/")[0] for v in backbone.trainable_variables}
    assert {"conv3_block1_conv", "fc6", "fc7"} <= trained
    assert not any(name.startswith(("conv1", "conv2")) for name in trained)


def test_saved_networks_load(tmp_path):
    model = zoo.get("vgg16", **THIN, num_classes=5, input_shape=(32, 32, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    expected = np.asarray(model(images))
    zoo.save(model, tmp_path / "saved", class_names=list("abcde"))
    np.testing.assert_array_equal(zoo.get(tmp_path / "saved")(images), expected)
    model.save(tmp_path / "model.keras")
    loaded = zoo.get("vgg16", weights=tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    # Features need no hidden layers.
    features = zoo.get(
        "vgg16", weights=tmp_path / "model.weights.h5", include_top=False, pooling="avg"
    )
    assert features.output_shape == (None, 32)
    kernel = "conv5_block3_conv"
    np.testing.assert_array_equal(features.get_layer(kernel).kernel, model.get_layer(kernel).kernel)


def test_another_head_keeps_the_hidden_layers(tmp_path):
    # Of the builder's own: it tells by its layers what it is.
    model = vgg.vgg(16, batch_norm=True, **THIN, num_classes=2, input_shape=(32, 32, 3))
    zoo.save(model, tmp_path / "own", class_names=list("ab"))
    other = zoo.get(tmp_path / "own", num_classes=3)
    assert (other.name, other.output_shape) == ("vgg16_bn", (None, 3))
    np.testing.assert_array_equal(other.get_layer("fc6").kernel, model.get_layer("fc6").kernel)


def test_dropout_is_the_papers_and_can_be_left_out():
    def rates(**options):
        model = zoo.get("vgg16", **THIN, input_shape=(32, 32, 3), **options)
        return [layer.rate for layer in model.layers if hasattr(layer, "rate")]

    assert rates() == [0.5, 0.5]
    assert rates(dropout=0.2) == [0.2, 0.2]
    assert rates(dropout=0) == []


def test_rematerialization_gives_the_same():
    options = {**THIN, "num_classes": 3, "input_shape": (32, 32, 3), "dropout": 0}
    model = vgg.vgg(16, batch_norm=True, **options)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    other = rematerialize.rematerialize(model)
    np.testing.assert_array_equal(other(images), model(images))
    np.testing.assert_allclose(
        other(images, training=True), model(images, training=True), rtol=1e-4, atol=1e-5
    )


def test_rematerialization_that_saves_nothing_is_refused():
    with pytest.raises(InputError, match=r"'vgg16' keeps as much .* Leave remat out"):
        rematerialize.rematerialize(vgg.vgg(16, **THIN, input_shape=(32, 32, 3)))


@pytest.mark.slow
def test_jax_pools_images_of_any_size_as_tensorflow_does(run_on_jax, tmp_path):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (2, 72, 40, 3), "uint8")
    model = vgg.vgg(16, **THIN, num_classes=3, input_shape=(None, None, 3))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "logits.npy", model(images))
    code = """
        import sys
        import keras
        import numpy as np
        from resnet_keras.networks import vgg

        folder = sys.argv[1]
        images, logits = np.load(folder + "/images.npy"), np.load(folder + "/logits.npy")
        model = keras.models.load_model(folder + "/model.keras")
        np.testing.assert_allclose(model.predict(images), logits, rtol=1e-4, atol=1e-4)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
        assert np.isfinite(model.train_on_batch(images, np.arange(2)))
        """
    run_on_jax(code, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shortcut": "B"}, "Unknown option of vgg16: 'shortcut'"),
        ({"stochastic_depth": 0.5}, "vgg16 has no residual branches"),
        ({"width": 0}, "width must be a positive whole number"),
        ({"hidden": "many"}, "hidden must be a positive whole number"),
        ({"input_shape": (31, 40, 3)}, "images of 32x32 pixels at least"),
        ({"include_top": False, "input_shape": (40, 15, 3)}, "images of 16x16 pixels at least"),
        ({"include_top": False, "dropout": 0.5}, "dropout stands before the logits"),
    ],
)
def test_what_has_no_meaning_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        zoo.get("vgg16", **{**THIN, **options})


def test_hidden_layers_are_not_passed_over():
    model = vgg.vgg(16, batch_norm=False, width=2, hidden=16, num_classes=3)
    with pytest.raises(InputError, match="take another protocol"):
        protocols.fully_convolutional(model, 224)
    with pytest.raises(InputError, match="no batch normalization behind"):
        responses.layers(model)


def test_unknown_depths():
    with pytest.raises(InputError, match="depth 16 or 19, not 13"):
        vgg.vgg(13)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
