"""Networks written for others, and the generated pages."""

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from resnet_keras import predict, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import layers
from resnet_keras.zoo import pages

ROOT = Path(__file__).parents[3]
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")


def logits(model, images=IMAGES):
    return np.asarray(model(images))


def test_a_published_network_comes_back_to_the_bit(tmp_path):
    model = zoo.get("resnet20", weights="digits")
    zoo.save(model, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = zoo.get(tmp_path / "mine")
    np.testing.assert_array_equal(logits(again), logits(model))
    network, file = zoo.weights.find(tmp_path / "mine", None)
    assert network.name == again.name == "resnet20"
    assert file is not None
    assert file.class_names == tuple("0123456789")
    assert file.preprocessing == zoo.Preprocessing(16, 16)
    assert file.training["began as"].startswith("resnet20 digits: trained with this package")
    # A second generation keeps what the first knew.
    zoo.save(again, tmp_path / "again")
    config = (tmp_path / "mine" / "config.json").read_text()
    assert (tmp_path / "again" / "config.json").read_text() == config


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"shortcut": "A", "num_classes": 3, "input_shape": (64, 64, 3)}),
        pytest.param(
            "resnet50",
            {"stride_in_1x1": False, "epsilon": 1e-3, "input_shape": (None, None, 3)},
            marks=pytest.mark.slow,
        ),
        ("resnet14", {"shortcut": "C", "include_top": False, "pooling": "max"}),
        ("plain18", {"include_top": False, "input_shape": (64, 64, 1)}),
        ("resnet8", {"shortcut": "C", "mean": (9,), "std": (8,), "input_shape": (32, 32, 1)}),
        ("resnet14", {"shortcut": "B"}),
        ("plain8", {"mean": np.arange(32 * 32 * 3).reshape(32, 32, 3), "std": (1, 2, 3)}),
    ],
)
def test_every_option_comes_back(name, options, tmp_path):
    model = zoo.get(name, **options)
    for v in model.variables:
        if "moving" in v.path:
            v.assign(np.random.default_rng(0).uniform(0.5, 1.5, v.shape))
    zoo.save(model, tmp_path / "mine")
    again = zoo.get(tmp_path / "mine")
    assert again.name == name
    assert (again.input_shape, again.output_shape) == (model.input_shape, model.output_shape)
    side, channels = model.input_shape[1] or 64, model.input_shape[3]
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, channels), "uint8")
    np.testing.assert_array_equal(logits(again, images), logits(model, images))
    count = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert f"{count:,} parameters" in (tmp_path / "mine" / "README.md").read_text()


