"""A share of the blocks whose shortcuts are projections: counts by formulas, files, refusals."""

import sys

import keras
import numpy as np
import pytest
import written

from resnet_keras import train, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import counts, projections, resnet

SMALL = {"num_classes": 10, "input_shape": (32, 32, 3)}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
# Of ResNet-8's three blocks, of which the second and the third grow.
CASES = [("A", 0), ("A", 1 / 3), ("A", 2 / 3), ("A", 1), ("B", 1 / 3), ("B", 2 / 3), ("B", 1)]


def network(name="resnet8", **options):
    keras.utils.set_random_seed(0)
    return zoo.get(name, **SMALL, **options)


def projected(model):
    names = (layer.name for layer in model.layers)
    return [name.removesuffix("_0_conv") for name in names if name.endswith("_0_conv")]


def answers(model):
    return model.predict(IMAGES, verbose=0)


def added(shortcut, share):
    """Parameters and multiply-adds of ResNet-20's projections, with those of option A at none.

    Nine blocks of 16, 32 and 64 channels at 32, 16 and 8 squared places; a kernel has as many
    values as the channels it sees times those it gives, and its normalization two for each.
    """
    channels, places = (16, 32, 64), (32**2, 16**2, 8**2)
    parameters = sums = 0
    for block in range(9):
        stage, grows = block // 3, block in (3, 6)
        inside = block < int(share * 9 + 0.5)
        if inside or (shortcut == "B" and grows):
            kernel = channels[stage] * (channels[stage] // 2 if grows else channels[stage])
            parameters += kernel + 2 * channels[stage]
            sums += kernel * places[stage]
    return parameters, sums


@pytest.mark.parametrize(("shortcut", "share"), [("A", 0.3), ("A", 1), ("B", 0), ("B", 0.5)])
def test_counts(shortcut, share):
    model = network("resnet20", shortcut=shortcut, projections=share)
    parameters, sums = added(shortcut, share)
    assert counts.count_parameters(model) == 269_722 + parameters
    assert counts.count_multiply_adds(model) == 40_551_040 + sums


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.05, 0), (1 / 18, 1), (0.5, 5), (1, 9)])
def test_rounding(share, count):
    assert projections.count(share, 9) == count
    assert projections.exact("cifar10", 20, share) == count / 9


@pytest.mark.parametrize(
    ("name", "shortcut", "share", "expected"),
    [
        ("resnet8", "A", 1 / 3, ["conv2_block1"]),
        ("resnet8", "B", 1 / 3, ["conv2_block1", "conv3_block1", "conv4_block1"]),
        ("resnet18", "A", 0.25, ["conv2_block1", "conv2_block2"]),
        ("resnet50", "A", 1 / 8, ["conv2_block1", "conv2_block2"]),
    ],
)
def test_places(name, shortcut, share, expected):
    narrow = {} if name == "resnet8" else {"width": 0.125}
    assert projected(network(name, shortcut=shortcut, projections=share, **narrow)) == expected


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_all_of_them_are_option_c(shortcut):
    whole, c = network(shortcut=shortcut, projections=1), network(shortcut="C")
    assert [layer.name for layer in whole.layers] == [layer.name for layer in c.layers]
    np.testing.assert_array_equal(answers(whole), answers(c))


@pytest.mark.slow
@pytest.mark.parametrize(("shortcut", "share"), CASES)
@pytest.mark.parametrize("kind", written.OWN)
def test_files(shortcut, share, kind, tmp_path):
    """They bring what they are, or another name of the same network."""
    model = written.randomize(network(shortcut=shortcut, projections=share))
    path = written.write(model, tmp_path, kind)
    loaded = zoo.get("resnet8", weights=path)
    assert projected(loaded) == projected(model)
    np.testing.assert_array_equal(answers(loaded), answers(model))
    with pytest.raises(InputError, match="projections belongs to the weights"):
        zoo.get("resnet8", weights=path, projections=1 / 3 if share == 2 / 3 else 2 / 3)


