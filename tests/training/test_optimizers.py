"""Weight decay against regularizers, schedules step by step, and the data-dependent rules."""

import math

import keras
import numpy as np
import pytest

from resnet_keras import optimizers
from resnet_keras.errors import InputError
from resnet_keras.networks import layers
from resnet_keras.optimizers import CosineDecay, DivideOnPlateau, StepDecay, WarmUpUntilBelow
from resnet_keras.training import schedules
from resnet_keras.training.optimizers import INITIAL_LOSS_SCALE, NORMS

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(64, 6, 6, 2)).astype("float32")
Y = GENERATOR.integers(0, 3, 64)


def small_model(
    regularizer=None, all_regularized=False, normalization=keras.layers.BatchNormalization
):
    """A convolution, batch norm and a dense layer, the kernels or everything regularized."""
    keras.utils.set_random_seed(7)
    make = (lambda: keras.regularizers.L2(regularizer)) if regularizer else (lambda: None)
    rest = make if all_regularized else (lambda: None)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, kernel_regularizer=make(), bias_regularizer=rest()),
            normalization(gamma_regularizer=rest(), beta_regularizer=rest()),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_regularizer=make(), bias_regularizer=rest()),
        ]
    )


def train(model, optimizer, steps=12):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    for step in range(steps):
        batch = slice(8 * (step % 8), 8 * (step % 8) + 8)
        model.train_on_batch(X[batch], Y[batch])
        yield [w.copy() for w in model.get_weights()]


@pytest.mark.parametrize("decayed", ["kernels", "all"])
def test_weight_decay_equals_regularizers_step_for_step(decayed):
    decay = 0.05  # large, so that a difference shows
    ours = train(small_model(), optimizers.SGD(0.1, 0.9, decay, decayed))
    keras_sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    theirs = train(small_model(decay / 2, all_regularized=decayed == "all"), keras_sgd)
    plain = train(small_model(), keras.optimizers.SGD(0.1, momentum=0.9))
    for one, other, undecayed in zip(ours, theirs, plain, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert not np.allclose(one[0], undecayed[0], rtol=1e-2)


def test_weight_decay_under_two_replicas_equals_one(mirrored):
    def trained():
        model = small_model()
        model.layers[1].trainable = False  # batch statistics would depend on the shares
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.SGD(0.1, 0.9, 0.05), loss)
        model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    with mirrored.scope():
        together = trained()
    for one, other in zip(trained(), together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_optimizer_survives_saving(tmp_path):
    model = small_model()
    rate = StepDecay(0.1, [4], warmup_steps=2)
    for _ in train(model, optimizers.SGD(rate, 0.8, 0.03, "all")):
        pass
    model.optimizer.learning_rate_scale.assign(0.25)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert loaded.get_config() == model.optimizer.get_config()
    assert float(loaded.learning_rate) == float(model.optimizer.learning_rate)
    assert int(loaded.iterations) == 12


def test_optimizers_and_schedules_tell_their_settings():
    import tensorflow as tf

    schedule = CosineDecay(0.01, 100)
    assert repr(schedule) == "CosineDecay(0.01, total_steps=100, warmup_steps=0)"
    others = "decayed='kernels', accumulate_steps=1, clip_norm=None, loss_scaling=False, ema=0.0"
    optimizer = optimizers.SGD(schedule)
    assert repr(optimizer) == (
        f"SGD({schedule}, momentum=0.9, weight_decay=0.0001, {others}, nesterov=False)"
    )
    names = {"SGD": optimizers.SGD, "CosineDecay": CosineDecay, "StepDecay": StepDecay}
    for made in (
        optimizer,
        optimizers.SGD(0.3, 0.8, 0.0, "all", accumulate_steps=2, clip_norm=1.0, nesterov=True),
        optimizers.SGD(StepDecay(0.1, [3, 4], warmup_steps=2), loss_scaling=True, ema=0.9),
    ):
        again = eval(repr(made), names)
        assert {**again.get_config(), "name": ""} == {**made.get_config(), "name": ""}
    constant = optimizers.SGD(0.1)
    traced = []
    tf.function(lambda: traced.append(repr(constant)))()
    assert repr(constant).startswith("SGD(0.1, momentum=")
    assert traced[0].endswith("nesterov=False)")


def test_step_decay_runs_the_papers_32k_and_16k_steps():
    rate = StepDecay(0.1, [32000, 48000])
    values = {step: float(rate(step)) for step in (0, 31999, 32000, 47999, 48000, 63999)}
    assert values == pytest.approx(
        {0: 0.1, 31999: 0.1, 32000: 0.01, 47999: 0.01, 48000: 0.001, 63999: 0.001}
    )


def test_linear_warm_up():
    rate = StepDecay(0.4, [8], warmup_steps=4)
    values = [float(rate(step)) for step in range(10)]
    assert values == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.04, 0.04])


