"""Exported folders read back, and what is wrong with damaged ones, without TensorFlow."""

import json
import sys

import numpy as np
import pytest

from resnet_keras import deployment, zoo
from resnet_keras.deployment import exported, runtimes
from resnet_keras.deployment.exported import Exported, Tensor
from resnet_keras.errors import InputError, MissingExtraError


def described(folder, *, format="onnx", content=b"model", batch_size=None, **changes):
    """A folder as `export` writes it, around a file that is no model."""
    folder.mkdir()
    name = exported.FILES[format]
    (folder / name).write_bytes(content)
    found = Exported(
        path=folder / name,
        task="classification",
        network="resnet20",
        weights="digits",
        format=format,
        quantize="none",
        input=Tensor("pixels", "float32", (batch_size, 16, 16, 3)),
        outputs=(Tensor("logits", "float32", (batch_size, 2)),),
        preprocessing=zoo.Preprocessing(16, 16),
        assumed="",
        num_classes=2,
        class_names=("née", "two words"),
        difference={"largest": 0.0, "images": 1, "origin": "none", "same_class": 1},
        sizes={name: len(content)},
        calibration=None,
        versions={"keras": "3"},
    )._replace(**changes)
    exported.write(found, "card")
    return found


def change(folder, **facts):
    place = folder / exported.DESCRIPTION
    place.write_text(json.dumps({**json.loads(place.read_text()), **facts}))


def test_what_is_written_is_read(tmp_path):
    found = described(tmp_path / "mine")
    assert deployment.read(tmp_path / "mine") == found
    assert deployment.read(tmp_path / "mine" / "model.onnx") == found
    assert deployment.is_export(tmp_path / "mine")
    assert deployment.is_export(found.path)
    assert not deployment.is_export(tmp_path)
    assert not deployment.is_export(tmp_path / "mine" / "labels.txt")
    assert (found.folder, found.batch_size, found.image_shape) == (
        tmp_path / "mine",
        None,
        (16, 16),
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "preprocessing.json").unlink(), "is no exported model"),
        (lambda f: (f / "preprocessing.json").write_text("{"), "cannot be used"),
        (lambda f: (f / "preprocessing.json").write_text("[1]"), "cannot be used"),
        (lambda f: change(f, format_version=2), "is of version 2"),
        (lambda f: change(f, task="poetry"), "cannot be used (ValueError: task 'poetry')"),
        (lambda f: change(f, file="/etc/passwd"), "cannot be used"),
        (lambda f: change(f, preprocessing={"image_size": -1}), "cannot be used"),
        (lambda f: change(f, input=None), "cannot be used"),
        (lambda f: (f / "labels.txt").write_text("one\n"), "1 names in labels.txt for 2"),
        (lambda f: (f / "model.onnx").unlink(), "lacks model.onnx"),
        (lambda f: (f / "model.onnx").write_bytes(b"mode"), "is damaged"),
        (lambda f: (f / "model.onnx").write_bytes(b"modem"), "is damaged"),
    ],
)
def test_damage_is_told_in_one_sentence(damage, words, tmp_path):
    described(tmp_path / "mine")
    damage(tmp_path / "mine")
    with pytest.raises(InputError) as error:
        deployment.read(tmp_path / "mine")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("format", ["litert", "onnx", "openvino"])
def test_a_file_that_is_no_model(format, tmp_path):
    found = described(tmp_path / "mine", format=format)
    with pytest.raises(InputError, match="cannot be loaded by its runtime"):
        deployment.open_runtime(found)


def test_a_runtime_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = described(tmp_path / "mine")
    with pytest.raises(MissingExtraError, match=r"resnet_keras\[onnx\]"):
        deployment.open_runtime(found)


class Sums(runtimes.Runtime):
    """Sums each image's pixels of each half of the channels' values."""

    def _open(self, threads):
        self.batches = []

    def _run(self, images):
        self.batches.append(images)
        return [images.sum((1, 2))[:, :2]]


def test_batches_and_pixels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype("uint8")
    expected = images.astype("float32").sum((1, 2))[:, :2]
    free = Sums(described(tmp_path / "free"))
    np.testing.assert_array_equal(free(images), expected)
    assert [batch.shape[0] for batch in free.batches] == [5]
    assert free.batches[0].dtype == np.float32
    fixed = Sums(described(tmp_path / "fixed", batch_size=2))
    with pytest.raises(InputError, match="2 images at once, and 5 are no multiple"):
        fixed(images)
    np.testing.assert_array_equal(fixed(images, pad=True), expected)
    assert [batch.shape[0] for batch in fixed.batches] == [2, 2, 2]
    for wrong, words in [
        (images[:, :8], "takes images"),
        (images[0], "takes images"),
        (images[:0], "no images"),
    ]:
        with pytest.raises(InputError, match=words):
            free(wrong)


def test_floats_for_uint8_are_whole_numbers(tmp_path):
    taken = Tensor("pixels", "uint8", (None, 16, 16, 3))
    run = Sums(described(tmp_path / "mine", input=taken))
    images = np.full((1, 16, 16, 3), 7.0, "float32")
    run(images)
    assert run.batches[0].dtype == np.uint8
    for wrong in (images + 0.5, images - 8, images + 249, images * np.nan):
        with pytest.raises(InputError, match="takes uint8 pixels: round them"):
            run(wrong)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