def test_weights_pass_to_and_from_networks_that_drop(tmp_path):
    """The drops are of the training: no file has them or lacks anything for want of them."""
    drops = {"stochastic_depth": 0.2, "dropout": 0.3}
    shape = (16, 16, 3)
    zoo.weights.save(tmp_path / "w.safetensors", zoo.get("resnet8", input_shape=shape))
    plain = zoo.get("resnet8", weights=tmp_path / "w.safetensors")
    model = zoo.get("resnet8", weights=tmp_path / "w.safetensors", **drops)
    assert model.get_layer("conv4_block1_drop").rate == 0.2
    assert len(model.variables) == len(plain.variables) + 4
    np.testing.assert_array_equal(logits(model), logits(plain))
    zoo.save(model, tmp_path / "mine")
    zoo.save(plain, tmp_path / "plain")
    for name in ("config.json", "model.safetensors"):
        written = [(tmp_path / folder / name).read_bytes() for folder in ("mine", "plain")]
        assert written[0] == written[1]
    model.save(tmp_path / "model.keras")
    for weights in (tmp_path / "model.keras", tmp_path / "mine"):
        for options in (drops, {}):
            again = zoo.get("resnet8", weights=weights, **options)
            np.testing.assert_array_equal(logits(again), logits(plain))
            assert len(again.variables) - len(again.weights) == 4 * bool(options)
    again = zoo.get(tmp_path / "mine", dropout=0.1)
    assert [x.name for x in again.layers if "drop" in x.name] == ["dropout"]
    model.save_weights(tmp_path / "of_drops.weights.h5")
    plain.save_weights(tmp_path / "plain.weights.h5")
    plain.load_weights(tmp_path / "of_drops.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    again = zoo.get("resnet8", weights=tmp_path / "of_drops.weights.h5", input_shape=shape)
    np.testing.assert_array_equal(logits(again), logits(plain))


def test_a_folder_called_as_a_network_does_not_take_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.save(zoo.get("resnet8", num_classes=2), "resnet20")
    assert zoo.get("resnet20").output_shape == (None, 10)
    assert zoo.get("resnet20", weights="digits").output_shape == (None, 10)
    assert zoo.info("resnet20").parameters == 269_722
    for folder in ("./resnet20", Path("resnet20")):
        assert zoo.get(folder).name == "resnet8"
    assert zoo.get("resnet8", weights="./resnet20").output_shape == (None, 2)


def test_a_runs_folder_is_taken_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    last, best = (zoo.get("resnet8", num_classes=3) for _ in range(2))
    zoo.weights.save(run / "best.safetensors", best)
    with pytest.raises(InputError, match=r"no folder of zoo.save's"):
        zoo.get("runs/mine")
    (run / "run.flags").write_text("--model=resnet8\n")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    with pytest.warns(UserWarning, match=r"that has not ended: its best\.safetensors is taken\."):
        np.testing.assert_array_equal(zoo.get("runs/mine")(images), best(images))
    zoo.weights.save(run / "weights.safetensors", last)
    for call in (
        lambda: zoo.get(run),
        lambda: zoo.get("runs/mine"),
        lambda: zoo.get("resnet8", weights=run),
        lambda: zoo.get("resnet8", weights="runs/mine"),
    ):
        said = r"a run: its weights\.safetensors is taken; best\.safetensors is there too\."
        with pytest.warns(UserWarning, match=said):
            np.testing.assert_array_equal(call()(images), last(images))
    with pytest.raises(InputError, match="one of its files as `weights` of the network resnet8"):
        zoo.get(run, weights="best")
    with pytest.raises(InputError, match=r"is a file: give it as `weights` of its network\."):
        zoo.get("runs/mine/best.safetensors")
    best_of_run = zoo.get("resnet8", weights="runs/mine/best.safetensors")
    np.testing.assert_array_equal(best_of_run(images), best(images))
    keras.utils.save_img(tmp_path / "image.png", images[0])
    assert predict.main(["predict", "--model=runs/mine", "image.png"]) == 0
    assert "warning: runs/mine is the folder of a run" in capsys.readouterr().err


def test_mixed_precision_comes_back(tmp_path):
    model = zoo.get("resnet20", weights="digits", dtype="mixed_bfloat16")
    zoo.save(model, tmp_path / "mine")
    np.testing.assert_array_equal(logits(zoo.get(tmp_path / "mine")), logits(model))
    plain = zoo.get(tmp_path / "mine", dtype="float32")
    exact = zoo.get("resnet20", weights="digits")
    np.testing.assert_array_equal(logits(plain), logits(exact))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"training": {"accuracy": np.float32(0.5)}}, "JSON"),
        ({"preprocessing": (300, 200, "bilinear")}, "a crop of 300"),
        ({"preprocessing": (32, 32, "lanczos")}, "lanczos"),
        ({"preprocessing": 3}, "cannot be written"),
    ],
)
def test_what_cannot_be_said_of_a_network(given, words, tmp_path):
    with pytest.raises(InputError, match=words):
        zoo.save(zoo.get("resnet8", num_classes=2), tmp_path / "mine", **given)
    assert not (tmp_path / "mine").exists()


def test_any_sequence_of_names_and_odd_ones(tmp_path):
    model = zoo.get("resnet8", num_classes=3)
    zoo.save(model, tmp_path / "mine", class_names=np.array(["a|b", "line\nbreak", "c"]))
    assert "a\\|b, line break, c" in (tmp_path / "mine" / "README.md").read_text()
    assert zoo.weights.find(tmp_path / "mine", None)[1].class_names == ("a|b", "line\nbreak", "c")


def test_a_frozen_network_is_published_whole(tmp_path):
    model = zoo.get("resnet20", weights="digits")
    zoo.freeze(model, "conv3")
    zoo.save(model, tmp_path / "mine")
    assert "269,722 parameters" in (tmp_path / "mine" / "README.md").read_text()
    assert len(zoo.get(tmp_path / "mine").trainable_variables) == 59


def test_a_backbone_of_a_published_network(tmp_path):
    zoo.save(zoo.get("resnet20", weights="digits"), tmp_path / "mine")
    ours = zoo.backbone(tmp_path / "mine", endpoints="conv4")(IMAGES)["conv4"]
    theirs = zoo.backbone("resnet20", weights="digits", endpoints="conv4")(IMAGES)["conv4"]
    np.testing.assert_array_equal(ours, theirs)


def test_what_is_said_of_a_network_is_kept(tmp_path):
    model = zoo.get("resnet8", num_classes=2)
    zoo.save(
        model,
        tmp_path / "mine",
        preprocessing=zoo.Preprocessing(32, 40, "bicubic"),
        class_names=["cat", "dog"],
        licence="MIT",
        training={"epochs": 3},
    )
    _, file = zoo.weights.find(tmp_path / "mine", None)
    assert file is not None
    assert file.preprocessing == zoo.Preprocessing(32, 40, "bicubic")
    assert file.class_names == ("cat", "dog")
    assert file.training == {"epochs": 3}
    card = (tmp_path / "mine" / "README.md").read_text()
    assert card.startswith('---\nlicense: "mit"\nlibrary_name: keras\n')
    for words in ("2: cat, dog", "| epochs | 3 |", "shorter side 40 (bicubic)", "not measured"):
        assert words in card
    # A new head has other classes.
    head = zoo.get(tmp_path / "mine", num_classes=5)
    zoo.save(head, tmp_path / "five")
    assert "5 without names" in (tmp_path / "five" / "README.md").read_text()


