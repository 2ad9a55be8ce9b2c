"""What a network was built with is recorded in it; in older files its layers tell."""

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import written
from safetensors import safe_open

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import resnet
from resnet_keras.zoo import weights

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model", "ignore:resnet|plain")
ROOT = Path(__file__).parents[3]
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
    row, recorded = weights.record.of(model)
    model.get_layer("normalization").network = None
    assert weights.record.of(model) == (row, recorded)
    assert row == zoo.networks.find(name)
    assert recorded.items() >= options.items()


@pytest.mark.parametrize("kind", written.OWN)
def test_a_builders_own_network_is_written_and_read(kind, tmp_path):
    """It has no record, nor had networks of earlier versions."""
    model = written.randomize(resnet.cifar_resnet(8, shortcut="C", epsilon=1e-3, **SMALL))
    assert model.get_layer("normalization").network is None
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
    assert record == {
        "model": "resnet8",
        "arguments": {"depth": 8},
        "options": {"shortcut": "B"},
    }


def test_a_network_keeps_its_record():
    model = zoo.get("resnet8", shortcut="B", **SMALL)
    record = model.get_layer("normalization").network
    for copy in (
        keras.models.clone_model(model),
        keras.Model.from_config(model.get_config()),
        zoo.backbone("resnet8", shortcut="B", input_shape=(32, 32, 3)),
    ):
        assert copy.get_layer("normalization").network == record
    record["options"]["shortcut"] = "C"  # a copy
    assert model.get_layer("normalization").network != record


def changed_epsilon(model):
    for layer in model.layers:
        if layer.name.endswith("_bn"):
            layer.epsilon = 0.01
    return model


def larger(model):
    clone = keras.models.clone_model(model, keras.Input((48, 48, 3)))
    clone.set_weights(model.get_weights())
    return clone


def other_head(model):
    pooled = model.get_layer("avg_pool").output
    return keras.Model(model.input, keras.layers.Dense(5, name="logits")(pooled))


def without_head(model):
    return keras.Model(model.input, model.get_layer("avg_pool").output)


@pytest.mark.parametrize(
    "change",
    [
        changed_epsilon,
        pytest.param(larger, marks=pytest.mark.slow),
        pytest.param(other_head, marks=pytest.mark.slow),
        without_head,
    ],
)
def test_what_was_changed_since_is_told_by_the_layers(change, tmp_path):
    model = written.randomize(change(zoo.get("resnet8", shortcut="B", **SMALL)))
    images = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), "uint8")
    for kind in ("folder", "w.safetensors", "w.keras"):
        path = written.write(model, tmp_path, kind)
        loaded = zoo.get("resnet8", weights=path)
        assert loaded.input_shape == model.input_shape
        written.equal(loaded(images), model(images))


def test_epsilons_that_differ_are_refused(tmp_path):
    model = zoo.get("resnet8", **SMALL)
    model.get_layer("conv1_bn").epsilon = 0.5
    with pytest.raises(InputError, match=r"not a network as zoo\.get builds them"):
        zoo.save(model, tmp_path / "mine")
    with pytest.raises(InputError, match=r"not a network as zoo\.get builds them"):
        weights.save(tmp_path / "w.safetensors", model)
    model.save(tmp_path / "w.keras")
    with pytest.raises(InputError, match="several epsilons"):
        zoo.get("resnet8", weights=tmp_path / "w.keras")


@pytest.mark.parametrize("kind", ["w.safetensors", "w.keras", "w.weights.h5", written.TORCH])
def test_finding_weights_does_not_import_keras(kind, tmp_path):
    """The commands do it before they choose the backend and the processor's settings."""
    path = written.write(zoo.get("resnet8", shortcut="B", **SMALL), tmp_path, kind)
    code = """
        import sys
        from resnet_keras import zoo
        zoo.weights.find("resnet8", sys.argv[1])
        assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
        """
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_record_that_cannot_be(tmp_path):
    model = zoo.get("resnet8", **SMALL)
    path = tmp_path / "w.keras"
    for record in (
        {"model": "resnet8", "arguments": {"depth": 8}, "options": {"shortcut": "Z"}},
        {"model": "resnet8", "options": ["A"]},
        {"model": "resnet8"},
        {"model": 8, "options": {}},
        {"model": "plain8", "arguments": {"depth": 8}, "options": {}},
        {"model": "resnet8", "arguments": {"depth": 14}, "options": {}},
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