def test_what_files_say(tmp_path):
    row, options = zoo.weights.record.of(network())
    assert "projections" not in zoo.weights.record.stored(row, options)
    model = network(projections=0.4)
    assert model.get_layer("normalization").network["options"]["projections"] == 1 / 3
    assert zoo.weights.record.of(model)[1]["projections"] == 1 / 3
    zoo.weights.save(tmp_path / "x.safetensors", model)
    zoo.get("resnet8", weights=tmp_path / "x.safetensors", projections=0.3)  # the same block
    with pytest.raises(InputError, match=r"projections belongs to .*, where it is 0\.333333, and"):
        zoo.get("resnet8", weights=tmp_path / "x.safetensors", projections=1)
    zoo.save(model, tmp_path / "mine")
    np.testing.assert_array_equal(answers(zoo.get(tmp_path / "mine")), answers(model))


def test_layers_tell_what_is_recorded():
    for shortcut, share in (("A", 0), ("A", 1 / 3), ("B", 1 / 3), ("C", 0)):
        model = network("resnet14", shortcut=shortcut, projections=share)
        recorded = zoo.weights.record.of(model)
        model.get_layer("normalization").network = None
        assert zoo.weights.record.of(model) == recorded


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet8", {"shortcut": "C", "projections": 0.5}, "every block has a projection"),
        ("resnet8", {"projections": 1.1}, r"a number in \[0, 1\]; it cannot be 1\.1"),
        ("resnet8", {"projections": -0.5}, r"a number in \[0, 1\]"),
        ("resnet8", {"projections": "all"}, "it cannot be 'all'"),
        ("plain20", {"projections": 0.5}, "plain20 has no option projections: it has no short"),
        ("seresnet20", {"projections": 0.5}, "option of seresnet20: 'projections'"),
        ("resnet20", {"projections": 0.5, "weights": "digits"}, "belongs to the weights"),
    ],
)
def test_what_cannot_be(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


def test_builders_refuse_the_same():
    with pytest.raises(InputError, match="every block has a projection"):
        resnet.cifar_resnet(8, shortcut="C", projections=0.5)
    with pytest.raises(InputError, match=r"no shortcuts: leave projections=0\.5 out"):
        resnet.cifar_resnet(8, shortcut=None, projections=0.5)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--projections=0.5", "--shortcut=C"], "every block has a projection"),
        (["--projections=0.5", "--model=plain20"], "it has no shortcuts"),
        (["--projections=0.5", "--weights=digits"], "belongs to the weights"),
        (["--projections=2"], "projections"),
    ],
)
def test_flags_that_do_not_fit(flags, words, tmp_path, capsys):
    flags = ["--recipe=resnet20_digits", *flags, f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_with_projections_dropout_and_maxout(tmp_path):
    """Its weights say of the first and the last that they are there, and nothing of the dropout."""
    run = tmp_path / "run"
    options = ("--projections=0.4", "--block_dropout=0.2", "--maxout=3")
    steps = ("--train_steps=3", "--eval_every=3", "--batch_size=16")
    recipe = ("--recipe=resnet20_digits", "--model=resnet8", "--warmup_steps=0")
    assert train.main(["train", *recipe, *steps, *options, f"--workdir={run}"]) == 0
    path = run / "weights.safetensors"
    _, said = zoo.weights.record.of(zoo.get("resnet8", weights=path))
    assert (said["projections"], said["block_dropout"], said["maxout"]) == (1 / 3, 0, 3)
    header = zoo.weights.own.description_in(path)["options"]
    assert {"projections", "maxout"} <= header.keys()
    assert "block_dropout" not in header


@pytest.mark.parametrize(
    ("built", "asked"),
    [
        ({"shortcut": "A", "projections": 5 / 6}, {"shortcut": "A", "projections": 5 / 6}),
        ({"shortcut": "C"}, {"shortcut": "A", "projections": 1.0}),
        ({"shortcut": "A", "projections": 1.0}, {"shortcut": "C"}),
    ],
)
@pytest.mark.parametrize(
    "ending", ["safetensors", pytest.param("weights.h5", marks=pytest.mark.slow)]
)
def test_one_network_may_be_said_in_several_ways(built, asked, ending, tmp_path):
    path = tmp_path / f"x.{ending}"
    model = zoo.get("resnet14", **built)
    model.save_weights(path) if ending == "weights.h5" else zoo.weights.save(path, model)
    loaded = zoo.get("resnet14", weights=path, **asked)
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(InputError, match="belongs to the weights"):
        zoo.get("resnet14", weights=path, shortcut="A", projections=1 / 6)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