def test_cosine_decay():
    rate = CosineDecay(0.2, 110, warmup_steps=10)
    assert float(rate(0)) == pytest.approx(0.02)
    assert float(rate(10)) == pytest.approx(0.2)
    assert float(rate(60)) == pytest.approx(0.1)
    assert float(rate(35)) == pytest.approx(0.1 * (1 + math.cos(math.pi / 4)))
    assert float(rate(110)) == pytest.approx(0.0, abs=1e-8)
    assert float(rate(500)) == pytest.approx(0.0, abs=1e-8)


def test_polynomial_decay():
    rate = schedules.make("poly", 0.2, train_steps=110, warmup_steps=10, power=0.9)
    assert repr(rate) == "PolynomialDecay(0.2, total_steps=110, power=0.9, warmup_steps=10)"
    assert float(rate(0)) == pytest.approx(0.02)
    assert float(rate(10)) == pytest.approx(0.2)
    assert float(rate(60)) == pytest.approx(0.2 * 0.5**0.9)
    assert float(rate(109)) == pytest.approx(0.2 * 0.01**0.9, rel=1e-4)
    assert float(rate(110)) == 0
    assert float(rate(500)) == 0
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert again.get_config() == rate.get_config()


class Replay(keras.callbacks.Callback):
    """Puts given values under given names into the logs that later callbacks see."""

    def __init__(self, name, values, when):
        super().__init__()
        self.name, self.values = name, iter(values)
        setattr(self, when, lambda index, logs: logs.__setitem__(self.name, next(self.values)))


def rates(model, epochs, steps_per_epoch, callbacks):
    """The learning rate that each step used."""
    applied = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: applied.append(
            float(model.optimizer.learning_rate)
        )
    )
    model.fit(
        X[: 8 * steps_per_epoch],
        Y[: 8 * steps_per_epoch],
        batch_size=8,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, watch],
    )
    return applied


def compiled():
    model = small_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.SGD(StepDecay(0.1)), loss)
    return model


def test_divide_on_plateau():
    errors = [0.5, 0.4, 0.4, 0.41, 0.3, 0.3, 0.3, 0.3, 0.3]
    replay = Replay("val_top1_error", errors, "on_epoch_end")
    rule = DivideOnPlateau(factor=0.1, patience=2)
    applied = rates(compiled(), len(errors), 1, [replay, rule])
    assert applied == pytest.approx([0.1] * 4 + [0.01] * 3 + [0.001] * 2)


def test_plateau_without_evaluation_is_an_error():
    with pytest.raises(InputError, match="val_top1_error"):
        rates(compiled(), 1, 1, [DivideOnPlateau()])


def test_resnet_110_warm_up_ends_when_the_mean_error_falls_below():
    """0.7 alone is chance; the mean of three batches counts, across the epochs of four."""
    errors = np.array([[0.95, 0.7, 0.9, 0.85], [0.8, 0.74, 0.9, 0.9]])
    running = (np.cumsum(errors, axis=1) / np.arange(1, 5)).ravel()
    replay = Replay("top1_error", running, "on_train_batch_end")
    rule = WarmUpUntilBelow(scale=0.1, error=0.8, batches=3)
    applied = rates(compiled(), 2, 4, [replay, rule])
    assert applied == pytest.approx([0.01] * 6 + [0.1] * 2)


def test_warm_up_without_the_metric_is_an_error():
    with pytest.raises(InputError, match="top1_error"):
        rates(compiled(), 1, 1, [WarmUpUntilBelow()])


def trained(optimizer, batch_size=8, inputs=(X, Y)):
    """The weights after two epochs of a model whose loss does not depend on the batch's shares."""
    model = small_model()
    model.layers[1].trainable = False
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*inputs, batch_size=batch_size, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def assert_close(ones, others, rtol=1e-4):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_accumulated_steps_equal_the_large_batch(replicas, mirrored):
    def rate():
        return StepDecay(0.1, [3, 10])  # schedules count updates

    whole = trained(optimizers.SGD(rate(), 0.9, 0.05))
    if replicas == 1:
        parts = optimizers.SGD(rate(), 0.9, 0.05, accumulate_steps=4)
        assert_close(whole, trained(parts, batch_size=2))
    else:
        with mirrored.scope():
            parts = optimizers.SGD(rate(), 0.9, 0.05, accumulate_steps=4)
            assert_close(whole, trained(parts, batch_size=2))
    assert int(parts.iterations) == 16
    assert parts.learning_rate_at(3) == pytest.approx(0.1)
    assert parts.learning_rate_at(4) == pytest.approx(0.01)


@pytest.mark.slow
def test_clipping_sees_the_sum_over_replicas(mirrored):
    clipped = trained(optimizers.SGD(0.1, 0.9, 0.0, clip_norm=0.2))
    theirs = trained(keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.2))
    assert_close(clipped, theirs)
    assert not np.allclose(clipped[0], trained(optimizers.SGD(0.1, 0.9, 0.0))[0], rtol=1e-2)
    with mirrored.scope():
        assert_close(clipped, trained(optimizers.SGD(0.1, 0.9, 0.0, clip_norm=0.2)))
        parts = optimizers.SGD(0.1, 0.9, 0.0, clip_norm=0.2, accumulate_steps=2)
        assert_close(clipped, trained(parts, batch_size=4))


