"""What watches a run from within `fit`: its end, the progress line, metrics.csv, TensorBoard.

Time is counted in steps: an epoch of `fit` is only the stretch between two evaluations.
"""

import csv
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf

# Column: what Keras's logs call it. The loss is the cross-entropy; weight decay is not in it.
LOGGED = {
    "loss": "cross_entropy",
    "top1_error": "top1_error",
    "top5_error": "top5_error",
    "val_loss": "val_cross_entropy",
    "val_top1_error": "val_top1_error",
    "val_top5_error": "val_top5_error",
}
BAR_WIDTH = 20
COLUMNS = ("step", "seconds", "images_per_second", "learning_rate", *LOGGED)


class StepCounter(keras.callbacks.Callback):
    """Counts the steps done, and the seconds of all but the first, which traces and compiles.

    Evaluation does not count.
    """

    def __init__(self):
        super().__init__()
        self.step = 0
        self.seconds = 0.0
        self._resumed = None

    def on_epoch_begin(self, epoch, logs=None):
        self._resumed = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self._add_time()

    def on_test_begin(self, logs=None):
        self._resumed = None  # an evaluation inside `fit`, until the next epoch begins

    def _add_time(self):
        now = time.perf_counter()
        if self._resumed is not None and self.step > 1:
            self.seconds += now - self._resumed
        self._resumed = now


class StopAfter(StepCounter):
    """Ends `fit` after exactly `total_steps`; the evaluation of the last stretch still runs."""

    def __init__(self, total_steps: int):
        super().__init__()
        self.total_steps = total_steps

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.step >= self.total_steps:
            self.model.stop_training = True


class Progress(StepCounter):
    """A line with step, loss, error, learning rate, images/s and time left.

    On a terminal it begins with a bar and is rewritten twice a second; elsewhere it is printed
    once per evaluation.
    """

    def __init__(self, total_steps: int, batch_size: int, eval_split: str = "test", stream=None):
        super().__init__()
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.eval_split = eval_split
        self.stream = stream or sys.stdout
        self._shown_at = 0.0
        # Step and time after the first step, which compiles.
        self._first: tuple[int, float] | None = None

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        now = time.perf_counter()
        self._first = self._first or (self.step, now)
        if self.stream.isatty() and now - self._shown_at > 0.5:
            self._shown_at = now
            done = BAR_WIDTH * self.step // self.total_steps
            bar = "█" * done + "░" * (BAR_WIDTH - done)
            self.stream.write(f"\r\x1b[K{bar} {self._line(logs)}")
            self.stream.flush()

    def on_epoch_end(self, epoch, logs=None):
        start = "\r\x1b[K" if self.stream.isatty() else ""
        loss, error = logs["val_cross_entropy"], 100 * logs["val_top1_error"]
        tested = f" | {self.eval_split} loss {loss:.4f} error {error:.2f} %"
        self.stream.write(f"{start}{self._line(logs)}{tested}\n")
        self.stream.flush()

    def _line(self, logs):
        width = len(str(self.total_steps))
        rate = (self.step - 1) * self.batch_size / self.seconds if self.seconds else 0.0
        return (
            f"step {self.step:{width}}/{self.total_steps} | "
            f"loss {float(logs['cross_entropy']):.4f} error {100 * float(logs['top1_error']):.2f} % | "
            f"lr {float(self.model.optimizer.learning_rate):.3g} | {rate:,.0f} images/s | "
            f"{self._time_left()} left"
        )

    def _time_left(self):
        if self._first is None or self.step == self._first[0]:
            return "?"
        steps, started = self._first
        per_step = (time.perf_counter() - started) / (self.step - steps)
        return duration(per_step * max(self.total_steps - self.step, 0))


class MetricsCsv(StepCounter):
    """Appends a row per evaluation to a CSV file with `COLUMNS`, flushed at once."""

    def __init__(self, path: Path, batch_size: int):
        super().__init__()
        self.batch_size = batch_size
        self._counted = (1, 0.0)  # the first step is not timed
        self._path = path
        with open(path, "w", newline="") as file:
            csv.writer(file).writerow(COLUMNS)

    def on_epoch_end(self, epoch, logs=None):
        steps, seconds = self.step - self._counted[0], self.seconds - self._counted[1]
        self._counted = (self.step, self.seconds)
        row = {
            "step": self.step,
            "seconds": f"{self.seconds:.3f}",
            "images_per_second": f"{steps * self.batch_size / seconds:.1f}" if seconds else "",
            "learning_rate": repr(float(self.model.optimizer.learning_rate)),
            **{column: repr(float(logs[name])) for column, name in LOGGED.items()},
        }
        with open(self._path, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)


class TensorBoardScalars(StepCounter):
    """Writes the same quantities as TensorBoard scalars against the step.

    Keras's callback counts epochs, and needs TensorBoard installed; the event file does not.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_epoch_end(self, epoch, logs=None):
        values = {column: logs[name] for column, name in LOGGED.items()}
        values["learning_rate"] = self.model.optimizer.learning_rate
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
        )
        with self._writer.as_default(step=self.step):
            for key, value in values.items():
                tf.summary.write(key, tf.cast(value, tf.float32), metadata=metadata)
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()


def duration(seconds: float) -> str:
    """ "1:02:03", or "2:03" below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
