"""Time series on the command line: trained, resumed, measured, predicted, drawn and published."""

import csv
import json
import random
import re
import shutil
import signal

import numpy as np
import pytest
import series_data
import torture

from resnet_keras import (
    benchmark,
    deployment,
    evaluate,
    export,
    predict,
    publish,
    report,
    train,
    zoo,
)
from resnet_keras.deployment import calibration

FLAGS = (
    *("--model=resnet1d", "--dataset=ucr", "--width=4", "--batch_size=16", "--train_steps=40"),
    *("--eval_every=20", "--learning_rate=0.05", "--schedule=cosine", "--notensorboard"),
    "--strategy=one_device",
)
KILLED = torture.Run(
    "train",
    (
        *("--model=resnet1d", "--dataset=digits_series", "--width=4", "--batch_size=32"),
        *("--train_steps=120", "--eval_every=40", "--checkpoint_every=4", "--learning_rate=0.05"),
        *("--accumulate_steps=2", "--ema=0.9", "--stochastic_depth=0.2", "--dropout=0.2"),
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return series_data.write(tmp_path_factory.mktemp("data"), train=120, test=50)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    assert train.main(["train", *FLAGS, f"--data_dir={data}", f"--workdir={folder}"]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Runs a command; returns its status and what it said."""

    def run_command(module, *arguments):
        capsys.readouterr()
        status = module.main([module.__name__, *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run_command


def test_a_run_learns_and_its_weights_say_what_they_are(trained):
    assert float(torture.rows(trained)[-1]["val_top1_error"]) <= 0.1
    network, file = zoo.weights.find(trained, None)
    assert (network.name, file.class_names) == ("resnet1d", series_data.CLASSES)
    assert file.options["input_shape"] == (series_data.LENGTH, 1)
    assert file.assumed == ""
    model = zoo.get("resnet1d", weights=trained / "weights.safetensors")
    values, names = series_data.made(50, 1)
    guesses = zoo.predict(model, values[..., None].astype("float32"))
    wrong = np.mean([one[0].name != name for one, name in zip(guesses, names, strict=True)])
    assert wrong == pytest.approx(float(torture.rows(trained)[-1]["val_top1_error"]), abs=0.021)


def test_it_is_measured_as_in_training(trained, data, run, tmp_path):
    files = (f"--results={tmp_path / 'r.json'}", f"--per_class={tmp_path / 'c.csv'}")
    where = ("--dataset=ucr", f"--data_dir={data}")
    status, out, err = run(evaluate, f"--model={trained}", *where, *files)
    assert status == 0, err
    error = float(torture.rows(trained)[-1]["val_top1_error"])
    assert f"on ucr/test: top-1 error {100 * error:.2f} % (50 examples, single view)" in out
    (row,) = json.loads((tmp_path / "r.json").read_text())
    assert (row["top1_error"], row["top5_error"]) == (pytest.approx(error), None)
    assert row["data_dir"] == str(data)
    with (tmp_path / "c.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [*series_data.CLASSES]


def test_files_are_predicted_with_the_names_of_classes(trained, run, tmp_path):
    values, names = series_data.made(50, 1)
    series = tmp_path / "new.csv"
    np.savetxt(series, values, delimiter=",")
    series_data.write(tmp_path, train=50, test=50)
    status, out, err = run(predict, f"--model={trained}", "--json", series)
    assert status == 0, err
    rows = json.loads(out)
    assert [(row["series"], row["number"]) for row in rows] == [(str(series), n) for n in range(50)]
    wrong = [row["top"][0]["name"] != name for row, name in zip(rows, names, strict=True)]
    assert np.mean(wrong) <= 0.1
    again = run(predict, f"--model={trained}", "--json", tmp_path / "Toy_TEST.tsv")[1]
    assert [row["top"][0]["name"] for row in json.loads(again)] == [
        row["top"][0]["name"] for row in rows
    ]
    status, out, _ = run(predict, f"--model={trained}", "--top=1", "--batch_size=7", series)
    first, second, *_ = out.splitlines()
    assert first == f"{series}, series 0"
    assert second.split()[-1] == rows[0]["top"][0]["name"]
    assert len(out.splitlines()) == 100


def test_it_is_drawn_and_published(trained, run, tmp_path):
    assert run(report, f"--out={tmp_path / 'report'}", trained)[0] == 0
    assert "Training on ucr" in (tmp_path / "report.html").read_text()
    status, _, err = run(publish, trained, tmp_path / "mine")
    assert status == 0, err
    card = (tmp_path / "mine" / "README.md").read_text()
    assert f"| input | series of {series_data.LENGTH} steps x 1 channel(s) |" in card
    assert "image" not in card.split("| classes")[0]
    assert "| data | Toy |" in card
    assert "top-1 error on ucr Toy/test after 40 steps" in card
    assert "--data_sha256=" in card
    assert "data_dir" not in card
    values = series_data.made(3, 1)[0][..., None].astype("float32")
    published, own = zoo.get(tmp_path / "mine"), zoo.get("resnet1d", weights=trained)
    np.testing.assert_array_equal(published(values), own(values))


def test_a_run_is_bound_to_its_series_wherever_they_lie(trained, data, run, tmp_path):
    moved, others = tmp_path / "moved", tmp_path / "others"
    shutil.copytree(data, moved)
    for path in moved.iterdir():
        path.rename(path.with_name(path.name.replace("Toy", "Renamed")))
    others.mkdir()
    series_data.write(others, train=118, test=50)
    status, out, err = run(train, *FLAGS, f"--data_dir={moved}", f"--workdir={trained}")
    assert status == 0, err
    assert "holds a finished run" in out
    status, _, err = run(train, *FLAGS, f"--data_dir={others}", f"--workdir={trained}")
    assert status == 2
    assert "holds a run with other flags: --data_sha256=" in err
    assert "data_dir" not in err
    flags = f"--flagfile={trained / 'run.flags'}"
    status, _, err = run(train, flags, f"--data_dir={others}", f"--workdir={tmp_path / 'run'}")
    assert status == 2
    assert f"{others} has other series, Toy, than those of --data_sha256=" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_replicas_with_synchronized_batch_norm_equal_one(data, run, tmp_path):
    steps = ("--train_steps=6", "--eval_every=1", "--learning_rate=0.01", f"--data_dir={data}")
    ways = {"one": [], "two": ["--strategy=mirrored", "--logical_cpus=2", "--sync_batch_norm"]}
    for name, way in ways.items():
        status, _, err = run(train, *FLAGS, *steps, *way, f"--workdir={tmp_path / name}")
        assert status == 0, err
    torture.assert_near(tmp_path / "one", tmp_path / "two", "resnet1d")


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path):
    folder, moments = tmp_path / "killed", random.Random(0)
    torture.run_to_end(tmp_path / "undisturbed", KILLED)
    assert torture.kill_somewhere(folder, moments, KILLED, hurried=0) == -signal.SIGKILL
    torture.run_to_end(folder, KILLED)
    assert torture.differences(tmp_path / "undisturbed", folder) == []
    assert "going on from the checkpoint of step" in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_a_run_that_lost_its_end_goes_on_to_the_same_bits(trained, data, run, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(trained, folder)
    max((folder / "checkpoints").iterdir()).unlink()
    for name in ("weights.safetensors", "best.safetensors"):
        (folder / name).unlink()
    status, out, err = run(train, *FLAGS, f"--data_dir={data}", f"--workdir={folder}")
    assert status == 0, err
    assert "going on from the checkpoint of step 20" in out
    one, two = (path / "weights.safetensors" for path in (trained, folder))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=resnet20"], "resnet20 takes images, and ucr is a data set of series: take anot"),
        (["--dataset=digits"], "resnet1d takes series, and digits is a data set of images: take"),
        (["--image_size=32"], "ucr is a data set of series: --image_size=32 is for images"),
        (
            ["--mixup=0.2"],
            "ucr is a data set of series: --scales, --mixup and the other flags of v",
        ),
        (["--noflip"], "ucr is a data set of series"),
        (["--eval_resize=40"], "ucr is a data set of series: --eval_resize=40 is for images"),
        (
            ["--normalization=pixel"],
            "ucr is a data set of series: --normalization=pixel is for images",
        ),
        (["--exif_orientation"], "exif_orientation is for photographs"),
        (["--services=grpc://localhost:1"], "--services are for photographs"),
        (["--shortcut=B"], "Unknown option of resnet1d: 'shortcut'"),
        (["--data_dir=nowhere"], "There is no folder nowhere"),
        (["--eval_split=validation"], "Unknown split 'validation'"),
    ],
)
def test_training_refuses_what_is_for_images(arguments, words, data, run, tmp_path):
    folder = tmp_path / "run"
    status, _, err = run(
        train,
        *FLAGS,
        f"--data_dir={data}",
        "--strategy=one_device",
        f"--workdir={folder}",
        *arguments,
    )
    assert status == 2
    assert words in err
    assert (err.startswith("error: "), err.count("\n")) == (True, 1)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol=ten_crop"], "ucr is a data set of series: --protocol and what it takes is"),
        (["--image_size=24"], "ucr is a data set of series"),
        (["--dataset=digits"], "resnet1d takes series, and digits is a data set of images"),
        (["--dataset=digits_series"], "takes series of shape (24, 1) (length, channels) and digit"),
        (["--model=resnet20", "--weights=digits"], "resnet20 takes images, and ucr is a data set"),
    ],
)
def test_evaluation_refuses_what_does_not_fit(arguments, words, trained, data, run):
    where = (f"--model={trained}", "--dataset=ucr", f"--data_dir={data}")
    status, _, err = run(evaluate, *where, *arguments)
    assert status == 2
    assert words in err.splitlines()[-1]


def test_prediction_refuses_what_does_not_fit(trained, run, tmp_path):
    series, short = tmp_path / "a.csv", tmp_path / "short.csv"
    series.write_text(",".join(["1.5"] * series_data.LENGTH))
    short.write_text("1,2,3\n")
    model = f"--model={trained}"
    for arguments, words in (
        (
            [model, "--image_size=32", series],
            "resnet1d takes series: leave --image_size out, it is",
        ),
        ([model, "--plot=a.png", series], "leave --plot out"),
        ([model, short], f"series of {short} are of shape (3, 1) (length, channels), and the net"),
        ([model, tmp_path / "b.csv"], "There is no file of series"),
        ([model, tmp_path], "There is no file of series"),
        (["--model=resnet20", "--weights=digits", series], "is a file of series, and the network"),
    ):
        status, _, err = run(predict, *arguments)
        assert status == 2
        assert words in err
        assert "Traceback" not in err


def test_series_in_memory_are_predicted_or_refused(trained):
    from resnet_keras.errors import InputError

    model = zoo.get("resnet1d", weights=trained)
    one = series_data.made(1, 1)[0][0, :, None].astype("float32")
    (guesses,) = zoo.predict(model, one, top=1)
    assert [guess.name in series_data.CLASSES for guess in guesses] == [True]
    assert zoo.predict(model, [one, one], top=1) == [guesses, guesses]
    for given, words in (
        (one[:, 0], r"arrays \(length, channels\) or batches"),
        (one[:-1], r"of shape \(23, 1\)"),
        ([], "the list is empty"),
        ([one, one[:-1]], "must have one length"),
        (one * np.nan, "missing or infinite"),
    ):
        with pytest.raises(InputError, match=words):
            zoo.predict(model, given)
    with pytest.raises(InputError, match="preprocessing is for images"):
        zoo.predict(model, one, preprocessing=zoo.Preprocessing())


QUICK = [("savedmodel", "none"), ("litert", "none"), ("onnx", "none"), ("openvino", "float16")]
SLOW = [("litert", "float16"), ("onnx", "float16"), ("openvino", "none")]


@pytest.mark.parametrize(
    ("format", "quantize"),
    [*QUICK, *(pytest.param(*kind, marks=pytest.mark.slow) for kind in SLOW)],
)
def test_an_exported_file_answers_as_its_network(
    format, quantize, trained, data, run, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "exported"
    kind = (f"--format={format}", f"--quantize={quantize}")
    where = ("--dataset=ucr", f"--data_dir={data}")
    status, out, err = run(export, trained, *kind, *where, f"--out={folder}")
    assert status == 0, err
    found = deployment.read(folder)
    batch = 1 if format == "litert" else None
    assert found.input == ("series", "float32", (batch, series_data.LENGTH, 1))
    assert (found.takes_series, found.preprocessing) == (True, None)
    assert found.class_names == series_data.CLASSES
    assert "of ucr/test[:50] have the network's class" in out
    values, _ = series_data.made(50, 1)
    logits = zoo.get("resnet1d", weights=trained).predict_on_batch(values[..., None])
    given = deployment.open_runtime(found)(values[..., None])
    largest = 2e-3 if quantize == "float16" else 1e-5
    assert np.abs(given - logits).max() <= largest * np.abs(logits).max()
    # By the commands: the same errors and the same classes.
    status, own, _ = run(evaluate, f"--model={trained}", *where)
    status, out, err = run(evaluate, f"--model={folder}", *where)
    assert status == 0, err
    assert out.split(": ")[1] == own.split(": ")[1]
    series = tmp_path / "new.csv"
    np.savetxt(series, values, delimiter=",")
    status, out, err = run(predict, f"--model={folder}", "--json", "--top=1", series)
    assert status == 0, err
    names = [row["top"][0]["name"] for row in json.loads(out)]
    assert names == [series_data.CLASSES[place] for place in given.argmax(-1)]
    monkeypatch.chdir(folder)
    card = (folder / "README.md").read_text()
    exec(card.split("```")[1].removeprefix("python"), {})
    assert capsys.readouterr().out.split()[0] in series_data.CLASSES
    assert "numbers as they were measured" in card
    assert "pixels" not in card + (folder / "preprocessing.json").read_text()


def test_an_exported_file_for_series_of_any_length(trained, run, tmp_path):
    folder, repository = tmp_path / "any", tmp_path / "models"
    flags = ("--format=onnx", "--any_size", f"--out={folder}", f"--triton={repository}")
    status, _, err = run(export, trained, *flags)
    assert status == 0, err
    values = np.random.default_rng(0).normal(size=(3, 37, 1)).astype("float32")
    network = zoo.get("resnet1d", weights=trained, input_shape=(None, 1))
    given = deployment.open_runtime(deployment.read(folder))(values)
    np.testing.assert_allclose(given, network.predict_on_batch(values), rtol=1e-4, atol=1e-4)
    config = (repository / "any" / "config.pbtxt").read_text()
    assert "dims: [ -1, 1 ]" in config
    assert "NHWC" not in config
    series = tmp_path / "series.npz"
    np.savez(series, x=values)
    status, out, err = run(predict, f"--model={folder}", "--json", series)
    assert (status, len(json.loads(out))) == (0, 3), err
    wide = tmp_path / "wide.npz"
    np.savez(wide, x=np.zeros((2, 37, 3)))
    # What is for images says so.
    for command, arguments, words in (
        (predict, [f"--model={folder}", "--image_size=32", series], "leave --image_size out"),
        (predict, [f"--model={folder}", wide], "the network takes any length and 1 channel(s)"),
        (predict, [f"--model={folder}", "--plot=a.png", series], "leave --plot out"),
        (evaluate, [f"--model={folder}", "--dataset=digits"], "any takes series, and digits is"),
        (benchmark, ["predict", "--model=resnet20", f"--peer={folder}"], "any takes series"),
    ):
        status, _, err = run(command, *arguments)
        assert status == 2
        assert words in err.splitlines()[-1]
        assert err.splitlines()[-1].startswith("error: ")


def test_dynamic_makes_int8_weights_of_layers_that_are_large_enough(data, run, tmp_path):
    where = ("--dataset=ucr", f"--data_dir={data}")
    wide = zoo.get("resnet1d", width=16, num_classes=2, input_shape=(None, 1))
    zoo.save(wide, tmp_path / "wide", class_names=series_data.CLASSES)
    sizes = []
    for kind in ("none", "dynamic"):
        out = tmp_path / kind
        flags = ("--format=litert", f"--quantize={kind}", f"--out={out}")
        # Without data LiteRT would have to take series of any length.
        status, _, err = run(export, tmp_path / "wide", *flags)
        assert status == 2
        assert "name data of that length with --dataset" in err
        status, _, err = run(export, tmp_path / "wide", *flags, *where)
        assert status == 0, err
        found = deployment.read(out)
        assert found.input.shape == (1, series_data.LENGTH, 1)
        sizes.append(sum(found.sizes.values()))
    assert sizes[1] < 0.5 * sizes[0]
    assert 0 < found.difference["largest"] < 0.05


def test_made_up_series_are_of_the_size_that_the_network_takes(run, tmp_path):
    network = zoo.get(
        "resnet1d",
        width=4,
        num_classes=2,
        input_shape=(32, 2),
        z_normalization=False,
        mean=(1000.0, -3.0),
        std=(50.0, 0.1),
    )
    zoo.save(network, tmp_path / "levels", class_names=series_data.CLASSES)
    flags = ("--format=onnx", f"--out={tmp_path / 'out'}")
    status, _, err = run(export, tmp_path / "levels", *flags)
    assert status == 0, err
    scale = network.get_layer("normalization")
    values = calibration.made_up_series((32, 2), scale.initial_mean, scale.initial_std).values
    np.testing.assert_allclose(values.mean((0, 1)), (1000, -3), rtol=0.2)
    np.testing.assert_allclose(values.std((0, 1)), (50, 0.1), rtol=0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format=litert", "--quantize=int8"], "--quantize=int8 makes a file that takes uint8"),
        (
            ["--format=onnx", "--quantize=int8"],
            "take --quantize=float16 or --quantize=dynamic",
        ),
        (["--format=onnx", "--quantize=dynamic"], "take --format=litert"),
        (["--format=litert", "--quantize=dynamic"], "whose layers are too small for it"),
        (["--format=onnx", "--calibration_images=300"], "leave --calibration_images out"),
        (["--format=onnx", "--image_size=32"], "leave --image_size out"),
        (["--format=onnx", "--crop=stretch"], "leave --crop out"),
        (["--format=litert", "--any_size"], "--any_size is neither"),
        (["--format=onnx", "--dataset=digits"], "resnet1d takes series, and digits is a data set"),
        (["--format=onnx", "--dataset=digits_series"], "takes series of shape (24, 1)"),
    ],
)
def test_exports_refuse_what_is_not_for_series(arguments, words, trained, run, tmp_path):
    status, _, err = run(export, trained, *arguments, f"--out={tmp_path / 'out'}")
    assert status == 2
    assert words in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_others_classes_are_refused_for_an_exported_file(trained, data, run, tmp_path):
    folder, others = tmp_path / "exported", tmp_path / "others"
    assert run(export, trained, "--format=onnx", f"--out={folder}")[0] == 0
    shutil.copytree(data, others)
    for path in others.iterdir():
        path.write_text(re.sub("^1\t", "other\t", path.read_text(), flags=re.MULTILINE))
    status, _, err = run(evaluate, f"--model={folder}", "--dataset=ucr", f"--data_dir={others}")
    assert status == 2
    assert "The weights are of the classes 1, 2" in err


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
