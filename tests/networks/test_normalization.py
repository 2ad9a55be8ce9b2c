"""What stands behind convolutions: batch, synchronized, group, layer and frozen normalization."""

import itertools
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import safetensors.numpy
from keras import ops

from resnet_keras import train, zoo
from resnet_keras.deployment import formats
from resnet_keras.deployment.calibration import Inputs
from resnet_keras.deployment.exporting import About, export
from resnet_keras.deployment.pruning import prune
from resnet_keras.detection import statistics
from resnet_keras.errors import InputError
from resnet_keras.facts import NORMALIZATIONS
from resnet_keras.networks import normalization
from resnet_keras.networks.layers import BatchNormalization

QUICK = [("safetensors", "group"), ("keras", "frozen"), ("weights.h5", "group")]
OTHERS = [name for name in NORMALIZATIONS if name != "batch"]
FAMILIES = {  # one of each builder
    "plain20": {},
    "resnet8": {},
    "resnet18": {"width": 0.125},
    "resnet50d": {"width": 0.125},
    "resnext11_2x8d": {},
    "seresnet20": {},
    "preact_resnet11": {},
    "wrn10_1": {},
    "densenet_bc22_12": {},
    "vgg16_bn": {"width": 8, "hidden": 8},
}


def network(name="resnet8", **options):
    keras.utils.set_random_seed(0)
    return zoo.get(name, num_classes=10, input_shape=(32, 32, 3), **options)


def images(count=4):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype("uint8")


def step(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss)
    return model.train_on_batch(images().astype("float32"), np.arange(4))


def norms(model):
    return [layer for layer in model.layers if layer.name.endswith("_bn")]


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (2, 1), (16, 8), (32, 16), (64, 32), (256, 32), (36, 18)]
)
def test_groups(channels, groups):
    assert normalization.groups_of(channels) == groups


@pytest.mark.parametrize(("name", "groups"), [("group", 4), ("layer", 1)])
def test_numbers(name, groups):
    """As Wu and He define them (Eq. 1 to 7), for each image by itself."""
    x = np.random.default_rng(1).normal(3, 2, (2, 5, 6, 8))
    layer_of = normalization.maker(name, 1e-5)
    y = np.asarray(layer_of(name="n")(ops.convert_to_tensor(x, "float32")))
    grouped = x.reshape(2, 5, 6, groups, 8 // groups)
    axes = (1, 2, 4)
    mean, variance = grouped.mean(axes, keepdims=True), grouped.var(axes, keepdims=True)
    expected = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *(("resnet8", name) for name in ("group", "layer", "frozen")),
        *(
            pytest.param(family, "group", marks=pytest.mark.slow)
            for family in FAMILIES
            if family != "resnet8"
        ),
    ],
)
def test_every_family(family, name):
    """All else stays; gradients reach every parameter, and frozen ones stay as they are."""
    usual = network(family, **FAMILIES[family])
    model = network(family, normalization=name, **FAMILIES[family])
    assert [layer.name for layer in model.layers] == [layer.name for layer in usual.layers]
    assert all(
        isinstance(layer, BatchNormalization) == (name == "frozen") for layer in norms(model)
    )
    frozen = {v.path for layer in norms(usual) for v in layer.trainable_variables}
    expected = {v.path for v in usual.trainable_variables} - (frozen if name == "frozen" else set())
    assert {v.path for v in model.trainable_variables} == expected
    before = {v.path: np.array(v) for v in model.weights}
    assert np.isfinite(step(model))
    moved = {v.path for v in model.weights if np.any(np.array(v) != before[v.path])}
    assert moved == expected


@pytest.mark.parametrize("name", ["group", "layer"])
def test_each_image_is_normalized_by_itself(name):
    model = network(normalization=name)
    x = images().astype("float32")
    for training in (False, True):
        alone = np.concatenate(
            [np.asarray(model(x[i : i + 1], training=training)) for i in range(4)]
        )
        np.testing.assert_allclose(np.asarray(model(x, training=training)), alone, atol=1e-4)


