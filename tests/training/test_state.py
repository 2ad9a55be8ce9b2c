"""All that decides how training goes on is read and put back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import optimizers
from resnet_keras.errors import InputError
from resnet_keras.networks import layers
from resnet_keras.training import checkpoint, state
from resnet_keras.training.checkpoint import Checkpoint


def small_model():
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((4,))
    for layer in (
        keras.layers.Dense(8, name="dense"),
        keras.layers.BatchNormalization(name="norm"),
        layers.Dropout(0.5, name="dropout"),
        keras.layers.Dense(3, name="logits"),
    ):
        x = layer(x)
    model = keras.Model(inputs, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.SGD(0.1, ema=0.9), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def test_everything_is_captured_and_restored(tmp_path):
    """Weights, statistics, seeds, momenta, averages, and the metrics' sums of each replica."""
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 4)).astype("float32"), generator.integers(0, 3, 64)
    with strategy.scope():
        one, other = small_model(), small_model()
        for model, count in ((one, 64), (other, 16)):
            model.fit(x[:count], y[:count], batch_size=16, verbose=0, shuffle=False)
        captured = state.capture(one, strategy)
        sums = [value for name, value in captured.items() if name.startswith("metrics/")]
        assert all(len(value) == strategy.num_replicas_in_sync for value in sums)
        assert len(set(sums[0])) > 1  # replicas saw different examples
        checkpoint.write(tmp_path, Checkpoint(4, captured, {}), keep=1)
        read = checkpoint.latest(tmp_path)
        state.restore(other, strategy, read.tensors)
        state.restore_metrics(other, strategy, read.tensors)
        again = state.capture(other, strategy)
        assert again.keys() == captured.keys()
        assert {name.split("/")[-1] for name in captured} >= {"seed_generator_state", "iteration"}
        for name, value in captured.items():
            np.testing.assert_array_equal(value, again[name], err_msg=name)
        assert one.get_metrics_result() == other.get_metrics_result()


def test_variables_that_no_checkpoint_holds_are_named():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="bfloat16")])
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match=r"dense.*/kernel is stored as bfloat16.* mixed_bfloat16"):
        state.check(model)


def test_what_is_no_number_is_noticed():
    good = {"model/0/kernel": np.ones(3, "float32"), "optimizer/0/norms": np.array([np.nan])}
    assert state.is_finite(good)
    assert not state.is_finite({**good, "model/1/bias": np.array([0, np.inf])})


def test_another_model_is_refstrategy():
    strategy = tf.distribute.get_strategy()
    model = small_model()
    model.train_on_batch(np.zeros((2, 4)), np.zeros(2))
    tensors = state.capture(model, strategy)
    name = next(name for name in tensors if name.endswith("dense/kernel"))
    with pytest.raises(InputError, match=r"of the model, .*kernel \(4, 9\) there"):
        state.restore(model, strategy, {**tensors, name: np.zeros((4, 9), "float32")})
    name, value = next((n, v) for n, v in tensors.items() if n.startswith("metrics/"))
    with pytest.raises(InputError, match=r"is of 2 replica\(s\), and there are 1 here"):
        state.restore(model, strategy, {**tensors, name: np.repeat(value, 2, axis=0)})
    fewer = {n: v for n, v in tensors.items() if not n.startswith("optimizer/0")}
    with pytest.raises(InputError, match=r"of the optimizer, \d+ variables there, \d+ here"):
        state.restore(model, strategy, fewer)
    with pytest.raises(InputError, match="another version of this package"):
        state.restore(model, strategy, {**tensors, "metrics": np.zeros((1, 6), "float32")})


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
