"""What is said of files that hold no weights of the detector, and what is registered."""

import importlib
import json

import detector_parity
import keras
import numpy as np
import parity
import pytest
from safetensors.numpy import save_file

from resnet_keras import detection, facts, zoo
from resnet_keras.errors import InputError
from resnet_keras.pipelines import object_records

V1, V2 = detector_parity.V1, detector_parity.V2
RECORDED = json.loads(detector_parity.NAMES.read_text())["networks"]
NAMES = {name: [tensor for tensor, _ in row["tensors"]] for name, row in RECORDED.items()}


def refused(message, name, path, **arguments):
    with pytest.raises(InputError, match=message) as caught:
        detection.get(name, weights=path, **arguments)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    """Writes tensors of one value each: names are looked at first, then shapes."""

    def write(names, more=()):
        path = tmp_path / "detector.safetensors"
        tensors = {name: np.ones(1, "float32") for name in (*names, *more)}
        for name in tensors:
            if name.endswith("cls_score.weight"):
                tensors[name] = np.ones((5, 1), "float32")
        save_file(tensors, path)
        return path

    return write


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["layer1.0.conv1.weight", "conv1.weight"], "holds a classifier: give it as weights of"),
        (["backbone.body.0.0.weight"], "a MobileNet"),
        (["head.classification_head.conv.0.0.weight"], "a RetinaNet"),
        (["backbone.bottom_up.stem.conv1.weight"], "of detectron2's: ask for"),
        ([*NAMES[V1], "roi_heads.mask_head.0.0.weight"], "of a Mask R-CNN: ask for mask"),
        ([*NAMES[V1], "roi_heads.keypoint_head.0.weight"], "a Keypoint R-CNN"),
        (["some.thing"], "no weights of torchvision's or .* called some.thing"),
        ([f"{p}.{n}" for p in "ab" for n in NAMES[V1]], r"several networks, a\.\*, b\.\*"),
        (NAMES[V2], f"the box head of {V2}: ask for that"),
        ([n for n in NAMES[V1] if "cls_score" not in n], "lacks roi_heads.box_predictor.cls_score"),
    ],
)
def test_files_of_other_networks(file, names, message):
    path = file(names)
    assert str(path) in refused(message, V1, path)


def test_the_average_of_a_training_is_taken_and_said(file):
    path = file(f"{p}.{n}" for p in ("model", "model_ema.module") for n in NAMES[V1])
    with pytest.warns(UserWarning, match=r"averaged ones, model_ema\.module\.\*, are taken"):
        tensors = detection.weights.layout.read(path)
    assert {*tensors} == {name for name in NAMES[V1] if not name.endswith("tracked")}


def test_files_that_do_not_fit(file):
    def refused_by(message, path, **options):
        before = [np.asarray(v) for v in model.trainable_weights[:3]]
        with pytest.raises(InputError, match=message):
            detection.weights.load(model, path, **options)
        for value, variable in zip(before, model.trainable_weights, strict=False):
            np.testing.assert_array_equal(value, variable)

    def detector(**options):
        backbone = zoo.backbone("resnet50", input_shape=(None, None, 3), **options)
        return detection.FasterRCNN(backbone, 4, neck="fpn", preset="torchvision")

    names = NAMES[V1]
    model = detector(stride_in_1x1=True)
    refused_by("stride_in_1x1=False", file(names))

    model = detector(stride_in_1x1=False)
    refused_by("make the backbone with epsilon=0.0", file(names), epsilon=0.0)
    bias = "rpn.head.bbox_pred.bias"
    refused_by("lacks rpn_deltas/bias", file([name for name in names if name != bias]))
    refused_by(r"has rpn\.head\.extra, which the model lacks", file(names, ["rpn.head.extra"]))
    refused_by("two tensors for rpn_conv/kernel", file(names, ["rpn.head.conv.weight"]))
    refused_by(r"has shape \(1,\) in the file", file(names))
    wrapped = file([f"model.{name}" for name in names], ["optimizer.state.0"])
    refused_by(r"has shape \(1,\) in the file", wrapped)
    last = [name for name in names if "layer3.5." in name]
    deeper = [name.replace(".5.", f".{block}.") for block in range(6, 23) for name in last]
    refused_by("weights of resnet101, not of resnet50", file(names, deeper))


