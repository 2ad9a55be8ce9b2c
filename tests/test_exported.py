"""Exported models in the commands that evaluate and predict."""

import csv
import json
import shutil

import numpy as np
import pytest

from resnet_keras import benchmark, deployment, evaluate, pipelines, predict, zoo
from resnet_keras.commands import exports, shared_flags

pytest.importorskip("openvino")
MODEL = ("--model=resnet20", "--weights=digits")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The shipped network of the digits, at its one size, as OpenVINO in float32."""
    from resnet_keras.deployment import calibration, exporting

    network, file = zoo.weights.find("resnet20", "digits")
    shown = file.shown()
    about = exporting.About("resnet20", "digits", shown, "", file.class_names)
    folder = tmp_path_factory.mktemp("exported") / "digits_openvino"
    compared = calibration.made_up((shown.image_size, shown.image_size), 4)
    model = zoo.build(network, file)
    exporting.export(model, folder, format="openvino", about=about, compared=compared)
    return folder


@pytest.fixture(scope="module")
def photographs_model(tmp_path_factory):
    """An untrained network of two classes, for photographs of side 64, two at once."""
    import keras

    from resnet_keras.deployment import calibration, exporting

    keras.utils.set_random_seed(0)
    model = zoo.get("resnet8", num_classes=2, input_shape=(64, 64, 3))
    about = exporting.About("resnet8", None, zoo.Preprocessing(64, 80), "", ("discs", "stripes"))
    folder = tmp_path_factory.mktemp("exported") / "photographs"
    compared = calibration.made_up((64, 64), 2)
    options = {"format": "openvino", "about": about, "compared": compared, "batch_size": 2}
    exporting.export(model, folder, **options)
    zoo.save(model, folder.parent / "network", preprocessing=zoo.Preprocessing(64, 80))
    return folder


def run(command, capsys, *arguments):
    status = command.main([command.__name__, *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.slow
def test_files_are_timed_beside_their_network(digits, capsys):
    arguments = ("predict", "--model=resnet20", "--image_size=16", f"--peer={digits},openvino")
    sizes = ("--batch_size=2", "--steps=1", "--rounds=1", "--json")
    assert benchmark.main(["benchmark", *arguments, *sizes]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    assert list(result["timings"]) == ["resnet_keras", str(digits), "openvino"]
    assert list(result["ratio"]) == [str(digits), "openvino"]
    written = sum(deployment.read(digits).sizes.values())
    assert result["timings"][str(digits)]["bytes"] == written
    assert result["timings"][str(digits)]["wall"] > 0


@pytest.mark.parametrize(
    ("task", "size", "words"),
    [
        ("train", 16, "is an exported model, which is timed at predict, not at train"),
        ("predict", 32, "takes images of 16 x 16 pixels, and --image_size is 32"),
    ],
)
def test_files_that_cannot_be_timed(task, size, words, digits, capsys):
    arguments = (task, "--model=resnet20", f"--image_size={size}", f"--peer={digits}")
    assert benchmark.main(["benchmark", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_labels_in_another_order_are_refused(digits, tmp_path, capsys):
    folder = tmp_path / "other"
    shutil.copytree(digits, folder)
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in "1023456789"))
    status, _, err = run(evaluate, capsys, f"--model={folder}", "--dataset=digits")
    assert status == 2
    assert "class 0 of the model is '1', and of the data '0'" in err


def test_a_float32_file_tells_all_digits_as_its_network(digits, tmp_path, capsys):
    images, _ = pipelines.arrays("digits", "test", image_size=16)
    assert len(images) == 360
    expected = zoo.get("resnet20", weights="digits").predict_on_batch(images)
    model = deployment.Classifier(deployment.read(digits))
    given = model.predict_on_batch(images)
    np.testing.assert_array_equal(given.argmax(-1), np.asarray(expected).argmax(-1))
    results, classes = tmp_path / "results.json", tmp_path / "classes.csv"
    for arguments in (MODEL, (f"--model={digits}",)):
        status, out, err = run(
            evaluate, capsys, *arguments, f"--results={results}", f"--per_class={classes}"
        )
        assert (status, err) == (0, "")
        assert "digits/test: top-1 error 0.28 %, top-5 error 0.00 % (360 examples" in out
    network, exported = json.loads(results.read_text())
    differ = {"model", "weights", "training", "versions", "exported"}
    assert {k: network[k] for k in network if k not in differ} == {
        k: exported[k] for k in exported if k not in differ
    }
    assert exported["model"] == str(digits)
    assert exported["exported"] == {
        "network": "resnet20",
        "weights": "digits",
        "format": "openvino",
        "quantize": "none",
    }
    with open(classes, newline="") as file:
        assert sum(int(row["examples"]) for row in csv.DictReader(file)) == 360


def test_a_file_for_any_size_sees_the_digits_as_its_network_does(tmp_path, capsys):
    from resnet_keras.deployment import calibration, exporting

    network, file = zoo.weights.find("resnet20", "digits")
    about = exporting.About("resnet20", "digits", file.shown(), "", file.class_names)
    model = zoo.build(network, file, input_shape=(None, None, 3))
    compared = calibration.made_up((16, 16), 2)
    folder = tmp_path / "any"
    exporting.export(model, folder, format="openvino", about=about, compared=compared)
    status, out, err = run(evaluate, capsys, f"--model={folder}", "--dataset=digits")
    assert (status, err) == (0, "")
    assert "top-1 error 0.28 %" in out  # at 16 pixels, and not at the 32 that the data set has


def test_a_networks_name_is_no_folders(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits, "resnet20")
    flags = predict.FLAGS
    shared_flags.parse(flags, ["predict", "--model=resnet20"])
    assert exports.find(flags) is None
    shared_flags.parse(flags, ["predict", "--model=./resnet20"])
    found = exports.find(flags)
    assert found is not None
    assert found.network == "resnet20"


@pytest.mark.slow
def test_photographs_by_the_protocols_that_a_file_can(
    photographs, photographs_model, tmp_path, capsys
):
    data = ("--dataset=folder", f"--data_dir={photographs}", "--batch_size=5")
    network = photographs_model.parent / "network"
    for protocol in ("single_crop", "ten_crop"):
        rows = []
        for model in (photographs_model, network):
            results = tmp_path / f"{protocol}-{model.name}.json"
            arguments = (f"--model={model}", f"--protocol={protocol}", f"--results={results}")
            status, _, err = run(evaluate, capsys, *data, *arguments)
            assert (status, err) == (0, "")
            rows += json.loads(results.read_text())
        one, other = rows
        assert one["top1_error"] == other["top1_error"]
        assert one["resize"] == other["resize"] == 80
    status, _, err = run(
        evaluate, capsys, *data, f"--model={photographs_model}", "--protocol=multi_scale"
    )
    assert status == 2
    assert err.count("\n") == 1
    assert "multi_scale scores positions of it: take another --protocol." in err


def test_predicts_images_with_the_folder_s_names_and_view(
    photographs, photographs_model, tmp_path, capsys
):
    folder = photographs / "val" / "discs"
    answers = []
    for model in (photographs_model, photographs_model.parent / "network"):
        status, out, err = run(predict, capsys, f"--model={model}", "--json", folder)
        assert (status, err) == (0, "")
        answers.append(json.loads(out))
    exported, network = answers
    assert len(exported) == 6
    assert {guess["name"] for row in exported for guess in row["top"]} == {"discs", "stripes"}
    for row, other in zip(exported, network, strict=True):
        assert row["image"] == other["image"]
        mine, theirs = row["top"], other["top"]
        assert [guess["class"] for guess in mine] == [guess["class"] for guess in theirs]
        assert mine[0]["probability"] == pytest.approx(theirs[0]["probability"], abs=1e-4)


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (evaluate, ["--dataset=digits", "--weights=digits"], "leave --weights out"),
        (evaluate, ["--dataset=digits", "--dtype=mixed_bfloat16"], "precision is that of the file"),
        (evaluate, ["--dataset=cifar10"], "side 16"),
        (evaluate, ["--dataset=digits_series"], "is a data set of series"),
        (evaluate, ["--dataset=folder", "--data_dir=.", "--image_size=24"], "side 16 only"),
        (predict, ["--image_size=24", "seen.png"], "side 16 only, not of --image_size=24"),
        (predict, ["--weights=digits", "seen.png"], "leave --weights out"),
        (predict, ["series.csv"], "takes images"),
    ],
)
def test_mistakes_end_in_one_sentence(
    command, arguments, words, digits, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("seen.png", "series.csv"):
        (tmp_path / name).write_text("1,2\n")
    for split in ("train", "val"):
        (tmp_path / split / "one").mkdir(parents=True)
    status, _, err = run(command, capsys, f"--model={digits}", *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_damaged_file_and_a_detector_are_refused(digits, tmp_path, capsys):
    broken, detector = tmp_path / "broken", tmp_path / "detector"
    for folder in (broken, detector):
        shutil.copytree(digits, folder)
    (broken / "model.bin").write_bytes(b"")
    facts = json.loads((detector / "preprocessing.json").read_text())
    (detector / "preprocessing.json").write_text(json.dumps({**facts, "task": "detection"}))
    for folder, words in ((broken, "model.bin is damaged"), (detector, "does not classify")):
        status, _, err = run(evaluate, capsys, f"--model={folder}")
        assert status == 2
        assert words in err
        assert err.count("\n") == 1


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