def test_frozen_ones_stay_so():
    """Whatever is frozen and let go around them, and in a copy that Keras loads."""
    model = network(weights=None, normalization="frozen")
    zoo.freeze(model, "conv2")
    zoo.freeze(model, None)
    model.trainable = True
    assert not any("_bn/" in v.path for v in model.trainable_variables)
    clone = keras.models.clone_model(model)
    assert not any("_bn/" in v.path for v in clone.trainable_variables)


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow)
        for pair in itertools.product(("safetensors", "keras", "weights.h5"), NORMALIZATIONS)
    ],
)
def test_files(name, ending, tmp_path):
    model = network(normalization=name)
    step(model)
    path = tmp_path / f"x.{ending}"
    if ending == "safetensors":
        zoo.weights.save(path, model)
    else:
        model.save(path) if ending == "keras" else model.save_weights(path)
    told = ending != "weights.h5" or name not in ("group", "layer")
    x = images()
    expected = model.predict(x, verbose=0)
    loaded = zoo.get("resnet8", weights=path, **({} if told else {"normalization": name}))
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    if not told:
        with pytest.raises(InputError, match='give normalization="group" or "layer"'):
            zoo.get("resnet8", weights=path)
    for other in NORMALIZATIONS:
        same = other == name or not {other, name} & {"group", "layer"}
        if same or (not told and other in ("group", "layer")):
            zoo.get("resnet8", weights=path, normalization=other)
        else:
            with pytest.raises(InputError, match="normalization"):
                zoo.get("resnet8", weights=path, normalization=other)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("group", "frozen") else pytest.mark.slow)
        for name in NORMALIZATIONS
    ],
)
def test_published_ones_are_themselves(name, tmp_path):
    model = network(normalization=name)
    zoo.save(model, tmp_path / "mine")
    loaded = zoo.get(tmp_path / "mine")
    said = zoo.weights.record.of(loaded)[1].get("normalization", "batch")
    assert said == (name if name in ("group", "layer") else "batch")
    np.testing.assert_array_equal(
        loaded.predict(images(), verbose=0), model.predict(images(), verbose=0)
    )


@pytest.mark.parametrize("name", ["group", "layer"])
def test_files_of_others_want_to_be_told(name, tmp_path):
    """Of tensors without this package's header, as other projects write them."""
    model, path = network(normalization=name), tmp_path / "x.safetensors"
    tensors = {v.path: np.ascontiguousarray(v) for v in model.weights}
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(InputError, match='give normalization="group" or "layer"'):
        zoo.get("resnet8", weights=path)
    loaded = zoo.get("resnet8", weights=path, normalization=name)
    np.testing.assert_array_equal(
        loaded.predict(images(), verbose=0), model.predict(images(), verbose=0)
    )


