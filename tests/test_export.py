"""The export command: every format and quantization of shipped weights, and what it refuses."""

import contextlib
import importlib.util
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from resnet_keras import deployment, export, pipelines, zoo
from resnet_keras.deployment import exporting, formats
from resnet_keras.errors import InputError

DIGITS = ("resnet20", "--weights=digits", "--dataset=digits")
KERAS_BYTES = 4 * 269_722  # of the parameters in float32
# The largest difference from the network, of the largest logit, on all test images.
LARGEST = {"none": 1e-5, "float16": 2e-3, "dynamic": 2e-2, "int8": 2e-2}
QUICK = [("savedmodel", "none"), ("litert", "int8"), ("onnx", "none"), ("openvino", "float16")]
COMBINATIONS = [(name, kind) for name, f in formats.FORMATS.items() for kind in f.quantizations]


@pytest.fixture(scope="module")
def digits():
    """Test images, their labels and the network's logits."""
    images, labels = pipelines.arrays("digits", "test", image_size=16)
    return images, labels, zoo.get("resnet20", weights="digits").predict_on_batch(images)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes a combination once; returns its folder and what was printed."""
    root, folders = tmp_path_factory.mktemp("exported"), {}

    def write(format, quantize, capsys):
        if (format, quantize) not in folders:
            out = root / f"{format}_{quantize}"
            flags = (f"--format={format}", f"--quantize={quantize}", f"--out={out}")
            assert export.main(["export", *DIGITS, *flags]) == 0, capsys.readouterr().err
            folders[format, quantize] = out, capsys.readouterr().out
        return folders[format, quantize]

    return write


@pytest.mark.parametrize(
    ("format", "quantize"),
    [c if c in QUICK else pytest.param(*c, marks=pytest.mark.slow) for c in COMBINATIONS],
)
def test_every_combination(format, quantize, written, digits, capsys):
    images, labels, logits = digits
    folder, said = written(format, quantize, capsys)
    found = deployment.read(folder)
    given = deployment.open_runtime(found)(images)
    assert given.dtype == np.float32
    assert np.abs(given - logits).max() <= LARGEST[quantize] * np.abs(logits).max()
    assert (given.argmax(-1) == labels).mean() >= 0.994
    if quantize in ("none", "float16"):
        np.testing.assert_array_equal(given.argmax(-1), logits.argmax(-1))
    size = sum(found.sizes.values())
    # OpenVINO describes its graph in XML; a SavedModel has a graph that decodes images, too.
    most = {"none": 1.6, "float16": 0.6, "dynamic": 0.3, "int8": 0.3}
    assert size <= most[quantize] * KERAS_BYTES
    assert f"{size:,} bytes; logits differ by {found.difference['largest']:.1e}" in said
    assert found.difference["images"] == 360
    assert exporting.doubt(found) is None
    assert (found.network, found.weights, found.num_classes) == ("resnet20", "digits", 10)
    assert found.class_names == zoo.ENTRIES["resnet20", "digits"].class_names
    assert found.preprocessing == zoo.Preprocessing(16, 16)
    is_uint8 = quantize == "int8" or format == "savedmodel"
    batch = 1 if format == "litert" else None
    assert found.input == ("pixels", "uint8" if is_uint8 else "float32", (batch, 16, 16, 3))
    calibration = {"images": 1437, "origin": "digits/trainval[:1437]"}
    assert found.calibration == (calibration if quantize == "int8" else None)
    card = (folder / "README.md").read_text()
    assert "| licence | Apache-2.0 |" in card
    assert f"{size:,} bytes" in card or format in ("openvino", "savedmodel")
    assert not [name for name in os.listdir(folder.parent) if name.startswith(".")]


def test_a_file_that_differs_much_is_warned_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(exporting.GOOD, "int8", 1e-4)
    flags = ("--format=litert", "--quantize=int8", "--calibration_images=200")
    assert export.main(["export", *DIGITS, *flags]) == 0
    said = capsys.readouterr().err
    assert "warning: resnet20_litert_int8 differs from its network by " in said
    assert "or calibrate with more images" in said


def test_a_cameras_pixels_are_the_files_own(written, capsys):
    """uint8 pixels of scale 1 and zero point 0, and no FLEX operation."""
    from ai_edge_litert.interpreter import Interpreter

    folder, _ = written("litert", "int8", capsys)
    interpreter = Interpreter(str(folder / "model.tflite"))
    (taken,) = interpreter.get_input_details()
    assert (taken["dtype"], taken["quantization"]) == (np.uint8, (1.0, 0))
    assert not [op for op in interpreter._get_ops_details() if op["op_name"].startswith("Flex")]


def test_the_cards_programs_run_without_tensorflow(written, capsys, digits):
    """In a process that cannot import it, as on a small machine."""
    images, _, logits = digits
    folders = [written(*c, capsys)[0] for c in (("litert", "int8"), ("onnx", "none"))]
    folders.append(written("openvino", "float16", capsys)[0])
    np.save(folders[0].parent / "images.npy", images[:3])
    code = f"""
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
import os, re
from resnet_keras import deployment
import numpy as np
for folder in {[os.fspath(folder) for folder in folders]}:
    os.chdir(folder)
    exec(re.search(r"```python\\n(.*?)```", open("README.md").read(), re.DOTALL)[1], {{}})
    run = deployment.open_runtime(deployment.read(folder), threads=1)
    print(*run(np.load("../images.npy")).argmax(-1))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    for program, classes in zip(lines[::2], lines[1::2], strict=True):
        label, logit = program.split()
        assert label.isdigit()
        assert np.isfinite(float(logit))
        assert classes == " ".join(map(str, logits[:3].argmax(-1)))


