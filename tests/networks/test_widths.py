"""Networks of another width: counts by closed formulas, files, and what is refused."""

import json
import re
import sys

import numpy as np
import pytest
from safetensors import safe_open

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.facts import BOTTLENECK_DEPTHS, IMAGENET_BLOCKS
from resnet_keras.networks import counts, resnet, widths
from resnet_keras.zoo import weights as files

SMALL = {"input_shape": (16, 16, 3), "num_classes": 3}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")


@pytest.fixture(scope="module")
def half():
    return zoo.get("resnet8", width=0.5, **SMALL)


def cifar(depth, w):
    """Parameters and multiply-adds of 6n+2 layers from w channels on, by option A, 10 classes.

    At 32x32 each of the three stages has n blocks of two 3x3 convolutions, of 32, 16 and 8 squared
    places and of w, 2w and 4w channels; the first of a stage sees half as many.
    """
    n = (depth - 2) // 6
    c, places = (w, 2 * w, 4 * w), (32**2, 16**2, 8**2)
    inputs = (w, w, 2 * w)
    kernels = [9 * c[i] * (inputs[i] + (2 * n - 1) * c[i]) for i in range(3)]
    normalized = 2 * w + sum(2 * n * 2 * channels for channels in c)
    parameters = 9 * 3 * w + sum(kernels) + normalized + 4 * w * 10 + 10
    sums = 9 * 3 * w * 32**2 + sum(k * p for k, p in zip(kernels, places, strict=True)) + 4 * w * 10
    return parameters, sums


def imagenet(depth, w):
    """The same of Table 1's networks from w channels on, by option B, 1000 classes, at 224x224."""
    bottleneck = depth in BOTTLENECK_DEPTHS
    parameters, sums = 49 * 3 * w + 2 * w, 49 * 3 * w * 112**2
    seen = w
    for stage, n in enumerate(IMAGENET_BLOCKS[depth]):
        c, places = w * 2**stage, (56 // 2**stage) ** 2
        out = 4 * c if bottleneck else c
        if bottleneck:
            later = out * c + 9 * c * c + c * out
            kernels = seen * c + 9 * c * c + c * out + (n - 1) * later
            normalized = n * (c + c + out)
        else:
            kernels, normalized = 9 * seen * c + (2 * n - 1) * 9 * c * c, n * 2 * c
        if seen != out:
            kernels, normalized = kernels + seen * out, normalized + out
        parameters, sums = parameters + kernels + 2 * normalized, sums + kernels * places
        seen = out
    return parameters + seen * 1000 + 1000, sums + seen * 1000


def counted(model):
    return counts.count_parameters(model), counts.count_multiply_adds(model)


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "plain20"])
@pytest.mark.parametrize("width", [0.25, 0.5, 1.5])
def test_counts_of_cifar(name, width):
    model = zoo.get(name, width=width)
    assert counted(model) == cifar(int(re.sub(r"\D", "", name)), int(16 * width))


@pytest.mark.parametrize("name", ["resnet14d", "seresnet14", "preact_resnet14"])
@pytest.mark.parametrize("width", [0.25, 0.5, 1, 1.5])
def test_counts_of_families_with_projections(name, width):
    """The same, with 1x1 convolutions to 2w and 4w channels, normalized but in pre-activation.

    An SE block squeezes to 8 channels here, by two convolutions with biases.
    """
    w, n = int(16 * width), 2
    parameters, sums = cifar(14, w)
    parameters, sums = parameters + 10 * w**2, sums + 2 * w**2 * 16**2 + 8 * w**2 * 8**2
    if not name.startswith("preact"):
        parameters += 2 * (2 * w + 4 * w)
    if name.startswith("se"):
        blocks = [channels for channels in (w, 2 * w, 4 * w) for _ in range(n)]
        parameters += sum(2 * 8 * channels + 8 + channels for channels in blocks)
        sums += sum(2 * 8 * channels for channels in blocks)
    assert counted(zoo.get(name, width=width)) == (parameters, sums)


@pytest.mark.parametrize(
    ("name", "width", "first"), [("resnet18", 0.25, 16), ("resnet50", 0.3, 24)]
)
def test_counts_of_imagenet(name, width, first):
    model = zoo.get(name, width=width)
    assert counted(model) == imagenet(int(name.removeprefix("resnet")), first)


def test_the_formulas_hold_for_the_papers_widths():
    assert cifar(20, 16) == (269_722, 40_551_040)
    assert imagenet(50, 64) == (25_557_032, 3_857_973_248)


@pytest.mark.parametrize(
    ("dataset", "width", "channels"),
    [
        ("cifar10", 1, 16),
        ("cifar10", 0.25, 4),
        ("cifar10", 0.3, 5),
        ("cifar10", 0.01, 1),
        ("cifar10", 0.09, 2),  # 1 would be less than nine tenths of 1.44
        ("imagenet", 1.0, 64),
        ("imagenet", 0.25, 16),
        ("imagenet", 0.35, 24),
        ("imagenet", 0.3, 24),  # 16 would be less than nine tenths of 19.2
        ("imagenet", 0.01, 8),
    ],
)
def test_rounding(dataset, width, channels):
    assert widths.first_stage(dataset, width) == channels


@pytest.mark.parametrize(
    "name", ["preact_resnet11", "preact_resnet8", "seresnet8", "resnet8d", "legacy_seresnet18"]
)
def test_other_families_have_every_layer_as_wide(name):
    """Each convolution of half a network has half the filters; the squeeze is by its own rule."""
    shape = SMALL if "18" not in name else {**SMALL, "input_shape": (32, 32, 3)}
    whole, half = zoo.get(name, **shape), zoo.get(name, width=0.5, **shape)
    for layer in whole.layers:
        filters = getattr(layer, "filters", None)
        if filters and "_se_1_" not in layer.name:
            assert half.get_layer(layer.name).filters == filters // 2, layer.name


