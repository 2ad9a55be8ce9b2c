"""What segmenters return, keep and refuse; on the small network of shapes."""

import importlib
import re

import keras
import numpy as np
import pytest
from keras import ops

from resnet_keras import segmentation, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks.layers import BatchNormalization
from resnet_keras.networks.rematerialize import rematerialize
from resnet_keras.segmentation import prediction, recipe
from resnet_keras.segmentation.resizing import BilinearResizing

importlib.import_module("resnet_keras.detection.backbones")  # adds resnet10_shapes
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 37, 50, 3)).astype("uint8")
LABELS = np.random.default_rng(1).integers(0, 3, (2, 37, 50))
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def backbone(**options):
    return zoo.backbone("resnet10_shapes", **{"input_shape": (None, None, 3), **options})


@pytest.fixture(scope="module")
def shared():
    return backbone(output_stride=8)


@pytest.mark.parametrize(
    "options",
    [
        {"head": "fcn"},
        pytest.param(
            {"head": "deeplabv3", "channels": 8, "rates": (1, 2, 4)}, marks=pytest.mark.slow
        ),
        pytest.param({"head": "fcn", "skip": "conv2", "auxiliary": True}, marks=pytest.mark.slow),
    ],
    ids=lambda options: options["head"] + ("" if len(options) < 3 else "_and_more"),
)
def test_segmenters_are_trained_saved_and_loaded(shared, options, tmp_path):
    names = ("ground", "circle", "square")
    model = segmentation.segmenter(shared, 3, class_names=names, **options)
    model.compile("sgd", CROSS_ENTROPY)
    auxiliary = "auxiliary" in options
    labels = {"logits": LABELS, "auxiliary": LABELS} if auxiliary else LABELS
    before = [np.asarray(v) for v in model.trainable_weights]
    model.fit(IMAGES, labels, verbose=0)
    for variable, old in zip(model.trainable_weights, before, strict=True):
        assert not np.array_equal(variable, old), variable.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert segmentation.class_names(loaded) == names
    outputs, again = model(IMAGES), loaded(IMAGES)
    if auxiliary:
        assert set(outputs) == {"logits", "auxiliary"}
        np.testing.assert_array_equal(outputs["auxiliary"], again["auxiliary"])
        assert not np.allclose(outputs["auxiliary"], outputs["logits"])
        outputs, again = outputs["logits"], segmentation.without_auxiliary(loaded)(IMAGES)
    else:
        assert segmentation.without_auxiliary(model) is model
    assert outputs.shape == (2, 37, 50, 3)
    np.testing.assert_array_equal(outputs, again)
    np.testing.assert_allclose(outputs, np.asarray(_logits(model)(IMAGES / 1.0)), atol=1e-5)


def _logits(model):
    return segmentation.without_auxiliary(model)


def test_resizing_is_bilinear_between_centres_of_pixels():
    """Against a literal loop, larger and smaller, odd and even."""
    maps = np.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype("float32")

    def at(values, position):
        low = int(np.floor(np.clip(position, 0, len(values) - 1)))
        high = min(low + 1, len(values) - 1)
        share = np.clip(position, 0, len(values) - 1) - low
        return values[low] * (1 - share) + values[high] * share

    for height, width in ((5, 4), (10, 9), (13, 8), (3, 3)):
        rows = [at(maps[0], (i + 0.5) * 5 / height - 0.5) for i in range(height)]
        expected = [[at(row, (j + 0.5) * 4 / width - 0.5) for j in range(width)] for row in rows]
        like = np.zeros((1, height, width, 1), "float32")
        for layer, arguments in (
            (BilinearResizing(), {"like": like}),
            (BilinearResizing((height, width)), {}),
        ):
            found = np.asarray(layer(maps, **arguments))
            np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_rates_follow_the_output_stride():
    def rates(stride, **options):
        network = backbone(output_stride=stride, **options)
        model = segmentation.segmenter(network, 2, head="deeplabv3")
        return [model.get_layer(f"head_aspp{n}_conv").dilation_rate[0] for n in (1, 2, 3)]

    assert rates(8) == [12, 24, 36]
    assert rates(16) == [6, 12, 18]
    # Of 20 pixels stride 16 leaves 2 cells, which stands for no more than stride 10.
    assert rates(16, input_shape=(20, 20, 3)) == [6, 12, 18]


@pytest.mark.parametrize("network", ["resnet10_shapes", "vgg16_shapes"])
def test_batch_statistics_are_shared_by_all_layers_or_none(network):
    """Of VGG, which has no batch normalization, by those of the head."""
    for synchronized in (False, True):
        model = recipe.build(network, class_names=["a", "b"], synchronized=synchronized)
        norms = [layer for layer in model.layers if hasattr(layer, "moving_mean")]
        assert norms
        assert {layer.synchronized for layer in norms} == {synchronized}


