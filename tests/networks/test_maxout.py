"""The layer Maxout, and the networks that have it before their logits."""

import sys

import keras
import numpy as np
import pytest
import written
from keras import ops

from resnet_keras import layers, train, zoo
from resnet_keras.classification import protocols
from resnet_keras.errors import InputError
from resnet_keras.networks import counts

SMALL = {"num_classes": 10, "input_shape": (32, 32, 3)}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
QUICK = ("folder", "w.safetensors", "w.weights.h5")
FAMILIES = ["plain20", "resnet8", "seresnet8", "preact_resnet8", "wrn10_1", "densenet7_4"]


def network(name="resnet8", **options):
    keras.utils.set_random_seed(0)
    return zoo.get(name, **{**SMALL, **options})


def answers(model):
    return model.predict(IMAGES, verbose=0)


def values(model, name):
    return [np.array(v) for v in model.get_layer(name).weights]


@pytest.mark.parametrize("sides", [(), (2, 3)])
def test_numbers(sides):
    """Of each unit the largest of its pieces' linear maps (Sec. 3)."""
    generator = np.random.default_rng(1)
    layer = layers.Maxout(5, 3)
    x = generator.normal(size=(4, *sides, 7)).astype("float32")
    y = layer(ops.convert_to_tensor(x))
    layer.bias.assign(generator.normal(size=15))
    y = np.asarray(layer(ops.convert_to_tensor(x)))
    kernel, bias = np.array(layer.kernel), np.array(layer.bias)
    each = [x @ kernel[:, piece::3] + bias[piece::3] for piece in range(3)]
    np.testing.assert_allclose(y, np.max(each, axis=0), rtol=1e-5, atol=1e-5)
    assert y.shape == layer.compute_output_shape(x.shape)


def test_it_begins_as_he_has_it():
    layer = layers.Maxout(200, 2)
    layer.build((None, 500))
    assert np.std(np.array(layer.kernel)) == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert not np.any(np.array(layer.bias))


def test_it_is_rebuilt_from_its_configuration():
    layer = layers.Maxout(5, 3, name="m")
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert (type(again), again.units, again.pieces) == (layers.Maxout, 5, 3)
    for wrong in ((0, 2), (2, 0), (2.5, 2), (2, True)):
        with pytest.raises(ValueError, match="must be a positive whole number"):
            layers.Maxout(*wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name):
    """Counts are those of the pieces' maps; gradients reach the layer."""
    usual, model = network(name), network(name, maxout=2, dropout=0.1)
    features = usual.get_layer("avg_pool").output.shape[-1]
    more = 2 * features * features
    assert counts.count_parameters(model) == counts.count_parameters(usual) + more + 2 * features
    assert counts.count_multiply_adds(model) == counts.count_multiply_adds(usual) + more
    names = [layer.name for layer in model.layers]
    assert names[-4:] == ["avg_pool", "maxout", "dropout", "logits"]
    before = values(model, "maxout")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss)
    model.train_on_batch(IMAGES.astype("float32"), np.arange(2))
    after = values(model, "maxout")
    assert all(np.any(old != new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow)
        for kind in (*written.OWN, written.NUMBERED)
    ],
)
def test_files(kind, tmp_path):
    model = written.randomize(network(maxout=3))
    path = written.write(model, tmp_path, kind)
    loaded = zoo.get("resnet8", weights=path)
    assert zoo.weights.record.of(loaded)[1]["maxout"] == 3
    np.testing.assert_array_equal(answers(loaded), answers(model))
    zoo.get("resnet8", weights=path, maxout=3)
    for other in (None, 2):
        with pytest.raises(InputError, match=f"maxout belongs .*where it is 3, .* be {other} "):
            zoo.get("resnet8", weights=path, maxout=other)
    features = zoo.get("resnet8", weights=path, include_top=False)
    assert "maxout" not in {layer.name for layer in features.layers}


def test_new_heads(tmp_path):
    """They keep the file's layer where both have it, and have their own where not."""
    model = network(maxout=3)
    zoo.weights.save(tmp_path / "with.safetensors", model)
    zoo.weights.save(tmp_path / "without.safetensors", network())
    for given, kept in (({}, True), ({"maxout": 3}, True), ({"maxout": 2}, False)):
        new = zoo.get("resnet8", weights=tmp_path / "with.safetensors", num_classes=4, **given)
        same = new.get_layer("maxout").pieces == 3
        assert same == kept
        if kept:
            np.testing.assert_array_equal(values(new, "maxout")[0], values(model, "maxout")[0])
    new = zoo.get("resnet8", weights=tmp_path / "with.safetensors", num_classes=4, maxout=None)
    assert "maxout" not in {layer.name for layer in new.layers}
    new = zoo.get("resnet8", weights=tmp_path / "without.safetensors", num_classes=4, maxout=2)
    assert new.get_layer("maxout").pieces == 2
    with pytest.raises(InputError, match="where it is None, and cannot be 2"):
        zoo.get("resnet8", weights=tmp_path / "without.safetensors", maxout=2)


def test_files_without_it_say_nothing_of_it():
    row, options = zoo.weights.record.of(network())
    assert "maxout" not in zoo.weights.record.stored(row, options)


def test_fully_convolutional():
    """At each place of a map it answers as the network does for the image there."""
    model = zoo.get("resnet8", input_shape=(None, None, 3), num_classes=10, maxout=2)
    dense = protocols.fully_convolutional(model, 32)
    np.testing.assert_allclose(dense.predict(IMAGES, verbose=0)[:, 0, 0], answers(model), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        *(("resnet8", {"maxout": wrong}, "2 or more; it cannot be") for wrong in (1, 2.5, True)),
        ("resnet8", {"maxout": 2, "include_top": False}, "maxout is of a head"),
        ("vgg16", {"maxout": 2}, "vgg16 has no option maxout: its head is of two hidden layers"),
        ("resnet20", {"maxout": 2, "weights": "digits"}, "where it is None"),
    ],
)
def test_what_cannot_be(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--maxout=1"], "maxout"),
        (["--maxout=2", "--model=vgg16"], "two hidden layers"),
        (["--maxout=2", "--weights=digits"], "where it is None"),
    ],
)
def test_flags_that_do_not_fit(flags, words, tmp_path, capsys):
    flags = ["--recipe=resnet20_digits", *flags, f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
