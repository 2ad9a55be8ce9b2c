"""One function that trains any compiled Keras model, or goes on with it, to the same bits.

    def train(start_step):  # the stream from that step on: a pure function of the step
        return batches.skip(start_step)

    training.fit(model, train, test, workdir="runs/mine", steps=1000, eval_every=100)

Killed at any moment and called again with the same arguments, it ends as if it had not been.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, write_atomically

from . import (
    arguments,
    checkpoint,
    environment,
    keras_patches,
    lengthening,
    replicas,
    run_folder,
    state,
    streams,
)
from . import callbacks as watching
from .checkpointing import Checkpoints
from .feed import Feed, batch_size
from .signals import Agreement, Signals


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
    train: streams.Stream,
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
    steps_name: str = run_folder.STEPS,
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
        steps: updates of the weights until the end, of which each is a batch of `train`. More than
            the run in `workdir` was begun with make it longer, finished or not: it goes on from its
            last checkpoint, and ends as if it had been begun with so many.
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
            refused.) A callback may end the run by `model.stop_training`: after the evaluation, or
            in the middle of an epoch, with an evaluation right there, which a checkpoint records.
        save: writes the model's weights, given a path without an ending, to which it adds one:
            `lambda path: model.save(f"{path}.keras")`. Without it, path.weights.h5.
        evaluate: measures more, after `test` or instead of it; its numbers join the others. A
            signal waits for its end, unless it heeds one itself, see `signals.Agreement`.
        strategy: under whose scope the model was made; without it, the model's own.
        columns: of metrics.csv and the progress line: {column: what Keras's logs call it}. Without,
            all that Keras logs.
        checkpoint_every: steps between checkpoints; `eval_every` without. There is one before each
            evaluation in any case.
        keep: how many checkpoints are kept.
        free: names of the identity that may differ.
        steps_name: what the identity calls `steps`, where it is a whole flagfile.
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
    arguments.check(
        model,
        steps=steps,
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
        keep=keep,
        monitor=monitor,
        callbacks=callbacks,
        evaluated=test is not None or evaluate is not None,
    )
    strategy = strategy or model.distribute_strategy
    workers = replicas.workers(strategy)
    if workers.total > 1:
        keras_patches.mend()  # as `make_strategy` has done already
    if not isinstance(identity, str):
        identity = {**(identity or {}), "steps": steps, "eval_every": eval_every}
        steps_name = run_folder.STEPS
    text = run_folder.text_of(identity)
    with run_folder.take(
        workdir, text, free=free, steps_name=steps_name, is_chief=workers.is_chief
    ) as folder:
        longer = run_folder.fewer_steps(folder, text, steps_name)
        if run_folder.last_weights(folder) is not None and not longer:
            if progress:
                print(
                    f"{folder} holds a finished run, and nothing is trained; more steps would make "
                    "it longer",
                    flush=True,
                )
            return _past(folder)
        with _waiting(handle_signals) as signals:
            batches = _first_batches(model, strategy, train, test)
            if longer:
                lengthening.check(folder, model, longer, eval_every)
            if workers.is_chief:
                _write_environment(folder, strategy, model, monitor, columns or {})
            write = _writer(model, folder if workers.is_chief else None, save)
            size = _examples(batches, arguments.batches_per_step(model) * workers.total)
            counter = watching.Counter(arguments.steps_per_call(model))
            guard = watching.Guard(counter)
            metrics = watching.Metrics(counter, size, columns)
            best = watching.Best(lambda: write(run_folder.BEST), *monitor)
            keeper = Checkpoints(
                make_folder(folder / run_folder.CHECKPOINTS) if workers.is_chief else None,
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
            _resume(model, strategy, keeper, folder, progress)
            if longer and workers.is_chief:
                run_folder.lengthen(folder, text)
            shown = []
            if workers.is_chief:
                metrics.write(folder / run_folder.METRICS)
                if progress:
                    line = _line(monitor[0], columns or {})
                    shown.append(watching.Progress(counter, steps, line, size, test_name))
                shown += _events(folder / run_folder.EVENTS, metrics, tensorboard, profile)
            order = [
                counter,
                guard,
                *([watching.AveragedWeights()] if watching.has_averages(model) else []),
                *([watching.Evaluation(evaluate)] if evaluate else []),
                metrics,
                best,
                *shown,
                *callbacks,  # rules come after what tells the learning rate that made the steps
                keeper,
            ]
            _train(
                model,
                lambda step: batches if step == 0 else train(step),
                test,
                strategy,
                keras.callbacks.CallbackList(order, add_history=True, model=model),
                keeper,
                steps=steps,
                eval_every=eval_every,
            )
            write(run_folder.LAST)
            return _result(folder, counter, metrics, workers.is_chief)


@contextlib.contextmanager
def _waiting(handle_signals) -> Iterator[Signals]:
    """Signals that wait for a checkpoint; none ever come where they are not handled."""
    if isinstance(handle_signals, Signals):
        handle_signals.hold()
        yield handle_signals
        return
    signals = Signals(held=True)
    with signals if handle_signals else contextlib.nullcontext():
        yield signals


def _first_batches(model, strategy, train, test) -> tf.data.Dataset:
    """The training batches from the beginning, by which the model is built."""
    batches = train(0)
    streams.check_batches(batches, test)
    keras_patches.build(model, strategy, batches.element_spec)
    state.check(model)
    return batches


def _writer(model, folder, save) -> Callable[[str], None]:
    """A function that writes the weights, or their averages, under a name; without folder, none."""
    save = save or (lambda path: model.save_weights(f"{path}.weights.h5"))

    def write(name):
        if folder is not None:
            with watching.averaged(model):
                run_folder.save_weights(folder, name, save)

    return write


def _examples(batches, per_step) -> int | None:
    """Examples in a step of so many batches; None where the shapes do not tell."""
    size = batch_size(batches)
    return size and size * per_step


def _events(folder, metrics, tensorboard, profile) -> list[keras.callbacks.Callback]:
    """What writes TensorBoard's files, as far as it is asked for."""
    scalars = [watching.TensorBoardScalars(folder, metrics)] if tensorboard else []
    return [*scalars, *([watching.Profile(folder)] if profile else [])]


