"""A network from outside the package: one call, and everything takes it by its name."""

import functools

import keras
import numpy as np
import pytest
import written
from keras import layers

from resnet_keras import evaluate, facts, predict, train, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import blocks, network, rematerialize

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model", "ignore:toy")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")


def toy(
    width=8,
    *,
    activation="relu",
    widths=(1, 2),
    noise=0.0,
    num_classes=10,
    input_shape=(16, 16, 3),
    mean=facts.DIGITS_MEAN,
    std=facts.DIGITS_STD,
    name="toy",
    **shared,
):
    """Two stages of one block each; the second has a gate, whose layer's name tells nothing."""

    def trunk(x, norm, drop_rates):
        x = blocks.conv_bn_relu(x, width, 3, 1, "conv1", norm)
        for stage, ((rate,), times) in enumerate(zip(drop_rates, widths, strict=True), 2):
            place = f"conv{stage}_block1"
            identity = blocks.shortcut_connection(
                x, times * width, stage - 1, "B", place, norm, rate
            )
            x = blocks.conv_bn(x, times * width, 3, stage - 1, f"{place}_1", norm)
            x = layers.Activation(activation, name=f"{place}_1_act")(x)
            if stage == 3:
                gate = layers.Conv2D(times * width, 1, activation="sigmoid", name=f"{place}_gate")
                x = layers.Multiply(name=f"{place}_gated")([x, gate(x)])
            x = layers.GaussianNoise(noise, name=f"{place}_noise")(x)
            x = blocks.add_relu(identity, x, place, rate)
        return x

    return network.network(
        trunk,
        blocks=(1, 1),
        name=name,
        num_classes=num_classes,
        input_shape=input_shape,
        mean=mean,
        std=std,
        **shared,
    )


@pytest.fixture(autouse=True)
def _registered():
    before = dict(zoo.NETWORKS)
    zoo.register("toy8", toy, arguments={"width": 8}, training=["noise"], dataset="cifar10")
    yield
    zoo.NETWORKS.clear()
    zoo.NETWORKS.update(before)


@functools.cache
def model():
    keras.utils.set_random_seed(0)
    options = {"num_classes": 3, "activation": "tanh", "epsilon": 1e-3, "mean": (1, 2, 3)}
    return written.randomize(zoo.get("toy8", **options))


def test_it_is_listed_built_and_described():
    assert "toy8" in zoo.list_models("toy*")
    info = zoo.info("toy8")
    assert (info.dataset, info.shortcut, info.num_classes) == ("cifar10", None, 10)
    assert info.parameters == sum(np.prod(v.shape) for v in toy().trainable_variables)
    assert "(paper" not in str(info)
    assert "options        activation relu, widths (1, 2), noise 0.0" in str(info)
    features = zoo.backbone("toy8")(IMAGES)
    assert {name: tuple(x.shape) for name, x in features.items()} == {
        "conv2": (2, 16, 16, 8),
        "conv3": (2, 8, 8, 16),
    }
    frozen = zoo.get("toy8", dtype="mixed_bfloat16", stochastic_depth=0.5, noise=0.1)
    assert frozen.get_layer("conv3_block1_drop").rate == 0.5
    zoo.freeze(frozen, "conv2")
    assert not frozen.get_layer("conv2_block1_1_conv").trainable
    assert frozen.get_layer("conv3_block1_1_conv").trainable
    with pytest.raises(InputError, match=r"option of toy8: 'width'.* activation, widths, noise"):
        zoo.get("toy8", width=4)
    with pytest.raises(InputError, match="residual"):
        network.network(
            lambda x, norm, rates: x,
            blocks=(),
            residual=False,
            stochastic_depth=0.1,
        )


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("folder", "w.keras") else pytest.mark.slow)
        for kind in (*written.OWN, written.NUMBERED)
    ],
)
def test_weights_in_every_format(kind, tmp_path):
    path = written.write(model(), tmp_path, kind)
    recorded = kind not in ("w.weights.h5", written.NUMBERED)
    untold = {} if recorded else {"activation": "tanh", "widths": [1, 2], "epsilon": 1e-3}
    loaded = zoo.get("toy8", weights=path, **untold)
    written.equal(loaded(IMAGES), model()(IMAGES))
    assert loaded.name == "toy8"
    head = zoo.get("toy8", weights=path, num_classes=5, noise=0.3, dropout=0.1, **untold)
    assert head.output_shape == (None, 5)
    expected = model().get_layer("conv3_block1_out")
    stages = keras.Model(model().input, expected.output)(IMAGES)
    written.equal(zoo.backbone("toy8", weights=path, **untold)(IMAGES)["conv3"], stages)
    for other in ("resnet8", "plain18"):
        with pytest.raises(
            InputError, match=r"toy8|does not fit|of 1, 1 basic blocks|no head|a residual network"
        ):
            zoo.get(other, weights=path)
    if not recorded:
        with pytest.raises(InputError, match="does not say widths of toy8"):
            zoo.get("toy8", weights=path, activation="tanh")
        return
    for option, value in {"activation": "relu", "widths": (1, 4), "epsilon": 1e-5}.items():
        with pytest.raises(InputError, match=f"{option} belongs to the weights"):
            zoo.get("toy8", weights=path, **{option: value})
    for widths in ((1, 2), [1, 2], np.array([1, 2])):
        assert zoo.get("toy8", weights=path, widths=widths, width=8).output_shape == (None, 3)
    if kind == "folder":
        assert zoo.get(path).output_shape == (None, 3)


