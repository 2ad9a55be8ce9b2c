"""Detectors as exported folders, whose runtimes find what the network does."""

import os
import sys

import keras
import numpy as np
import pytest
from detectors import detector, images

from resnet_keras import deployment, export
from resnet_keras.deployment import detecting
from resnet_keras.errors import InputError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file of a small detector, as a run of training keeps it, and the detector."""
    model = detector(class_names=["one", "two", "three"])
    path = tmp_path_factory.mktemp("run") / "best.keras"
    model.save(path)
    return path, keras.models.load_model(path)


def run(path, out, *flags):
    return export.main(["export", str(path), f"--out={out}", "--sides=64,96", *flags])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "quantize"),
    [(name, kind) for name, kinds in detecting.FORMATS.items() for kind in kinds],
)
def test_a_run_of_training(format, quantize, saved, tmp_path, capsys, monkeypatch):
    path, model = saved
    out = tmp_path / "exported"
    flags = (f"--format={format}", f"--quantize={quantize}")
    assert run(path.parent, out, *flags) == 0, capsys.readouterr().err
    assert "objects in 4 of made-up images are found again" in capsys.readouterr().out
    found = deployment.read(out)
    assert (found.task, found.num_classes, found.preprocessing) == ("detection", 3, None)
    assert found.class_names == ("one", "two", "three")
    batch = None if format == "savedmodel" else 1
    assert found.input == ("image", "uint8", (batch, 64, 96, 3))
    assert found.difference["objects"] > 10
    assert found.quantize == quantize
    if quantize == "float16":
        assert sum(found.sizes.values()) < 0.6 * path.stat().st_size
    given = images()
    answers, expected = deployment.open_runtime(found)(given), model.predict_on_batch(given)
    assert set(answers) == set(expected) == {output.name for output in found.outputs}
    for name, values in expected.items():
        assert answers[name].dtype == values.dtype
        near = 0.1 if quantize == "float16" else 1e-3
        np.testing.assert_allclose(answers[name], values, rtol=0, atol=near, err_msg=name)
    monkeypatch.chdir(out)
    exec((out / "README.md").read_text().split("```")[1].removeprefix("python"), {})


def test_images_of_any_size_and_number(saved, tmp_path, capsys):
    """As SavedModel; the others say what they need."""
    path, model = saved
    arguments = ["export", str(path), f"--out={tmp_path / 'x'}"]
    for format in ("litert", "onnx"):
        assert export.main([*arguments, f"--format={format}"]) == 2
        assert "give --sides=480,640" in capsys.readouterr().err
        with pytest.raises(InputError, match="takes images of one size here, and not of any"):
            detecting.export(model, tmp_path / "y", format=format, about=detecting.About("mine"))
    assert export.main([*arguments, "--format=savedmodel"]) == 0, capsys.readouterr().err
    found = deployment.read(tmp_path / "x")
    assert found.input.shape == (None, None, None, 3)
    runtime = deployment.open_runtime(found)
    for given in (images(), images()[:1, :50, :70]):
        answers, expected = runtime(given), model.predict_on_batch(given)
        for name, values in expected.items():
            np.testing.assert_allclose(answers[name], values, rtol=0, atol=1e-3, err_msg=name)


def test_smaller_images_are_padded_and_larger_ones_refused():
    """Boxes end where the image does."""
    shown = []

    def run(pixels, pad):
        shown.append(pixels)
        boxes = [[60, 10, 90, 30], [0, 0, 90, 60], [0, 0, 0, 0]]
        many = len(pixels)
        return {
            "boxes": np.array([boxes] * many, "float32"),
            "scores": np.array([[0.9, 0.8, 0]] * many, "float32"),
            "labels": np.array([[2, 1, -1]] * many, "int32"),
            "count": np.array([2] * many, "int32"),
        }

    model = object.__new__(deployment.Detector)
    model.name, model._sides, model._run = "mine", (64, 96), run
    sizes = np.array([[40, 50], [64, 96]], "int32")
    answer = model.predict_on_batch({"image": images(2) + 0.4, "size": sizes})
    (pixels,) = shown
    assert pixels.shape == (2, 64, 96, 3)
    np.testing.assert_array_equal(pixels[0, :40, :50], images(2)[0, :40, :50])
    assert not pixels[0, 40:].any()
    assert not pixels[0, :, 50:].any()
    # In the first image, one lies beside it.
    assert answer["count"].tolist() == [1, 2]
    assert answer["boxes"][0].tolist() == [[0, 0, 50, 40], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert answer["labels"].tolist() == [[1, -1, -1], [2, 1, -1]]
    np.testing.assert_allclose(answer["scores"], [[0.8, 0, 0], [0.9, 0.8, 0]], atol=1e-6)
    with pytest.raises(
        InputError, match=r"images of 64 x 96 pixels, .* at 64 x 97: give a smaller"
    ):
        model.predict_on_batch({"image": np.zeros([1, 64, 97, 3]), "size": [[64, 97]]})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--format=openvino"], "Detectors are exported as savedmodel, litert, onnx"),
        (
            ["--format=litert", "--quantize=int8"],
            "in float16, and not as litert with --quantize=int8",
        ),
        (["--format=onnx", "--dataset=digits"], "--dataset is no flag of a detector"),
        (["--format=onnx", "--any_size"], "--any_size is no flag of a detector"),
        (["--format=onnx", "--sides=64"], "give --sides=480,640"),
        (["--format=onnx", "--sides=64,x"], "--sides is a list of whole numbers"),
        (["--format=onnx", "--sides=0,96"], "must be positive"),
    ],
)
def test_mistakes_end_in_one_sentence(flags, words, saved, tmp_path, capsys):
    assert run(saved[0], tmp_path / "x", *flags) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "starting" not in line]
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert words in said[0]
    assert not os.listdir(tmp_path)


@pytest.mark.slow
def test_masks_are_left_to_the_library(tmp_path):
    model = detector(masks=True)
    about = detecting.About("mine")
    with pytest.raises(InputError, match="with masks"):
        detecting.export(model, tmp_path / "x", (64, 96), format="savedmodel", about=about)
    assert not os.listdir(tmp_path)


def found(boxes, labels=(0, 1), scores=(0.9, 0.5)):
    """Detections of one image, with one of padding."""
    return {
        "boxes": np.array([[*boxes, [0, 0, 0, 0]]], "float32"),
        "labels": np.array([[*labels, -1]], "int32"),
        "scores": np.array([[*scores, 0]], "float32"),
        "count": np.array([len(boxes)], "int32"),
    }


def test_detections_are_compared_with_the_nearest_of_their_class():
    one, other = [0, 0, 10, 10], [20, 20, 40, 40]
    expected = found([one, other])
    turned = found([[20, 20, 40, 40.5], one], labels=(1, 0), scores=(0.5, 0.75))
    said = detecting.difference(turned, expected, "noise")
    assert (said["largest"], said["same"], said["objects"], said["images"]) == (0.5, 2, 2, 1)
    assert said["scores"] == pytest.approx(0.15)
    for wrong in (found([one, one]), found([one, other], labels=(0, 2)), found([one])):
        with pytest.raises(InputError, match="finds 1 of the network's 2 objects in 1 images"):
            detecting.difference(wrong, expected, "noise")
    with pytest.raises(InputError, match=r"The file finds 2 objects in 1 images, .* 1 only"):
        detecting.difference(expected, found([one]), "noise")
    with pytest.raises(InputError, match="The network finds nothing in 1 images"):
        detecting.difference(expected, found([]), "noise")


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
