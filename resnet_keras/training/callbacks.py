"""What watches a run from within `fit`: progress, metrics, guards, profiles.

Time is counted in steps, which are updates of the weights: an epoch of `fit` is only the stretch
between two evaluations. A callback whose state decides how the run goes on has `get_state` and
`set_state`, ready for JSON.
"""

import collections
import contextlib
import csv
import io
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically

from .feed import Feed

BAR_WIDTH = 20
REWRITTEN, LOGGED = 0.5, 60.0  # seconds between two lines, on a terminal and in a log
# Columns of `Metrics` beside what is measured; the last one comes after that.
_OWN = ("step", "seconds", "images_per_second", "learning_rate", "input_wait")
SHOWN = 12  # steps that are shown when the loss is no number
INPUT_BOUND = 0.1  # share of the time that training waits for input when that is what bounds it


class Counter(keras.callbacks.Callback):
    """Counts the steps done, and the seconds of all but the first, which traces and compiles.

    Evaluation does not count. Comes first among the callbacks, which share it.

    Args:
        steps_per_call: updates in one execution.

    Attributes:
        step: updates so far, those before a restart included.
        seconds, input_seconds: of training, and how many of them were spent waiting for batches;
            NaN where that cannot be seen.
        timed_steps: the steps that `seconds` covers.
        feed: where the batches come from, a `Feed`.
    """

    def __init__(self, steps_per_call: int = 1):
        super().__init__()
        self.steps_per_call = steps_per_call
        self.step = self.timed_steps = 0
        self.seconds = self.input_seconds = 0.0
        self.feed: Feed | None = None
        self._warm = False
        self._mark = (0.0, 0.0)

    def get_state(self):
        """The counts, for a checkpoint."""
        names = ("step", "timed_steps", "seconds", "input_seconds")
        return {name: getattr(self, name) for name in names}

    def set_state(self, state):
        """Goes on from the counts of a checkpoint."""
        vars(self).update(state)

    def on_epoch_begin(self, epoch, logs=None):
        """Leaves out the time since the last step, such as an evaluation's."""
        self._mark = self._now()

    def on_train_batch_end(self, batch, logs=None):
        """Counts an execution."""
        self.step += self.steps_per_call
        now = self._now()
        if self._warm:
            self.timed_steps += self.steps_per_call
            self.seconds += now[0] - self._mark[0]
            self.input_seconds += now[1] - self._mark[1]
        self._warm, self._mark = True, now

    def _now(self):
        return time.perf_counter(), self.feed.seconds if self.feed else 0.0

    def input_share(self) -> float:
        """Share of the counted seconds that training waited for batches."""
        return self.input_seconds / self.seconds if self.seconds else 0.0


