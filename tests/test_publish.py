"""The command that makes a published folder of a run."""

import json

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import evaluate, pipelines, predict, publish, train, zoo

RUN = (
    *("--model=resnet8", "--dataset=digits", "--image_size=16", "--batch_size=64"),
    *("--train_steps=40", "--eval_every=20", "--notensorboard", "--schedule=cosine"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits that came to its end."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    assert train.main(["train", *RUN, f"--workdir={folder}"]) == 0
    return folder


@pytest.fixture
def published(run, tmp_path, capsys):
    """What `publish` writes of it, and says."""
    arguments = ["publish", "--licence=MIT", str(run), str(tmp_path / "mine")]
    assert publish.main(arguments) == 0, capsys.readouterr().err
    return tmp_path / "mine", capsys.readouterr().out


def last_error(run):
    column, *_, last = (line.split(",") for line in (run / "metrics.csv").read_text().splitlines())
    return float(last[column.index("val_top1_error")])


def test_a_published_run_is_a_network_like_any_other(run, published, tmp_path, capsys):
    folder, said = published
    measured = f"{100 * last_error(run):.2f} % top-1 error on digits/test after 40 steps"
    assert said == f"{folder}: the last weights of {run}, {measured}; zoo.get({str(folder)!r})\n"
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "config.json", "model.safetensors")
    }
    model = zoo.get(folder)
    images, labels = pipelines.arrays("digits", "test", image_size=16)
    original = zoo.get("resnet8", weights=run / "weights.safetensors")
    np.testing.assert_array_equal(model(images[:9]), original(images[:9]))
    guessed = [guesses[0].label for guesses in zoo.predict(model, images)]
    assert np.mean(guessed != labels) == pytest.approx(last_error(run), abs=1e-6)
    (tmp_path / "one.png").write_bytes(tf.io.encode_png(images[0]).numpy())
    arguments = ["predict", f"--model={folder}", "--json", str(tmp_path / "one.png")]
    assert predict.main(arguments) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert json.loads(told.out)[0]["top"][0]["name"] == str(guessed[0])
    assert evaluate.main(["evaluate", f"--model={folder}", "--dataset=digits"]) == 0
    assert f"top-1 error {100 * last_error(run):.2f} %, top-5" in capsys.readouterr().out


def test_a_folder_that_is_called_as_a_network(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert publish.main(["publish", str(run), "resnet20"]) == 0
    assert capsys.readouterr().out.endswith("; zoo.get('./resnet20')\n")
    assert zoo.get("./resnet20").count_params() == zoo.get(run).count_params()


def test_the_card_tells_how_the_weights_were_made(run, published):
    folder, _ = published
    card = (folder / "README.md").read_text()
    for words in (
        'license: "mit"',
        f"| accuracy | {100 * last_error(run):.2f} % top-1 error on digits/test after 40 steps |",
        "| network | resnet8, 75,290 parameters |",
        "| licence | MIT |",
        "    --schedule=cosine\n",
        "    --train_split=trainval\n",
    ):
        assert words in card
    # What is of the machine and not of the run, such as where its data is, stays at home.
    assert "--checkpoint_every" not in card
    training = json.loads((folder / "config.json").read_text())["training"]
    assert training["steps"] == training["step"] == 40
    assert training["flags"]["learning_rate"] == "0.1"
    assert training["val_top1_error"] == pytest.approx(last_error(run), abs=1e-6)


def test_the_best_weights_of_a_run_that_has_not_ended(run, tmp_path, capsys):
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for name in ("run.flags", "metrics.csv", "best.safetensors"):
        (stopped / name).write_bytes((run / name).read_bytes())
    target = tmp_path / "new" / "best"
    assert publish.main(["publish", str(stopped), str(target)]) == 2
    advice = capsys.readouterr().err
    assert advice.endswith("with --which=best.\n")
    assert publish.main(["publish", "--which=best", str(stopped), str(target)]) == 0
    assert "the best of 2 evaluations on these images" in capsys.readouterr().out
    images = np.zeros((1, 16, 16, 3), "uint8")
    best = zoo.get("resnet8", weights=run / "best.safetensors")
    np.testing.assert_array_equal(zoo.get(target)(images), best(images))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name the folder of a run, and a new one"),
        (("{run}",), "Name the folder of a run, and a new one"),
        (("nowhere", "new"), "There is no folder nowhere."),
        (("full", "new"), "full is not the folder of a run: it has no run.flags."),
        (("{run}", "full"), "full is there and not empty: name a new folder."),
        (("{run}", "full/a.txt"), "full/a.txt is there and not empty"),
        (("begun", "new"), "begun has no weights.safetensors: train on"),
        (
            ("fitted", "new"),
            "fitted/weights.weights.h5 is not of `train`, which writes weights.safe",
        ),
        (("--which=first", "{run}", "new"), "first"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name in (("full", "a.txt"), ("begun", "run.flags")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("")
    (tmp_path / "fitted").mkdir()
    for name in ("run.flags", "weights.weights.h5", "best.weights.h5"):
        (tmp_path / "fitted" / name).write_text("")
    assert publish.main(["publish", *(text.format(run=run) for text in arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
