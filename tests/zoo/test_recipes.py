"""Every packaged recipe is parsed and run for a step, on mock data where it needs CIFAR."""

import contextlib
import time

import pytest
import tensorflow_datasets as tfds

from resnet_keras import train, zoo
from resnet_keras.errors import InputError

CIFAR = [20, 32, 44, 56, 110]


def test_the_papers_cifar_recipes_are_all_there():
    expected = {f"{kind}{depth}_cifar10" for kind in ("resnet", "plain") for depth in CIFAR}
    assert set(zoo.recipes.names()) == expected | {"resnet1202_cifar10", "resnet20_digits"}


@pytest.mark.parametrize("name", zoo.recipes.names())
def test_recipe_says_what_it_is(name):
    text = zoo.recipes.path(name).read_text()
    header = text[: text.index("\n--")]
    assert f"python -m resnet_keras.train --recipe={name}" in header
    for word in ("Sec. 4.2", "Hardware", "Time", "measured"):
        assert word in header


# ResNet-1202's step takes minutes to trace here.
RUNNABLE = [
    pytest.param(name, marks=pytest.mark.slow) if "1202" in name else name
    for name in zoo.recipes.names()
]


@pytest.mark.parametrize("name", RUNNABLE)
def test_recipe_runs_a_step(name, tmp_path, capsys):
    mock = tfds.testing.mock_data(num_examples=20)
    with contextlib.nullcontext() if "digits" in name else mock:
        status = train.main(
            [
                "train",
                f"--recipe={name}",
                f"--workdir={tmp_path / 'run'}",
                "--train_steps=1",
                "--batch_size=4",
                "--strategy=one_device",
                *(["--warmup_steps=0"] if "digits" in name else []),
            ]
        )
    assert status == 0, capsys.readouterr().err
    assert "test error" in capsys.readouterr().out.splitlines()[-1]
    model = zoo.get(name.split("_")[0], weights=tmp_path / "run" / "weights.safetensors")
    mean = model.get_layer("normalization").mean
    assert mean.shape == ((3,) if "digits" in name else (32, 32, 3))


@pytest.mark.slow
def test_digits_recipe_reaches_its_goal(tmp_path, capsys):
    """At least 98.5 % of held-out digits right, in under 2 minutes."""
    started = time.monotonic()
    arguments = ["--recipe=resnet20_digits", f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *arguments, "--strategy=one_device"]) == 0
    assert time.monotonic() - started < 120
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.split()[2]) <= 1.5, last


def test_parsed_flags_are_the_papers():
    for name in zoo.recipes.names():
        train.cli._parse(train.FLAGS, ["train", f"--recipe={name}"])
        flags = train.FLAGS
        assert flags.model == name.split("_")[0]
        if name.endswith("cifar10"):
            assert (flags.batch_size, flags.train_steps) == (128, 64000)
            assert flags.boundaries == ["32000", "48000"]
            assert (flags.learning_rate, flags.momentum, flags.weight_decay) == (0.1, 0.9, 1e-4)
            warm = name in ("resnet110_cifar10", "resnet1202_cifar10")
            assert flags.warmup_until_error == (0.8 if warm else 0)


def test_unknown_recipe_names_the_known_ones():
    with pytest.raises(InputError, match="resnet20_digits"):
        zoo.recipes.path("resnet20_digit")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
