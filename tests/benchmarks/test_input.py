"""The input benchmark's files, contestants, figures and mistakes; never its speed."""

import json
import os
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import benchmark
from resnet_keras.benchmarks import input as input_benchmark
from resnet_keras.errors import MissingExtraError

TINY = ("--files=4", "--images=32", "--rounds=2")
PACKAGES = {"pillow": "PIL.Image", "opencv": "cv2"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return input_benchmark.make_files(tmp_path_factory.mktemp("jpegs"), 4)


def make(name):
    """What makes a contestant's batches; skips the test where its package is missing."""
    pytest.importorskip(PACKAGES.get(name, "numpy"))
    return {"resnet_keras": input_benchmark.ours, **makers()}[name]


def makers():
    return {name: peer.make for name, peer in input_benchmark.PEERS.items()}


@pytest.mark.slow
def test_a_run_has_figures_for_all(command):
    for package in PACKAGES.values():
        pytest.importorskip(package)
    done = command("benchmark", "input", *TINY, "--memory_images=64", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["one_thread"] is True
    assert list(result["rates"]) == ["resnet_keras", "decode", "tf.data", "pillow", "opencv"]
    assert list(result["ratio"]) == ["decode", "tf.data", "pillow", "opencv"]
    for figures in (*result["rates"].values(), *result["ratio"].values()):
        assert figures["wall"] > 0
        assert figures["cpu"] > 0
    memory = result["memory"]
    assert memory["images"] == 64
    assert 10 < memory["start"] <= memory["largest"]
    assert 10 < memory["end"] <= memory["largest"]


@pytest.mark.slow
def test_reports_in_a_process_that_had_started(capsys):
    arguments = [*TINY, "--images=20", "--batch_size=16", "--rounds=1", "--peers=decode"]
    assert benchmark.main(["benchmark", "input", *arguments]) == 0
    head, *_, ours, limit = capsys.readouterr().out.splitlines()
    assert "threads NOT limited to one" in head
    assert "1 rounds of 32 images" in head  # whole batches
    assert "resnet_keras" in ours
    assert "limit" in limit
    assert limit.count("x") == 2


def test_all_peers_are_the_default():
    assert benchmark.FLAGS["peers"].default is None
    assert list(benchmark.INPUT_PEERS) == list(input_benchmark.PEERS)


def test_files_are_like_photographs(paths, tmp_path):
    sizes = [os.path.getsize(path) for path in paths]
    assert 110_000 < np.mean(sizes) < 128_000
    for path in paths:
        image = tf.io.decode_jpeg(tf.io.read_file(path)).numpy().astype(float)
        assert image.shape == (375, 500, 3)
        assert image.std() > 30
        for axis in (0, 1):  # neighbours are alike: noise would have 0
            ahead, behind = np.delete(image, 0, axis), np.delete(image, -1, axis)
            assert np.corrcoef(ahead.ravel(), behind.ravel())[0, 1] > 0.9
    (again,) = input_benchmark.make_files(tmp_path, 1)
    with open(paths[0], "rb") as first, open(again, "rb") as second:
        assert first.read() == second.read()


@pytest.mark.parametrize("name", ["resnet_keras", "tf.data", "pillow", "opencv"])
def test_contestants_make_the_same_kind_of_images(name, paths, tmp_path):
    tf.random.set_seed(0)
    tinted = tmp_path / "tinted.jpg"
    image = tf.io.decode_jpeg(tf.io.read_file(paths[0])) // 8 + tf.constant([170, 90, 30], tf.uint8)
    tinted.write_bytes(tf.io.encode_jpeg(image).numpy())
    batch = np.asarray(next(make(name)([str(tinted)], 64)))
    assert batch.shape == (64, 224, 224, 3)
    assert batch.dtype == ("uint8" if name in ("resnet_keras", "opencv") else "float32")
    if batch.dtype == "float32":
        batch = batch * input_benchmark._STD + input_benchmark._MEAN
    assert -30 <= batch.min() <= batch.max() <= 285  # Pillow's noise is added last, unclipped
    colour = image.numpy().mean((0, 1))
    np.testing.assert_allclose(batch.mean((0, 1, 2)), colour, atol=15)
    brightness = batch.mean((1, 2, 3))
    assert 0.1 < brightness.std() / brightness.mean() < 0.35  # uniform in [0.6, 1.4]: 0.23
    assert len(np.unique(batch[:, 100, 100], axis=0)) > 50  # no two views alike


def test_the_limit_decodes_windows_of_the_drawn_sizes(paths):
    sides = np.sqrt(np.asarray(next(make("decode")(paths, 256))) / 3)
    np.testing.assert_array_equal(sides, np.round(sides))
    assert 175 <= sides.min() < 190  # 224 * 375 / 480
    assert 300 < sides.max() <= 328  # 224 * 375 / 256


def test_memory_is_not_measured_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(input_benchmark, "STATM", tmp_path / "none")
    assert input_benchmark.watch_memory(iter(()), 100, 1) is None
    assert "not measured" in input_benchmark._memory_sentence(None)


def test_a_round_ends_when_the_background_work_does():
    worker = threading.Thread(target=lambda: [time.process_time() for _ in range(300_000)])
    worker.start()
    input_benchmark._idle_since(wait=0.5)
    assert not worker.is_alive()


def test_a_missing_package_is_named(monkeypatch, paths):
    for name, package in PACKAGES.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=r"resnet_keras\[benchmark\]"):
            makers()[name](paths, 1)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--peers=pilow", "Did you mean 'pillow'?"),
        ("--files=0", "files"),
        ("--images=none", "images"),
        ("--memory_images=-1", "memory_images"),
    ],
)
def test_mistakes_end_in_one_sentence(argument, words, capsys):
    assert benchmark.main(["benchmark", "input", argument]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
