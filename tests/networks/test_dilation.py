"""Stages that are dilated instead of striding compute the same values, and more between them.

That they compute what torchvision's do is tested in tests/segmentation.
"""

import importlib

import keras
import numpy as np
import pytest

from resnet_keras import detection, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks.counts import count_multiply_adds
from resnet_keras.networks.rematerialize import rematerialize
from resnet_keras.networks.resnet import cifar_resnet

importlib.import_module("resnet_keras.detection.backbones")  # adds the networks of shapes
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 70, 101, 3)).astype("uint8")


def backbone(name, **options):
    return zoo.backbone(name, **{"input_shape": (None, None, 3), **options})


def randomized(model):
    """So that no normalization is the identity."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        if "_bn/" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


NETWORKS = [
    ("resnet10_shapes", {}, (16, 8, 4)),
    ("plain10_shapes", {}, (16, 8, 4)),
    ("resnet8", {"shortcut": "A"}, (4, 2, 1)),
    ("resnet8", {"shortcut": "C"}, (4, 2, 1)),
    ("plain8", {}, (4, 2, 1)),
    ("resnet8d", {}, (4, 2, 1)),
    ("resnext11_2x8d", {}, (4, 2, 1)),
    ("preact_resnet8", {}, (4, 2, 1)),
    ("preact_resnet11", {}, (4, 2, 1)),
    ("wrn10_2", {}, (4, 2, 1)),
    pytest.param("resnetv2_50", {"width": 8}, (32, 16, 8), marks=pytest.mark.slow),
    pytest.param("resnet18", {}, (32, 16, 8), marks=pytest.mark.slow),
    pytest.param("resnet18", {"shortcut": "A"}, (32, 16, 8), marks=pytest.mark.slow),
    pytest.param("plain18", {}, (32, 16, 8), marks=pytest.mark.slow),
    *(
        pytest.param(name, {}, (32, 16, 8), marks=pytest.mark.slow)
        for name in ("resnet18d", "resnet50c", "resnext50_32x4d")
    ),
    pytest.param("resnet50", {"stride_in_1x1": True}, (32, 16, 8), marks=pytest.mark.slow),
    pytest.param("resnet50", {"stride_in_1x1": False}, (32, 16, 8), marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "strides"), NETWORKS)
def test_values_of_the_smaller_map_are_among_those_of_the_finer(name, options, strides):
    whole = randomized(backbone(name, **options))
    expected = whole(IMAGE)
    for stride in strides[1:]:
        model = backbone(name, output_stride=stride, **options)
        # In files of Keras, weights are in this order.
        assert [v.path for v in model.weights] == [v.path for v in whole.weights]
        model.set_weights(whole.get_weights())
        features = model(IMAGE)
        *_, deepest = features
        sides = np.array(IMAGE.shape[1:3])
        assert features[deepest].shape[1:3] == (*-(-sides // stride),)
        for endpoint, value in expected.items():
            # Of the endpoint, not of the last one: 1 where it is not finer than it was.
            step = max(1, strides[0] // 2 ** (list(expected)[::-1].index(endpoint)) // stride)
            found = np.asarray(features[endpoint])[:, ::step, ::step]
            assert found.shape == value.shape, endpoint
            np.testing.assert_allclose(found, value, atol=1e-5 * np.abs(value).max())


def test_dilations_by_the_place_of_the_stride():
    """The other place, and torchvision's dilations, are tested by its answers."""
    model = backbone("resnet50", output_stride=8, stride_in_1x1=True)
    names = [f"conv{n}_block{b}_2_conv" for n in (3, 4, 5) for b in (1, 2)]
    assert [model.get_layer(name).dilation_rate[0] for name in names] == [1, 1, 2, 2, 4, 4]


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet50", 4, "output_stride of resnet50: 4.* 32, 16"),
        ("resnet20", 8, "output_stride of resnet20: 8.* 4, 2, 1"),
        ("resnet10_shapes", 32, "output_stride 32.* 16, 8, 4"),
        ("resnet18", True, "output_stride of resnet18: True"),
    ],
)
def test_other_output_strides_are_refused(name, stride, message):
    with pytest.raises(InputError, match=message):
        backbone(name, output_stride=stride)


