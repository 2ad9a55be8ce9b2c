"""What docs/serving.md shows runs as written, with a small network under the name of the page's."""

import json
import sys
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from documentation import block
from PIL import Image
from sklearn.datasets import load_sample_images

from resnet_keras import deployment, export, zoo
from resnet_keras.pipelines import encoded

SHOWN = zoo.Preprocessing(24, 32, "bicubic")
NAMES = ["cat", "dog", "größe", "other"]
PYTHON, OPTIONS, REQUEST = 'tf.saved_model.load("resnet50_served/1")', '"digits/1"', "request.json"


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return zoo.get("resnet8", num_classes=4, input_shape=(24, 24, 3))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Both exports of the page and two photographs, one of them turned."""
    folder = tmp_path_factory.mktemp("serving")
    zoo.save(model, folder / "network", preprocessing=SHOWN, class_names=NAMES)
    for out, options in (
        ("resnet50_served", ["--format=savedmodel"]),
        ("resnet50_onnx", ["--format=onnx", f"--triton={folder / 'models'}"]),
    ):
        command = ["export", str(folder / "network"), f"--out={folder / out}", *options]
        assert export.main(command) == 0
    cat, dog = map(Image.fromarray, load_sample_images().images)
    exif = Image.Exif()
    exif[0x0112] = 6
    cat.save(folder / "cat.jpg", exif=exif)
    dog.save(folder / "dog.png")
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_the_saved_model_in_python(model, capsys):
    exec(block("python", PYTHON), {})
    guesses = zoo.predict(
        model, ["cat.jpg", "dog.png"], preprocessing=SHOWN, class_names=NAMES, top=1
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line, (guess,) in zip(lines, guesses, strict=True):
        name, probability = line.split()
        assert name == guess.name
        assert float(probability) == pytest.approx(guess.probability, rel=1e-4)


def test_the_exported_folder_is_what_tensorflow_serving_takes(folder):
    found = deployment.read(folder / "resnet50_served")
    assert found.path == folder / "resnet50_served/1"
    assert (found.input.name, found.input.dtype) == ("pixels", "uint8")
    signatures = tf.saved_model.load(str(found.path)).signatures
    page = block("sh", "docker run --rm -p 8501")
    assert "$PWD/resnet50_served:/models/resnet50" in page
    assert set(signatures) == {"serving_default", "serving_float", "image_bytes"}
    assert "image_bytes" in (folder / "resnet50_served/README.md").read_text()


def test_options_in_python(folder):
    exec(block("python", OPTIONS), {})
    assert b"DecodeWebP" not in (folder / "digits/1/saved_model.pb").read_bytes()
    outputs = tf.saved_model.load("digits/1").signatures["image_bytes"].structured_outputs
    assert outputs["labels"].shape[1] == 3


def test_a_request_to_triton(folder, model):
    """The client's pixels are those of `predict`, and what the file says of them is the answer."""
    names: dict[str, Any] = {}
    exec(block("python", REQUEST), names)
    ((expected, _),) = encoded.images(["cat.jpg"], **SHOWN._asdict())
    difference = np.abs(names["pixels"][0] - np.asarray(expected, "float32")).max()
    assert difference <= 1
    request = json.loads((folder / "request.json").read_text())
    (given,), (wanted,) = request["inputs"], request["outputs"]
    assert given["shape"] == [1, 24, 24, 3]
    session = onnxruntime.InferenceSession("models/resnet50_onnx/1/model.onnx")
    pixels = np.float32(given["data"]).reshape(given["shape"])
    (logits,) = session.run([wanted["name"]], {given["name"]: pixels})
    np.testing.assert_allclose(logits, model.predict_on_batch(pixels), rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
