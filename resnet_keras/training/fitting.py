"""One function that trains any compiled Keras model, or goes on with it, to the same bits.

    def train(start_step):  # the stream from that step on: a pure function of the step
        return batches.skip(start_step)

    training.fit(model, train, test, workdir="runs/mine", steps=1000, eval_every=100)

Killed at any moment and called again with the same arguments, it ends as if it had not been.
"""

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, write_atomically

from . import callbacks as watching
from . import checkpoint, environment, keras_patches, replicas, run_folder, state
from .checkpointing import Checkpoints
from .feed import Feed, batch_size
from .signals import Agreement, Signals

Stream = Callable[[int], tf.data.Dataset]
DIRECTIONS = ("min", "max")


class Result(NamedTuple):
    """What came of a run.

    Attributes:
        workdir: the run's folder.
        step: at which it ended.
        rows: metrics.csv's, one for each evaluation: numbers, None for what is not known.
        weights: the file with the last weights; None on workers that do not write.
        went_before: whether the run had come to its end before, so that nothing was done.
        verdict: in words, what bounded the training: input or compute.
        seconds: of training, without evaluations and the first step, which compiles.
    """

    workdir: Path
    step: int
    rows: list[dict[str, float | None]]
    weights: Path | None
    went_before: bool = False
    verdict: str = ""
    seconds: float = 0.0