def test_keras_reloads_it_and_the_zoo_saves_it_again(tmp_path):
    model().save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for copy in (again, keras.models.clone_model(again), rematerialize.rematerialize(again)):
        copy.set_weights(model().get_weights())
        zoo.save(copy, tmp_path / "mine")
        loaded = zoo.get(tmp_path / "mine")
        assert loaded.get_layer("conv3_block1_1_act").activation is keras.activations.tanh
        np.testing.assert_array_equal(loaded(IMAGES), model()(IMAGES))
    cut = keras.Model(model().input, model().get_layer("conv2_block1_out").output)
    with pytest.raises(InputError, match=r"model\.save"):
        zoo.save(cut, tmp_path / "cut")


def test_files_of_other_networks(tmp_path):
    source = zoo.get("resnet8", num_classes=3, shortcut="B", input_shape=(16, 16, 3))
    for kind in (*written.OWN, written.NUMBERED, written.TORCH):
        path = written.write(source, tmp_path, kind)
        with pytest.raises(
            InputError, match=r"resnet8|does not say activation|another project"
        ) as error:
            zoo.get("toy8", weights=path)
        assert str(path) in str(error.value)


def test_a_file_of_a_network_that_is_not_registered(tmp_path, monkeypatch):
    paths = [written.write(model(), tmp_path, kind) for kind in ("folder", "w.keras")]
    monkeypatch.delitem(zoo.NETWORKS, "toy8")
    with pytest.raises(InputError, match="Unknown model 'toy8'"):
        zoo.get(paths[0])
    with pytest.raises(InputError, match="weights of toy8, not of resnet8, and none here has"):
        zoo.get("resnet8", weights=paths[1])
    with pytest.raises(InputError, match="Unknown model 'toy8'"):
        zoo.get("toy8")


def test_it_is_trained_evaluated_and_used_by_the_commands(tmp_path, capsys):
    arguments = ["--model=toy8", "--dataset=digits", "--image_size=16", "--train_steps=300"]
    arguments += ["--eval_every=150", "--batch_size=64", "--learning_rate=0.1", "--pca_noise=0.1"]
    # A cosine, for at a learning rate of .1 the last error is any of many.
    arguments += ["--notensorboard", "--strategy=one_device", "--schedule=cosine"]
    run = tmp_path / "run"
    assert train.main(["train", *arguments, f"--workdir={run}"]) == 0
    told = capsys.readouterr().out
    chosen = ["--model=toy8", f"--weights={run / 'weights.safetensors'}"]
    assert evaluate.main(["evaluate", *chosen, "--dataset=digits"]) == 0
    error = float(told.split("test error ")[-1].split(" %")[0])
    assert error < 60
    assert f"{error:.2f} %" in capsys.readouterr().out
    loaded = zoo.get("toy8", weights=run / "weights.safetensors")
    keras.utils.save_img(tmp_path / "digit.png", IMAGES[0])
    assert loaded.output_shape == (None, 10)
    assert predict.main(["predict", *chosen, str(tmp_path / "digit.png")]) == 0


