"""What a network was built with is recorded in it; in older files its layers tell."""

import json
import zipfile

import keras
import numpy as np
import pytest
import written
from safetensors import safe_open

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import network, resnet
from resnet_keras.zoo import weights

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model", "ignore:resnet|plain")
SMALL = {"num_classes": 3, "input_shape": (32, 32, 3)}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
CASES = [
    ("resnet8", {}),
    ("resnet8", {"shortcut": "C", "stochastic_depth": 0.2, "dropout": 0.1}),
    ("plain14", {"epsilon": 1e-3}),
    ("plain18", {"dtype": "mixed_bfloat16"}),
    ("resnet18", {"include_top": False, "pooling": "max"}),
    ("resnet50", {"stride_in_1x1": False, "shortcut": "A"}),
]


def built(name, options):
    given = {**SMALL, **options}
    if options.get("include_top") is False:
        del given["num_classes"]
    return zoo.get(name, **given)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_layers_tell_what_is_recorded(name, options):
    """So that files from before there were records are read as they were."""
    model = built(name, options)
    recorded_name, recorded = weights.record.of(model)
    model.get_layer("normalization").network = None
    described_name, described = weights.record.of(model)
    assert recorded_name == described_name == name
    row = zoo.networks.find(name)
    stored = weights.record.stored
    assert stored(row, recorded) == stored(row, described)
    for option, value in options.items():
        assert recorded[option] == value


@pytest.mark.parametrize("kind", written.OWN)
def test_a_builders_own_network_is_written_and_read(kind, tmp_path):
    """It has no record, nor had networks of earlier versions."""
    model = written.randomize(resnet.cifar_resnet(8, shortcut="C", epsilon=1e-3, **SMALL))
    assert network.recorded(model) is None
    path = written.write(model, tmp_path, kind)
    untold = {} if kind != "w.weights.h5" else {"epsilon": 1e-3, "input_shape": (32, 32, 3)}
    loaded = zoo.get("resnet8", weights=path, **untold)
    written.equal(loaded(IMAGES), model(IMAGES))
    if kind in ("w.keras", "w.h5"):
        with pytest.raises(InputError, match="weights of resnet8, not of resnet14: ask for"):
            zoo.get("resnet14", weights=path)


def test_every_file_says_name_and_options(tmp_path):
    model = zoo.get("resnet8", shortcut="B", **SMALL)
    expected = {
        "shortcut": "B",
        "epsilon": 1e-5,
        "include_top": True,
        "num_classes": 3,
        "input_shape": [32, 32, 3],
    }
    weights.save(tmp_path / "w.safetensors", model)
    header = json.loads(safe_open(tmp_path / "w.safetensors", "numpy").metadata()["resnet_keras"])
    assert (header["model"], header["options"]) == ("resnet8", expected)
    zoo.save(model, tmp_path / "mine", preprocessing=zoo.Preprocessing(32, 32))
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert config["options"] == {**expected, "dtype": "float32"}
    model.save(tmp_path / "w.keras")
    config = json.loads(zipfile.ZipFile(tmp_path / "w.keras").read("config.json"))
    (record,) = [
        layer["config"]["network"]
        for layer in config["config"]["layers"]
        if layer["config"]["name"] == "normalization"
    ]
    assert record["model"] == "resnet8"
    assert record["options"].items() >= expected.items()


def test_a_network_keeps_its_record():
    model = zoo.get("resnet8", shortcut="B", **SMALL)
    record = network.recorded(model)
    assert record
    for copy in (
        keras.models.clone_model(model),
        keras.Model.from_config(model.get_config()),
        zoo.backbone("resnet8", shortcut="B", input_shape=(32, 32, 3)),
    ):
        own = network.recorded(copy)
        assert own
        assert own["model"] == "resnet8"
        assert own["options"]["shortcut"] == "B"
    record["options"]["shortcut"] = "C"  # a copy
    assert network.recorded(model) != record


def test_a_clone_for_other_pixels_says_its_own_size(tmp_path):
    model = zoo.get("resnet8", **SMALL)
    clone = keras.models.clone_model(model, keras.Input((48, 48, 3), name="pixels"))
    clone.set_weights(model.get_weights())
    zoo.save(clone, tmp_path / "mine")
    assert zoo.get(tmp_path / "mine").input_shape == (None, 48, 48, 3)


def test_a_record_that_cannot_be(tmp_path):
    model = zoo.get("resnet8", **SMALL)
    path = tmp_path / "w.keras"
    for record in (
        {"model": "resnet8", "options": {"shortcut": "Z"}},
        {"model": "resnet8", "options": ["A"]},
        {"model": "resnet8"},
        {"model": 8, "options": {}},
        {"model": "plain8", "options": {}},
        {"model": "resnet50\n", "options": {}},
    ):
        model.get_layer("normalization").network = record
        model.save(path)
        with pytest.raises(InputError) as error:
            zoo.get("resnet8", weights=path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
