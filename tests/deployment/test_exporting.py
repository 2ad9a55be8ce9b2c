"""Networks of every family as files, what a target cannot take, and calibrations that are none."""

import os
import sys
import warnings

import keras
import numpy as np
import pytest

from resnet_keras import deployment, pipelines, zoo
from resnet_keras.deployment import calibration, exporting, formats
from resnet_keras.deployment.calibration import Inputs
from resnet_keras.deployment.exporting import About, export
from resnet_keras.errors import InputError

FAMILIES = {
    "resnet8": {"shortcut": "A"},
    "seresnet20": {},
    "preact_resnet20": {},
    "densenet_bc22_12": {},
    "resnext29_2x8d": {},
    "wrn10_1": {},
    "resnet50d": {"width": 0.125},
    "vgg16": {"width": 8, "hidden": 16},
}


def network(name="resnet8", **options):
    keras.utils.set_random_seed(0)
    return zoo.get(name, num_classes=10, input_shape=(32, 32, 3), **options)


@pytest.fixture(scope="module")
def small():
    return network()


def images(count=16, low=0, high=256, side=32):
    pixels = np.random.default_rng(0).integers(low, high, (count, side, side, 3))
    return Inputs(pixels.astype("uint8"), "noise")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("format", formats.FORMATS)
def test_every_family(name, format, tmp_path):
    """With their normal numbers, and in int8 where there is such a file."""
    accepted = zoo.networks.find(name).accepted
    options = {key: value for key, value in FAMILIES[name].items() if key in accepted}
    model = network(name, **options)
    pixels, _ = pipelines.arrays("digits", "trainval", image_size=32)
    for quantize in ("none", "int8"):
        if quantize not in formats.FORMATS[format].quantizations:
            continue
        found = export(
            model,
            tmp_path / quantize,
            format=format,
            quantize=quantize,
            about=About(name),
            compared=Inputs(pixels[-32:], "digits"),
            calibration=Inputs(pixels[:400], "digits"),
        )
        # In int8 a network without training, whose logits are nearly alike.
        assert found.difference["largest"] <= (1e-5 if quantize == "none" else 0.2)
        assert deployment.read(tmp_path / quantize) == found


def igamma(width=16, **shared):
    """A network with an operation that no small runtime has."""
    from resnet_keras.networks.blocks import conv_bn_relu
    from resnet_keras.networks.network import network

    class Igamma(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.math.igamma(tf.ones_like(x), x)

    def trunk(x, norm, drop_rates):
        return Igamma()(conv_bn_relu(x, width, 3, 1, "conv1", norm))

    return network(trunk, blocks=(), residual=False, **shared)


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("litert", "LiteRT has no built-in operations for this network"),
        ("onnx", "ONNX has no operations Igamma"),
        ("openvino", "OpenVINO cannot take this network"),
    ],
)
def test_an_operation_that_the_target_cannot_take(format, words, tmp_path):
    model = igamma(num_classes=10, input_shape=(32, 32, 3))
    with pytest.raises(InputError, match=words) as error:
        export(model, tmp_path / "x", format=format, about=About("mine"), compared=images())
    assert "\n" not in str(error.value)
    assert not os.listdir(tmp_path)


def test_a_file_that_answers_otherwise_is_not_written(small, tmp_path, monkeypatch):
    monkeypatch.setitem(exporting.LIMITS, "none", 0.0)
    with pytest.raises(InputError, match=r"differ from the network's by .* Nothing was written"):
        export(small, tmp_path / "x", format="openvino", about=About("x"), compared=images())
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "is calibrated with images"),
        (images(199), "calibration_images=199 are too few"),
        (images(200, side=16), "are 16 x 16 pixels, and the network takes 32 x 32"),
        (images(200, low=1), "run from 1 to 255, and must reach 0 and 255"),
        (images(200, high=250), "run from 0 to 249"),
    ],
)
def test_calibrations_that_are_none(given, words, small, tmp_path):
    for format in ("litert", "onnx"):
        with pytest.raises(InputError, match=words):
            export(
                small,
                tmp_path / "x",
                format=format,
                quantize="int8",
                about=About("x"),
                compared=images(),
                calibration=given,
            )
    assert not os.listdir(tmp_path)