def test_the_card_of_a_saved_model_runs(written, capsys, monkeypatch):
    folder, _ = written("savedmodel", "none", capsys)
    monkeypatch.chdir(folder)
    exec((folder / "README.md").read_text().split("```")[1].removeprefix("python"), {})
    assert capsys.readouterr().out.split()[0].isdigit()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A published network of two classes for photographs; untrained."""
    import keras

    folder = tmp_path_factory.mktemp("small") / "mine"
    keras.utils.set_random_seed(0)
    network = zoo.get("resnet8", num_classes=2, input_shape=(32, 32, 3))
    shown = zoo.Preprocessing(32, 36, "bicubic")
    zoo.save(network, folder, preprocessing=shown, class_names=["discs", "stripes"])
    return folder


def test_a_folder_of_photographs_and_its_preprocessing(small, photographs, tmp_path, capsys):
    """Of any number and size of images; what is flagged stands in the folder."""
    out = tmp_path / "mine_onnx"
    flags = ("--format=onnx", "--any_size", "--resize=40", "--dataset=folder")
    arguments = ["export", str(small), *flags, f"--data_dir={photographs}", f"--out={out}"]
    assert export.main(arguments) == 0, capsys.readouterr().err
    found = deployment.read(out / "model.onnx")
    assert found.preprocessing == zoo.Preprocessing(32, 40, "bicubic")
    assert found.class_names == ("discs", "stripes")
    assert found.difference["origin"] == "folder/train[-48:]"
    assert found.input.shape == (None, None, None, 3)
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 40, 3)).astype("uint8")
    network = zoo.get(small, input_shape=(None, None, 3))
    logits = network.predict_on_batch(images)
    near = 1e-5 * np.abs(logits).max()
    np.testing.assert_allclose(deployment.open_runtime(found)(images), logits, rtol=0, atol=near)


def test_a_fixed_batch(small, tmp_path, capsys, monkeypatch):
    """The default name of the folder; what is no multiple is asked for."""
    monkeypatch.chdir(tmp_path)
    assert export.main(["export", str(small), "--format=litert", "--batch_size=4"]) == 0
    assert "mine_litert: " in capsys.readouterr().out
    found = deployment.read("mine_litert")
    assert (found.batch_size, found.image_shape) == (4, (32, 32))
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3)).astype("uint8")
    run = deployment.open_runtime(found)
    expected = zoo.get(small).predict_on_batch(images)
    with pytest.raises(InputError, match=r"4 images at once, and 10 .* pad"):
        run(images)
    np.testing.assert_allclose(run(images, pad=True), expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(run(images[:8]), run(images, pad=True)[:8])


@contextlib.contextmanager
def largest_file(size):
    """Inside, this process's files may have so many bytes: a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        *((None, (f"--format={name}",)) for name in ("onnx", "savedmodel", "openvino", "litert")),
        (DIGITS, ("--format=onnx", "--quantize=int8")),
    ],
)
def test_a_full_disk_leaves_nothing(model, flags, small, tmp_path, capsys):
    capsys.readouterr()
    with largest_file(100_000):
        arguments = [*(model or [str(small)]), *flags, f"--out={tmp_path / 'out'}"]
        assert export.main(["export", *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: Cannot write to ")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("package", "format"),
    [("ai_edge_litert", "litert"), ("tf2onnx", "onnx"), ("openvino", "openvino")],
)
def test_a_missing_package_is_named_with_its_extra(package, format, tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name)
    )
    assert export.main(["export", *DIGITS, f"--format={format}", f"--out={tmp_path / 'x'}"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"pip install 'resnet_keras[{format}]'" in said
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name one MODEL"),
        (["resnet20", "resnet8"], "Name one MODEL"),
        (["resnet20", "--weights=digits"], "Give --format"),
        ([*DIGITS, "--format=tflite"], "Unknown --format: 'tflite'."),
        ([*DIGITS, "--format=litert", "--quantize=int4"], "Did you mean 'int8'?"),
        (["resnet20", "--format=onnx"], "Give --weights"),
        ([*DIGITS, "--format=savedmodel", "--quantize=int8"], "no --quantize=int8 of SavedModel"),
        ([*DIGITS, "--format=openvino", "--quantize=int8"], "nncf"),
        ([*DIGITS, "--format=onnx", "--quantize=dynamic"], "as slowly"),
        (["resnet20", "--weights=digits", "--format=onnx", "--quantize=int8"], "--dataset"),
        ([*DIGITS, "--format=onnx", "--calibration_images=300"], "leave it out"),
        (
            [*DIGITS, "--format=onnx", "--quantize=int8", "--calibration_images=199"],
            "--calibration_images=199 are too few",
        ),
        ([*DIGITS, "--format=litert", "--reduce_range"], "--reduce_range is for"),
        ([*DIGITS, "--format=litert", "--any_size"], "--any_size is neither"),
        (["resnet20", "--weights=digits", "--format=onnx", "--data_dir=x"], "--data_dir belongs"),
        ([*DIGITS, "--format=onnx", "--dataset=digits_series"], "series"),
        ([*DIGITS, "--format=onnx", "--out=taken"], "There is something at taken already"),
        ([*DIGITS, "--format=onnx", "--out=gs://bucket/x"], "no local path"),
        ([*DIGITS, "--format=onnx", "--out=/proc/nowhere/x"], "/proc/nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert export.main(["export", *arguments]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "starting" not in line]
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert words in said[0]
    assert os.listdir(tmp_path) == ["taken"]
    assert not os.listdir(tmp_path / "taken")


def test_the_description_is_plain_json(written, capsys):
    """What other programs read, by the names that docs/deployment.md tells."""
    folder, _ = written("litert", "int8", capsys)
    facts = json.loads((folder / "preprocessing.json").read_text())
    assert (facts["format_version"], facts["task"]) == (1, "classification")
    assert facts["input"] == {
        "name": "pixels",
        "dtype": "uint8",
        "shape": [1, 16, 16, 3],
        "layout": "NHWC",
        "pixels": "RGB 0..255",
    }
    assert facts["outputs"] == [{"name": "logits", "dtype": "float32", "shape": [1, 10]}]
    assert facts["preprocessing"]["resize"] == 16
    assert facts["file"] == "model.tflite"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