@pytest.mark.slow
def test_keras_loads_frozen_ones_in_a_new_process(tmp_path):
    network(normalization="frozen").save(tmp_path / "x.keras")
    code = """
    import sys
    import keras
    import resnet_keras.layers
    model = keras.models.load_model(sys.argv[1])
    assert not any("_bn/" in v.path for v in model.trainable_variables)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "x.keras")]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_detectors_count_frozen_ones_as_such():
    assert not statistics.normalizations(network(normalization="frozen"))
    assert statistics.normalizations(network())
    frozen = statistics.frozen(network(normalization="frozen"))
    assert {type(layer).__name__ for layer in norms(frozen)} == {"ScaleAndOffset"}


def test_files_of_batch_normalization_say_nothing_of_it():
    """As before there was a choice: files stay the same, bit for bit."""
    network_row, options = zoo.weights.record.of(network())
    assert "normalization" not in zoo.weights.record.stored(network_row, options)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet8", {"normalization": "instance"}, "batch, synchronized, group, layer, frozen"),
        ("vgg16", {"normalization": "group"}, "vgg16_bn"),
        ("resnet8", {"normalization": "group", "synchronized": True}, "no batch statistics"),
        ("resnet20", {"normalization": "layer", "weights": "digits"}, "where it is batch"),
    ],
)
def test_what_cannot_be(name, options, words):
    with pytest.raises(InputError, match=words):
        zoo.get(name, **options)


def test_pruning_is_for_batch_normalization():
    with pytest.raises(InputError, match="sees channels together"):
        prune(network(normalization="group"), 0.3)
    pruned = prune(network(normalization="frozen"), 0.3)
    assert {type(layer).__name__ for layer in norms(pruned)} == {"FrozenBatchNormalization"}


@pytest.mark.slow
def test_a_run_learns_and_its_weights_say_what_they_are(tmp_path, capsys):
    flags = ("--recipe=resnet20_digits", "--model=resnet8", "--train_steps=60", "--eval_every=60")
    run = tmp_path / "run"
    assert train.main(["train", *flags, "--norm_layer=group", f"--workdir={run}"]) == 0
    model = zoo.get("resnet8", weights=run / "weights.safetensors")
    assert {type(layer).__name__ for layer in norms(model)} == {"GroupNormalization"}
    rows = (run / "metrics.csv").read_text().splitlines()
    at = rows[0].split(",").index("val_top1_error")
    assert float(rows[-1].split(",")[at]) < 0.5
    again = ["train", *flags, "--norm_layer=layer", f"--workdir={run}"]
    assert train.main(again) == 2
    assert "--norm_layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model=vgg16", "--norm_layer=group"], "vgg16_bn"),
        (["--norm_layer=group", "--sync_batch_norm"], "leave --sync_batch_norm out"),
        (["--norm_layer=frozen"], "statistics of --weights"),
        (["--norm_layer=group", "--weights=digits"], "where it is batch"),
        (["--norm_layer=instance"], "batch, synchronized, group, layer"),
    ],
)
def test_flags_that_do_not_fit(flags, words, tmp_path, capsys):
    flags = ["--recipe=resnet20_digits", *flags, f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["group", "layer", "frozen"])
@pytest.mark.parametrize("format", formats.FORMATS)
def test_exports(name, format, tmp_path):
    model = network(normalization=name)
    compared = Inputs(images(16), "noise")
    found = export(model, tmp_path / "x", format=format, about=About("resnet8"), compared=compared)
    assert found.difference["largest"] <= 1e-5


@pytest.mark.slow
def test_jax_answers_alike(run_on_jax, tmp_path):
    for name in ("group", "layer", "frozen", "synchronized"):
        model = network(normalization=name)
        zoo.weights.save(tmp_path / f"{name}.safetensors", model)
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", model.predict(images(), verbose=0))
    np.save(tmp_path / "images.npy", images())
    run_on_jax(
        """
        import sys
        from pathlib import Path
        import keras
        import numpy as np
        from resnet_keras import layers, zoo
        folder = Path(sys.argv[1])
        x = np.load(folder / "images.npy")
        for name in ("group", "layer", "frozen", "synchronized"):
            whole = keras.models.load_model(folder / f"{name}.keras")
            model = zoo.get("resnet8", weights=folder / f"{name}.safetensors", normalization=name)
            y, expected = model.predict(x, verbose=0), np.load(folder / f"{name}.npy")
            assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max(), name
            assert np.array_equal(whole.predict(x, verbose=0), y), name
            is_shared = whole.get_layer("conv1_bn").get_config().get("synchronized")
            assert bool(is_shared) == (name == "synchronized")
            before = [np.array(v) for v in model.trainable_variables]
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("sgd", loss)
            model.train_on_batch(x.astype("float32"), np.arange(4))
            pairs = zip(before, model.trainable_variables)
            assert all(np.any(old != np.array(new)) for old, new in pairs), name
        """,
        tmp_path,
    )


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