def test_overflow_on_one_replica_leaves_the_update_out_on_all(mirrored, monkeypatch):
    monkeypatch.setattr("resnet_keras.training.optimizers.GROW_AFTER", 3)
    calm = np.ones((4, 1), "float32")
    wild = calm.copy()
    wild[3] = 1e30  # in the second replica's share: its gradient overflows

    def fit(optimizer, batches):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((1,)), layer])
        model.compile(optimizer, "mse", auto_scale_loss=False)
        x = np.concatenate(batches)
        model.fit(x, np.zeros(len(x)), batch_size=4, shuffle=False, verbose=0)
        return float(model.get_weights()[0][0, 0])

    with mirrored.scope():
        scaled = optimizers.SGD(0.1, 0.9, 0.0, loss_scaling=True)
        weight = fit(scaled, [wild, calm, calm])
        scale = float(keras.ops.convert_to_numpy(scaled.loss_scale))
        norms = scaled.gradient_norms()
    assert weight == pytest.approx(fit(optimizers.SGD(0.1, 0.9, 0.0), [calm, calm]))
    assert scale == INITIAL_LOSS_SCALE / 2
    assert not math.isfinite(norms[1])
    assert norms[2] == pytest.approx(2.0)
    assert int(keras.ops.convert_to_numpy(scaled.iterations)) == 3
    grown = optimizers.SGD(0.1, 0.9, 0.0, loss_scaling=True, accumulate_steps=2)
    fit(grown, [calm] * 6)
    assert float(grown.loss_scale) == 2 * INITIAL_LOSS_SCALE


def test_the_norms_of_the_last_gradients_are_kept():
    optimizer = optimizers.SGD(0.5, 0.0, 0.0)
    model = small_model()
    before, *after = [model.get_weights(), *train(model, optimizer, NORMS + 6)]
    norms = optimizer.gradient_norms()
    assert list(norms) == list(range(7, NORMS + 7))
    # Without momentum and decay a step is the gradient times the learning rate.
    trainable = [0, 1, 2, 3, 6, 7]
    for update in (7, NORMS + 6):
        one, other = ([before, *after][at] for at in (update - 1, update))
        squares = [np.sum(np.square((one[i] - other[i]) / 0.5)) for i in trainable]
        assert norms[update] == pytest.approx(math.sqrt(sum(squares)), rel=1e-3)


def test_weights_that_are_loaded_after_compile_are_averaged(tmp_path):
    model, other = small_model(), small_model()
    model.set_weights([weights + 1 for weights in other.get_weights()])
    model.save_weights(tmp_path / "m.weights.h5")
    optimizer = optimizers.SGD(0.1, ema=0.6)
    other.compile(optimizer, "mse")
    optimizer.build(other.trainable_variables)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        other.load_weights(tmp_path / "m.weights.h5")
    with optimizer.averaged():
        averaged = other.get_weights()
    for one, another, loaded in zip(
        averaged, other.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, loaded)
        np.testing.assert_array_equal(another, loaded)


@pytest.mark.parametrize("replicas", [1, 2])
def test_moving_averages_of_weights_and_statistics(replicas, mirrored):
    def run():
        model = small_model(normalization=layers.BatchNormalization)
        optimizer = optimizers.SGD(0.1, 0.9, 0.01, ema=0.6)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        optimizer.build(model.trainable_variables)
        expected = model.get_weights()
        for update in range(8):
            batch = slice(8 * update, 8 * update + 8)
            model.train_on_batch(X[batch], Y[batch])
            decay = min(0.6, (1 + update) / (10 + update))
            pairs = zip(expected, model.get_weights(), strict=True)
            expected = [decay * old + (1 - decay) * new for old, new in pairs]
        return model, optimizer, expected

    if replicas == 1:
        model, optimizer, expected = run()
    else:
        with mirrored.scope():
            model, optimizer, expected = run()
    last = model.get_weights()
    with optimizer.averaged():
        averaged = model.get_weights()
    for index in range(8):
        np.testing.assert_allclose(averaged[index], expected[index], rtol=1e-5, atol=1e-7)
        # A bias before batch normalization has no gradient but rounding noise.
        if index != 1:
            assert not np.allclose(averaged[index], last[index], rtol=1e-3)
    for one, other in zip(last, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(accumulate_steps=0),
        lambda: optimizers.SGD(clip_norm=0.0),
        lambda: optimizers.SGD(ema=1.0),
        lambda: optimizers.SGD(global_clipnorm=1.0),
        lambda: optimizers.SGD(use_ema=True),
        lambda: optimizers.SGD(gradient_accumulation_steps=2),
        lambda: optimizers.SGD(decayed="biases"),
        lambda: optimizers.SGD(weight_decay=-1e-4),
        lambda: StepDecay(0.1, [20, 10]),
        lambda: StepDecay(0.1, [0]),
        lambda: CosineDecay(0.1, 10, warmup_steps=10),
        lambda: schedules.PolynomialDecay(0.1, 10, warmup_steps=10),
        lambda: schedules.PolynomialDecay(0.1, 10, power=0.0),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(InputError):
        make()


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
