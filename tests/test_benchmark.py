"""The benchmark's two contestants, its table and its JSON; never its speed."""

import json

import numpy as np
import pytest

from resnet_keras import benchmark

TINY = ("--model=resnet50", "--batch_size=2", "--image_size=32", "--steps=2", "--rounds=3")


@pytest.mark.parametrize(
    "task",
    ["predict", *(pytest.param(t, marks=pytest.mark.slow) for t in ("build", "load", "train"))],
)
def test_times_both_in_turns(task, capsys):
    assert benchmark.main(["benchmark", task, *TINY, "--json"]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    assert list(result["timings"]) == ["resnet_keras resnet50", "keras.applications resnet50"]
    assert all(t["wall"] > 0 and t["cpu"] > 0 for t in result["timings"].values())
    assert result["ratio"].keys() == {"wall", "cpu"}
    told = benchmark.report(result)
    assert "times as fast" in told
    assert result["peak_memory_gib"] is None  # the process holds both
    assert ("not measured" in told) == (task == "train")


def test_ratio_is_the_median_of_the_rounds():
    def timing(*seconds):
        return [benchmark.Timing(s, 2 * s) for s in seconds]

    ratio = benchmark._ratio(timing(1, 2, 4), timing(3, 2, 8))
    assert ratio == {"wall": 2, "cpu": 2}


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_rematerialized_training_tells_its_peak_memory(dtype, capsys):
    arguments = ("--model=resnet8", "--peer=none", "--batch_size=2", "--image_size=16", "--steps=1")
    arguments = ("train", *arguments, "--rounds=1", "--remat", f"--dtype={dtype}", "--json")
    assert benchmark.main(["benchmark", *arguments]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    assert result["remat"] is True
    told = benchmark.report(result)
    assert told.startswith(f"train, rematerialized, {dtype}")
    if benchmark.CLEAR_REFS.exists():
        assert 0.1 < result["peak_memory_gib"] < 64
        assert f"{result['peak_memory_gib']:.2f} GiB" in told


def test_peak_memory_follows_what_is_held():
    if not benchmark._reset_peak_memory():
        pytest.skip("peak memory is read from Linux's /proc")
    before = benchmark._peak_memory_gib()
    assert before is not None
    held = np.ones(2**26)  # half a GiB
    del held
    peak = benchmark._peak_memory_gib()
    assert peak is not None
    assert peak - before == pytest.approx(0.5, abs=0.05)
    benchmark._reset_peak_memory()
    after = benchmark._peak_memory_gib()
    assert after is not None
    assert after < peak - 0.4


def test_peak_memory_is_not_measured_without_linux(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "CLEAR_REFS", tmp_path / "no" / "clear_refs")
    monkeypatch.setattr(benchmark, "STATUS", tmp_path / "status")
    assert not benchmark._reset_peak_memory()
    assert benchmark._peak_memory_gib() is None


@pytest.mark.slow
def test_runs_without_a_peer_and_on_jax(command):
    pytest.importorskip("jax")
    arguments = ("--model=resnet8", "--peer=none", *TINY[1:], "--dtype=mixed_bfloat16", "--json")
    done = command("benchmark", "train", *arguments, env={"KERAS_BACKEND": "jax"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["backend"] == "jax"
    assert result["ratio"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "train, predict, build, load, input"),
        (["fly"], "train, predict, build, load, input"),
        (["train", "--model=resnet20"], "--peer=none"),
        (["train", "--peer=torch"], "keras.applications"),
        (["train", "--rounds=0"], "rounds"),
        (["train", "--image_size=16"], "32 or more"),
        (["train", "--model=resnet51"], "Unknown model"),
        (["predict", "--remat"], "training only"),
        (["input", "--remat"], "training only"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, capsys):
    assert benchmark.main(["benchmark", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
