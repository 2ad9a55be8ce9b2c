"""Pruned networks: they compute what masked ones do, are kept and read, and trained on."""

import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from documentation import ROOT, block
from safetensors import safe_open

from resnet_keras import zoo
from resnet_keras.deployment import pruning
from resnet_keras.errors import InputError
from resnet_keras.networks import counts

SMALL = {"input_shape": (16, 16, 3), "num_classes": 10}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), "uint8")


def random_network(name, **options):
    """With statistics and factors that are not those of a new network."""
    keras.utils.set_random_seed(1)
    model = zoo.get(name, **{**SMALL, **options})
    random = np.random.default_rng(0)
    for variable in model.weights:
        leaf = variable.path.rpartition("/")[2]
        if leaf in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif leaf in ("beta", "moving_mean"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    return model


def mask(model, kept):
    """Takes from a whole network what a pruned one has not: filters, factors and shifts."""
    for layer, channels in kept.items():
        gone = np.setdiff1d(np.arange(model.get_layer(layer).filters), channels)
        normalization = model.get_layer(f"{layer.removesuffix('conv')}bn")
        for variable in (model.get_layer(layer).kernel, normalization.gamma, normalization.beta):
            values = np.array(variable)
            values[..., gone] = 0
            variable.assign(values)


IMAGENET = ("resnet50", "resnetv2_50", "legacy_seresnet18")
NAMES = [
    *("resnet8", "plain8", "preact_resnet8", "preact_resnet11", "wrn10_2"),
    *("seresnet8", "resnet8d", *IMAGENET),
]


@pytest.mark.parametrize("by", ["l1", "gamma"])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in IMAGENET else ()) for n in NAMES]
)
def test_pruned_equals_masked(name, by, images):
    if by == "gamma" and name not in NAMES[:4]:
        pytest.skip("the criterion does not depend on the family")
    width = {"width": 8 if name == "resnetv2_50" else 0.125} if name in IMAGENET else {}
    model = random_network(name, **width)
    smaller = pruning.prune(model, 0.3, by=by)
    kept = pruning._kept(model, 0.3, pruning.CRITERIA[by])
    mask(model, kept)
    expected = np.asarray(model(images))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(
        np.asarray(smaller(images)), expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )
    convolutions = 2 if "50" in name or name == "preact_resnet11" else 1
    assert {int(layer[-6]) for layer in kept} == set(range(1, convolutions + 1))
    for layer, channels in kept.items():
        whole = model.get_layer(layer).filters
        assert smaller.get_layer(layer).filters == len(channels) == whole - int(0.3 * whole + 0.5)


def test_the_weakest_filters_go():
    model = random_network("resnet8")
    kernel = np.array(model.get_layer("conv3_block1_1_conv").kernel)
    strength = np.abs(kernel).sum((0, 1, 2))
    weakest = sorted(np.argsort(strength)[: round(0.25 * len(strength))])
    kept = pruning.prune(model, 0.25).get_layer("conv3_block1_1_conv").kernel
    np.testing.assert_array_equal(kept, np.delete(kernel, weakest, axis=-1))


def test_counts_follow_from_what_is_left():
    """Of ResNet-20 half the inner channels: all of a block's kernels halve."""
    model = zoo.get("resnet20")
    smaller = pruning.prune(model, 0.5)
    stem, head = 3 * 9 * 16, 64 * 10
    outside = stem * 32**2 + head
    whole = counts.count_multiply_adds(model) - outside
    assert counts.count_multiply_adds(smaller) == outside + whole / 2
    kernels = 9 * (16 * 16 * 6 + (16 + 5 * 32) * 32 + (32 + 5 * 64) * 64)
    normalized = 2 * (16 + 3 * (16 + 32 + 64) + 3 * (8 + 16 + 32))
    assert counts.count_parameters(smaller) == stem + kernels / 2 + normalized + head + 10


def test_one_channel_remains():
    smaller = pruning.prune(zoo.get("resnet8", width=0.1, **SMALL), 0.99)
    assert smaller.get_layer("normalization").network["options"]["inner_widths"] == [1, 1, 1]


@pytest.mark.parametrize(
    "name",
    [
        "resnet8",
        "preact_resnet11",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("wrn10_1", "resnet8d")),
    ],
)
def test_pruned_networks_are_kept_and_read(name, tmp_path, images):
    smaller = pruning.prune(random_network(name), 0.5)
    expected = np.asarray(smaller(images))
    zoo.weights.save(tmp_path / "own.safetensors", smaller)
    zoo.save(smaller, tmp_path / "folder", class_names="0123456789")
    smaller.save(tmp_path / "keras.keras")
    smaller.save_weights(tmp_path / "keras.weights.h5")
    inner = {"inner_widths": [8, 16, 32]}
    for path in ("own.safetensors", "folder", "keras.keras"):
        model = zoo.get(name, weights=tmp_path / path, input_shape=(16, 16, 3))
        np.testing.assert_array_equal(model(images), expected)
        assert model.get_layer("normalization").network["options"].items() >= inner.items()
        with pytest.raises(InputError, match="inner_widths belongs to the weights"):
            zoo.get(name, weights=tmp_path / path, inner_widths=(8, 8, 8))
    np.testing.assert_array_equal(zoo.get(tmp_path / "folder")(images), expected)
    loaded = keras.models.load_model(tmp_path / "keras.keras")
    again = pruning.prune(loaded, 0.5)
    assert again.get_layer("conv4_block1_1_conv").filters == 16
    h5 = zoo.get(name, weights=tmp_path / "keras.weights.h5", input_shape=(16, 16, 3), **inner)
    np.testing.assert_array_equal(h5(images), expected)


