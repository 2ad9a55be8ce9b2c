"""What detectors are exported to gives what they do, with nothing of this package."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from detectors import detector, images

from resnet_keras import detection
from resnet_keras.errors import InputError

SIZES = np.int32([[64, 96], [50, 70]])
PADDED = {"image": images(), "size": SIZES}


@pytest.fixture(scope="module")
def c4():
    return detector()


def assert_same(given, expected, tolerance=1e-3):
    """The same detections: boxes to a thousandth of a pixel."""
    assert set(given) == set(expected) == {"boxes", "scores", "labels", "count"}
    for name, values in expected.items():
        assert np.asarray(given[name]).dtype == values.dtype
        np.testing.assert_allclose(given[name], values, rtol=0, atol=tolerance, err_msg=name)
    assert expected["count"].min() > 0


def litert(path, **inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter moves to a package of its own
        interpreter = tf.lite.Interpreter(model_path=os.fspath(path))
    runner = interpreter.get_signature_runner()
    return {name: np.array(value) for name, value in runner(**inputs).items()}


@pytest.mark.slow
def test_saved_model(c4, tmp_path):
    path = detection.export(c4, tmp_path / "exported")
    loaded = tf.saved_model.load(os.fspath(path))
    given = images(1, 48, 80)  # of any number and size
    assert_same(loaded.serve(given), c4.predict_on_batch(given))
    assert set(loaded.signatures) == {"serve", "serving_default"}
    assert os.listdir(tmp_path) == ["exported"]


def test_what_cannot_be_exported(c4, tmp_path):
    before = c4.settings
    with pytest.raises(InputError, match=r"one size: give size=\(height, width\)"):
        detection.export(c4, tmp_path / "detector.tflite")
    with pytest.raises(InputError, match="must be positive"):
        detection.export(c4, tmp_path / "exported", size=(0, 96))
    with pytest.raises(InputError, match="already: give another path"):
        detection.export(c4, tmp_path)
    assert c4.settings == before
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("padded", [False, True])
def test_without_this_package(tmp_path, padded):
    """A process that has TensorFlow alone; the export of a fixed size, and Keras's own."""
    model = detector(neck="fpn")
    given = PADDED if padded else images()
    detection.export(model, tmp_path / "exported", size=(64, 96), batch=2, padded=padded)
    names = ["exported"]
    if not padded:
        model.export(tmp_path / "by_keras", verbose=False)
        names.append("by_keras")
    np.savez(tmp_path / "images.npz", image=images(), size=SIZES)
    code = f"""
import sys
sys.modules["resnet_keras"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
given = {{name: tf.constant(value) for name, value in np.load("images.npz").items()}}
for path in {names}:
    loaded = tf.saved_model.load(path)  # which holds the variables
    found = loaded.serve(given if {padded} else given["image"])
    np.savez(f"{{path}}.npz", **{{name: value.numpy() for name, value in found.items()}})
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for name in names:
        assert_same(dict(np.load(tmp_path / f"{name}.npz")), model.predict_on_batch(given))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "padded"),
    [
        ({"neck": "fpn"}, False),
        ({"neck": "fpn"}, True),
        ({"neck": "fpn", "preset": "detectron2"}, False),
        ({"refine": True, "context": True}, False),
        ({"roi": "max_pool"}, False),
    ],
)
def test_litert(tmp_path, options, padded):
    """Only built-in operations are allowed: with others, such as Flex, conversion fails."""
    model = detector(**options)
    expected = model.predict_on_batch(PADDED if padded else images())
    path = tmp_path / "detector.tflite"
    detection.export(model, path, size=(64, 96), batch=2, padded=padded)
    inputs = PADDED if padded else {"image": images()}
    assert_same(litert(path, **inputs), expected)


@pytest.mark.slow
def test_what_litert_has_no_operations_for(c4, tmp_path, monkeypatch):
    """The reason is that of the converter; here the fast form of RoIAlign is left in."""
    monkeypatch.setattr(type(c4.settings), "_replace", lambda self, **changes: self)
    with pytest.raises(InputError, match=r"no built-in operations .* CropAndResize"):
        detection.export(c4, tmp_path / "detector.tflite", size=(64, 96))
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("neck", ["c4", "fpn"])
def test_xla(neck):
    model = detector(neck=neck)
    expected = model.predict_on_batch(images())
    model.compile(jit_compile=True)
    assert_same(model.predict_on_batch(images()), expected)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
