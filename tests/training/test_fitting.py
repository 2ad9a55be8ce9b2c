"""`training.fit` takes any Keras model to the same bits, however often it is killed."""

import csv
import shutil
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import optimizers, training
from resnet_keras.errors import InputError

STEPS, EVAL_EVERY = 10, 4
TIMES = ("seconds", "images_per_second", "input_wait")


class Killed(BaseException):
    """Ends a run as a kill does: nothing after it is done."""


class Kill(keras.callbacks.Callback):
    """Kills at the so-manyth batch of training or of evaluation in this process, or interrupts."""

    def __init__(self, where, count, number=None):
        super().__init__()
        self.where, self.count, self.number = where, count, number

    def _at(self, where):
        self.count -= where == self.where
        if self.count == 0:
            self.count = -1
            if self.number is None:
                raise Killed
            signal.raise_signal(self.number)

    def on_train_batch_end(self, batch, logs=None):
        self._at("train")

    def on_test_batch_end(self, batch, logs=None):
        self._at("test")


class Examples(keras.metrics.Metric):
    """Counts examples, as an int."""

    def __init__(self, name="examples"):
        super().__init__(name=name)
        self.count = self.add_variable((), "zeros", "int32", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(self.count + keras.ops.shape(y_pred)[0])

    def result(self):
        # A variable would be read after the evaluation that follows.
        return self.count + 0


def stream(example, batch, size=None):
    """A function from the first step to batches of examples made from their numbers."""

    def batches(start):
        last = np.iinfo(np.int64).max if size is None else size
        numbers = tf.data.Dataset.range(start * batch, last)
        return numbers.map(example).batch(batch, drop_remainder=True)

    return batches


def draw(number, shape, kind=0):
    return tf.random.stateless_normal(shape, tf.stack([number, kind]))


def segmenter():
    """Pixels above a threshold; a matrix and an int among the metrics; averages of Keras's own."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(2, 1),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanIoU(2, sparse_y_pred=False, name="iou"), Examples()],
    )

    def example(number):
        image = draw(number, (8, 8, 3))
        return image, tf.cast(tf.reduce_sum(image, -1) > 0, tf.int32)

    return model, example, ("val_iou", "max")


def two_inputs():
    """Dicts of inputs, targets and weights."""
    image, number = keras.Input((6,), name="image"), keras.Input((2,), name="number")
    x = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()([image, number]))
    x = keras.layers.Dropout(0.3)(x)
    outputs = {"kind": keras.layers.Dense(3)(x), "size": keras.layers.Dense(1)(x)}
    model = keras.Model({"image": image, "number": number}, outputs)
    model.compile(
        keras.optimizers.Adam(1e-2),
        {
            "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "size": keras.losses.MeanSquaredError(),
        },
        metrics={"kind": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]},
    )

    def example(number):
        image = draw(number, (6,))
        targets = {"kind": tf.cast(number % 3, tf.int32), "size": tf.reduce_sum(image)[None]}
        weights = {"kind": tf.constant(1.0), "size": tf.cast(number % 2, tf.float32)}
        return {"image": image, "number": draw(number, (2,), 1)}, targets, weights

    return model, example, ("val_loss", "min")


class Own(keras.Model):
    """A user's class, which is not built before it sees data."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(8, "relu")
        self.drop = keras.layers.Dropout(0.2)
        self.last = keras.layers.Dense(3)

    def call(self, inputs, training=False):
        return self.last(self.drop(self.first(inputs), training=training))


def subclassed():
    """This package's optimizer with averages and accumulation."""
    model = Own()
    model.compile(
        optimizers.SGD(0.05, ema=0.8, accumulate_steps=2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=2,
        auto_scale_loss=False,
    )

    def example(number):
        return draw(number, (5,)), tf.cast(number % 3, tf.int32)

    return model, example, ("val_accuracy", "max")


class Halving(keras.callbacks.Callback):
    """A rule with a state: the learning rate is halved every so many steps."""

    def __init__(self, every):
        super().__init__()
        self.every, self.seen = every, 0

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = state["seen"]

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen % self.every == 0:
            optimizer = self.model.optimizer
            optimizer.learning_rate = 0.5 * float(
                keras.ops.convert_to_numpy(optimizer.learning_rate)
            )


def run(make, folder, *kill, strategy=None, rules=(3, 7), **options):
    """Trains a toy that is made anew; returns its result."""
    keras.utils.set_random_seed(0)
    with (strategy or tf.distribute.get_strategy()).scope():
        model, example, monitor = make()
    accumulate = getattr(model.optimizer, "accumulate_steps", 1)
    batches = stream(example, 4)
    test = stream(lambda n: example(n + 10**6), 4, 12)(0)
    return training.fit(
        model,
        lambda step: batches(step * accumulate),
        test,
        workdir=folder,
        identity={"toy": make.__name__},
        monitor=monitor,
        callbacks=[*(Halving(every) for every in rules), *([Kill(*kill)] if kill else [])],
        **{
            "steps": STEPS,
            "eval_every": EVAL_EVERY,
            "checkpoint_every": 3,
            "tensorboard": False,
            "progress": False,
            **options,
        },
    )


def last_weights(folder):
    """All that the last weights' file holds, by its place."""
    import h5py

    arrays = []
    with h5py.File(folder / "weights.weights.h5") as file:
        file.visititems(lambda _, item: arrays.append(item[()]) if hasattr(item, "shape") else None)
    return arrays


def measured(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in r.items() if k not in TIMES} for r in csv.DictReader(file)]


def assert_equal(one, other):
    assert measured(one) == measured(other)
    for a, b in zip(last_weights(one), last_weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_finished_run_is_made_longer_as_if_it_had_been_begun_so(tmp_path):
    make = segmenter  # which ends by taking its averages
    one, other = tmp_path / "one", tmp_path / "other"
    run(make, one)
    run(make, other, steps=2 * EVAL_EVERY)
    with pytest.raises(Killed):  # it is not a finished run any more
        run(make, other, "train", 1)
    assert run(make, other).step == STEPS
    assert_equal(one, other)
    assert (one / "run.flags").read_text() == (other / "run.flags").read_text()


def scheduled(steps):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    rate = 0.1 if steps is None else keras.optimizers.schedules.CosineDecay(0.1, steps)
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model, lambda n: (draw(n, (2,)), draw(n, (1,))), ("val_loss", "min")


def test_a_run_that_more_steps_would_have_made_another_one_is_not_made_longer(tmp_path):
    def fit(steps, cosine=None, folder=tmp_path / "one", **options):
        return run(lambda: scheduled(cosine), folder, rules=(), steps=steps, **options)

    fit(4, cosine=4)
    before = {path: path.read_bytes() for path in tmp_path.glob("one/*.*")}
    with pytest.raises(InputError, match=r"depend on how many .* leave it at 4 steps, or begin"):
        fit(8, cosine=8)
    with pytest.raises(InputError, match=r"--steps=4 there, --steps=2 here.*not shorter"):
        fit(2, cosine=4)
    assert {path: path.read_bytes() for path in tmp_path.glob("one/*.*")} == before
    fit(6, folder=tmp_path / "two")
    with pytest.raises(InputError, match="has no evaluation at step 6"):
        fit(8, folder=tmp_path / "two")
    fit(4, folder=tmp_path / "three")
    shutil.rmtree(tmp_path / "three" / "checkpoints")
    with pytest.raises(InputError, match="its checkpoints are gone"):
        fit(8, folder=tmp_path / "three")


# The third is in an evaluation that ends an epoch, the fourth in the last one.
KILLS = [("train", 2), ("train", 5), ("test", 2), ("train", 1)]


@pytest.mark.parametrize(
    ("make", "replicas", "kills"),
    [
        pytest.param(segmenter, 1, KILLS, marks=pytest.mark.slow),
        pytest.param(two_inputs, 2, KILLS[1:3], marks=pytest.mark.slow),
        (subclassed, 1, KILLS[1:3]),
    ],
)
def test_killed_anywhere_it_ends_in_the_same_bits(make, replicas, kills, tmp_path, mirrored):
    strategy = mirrored if replicas == 2 else None
    one, other = tmp_path / "one", tmp_path / "other"
    result = run(make, one, strategy=strategy)
    assert (result.step, result.went_before) == (STEPS, False)
    assert [row["step"] for row in result.rows] == [4, 8, 10]
    for where, count in kills:
        with pytest.raises(Killed):
            run(make, other, where, count, strategy=strategy)
    with pytest.raises(training.Preempted, match="SIGTERM"):
        run(make, other, "train", 1, signal.SIGTERM, strategy=strategy)
    run(make, other, strategy=strategy)
    assert_equal(one, other)
    assert {path.name.split(".")[0] for path in other.iterdir()} >= {"best", "weights", "run"}
    again = run(make, other, strategy=strategy)
    assert (again.went_before, again.step) == (True, STEPS)
    assert again.rows[-1].keys() == result.rows[-1].keys()


def in_half_precision():
    """Keras's wrapper that scales the loss, and two steps between two looks at the run."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, example, monitor = two_inputs()
        losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
        model.compile(keras.optimizers.Adam(1e-2), losses, steps_per_execution=2)
    finally:
        keras.config.set_dtype_policy(policy)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    return model, example, monitor


@pytest.mark.slow
def test_scaled_losses_and_several_steps_at_once(tmp_path):
    options = {"checkpoint_every": 2, "rules": ()}
    run(in_half_precision, tmp_path / "one", **options)
    for where, count in (("train", 2), ("train", 1), ("test", 1)):
        with pytest.raises(Killed):
            run(in_half_precision, tmp_path / "other", where, count, **options)
    run(in_half_precision, tmp_path / "other", **options)
    assert_equal(tmp_path / "one", tmp_path / "other")


@pytest.mark.slow
def test_an_interrupt_stops_it_in_an_evaluation(tmp_path):
    run(segmenter, tmp_path / "one")
    with pytest.raises(training.Preempted, match="at step 8 by SIGINT"):
        run(segmenter, tmp_path / "other", "test", 5, signal.SIGINT)
    run(segmenter, tmp_path / "other")
    assert_equal(tmp_path / "one", tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        run(segmenter, tmp_path / "third", "train", 2, signal.SIGINT, handle_signals=False)


@pytest.mark.slow
def test_a_function_measures_what_decides_of_the_best(tmp_path):
    """Weights as the user writes them, without a test set."""
    values = iter([1.0, 3.0, 2.0])
    saved = []

    def save(path):
        saved.append(path.name)
        path.with_name(f"{path.name}.txt").write_text(str(len(saved)))

    model, example, _ = two_inputs()
    result = training.fit(
        model,
        stream(example, 4),
        workdir=tmp_path / "run",
        steps=STEPS,
        eval_every=EVAL_EVERY,
        monitor=("score", "max"),
        evaluate=lambda given: {"score": next(values), "own": float(given is model)},
        save=save,
        progress=False,
    )
    assert saved == ["best", "best", "weights"]
    assert (tmp_path / "run" / "best.txt").read_text() == "2"
    assert result.weights == tmp_path / "run" / "weights.txt"
    assert [(row["score"], row["own"]) for row in result.rows] == [(1, 1), (3, 1), (2, 1)]
    assert "val_loss" not in result.rows[0]


def test_a_callback_may_end_it(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model, example, _ = two_inputs()
    result = training.fit(
        model,
        stream(example, 4),
        stream(example, 4, 8)(0),
        workdir=tmp_path / "run",
        steps=400,
        eval_every=2,
        callbacks=[Stop()],
    )
    assert result.step == 4
    assert result.weights.exists()


class StopAt(keras.callbacks.Callback):
    """Ends the run after a step, which it counts by itself; without state it forgets the steps."""

    def __init__(self, step):
        super().__init__()
        self.step, self.seen = step, 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.step:
            self.model.stop_training = True


@pytest.mark.slow
def test_a_stop_in_the_middle_of_an_epoch_outlives_a_kill(tmp_path):
    def stopped(folder, *kill):
        keras.utils.set_random_seed(0)
        model, example, monitor = two_inputs()
        return training.fit(
            model,
            stream(example, 4),
            stream(example, 4, 8)(0),
            workdir=folder,
            steps=STEPS,
            eval_every=EVAL_EVERY,
            monitor=monitor,
            callbacks=[StopAt(6), *([Kill(*kill)] if kill else [])],
            tensorboard=False,
            progress=False,
        )

    one, other = tmp_path / "one", tmp_path / "other"
    assert stopped(one).step == 6
    for count in (3, 1):  # in the evaluation after the stop, each of which has two batches
        with pytest.raises(Killed):
            stopped(other, "test", count)
    result = stopped(other)
    assert (result.step, [row["step"] for row in result.rows]) == (6, [4, 6])
    assert_equal(one, other)


def test_the_line_and_the_events(tmp_path, capsys):
    run(segmenter, tmp_path / "run", progress=True, tensorboard=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert " loss 0." in lines[0]
    assert " iou 0." in lines[0]
    assert "images/s" in lines[0]
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_what_does_not_fit_is_told(tmp_path, mirrored):
    run(segmenter, tmp_path / "run")
    with pytest.raises(InputError, match=r"toy=\"segmenter\" there, --toy=\"two_inputs\" here"):
        run(two_inputs, tmp_path / "run")
    with pytest.raises(Killed):
        run(two_inputs, tmp_path / "killed", "train", 4)
    with pytest.raises(InputError, match=r"with the callbacks .*3/Halving, 4/Halving.* the same"):
        run(two_inputs, tmp_path / "killed", rules=(3,))
    shutil.copytree(tmp_path / "killed" / "checkpoints", tmp_path / "other" / "checkpoints")
    with pytest.raises(InputError, match=r"does not fit: of the model, \d+ variables there"):
        run(segmenter, tmp_path / "other")
    with pytest.raises(InputError, match=r"of 1 replica\(s\), and there are 2 here"):
        run(two_inputs, tmp_path / "killed", strategy=mirrored)
    with pytest.raises(InputError, match="'val_nothing', which is not among the measures"):
        run(lambda: (*two_inputs()[:2], ("val_nothing", "min")), tmp_path / "unmeasured")
    with pytest.raises(InputError, match="--steps=10 there, --steps=8 here"):
        run(two_inputs, tmp_path / "killed", steps=8)
    with pytest.raises(InputError, match=r"wrote no file best\.\*"):
        run(two_inputs, tmp_path / "unsaved", save=print)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps must be a positive whole number"),
        ({"eval_every": 1.5}, "eval_every must be"),
        ({"monitor": ("val_loss", "up")}, "'min' or 'max'"),
        ({"test": None}, "give test or evaluate"),
        ({"train": lambda start: stream(two_inputs()[1], 4, 40)(start)}, "ends after 10 batches"),
        ({"train": lambda start: 7}, "gives a tf.data.Dataset, not a int"),
        ({"test": stream(two_inputs()[1], 4)(0).repeat()}, "test has no end"),
        ({"identity": {"a b": 1}}, "not 'a b'"),
        ({"keep": 0}, "keep must be a positive"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a positive"),
        ({"callbacks": [keras.callbacks.EarlyStopping()]}, "Keras's EarlyStopping begins anew"),
        ({"train": lambda start: stream(two_inputs()[1], 4, 12)(0).filter(lambda *_: True)}, "end"),
        ({"save": lambda path: [open(f"{path}.{n}", "w").close() for n in "ab"]}, "one file"),
        ({"identity": {"a": print}}, "JSON"),
        ({"model": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])}, "not compiled"),
    ],
)
def test_mistakes_end_in_one_sentence(options, words, tmp_path):
    model, example, _ = two_inputs()
    arguments = {
        "model": model,
        "train": stream(example, 4),
        "test": stream(example, 4, 8)(0),
        "workdir": tmp_path / "run",
        "steps": 4,
        "eval_every": 2,
    }
    with pytest.raises(InputError) as error:
        training.fit(**{**arguments, **options})
    assert words in str(error.value)


def test_accumulation_and_executions_must_fit(tmp_path):
    model, example, monitor = subclassed()
    model.steps_per_execution = 1
    same = {"workdir": tmp_path, "monitor": monitor, "steps": 4, "eval_every": 2}
    with pytest.raises(InputError, match="compile with steps_per_execution=2"):
        training.fit(model, stream(example, 4), stream(example, 4, 8)(0), **same)
    model.steps_per_execution = 8
    with pytest.raises(InputError, match="eval_every=2 must be a multiple of steps_per_exec"):
        training.fit(model, stream(example, 4), stream(example, 4, 8)(0), **same)


def test_a_batch_that_replicas_cannot_share(tmp_path, mirrored):
    with mirrored.scope():
        model, example, _ = two_inputs()
    with pytest.raises(InputError, match="Batches of 3 cannot be split equally among 2 replicas"):
        training.fit(
            model, stream(example, 3), stream(example, 4, 8)(0),
            workdir=tmp_path, steps=4, eval_every=2,
        )  # fmt: skip


def test_streams_are_checked():
    _, example, _ = two_inputs()
    batches = stream(example, 4)
    training.check_stream(batches)
    whole = batches(0)
    training.check_stream(whole.skip)
    with pytest.raises(InputError, match="other batches the second time"):
        training.check_stream(lambda step: whole.shuffle(100))
    with pytest.raises(InputError, match=r"train\(1\) does not begin with the batch"):
        training.check_stream(lambda step: whole)
    with pytest.raises(InputError, match=r"train\(0\) ends after 2 batches"):
        training.check_stream(lambda step: whole.take(2))
    with pytest.raises(InputError, match=r"train\(3\) ends after 1 batches"):
        training.check_stream(lambda step: whole.take(5).skip(step + (step == 3)))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
