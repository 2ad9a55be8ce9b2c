"""A ~ in a path is the user's own folder, wherever a path is given."""

import importlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from resnet_keras import files, pipelines, zoo
from resnet_keras.commands import shared_flags
from resnet_keras.training import run_folder

ROOT = Path(__file__).parent.parent
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("resnet_keras.")
    for folder in ("resnet_keras", "pipelines", "zoo")
    for path in (ROOT / folder).rglob("*.py")
    if re.search(r"^FLAGS = ", path.read_text(), re.MULTILINE)
)
SPEAKS_OF_A_PATH = re.compile(r"folder|file|path|dir\b|\bout\b|runs of", re.IGNORECASE)
# The name of a data set, of which one is "folder"; a checksum of a file.
NO_PATHS = {"dataset", "teacher_checksum"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's own folder; the command runs in another."""
    for name in ("home", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield tmp_path / "home"
    assert not os.listdir(tmp_path / "elsewhere")  # such as a folder named ~


def path_flags(values):
    """The flags, by name, that speak of a file or folder and take text."""
    texts = [f for f in shared_flags.all_flags(values) if f.flag_type() in ("string", PATHS)]
    speaking = [f for f in texts if SPEAKS_OF_A_PATH.search(f"{f.name} {f.help}")]
    return {flag.name: flag for flag in speaking if flag.name not in NO_PATHS}


PATHS = flags.ListParser().flag_type()


def test_every_command_is_known():
    assert {"train", "evaluate", "predict", "report", "reproduce"} < set(COMMANDS)
    assert "pipelines.__main__" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_that_takes_a_path_expands_it(command, home):
    values = importlib.import_module(f"resnet_keras.{command}").FLAGS
    found = path_flags(values)
    assert "flagfile" in found
    for flag in found.values():
        for given, expected in (("~/a b", f"{home}/a b"), ("x/~/a", "x/~/a")):
            parsed = flag.parser.parse(given)
            assert parsed == ([expected] if flag.flag_type() == PATHS else expected), flag.name
        if flag.flag_type() == PATHS:
            assert flag.parser.parse("~/a,b=~/c") == [f"{home}/a", f"b={home}/c"]


def test_the_flags_that_are_known_to_take_paths_are_found():
    from resnet_keras import evaluate, predict, reproduce, train

    assert {"workdir", "data_dir", "model", "weights", "weights_dir"} <= set(
        path_flags(train.FLAGS)
    )
    assert {"per_class", "results"} <= set(path_flags(evaluate.FLAGS))
    assert "plot" in path_flags(predict.FLAGS)
    assert {"out", "folder", "trained"} <= set(path_flags(reproduce.FLAGS))
    assert evaluate.FLAGS["ensemble"].parser.parse("resnet8=~/w")[0] == os.path.expanduser(
        "resnet8=" + os.path.expanduser("~/w")
    )


def test_a_run_in_the_users_own_folder(home, capsys):
    from resnet_keras import report, train

    (home / "my.flags").write_text(
        "--model=resnet8\n--dataset=digits\n--image_size=8\n--batch_size=16\n--train_steps=1\n"
        "--eval_every=1\n--notensorboard\n--strategy=one_device\n--data_dir=~/data\n"
    )
    arguments = ["train", "--flagfile=~/my.flags", "--workdir=~/runs/x"]
    assert train.main(arguments) == 0, capsys.readouterr().err
    assert (home / "runs" / "x" / "weights.safetensors").exists()
    assert f"--data_dir={home}/data\n" in (home / "runs" / "x" / "run.flags").read_text()
    assert train.main(arguments) == 0  # goes on with the same folder
    assert f"{home}/runs/x holds a finished run" in capsys.readouterr().out
    assert report.main(["report", "--out=~/seen/report", "~/runs"]) == 0
    assert (home / "seen" / "report.html").exists()


def test_a_run_whose_flags_have_kept_the_tilde_goes_on(home):
    (home / "run.flags").write_text("--weights=~/own.safetensors\n--seed=1\n")
    assert run_folder.differences(home, f"--weights={home}/own.safetensors\n--seed=1\n") == []
    assert run_folder.differences(home, f"--weights={home}/other.safetensors\n--seed=1\n") != []


def test_paths_given_to_functions(home):
    png = tf.io.encode_png(np.zeros((9, 9, 3), "uint8")).numpy()
    for name in ("train/a", "train/b"):
        (home / "images" / name).mkdir(parents=True)
        (home / "images" / name / "1.png").write_bytes(png)
    assert pipelines.info("folder", "~/images").num_classes == 2
    assert pipelines.open_split("folder", "train", data_dir="~/images").num_examples == 2
    model = zoo.get("resnet8", num_classes=2, input_shape=(8, 8, 3))
    zoo.save(model, "~/own")
    assert (home / "own" / "config.json").exists()
    loaded = zoo.get("~/own")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    zoo.get("resnet8", weights="~/own")
    files.write_atomically("~/note.txt", "text")
    assert (home / "note.txt").read_text() == "text"


def test_where_tfds_looks(home, capsys):
    import tensorflow_datasets as tfds

    def row():
        return {"image": tf.zeros([8, 8, 3], tf.uint8), "label": tf.constant(0, tf.int64)}

    tfds.dataset_builders.store_as_tfds_dataset(
        name="small",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["a"]),
            }
        ),
        split_datasets={"train": tf.data.Dataset.from_tensors(row())},
        data_dir=home / "tfds",
    )
    assert pipelines.info("tfds/small", "~/tfds").num_classes == 1


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
