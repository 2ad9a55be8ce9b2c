"""Transfer learning: new heads, other inputs, backbones, frozen stages."""

import keras
import numpy as np
import pytest

from resnet_keras import pipelines, zoo
from resnet_keras.errors import InputError

GREY = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), "uint8")


def test_grey_input_answers_as_the_same_picture_in_rgb():
    rgb = zoo.get("resnet20", weights="digits")
    grey = zoo.get("resnet20", weights="digits", input_shape=(16, 16, 1))
    assert grey.input_shape == (None, 16, 16, 1)
    assert grey.count_params() == rgb.count_params()
    np.testing.assert_array_equal(grey(GREY), rgb(np.repeat(GREY, 3, axis=-1)))
    with pytest.raises(InputError, match="per channel"):
        zoo.get("resnet20", weights="digits", input_shape=(16, 16, 4))


def test_features_and_pooling():
    model = zoo.get("resnet20", weights="digits", include_top=False)
    images = np.repeat(GREY, 3, axis=-1)
    features = np.asarray(model(images))
    assert features.shape == (3, 4, 4, 64)
    for pooling, expected in (("avg", features.mean((1, 2))), ("max", features.max((1, 2)))):
        pooled = zoo.get("resnet20", weights="digits", include_top=False, pooling=pooling)
        np.testing.assert_allclose(pooled(images), expected, rtol=1e-5)
    with pytest.raises(InputError, match="include_top=False"):
        zoo.get("resnet20", weights="digits", pooling="avg")


def test_another_size_has_the_same_weights():
    small, large = (
        zoo.get("resnet20", weights="digits", input_shape=(side, side, 3)) for side in (16, 40)
    )
    for one, other in zip(small.variables, large.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_backbone_strides_are_4_8_16_and_32():
    model = zoo.backbone("resnet50", input_shape=(128, 96, 3))
    shapes = {name: tuple(output.shape[1:]) for name, output in model.output.items()}
    assert shapes == {
        "conv2": (32, 24, 256),
        "conv3": (16, 12, 512),
        "conv4": (8, 6, 1024),
        "conv5": (4, 3, 2048),
    }


@pytest.mark.parametrize("backbone", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_frozen_stages_do_not_move_and_the_others_do(backbone):
    """Gamma, beta and moving statistics included, which Keras's `trainable` alone is for."""
    if backbone:
        trunk = zoo.backbone("resnet20", weights="digits", endpoints="conv4")
        zoo.freeze(trunk, "conv3")
        pooled = keras.layers.GlobalAveragePooling2D()(trunk(trunk.input)["conv4"])
        model = keras.Model(trunk.input, keras.layers.Dense(2)(pooled))
    else:
        model = trunk = zoo.get("resnet20", weights="digits", num_classes=2)
        zoo.freeze(model, "conv3")
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = {v.path: np.array(v) for v in trunk.variables}
    images, labels = pipelines.arrays("digits", "train", image_size=16)
    frozen = keras.Model(trunk.input, trunk.get_layer("conv3_block3_out").output)
    features = np.asarray(frozen(images[:8], training=True))
    np.testing.assert_allclose(features, frozen(images[:8]), rtol=1e-5, atol=1e-5)
    model.fit(images[:64], labels[:64] % 2, batch_size=32, epochs=2, verbose=0)
    for v in trunk.variables:
        moved = np.abs(np.array(v) - before[v.path]).max() > 0
        held = v.path.startswith(("conv1_", "conv2_", "conv3_", "normalization"))
        assert moved != held, v.path
    np.testing.assert_array_equal(np.asarray(frozen(images[:8], training=True)), features)


def test_freeze_is_taken_back_and_knows_its_stages():
    model = zoo.get("resnet8")
    everything = len(model.trainable_variables)
    zoo.freeze(model, "conv4")
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {"logits"}
    zoo.freeze(model, None)
    assert len(model.trainable_variables) == everything
    with pytest.raises(InputError, match="conv1, conv2, conv3, conv4"):
        zoo.freeze(model, "conv5")
    wrapper = keras.Sequential([zoo.backbone("resnet8", endpoints="conv2")])
    with pytest.raises(InputError, match="freeze the network inside it"):
        zoo.freeze(wrapper, "conv2")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
