"""Every recipe of `train` runs a step, on mock data but for the digits'.

Most of a small network of its kind: what is tested is that a recipe's flags fit each other, its
data set and its kind of network. Its own network, too, is trained by slow tests.
"""

import contextlib
import functools
import re
import sys

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import train, zoo

LARGE = [pytest.mark.slow, pytest.mark.large]

# Names of networks, and what is trained in their place; the first that matches.
SMALL = {
    r"plain\d+": "plain8",
    r"resnet\d+": "resnet8",
    r"resnet50d": "resnet8d",
    r"seresnet50": "seresnet8",
    r"wide_resnet50_2": "resnext11_1x16d",
    r"resnext\d+_\d+x\d+d": "resnext11_2x8d",
    r"preact_resnet110": "preact_resnet8",
    r"preact_resnet(164|1001)|resnetv2_\d+": "preact_resnet11",
    r"wrn\d+_\d+": "wrn10_1",
    r"densenet40_12": "densenet10_4",
    r"densenet121|densenet_bc100_12": "densenet_bc10_4",
    r"resnet1d": "resnet1d",
}
MODERN = "resnet50_imagenet_modern"  # whose flags are of a network with bottlenecks
QUICK = ("resnet110_digits", "resnet1d_digits")
# With their own networks: of each kind one, and some, which differ from these in little, by hand.
# Tracing takes minutes for networks of a thousand layers and more.
OWN = (
    *("resnet20_digits", "plain20_cifar10", "resnet110_cifar10", "resnet34_imagenet_c", MODERN),
    *("plain18_imagenet", "resnet50_imagenet", "wrn28_10_cifar10_dropout"),
    *("preact_resnet110_cifar10", "densenet40_12_cifar100", "densenet_bc100_12_cifar10"),
    *("resnet110_cifar100_stochastic_depth", "resnext29_8x64d_cifar100"),
)
BY_HAND = (
    *("resnetv2_50_imagenet", "resnext50_32x4d_imagenet", "wide_resnet50_2_imagenet"),
    *("resnet50d_imagenet", "seresnet50_imagenet", "densenet121_imagenet", "wrn16_8_cifar100"),
    *("preact_resnet164_cifar10", "wrn40_4_cifar10"),
)
SMALL_PHOTOGRAPHS = {"image_size": 64, "eval_batch_size": 20}
STEP = {"train_steps": 1, "warmup_steps": 0, "batch_size": 4, "strategy": "one_device"}


def flags_of(name):
    """A recipe's flags, as its file has them."""
    lines = zoo.recipes.path(name).read_text().splitlines()
    return [line for line in lines if line.startswith("--")]


def flag_in(line):
    """The name of a flag; that of `--noflip` is flip."""
    name = line.removeprefix("--").partition("=")[0]
    return name if name in train.FLAGS else name.removeprefix("no")


def kin(name):
    """The network that a recipe trains, and the small one of its kind."""
    model = next(line for line in flags_of(name) if line.startswith("--model=")).partition("=")[2]
    return model, next(small for kind, small in SMALL.items() if re.fullmatch(kind, model))


def small_run(name):
    """What is laid over a recipe, and with it the flags that are left of its own."""
    overlay = {"model": kin(name)[1], **STEP}
    left = flags_of(name)
    if "--dataset=imagenet2012" in left:
        overlay |= SMALL_PHOTOGRAPHS
        if any(line.startswith("--scales=") for line in left):
            overlay["scales"] = "73,137"
    gone = {*overlay, "boundaries", "eval_every"}  # of which a run of a step sees nothing
    return overlay, frozenset(line for line in left if flag_in(line) not in gone)


def runs():
    """One recipe of those that come to the same run."""
    distinct = {}
    for name in zoo.recipes.names():
        overlay, left = small_run(name)
        distinct.setdefault((tuple(overlay.items()), left), name)
    return [name for name in distinct.values() if name != MODERN]


RUNS = runs()


@pytest.fixture(scope="module")
def imagenet_records(tmp_path_factory):
    """TFDS's mock data for ImageNet, prepared on disk.

    Read straight from TFDS's generator it can hang: closing an iterator holds Python's lock, which
    the generator waits for.
    """
    with tfds.testing.mock_data(num_examples=20):
        builder = tfds.builder("imagenet2012")
        splits = {name: builder.as_dataset(split=name) for name in ("train", "validation")}
        rows = {name: list(split) for name, split in splits.items()}
        specs = {name: split.element_spec for name, split in splits.items()}
    root = tmp_path_factory.mktemp("tfds")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012",
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={
            name: tf.data.Dataset.from_generator(
                functools.partial(iter, rows[name]), output_signature=specs[name]
            )
            for name in rows
        },
        data_dir=root,
    )
    return root


@pytest.fixture
def ran(request, tmp_path, capsys):
    """Runs a recipe with flags laid over it, and looks at the network that it trained."""

    def run(name, overlay):
        data = contextlib.nullcontext()
        if "imagenet" in name:
            overlay = {**overlay, "data_dir": request.getfixturevalue("imagenet_records")}
        elif "cifar" in name:
            data = tfds.testing.mock_data(num_examples=20)
        laid_over = [f"--{flag}={value}" for flag, value in overlay.items()]
        with data:
            status = train.main(
                ["train", f"--recipe={name}", f"--workdir={tmp_path / 'run'}", *laid_over]
            )
        said = capsys.readouterr()
        assert status == 0, said.err
        assert ("val error" if "imagenet" in name else "test error") in said.out.splitlines()[-1]
        model = zoo.get(overlay["model"], weights=tmp_path / "run" / "weights.safetensors")
        mean = model.get_layer("normalization").mean
        pixel = "--normalization=pixel" in flags_of(name)
        channels = 1 if name == "resnet1d_digits" else 3
        assert mean.shape == ((32, 32, 3) if pixel else (channels,))
        classes = {"cifar10": 10, "cifar100": 100, "digits": 10, "digits_series": 10}
        assert model.output_shape == (None, classes.get(train.FLAGS.dataset, 1000))

    return run


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=LARGE) for name in RUNS]
)
def test_recipe_runs_a_step(name, ran):
    overlay, left = small_run(name)
    train.shared_flags.parse(train.FLAGS, ["train", f"--recipe={name}"])
    own = {flag: train.FLAGS[flag].value for flag in map(flag_in, left)}
    ran(name, overlay)
    assert own == {flag: train.FLAGS[flag].value for flag in own}  # nothing of them was lost


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*OWN, *(pytest.param(name, marks=pytest.mark.large) for name in BY_HAND)]
)
def test_recipe_runs_a_step_with_its_own_network(name, ran):
    overlay, _ = small_run(name)
    ran(name, {**overlay, "model": kin(name)[0]})


def test_every_network_has_a_small_one():
    for name in zoo.recipes.names():
        network, small = kin(name)
        assert zoo.networks.find(network).family.inputs == zoo.networks.find(small).family.inputs
    assert {*QUICK} <= {*RUNS}
    assert {*OWN, *BY_HAND} <= {*zoo.recipes.names()}


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