class Progress(keras.callbacks.Callback):
    """A line with step, measures, learning rate, examples/s, input wait and time left.

    On a terminal it begins with a bar and is rewritten twice a second; elsewhere it is printed once
    per evaluation, and once a minute between them. Errors and accuracies are told in percent.

    Args:
        counter: of the steps.
        total_steps: where the run ends.
        columns: what to tell, {name: what Keras's logs call it}; names that begin with "val_" after
            an evaluation only.
        batch_size: examples in a step, if it is known.
        test: what to call that on which the run is evaluated.
        stream: to write to; stdout without.
        clock: tells the seconds.
    """

    def __init__(
        self,
        counter: Counter,
        total_steps: int,
        columns: Mapping[str, str],
        batch_size: int | None = None,
        test: str = "val",
        stream=None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        super().__init__()
        self.counter = counter
        self.total_steps = total_steps
        self.columns = columns
        self.batch_size = batch_size
        self.test = test
        self.stream = stream or sys.stdout
        self.clock = clock
        self._shown_at = -math.inf if self.stream.isatty() else clock()
        # Step and time after the first step, which compiles.
        self._first: tuple[int, float] | None = None

    def on_train_batch_end(self, batch, logs=None):
        """Rewrites the line of a terminal, now and then; adds one to a log."""
        now, step = self.clock(), self.counter.step
        self._first = self._first or (step, now)
        terminal = self.stream.isatty()
        if now - self._shown_at < (REWRITTEN if terminal else LOGGED):
            return
        self._shown_at = now
        if not terminal:
            self.stream.write(f"{self._line(logs)}\n")
        else:
            done = BAR_WIDTH * step // self.total_steps
            bar = "█" * done + "░" * (BAR_WIDTH - done)
            self.stream.write(f"\r\x1b[K{bar} {self._line(logs)}")
        self.stream.flush()

    def on_epoch_end(self, epoch, logs=None):
        """Ends the line with what was measured."""
        start = "\r\x1b[K" if self.stream.isatty() else ""
        tested = self._measures(logs, "val_")
        tested = f" | {self.test} {tested}" if tested else ""
        self.stream.write(f"{start}{self._line(logs)}{tested}\n")
        self.stream.flush()
        self._shown_at = self.clock()

    def _line(self, logs):
        counter, width = self.counter, len(str(self.total_steps))
        parts = [f"step {counter.step:{width}}/{self.total_steps}", self._measures(logs, "")]
        parts.append(f"lr {learning_rate_at(self.model.optimizer, counter.step):.3g}")
        if self.batch_size:
            steps = counter.timed_steps / counter.seconds if counter.seconds else 0.0
            parts.append(f"{steps * self.batch_size:,.0f} images/s")
        parts.append(f"input wait {_percent(counter.input_share())}")
        return " | ".join([*filter(None, parts), f"{self._time_left()} left"])

    def _measures(self, logs, prefix):
        """What is told: "loss 0.1234 error 5.00 %"; of an evaluation with the prefix "val_"."""
        names = [n for n in self.columns if n.startswith("val_") == bool(prefix)]
        values = [(n.removeprefix("val_"), logs.get(self.columns[n])) for n in names]
        return " ".join(measure(name, value) for name, value in values if value is not None)

    def _time_left(self):
        step = self.counter.step
        if self._first is None or step == self._first[0]:
            return "?"
        steps, started = self._first
        per_step = (self.clock() - started) / (step - steps)
        return duration(per_step * max(self.total_steps - step, 0))


class Metrics(keras.callbacks.Callback):
    """Keeps a row per evaluation, and writes them to a CSV file.

    The columns are step, seconds, images_per_second, learning_rate, `columns` and input_wait; where
    `columns` is None, all that Keras logs at the first evaluation. The file is replaced as a whole,
    so that it never has a half row, nor one that a restarted run has yet to reach.

    Args:
        counter: of the steps.
        batch_size: examples in a step, if it is known.
        columns: {column: what Keras's logs call it}.

    Attributes:
        rows: the values as text, by column.
    """

    def __init__(
        self,
        counter: Counter,
        batch_size: int | None = None,
        columns: Mapping[str, str] | None = None,
    ):
        super().__init__()
        self.counter = counter
        self.batch_size = batch_size
        self.columns = columns
        self.rows: list[dict[str, str]] = []
        self._path: Path | None = None
        self._counted = (0, 0.0, 0.0)

    def get_state(self):
        """The rows so far, for a checkpoint."""
        return {"rows": self.rows, "counted": self._counted}

    def set_state(self, state):
        """Goes on from the rows of a checkpoint."""
        self.rows, self._counted = state["rows"], tuple(state["counted"])

    def on_epoch_end(self, epoch, logs=None):
        """Adds the row of an evaluation."""
        counter = self.counter
        counted = (counter.timed_steps, counter.seconds, counter.input_seconds)
        steps, seconds, waited = (a - b for a, b in zip(counted, self._counted, strict=True))
        self._counted = counted
        examples = steps * self.batch_size if self.batch_size and seconds else 0
        row = {
            "step": str(counter.step),
            "seconds": f"{counter.seconds:.3f}",
            "images_per_second": f"{examples / seconds:.1f}" if examples else "",
            "learning_rate": repr(learning_rate_at(self.model.optimizer, counter.step)),
            **self._measures(logs or {}),
            "input_wait": f"{waited / seconds:.3f}" if seconds and waited >= 0 else "",
        }
        self.rows.append(row)
        if self._path is not None:
            self.write(self._path)

    def _measures(self, logs):
        if self.columns is None:
            names = (
                [name for name in self.rows[-1] if name not in _OWN] if self.rows else list(logs)
            )
            self.columns = {name: name for name in names}
        missing = [name for name in self.columns.values() if name not in logs]
        if missing:
            raise InputError(
                f"An evaluation has no {missing[0]}, but {', '.join(logs)}: a run has the same "
                "measures from its begin to its end."
            )
        return {column: repr(float(logs[name])) for column, name in self.columns.items()}

    def write(self, path: Path):
        """Writes the file, now and after each evaluation; workers that do not write never do."""
        self._path = path
        *first, last = _OWN
        measured = self.columns or {
            name: name for name in (self.rows or [{}])[0] if name not in _OWN
        }
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, (*first, *measured, last), lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(path, text.getvalue())


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the rows of `Metrics` as TensorBoard scalars against the step.

    Events cannot be taken back, so a restarted run writes them anew. Keras's callback counts
    epochs, and needs TensorBoard installed; the event file does not.
    """

    def __init__(self, folder: Path, metrics: Metrics):
        super().__init__()
        self.metrics = metrics
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = tf.summary.create_file_writer(str(folder))
        for row in metrics.rows:
            self._write(row)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the row that `Metrics` has just added."""
        self._write(self.metrics.rows[-1])

    def _write(self, row):
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
        )
        with self._writer.as_default(step=int(row["step"])):
            for key in row.keys() - {*_OWN} | {"learning_rate"}:
                tf.summary.write(key, tf.constant(float(row[key])), metadata=metadata)
        self._writer.flush()


