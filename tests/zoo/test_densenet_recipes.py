"""Recipes of DenseNets and of stochastic depth are their papers', parsed and run for a step."""

import sys

import densenet_recipe_texts
import pytest
import tensorflow_datasets as tfds

from resnet_keras import train, zoo

TEXTS = densenet_recipe_texts.texts()


def network_of(name):
    """A recipe's network: what stands before its data set."""
    return next(n for n in zoo.list_models() if name.startswith(f"{n}_"))


def parsed(name):
    train.shared_flags.parse(train.FLAGS, ["train", f"--recipe={name}"])
    return train.FLAGS


def test_all_are_there():
    names = zoo.recipes.names()
    own = {n for n in names if n.startswith("densenet") or n.endswith("stochastic_depth")}
    assert own == set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
def test_recipe_is_its_familys_but_for_what_differs(name):
    assert zoo.recipes.path(name).read_text() == TEXTS[name]
    header = TEXTS[name][: TEXTS[name].index("\n--")]
    assert f"python -m resnet_keras.train --recipe={name}" in header
    assert all(word in header for word in ("arXiv", "Hardware", "Time", "not measured"))
    flags = parsed(name)
    assert flags.model == network_of(name)
    assert (flags.learning_rate, flags.decay_factor, flags.momentum) == (0.1, 0.1, 0.9)
    assert (flags.nesterov, flags.weight_decay, flags.decayed) == (True, 1e-4, "all")
    if "cifar" in name:
        assert flags.dataset == ("cifar100" if "cifar100" in name else "cifar10")


def test_they_tell_the_papers_errors():
    for (network, dataset), error in densenet_recipe_texts.ON_CIFAR.items():
        ten, _, hundred = zoo.networks.find(network).paper_error.partition("CIFAR-100 ")
        assert (hundred if dataset == "cifar100" else ten).split()[0] == error


def test_parsed_flags_are_the_papers():
    for network, dataset in densenet_recipe_texts.ON_CIFAR:
        flags = parsed(f"{network}_{dataset}")
        assert (flags.batch_size, flags.block_dropout) == (64, 0)
        assert _epochs(flags, 50_000) == pytest.approx([150, 225, 300], abs=0.01)
    for network, dataset in densenet_recipe_texts.DROPPING:
        flags = parsed(f"{network}_{dataset}_stochastic_depth")
        assert (flags.batch_size, flags.stochastic_depth) == (128, 0.5)
        assert flags.train_split == "train"
        assert _epochs(flags, 45_000) == pytest.approx([250, 375, 500], abs=0.01)
    flags = parsed("densenet121_imagenet")
    assert flags.batch_size == 256
    assert _epochs(flags, 1_281_167) == pytest.approx([30, 60, 90], abs=0.01)


def _epochs(flags, images):
    steps = [*map(int, flags.boundaries), flags.train_steps]
    return [step * flags.batch_size / images for step in steps]


# The deepest takes minutes to be traced, and has the flags of the others of its kind.
RUN = [name for name in TEXTS if "imagenet" not in name and "1202" not in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_recipe_runs_a_step(name, tmp_path, capsys):
    with tfds.testing.mock_data(num_examples=20):
        status = train.main(
            [
                "train",
                f"--recipe={name}",
                f"--workdir={tmp_path / 'run'}",
                "--train_steps=1",
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
