"""Segmenters with torchvision's weights answer as torchvision's own do, and dilated networks too.

Its answers were recorded by segmenter_parity.py, to random weights and random batch statistics that
both sides make by the rule of parity.py.
"""

import json

import keras
import numpy as np
import parity
import pytest
import segmenter_parity
from safetensors.numpy import save_file

from resnet_keras import segmentation, zoo
from resnet_keras.networks import surgery
from resnet_keras.networks.counts import count_multiply_adds, count_parameters

RECORDED = json.loads(segmenter_parity.NAMES.read_text())
ANSWERS = np.load(segmenter_parity.ANSWERS)
RESNET50 = dict(json.loads(parity.NAMES.read_text())["tensors"]["resnet50"])
FCN, DEEPLABV3 = segmenter_parity.SEGMENTERS


def backbone_tensors():
    shapes = {name: shape for name, shape in RESNET50.items() if not name.startswith("fc.")}
    return {name: parity.torch_weights(name, tuple(shape)) for name, shape in shapes.items()}


def head_tensors(name):
    return {n: parity.torch_weights(n, tuple(s)) for n, s in RECORDED["tensors"][name]}


def write(path, name):
    body = {f"backbone.{n}": values for n, values in backbone_tensors().items()}
    counter = {"classifier.1.num_batches_tracked": np.array(7, "int64")}
    save_file(body | head_tensors(name) | counter, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Each head, the FCN with its auxiliary one, too."""
    folder, models = tmp_path_factory.mktemp("weights"), {}
    for name in (FCN, DEEPLABV3):
        path = write(folder / f"{name}.safetensors", name)
        models[name] = segmentation.get(name, weights=path, auxiliary=name == FCN)
        path.unlink()
    return models


def difference(found, expected):
    """The largest difference, relative to the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def answer(key, size, what):
    return ANSWERS[f"{key} {size[0]}x{size[1]} {what}"]


def recorded(logits):
    return logits[0, segmenter_parity.ROWS, segmenter_parity.COLUMNS]


@pytest.mark.parametrize("size", segmenter_parity.SIZES)
@pytest.mark.parametrize("name", [FCN, DEEPLABV3])
def test_logits(models, name, size):
    outputs = models[name](segmenter_parity.image(size))
    if name == FCN:
        assert difference(recorded(outputs["auxiliary"]), answer(name, size, "aux")) < 1e-5
        alone = segmentation.without_auxiliary(models[name])
        logits = alone(segmenter_parity.image(size))
        np.testing.assert_array_equal(logits, outputs["logits"])
    else:
        logits = outputs
    assert logits.shape == (1, *size, 21)
    assert difference(recorded(logits), answer(name, size, "out")) < 1e-5


def test_features_of_the_dilated_backbone(models):
    check_features(models[FCN], "resnet50 8 3x3")


@pytest.mark.slow
@pytest.mark.parametrize("stride", segmenter_parity.DILATED)
@pytest.mark.parametrize("place", ["1x1", "3x3"])
def test_features_of_other_output_strides_and_stride_places(stride, place, tmp_path):
    path = tmp_path / "resnet50.safetensors"
    save_file(backbone_tensors(), path)
    first = place == "1x1"
    model = zoo.backbone(
        "resnet50",
        weights=path,
        input_shape=(None, None, 3),
        output_stride=stride,
        stride_in_1x1=first,
    )
    check_features(model, f"resnet50 {stride} {place}")
    model = zoo.backbone(
        "resnet50",
        input_shape=(*segmenter_parity.COUNTED, 3),
        output_stride=stride,
        stride_in_1x1=first,
    )
    expected = RECORDED["multiply_adds"][f"resnet50 {stride} {place}"]
    assert count_multiply_adds(model) == expected


def check_features(model, key):
    size = segmenter_parity.SIZES[1]
    stages = keras.Model(model.input, surgery.endpoints(model))
    features = stages(segmenter_parity.image(size))
    for name in ("conv4", "conv5"):
        found = features[name][0, ..., segmenter_parity.CHANNELS]
        assert difference(found, answer(key, size, name)) < 2e-6


def test_the_rates_and_the_dilation_matter(models):
    """The recorded answers can tell, so that the comparisons above can fail."""
    size = segmenter_parity.SIZES[1]
    expected = answer(DEEPLABV3, size, "out")
    model = models[DEEPLABV3]
    for changed in ("head_aspp3_conv", "conv5_block2_2_conv"):
        layer = model.get_layer(changed)
        rate, layer.dilation_rate = layer.dilation_rate, (1, 1)
        logits = model(segmenter_parity.image(size))
        layer.dilation_rate = rate
        assert difference(recorded(logits), expected) > 1e-3


@pytest.mark.parametrize("name", [pytest.param(FCN, marks=pytest.mark.slow), DEEPLABV3])
def test_counts_are_torchvisions(models, name):
    counts = RECORDED["multiply_adds"]
    model = segmentation.get(
        name, auxiliary=True, input_shape=(*segmenter_parity.COUNTED, 3), num_classes=21
    )
    assert count_parameters(model) == segmentation.segmenters.SEGMENTERS[name].parameters
    assert count_multiply_adds(model) == counts[f"{name} auxiliary"]
    assert count_multiply_adds(segmentation.without_auxiliary(model)) == counts[name]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