@pytest.mark.parametrize("width", [1, 1.0])
def test_width_1_changes_nothing_and_is_not_recorded(width, tmp_path):
    plain, same = zoo.get("resnet8", **SMALL), zoo.get("resnet8", width=width, **SMALL)
    assert plain.to_json() == same.to_json()
    for model, name in ((plain, "a"), (same, "b")):
        for variable in model.weights:
            variable.assign(np.ones(variable.shape, "float32"))
        zoo.weights.save(tmp_path / f"{name}.safetensors", model)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    with safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert "width" not in json.loads(file.metadata()["resnet_keras"])["options"]


@pytest.mark.parametrize("ending", ["safetensors", "keras", "weights.h5", "folder"])
def test_files_come_back_as_wide_as_they_were(ending, tmp_path, half, images):
    path = tmp_path / f"half.{ending}"
    if ending == "safetensors":
        zoo.weights.save(path, half)
    elif ending == "keras":
        half.save(path)
    elif ending == "folder":
        zoo.save(half, path, preprocessing=zoo.Preprocessing(16, 16), class_names="abc")
    else:
        half.save_weights(path)
    model = zoo.get("resnet8", weights=path, input_shape=(16, 16, 3))
    assert model.count_params() == half.count_params()
    np.testing.assert_array_equal(half(images), model(images))
    with pytest.raises(InputError, match=re.escape("where it is 0.5, and cannot be set beside")):
        zoo.get("resnet8", weights=path, width=0.25)
    other = zoo.get("resnet8", weights=path, width=0.5, num_classes=7, input_shape=(16, 16, 3))
    assert other.output_shape == (None, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "preact_resnet8", "seresnet8", "resnet8d"])
def test_wider_networks_keep_their_names(name, tmp_path):
    """Twice as wide they are not the wide networks, whose stems or outputs are narrower."""
    shape = (32, 32, 3) if name == "resnet50" else (8, 8, 3)
    model = zoo.get(name, width=2, input_shape=shape, num_classes=3)
    model.save(tmp_path / "wide.keras")
    loaded = zoo.get(name, weights=tmp_path / "wide.keras", input_shape=shape)
    assert loaded.count_params() == model.count_params()


def test_a_network_without_a_record_is_told_by_its_layers(tmp_path):
    model = resnet.cifar_resnet(8, width=0.25, **SMALL)
    zoo.weights.save(tmp_path / "built.safetensors", model)
    loaded = zoo.get("resnet8", weights=tmp_path / "built.safetensors")
    assert loaded.count_params() == model.count_params()


def test_a_header_that_is_not_its_tensors_is_refused(tmp_path, half):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "half.safetensors"
    zoo.weights.save(path, half)
    with safe_open(path, "numpy") as file:
        header = file.metadata()["resnet_keras"].replace('"width": 0.5', '"width": 8.0')
    save_file(load_file(path), path, metadata={"resnet_keras": header})
    with pytest.raises(InputError, match=r"width 8\.0, and tensors of 0\.5"):
        zoo.get("resnet8", weights=path)


def test_registered_weights_of_width_1_refuse_another():
    with pytest.raises(InputError, match=r"width belongs to the weights in .*, where it is 1,"):
        zoo.get("resnet20", weights="digits", width=0.5)


@pytest.mark.parametrize("width", [0, -1, 11, "wide", True, None, float("nan"), (1, 2)])
def test_widths_that_are_none(width):
    with pytest.raises(InputError, match="width multiplies the channels of this network, 16 in"):
        zoo.get("resnet20", width=width)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnext50_32x4d", "has no option width: the channels of its blocks are in its name"),
        ("wide_resnet50_2", "has no option width: the channels of its blocks are in its name"),
        ("wrn16_8", "has no option width: how many times wider it is stands in its name"),
        ("resnet50v2", "has no option width: it is as keras.applications has it"),
        ("densenet121", "has no option width: growth_rate tells"),
        ("seresnext50_32x4d", "are in its name, groups x channels"),
        ("vgg16", r"must be a positive whole number, not 0.5: it is the channels of the first"),
        ("resnetv2_50", r"must be a positive whole number, not 0.5: it is the channels of the ste"),
        ("resnet1d", r"must be a positive whole number, not 0.5: it is the channels of the first"),
    ],
)
def test_networks_whose_width_is_something_else(name, message):
    with pytest.raises(InputError, match=message):
        zoo.get(name, width=0.5)


def test_features_are_as_wide():
    backbone = zoo.backbone("resnet18", width=0.5, input_shape=(64, 64, 3))
    channels = {endpoint: tensor.shape[-1] for endpoint, tensor in backbone.output.items()}
    assert channels == {"conv2": 32, "conv3": 64, "conv4": 128, "conv5": 256}


@pytest.mark.parametrize("name", ["seresnext50_32x4d", "resnext50_32x4d", "wide_resnet50_2"])
def test_networks_whose_names_have_their_widths_are_taken_for_no_pruned_ones(name):
    """Their first 1x1 convolutions are wider than their stage's."""
    network = zoo.networks.find(name)
    tensors = {"conv2_block1_1_conv/kernel": np.zeros((1, 1, 64, 128), "float32")}
    assert files.widths.shown(tensors, network) == {}
    assert not {"width", "inner_widths"} & {*network.options}


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
