"""VGG as a detector's backbone: RoIs of conv5, and its hidden layers on each."""

import detectors
import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.detection import FasterRCNN, backbones, faster_rcnn, padding, recipe
from resnet_keras.errors import InputError

THIN = {"width": 4, "hidden": 16, "input_shape": (None, None, 3)}


def vgg_detector(**options):
    keras.utils.set_random_seed(0)
    backbone = zoo.backbone("vgg16", **THIN, endpoints=("conv5", "fc7"))
    return FasterRCNN(
        backbone, detectors.CLASSES, **{"roi": "max_pool", **detectors.SMALL, **options}
    )


@pytest.fixture(scope="module")
def model():
    return vgg_detector()


def test_the_head_is_the_classifiers_on_rois_of_7x7_cells_at_stride_16(model):
    whole = model.backbone
    assert model.box_head.input_shape == (None, 7, 7, 32)
    assert model.rpn.input_shape == (None, None, None, 32)
    maps, levels = model.look(detectors.images(1, 64, 96), tf.constant([[64, 96]]))
    assert maps[0].shape == (1, 4, 6, 32)
    assert levels[0].objectness.shape == (1, 4 * 6 * 6)
    # What the classifier makes of features is what the head makes of them, in the place of its own
    # pooling, which leaves them as they are.
    pooled = np.random.default_rng(0).normal(size=(3, 7, 7, 32)).astype("float32")
    x = np.maximum(pooled.reshape(3, -1) @ whole.get_layer("fc6").kernel, 0)
    x = np.maximum(x @ whole.get_layer("fc7").kernel, 0)
    np.testing.assert_allclose(model.box_head(pooled), x, rtol=1e-4, atol=1e-5)
    dropped = [np.asarray(model.box_head(pooled, training=True)) for _ in range(2)]
    assert not np.array_equal(*dropped)
    assert np.mean(dropped[0] == 0) > np.mean(x == 0)


def test_all_of_its_layers_learn(model):
    x, targets = detectors.batch()
    with tf.GradientTape() as tape:
        losses = model(tf.constant(x), targets=targets, training=True)
        total = tf.add_n([tf.reduce_mean(loss) for loss in losses.values()])
    variables = {v.path: v.value for v in model.trainable_variables}
    gradients = tape.gradient(total, variables)
    assert {"fc6/kernel", "fc7/bias", "conv1_block1_conv/kernel"} <= gradients.keys()
    assert all(np.abs(g).sum() > 0 for path, g in gradients.items() if path.startswith("conv"))
    assert np.abs(gradients["fc6/kernel"]).sum() > 0


@pytest.mark.slow
def test_fit_lowers_the_loss():
    model = vgg_detector()
    model.compile(keras.optimizers.SGD(1e-2))
    x, targets = detectors.batch()
    losses = model.fit(x, targets, batch_size=2, epochs=8, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_it_finds_the_same_when_it_is_loaded(model, tmp_path):
    images = tf.constant(detectors.images())
    model.save(tmp_path / "detector.keras")
    loaded = keras.models.load_model(tmp_path / "detector.keras")
    again = loaded(images)
    for name, values in model(images).items():
        np.testing.assert_array_equal(again[name], values)


def test_the_last_bin_of_a_pooling_sees_nothing_beyond_the_image(model):
    """Of 33 rows it has one, behind which there is what convolutions make of the padding."""
    backbone = model.backbone
    images = detectors.images(1, 40, 48)[:, :33, :35]
    before = keras.Model(backbone.input, backbone.get_layer("conv1_block2_out").output)
    alone = np.pad(np.asarray(before(images)), [(0, 0), (0, 1), (0, 1), (0, 0)])
    expected = alone.reshape(1, 17, 2, 18, 2, -1).max((2, 4))
    pooled = padding.masked(keras.Model(backbone.input, backbone.get_layer("conv1_pool").output))
    pixels = faster_rcnn.padded(tf.constant(images))
    with padding.sizes_of(pixels, tf.constant([[33, 35]])):
        found = np.asarray(pooled(pixels))[:, :17, :18]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_run_takes_the_stage_and_the_hidden_layers():
    built = recipe.build(
        "vgg16_shapes", class_names=["a", "b"], scale=(64, 64), neck="c4", roi="max_pool"
    )
    assert sorted(built.backbone.output) == ["conv5", "fc7"]
    assert backbones.endpoints("vgg19_bn", "c4") == ("conv5", "fc7")
    assert backbones.endpoints("vgg16", "fpn") is None
    assert backbones.endpoints("resnet101", "c4") is None


def test_batch_statistics_that_are_not_there_cannot_be_shared(tmp_path):
    given = {"class_names": ["a", "b"], "scale": (64, 64), "sync_batch_norm": True}
    with pytest.raises(InputError, match=r"this model has none: leave it out\.$"):
        recipe.build("vgg16_shapes", roi="max_pool", **given)
    file = tmp_path / "backbone.safetensors"
    zoo.weights.save(file, zoo.get("resnet10_shapes", num_classes=3))
    with pytest.raises(InputError, match="leave it out, or give frozen_statistics=False"):
        recipe.build("resnet10_shapes", str(file), **given)
    model = recipe.build("resnet10_shapes", str(file), frozen_statistics=False, **given)
    shared = recipe.of_the_batch(model)
    assert shared
    assert all(layer.synchronized for layer in shared)


def test_hidden_layers_are_none_of_a_pyramid():
    backbone = zoo.backbone("vgg16", **THIN, endpoints=("conv4", "conv5", "fc7"))
    with pytest.raises(InputError, match="leave fc7 out"):
        FasterRCNN(backbone, 2, neck="fpn")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
