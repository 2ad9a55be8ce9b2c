"""Recipes of pre-activation and wide networks are their papers' and the released code's."""

import sys

import preact_recipe_texts
import pytest
from recipe_texts import epochs, network_of, parsed

from resnet_keras import zoo

TEXTS = preact_recipe_texts.texts()


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
        assert epochs(flags, 50_000) == pytest.approx([60, 120, 160, 200], abs=0.01)
        assert (flags.learning_rate, flags.decay_factor) == (0.1, 0.2)
        assert (flags.momentum, flags.nesterov, flags.weight_decay) == (0.9, True, 5e-4)
        assert flags.block_dropout == (0.3 if dropped else 0)
    for network in preact_recipe_texts.ON_IMAGENET:
        flags = parsed(f"{network}_imagenet")
        assert epochs(flags, 1_281_167) == pytest.approx([30, 60, 90], abs=0.01)
        assert (flags.batch_size, flags.weight_decay, flags.warmup_steps) == (256, 1e-4, 0)


def test_the_flags_of_small_batches_are_the_released_codes():
    flags = parsed("preact_resnet1001_cifar10_b64")
    assert epochs(flags, 50_000) == pytest.approx([80, 121, 200], abs=0.01)
    assert (flags.batch_size, flags.warmup_steps, flags.normalization) == (64, 0, "channel")
    assert (flags.schedule, flags.learning_rate, flags.decay_factor) == ("step", 0.1, 0.1)
    assert (flags.momentum, flags.nesterov) == (0.9, True)
    assert (flags.weight_decay, flags.decayed) == (1e-4, "all")


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