def test_networks_without_stages_to_dilate_have_no_output_stride():
    def toy(**shared):
        raise AssertionError

    zoo.register("toy_without_strides", toy)
    try:
        with pytest.raises(InputError, match="option of toy_without_strides: 'output_stride'"):
            backbone("toy_without_strides", output_stride=8)
    finally:
        del zoo.NETWORKS["toy_without_strides"]


@pytest.mark.slow
def test_any_weights_load_and_files_keep_the_output_stride(tmp_path):
    """Of one's own and of Keras's kinds, read with the same, with another or with none."""
    whole = zoo.get("resnet20", weights="digits", include_top=False, input_shape=(None, None, 3))
    dilated = zoo.get(
        "resnet20",
        weights="digits",
        include_top=False,
        input_shape=(None, None, 3),
        output_stride=2,
    )
    for a, b in zip(whole.get_weights(), dilated.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = np.asarray(dilated(IMAGE))
    zoo.save(dilated, tmp_path / "saved")
    dilated.save(tmp_path / "dilated.keras")
    zoo.weights.save(tmp_path / "dilated.safetensors", dilated)
    dilated.save_weights(tmp_path / "dilated.weights.h5")
    loaded = keras.models.load_model(tmp_path / "dilated.keras")
    np.testing.assert_array_equal(loaded(IMAGE), expected)
    assert zoo.weights.record.of(loaded)[1]["output_stride"] == 2
    for name, weights, options in (
        (tmp_path / "saved", None, {}),
        ("resnet20", tmp_path / "dilated.keras", {}),
        ("resnet20", tmp_path / "dilated.safetensors", {}),
        ("resnet20", tmp_path / "dilated.weights.h5", {"output_stride": 2}),
    ):
        model = zoo.backbone(
            name, weights=weights, input_shape=(None, None, 3), endpoints="conv4", **options
        )
        np.testing.assert_array_equal(model(IMAGE)["conv4"], expected)
    back = zoo.get(tmp_path / "saved", output_stride=4)
    np.testing.assert_array_equal(back(IMAGE), whole(IMAGE))
    assert "output_stride" not in zoo.weights.record.stored(*zoo.weights.record.of(back))


def test_an_output_stride_is_told_by_the_layers_where_it_is_not_recorded():
    model = cifar_resnet(8, output_stride=1)
    network, options = zoo.weights.record.of(model)
    assert (network.name, options["output_stride"]) == ("resnet8", 1)


def test_training_freezing_and_rematerializing():
    """The gradient of a dilated convolution is taken, and stages are frozen as ever."""
    model = zoo.get(
        "resnet8", num_classes=3, input_shape=(16, 16, 3), output_stride=1, dtype="mixed_bfloat16"
    )
    zoo.freeze(model, "conv3")
    model = rematerialize(model)
    before = [np.asarray(v) for v in model.weights]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGE[:, :16, :16], np.array([1]), verbose=0)
    moved = {
        v.path.split("_")[0]
        for v, old in zip(model.weights, before, strict=True)
        if not np.array_equal(v, old)
    }
    assert moved == {"conv4", "logits/kernel", "logits/bias"}


def test_multiply_adds_of_finer_maps():
    """By the formula: conv5 costs as much per value, at four times as many of them, and so on."""

    def count(stride):
        name = "resnet10_shapes"
        return count_multiply_adds(backbone(name, output_stride=stride, input_shape=(64, 64, 3)))

    conv4 = 8 * 8 * (9 * (32 * 64 + 64 * 64) + 32 * 64)
    conv5 = 4 * 4 * (9 * (64 * 128 + 128 * 128) + 64 * 128)
    assert count(8) - count(16) == 3 * conv5
    assert count(4) - count(16) == 3 * conv4 + 15 * conv5


def test_a_feature_pyramid_wants_maps_that_halve():
    dilated = backbone("resnet10_shapes", output_stride=8)
    with pytest.raises(InputError, match="not of strides 2, 4, 8, 8"):
        detection.FasterRCNN(dilated, 3, neck="fpn", preset="torchvision")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
