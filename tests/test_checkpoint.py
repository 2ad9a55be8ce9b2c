"""Checkpoints prove themselves whole, and put everything back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import checkpoint, layers, optimizers
from resnet_keras.checkpoint import Checkpoint
from resnet_keras.errors import InputError


def made(step):
    values = np.arange(50, dtype="float32") + step
    return Checkpoint(step, {"a": values, "count": np.array(step, "int64")}, {"best": 0.1 * step})


def test_the_last_ones_are_kept_and_read(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    for step in (3, 6, 9, 12):
        checkpoint.write(tmp_path, made(step), keep=2)
    assert [path.name[:13] for path in sorted(tmp_path.iterdir())] == [
        "step-00000009",
        "step-00000012",
    ]
    found = checkpoint.latest(tmp_path)
    assert found.step == 12
    assert found.record == {"best": 0.1 * 12}  # to the bit
    assert found.tensors["count"].shape == ()
    np.testing.assert_array_equal(found.tensors["a"], made(12).tensors["a"])


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
    checkpoint.write(tmp_path, made(3), keep=2)
    last = checkpoint.write(tmp_path, made(6), keep=2)
    whole = last.read_bytes()
    flipped = [(place, 1 << place % 8) for place in range(len(whole))]
    for place, bit in flipped:
        content = bytearray(whole)
        content[place] ^= bit
        last.write_bytes(content)
        with pytest.warns(UserWarning, match="step 6 is damaged"):
            assert checkpoint.latest(tmp_path).step == 3
    for size in (0, 1, 8, 100, len(whole) - 1):
        last.write_bytes(whole[:size])
        with pytest.warns(UserWarning, match="step 6 is damaged"):
            assert checkpoint.latest(tmp_path).step == 3
    last.unlink()
    last.mkdir()  # not even a file
    with pytest.warns(UserWarning, match="step 6 is damaged"):
        assert checkpoint.latest(tmp_path).step == 3


def test_a_damaged_one_makes_way_for_the_step_done_again(tmp_path):
    checkpoint.write(tmp_path, made(3), keep=3)
    damaged = checkpoint.write(tmp_path, made(6), keep=3)
    damaged.write_bytes(b"")
    checkpoint.write(tmp_path, made(5), keep=3)
    assert not damaged.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_keeps_what_is_there(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, made(3), keep=1)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(InputError, match="No space left"):
            checkpoint.write(tmp_path, made(6), keep=1)
    assert checkpoint.latest(tmp_path).step == 3
    assert len(list(tmp_path.iterdir())) == 1


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
    used = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 4)).astype("float32"), generator.integers(0, 3, 64)
    with used.scope():
        one, other = small_model(), small_model()
        for model, count in ((one, 64), (other, 16)):
            model.fit(x[:count], y[:count], batch_size=16, verbose=0, shuffle=False)
        captured = checkpoint.capture(one, used)
        assert captured["metrics"].shape[0] == used.num_replicas_in_sync
        assert len(set(captured["metrics"][:, 0])) > 1  # replicas saw different examples
        checkpoint.write(tmp_path, Checkpoint(4, captured, {}), keep=1)
        read = checkpoint.latest(tmp_path)
        checkpoint.restore(other, used, read.tensors)
        checkpoint.restore_metrics(other, used, read.tensors["metrics"])
        again = checkpoint.capture(other, used)
        assert again.keys() == captured.keys()
        assert {name.split("/")[-1] for name in captured} >= {"seed_generator_state", "iteration"}
        for name, value in captured.items():
            np.testing.assert_array_equal(value, again[name], err_msg=name)
        assert one.get_metrics_result() == other.get_metrics_result()


def test_what_is_no_number_is_noticed():
    good = {"model/0/kernel": np.ones(3, "float32"), "optimizer/0/norms": np.array([np.nan])}
    assert checkpoint.is_finite(good)
    assert not checkpoint.is_finite({**good, "model/1/bias": np.array([0, np.inf])})


def test_another_model_is_refused():
    used = tf.distribute.get_strategy()
    model = small_model()
    model.train_on_batch(np.zeros((2, 4)), np.zeros(2))
    tensors = checkpoint.capture(model, used)
    name = next(name for name in tensors if name.endswith("dense/kernel"))
    with pytest.raises(InputError, match=r"another network.*kernel"):
        checkpoint.restore(model, used, {**tensors, name: np.zeros((4, 9), "float32")})
    with pytest.raises(InputError, match="number of replicas"):
        checkpoint.restore(model, used, {**tensors, "metrics": np.zeros((2, 6), "float32")})


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
