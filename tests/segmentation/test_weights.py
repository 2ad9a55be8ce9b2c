"""What is said of files that hold no weights of the segmenter, and what is registered."""

import json

import keras
import numpy as np
import parity
import pytest
import segmenter_parity
from safetensors.numpy import save_file

from resnet_keras import segmentation, zoo
from resnet_keras.errors import InputError
from resnet_keras.segmentation.segmenters import SEGMENTERS

FCN, DEEPLABV3 = segmenter_parity.SEGMENTERS
BODY = [
    f"backbone.{name}"
    for name, _ in json.loads(parity.NAMES.read_text())["tensors"]["resnet50"]
    if not name.startswith("fc.")
]
HEADS = json.loads(segmenter_parity.NAMES.read_text())["tensors"]
NAMES = {name: [*BODY, *(tensor for tensor, _ in tensors)] for name, tensors in HEADS.items()}


@pytest.fixture
def file(tmp_path):
    """Writes tensors of one value each: names are looked at first, then shapes."""

    def write(names, more=()):
        path = tmp_path / "segmenter.safetensors"
        tensors = {name: np.ones(1, "float32") for name in (*names, *more)}
        if "classifier.4.weight" in tensors:
            tensors["classifier.4.weight"] = np.ones((5, 1, 1, 1), "float32")
        save_file(tensors, path)
        return path

    return write


def refused(message, name, path, **arguments):
    with pytest.raises(InputError, match=message) as caught:
        segmentation.get(name, weights=path, **arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["layer1.0.conv1.weight", "conv1.weight"], "holds a classifier: give it as weights of"),
        (["backbone.body.conv1.weight"], "a detector: give it to detection.get"),
        (["backbone.0.0.weight"], "a MobileNet"),
        (["some.thing"], "no weights of torchvision's FCN.* called some.thing"),
        (BODY, "no weights of torchvision's FCN"),
        (NAMES[DEEPLABV3], 'the head "deeplabv3", and not "fcn": ask for deeplabv3_resnet50'),
        ([n for n in NAMES[FCN] if n != "classifier.4.weight"], "lacks classifier.4.weight"),
        ([f"{p}.{n}" for p in "ab" for n in NAMES[FCN]], r"several networks, a\.\*, b\.\*"),
    ],
)
def test_files_of_other_networks(file, names, message):
    path = file(names)
    assert str(path) in refused(message, FCN, path)


def test_the_average_of_a_training_is_taken_and_said(file):
    path = file(f"{p}.{n}" for p in ("model", "model_ema.module") for n in NAMES[FCN])
    with pytest.warns(UserWarning, match=r"averaged ones, model_ema\.module\.\*, are taken"):
        tensors = segmentation.weights.layout.read(path)
    assert {*tensors} == {name for name in NAMES[FCN] if not name.endswith("tracked")}


def test_files_that_do_not_fit(file):
    def refused_by(message, path):
        before = [np.asarray(v) for v in model.trainable_weights[:3]]
        with pytest.raises(InputError, match=message):
            segmentation.weights.load(model, path)
        for value, variable in zip(before, model.trainable_weights, strict=False):
            np.testing.assert_array_equal(value, variable)

    def segmenter(auxiliary=False, **options):
        backbone = zoo.backbone("resnet50", input_shape=(None, None, 3), **options)
        return segmentation.segmenter(backbone, 5, auxiliary=auxiliary)

    names = NAMES[FCN]
    model = segmenter(stride_in_1x1=True)
    refused_by("stride_in_1x1=False", file(names))
    model = segmenter(auxiliary=True, stride_in_1x1=False)
    without = [name for name in names if not name.startswith("aux_classifier.")]
    refused_by("holds no auxiliary head: leave auxiliary out", file(without))
    bias = "classifier.4.bias"
    refused_by("lacks head_logits/bias", file([name for name in names if name != bias]))
    refused_by(r"has classifier\.9\.weight, which", file(names, ["classifier.9.weight"]))
    refused_by(r"has shape \(1,\) in the file", file(names))
    wrapped = file([f"model.{name}" for name in names], ["optimizer.state.0"])
    refused_by(r"has shape \(1,\) in the file", wrapped)
    last = [name for name in names if "layer3.5." in name]
    deeper = [name.replace(".5.", f".{block}.") for block in range(6, 23) for name in last]
    refused_by("weights of resnet101, not of resnet50", file(names, deeper))
    model = keras.Model(model.input, model.get_layer("conv5_block3_out").output)
    refused_by("is no segmenter", file(names))


def test_registered_weights(tmp_path):
    entry = SEGMENTERS[FCN].entry
    assert entry.address in refused("has no fcn_resnet50", FCN, "coco_voc", weights_dir=tmp_path)
    (tmp_path / entry.file_name).write_bytes(b"something else")
    refused("its SHA256 is", FCN, "coco_voc", weights_dir=tmp_path)
    assert "Choose one of coco_voc" in refused("'imagenet'", FCN, "imagenet")
    refused("There is no weights file", FCN, tmp_path / "missing.pth")
    refused(f"Did you mean '{FCN}'", "fcn_resnet", None)
    for row in SEGMENTERS.values():
        assert len(row.entry.class_names) == 21
        assert row.entry.class_names[15] == "person"


@pytest.mark.slow
def test_a_new_head_and_a_file_of_torchs(tmp_path):
    """With other classes the predicting layers are new; names of classes come with an entry."""
    torch = pytest.importorskip("torch")
    shapes = dict(json.loads(parity.NAMES.read_text())["tensors"]["resnet50"])
    shapes = {f"backbone.{n}": s for n, s in shapes.items() if not n.startswith("fc.")}
    shapes |= dict(HEADS[FCN])
    values = {name: parity.torch_weights(name, tuple(s)) for name, s in shapes.items()}
    path = tmp_path / "own.pth"
    torch.save({n: torch.from_numpy(v) for n, v in values.items()}, path)
    model = segmentation.get(FCN, weights=path, num_classes=3, auxiliary=True)
    kernel = model.get_layer("head_conv").kernel
    expected = values["classifier.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    assert model.output["auxiliary"].shape[-1] == model.output["logits"].shape[-1] == 3
    assert segmentation.class_names(model) is None


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