def fit(
    model: keras.Model,
    train: Stream,
    test: tf.data.Dataset | None = None,
    *,
    workdir: str | os.PathLike,
    steps: int,
    eval_every: int,
    identity: str | Mapping[str, Any] | None = None,
    monitor: tuple[str, str] = ("val_loss", "min"),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    save: Callable[[Path], object] | None = None,
    evaluate: Callable[[keras.Model], Mapping[str, float]] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    columns: Mapping[str, str] | None = None,
    checkpoint_every: int | None = None,
    keep: int = 3,
    free: Collection[str] = (),
    test_name: str = "val",
    tensorboard: bool = True,
    profile: bool = False,
    handle_signals: bool | Signals = True,
    progress: bool = True,
) -> Result:
    """Trains a compiled model, or goes on with a run that was stopped or killed.

    Args:
        model: compiled, with any optimizer of Keras's. Made anew for each start, from the same
            seeds.
        train: gives the training batches from a step on, without end: tensors as `Model.fit` takes
            them, in any nest. A pure function of the step, see `check_stream`. With
            `accumulate_steps` of `optimizers.SGD`, a step has so many batches; with several
            workers, it gives this one's share.
        test: what the model is evaluated on; its measures are called val_NAME. For several
            replicas, batches of one known size: of the last one, weigh what fills it up with 0.
        workdir: the run's folder: it receives run.flags (the identity), environment.json,
            metrics.csv, TensorBoard events, checkpoints, and the best and the last weights.
        steps: updates of the weights until the end, of which each is a batch of `train`.
        eval_every: steps between evaluations.
        identity: what a start must agree with: values by name, beside `steps` and `eval_every`, or
            a whole flagfile. A folder whose run has other values is refused, and the difference is
            told.
        monitor: the measure whose best value decides which weights are the best ones, and whether
            it is to be small, "min", or large, "max".
        callbacks: of Keras. `fit` is called once for each start and each stretch of equal epochs;
            an epoch ends in an evaluation. What decides how training goes on and is no variable
            must come back: a callback that has `get_state()`, ready for JSON, and `set_state(...)`
            is stored with the checkpoints, by its place and class. (Keras's EarlyStopping,
            ReduceLROnPlateau and LearningRateScheduler begin anew with every call, and are
            refused.) A callback may end the run by `model.stop_training`, in `on_epoch_end`.
        save: writes the model's weights, given a path without an ending, to which it adds one:
            `lambda path: model.save(f"{path}.keras")`. Without it, path.weights.h5.
        evaluate: measures more, after `test` or instead of it; its numbers join the others.
        strategy: under whose scope the model was made; without it, the model's own.
        columns: of metrics.csv and the progress line: {column: what Keras's logs call it}. Without,
            all that Keras logs.
        checkpoint_every: steps between checkpoints; `eval_every` without. There is one before each
            evaluation in any case.
        keep: how many checkpoints are kept.
        free: names of the identity that may differ.
        test_name: what the progress line calls `test`.
        tensorboard: write TensorBoard events.
        profile: write a TensorBoard profile of 10 executions, from the third on.
        handle_signals: stop at a checkpoint on SIGTERM and SIGINT, as a notebook's interrupt is; or
            the `Signals` that are taken already.
        progress: print a line for each evaluation.

    Returns:
        What came of the run; of one that had come to its end before, too.

    Raises:
        InputError: the arguments or the batches do not fit, the folder holds another run, is in use
            or cannot be written to, or loss or weights are no numbers.
        Preempted: a signal stopped the run at a checkpoint; called again, it goes on.
    """
    if getattr(model, "optimizer", None) is None:
        raise InputError("The model is not compiled: call model.compile(optimizer, loss) first.")
    strategy = strategy or model.distribute_strategy
    is_chief = replicas.workers(strategy).is_chief
    accumulate = getattr(watching.own_optimizer(model), "accumulate_steps", 1)
    _check(model, steps, eval_every, checkpoint_every, keep, monitor, accumulate)
    if test is None and evaluate is None and monitor[0].startswith("val_"):
        raise InputError(
            f"{monitor[0]} is measured by an evaluation: give test or evaluate, or name a measure of "
            "training as monitor, such as ('loss', 'min')."
        )
    if not isinstance(identity, str):
        identity = {**(identity or {}), "steps": steps, "eval_every": eval_every}
    _check_callbacks(callbacks)
    if replicas.workers(strategy).total > 1:
        keras_patches.mend()  # as `make_strategy` has done already
    save = save or (lambda path: model.save_weights(f"{path}.weights.h5"))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            run_folder.take(workdir, identity, free=free, is_chief=is_chief)
        )
        if run_folder.last_weights(folder) is not None:
            if progress:
                print(f"{folder} holds a finished run, and nothing is trained", flush=True)
            return _before(folder)
        if isinstance(handle_signals, Signals):
            signals = handle_signals
            signals.hold()
        else:
            signals = Signals(held=True)
            if handle_signals:
                stack.enter_context(signals)

        def save_weights(name):
            if is_chief:
                with watching.averaged(model):
                    run_folder.save_weights(folder, name, save)

        data = train(0)
        _check_batches(data, test)
        keras_patches.build(model, strategy, data.element_spec)
        state.check(model)
        if is_chief and not (folder / run_folder.ENVIRONMENT).exists():
            _write_environment(folder, strategy, model, monitor, columns or {})
        per_call = max(model.steps_per_execution // accumulate, 1)
        counter = watching.Counter(per_call)
        size = batch_size(data)
        size = size and size * accumulate * replicas.workers(strategy).total
        metrics = watching.Metrics(counter, size, columns)
        guard = watching.Guard(counter)
        best = watching.Best(lambda: save_weights(run_folder.BEST), *monitor)
        keeper = Checkpoints(
            make_folder(folder / run_folder.CHECKPOINTS) if is_chief else None,
            strategy,
            counter,
            [counter, metrics, best, *callbacks],
            every=checkpoint_every or eval_every,
            eval_every=eval_every,
            total_steps=steps,
            keep=keep,
            guard=guard,
            agreement=Agreement(signals, strategy),
        )
        _resume(model, strategy, keeper, counter, folder, progress)
        shown = []
        if is_chief:
            metrics.write(folder / run_folder.METRICS)
            if progress:
                told = _told(monitor[0], columns or {})
                shown.append(watching.Progress(counter, steps, told, size, test_name))
            if tensorboard:
                shown.append(watching.TensorBoardScalars(folder / run_folder.EVENTS, metrics))
            if profile:
                shown.append(watching.Profile(folder / run_folder.EVENTS))
        # Rules come after what tells the learning rate that made the steps.
        every = [
            counter,
            guard,
            *([watching.AveragedWeights()] if watching.has_averages(model) else []),
            *([watching.Evaluation(evaluate)] if evaluate else []),
            metrics,
            best,
            *shown,
            *callbacks,
            keeper,
        ]
        # Several workers fail in Keras's loop; theirs is in Python.
        in_graph = per_call > 1 and replicas.workers(strategy).total == 1
        _train(
            model,
            lambda step: Feed(
                strategy, data if step == 0 else train(step), in_graph=in_graph, endless=True
            ),
            None if test is None else Feed(strategy, test, in_graph=in_graph),
            keras.callbacks.CallbackList(every, add_history=True, model=model),
            keeper,
            steps=steps,
            eval_every=eval_every,
            batches_per_step=accumulate,
        )
        save_weights(run_folder.LAST)
        return Result(
            folder,
            counter.step,
            [_numbers(row) for row in metrics.rows],
            run_folder.last_weights(folder) if is_chief else None,
            verdict=watching.verdict(counter),
            seconds=counter.seconds,
        )


def _train(model, train, test, every, keeper, *, steps, eval_every, batches_per_step) -> None:
    """Trains and evaluates by Keras's `fit`, from wherever the run is to its end."""
    counter, optimizer = keeper.counter, model.optimizer
    if counter.step > steps:
        raise InputError(f"The run is at step {counter.step} already, and steps={steps}.")
    model.stop_training = False  # of some `fit` before
    try:
        with keras_patches.without_finalizing(optimizer):
            if counter.step and (counter.step % eval_every == 0 or counter.step == steps):
                _finish_epoch(model, test, every, keeper, -(-counter.step // eval_every) - 1)
            for first, epochs, length in stretches(counter.step, steps, eval_every):
                if model.stop_training:  # as a callback may ask
                    break
                expected = counter.step + epochs * length
                counter.feed = train(counter.step)
                model.fit(
                    counter.feed.batches(),
                    initial_epoch=first,
                    epochs=first + epochs,
                    steps_per_epoch=length * batches_per_step,
                    validation_data=None if test is None else test.batches(),
                    callbacks=every,
                    shuffle=False,  # the stream is shuffled
                    verbose=0,
                )
                if counter.step < expected and not model.stop_training:
                    raise InputError(
                        f"train came to its end before step {expected}, at {counter.step}: a stream "
                        "has no end, as .repeat() makes it."
                    )
        optimizer.finalize_variable_values(model.trainable_variables)
    finally:
        for callback in every.callbacks:
            if isinstance(callback, watching.Profile):
                callback.stop()


def _finish_epoch(model, test, every, keeper, epoch) -> None:
    """Evaluates as `fit` does at the end of an epoch, for a run that was resumed right there."""
    every.on_train_begin()  # as `fit` does; Keras's own History relies on it
    keeper.at_rest()
    measured = {}
    if test is not None:
        measured = model.evaluate(test.batches(), callbacks=every, return_dict=True, verbose=0)
    tested = {f"val_{name}": value for name, value in measured.items()}
    every.on_epoch_end(epoch, {**keeper.training_logs, **tested})


def stretches(step: int, total_steps: int, eval_every: int) -> Sequence[tuple[int, int, int]]:
    """How `fit` gets from a step to the end, when each of its epochs ends in an evaluation.

    Returns:
        (first epoch, epochs, steps per epoch) for each call: the rest of an epoch, whole ones, a
        last short one.
    """
    found = []
    rest = min(-step % eval_every, total_steps - step)
    if rest:
        found.append((step // eval_every, 1, rest))
        step += rest
    first, (epochs, last) = step // eval_every, divmod(total_steps - step, eval_every)
    if epochs:
        found.append((first, epochs, eval_every))
    return found + [(first + epochs, 1, last)] * (last > 0)


def check_stream(train: Stream, steps: Sequence[int] = (1, 3)) -> None:
    """Checks that a stream is what `fit` needs to go on exactly: a pure function of the step.

    Args:
        train: as for `fit`, without accumulation.
        steps: from which it is begun again, besides 0.

    Raises:
        InputError: it gives other batches each time, or the batches from a step on are not those
            that come at that step, or it ends.
    """
    last = max(steps) + 1

    def batches(start, count):
        found = list(itertools.islice(train(start).as_numpy_iterator(), count))
        if len(found) < count:
            raise InputError(
                f"train({start}) ends after {len(found)} batches: a stream has no end, as "
                ".repeat() makes it."
            )
        return [tf.nest.flatten(batch) for batch in found]

    whole = batches(0, last + 1)
    if not _same(whole, batches(0, last + 1)):
        raise InputError(
            "train(0) gives other batches the second time: shuffle and draw by seeds that are fixed."
        )
    for step in steps:
        if not _same(whole[step : step + 2], batches(step, len(whole[step : step + 2]))):
            raise InputError(
                f"train({step}) does not begin with the batch that train(0) gives at step {step}: "
                "the stream must be a function of the step, as .skip(step) makes it, at the cost of "
                "making the batches before."
            )


def _same(one, other):
    return all(
        np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype
        for left, right in zip(one, other, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def _check_callbacks(callbacks):
    begin_anew = (
        keras.callbacks.EarlyStopping,
        keras.callbacks.ReduceLROnPlateau,
        keras.callbacks.LearningRateScheduler,
    )
    for callback in callbacks:
        if isinstance(callback, begin_anew):
            raise InputError(
                f"Keras's {type(callback).__name__} begins anew whenever a run goes on, which would "
                "then end otherwise: take a LearningRateSchedule of the optimizer, "
                "optimizers.DivideOnPlateau, or a callback of your own with get_state and set_state."
            )


def _check(model, steps, eval_every, checkpoint_every, keep, monitor, accumulate):
    every = ("checkpoint_every", eval_every if checkpoint_every is None else checkpoint_every)
    for name, value in (("steps", steps), ("eval_every", eval_every), ("keep", keep), every):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a positive whole number, not {value!r}.")
    if len(monitor) != 2 or monitor[1] not in DIRECTIONS:
        raise InputError(f"monitor is a measure and 'min' or 'max', not {monitor!r}.")
    per_execution = model.steps_per_execution
    if per_execution % accumulate:
        raise InputError(
            f"A step is accumulate_steps={accumulate} batches: compile with steps_per_execution="
            f"{accumulate} or a multiple, not {per_execution}."
        )
    per_call = max(per_execution // accumulate, 1)
    intervals = {"steps": steps, "eval_every": eval_every, "checkpoint_every": checkpoint_every}
    for name, value in intervals.items():
        if (value or 0) % per_call:
            raise InputError(
                f"{name}={value} must be a multiple of steps_per_execution={per_call}: the run is "
                "looked at only so often."
            )


def _check_batches(data, test):
    if not isinstance(data, tf.data.Dataset):
        raise InputError(f"train(start_step) gives a tf.data.Dataset, not a {type(data).__name__}.")
    cardinality = int(data.cardinality())
    if cardinality >= 0:
        raise InputError(
            f"train(0) ends after {cardinality} batches: a stream has no end, as .repeat() makes it."
        )
    if test is not None and int(test.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise InputError("test has no end: leave .repeat() out.")


def _resume(model, strategy, keeper, counter, folder, progress) -> None:
    """Puts the run where its last checkpoint left it."""
    keeper.set_model(model)
    found = checkpoint.latest(folder / run_folder.CHECKPOINTS)
    if found is not None:
        keeper.resume(found)
        if progress:
            print(f"going on from the checkpoint of step {found.step}", flush=True)
    replicas.agree(strategy, counter.step)


def _told(monitor, columns):
    """What the progress line tells: the loss and what is monitored, in training and evaluation."""
    measure = monitor.removeprefix("val_")
    names = dict.fromkeys(("loss", measure, "val_loss", f"val_{measure}"))
    return {name: columns.get(name, name) for name in names}


def _write_environment(folder, strategy, model, monitor, columns) -> None:
    column_of = {logged: column for column, logged in columns.items()}
    facts = {
        **environment.facts(strategy, model),
        "monitor": column_of.get(monitor[0], monitor[0]),  # as metrics.csv calls it
        "direction": monitor[1],
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    write_atomically(folder / run_folder.ENVIRONMENT, json.dumps(facts, indent=2) + "\n")


def _before(folder) -> Result:
    """What a run left that came to its end before."""
    rows = [_numbers(row) for row in run_folder.read_rows(folder)]
    last = rows[-1] if rows else {}
    return Result(
        folder,
        int(last.get("step") or 0),
        rows,
        run_folder.last_weights(folder),
        went_before=True,
        seconds=last.get("seconds") or 0.0,
    )


def _numbers(row):
    return {name: float(value) if value else None for name, value in row.items()}
