"""The command of the pipelines: its tasks and its help, and `serve` in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import pipelines
from resnet_keras.pipelines import __main__ as command

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "check, preview, serve"),
        (["checks"], "Unknown task 'checks'. Did you mean 'check'?"),
        (["check", "--dataset=digits"], "folder, imagenet2012, tfds/NAME"),
        (["check", "--dataset=folder"], "Give --data_dir=FOLDER"),
        (["check", "--dataset=folder", "--data_dir=/nowhere"], "/nowhere"),
        (["check", "--dataset=tfds/no_such_set"], "no_such_set"),
        (["check", "--expect=cifar"], "expect"),
        (["check", "--limit=-1"], "limit"),
        (["serve", "--port=70000"], "port"),
        (["preview", "sheet.png"], "sheet.png"),
        (["check", "--count=3"], "--count is no flag of check"),
        (["preview", "--dataset=cifar", "--out=x.png"], "Did you mean 'cifar10'?"),
        (["preview", "--dataset=cifar10", "--split=val2", "--out=x.png"], "Unknown split 'val2'"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, capsys):
    assert command.main(["pipelines", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1


def test_help(capsys):
    assert command.main(["pipelines", "check", "--help"]) == 0
    said = capsys.readouterr().out
    assert "python -m resnet_keras.pipelines check" in said
    assert "--archives" in said
    assert "--data_dir" in said
    assert "  --out " not in said  # which is for preview


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_serve_makes_batches_until_it_is_interrupted(tmp_path, capsys):
    for number in range(16):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(np.full((30, 40, 3), 9 * number, "uint8")).numpy())
    port = free_port()
    arguments = ["serve", f"--port={port}", "--host=localhost"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "resnet_keras.pipelines", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert f"grpc://localhost:{port};" in serving.stdout.readline()

        def first(services):
            view = pipelines.View(image_size=24, scales=(24, 30))
            batches = pipelines.training(
                "folder", "train", 16, seed=0, data_dir=tmp_path, view=view, services=services
            )
            iterators.append(batches.as_numpy_iterator())  # still open when the service ends
            return next(iterators[-1])

        iterators = []
        for served, made_here in zip(first([f"grpc://localhost:{port}"]), first([]), strict=True):
            np.testing.assert_array_equal(served, made_here)
        assert command.main(["pipelines", "serve", f"--port={port}"]) == 2
        assert f"Port {port}" in capsys.readouterr().err
        serving.send_signal(signal.SIGINT)
        assert serving.wait(120) == 130
        begin, end = serving.stderr.read().splitlines()
        assert begin.endswith("starting TensorFlow ...")
        assert end == "stopped by SIGINT"
    finally:
        serving.kill()
        serving.communicate()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