def test_what_is_known_of_weights_is_passed_on(tmp_path):
    smaller = pruning.prune(zoo.get("resnet20", weights="digits"), 0.3)
    zoo.save(smaller, tmp_path / "saved")  # without a warning: it knows classes and preprocessing
    file = zoo.weights.find(tmp_path / "saved", None)[1]
    assert file.class_names == tuple("0123456789")
    assert file.preprocessing == zoo.Preprocessing(16, 16)


def test_a_header_that_is_not_its_tensors_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "pruned.safetensors"
    zoo.weights.save(path, pruning.prune(zoo.get("resnet8", **SMALL), 0.5))
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["resnet_keras"])
    header["options"]["inner_widths"] = [8, 16, 64]
    save_file(load_file(path), path, metadata={"resnet_keras": json.dumps(header)})
    with pytest.raises(InputError, match=re.escape("tensors of (8, 16, 32)")):
        zoo.get("resnet8", weights=path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vgg16", "it has no blocks"),
        ("densenet40_12", "all later blocks see"),
        ("resnext11_2x8d", "belong together in groups"),
        ("seresnext50_32x4d", "belong together in groups"),
        ("wide_resnet50_2", "wide by its name"),
        ("resnet50v2", "as keras.applications has it"),
        ("resnet1d", "networks for series"),
    ],
)
def test_networks_that_cannot_be_pruned_say_why(name, reason):
    with pytest.raises(InputError, match=f"{name} cannot be pruned: .*{reason}"):
        pruning.check_network(zoo.networks.find(name))


@pytest.mark.parametrize("share", [0, 1, -0.1, 30, "0.3", True, None, float("nan")])
def test_shares_that_are_none(share):
    with pytest.raises(InputError, match="share` of a block's channels"):
        pruning.check(share, "l1")


def test_models_and_criteria_that_are_none():
    with pytest.raises(InputError, match="Unknown criterion 'l2'"):
        pruning.check(0.5, "l2")
    with pytest.raises(InputError, match=r"not a network as zoo\.get builds them"):
        pruning.prune(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), 0.5)


@pytest.mark.parametrize(
    "inner", [(8,), (8, 16), "888", 8, (8, 16, 65), (0, 8, 8), (8, 8, 1.5), (8, 8, True)]
)
def test_inner_widths_that_are_none(inner):
    with pytest.raises(InputError, match="inner_widths"):
        zoo.get("resnet8", inner_widths=inner)


def test_the_command_prunes_and_training_goes_on(tmp_path, monkeypatch, capsys):
    """As docs/smaller.md tells it: pruned, trained on, pruned again."""
    from resnet_keras import evaluate, prune, train

    monkeypatch.chdir(tmp_path)

    def run(main, *arguments):
        assert main(["command", *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr()

    said = run(
        prune.main, "--model=resnet20", "--weights=digits", "--share=0.3", "--out=a.safetensors"
    )
    assert re.search(r"parameters +269,722 -> +\d+,\d{3} +\(-2\d\.\d %\)", said.out)
    assert re.search(r"multiply-adds +10,138,240 -> +7,\d{3},\d{3} +\(-\d\d\.\d %\)", said.out)
    fit = ("--dataset=digits", "--batch_size=32", "--train_steps=2", "--warmup_steps=0")
    recipe = ("--recipe=resnet56_digits_pruned", "--model=resnet20")
    run(train.main, *recipe, "--weights=a.safetensors", *fit, "--workdir=run")
    run(prune.main, "--model=run", "--share=0.5", "--by=gamma", "--out=b.safetensors")
    file = zoo.weights.find("resnet20", "b.safetensors")[1]
    assert file.options["inner_widths"] == (5,) * 3 + (11,) * 3 + (22,) * 3
    assert file.training["pruned"] == 0.5
    assert file.class_names == tuple("0123456789")
    run(evaluate.main, "--model=resnet20", "--weights=b.safetensors", "--dataset=digits")
    onto_itself = ("--weights=b.safetensors", "--share=0.5", "--out=b.safetensors")
    assert prune.main(["prune", "--model=resnet20", *onto_itself]) == 2
    assert "name another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--model=NAME"),
        (["--model=resnet20", "--share=0.3"], "--out=NAME.safetensors"),
        (["--model=resnet20", "--weights=digits", "--out=a.safetensors"], "Give --share"),
        (["--model=resnet20", "--share=1.5", "--out=a.safetensors"], "--share of a block's"),
        (["--model=resnet20", "--share=0.3", "--out=a.h5"], "--out=NAME.safetensors"),
        (["--model=resnet20", "--share=0.3", "--out=a.safetensors"], "--weights=TAG"),
        (["--model=vgg16", "--share=0.3", "--out=a.safetensors"], "--weights=TAG"),
    ],
)
def test_mistakes(arguments, words, tmp_path, monkeypatch, capsys):
    from resnet_keras import prune

    monkeypatch.chdir(tmp_path)
    assert prune.main(["prune", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_rounds_of_the_page_run_as_they_are_printed(tmp_path):
    """But for their length: three times pruned, and trained between."""
    loop = block("sh", "for round in 1 2 3")
    short = loop.replace("--train_steps=100", "--train_steps=2 --warmup_steps=0 --eval_every=2")
    assert short != loop
    code = short.replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model = zoo.get("resnet56", weights=str(tmp_path / "runs" / "pruned_3" / "weights.safetensors"))
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == 428_074


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
