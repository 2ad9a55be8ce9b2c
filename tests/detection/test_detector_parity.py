"""Detectors with torchvision's weights answer as torchvision's own do.

Its answers were recorded by detector_parity.py, to random weights and random batch statistics that
both sides make by its rule.
"""

import json

import detector_parity
import numpy as np
import pytest
from safetensors.numpy import save_file

from resnet_keras import detection, facts
from resnet_keras.detection import boxes as geometry

RECORDED = json.loads(detector_parity.NAMES.read_text())["networks"]
ANSWERS = np.load(detector_parity.ANSWERS)
# The channels of the background's deltas, which `FasterRCNN` has not: 4 of 1024 values and a bias.
BACKGROUND = 4 * 1025


def old_name(name):
    """What torchvision called a tensor when it published the first file."""
    name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    if "_blocks." in name:
        name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
    return name


def tensors(name):
    recorded = RECORDED[name]
    return {
        tensor: detector_parity.weights(tensor, shape, recorded["gains"])
        for tensor, shape in recorded["tensors"]
    }


def write(name, path, rename, more):
    save_file({rename(k): v for k, v in tensors(name).items()} | more, path)


@pytest.fixture(scope="module")
def v1(tmp_path_factory):
    # By its name it is torchvision's own, whose epsilon is 0.
    path = tmp_path_factory.mktemp("weights") / "fasterrcnn_resnet50_fpn_coco-258fb6c6.safetensors"
    counter = {"backbone.body.bn1.num_batches_tracked": np.array(7, "int64")}
    write(detector_parity.V1, path, old_name, counter)
    model = detection.get(detector_parity.V1, weights=path, proposals=detector_parity.PROPOSALS)
    path.unlink()
    return model


def difference(found, expected):
    """The largest difference, relative to the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def compare(model, name, size):
    """Compares a model's answers, step by step, to those that were recorded; the differences."""
    expected = {
        key.split()[2]: ANSWERS[key] for key in ANSWERS if key.startswith(f"{name} {size[0]}x")
    }
    images, sizes = detection.faster_rcnn.unpack(detector_parity.image(size)[None])
    maps, levels = model.look(images, sizes)
    differences = {
        f"p{k}": difference(x[0, ..., detector_parity.CHANNELS], expected[f"p{k}"])
        for k, x in enumerate(maps, 2)
    }
    for answer in ("objectness", "deltas"):
        found = np.concatenate([getattr(level, answer)[0] for level in levels])
        differences[answer] = difference(found, expected[answer])
    if "anchors" in expected:
        found = np.concatenate([level.anchors for level in levels])
        differences["anchors"] = difference(found, expected["anchors"])
        found = [geometry.decode(level.deltas[0], level.anchors) for level in levels]
        differences["decoded"] = difference(np.concatenate(found), expected["decoded"])
    proposals, is_box = detection.proposals.propose(levels, sizes, model.settings, training=False)
    assert np.all(is_box)
    differences["proposals"] = difference(proposals[0], expected["proposals"])
    logits, deltas = model.classify(model.features(maps, detector_parity.ROIS[None]))
    differences["logits"] = difference(np.roll(logits[0], 1, -1), expected["logits"])
    kept = expected["box_deltas"].reshape(-1, 91, 4)[:, 1:]
    differences["box_deltas"] = difference(deltas[0], kept)
    found = model(detector_parity.image(size)[None])
    count = int(found["count"][0])
    assert count == len(expected["found_boxes"]) > 50
    np.testing.assert_array_equal(found["labels"][0, :count] + 1, expected["found_labels"])
    for answer in ("boxes", "scores"):
        differences[answer] = difference(found[answer][0, :count], expected[f"found_{answer}"])
    return differences


@pytest.mark.parametrize("size", detector_parity.SIZES)
def test_answers_of_torchvision(v1, size):
    differences = compare(v1, detector_parity.V1, size)
    assert max(differences.values()) < 1e-4, differences


def test_answers_in_a_padded_batch(v1):
    """What fills up a batch counts as the mean of the pixels, as torchvision pads."""
    sizes = np.int32(detector_parity.SIZES)
    images = np.full((2, *sizes.max(0), 3), 255, "uint8")
    for image, size in zip(images, detector_parity.SIZES, strict=True):
        image[: size[0], : size[1]] = detector_parity.image(size)
    found = v1({"image": images, "size": sizes})
    for place, (height, width) in enumerate(detector_parity.SIZES):
        prefix = f"{detector_parity.V1} {height}x{width} found_"
        count = int(found["count"][place])
        expected = ANSWERS[f"{prefix}boxes"]
        assert count == len(expected)
        assert difference(found["boxes"][place, :count], expected) < 1e-4
        labels = found["labels"][place, :count] + 1
        np.testing.assert_array_equal(labels, ANSWERS[f"{prefix}labels"])


def test_parameters(v1):
    # Frozen batch normalization is not counted.
    found = sum(int(np.prod(v.shape)) for v in v1.trainable_weights)
    published = detection.detectors.DETECTORS[detector_parity.V1].parameters
    assert found + BACKGROUND == published == RECORDED[detector_parity.V1]["parameters"]


@pytest.mark.slow
def test_second_version(tmp_path):
    """Its answers, its parameters, and another number of classes; as a training script saves it."""
    name, path = detector_parity.V2, tmp_path / "checkpoint.safetensors"
    write(name, path, lambda tensor: f"model.{tensor}", {"optimizer.state.0.step": np.zeros(1)})
    model = detection.get(name, weights=path, proposals=detector_parity.PROPOSALS)
    differences = compare(model, name, detector_parity.SIZES[1])
    assert max(differences.values()) < 1e-4, differences
    found = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    published = detection.detectors.DETECTORS[name].parameters
    assert found + BACKGROUND == published == RECORDED[name]["parameters"]

    assert (model.class_names, model.scale) == (facts.COCO_CLASSES, (800, 1333))

    other = detection.get(name, weights=path, num_classes=3)
    assert (other.class_names, other.scale) == (None, (800, 1333))
    for one, same in zip(model.weights, other.weights, strict=True):
        if one.path.split("/")[0] in detection.weights.PREDICTOR:
            assert one.shape != same.shape
        else:
            np.testing.assert_array_equal(one, same)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