def _train(model, train, test, strategy, callbacks, keeper, *, steps, eval_every) -> None:
    """Trains and evaluates by Keras's `fit`, from wherever the run is to its end."""
    counter, optimizer = keeper.counter, model.optimizer
    if counter.step > steps:
        raise InputError(f"The run is at step {counter.step} already, and steps={steps}.")
    # Several workers fail in Keras's loop; theirs is in Python.
    in_graph = counter.steps_per_call > 1 and replicas.workers(strategy).total == 1
    tested = None if test is None else Feed(strategy, test, in_graph=in_graph)
    model.stop_training = keeper.stopped  # and not as some `fit` before left it
    try:
        with keras_patches.without_finalizing(optimizer):
            if counter.step and (
                counter.step % eval_every == 0 or counter.step == steps or keeper.stopped
            ):
                _finish_epoch(model, tested, callbacks, keeper, -(-counter.step // eval_every) - 1)
            for first, epochs, length in stretches(counter.step, steps, eval_every):
                if model.stop_training:  # as a callback may ask
                    break
                expected = counter.step + epochs * length
                counter.feed = Feed(strategy, train(counter.step), in_graph=in_graph, endless=True)
                model.fit(
                    counter.feed.batches(),
                    initial_epoch=first,
                    epochs=first + epochs,
                    steps_per_epoch=length * arguments.batches_per_step(model),
                    validation_data=None if tested is None else tested.batches(),
                    callbacks=callbacks,
                    shuffle=False,  # the stream is shuffled
                    verbose=0,
                )
                if counter.step < expected and not model.stop_training:
                    raise InputError(
                        f"train came to its end before step {expected}, at {counter.step}: a "
                        "stream has no end, as .repeat() makes it."
                    )
        optimizer.finalize_variable_values(model.trainable_variables)
    finally:
        for callback in callbacks.callbacks:
            if isinstance(callback, watching.Profile):
                callback.stop()


def _finish_epoch(model, test, callbacks, keeper, epoch) -> None:
    """Evaluates as `fit` does at the end of an epoch, for a run that was resumed right there."""
    callbacks.on_train_begin()  # as `fit` does; Keras's own History relies on it
    keeper.at_rest()
    measured = {}
    if test is not None:
        measured = model.evaluate(test.batches(), callbacks=callbacks, return_dict=True, verbose=0)
    tested = {f"val_{name}": value for name, value in measured.items()}
    callbacks.on_epoch_end(epoch, {**keeper.training_logs, **tested})


def stretches(step: int, total_steps: int, eval_every: int) -> Sequence[tuple[int, int, int]]:
    """How `fit` gets from a step to the end, when each of its epochs ends in an evaluation.

    Returns:
        (first epoch, epochs, steps per epoch) for each call: the rest of an epoch, whole ones, a
        last short one.
    """
    calls = []
    rest = min(-step % eval_every, total_steps - step)
    if rest:
        calls.append((step // eval_every, 1, rest))
        step += rest
    first, (epochs, last) = step // eval_every, divmod(total_steps - step, eval_every)
    if epochs:
        calls.append((first, epochs, eval_every))
    return calls + [(first + epochs, 1, last)] * (last > 0)


def _resume(model, strategy, keeper, folder, progress) -> None:
    """Puts the run where its last checkpoint left it."""
    keeper.set_model(model)
    last = checkpoint.latest(folder / run_folder.CHECKPOINTS)
    if last is not None:
        keeper.resume(last)
        if progress:
            print(f"going on from the checkpoint of step {last.step}", flush=True)
    replicas.agree(strategy, keeper.counter.step)


def _line(monitor, columns) -> dict[str, str]:
    """What the progress line tells: the loss and what is monitored, in training and evaluation."""
    measure = monitor.removeprefix("val_")
    names = dict.fromkeys(("loss", measure, "val_loss", f"val_{measure}"))
    return {name: columns.get(name, name) for name in names}


def _write_environment(folder, strategy, model, monitor, columns) -> None:
    """Writes where and how the run was begun, when it is."""
    if (folder / run_folder.ENVIRONMENT).exists():
        return
    schedule = lengthening.schedule(model)
    column_of = {logged: column for column, logged in columns.items()}
    facts = {
        **environment.facts(strategy, model),
        **({} if schedule is None else {lengthening.SCHEDULE: schedule}),
        "monitor": column_of.get(monitor[0], monitor[0]),  # as metrics.csv calls it
        "direction": monitor[1],
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    write_atomically(folder / run_folder.ENVIRONMENT, json.dumps(facts, indent=2) + "\n")


def _result(folder, counter, metrics, is_chief) -> Result:
    """What came of a run that has just ended."""
    return Result(
        folder,
        counter.step,
        [_numbers(row) for row in metrics.rows],
        run_folder.last_weights(folder) if is_chief else None,
        verdict=watching.verdict(counter),
        seconds=counter.seconds,
    )


def _past(folder) -> Result:
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
