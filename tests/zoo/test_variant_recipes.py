"""Recipes of ResNeXt, wide, D and SE networks are of their papers' epochs."""

import sys

import pytest

from resnet_keras import train, zoo

EPOCHS = {  # of training, and after which of them the learning rate falls
    "resnext50_32x4d_imagenet": (90, [30, 60]),
    "resnext101_32x4d_imagenet": (90, [30, 60]),
    "wide_resnet50_2_imagenet": (90, [30, 60]),
    "seresnet50_imagenet": (100, [30, 60, 90]),
    "resnet50d_imagenet": (200, []),
    "resnext29_8x64d_cifar10": (300, [150, 225]),
    "resnext29_8x64d_cifar100": (300, [150, 225]),
}
IMAGES = {"imagenet": 1_281_167, "cifar10": 50_000, "cifar100": 50_000}


def test_all_are_there():
    starts = ("resnext", "wide_", "seresnet", "resnet50d")
    assert {n for n in zoo.recipes.names() if n.startswith(starts)} == set(EPOCHS)


@pytest.mark.parametrize("name", EPOCHS)
def test_it_is_of_its_network_and_of_as_many_epochs(name):
    text = zoo.recipes.path(name).read_text()
    header = text[: text.index("\n--")]
    assert f"python -m resnet_keras.train --recipe={name}" in header
    assert all(word in header for word in ("arXiv", "Hardware", "Time", "not measured"))
    train.shared_flags.parse(train.FLAGS, ["train", f"--recipe={name}"])
    flags = train.FLAGS
    network, _, dataset = name.rpartition("_")
    assert flags.model == network
    assert zoo.networks.find(network).name == network
    epoch = IMAGES[dataset] / flags.batch_size
    epochs, falls = EPOCHS[name]
    assert flags.train_steps / epoch == pytest.approx(epochs, abs=0.1)
    assert [int(step) / epoch for step in flags.boundaries] == pytest.approx(falls, abs=0.1)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
