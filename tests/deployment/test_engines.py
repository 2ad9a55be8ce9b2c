"""predict --engine: a network run by another runtime, exported once and kept."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from resnet_keras import pipelines, predict, zoo
from resnet_keras.deployment import engines, exporting, formats
from resnet_keras.errors import InputError

pytest.importorskip("openvino")
MODEL = ("--model=resnet20", "--weights=digits")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Six digits as PNG files."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("digits")
    pixels, _ = pipelines.arrays("digits", "test", image_size=48)
    for number, image in enumerate(pixels[:6]):
        (root / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    return root


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two of noise as JPEG files, which need no TensorFlow."""
    image = pytest.importorskip("PIL.Image")
    folder, draws = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(2)]
    for path in paths:
        image.fromarray(draws.integers(0, 256, (40, 50, 3)).astype("uint8")).save(path)
    return paths


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _own_cache(home, monkeypatch):
    monkeypatch.setenv("RESNET_KERAS_HOME", str(home))


def run(capsys, *arguments):
    status = predict.main(["predict", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def answers(out):
    first = [row["top"][0] for row in json.loads(out)]
    return [guess["name"] for guess in first], [guess["probability"] for guess in first]


def test_exported_at_the_first_use_and_kept(images, home, capsys, monkeypatch):
    status, out, err = run(capsys, *MODEL, "--json", images)
    assert (status, err) == (0, "")
    expected, shares = answers(out)
    status, out, err = run(capsys, *MODEL, "--json", "--engine=openvino", images)
    assert (status, err) == (0, "resnet_keras: exporting resnet20 for openvino, once ...\n")
    given, others = answers(out)
    assert given == expected
    np.testing.assert_allclose(others, shares, atol=1e-4)
    monkeypatch.setattr(exporting, "export", None)
    monkeypatch.setattr(engines, "_installed", lambda engine: engine == "openvino")
    status, out, err = run(capsys, *MODEL, "--json", "--engine=auto", images)
    assert (status, err) == (0, "")
    assert answers(out)[0] == expected
    # bfloat16 is of the engine, and the kept file the same.
    status, _, err = run(capsys, *MODEL, "--engine=auto", "--dtype=mixed_bfloat16", images)
    assert (status, err) == (0, "")
    assert len([path for path in (home / "engines").iterdir() if path.is_dir()]) == 1


def test_a_kept_one_answers_without_tensorflow(photographs, home, capsys):
    """In a process of its own, for which a second is much."""
    arguments = (*MODEL, "--json", "--engine=openvino", *photographs)
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    code = """
    import sys
    from resnet_keras import predict
    status = predict.main(["predict", *sys.argv[1:]])
    print("tensorflow" in sys.modules, "keras" in sys.modules, file=sys.stderr)
    sys.exit(status)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "False False\n")
    assert done.stdout == out


def test_a_damaged_model_and_one_of_other_versions_are_made_again(home, monkeypatch):
    network, file = zoo.weights.find("resnet20", "digits")
    options = {"image_size": 16, "folder": home / "others"}
    exports = []

    def export(model, path, *, about, **_):
        exports.append(about)
        path.mkdir()
        (path / "preprocessing.json").write_text("{}")
        (path / "made").touch()

    monkeypatch.setattr(exporting, "export", export)
    assert not engines.is_kept(network, file, "openvino", **options)
    engines.keep(network, file, "openvino", **options)
    assert exports[0].weights == "digits"
    assert engines.is_kept(network, file, "openvino", **options)
    with pytest.warns(UserWarning, match="It is made again"):
        engines.keep(network, file, "openvino", **options)
    monkeypatch.setattr(formats, "versions", lambda format: {"openvino": "another"})
    assert not engines.is_kept(network, file, "openvino", **options)
    engines.keep(network, file, "openvino", **options)
    assert len(exports) == 3
    assert len([path for path in (home / "others").iterdir() if path.is_dir()]) == 1
    engines.keep(network, file, "openvino", image_size=24, folder=home / "others")
    assert len([path for path in (home / "others").iterdir() if path.is_dir()]) == 2


def test_auto_predicts_with_keras_where_it_must(images, capsys, monkeypatch):
    monkeypatch.setattr(engines, "_installed", lambda engine: False)
    assert engines.choose("auto") == "keras"
    monkeypatch.setattr(engines, "_installed", lambda engine: engine == "onnxruntime")
    assert engines.choose("auto") == "onnxruntime"
    assert engines.choose("auto", "mixed_bfloat16") == "keras"
    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setattr(engines.processes, "gpus", lambda: ["0"])
        assert engines.choose("auto") == "keras"

    def fails(*_, **__):
        raise InputError("No such operation.")

    monkeypatch.setattr(engines, "open_engine", fails)
    status, out, err = run(capsys, *MODEL, "--engine=auto", images)
    assert status == 0
    assert "keras predicts instead of openvino: No such operation. --engine=keras does" in err
    assert out.count(".png") == 6
    status, _, err = run(capsys, *MODEL, "--engine=openvino", images)
    assert status == 2
    assert err.splitlines()[-1] == "error: No such operation."


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*MODEL, "--engine=tensorrt"), "engine"),
        ((*MODEL, "--engine=litert", "--dtype=mixed_bfloat16"), "computes in float32 here"),
        (("--model=resnet1d", "--weights=digits", "--engine=auto"), "leave --engine out"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, images, capsys, monkeypatch):
    if arguments[0] == "--model=resnet1d":  # of which there are no weights
        found = (zoo.networks.find("resnet1d"), None)
        monkeypatch.setattr(predict.shared_flags, "find_classifier", lambda *_: found)
    status, _, err = run(capsys, *arguments, images)
    assert status == 2
    assert words in err
    assert err.count("\n") == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