def test_what_cannot_be_published(tmp_path):
    model = zoo.get("resnet8", num_classes=2)
    with pytest.raises(InputError, match=r"3 class_names do not fit"):
        zoo.save(model, tmp_path / "mine", class_names=["a", "b", "c"])
    added = keras.Model(model.input, keras.layers.Softmax()(model.output))
    part = zoo.backbone("resnet8", endpoints="conv3")
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    for other in (added, dense, part):
        with pytest.raises(InputError, match=r"model\.save"):
            zoo.save(other, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    with pytest.raises(InputError, match="/proc/nowhere"):
        zoo.save(model, "/proc/nowhere")


def test_networks_that_are_not_square(tmp_path, photographs, capsys):
    wide = {"input_shape": (16, 32, 3), "num_classes": 2}
    fresh, model = zoo.get("resnet8", **wide), zoo.get("resnet20", weights="digits", **wide)
    with pytest.raises(InputError, match=r"16 x 32 pixels, and a Preprocessing is of square ones"):
        zoo.save(model, tmp_path / "mine", preprocessing=zoo.Preprocessing(32, 32))
    for network in (fresh, model):
        with (
            pytest.warns(UserWarning, match=r"16 x 32 pixels: how they are shown is not written"),
            pytest.warns(UserWarning, match=r"so zoo\.save assumes classes without names; to say"),
        ):
            zoo.save(network, tmp_path / "mine")
        assert "16 x 32 pixels" in (tmp_path / "mine" / "README.md").read_text()
        again = zoo.get(tmp_path / "mine")
        images = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), "uint8")
        np.testing.assert_array_equal(again(images), network(images))
    arguments = ["predict", f"--model={tmp_path / 'mine'}", str(photographs / "val" / "discs")]
    assert predict.main(arguments) == 2
    assert "give their side as --image_size" in capsys.readouterr().err
    assert predict.main([*arguments, "--image_size=32"]) == 0


def test_published_folders_that_are_broken(tmp_path):
    folder = tmp_path / "mine"
    zoo.save(zoo.get("resnet8", num_classes=2), folder)
    config = json.loads((folder / "config.json").read_text())

    def refused(words, text):
        (folder / "config.json").write_text(text)
        with pytest.raises(InputError) as error:
            zoo.get(folder)
        assert words in str(error.value)

    refused("cannot be read", "{")
    refused("cannot be used", json.dumps({**config, "model": "alexnet"}))
    refused("resnet14 was built with", json.dumps({**config, "model": "resnet14"}))
    without = {key: value for key, value in config.items() if key != "arguments"}
    refused("other weights", json.dumps({**without, "model": "resnet14"}))
    refused("cannot be read", "[" * 10**5)
    shown = {"image_size": 300, "resize": 200, "interpolation": "bilinear"}
    refused("a crop of 300", json.dumps({**config, "preprocessing": shown}))
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="has its own weights"):
        zoo.get(folder, weights="digits")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks config.json or model.safetensors"):
        zoo.get(folder)


def test_keras_saves_and_loads_networks_with_public_options(tmp_path):
    """Greyscale input and zero-padded shortcuts as well, in Keras's own format."""
    assert layers.ZeroPaddedShortcut
    model = zoo.get("resnet20", weights="digits", input_shape=(16, 16, 1))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    grey = IMAGES[..., :1]
    np.testing.assert_array_equal(again(grey), model(grey))
    zoo.save(again, tmp_path / "mine")
    np.testing.assert_array_equal(logits(zoo.get(tmp_path / "mine"), grey), model(grey))


def test_generated_pages_are_up_to_date():
    expected = pages.pages()
    for path, text in expected.items():
        assert (ROOT / path).read_text() == text, (
            f"{path} is not what the data says: python -m resnet_keras.zoo.pages"
        )
    cards = {path.name for path in (ROOT / "zoo" / "cards").iterdir()}
    assert cards == {Path(path).name for path in expected if "cards" in path}


def test_results_have_every_public_weight_and_measurement():
    text = pages.results()
    for entry in zoo.ENTRIES.values():
        assert f"| `{entry.model}` | `{entry.tag}` |" in text
    assert "| `resnet50` | `keras_in1k` | 25.07 | 7.94 |" in text
    assert "--model=resnet20 --weights=digits --dataset=digits --split=test" in text


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
