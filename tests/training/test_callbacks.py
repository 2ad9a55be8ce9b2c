"""What watches a run: guards, metrics, profiles."""

import io
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from resnet_keras import optimizers
from resnet_keras.errors import InputError
from resnet_keras.training import callbacks, fitting

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 64)


def compiled(rate, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy")
    metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy")
    model.compile(optimizers.SGD(rate, **options), loss, metrics=[metric])
    return model


@pytest.mark.parametrize(
    ("step", "total", "expected"),
    [
        (0, 10, [(0, 2, 4), (2, 1, 2)]),
        (0, 8, [(0, 2, 4)]),
        (0, 3, [(0, 1, 3)]),
        (5, 10, [(1, 1, 3), (2, 1, 2)]),
        (5, 20, [(1, 1, 3), (2, 3, 4)]),
        (8, 10, [(2, 1, 2)]),
        (9, 10, [(2, 1, 1)]),
        (10, 10, []),
    ],
)
def test_stretches_lead_to_the_end(step, total, expected):
    assert fitting.stretches(step, total, 4) == expected


class Poison(keras.callbacks.Callback):
    """Makes the weights infinite after a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.step - 1:
            self.model.trainable_variables[0].assign(np.full((4, 3), np.inf))


def test_a_loss_that_is_no_number_stops_at_its_step(capsys):
    counter = callbacks.Counter()
    guard = callbacks.Guard(counter)
    rate = optimizers.StepDecay(0.1, [3])
    with pytest.raises(
        InputError, match=r"The loss is (nan|inf) at step 5: lower the learning rate"
    ):
        compiled(rate).fit(X, Y, 8, callbacks=[counter, Poison(5), guard], verbose=0)
    table = capsys.readouterr().err.splitlines()
    assert table[0].split() == ["step", "loss*", "lr", "gradient", "norm"]
    rows = [line.split() for line in table[1:-1]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [float(row[2]) for row in rows] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01])
    assert all(0 < float(row[3]) < 10 for row in rows[:4])
    assert not math.isfinite(float(rows[4][3]))


def test_weights_that_are_no_numbers_are_not_kept():
    counter = callbacks.Counter()
    guard = callbacks.Guard(counter)
    model = compiled(0.1)
    model.fit(X[:8], Y[:8], 8, callbacks=[counter, guard], verbose=0)
    guard.check(True)
    with pytest.raises(InputError, match=r"weights are no numbers after the update at step 1"):
        guard.check(False)


def test_overflow_that_no_loss_scale_ends_stops_the_run():
    counter = callbacks.Counter()
    guard = callbacks.Guard(counter)
    model = compiled(0.1, loss_scaling=True)
    model.fit(X[:8], Y[:8], 8, callbacks=[counter, guard], verbose=0)
    variables = model.trainable_variables
    infinite = [np.full(v.shape, np.inf, "float32") for v in variables]
    for _ in range(15):  # from 2 ** 15 down to 1
        guard.check(True)
        model.optimizer.apply(infinite, variables)
        counter.step += 1
    with pytest.raises(InputError, match=r"inf without any loss scaling left at step 16"):
        guard.check(True)


def test_the_first_bad_step_of_an_execution_is_named():
    counter = callbacks.Counter(steps_per_call=4)
    guard = callbacks.Guard(counter)
    model = compiled(0.1)
    images = np.concatenate([X[:24], np.full((8, 4), np.nan, "float32"), X[32:]])
    model.steps_per_execution = 4
    with pytest.raises(InputError, match="at step 4"):
        model.fit(images, Y, 8, callbacks=[counter, guard], shuffle=False, verbose=0)


def test_a_profile_is_written(tmp_path):
    profile = callbacks.Profile(tmp_path, skip=2, calls=2)
    compiled(0.1).fit(X, Y, 8, callbacks=[profile], verbose=0)
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_what_bounds_a_run():
    counter = callbacks.Counter()
    counter.seconds, counter.input_seconds = 10.0, 0.5
    assert callbacks.verdict(counter) == "bounded by compute: waited 0.50 of 10.0 s for input"
    counter.input_seconds = 6.0
    found = callbacks.verdict(counter)
    assert found.startswith("bounded by input: waited 6.00 of 10.0 s")
    assert "2.5x" in found
    counter.input_seconds = math.nan
    assert "not seen" in callbacks.verdict(counter)


def test_shares_are_told_in_percent():
    assert callbacks.measure("top1_error", 0.05) == "top1_error 5.00 %"
    assert callbacks.measure("sparse_categorical_accuracy", 0.5).endswith("accuracy 50.00 %")
    assert callbacks.measure("mean_squared_error", 12.0) == "mean_squared_error 12.0000"


def test_a_log_gets_a_line_a_minute_between_evaluations():
    clock, stream = SimpleNamespace(now=0.0), io.StringIO()
    counter = callbacks.Counter()
    progress = callbacks.Progress(
        counter, 1000, {"loss": "loss"}, stream=stream, clock=lambda: clock.now
    )
    progress.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1)))
    for step in range(1, 301):  # a second each
        clock.now, counter.step = step, step
        progress.on_train_batch_end(step - 1, {"loss": 1.0})
        if step % 150 == 0:
            progress.on_epoch_end(step // 150, {"loss": 1.0})
    steps = [
        int(line.split("/")[0].removeprefix("step")) for line in stream.getvalue().splitlines()
    ]
    assert steps == [60, 120, 150, 210, 270, 300]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
