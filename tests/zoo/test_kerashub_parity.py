"""ResNets with KerasHub's presets and files answer as its networks do."""

import json
import os
import re
import shutil
import sys

import h5py
import kerashub_parity
import numpy as np
import parity
import pytest
from recorded import IMAGENET, difference

from resnet_keras import zoo
from resnet_keras.errors import InputError

TOLERANCE = 5e-6  # the normalization divides here, and multiplies there


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Of resnet18, not to be changed."""
    return kerashub_parity.preset(tmp_path_factory.mktemp("presets") / "resnet18", "resnet18")


def assert_answers(model, name):
    with np.load(kerashub_parity.ANSWERS) as answers:
        for height, width in kerashub_parity.SIZES:
            expected = answers[f"{name} {height}x{width}"]
            assert difference(model(parity.images(height, width)), expected) < TOLERANCE
            # What is compared depends on the image.
            assert difference(expected[:1], expected[1:]) > 20 * TOLERANCE


@pytest.mark.parametrize(
    "name",
    ["resnet18", *(pytest.param(n, marks=pytest.mark.slow) for n in ("resnet50", "resnetv2_50"))],
)
def test_logits_of_presets(name, tmp_path):
    folder = kerashub_parity.preset(tmp_path / "preset", name)
    with pytest.raises(InputError, match=r"is a folder of KerasHub's: name the network") as error:
        zoo.get(folder)
    advice = re.search(r"zoo\.get\(.*\)", str(error.value))[0]
    model = zoo.get(name, weights=folder, input_shape=(None, None, 3))
    assert_answers(model, name)
    assert f"zoo.get({name!r}, weights={str(folder)!r})" == advice
    file = zoo.weights.find(name, folder)[1]
    shown = zoo.Preprocessing(224, 224, "bicubic", antialias=False)
    assert (file.preprocessing, file.assumed) == (shown, "")


def test_presets_of_a_backbone_alone(tmp_path):
    folder = kerashub_parity.preset(tmp_path / "preset", "resnet18")
    for name in ("task.json", "task.weights.h5", "image_converter.json"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="has no head: give num_classes, or include_top=False"):
        zoo.get("resnet18", weights=folder)
    features = zoo.get("resnet18", weights=folder, include_top=False, pooling="avg")
    assert features.output_shape == (None, 512)
    file = zoo.weights.find("resnet18", folder)[1]
    assert file.assumed
    assert file.defaults["mean"] == pytest.approx([123.675, 116.28, 103.53])


def test_files_that_keras_saves_of_such_a_model(tmp_path):
    """All in one file, where the backbone's layers are inside a layer of the model."""
    folder = kerashub_parity.preset(tmp_path / "preset", "resnet18")
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as target:
        with h5py.File(folder / "task.weights.h5") as head:
            head.copy("layers/dense", target, "layers/dense")
        with h5py.File(folder / "model.weights.h5") as backbone:
            backbone.copy("layers", target, "layers/res_net_backbone/layers")
    assert_answers(zoo.get("resnet18", weights=path, input_shape=(None, None, 3)), "resnet18")
    for other in ("resnet34", "resnet50"):
        with pytest.raises(InputError, match=r"of .*resnet18.*, not of .*: ask for .*resnet18"):
            zoo.get(other, weights=path)


def test_other_networks_of_its_are_refused_by_name(tmp_path):
    folder = kerashub_parity.preset(tmp_path / "preset", "resnet18")
    with h5py.File(folder / "model.weights.h5", "a") as file:
        group = file.create_group("layers/conv2d_99/vars")
        group.attrs["name"] = "conv2_conv"
        group["0"] = np.zeros((3, 3, 4, 4), "float32")
    with pytest.raises(InputError, match=r'ResNet-D of KerasHub \(a "vd" preset\)'):
        zoo.get("resnet18", weights=folder)
    (folder / "model.weights.h5").unlink()
    with pytest.raises(InputError, match=r"a folder of KerasHub's that lacks model\.weights\.h5"):
        zoo.get("resnet18", weights=folder)
    config = json.loads((folder / "config.json").read_text())
    config["config"]["block_type"] = "bottleneck_block_vd"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="of another network than its ResNets of 18 to 152"):
        zoo.get(folder)


def converting(folder, source, change):
    """A preset whose converter differs; its large files are the source's."""
    shutil.copytree(source, folder, copy_function=os.link)
    path = folder / "image_converter.json"
    converter = json.loads(path.read_text())
    converter["config"] |= change
    path.unlink()
    path.write_text(json.dumps(converter))
    return folder


@pytest.mark.parametrize("change", [{"scale": "much"}, {"scale": 0.0}, {"image_size": 224}])
def test_converters_that_cannot_be_used(change, preset, tmp_path):
    folder = converting(tmp_path / "changed", preset, change)
    with pytest.raises(InputError, match="has a converter that cannot be used"):
        zoo.get("resnet18", weights=folder)


@pytest.mark.parametrize(
    ("scale", "offset", "mean", "std"),
    [
        ([1 / 50, 1 / 60, 1 / 70], [-2.0, -1.5, -1.0], (100, 90, 70), (50, 60, 70)),
        (1 / 127.5, -1.0, (127.5,) * 3, (127.5,) * 3),
        (1 / 255, [-0.5, -0.4, -0.2], (127.5, 102, 51), (255,) * 3),
        ([1 / 50, 1 / 60, 1 / 70], 0.0, (0,) * 3, (50, 60, 70)),
    ],
)
def test_numbers_or_lists_of_a_converter_are_its_normalization(
    scale, offset, mean, std, preset, tmp_path
):
    folder = converting(tmp_path / "changed", preset, {"scale": scale, "offset": offset})
    file = zoo.weights.find("resnet18", folder)[1]
    assert file.options["mean"] == pytest.approx(mean, abs=1e-9)
    assert file.options["std"] == pytest.approx(std)


def test_the_converters_normalization_is_taken(preset, tmp_path):
    """And not that of most presets: other pixels, which come to the same, are answered alike."""
    change = {"scale": [1 / 50, 1 / 60, 1 / 70], "offset": [-2.0, -1.5, -1.0]}
    folder = converting(tmp_path / "changed", preset, change)
    model = zoo.get("resnet18", weights=folder, input_shape=(None, None, 3))
    height, width = kerashub_parity.SIZES[0]
    mean, std = (np.array(values) * 255 for values in IMAGENET)
    pixels = (parity.images(height, width) - mean) / std * (50, 60, 70) + (100, 90, 70)
    with np.load(kerashub_parity.ANSWERS) as answers:
        expected = answers[f"resnet18 {height}x{width}"]
    assert difference(model(pixels.astype("float32")), expected) < TOLERANCE
    assert difference(model(parity.images(height, width)), expected) > 100 * TOLERANCE
    with pytest.raises(InputError, match="mean belongs to the weights"):
        zoo.get("resnet18", weights=folder, mean=(0, 0, 0))


def test_a_converter_that_stretches_leaves_it_to_the_user(preset, tmp_path):
    """Its normalization is known; how images are shown must be assumed, which is said."""
    change = {"crop_to_aspect_ratio": False, "scale": 1 / 255, "offset": 0.0}
    file = zoo.weights.find("resnet18", converting(tmp_path / "changed", preset, change))[1]
    assert file.options["mean"] == (0, 0, 0)
    assert file.assumed


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
