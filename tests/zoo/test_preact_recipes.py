"""Recipes of pre-activation and wide networks are their papers', parsed and run for a step."""

import sys

import preact_recipe_texts
import pytest
import tensorflow_datasets as tfds

from resnet_keras import train, zoo

TEXTS = preact_recipe_texts.texts()


def network_of(name):
    """A recipe's network: what stands before its data set."""
    return next(n for n in zoo.list_models() if name.startswith(f"{n}_"))


def parsed(name):
    train.shared_flags.parse(train.FLAGS, ["train", f"--recipe={name}"])
    return train.FLAGS


def test_all_are_there():
    own = {n for n in zoo.recipes.names() if n.startswith(("preact_", "wrn", "resnetv2_"))}
    assert own == set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
def test_recipe_is_its_familys_but_for_what_differs(name):
    assert zoo.recipes.path(name).read_text() == TEXTS[name]
    header = TEXTS[name][: TEXTS[name].index("\n--")]
    assert f"python -m resnet_keras.train --recipe={name}" in header
    assert all(word in header for word in ("arXiv", "Hardware", "Time", "not measured"))
    flags = parsed(name)
    assert flags.model == network_of(name)
    if "cifar" in name:
        assert flags.dataset == ("cifar100" if "cifar100" in name else "cifar10")


def test_they_tell_the_papers_errors():
    for (network, dataset), words in preact_recipe_texts.ON_CIFAR.items():
        assert _error(network, dataset) == words.split()[0]
    for (network, dataset, dropped), error in preact_recipe_texts.WIDE_ON_CIFAR.items():
        assert dropped or _error(network, dataset) == error


def _error(network, dataset):
    words = zoo.networks.find(network).paper_error
    ten, _, hundred = words.partition("CIFAR-100 ")
    return (hundred if dataset == "cifar100" else ten).split()[0]


def test_parsed_flags_are_the_papers():
    for network, dataset in preact_recipe_texts.ON_CIFAR:
        flags = parsed(f"{network}_{dataset}")
        assert (flags.batch_size, flags.train_steps, flags.warmup_steps) == (128, 64000, 400)
        assert flags.boundaries == ["32000", "48000"]
        assert (flags.learning_rate, flags.momentum, flags.weight_decay) == (0.1, 0.9, 1e-4)
        assert (flags.decay_factor, flags.nesterov) == (0.1, False)
    for network, dataset, dropped in preact_recipe_texts.WIDE_ON_CIFAR:
        flags = parsed(f"{network}_{dataset}{'_dropout' if dropped else ''}")
        assert flags.train_steps * flags.batch_size == 200 * 50_000
        epochs = [int(step) * flags.batch_size / 50_000 for step in flags.boundaries]
        assert epochs == pytest.approx([60, 120, 160], abs=0.01)
        assert (flags.learning_rate, flags.decay_factor) == (0.1, 0.2)
        assert (flags.momentum, flags.nesterov, flags.weight_decay) == (0.9, True, 5e-4)
        assert flags.block_dropout == (0.3 if dropped else 0)
    for network in preact_recipe_texts.ON_IMAGENET:
        flags = parsed(f"{network}_imagenet")
        epochs = [int(step) * flags.batch_size / 1_281_167 for step in flags.boundaries]
        assert epochs == pytest.approx([30, 60], abs=0.01)
        assert (flags.batch_size, flags.weight_decay, flags.warmup_steps) == (256, 1e-4, 0)


# The deepest takes minutes to be traced, and has the flags of the others of its kind.
SLOW = [name for name in TEXTS if "imagenet" not in name and "1001" not in name]
QUICK = "wrn16_8_cifar100"
ONCE = ("wrn28_10_cifar10_dropout", "preact_resnet110_cifar10")  # of each kind, on CI


def marks(name):
    large = () if name in ONCE else (pytest.mark.large,)
    return () if name == QUICK else (pytest.mark.slow, *large)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=marks(n)) for n in SLOW],
)
def test_recipe_runs_a_step(name, tmp_path, capsys):
    with tfds.testing.mock_data(num_examples=20):
        status = train.main(
            [
                "train",
                f"--recipe={name}",
                f"--workdir={tmp_path / 'run'}",
                "--train_steps=1",
                "--warmup_steps=0",
                "--batch_size=2",
                "--strategy=one_device",
            ]
        )
    assert status == 0, capsys.readouterr().err
    assert "test error" in capsys.readouterr().out.splitlines()[-1]
    model = zoo.get(network_of(name), weights=tmp_path / "run" / "weights.safetensors")
    assert model.output_shape == (None, 100 if "cifar100" in name else 10)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