def bare(num_classes=10, input_shape=(8, 8, 3), **shared):
    pixels = keras.Input(input_shape)
    return keras.Model(pixels, layers.Dense(num_classes)(layers.Flatten()(pixels)))


def without_default(num_classes, **shared):
    return network.network(lambda x, norm, rates: x, blocks=(), num_classes=num_classes, **shared)


def twice(**shared):
    return network.network(lambda x, norm, rates: x, blocks=(), epsilon=0.5, **shared)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: zoo.register("resnet50", toy), "resnet50 is a network of this package"),
        (lambda: zoo.register("plain26", toy), "plain26 is a network of this package"),
        (lambda: zoo.register("my net", toy), "letters, digits and underscores"),
        (lambda: zoo.register("mine", toy, arguments={"depth": 3}), "parameter of mine's own"),
        (
            lambda: zoo.register("mine", toy, arguments={"num_classes": 3}),
            "parameter of mine's own",
        ),
        (
            lambda: zoo.register("mine", toy, arguments={"widths": {1: 2}}),
            "widths of mine is a dict",
        ),
        (lambda: zoo.register("mine", toy, training=["drop"]), "option of mine"),
        (lambda: zoo.register("mine", lambda num_classes=2: None), "lacks dropout, dtype, epsilon"),
        (lambda: zoo.register("mine", lambda depth, **k: None), "depth of mine's builder has no"),
        (lambda: zoo.register("mine", without_default), "num_classes of mine's builder has no"),
        (lambda: zoo.get(zoo.register("bare", bare).name), "PixelNormalization"),
        (
            lambda: zoo.get(zoo.register("twice", twice).name, epsilon=1e-3),
            "twice cannot be built with .*multiple values",
        ),
        (lambda: zoo.get("toy8", activation=keras.activations.relu), "activation of toy8"),
        (lambda: zoo.get("toy8", activation="zzz"), "toy8 cannot be built with .*'zzz'"),
        (lambda: zoo.get("toy8", activation={"class_name": "system"}), "activation of toy8 is a d"),
    ],
)
def test_what_cannot_be_registered_or_recorded(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_what_the_builder_does_with_shared_arguments_is_told_by_the_layers(tmp_path):
    def own_epsilon(**shared):
        return toy(**{"epsilon": 0.5, "num_classes": 3, **shared})

    zoo.register("own", own_epsilon, dataset="cifar10")
    source = zoo.get("own")
    for kind in ("folder", "w.safetensors", "w.keras"):
        path = written.write(source, tmp_path, kind)
        loaded = zoo.get("own", weights=path)
        assert loaded.output_shape == (None, 3)
        written.equal(loaded(IMAGES), source(IMAGES))


def test_registered_again_a_network_takes_the_place_of_the_first(tmp_path):
    paths = [written.write(model(), tmp_path, kind) for kind in written.OWN]
    zoo.register("toy8", toy, arguments={"width": 4})
    assert zoo.get("toy8").get_layer("conv1_conv").filters == 4
    for path in paths[:-1]:
        with pytest.raises(InputError, match=r"built with \{'width': 8\}") as error:
            zoo.get("toy8", weights=path)
        assert str(path) in str(error.value)
    with pytest.raises(InputError, match=r"built with \{'width': 8\}"):
        zoo.save(model(), tmp_path / "again")


def test_files_with_hostile_options(tmp_path):
    source = zoo.get("toy8", num_classes=3)
    for options in ({"activation": {"module": "os"}}, {"depth": 3}, {"activation": "zzz"}):
        weights = zoo.weights
        record = {"model": "toy8", "arguments": {"width": 8}, "options": options}
        source.get_layer("normalization").network = record
        source.save(tmp_path / "w.keras")
        shape = {"num_classes": 3, "input_shape": [16, 16, 3]}
        header = {**record, "options": {**options, **shape}, "training": {}}
        (tmp_path / "w.safetensors").write_bytes(weights.own.to_bytes(source, header))
        for name in ("w.keras", "w.safetensors"):
            with pytest.raises(InputError):
                zoo.get("toy8", weights=tmp_path / name)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
