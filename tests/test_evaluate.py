"""The evaluation command and its results file."""

import csv
import json

import keras
import pytest

from resnet_keras import evaluate, zoo
from resnet_keras.classification import protocols
from resnet_keras.classification.protocols import PROTOCOLS
from resnet_keras.errors import InputError

DIGITS = ("--model=resnet20", "--weights=digits", "--dataset=digits")


def test_prints_and_records_a_measurement(tmp_path, capsys):
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"model": "resnet20", "weights": "other"}]))
    for batch_size in (360, 7):  # a second measurement takes the first one's place
        arguments = ["evaluate", *DIGITS, f"--batch_size={batch_size}", f"--results={results}"]
        assert evaluate.main(arguments) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "top-1 error 0.28 %, top-5 error 0.00 % (360 examples, single view)" in said
    other, row = json.loads(results.read_text())
    assert other["weights"] == "other"
    (shipped,) = zoo.ENTRIES["resnet20", "digits"].measured
    assert {k: row[k] for k in row if k != "versions"} == {
        k: shipped[k] for k in shipped if k != "versions"
    }


SIZE = 64  # of crops


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained network of two classes whose answers differ from image to image."""
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    keras.utils.set_random_seed(0)
    network = zoo.get("resnet8", num_classes=2, input_shape=(SIZE, SIZE, 3))
    zoo.weights.save(path, network)
    return path


def test_a_published_folder_is_measured_as_its_weights_are(tmp_path, capsys):
    zoo.save(zoo.get("resnet20", weights="digits"), tmp_path / "mine")
    results = tmp_path / "results.json"
    arguments = [f"--model={tmp_path / 'mine'}", "--dataset=digits", f"--results={results}"]
    assert evaluate.main(["evaluate", *arguments]) == 0, capsys.readouterr().err
    assert f"{tmp_path / 'mine'} on digits/test: top-1 error 0.28 %" in capsys.readouterr().out
    (row,) = json.loads(results.read_text())
    assert row["weights"] == "its own"
    assert row["training"]["began as"].startswith("resnet20 digits")


def test_imagenets_folders_have_wordnets_names():
    names = ("n01440764", "n01443537")
    assert protocols.check_order(("tench", "goldfish"), names) is None
    with pytest.raises(InputError, match=r"class 0 of the model is 'goldfish'.* the data 'tench'"):
        protocols.check_order(("goldfish", "tench"), names)


@pytest.mark.parametrize("names", [("stripes", "discs"), ("a", "b")])
def test_classes_in_another_order_are_refused(names, photographs, tmp_path, capsys):
    """Their errors would be plausible and wrong; other words may be of the same classes."""
    network = zoo.get("resnet8", num_classes=2, input_shape=(SIZE, SIZE, 3))
    zoo.save(network, tmp_path / "mine", class_names=names)
    data = ("--dataset=folder", f"--data_dir={photographs}", f"--image_size={SIZE}")
    status = evaluate.main(["evaluate", f"--model={tmp_path / 'mine'}", *data])
    said = capsys.readouterr().err.splitlines()[-1]
    if names == ("a", "b"):
        assert status == 0
        assert "class 0 of the model is 'a', and of the data 'discs': they are taken for" in said
    else:
        assert status == 2
        assert said.startswith("error: The data have the classes in another order: class 0 of the ")
        assert said.endswith("model is 'stripes', and of the data 'discs'.")


@pytest.mark.parametrize(
    "protocol",
    [pytest.param(p, marks=() if p == "single_crop" else pytest.mark.slow) for p in PROTOCOLS],
)
def test_protocols_on_the_command_line(protocol, photographs, weights, tmp_path, capsys):
    arguments = [
        "evaluate",
        "--dataset=folder",
        f"--data_dir={photographs}",
        f"--protocol={protocol}",
        "--scales=64,80",
        "--batch_size=5",
        f"--results={tmp_path / 'results.json'}",
        f"--per_class={tmp_path / 'classes.csv'}",
    ]
    single = ["--model=resnet8", f"--weights={weights}"]
    assert evaluate.main([*arguments, *single]) == 0, capsys.readouterr().err
    if protocol == "ten_crop":  # one protocol is enough for ensembles
        ensemble = [f"--ensemble=resnet8={weights},resnet8={weights}"]
        assert evaluate.main([*arguments, *ensemble]) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "results.json").read_text())
    alone, *together = rows
    assert [row["model"] for row in together] == ["resnet8+resnet8"] * (protocol == "ten_crop")
    for row in rows:
        assert (row["split"], row["protocol"], row["examples"]) == ("val", protocol, 12)
        assert row["image_size"] == SIZE
        assert row["top1_error"] == alone["top1_error"]  # of twins
        if protocol == "multi_scale":
            assert row["scales"] == [64, 80]
        else:
            assert row["resize"] == 73  # 64 * 256 / 224
    with open(tmp_path / "classes.csv", newline="") as file:
        discs, stripes = csv.DictReader(file)
    assert (discs["name"], stripes["name"]) == ("discs", "stripes")
    assert discs["examples"] == stripes["examples"] == "6"
    mean = (float(discs["top1_error"]) + float(stripes["top1_error"])) / 2
    assert mean == pytest.approx(alone["top1_error"], abs=1e-5)


@pytest.mark.parametrize(
    "protocol", ["ten_crop", pytest.param("multi_scale", marks=pytest.mark.slow)]
)
def test_a_broken_image_is_an_error_that_names_it(protocol, photographs, weights, tmp_path, capsys):
    folder = tmp_path / "val" / "discs"
    folder.mkdir(parents=True)
    (tmp_path / "val" / "stripes").mkdir()
    for kind in ("discs", "stripes"):
        image = next((photographs / "val" / kind).iterdir())
        (tmp_path / "val" / kind / "good.jpg").write_bytes(image.read_bytes())
    (folder / "half.jpg").write_bytes((folder / "good.jpg").read_bytes()[:900])
    arguments = ["--dataset=folder", f"--data_dir={tmp_path}", f"--weights={weights}"]
    arguments += ["--model=resnet8", f"--protocol={protocol}", "--scales=64"]
    assert evaluate.main(["evaluate", *arguments]) == 2
    said = [s for s in capsys.readouterr().err.splitlines() if s.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith(f"error: cannot decode {folder / 'half.jpg'}; ")


def test_resize_crop_and_interpolation_come_from_the_weights(tmp_path):
    network = zoo.get("resnet8", num_classes=2, input_shape=(96, 96, 3))
    path = tmp_path / "resnet8.safetensors"
    shown = zoo.entry.Preprocessing(image_size=96, resize=128, interpolation="bicubic")
    zoo.weights.save(path, network, preprocessing=shown)
    evaluate.shared_flags.parse(evaluate.FLAGS, ["evaluate"])
    _, file = zoo.weights.find("resnet8", path)
    assert evaluate._protocol(file).facts() == {
        "protocol": "single_crop",
        "image_size": 96,
        "resize": 128,
        "interpolation": "bicubic",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset=folder", "--weights=digits"], "--data_dir"),
        ([*DIGITS, "--protocol=ten_crop"], "photographs"),
        ([*DIGITS, "--resize=64"], "photographs"),
        (["--ensemble=resnet20", "--dataset=digits"], "NAME=WEIGHTS"),
        (["--ensemble=resnet20=digits", "--weights=digits"], "--ensemble"),
        (["--model=resnet20", "--dataset=digits"], "--weights"),
        (["--model=resnet20", "--weights=nothing", "--dataset=digits"], "digits"),
        (["--model=resnet20", "--weights=w.safetensors"], "w.safetensors"),
        (["--model=resnet19", "--weights=digits"], "6n+2"),
        ([*DIGITS, "--dataset=cifar100"], "side 16"),
        ([*DIGITS, "--dataset=cifar10"], "side 16"),
        ([*DIGITS, "--split=validation"], "val"),
        ([*DIGITS, "--results=broken.json"], "broken.json"),
        ([*DIGITS, "--results=/proc/nowhere/r.json"], "/proc/nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    assert evaluate.main(["evaluate", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
    assert (tmp_path / "broken.json").read_text() == "{"


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
