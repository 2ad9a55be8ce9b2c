"""Files of ResNeXt, wide, C, D and SE networks are told from one another and from the paper's."""

import sys

import keras
import numpy as np
import pytest
import variant_parity
from safetensors.numpy import save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError

RECORD = variant_parity.RECORD


def torch_file(path, name):
    """A file with the names and shapes of a project's network, and zeros."""
    save_file({key: np.zeros(shape, "float32") for key, shape in RECORD.tensors[name]}, path)
    return path


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("resnext50_32x4d", "resnet50", "of resnext50_32x4d, not of resnet50: ask for resnext50_3"),
        (
            "wide_resnet50_2",
            "resnet50",
            "of wide_resnet50_2, not of resnet50: ask for wide_resnet5",
        ),
        ("wide_resnet50_2", "resnext50_32x4d", "of wide_resnet50_2, .*: ask for wide_resnet50_2"),
        ("seresnet18", "resnet18", "a squeeze-and-excitation network, .* ask for seresnet50 or"),
        ("resnet18d", "resnet18", "a ResNet with a deep stem, .*resnet18d.* are read"),
        ("resnet50c", "resnet50d", "are weights of resnet50c, not of resnet50d: ask for resnet50c"),
        ("resnet50d", "resnet50c", "are weights of resnet50d, not of resnet50c: ask for resnet50d"),
        ("resnet18d", "resnet50d", "of resnet18d, not of resnet50d: ask for resnet18d"),
        ("resnet50d", "seresnet50", "shortcuts pool where dimensions grow"),
        ("seresnet18", "resnet18d", "shortcuts do not pool"),
        ("seresnet18", "seresnet50", "of seresnet18, not of seresnet50: ask for seresnet18"),
        ("seresnet50", "legacy_seresnet50", "of seresnet50, not .*: ask for seresnet50"),
        ("legacy_seresnet50", "seresnet50", "of legacy_seresnet50, .*: ask for legacy_seresnet50"),
        ("legacy_seresnext50_32x4d", "seresnext50_32x4d", "ask for legacy_seresnext50_32x4d"),
        ("seresnext50_32x4d", "seresnet50", "of seresnext50_32x4d, .*: ask for seresnext50_32x4d"),
        ("legacy_seresnet18", "resnet18", "a squeeze-and-excitation network of its authors: of"),
    ],
)
def test_torchs_files_of_others_are_named(name, asked, words, tmp_path):
    path = torch_file(tmp_path / "file.safetensors", name)
    with pytest.raises(InputError, match=words):
        zoo.get(asked, weights=path)


OPTIONS = {"input_shape": (16, 16, 3), "num_classes": 3}


@pytest.mark.parametrize(
    ("name", "options", "asked", "words"),
    [
        ("resnet8d", {}, "resnet8", "shortcuts pool"),
        ("resnet8", {"shortcut": "B"}, "resnet8d", "shortcuts do not pool"),
        ("seresnet8", {}, "resnet8", "a squeeze-and-excitation network"),
        ("resnext11_2x8d", {}, "resnext11_4x8d", "of resnext11_2x8d, .*: ask for resnext11_2x8d"),
    ],
)
def test_keras_weights_of_others_are_named(name, options, asked, words, tmp_path):
    path = tmp_path / "model.weights.h5"
    zoo.get(name, **OPTIONS, **options).save_weights(path)
    with pytest.raises(InputError, match=words):
        zoo.get(asked, weights=path)


def test_one_group_is_loaded_by_its_name(tmp_path):
    model = zoo.get("resnext11_1x16d", **OPTIONS)
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = zoo.get("resnext11_1x16d", weights=tmp_path / "model.weights.h5")
    kernel = "conv4_block1_2_conv"
    np.testing.assert_array_equal(loaded.get_layer(kernel).kernel, model.get_layer(kernel).kernel)


@pytest.mark.slow
def test_an_encoder_beside_a_decoder_with_a_stem_of_three(tmp_path):
    """As segmentation models are laid out: the decoder's blocks have a `conv1.0.weight`, too."""
    tensors = RECORD.torch_weights("seresnet18")
    tensors = {f"encoder.{key}": value for key, value in tensors.items()}
    tensors["decoder.blocks.0.conv1.0.weight"] = np.zeros((8, 8, 3, 3), "float32")
    save_file(tensors, tmp_path / "file.safetensors")
    with pytest.warns(UserWarning, match="the network encoder"):
        model = zoo.get("seresnet18", weights=tmp_path / "file.safetensors", include_top=False)
    expected = tensors["encoder.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model.get_layer("conv1_conv").kernel), expected
    )


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