class AveragedWeights(keras.callbacks.Callback):
    """Evaluates the moving averages of the weights, those of an `optimizers.SGD(ema=...)`."""

    def on_test_begin(self, logs=None):
        """Puts the averages in the weights' place."""
        own_optimizer(self.model).swap_averages()

    def on_test_end(self, logs=None):
        """Puts the weights back."""
        own_optimizer(self.model).swap_averages()


class Evaluation(keras.callbacks.Callback):
    """Adds what a function measures to the logs, for the callbacks after it.

    Args:
        evaluate: from the model, whose weights are their averages where it has them, to numbers by
            name.
    """

    def __init__(self, evaluate: Callable[[keras.Model], Mapping[str, float]]):
        super().__init__()
        self.evaluate = evaluate

    def on_epoch_end(self, epoch, logs=None):
        """Measures, and adds to the logs."""
        with averaged(self.model):
            measured = self.evaluate(self.model)
        # Keras hands one dict from callback to callback.
        (logs if logs is not None else {}).update({k: float(v) for k, v in measured.items()})


class Best(keras.callbacks.Callback):
    """Calls `save` whenever an evaluation is better than all before.

    Args:
        save: takes nothing.
        monitor: what Keras's logs call the measure.
        direction: "min" or "max", which is better.
    """

    def __init__(self, save: Callable[[], None], monitor: str, direction: str):
        super().__init__()
        self.save = save
        self.monitor = monitor
        self.sign = 1 if direction == "min" else -1
        self.best = math.inf

    def get_state(self):
        """The best value so far, for a checkpoint."""
        return {"best": self.best}

    def set_state(self, state):
        """Goes on from the best value of a checkpoint."""
        self.best = state["best"]

    def on_epoch_end(self, epoch, logs=None):
        """Saves, if this evaluation is the best so far."""
        if self.monitor not in (logs or {}):
            raise InputError(
                f"The best weights are those of the best {self.monitor!r}, which is not among the "
                f"measures: {', '.join(logs or {})}; name one of these as monitor."
            )
        value = self.sign * float(logs[self.monitor])
        if value < self.best:
            self.best = value
            self.save()