def test_arguments_that_contradict_each_other(small, tmp_path):
    about = {"about": About("x"), "compared": images()}
    with pytest.raises(InputError, match="no quantize=int8 of OpenVINO"):
        export(small, tmp_path / "x", format="openvino", quantize="int8", **about)
    with pytest.raises(InputError, match="batch_size must be positive"):
        export(small, tmp_path / "x", format="onnx", batch_size=0, **about)
    with pytest.raises(InputError, match="already"):
        export(small, tmp_path, format="onnx", **about)
    named = {**about, "about": About("x", class_names=[*map(str, range(9)), "one\ntwo"])}
    with pytest.raises(InputError, match="not one line of labels"):
        export(small, tmp_path / "x", format="onnx", **named)
    free = zoo.get("resnet8", num_classes=10, input_shape=(None, None, 3))
    with pytest.raises(InputError, match="LiteRT takes images of one size"):
        export(free, tmp_path / "x", format="litert", **about)
    assert not os.listdir(tmp_path)


def test_the_table_of_formats():
    """What each format has, and a reason for what it has not."""
    table = {name: f.quantizations for name, f in formats.FORMATS.items()}
    assert table == {
        "savedmodel": ("none",),
        "litert": ("none", "float16", "dynamic", "int8"),
        "onnx": ("none", "float16", "int8"),
        "openvino": ("none", "float16"),
    }
    for name, has in table.items():
        for quantize in formats.QUANTIZATIONS:
            if quantize in has:
                assert formats.check(name, quantize) is formats.FORMATS[name]
            else:
                with pytest.raises(InputError, match=f"There is no quantize={quantize} of .+, "):
                    formats.check(name, quantize)


def test_data_of_digits_and_cifar():
    data = calibration.Data("digits", zoo.Preprocessing(16, 16))
    chosen = data.calibrating(250)
    assert chosen.values.shape == (250, 16, 16, 3)
    assert chosen.origin == "digits/trainval[:250]"
    np.testing.assert_array_equal(chosen.values, data.calibrating(250).values)
    assert data.calibrating().values.shape[0] == 1437
    assert data.compared().origin == "digits/test[:360]"
    with pytest.raises(InputError, match="images of side 16 and cifar10 has 32"):
        calibration.Data("cifar10", zoo.Preprocessing(16, 16)).compared()
    with pytest.raises(InputError, match="series"):
        calibration.Data("digits_series", zoo.Preprocessing(16, 16)).compared()


def test_calibration_sees_all_images_in_full_batches():
    images = np.arange(7, dtype="uint8")
    seen = [batch.tolist() for batch in calibration.batches(images, 3)]
    assert seen == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    assert [batch.tolist() for batch in calibration.batches(images[:2], 3)] == [[0, 1, 0]]
    assert next(calibration.batches(images, 3)).dtype == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_more_images_at_once_than_calibrate(format, small, tmp_path):
    pixels, _ = pipelines.arrays("digits", "trainval", image_size=32)
    found = export(
        small,
        tmp_path / "x",
        format=format,
        quantize="int8",
        about=About("resnet8"),
        compared=Inputs(pixels[-32:], "digits"),
        calibration=Inputs(pixels[:220], "digits"),
        batch_size=256,
    )
    assert found.calibration["images"] == 220
    assert found.difference["largest"] <= 0.2  # of a network without training


def test_a_small_calibration_is_warned_of(monkeypatch):
    data = calibration.Data("digits", zoo.Preprocessing(16, 16))
    monkeypatch.setattr(calibration.Data, "_examples", lambda self, split: 300)
    with pytest.warns(UserWarning, match="digits/trainval has 300 images .* 1,000 are better"):
        assert len(data.calibrating().values) == 300
    with warnings.catch_warnings():  # as many as were asked for
        warnings.simplefilter("error")
        data.calibrating(300)


@pytest.mark.slow
def test_data_of_photographs(photographs, monkeypatch):
    """What calibrates is not compared with; too few images are refused."""
    shown = zoo.Preprocessing(32, 40)
    data = calibration.Data("folder", shown, str(photographs))
    with pytest.raises(InputError, match="folder/train has 48 images, and a calibration takes 200"):
        data.calibrating()
    monkeypatch.setattr(calibration, "LEAST", 20)
    monkeypatch.setattr(calibration, "ENOUGH", 30)
    monkeypatch.setattr(calibration, "COMPARED", 16)
    chosen, compared = data.calibrating(), data.compared()
    assert (len(chosen.values), len(compared.values)) == (32, 16)
    seen = {image.tobytes() for image in chosen.values}
    assert not [image for image in compared.values if image.tobytes() in seen]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
