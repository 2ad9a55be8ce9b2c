"""The evaluation command and its results file."""

import json

import numpy as np
import pytest

from resnet_keras import evaluate, zoo
from resnet_keras.pipelines import stream

DIGITS = ("--model=resnet20", "--weights=digits", "--dataset=digits")


def test_prints_and_records_a_measurement(tmp_path, capsys):
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"model": "resnet20", "weights": "other"}]))
    for batch_size in (360, 7):  # a second measurement takes the first one's place
        arguments = ["evaluate", *DIGITS, f"--batch_size={batch_size}", f"--results={results}"]
        assert evaluate.main(arguments) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "top-1 error 0.83 %, top-5 error 0.00 % (360 examples, single view)" in said
    other, row = json.loads(results.read_text())
    assert other["weights"] == "other"
    (shipped,) = zoo.ENTRIES["resnet20", "digits"].measured
    assert {k: row[k] for k in row if k != "versions"} == {
        k: shipped[k] for k in shipped if k != "versions"
    }


def test_counts_every_example_of_a_ragged_stream():
    model = zoo.get("resnet8", num_classes=6)
    images = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), "uint8")
    labels = np.argmax(model(images), axis=1).astype("int32")
    labels[10] = (labels[10] + 1) % 6  # the one wrong answer is in the last, ragged batch
    errors = evaluate.measure(model, stream.evaluation(images, labels, 4))
    assert errors.examples == 11
    assert errors.top1 == pytest.approx(1 / 11)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
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
