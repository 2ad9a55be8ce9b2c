"""Rematerialized networks against the networks themselves: numbers, state, memory, mistakes."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks import rematerialize, resnet

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), "uint8")
LABELS = np.arange(16) % 10
DROPS = {"stochastic_depth": 0.5, "dropout": 0.5}


def network(rematerialized, depth=8, *, side=16, jit_compile=False, run_eagerly=False, **options):
    """A compiled network; equal ones come out of equal arguments."""
    keras.utils.set_random_seed(0)
    model = resnet.cifar_resnet(depth, input_shape=(side, side, 3), **options)
    if rematerialized:
        model = rematerialize.rematerialize(model)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
        run_eagerly=run_eagerly,
    )
    return model


def trained(model):
    """Two epochs of two steps; returns the losses."""
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return history.history["loss"]


def assert_equal_variables(model, other):
    """Weights, moving statistics, seed states and the optimizer's velocities, to the bit."""
    assert [v.path for v in model.variables] == [v.path for v in other.variables]
    ours = [*model.variables, *model.optimizer.variables]
    theirs = [*other.variables, *other.optimizer.variables]
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=one.path)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"shortcut": "A"}, marks=pytest.mark.slow),
        pytest.param({"shortcut": None}, marks=pytest.mark.slow),
        pytest.param({"shortcut": "B", **DROPS}, marks=pytest.mark.slow),
        pytest.param({"shortcut": "C", "dtype": "mixed_bfloat16", **DROPS}, marks=pytest.mark.slow),
        pytest.param({"dtype": "mixed_float16"}, marks=pytest.mark.slow),
        {"run_eagerly": True, **DROPS},
        pytest.param({"jit_compile": True, **DROPS}, marks=pytest.mark.slow),
    ],
)
def test_trains_as_the_network_itself_to_the_bit(options):
    plain, model = (network(r, **options) for r in (False, True))
    assert trained(model) == trained(plain)
    assert_equal_variables(model, plain)
    expected = plain.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), expected)
    assert model.evaluate(IMAGES, LABELS, verbose=0) == plain.evaluate(IMAGES, LABELS, verbose=0)


