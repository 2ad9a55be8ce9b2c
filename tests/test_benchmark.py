"""The benchmark's two contestants, its table and its JSON; never its speed."""

import json

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
    assert "times as fast" in benchmark.report(result)


def test_ratio_is_the_median_of_the_rounds():
    def timing(*seconds):
        return [benchmark.Timing(s, 2 * s) for s in seconds]

    ratio = benchmark._ratio(timing(1, 2, 4), timing(3, 2, 8))
    assert ratio == {"wall": 2, "cpu": 2}


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
