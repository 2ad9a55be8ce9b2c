"""Recipes of DenseNets and of stochastic depth are their papers'."""

import sys

import densenet_recipe_texts
import pytest
from recipe_texts import epochs, network_of, parsed

from resnet_keras import zoo

TEXTS = densenet_recipe_texts.texts()


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
        assert epochs(flags, 50_000) == pytest.approx([150, 225, 300], abs=0.01)
    for network, dataset in densenet_recipe_texts.DROPPING:
        flags = parsed(f"{network}_{dataset}_stochastic_depth")
        assert (flags.batch_size, flags.stochastic_depth) == (128, 0.5)
        assert flags.train_split == "train"
        assert epochs(flags, 45_000) == pytest.approx([250, 375, 500], abs=0.01)
    flags = parsed("densenet121_imagenet")
    assert flags.batch_size == 256
    assert epochs(flags, 1_281_167) == pytest.approx([30, 60, 90], abs=0.01)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