def test_a_segmenter_of_fixed_size_refuses_other_images():
    model = segmentation.segmenter(backbone(input_shape=(32, 32, 3)), 3)
    with pytest.raises(
        InputError, match=r"images of 32x32 pixels, not of 64x48.*\(None, None, 3\)"
    ):
        prediction.probabilities(model, np.zeros([1, 64, 48, 3], "uint8"))


@pytest.mark.slow
def test_a_segmenter_of_fixed_size_is_rematerialized():
    model = segmentation.segmenter(backbone(input_shape=(32, 32, 3)), 3, dropout=0)
    cut = rematerialize(model)
    images, labels = IMAGES[:, :32, :32], LABELS[:, :32, :32]
    losses = []
    weights = model.get_weights()
    for network in (model, cut):
        model.set_weights(weights)
        network.compile(keras.optimizers.SGD(0.1), CROSS_ENTROPY)
        losses.append(network.fit(images, labels, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    with pytest.raises(InputError, match="one input and one output"):
        rematerialize(segmentation.segmenter(backbone(), 3, auxiliary=True))


def test_logits_are_float32_under_mixed_precision():
    mixed = backbone(dtype="mixed_bfloat16", synchronized=True)
    model = segmentation.segmenter(mixed, 3)
    assert model(IMAGES).dtype == "float32"
    assert model.get_layer("head_conv").compute_dtype == "bfloat16"
    assert model.get_layer("head_bn").synchronized
    # Before the resizing, which would otherwise hide it.
    assert model.get_layer("head_logits").compute_dtype == "float32"


@pytest.mark.parametrize("kind", ["group", pytest.param("layer", marks=pytest.mark.slow), "frozen"])
def test_heads_are_normalized_as_their_backbone_is(kind, tmp_path):
    """One image a replica is enough then, even for DeepLabV3, which pools over all of it."""
    model = segmentation.segmenter(
        backbone(normalization=kind), 3, head="deeplabv3", channels=8, skip="conv2", auxiliary=True
    )
    heads = [layer for layer in model.layers if re.match(r"(head|auxiliary).*_bn$", layer.name)]
    expected = BatchNormalization
    if kind != "frozen":  # a head is trained
        expected = keras.layers.GroupNormalization
        assert {layer.groups > 1 for layer in heads} == {kind == "group"}
        model.compile(keras.optimizers.SGD(0.1), dict.fromkeys(model.output_names, CROSS_ENTROPY))
        labels = dict.fromkeys(model.output_names, LABELS[:1])
        assert np.isfinite(model.fit(IMAGES[:1], labels, verbose=0).history["loss"][0])
    assert {type(layer) for layer in heads} == {expected}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(_logits(loaded)(IMAGES), _logits(model)(IMAGES))


def test_stages_are_frozen_and_heads_are_not(shared):
    model = segmentation.segmenter(shared, 3, auxiliary=True)
    zoo.freeze(model, "conv5")
    trained = {v.path.split("_")[0] for v in model.trainable_weights}
    zoo.freeze(model, None)
    assert trained == {"head", "auxiliary"}


def test_arguments_that_do_not_fit(shared):
    def refused(message, *arguments, **options):
        with pytest.raises(InputError, match=message):
            segmentation.segmenter(*arguments, **options)

    refused("head 'fcm'. Did you mean 'fcn'", shared, 3, head="fcm")
    refused("num_classes must be a positive", shared, 0)
    refused("2 class_names do not fit 3", shared, 3, class_names=("a", "b"))
    refused("skip 'conv5'", shared, 3, skip="conv5")
    refused("dropout must be a rate", shared, 3, dropout=1.0)
    refused("channels must be a positive", shared, 3, channels=0)
    refused("Each of rates must be", shared, 3, head="deeplabv3", rates=(1, 0))
    refused('rates are of head="deeplabv3"', shared, 3, rates=(1, 2))
    refused("no features by endpoint", keras.Model(shared.input, shared.output["conv5"]), 3)
    refused("endpoints=", backbone(endpoints="conv5"), 3, auxiliary=True)
    with pytest.raises(InputError, match="is no segmenter"):
        segmentation.class_names(shared)


def test_a_dict_of_targets_is_what_keras_compiles(shared):
    """With a loss and a weight for each output, as torchvision trains: 1 and 0.5."""
    model = segmentation.segmenter(shared, 3, auxiliary=True)
    losses = {"logits": CROSS_ENTROPY, "auxiliary": CROSS_ENTROPY}
    model.compile("sgd", losses, loss_weights={"logits": 1.0, "auxiliary": 0.5})
    result = model.evaluate(
        IMAGES, {"logits": LABELS, "auxiliary": LABELS}, verbose=0, return_dict=True
    )
    outputs = model(IMAGES)
    each = {
        name: float(CROSS_ENTROPY(LABELS, ops.convert_to_tensor(y))) for name, y in outputs.items()
    }
    assert result["loss"] == pytest.approx(each["logits"] + 0.5 * each["auxiliary"], rel=1e-4)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
