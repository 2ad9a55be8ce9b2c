"""Dropout inside the blocks of the paper's residual networks."""

import sys

import keras
import numpy as np
import pytest
import written

from resnet_keras import train, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import resnet
from resnet_keras.networks.layers import Dropout

SMALL = {"num_classes": 10, "input_shape": (32, 32, 3)}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")


def network(name="resnet8", **options):
    keras.utils.set_random_seed(0)
    narrow = {} if name == "resnet8" else {"width": 0.125}
    return zoo.get(name, **SMALL, **narrow, **options)


def answers(model):
    return model.predict(IMAGES, verbose=0)


@pytest.mark.parametrize(
    ("name", "blocks", "before", "behind"),
    [("resnet8", 3, "1_relu", "2_conv"), ("resnet50", 16, "2_relu", "3_conv")],
)
def test_places(name, blocks, before, behind):
    """It stands behind the last ReLU inside a block, in front of the last convolution."""
    model = network(name, block_dropout=0.3)
    dropped = [layer for layer in model.layers if isinstance(layer, Dropout)]
    assert len(dropped) == blocks
    for layer in dropped:
        place = layer.name.removesuffix("_dropout")
        assert layer.rate == 0.3
        assert layer.input is model.get_layer(f"{place}_{before}").output
        assert model.get_layer(f"{place}_{behind}").input is layer.output


def test_it_acts_in_training_only():
    usual, model = network(), network(block_dropout=0.3)
    model.set_weights(usual.get_weights())
    np.testing.assert_array_equal(answers(model), answers(usual))
    x = IMAGES.astype("float32")
    first, second = (np.asarray(model(x, training=True)) for _ in range(2))
    assert np.isfinite(first).all()
    assert np.any(first != second)


@pytest.mark.slow
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("kind", ["w.weights.h5", written.NUMBERED])
@pytest.mark.parametrize("rates", [(0.3, 0), (0, 0.3)])
def test_files_of_it_and_without_it(shortcut, kind, rates, tmp_path):
    """A .weights.h5 orders weights by the network, which it leaves as it was."""
    of_file, of_network = ({"block_dropout": rate} if rate else {} for rate in rates)
    model = written.randomize(network(shortcut=shortcut, **of_file))
    path = written.write(model, tmp_path, kind)
    loaded = zoo.get("resnet8", weights=path, **of_network)
    np.testing.assert_array_equal(answers(loaded), answers(model))
    names = [[v.path for v in m.weights] for m in (model, loaded)]
    assert names[0] == names[1]


def test_no_file_says_it(tmp_path):
    model = network(block_dropout=0.3)
    assert zoo.weights.record.of(model)[1]["block_dropout"] == 0.3
    model.get_layer("normalization").network = None
    assert zoo.weights.record.of(model)[1]["block_dropout"] == 0.3
    assert "block_dropout" not in network().get_layer("normalization").network["options"]
    for kind in ("w.safetensors", "w.keras"):
        path = written.write(network(block_dropout=0.3), tmp_path, kind)
        loaded = zoo.get("resnet8", weights=path)
        assert not any(isinstance(layer, Dropout) for layer in loaded.layers)
        np.testing.assert_array_equal(answers(loaded), answers(model))
    said = zoo.weights.own.description_in(tmp_path / "w.safetensors")
    assert "block_dropout" not in said["options"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet8", {"block_dropout": 1}, r"block_dropout must be a rate in \[0, 1\), not 1"),
        ("plain20", {"block_dropout": 0.1}, "plain20 has no option block_dropout: resnetN have it"),
        ("seresnet20", {"block_dropout": 0.1}, "option of seresnet20: 'block_dropout'"),
    ],
)
def test_what_cannot_be(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


def test_the_builder_refuses_plain_networks():
    with pytest.raises(InputError, match="leave block_dropout out"):
        resnet.cifar_resnet(8, shortcut=None, block_dropout=0.1)


@pytest.mark.parametrize("name", ["plain20", "seresnet20"])
def test_flags_that_do_not_fit(name, tmp_path, capsys):
    flags = ["--recipe=resnet20_digits", f"--model={name}", "--block_dropout=0.3"]
    assert train.main(["train", *flags, f"--workdir={tmp_path / 'run'}"]) == 2
    assert "leave --block_dropout out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