class Guard(keras.callbacks.Callback):
    """Stops the run when the loss, or a weight, is no number.

    Prints the loss, the learning rate and, where the optimizer remembers it, the gradient's norm at
    the steps before.
    """

    def __init__(self, counter: Counter):
        super().__init__()
        self.counter = counter
        self._losses = collections.deque(maxlen=SHOWN)  # (step, loss)

    def on_train_batch_end(self, batch, logs=None):
        """Stops the run at a loss that is no number."""
        if "loss" not in (logs or {}):  # of a model with a `train_step` of its own
            return
        loss = float(logs["loss"])
        self._losses.append((self.counter.step, loss))
        if not math.isfinite(loss):
            self._stop(f"The loss is {loss}")

    def check(self, finite: bool):
        """Raises `InputError` unless the weights, as told, and the updates lead anywhere."""
        optimizer, step = own_optimizer(self.model), self.counter.step
        if not finite:
            self._stop("The weights are no numbers after the update")
        if _scales(optimizer) and float(keras.ops.convert_to_numpy(optimizer.loss_scale)) == 1:
            norm = _norms(optimizer).get(step, 0.0)
            if not math.isfinite(norm):
                self._stop(f"The gradient's norm is {norm} without any loss scaling left")

    def _stop(self, what):
        optimizer, step = own_optimizer(self.model), self.counter.step
        norms, losses = _norms(optimizer), dict(self._losses)
        # Of several steps at once, the first bad one; with loss scaling, an overflow is none.
        first = step if _scales(optimizer) else step - self.counter.steps_per_call + 1
        bad = [s for s in range(first, step) if not math.isfinite(norms.get(s, 0.0))]
        print(f"{'step':>8}{'loss*':>12}{'lr':>12}{'gradient norm':>16}", file=sys.stderr)
        for at in sorted({*norms, *losses})[-SHOWN:]:
            loss = f"{losses[at]:.4g}" if at in losses else ""
            rate = learning_rate_at(self.model.optimizer, at)
            norm = f"{norms[at]:.4g}" if at in norms else ""
            print(f"{at:>8}{loss:>12}{rate:>12.4g}{norm:>16}", file=sys.stderr)
        print("* mean since the last evaluation", file=sys.stderr)
        raise InputError(
            f"{what} at step {bad[0] if bad else step}: lower the learning rate or lengthen the "
            "warm-up, in another workdir."
        )


class Profile(keras.callbacks.Callback):
    """Writes a TensorBoard profile of some executions, after the first ones, which trace.

    Call `stop` where `fit` may have ended in an exception.
    """

    def __init__(self, folder: Path, skip: int = 3, calls: int = 10):
        super().__init__()
        self.folder = folder
        self._begin, self._end = skip, skip + calls
        self._calls = 0
        self._running = False

    def on_train_batch_end(self, batch, logs=None):
        """Starts or stops the profile."""
        self._calls += 1
        if self._calls == self._begin:
            tf.profiler.experimental.start(str(self.folder))
            self._running = True
        elif self._calls == self._end:
            self.stop()

    def on_test_begin(self, logs=None):
        """Stops it in a short stretch: evaluation is no part of it."""
        self.stop()

    def stop(self):
        """Stops the profile, if it runs, and writes it."""
        if self._running:
            tf.profiler.experimental.stop()
        self._running = False


def own_optimizer(model: keras.Model):
    """The model's optimizer, without Keras's wrapper that scales the loss."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def learning_rate_at(optimizer, update: int) -> float:
    """The learning rate of an update, counted from 1; without `learning_rate_at`, of the next."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(optimizer, "learning_rate_at"):
        return optimizer.learning_rate_at(update)
    rate = getattr(optimizer, "learning_rate", math.nan)  # MultiOptimizer has several
    return float(keras.ops.convert_to_numpy(rate))


def averaged(model: keras.Model) -> contextlib.AbstractContextManager:
    """A context in which the weights are their moving averages, where the optimizer has them."""
    optimizer = own_optimizer(model)
    return optimizer.averaged() if has_averages(model) else contextlib.nullcontext()


def has_averages(model: keras.Model) -> bool:
    """Whether the optimizer keeps moving averages of the weights, beside them."""
    return bool(getattr(own_optimizer(model), "ema", 0))


def _norms(optimizer):
    return optimizer.gradient_norms() if hasattr(optimizer, "gradient_norms") else {}


def _scales(optimizer):
    return getattr(optimizer, "loss_scaling", False)


def measure(name: str, value: float) -> str:
    """A measure for people: "loss 0.1234", "error 5.00 %"."""
    # A mean squared error is no share.
    share = re.fullmatch(r"(top\d+_)?error|(\w+_)?accuracy", name) is not None
    return f"{name} {100 * value:.2f} %" if share else f"{name} {value:.4f}"


def _percent(share):
    return "?" if math.isnan(share) else f"{100 * share:.0f} %"


def verdict(counter: Counter) -> str:
    """Says with figures what bounded the run: input or compute."""
    share = counter.input_share()
    if math.isnan(share):
        return "bounded by what is not seen from outside where steps_per_execution > 1"
    bound = "input" if share > INPUT_BOUND else "compute"
    text = f"waited {counter.input_seconds:.2f} of {counter.seconds:.1f} s for input"
    if share > INPUT_BOUND:
        text += f" ({1 / (1 - share):.1f}x as fast without)"
    return f"bounded by {bound}: {text}"


def duration(seconds: float) -> str:
    """A time as people read it: "1:02:03", or "2:03" below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
