"""get, backbone, info, list_models: what a user of the zoo calls."""

import inspect
import itertools
import json
import pathlib
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree

import numpy as np
import pytest

import resnet_keras
from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.facts import BOTTLENECK_DEPTHS
from resnet_keras.networks import network
from resnet_keras.zoo import networks, pages

LARGE = [pytest.mark.slow, pytest.mark.large]

PAPER = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "plain18",
    "plain34",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet1202",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "resnet1d",
]


_DEPTHS = (18, 34, 50, 101, 152)
AFTER = [  # those that followed
    *("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *("resnext29_8x64d", "resnext29_16x64d", "wide_resnet50_2", "wide_resnet101_2"),
    *("resnet50c", *(f"resnet{depth}d" for depth in _DEPTHS)),
    *(f"seresnet{depth}" for depth in _DEPTHS),
    *(f"seresnext{name}" for name in ("50_32x4d", "101_32x4d", "101_32x8d", "101_64x4d")),
    *(f"legacy_seresnet{depth}" for depth in _DEPTHS),
    *("legacy_seresnext50_32x4d", "legacy_seresnext101_32x4d"),
    *(f"resnetv2_{depth}" for depth in (50, 101, 152)),
    *(f"resnet{depth}v2" for depth in (50, 101, 152)),
    *(f"preact_resnet{depth}" for depth in (110, 164, 1001)),
    *("wrn16_8", "wrn28_10", "wrn40_4"),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *("densenet40_12", "densenet_bc100_12", "densenet_bc190_40"),
]


def test_networks_without_residual_branches_are_those_whose_builders_have_none():
    rows = [row for row in zoo.NETWORKS.values() if not row.residual]
    assert {row.name[:3] for row in rows} == {"pla", "den", "vgg"}
    for row in rows:
        with pytest.raises(InputError, match="residual branches"):
            row.build(stochastic_depth=0.1)


def test_every_network_of_the_paper_is_listed():
    registered = networks.NETWORKS.keys() - {row.name for row in networks.PACKAGED}
    assert [name for name in zoo.list_models() if name not in registered] == [*PAPER, *AFTER]
    assert zoo.list_models("plain*5?") == ["plain56"]
    trained = [n for n in PAPER if n.startswith(("resnet", "vgg")) or n == "plain20"]
    untrained = {"resnetv2_152", "seresnet18", "seresnet34", "seresnet101", "seresnet152"}
    untrained |= {f"legacy_seresnet{depth}" for depth in (18, 34, 101, 152)}
    small = ("preact_", "wrn", "resnext29", "densenet40", "densenet_bc")
    trained += [n for n in AFTER if n not in untrained and not n.startswith(small)]
    trained.remove("resnet1d")
    assert zoo.list_models(pretrained=True) == trained


def test_every_set_of_weights_is_listed():
    assert zoo.list_weights() == list(zoo.ENTRIES)
    assert ("resnet34", "a2_in1k") in zoo.list_weights("resnet3?")
    assert {model for model, _ in zoo.list_weights("resnet3?")} == {"resnet32", "resnet34"}


def test_listing_imports_neither_keras_nor_tensorflow():
    code = """
        import sys
        import resnet_keras
        resnet_keras.zoo.list_models()
        assert not {"keras", "tensorflow", "numpy", "jax"} & set(sys.modules)
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


QUICK = ("resnet18", "resnet50", "plain18", "resnet20", "plain20")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else LARGE)
        for name in PAPER
        if name != "resnet1202"
    ],
)
def test_info_agrees_with_the_paper(name):
    """The counts are the model's own; rounded, they are the paper's. test_resnet has all digits."""
    info = zoo.info(name)
    if info.paper_parameters:
        digits = len(info.paper_parameters.rstrip("M").split(".")[1])
        assert f"{info.parameters / 1e6:.{digits}f}M" == info.paper_parameters
    if info.paper_multiply_adds:
        # Table 1 truncates: 3.858 is printed as 3.8. ResNet-50 and deeper at stride in the 1x1.
        assert float(info.paper_multiply_adds) == pytest.approx(info.multiply_adds, rel=0.02)
    assert str(info).startswith(name)
    assert f"{info.parameters:,}" in str(info)


def test_info_shows_measured_weights():
    text = str(zoo.info("resnet20"))
    assert "weights='digits'" in text
    assert "0.28 % top-1, 0.00 % top-5 error on digits/test (360 images, single view)" in text
    assert "weights='akamaster_cifar10', also 'cifar10'" in text
    assert "8.27 % top-1 error (single view; akamaster/pytorch_resnet_cifar10)" in text
    assert "not measured" in text
    assert "paper: 0.27M" in text


def test_notebooks_show_a_table():
    text = zoo.info("resnet20")._repr_html_()
    root = xml.etree.ElementTree.fromstring(f"<div>{text}</div>")  # every tag is closed
    cells = {row[0].text: row[1].text for row in root.findall("./table/tr")}
    assert cells["parameters"] == "269,722  (paper: 0.27M)"
    assert len(root.findall("details")) == len(zoo.list_weights("resnet20"))
    assert "weights='digits'" in [summary.text for summary in root.iter("summary")]


def test_what_is_public_is_listed():
    assert "resnet20_digits" in zoo.list_recipes()
    assert zoo.list_recipes("resnet1202_cifar10") == ["resnet1202_cifar10"]
    assert dir(zoo) == sorted(zoo.__all__)
    assert all(hasattr(zoo, name) for name in dir(zoo))
    assert {"zoo", "pipelines", "training", "tune_cpu"} <= set(dir(resnet_keras))
    assert not {"importlib", "os"} & set(dir(resnet_keras))
    assert all(hasattr(resnet_keras, name) for name in dir(resnet_keras))


def test_help_names_every_option_with_its_default():
    options = {option for name in PAPER for option in networks.find(name).accepted}
    assert {"shortcut", "stride_in_1x1", "dtype", "stochastic_depth", "mean"} <= options
    told = " ".join(zoo.get.__doc__.split())
    for option in options:
        assert re.search(rf"\b{option}(, \w+)?: ", told), option
    for option in options - {
        "num_classes",
        "include_top",
        "pooling",
        "input_shape",
        "dropout",
        "maxout",
    }:
        assert f"`{option}`" in zoo.backbone.__doc__
    parameters = inspect.signature(network.network).parameters
    for option in ("epsilon", "synchronized", "stochastic_depth", "dropout"):
        default = f"{parameters[option].default:g}".replace("1e-05", "1e-5")
        default = {"synchronized": "False"}.get(option, default)
        (sentence,) = re.findall(rf" {option}: (.*?)(?= \w+: | Options )", told)
        assert f"by default {default}" in sentence, option


def test_rows_and_builders_agree():
    shared = inspect.signature(network.network).parameters
    assert {*networks.SHARED, "name"} == shared.keys() - {
        *("trunk", "blocks", "residual", "head"),
        *("axes", "pixel_normalization"),
    }
    for row in networks.PACKAGED:
        parameters = inspect.signature(row.builder).parameters
        own = {name: p.default for name, p in parameters.items() if name not in {*shared, "shared"}}
        if row.depth not in BOTTLENECK_DEPTHS:
            own.pop("stride_in_1x1", None)  # basic blocks have no 1x1
        own = {n: default for n, default in own.items() if n not in row.family.lacks}
        assert row.options == {n: default for n, default in own.items() if n not in row.arguments}
        assert row.arguments.keys() <= own.keys() | row.family.lacks.keys()
        assert set(row.accepted) == row.options.keys() | set(networks.SHARED)


PACKAGED = [entry for entry in zoo.ENTRIES.values() if entry.packaged]


ON_DIGITS = [entry for entry in PACKAGED if entry.dataset == "digits"]
ON_FASHION_MNIST = [entry for entry in PACKAGED if entry.dataset == "fashion_mnist"]
FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist


def named(entry):
    return f"{entry.model}-{entry.tag}"


@pytest.mark.parametrize(
    "entry",
    [
        *ON_DIGITS,
        *(pytest.param(entry, marks=pytest.mark.slow) for entry in ON_FASHION_MNIST),
    ],
    ids=named,
)
def test_packaged_weights_work_offline_and_score_as_recorded(entry):
    from resnet_keras import pipelines
    from resnet_keras.classification import protocols

    data = {"image_size": 16}
    if entry.dataset == "fashion_mnist":
        if not FASHION_MNIST.is_dir():
            pytest.skip(f"{FASHION_MNIST} is not there")
        data = {"data_dir": str(FASHION_MNIST)}
    model = zoo.get(entry.model, weights=entry.tag)
    errors = protocols.measure(model, pipelines.evaluation(entry.dataset, "test", 100, **data))
    (row,) = entry.measured
    assert errors.examples == row["examples"]
    # One image in 360 more or less may tip on another CPU's arithmetic.
    assert errors.top1 == pytest.approx(row["top1_error"], abs=1.5 / 360)
    assert errors.top5 == pytest.approx(row["top5_error"], abs=1.5 / 360)


@pytest.mark.parametrize("entry", ON_FASHION_MNIST, ids=named)
def test_weights_of_fashion_mnist_are_those_of_the_best_run(entry):
    """They come with the package, are small, and know their classes."""
    curves = json.loads((pages.EXPERIMENTS / "degradation_fashion_mnist.json").read_text())
    ends = [curves["curves"][f"{entry.model}-seed{seed}"]["test"][-1] for seed in range(3)]
    best = int(np.argmin(ends))
    (row,) = entry.measured
    assert row["training"] == {
        **{"recipe": entry.recipe, "seed": best, "steps": 2400},
        "data": "fashion-mnist",
    }
    assert row["top1_error"] == pytest.approx(ends[best], abs=1e-4)
    assert f"the run of seed {best}, the best of three" in entry.notes
    others = [f"{100 * end:.2f} %" for seed, end in enumerate(ends) if seed != best]
    assert f"the others ended at {' and '.join(others)}." in entry.notes
    network, file = zoo.weights.find(entry.model, "fashion_mnist")
    assert file.path.stat().st_size < 4e6
    assert (file.class_names[1], file.class_names[9]) == ("trouser", "ankle boot")
    model = zoo.build(network, file)
    assert model.input_shape == (None, 28, 28, 3)
    assert model.predict(np.zeros([1, 28, 28, 3], "uint8"), verbose=0).shape == (1, 10)


@pytest.mark.parametrize("entry", ON_DIGITS, ids=named)
def test_packaged_weights_are_of_the_reported_runs(entry):
    """The first seed's, whatever the others gave; the note tells of those."""
    curves = json.loads((pages.EXPERIMENTS / "degradation_digits.json").read_text())["curves"]
    ends = [f"{100 * curves[f'{entry.model}-seed{seed}']['test'][-1]:.2f}" for seed in range(3)]
    assert ends[0] == f"{100 * entry.measured[0]['top1_error']:.2f}"
    assert entry.measured[0]["training"] == {"recipe": entry.recipe, "seed": 0, "steps": 1200}
    assert f"Seeds 1 and 2 of the same recipe ended at {ends[1]} % and {ends[2]} %." in entry.notes


def test_the_committed_runs_show_degradation():
    """Deep plain networks train worse than shallow ones, with every seed; residual ones do not."""
    curves = json.loads((pages.EXPERIMENTS / "degradation_digits.json").read_text())["curves"]

    def training(network):
        return [curves[f"{network}-seed{seed}"]["training"][-1] for seed in range(3)]

    plain = [training(f"plain{depth}") for depth in (20, 32, 44, 56, 110)]
    for shallow, deep in itertools.pairwise(plain):
        assert max(shallow) < min(deep)
    assert min(plain[-1]) > 0.6  # "higher than 60%" (Fig. 6)
    for depth in (20, 32, 44, 56, 110):
        assert max(training(f"resnet{depth}")) < 0.005


def test_other_classes_get_a_new_head_and_the_rest_of_the_weights():
    trained = zoo.get("resnet20", weights="digits")
    model = zoo.get("resnet20", weights="digits", num_classes=3, input_shape=(None, None, 3))
    assert model.output_shape == (None, 3)
    assert model.input_shape == (None, None, None, 3)
    for ours, theirs in zip(model.variables, trained.variables, strict=True):
        if not ours.path.startswith("logits"):
            np.testing.assert_array_equal(ours, theirs)
    features = zoo.get("resnet20", weights="digits", include_top=False)
    assert features.output_shape == (None, 4, 4, 64)


def test_backbone_has_the_stages_of_the_network():
    images = np.random.default_rng(0).integers(0, 256, (1, 65, 96, 3), "uint8")
    model = zoo.backbone("resnet18", input_shape=(None, None, 3))
    shapes = {name: tuple(value.shape) for name, value in model(images).items()}
    assert shapes == {
        "conv2": (1, 17, 24, 64),
        "conv3": (1, 9, 12, 128),
        "conv4": (1, 5, 6, 256),
        "conv5": (1, 3, 3, 512),
    }
    chosen = zoo.backbone("resnet20", weights="digits", endpoints=["conv4", "conv2"])
    assert list(chosen.output) == ["conv4", "conv2"]
    whole = zoo.get("resnet20", weights="digits", include_top=False)
    small = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
    np.testing.assert_allclose(chosen(small)["conv4"], whole(small), rtol=1e-5, atol=1e-5)


def test_other_depths_and_options():
    assert zoo.get("resnet26").name == "resnet26"
    assert zoo.get("plain14", num_classes=5).output_shape == (None, 5)
    model = zoo.get("resnet50", stride_in_1x1=False, shortcut="A", input_shape=(64, 64, 3))
    assert "conv2_block1_0_conv" not in [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: zoo.get("resnet51"), "resnet50"),
        (lambda: zoo.get("resnet21"), "6n+2"),
        (lambda: zoo.get("reznet50"), "'reznet50'. Did you mean 'resnet50'? Choose one of"),
        (lambda: zoo.get("resnet50", pretrained=True), "Did you mean 'weights'?"),
        (lambda: zoo.get("resnet50", weight="imagenet"), "Did you mean 'weights'?"),
        (lambda: zoo.get("resnet50", classes=2), "Did you mean 'num_classes'?"),
        (lambda: zoo.get("./no_folder"), "There is no folder ./no_folder"),
        (lambda: zoo.get(pathlib.Path("no_folder")), "There is no folder no_folder"),
        (lambda: zoo.get("plain50"), "plain18 and plain34"),
        (lambda: zoo.get("alexnet"), "resnet18"),
        (lambda: zoo.get(50), "resnet18"),
        (lambda: zoo.info("resnet"), "resnet18"),
        (lambda: zoo.get("resnet18", shortcut="D"), "A, B, C"),
        (lambda: zoo.get("resnet18", shortcut=None), "shortcut of resnet18"),
        (lambda: zoo.get("plain18", shortcut="A"), "plain18 has no option shortcut"),
        (lambda: zoo.get("resnet18", stride_in_1x1=False), "resnet18 has no option stride_in_1x1"),
        (lambda: zoo.get("resnet50", strides=2), "shortcut, stride_in_1x1"),
        (lambda: zoo.get("plain34", weights="imagenet"), "no registered weights"),
        (lambda: zoo.get("resnet50", weights="imagnet"), "Did you mean 'imagenet'"),
        (lambda: zoo.get("resnet20", weights="cifar"), "akamaster_cifar10, digits"),
        (lambda: zoo.get("resnet20", weights="no/such.safetensors"), "no/such.safetensors"),
        (lambda: zoo.get("resnet20", weights="digits", shortcut="B"), "belongs to the weights"),
        (lambda: zoo.get("resnet20", weights="digits", mean=(0, 0, 0)), "belongs to the weights"),
        (lambda: zoo.backbone("resnet20", endpoints=["conv5"]), "conv2, conv3, conv4"),
        (lambda: zoo.backbone("resnet20", include_top=True), "no head"),
        (lambda: zoo.get("resnet20", mean="abc"), "numbers"),
    ],
)
def test_bad_arguments_get_a_sentence(call, words):
    with pytest.raises(InputError) as error:
        call()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