def test_registered_weights(tmp_path):
    entry = detection.detectors.DETECTORS[V1].entry
    message = refused("has no fasterrcnn", V1, "coco", weights_dir=tmp_path)
    assert entry.address in message
    (tmp_path / entry.file_name).write_bytes(b"something else")
    refused("its SHA256 is", V1, "coco", weights_dir=tmp_path)
    assert "Choose one of coco" in refused("'imagenet'", V1, "imagenet")
    refused("There is no weights file", V1, tmp_path / "missing.pth")
    refused(f"Did you mean '{V2}'", "fasterrcnn_resnet50_v2", None)


def test_epsilon_of_the_registered_file(tmp_path):
    """torchvision's first file, and what it was converted to, are told by their names."""
    for name in (V1, V2):
        detector = detection.detectors.DETECTORS[name]
        path = tmp_path / detector.entry.file_name
        expected = 0.0 if name == V1 else 1e-5
        assert detection.weights._epsilon(path.with_suffix(".safetensors"), {}) == expected
    path = tmp_path / "renamed.pth"
    path.write_bytes(b"of one's own")
    assert detection.weights._epsilon(path, {}) == 1e-5


def test_names_of_classes():
    entry = detection.detectors.DETECTORS[V1].entry
    assert entry.class_names == facts.COCO_CLASSES
    named = [number for number, name in enumerate(facts.COCO_CLASSES, 1) if name != "N/A"]
    assert tuple(named) == object_records.COCO_IDS
    assert (facts.COCO_CLASSES[0], facts.COCO_CLASSES[89]) == ("person", "toothbrush")


@pytest.mark.slow
def test_another_backbone(tmp_path):
    """Names of torchvision's `resnet_fpn_backbone("resnet18")`; batch normalization is live."""
    body = dict(json.loads(parity.NAMES.read_text())["tensors"]["resnet18"])
    body = {name: shape for name, shape in body.items() if not name.startswith("fc.")}
    shapes = {f"backbone.body.{name}": shape for name, shape in body.items()}
    for name, shape in RECORDED[V1]["tensors"]:
        if "inner_blocks" in name and len(shape) == 4:
            shapes[name] = [shape[0], shape[1] // 4, 1, 1]
        elif not name.startswith("backbone.body."):
            shapes[name] = shape
    path = tmp_path / "detector.safetensors"
    save_file({name: parity.torch_weights(name, tuple(s)) for name, s in shapes.items()}, path)

    backbone = zoo.backbone("resnet18", input_shape=(None, None, 3))
    model = detection.FasterRCNN(backbone, 4, neck="fpn", preset="torchvision")
    new = np.asarray(model.predictor.weights[0])
    with pytest.raises(InputError, match=r"class_logits/kernel has shape \(1024, 91\)"):
        detection.weights.load(model, path)
    detection.weights.load(model, path, head=False)
    np.testing.assert_array_equal(model.predictor.weights[0], new)
    kernel = parity.torch_weights("rpn.head.cls_logits.weight", (3, 256, 1, 1))
    found = model.rpn.get_layer("rpn_objectness").kernel
    np.testing.assert_array_equal(found, kernel.transpose(2, 3, 1, 0))

    path = tmp_path / "resnet18.safetensors"
    prefix = "backbone.body."
    save_file({n: parity.torch_weights(f"{prefix}{n}", tuple(s)) for n, s in body.items()}, path)
    expected = zoo.backbone("resnet18", weights=path, input_shape=(None, None, 3))
    image = parity.images(64, 96, 1)
    for name, features in expected(image).items():
        np.testing.assert_array_equal(backbone(image)[name], features)


def test_frozen_backbones_are_saved(tmp_path):
    """As `get` makes them; here of a small network."""
    importlib.import_module("resnet_keras.detection.backbones")  # adds resnet10_shapes
    live = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3))
    frozen = detection.statistics.frozen(live)
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    image = parity.images(32, 32, 1)
    for name, features in frozen(image).items():
        np.testing.assert_array_equal(loaded(image)[name], features)
        np.testing.assert_allclose(features, live(image)[name], rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