@pytest.mark.slow
def test_bottlenecks_train_as_the_network_itself():
    keras.utils.set_random_seed(0)
    plain = resnet.resnet(50, num_classes=4, input_shape=(32, 32, 3), **DROPS)
    model = rematerialize.rematerialize(plain)
    images, labels = IMAGES[:4].repeat(2, 1).repeat(2, 2), LABELS[:4]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    start = [v.numpy() for v in plain.variables]

    @tf.function
    def gradients(net):
        with tf.GradientTape() as tape:
            value = loss(labels, net(images, training=True))
        return value, tape.gradient(value, [v.value for v in net.trainable_variables])

    found = []
    for net in (plain, model):
        for variable, value in zip(plain.variables, start, strict=True):
            variable.assign(value)
        found.append((*gradients(net), [v.numpy() for v in plain.non_trainable_variables]))
    assert all(g is not None for g in found[0][1])
    for one, two in zip(tf.nest.flatten(found[0]), tf.nest.flatten(found[1]), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("synchronized", [False, True])
def test_mirrored_replicas_train_as_those_of_the_network_itself(mirrored, synchronized):
    with mirrored.scope():
        plain, model = (
            network(r, dtype="mixed_bfloat16", synchronized=synchronized, **DROPS)
            for r in (False, True)
        )
    assert trained(model) == trained(plain)
    assert_equal_variables(model, plain)
    for variable in model.variables:
        first, second = mirrored.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_statistics_and_seeds_advance_once_a_step():
    model = network(True, **DROPS)
    first = model.get_layer("conv1_bn")
    before = keras.Model(model.input, first.input)
    mean = np.mean(before(IMAGES), (0, 1, 2))
    model.train_on_batch(IMAGES, LABELS)
    np.testing.assert_allclose(first.moving_mean, 0.1 * mean, rtol=1e-4, atol=1e-6)
    states = [v.numpy()[1] for v in model.variables if "seed_generator_state" in v.path]
    assert states == [1, 1, 1, 1]


@pytest.mark.slow
def test_holds_less_memory(command):
    """In processes of their own, of which each needs about 1 GiB for anything at all."""
    peak = {}
    for flag in ("--noremat", "--remat"):
        arguments = ("--model=resnet56", "--batch_size=512", "--image_size=32", "--peer=none")
        arguments = ("train", *arguments, "--rounds=1", "--steps=1", flag, "--json")
        done = command("benchmark", *arguments)
        assert done.returncode == 0, done.stderr
        peak[flag] = json.loads(done.stdout)["timings"]["resnet_keras"]["peak_memory_gib"]
    if None in peak.values():
        pytest.skip("peak memory is read from Linux's /proc")
    # Measured: 3.2 and 1.6 GiB. A map of a first-stage block is 32 MiB; five are kept, or one.
    assert peak["--remat"] < 0.65 * peak["--noremat"]


def test_shares_layers_name_and_shapes_with_the_network():
    plain = zoo.get("resnet8", num_classes=3)
    weights = [id(v) for v in plain.weights]
    model = rematerialize.rematerialize(plain)
    assert model.name == plain.name
    assert (model.input_shape, model.output_shape) == (plain.input_shape, plain.output_shape)
    assert model.layers == plain.layers
    assert [id(v) for v in model.weights] == [id(v) for v in plain.weights] == weights
    for kind in ("trainable_variables", "non_trainable_variables"):
        ours, theirs = getattr(model, kind), getattr(plain, kind)
        assert [id(v) for v in ours] == [id(v) for v in theirs]
    again = rematerialize.rematerialize(model)
    assert [id(v) for v in again.weights] == weights


@pytest.mark.parametrize("name", ["resnet8", "plain8", "resnet18"])
@pytest.mark.parametrize("pooling", ["avg", None])
def test_networks_without_a_head(name, pooling):
    side = (32, 32, 3)
    plain = zoo.get(name, include_top=False, pooling=pooling, input_shape=side)
    model = rematerialize.rematerialize(plain)
    images = IMAGES[:2].repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(model(images, training=True), plain(images, training=True))


def test_frozen_stages_stay_as_they_are():
    model = network(True)
    zoo.freeze(model, "conv3")
    model.compile("sgd", "mse")
    before = [v.numpy() for v in model.weights]
    model.train_on_batch(IMAGES, np.ones((16, 10)))
    changed = {
        re.split("[_/]", v.path)[0]
        for v, old in zip(model.weights, before, strict=True)
        if not np.array_equal(v.numpy(), old)
    }
    assert changed == {"conv4", "logits"}


@pytest.mark.slow
def test_inside_another_model():
    def trained_inside(rematerialized):
        inner = network(rematerialized, **DROPS)
        model = keras.Sequential([keras.Input((16, 16, 3)), inner, keras.layers.Dense(2)])
        model.compile("sgd", "mse", jit_compile=False)
        model.fit(IMAGES, np.ones((16, 2)), verbose=0)
        return model.get_weights()

    for one, two in zip(trained_inside(False), trained_inside(True), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_a_global_policy_does_not_round_the_weights():
    """A model made under it would have the variables read in bfloat16."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain, model = network(False), network(True)
        assert trained(model) == trained(plain)
        assert_equal_variables(model, plain)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_saving(tmp_path):
    plain = zoo.get("resnet20", weights="digits", **DROPS)
    model = rematerialize.rematerialize(plain)
    expected = plain.predict(IMAGES, verbose=0)
    model.save(tmp_path / "remat.keras")
    again = keras.models.load_model(tmp_path / "remat.keras")
    assert isinstance(again, rematerialize.Rematerialized)
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), expected)
    plain.save(tmp_path / "plain.keras")  # sharing its layers leaves it as it was
    again = keras.models.load_model(tmp_path / "plain.keras")
    assert not isinstance(again, rematerialize.Rematerialized)
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), expected)
    zoo.save(model, tmp_path / "folder")
    model.save_weights(tmp_path / "model.weights.h5")
    plain.load_weights(tmp_path / "model.weights.h5")
    for weights in (tmp_path / "folder", tmp_path / "remat.keras"):
        loaded = zoo.get("resnet20", weights=weights)
        np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), expected)


@pytest.mark.slow
def test_xla_does_not_merge_the_second_run_with_the_first():
    """Equal operations on equal tensors are one to a compiler, and nothing would be saved."""
    images = tf.constant(IMAGES, "float32")

    def convolutions(model):
        @tf.function(jit_compile=True)
        def gradients(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(images, training=True) ** 2)
            return tape.gradient(loss, [v.value for v in model.trainable_variables])

        hlo = gradients.experimental_get_compiler_ir(images)(stage="optimized_hlo")
        return len(re.findall(r"= \S+ convolution\(", hlo))

    # 7 forward, 7 for kernels, 6 for what is before them; then 7 once more.
    assert convolutions(network(True)) == 27


@pytest.mark.parametrize(
    "build",
    [
        lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
        lambda: keras.Sequential([keras.Input((32, 32, 3)), resnet.cifar_resnet(8)]),
        lambda: zoo.backbone("resnet8"),
        lambda: "resnet8",
    ],
)
def test_other_models_are_refused(build):
    with pytest.raises(InputError) as error:
        rematerialize.rematerialize(build())
    assert "\n" not in str(error.value)


def test_other_backends_are_refused(monkeypatch):
    model = resnet.cifar_resnet(8)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="TensorFlow, not jax"):
        rematerialize.rematerialize(model)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
