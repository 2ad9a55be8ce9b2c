"""VGG networks with other projects' weights answer as those projects' own networks do."""

import sys

import keras
import numpy as np
import parity
import pytest
import vgg_parity
from recorded import difference
from safetensors.numpy import save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError

RECORD = vgg_parity.RECORD
TOLERANCE = 5e-6


@pytest.mark.parametrize(
    "name",
    [
        "vgg16",
        "vgg19_bn",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("vgg16_bn", "vgg19")),
    ],
)
def test_logits_of_thin_torch_networks(name, tmp_path):
    """Also where bins of the pooled features overlap, and where they repeat rows."""
    path = RECORD.torch_file(tmp_path / "thin.safetensors", f"thin {name}", prefix="module.")
    model = zoo.get(name, weights=path, input_shape=(None, None, 3))
    assert model.output_shape == (None, vgg_parity.CLASSES)
    for size in vgg_parity.SIZES:
        expected = RECORD.logits(f"thin {name}", *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        # What is compared depends on the image.
        assert difference(expected[:1], expected[1:]) > 20 * TOLERANCE


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.parametrize("name", vgg_parity.FULL)
def test_logits_of_torch_networks(name, tmp_path):
    path = RECORD.torch_file(tmp_path / f"{name}.safetensors", name)
    model = zoo.get(name, weights=path, input_shape=(None, None, 3))
    for size in vgg_parity.FULL_SIZES:
        expected = RECORD.logits(name, *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE


def test_the_first_hidden_layer_is_permuted_and_not_only_loaded(tmp_path, monkeypatch):
    path = RECORD.torch_file(tmp_path / "thin.safetensors", "thin vgg16")
    vggs = zoo.networks.find("vgg16").files
    monkeypatch.setattr(vggs, "_channels_last", lambda kernel: kernel)
    model = zoo.get("vgg16", weights=path, input_shape=(224, 224, 3))
    expected = RECORD.logits("thin vgg16", 224, 224)
    assert difference(model(parity.images(224, 224)), expected) > 1e-2


def test_features_of_keras_applications(tmp_path):
    """Its own code writes the file; the released ones have other names of variables."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    source = keras.applications.VGG16(weights=None, include_top=False, input_shape=(45, 64, 3))
    # As thin as the others: its own builder has no widths.
    config = source.get_config()
    for layer in config["layers"]:
        if "filters" in layer["config"]:
            layer["config"]["filters"] //= 16
        layer.pop("build_config", None)
    source = keras.Model.from_config(config)
    for v in source.variables:
        shape = tuple(v.shape)
        v.assign(parity.weights(v.path, shape, int(np.prod(shape[:-1]))))
    path = tmp_path / "vgg16_notop.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
    images = parity.images(45, 64)
    pixels = keras.applications.vgg16.preprocess_input(images.astype("float32"))
    expected = keras.Model(source.input, source.get_layer("block5_conv3").output)(pixels)
    model = zoo.backbone("vgg16", weights=path, endpoints="conv5", input_shape=(None, None, 3))
    assert difference(model(images)["conv5"], np.asarray(expected)) < TOLERANCE
    renamed = tmp_path / "older.h5"
    with h5py.File(path) as file, h5py.File(renamed, "w") as older:
        for layer, group in file.items():
            values = group.get(layer, {})
            for name, leaf in {"kernel": "W_1:0", "bias": "b_1:0"}.items():
                if name in values:
                    older.create_group(layer) if layer not in older else None
                    older[f"{layer}/{layer}_{leaf}"] = values[name][()]
            if layer in older:
                older[layer].attrs["weight_names"] = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
    model = zoo.backbone("vgg16", weights=renamed, endpoints="conv5", input_shape=(None, None, 3))
    assert difference(model(images)["conv5"], np.asarray(expected)) < TOLERANCE


def test_files_of_other_networks_are_named(tmp_path):
    path = RECORD.torch_file(tmp_path / "thin.safetensors", "thin vgg19")
    with pytest.raises(InputError, match=r"holds weights of vgg19, not of vgg16: ask for vgg19"):
        zoo.get("vgg16", weights=path)
    with pytest.raises(InputError, match="of these vgg16, vgg16_bn"):
        zoo.get("resnet18", weights=path)
    alexnet = {"features.0.weight": np.zeros((64, 3, 11, 11), "float32")}
    save_file(alexnet, path)
    with pytest.raises(InputError, match="of no VGG network that is known here"):
        zoo.get("vgg16", weights=path)
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), "float32")}, path)
    with pytest.raises(InputError, match="of no VGG network that is known here"):
        zoo.get("vgg16", weights=path)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
