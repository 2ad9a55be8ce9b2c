"""Writes checkpoints from within `fit`, and puts a run back where one left it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from resnet_keras.errors import InputError

from . import checkpoint, state
from .callbacks import Counter, Guard
from .signals import Agreement, Preempted


class Checkpoints(keras.callbacks.Callback):
    """Writes a checkpoint every so many steps, before every evaluation, and when asked to stop.

    Comes last, so that it sees what the other callbacks made of the step. Evaluations need none:
    they change nothing, and a run that is killed in one begins it again.

    Args:
        folder: of the checkpoints; None on workers that do not write.
        strategy: under which the model was made.
        counter: of the steps.
        callbacks: those with `get_state` and `set_state` are stored, by their place and class.
        every: steps between checkpoints.
        eval_every: steps between evaluations.
        total_steps: where the run ends.
        keep: the last so many are kept.
        guard: says whether the weights are worth keeping.
        agreement: asks the run to stop.

    Attributes:
        stopped: whether a callback has ended the run, by `model.stop_training` after a step.
        training_logs: see `at_rest`.
    """

    def __init__(
        self,
        folder: Path | None,
        strategy: tf.distribute.Strategy,
        counter: Counter,
        callbacks: Sequence[Any],
        *,
        every: int,
        eval_every: int,
        total_steps: int,
        keep: int,
        guard: Guard,
        agreement: Agreement,
    ):
        super().__init__()
        self.folder = folder
        self.strategy = strategy
        self.counter = counter
        self.stateful = {
            f"{place}/{type(callback).__name__}": callback
            for place, callback in enumerate(callbacks)
            if hasattr(callback, "get_state") and hasattr(callback, "set_state")
        }
        self.intervals = (every, eval_every, total_steps)
        self.keep = keep
        self.guard = guard
        self.agreement = agreement
        self.stopped = False
        self.training_logs: dict[str, float] = {}
        self._logs: dict[str, float] = {}  # of the last step
        self._metrics = None  # tensors of a checkpoint whose metrics are still to be restored

    def resume(self, last: checkpoint.Checkpoint):
        """Puts the run, whose model is compiled and built, where it was.

        Raises:
            InputError: the checkpoint is of another model, or of other callbacks.
        """
        state.restore(self.model, self.strategy, last.tensors)
        stored = last.record["callbacks"]
        if stored.keys() != self.stateful.keys():
            raise InputError(
                f"The checkpoint is of a run with the callbacks {', '.join(stored)}, and here "
                f"there are {', '.join(self.stateful)} (place and class): give the same ones."
            )
        self._metrics, self._logs = last.tensors, last.record["logs"]
        self.stopped = last.record.get("stopped", False)
        for name, callback in self.stateful.items():
            callback.set_state(stored[name])

    def on_epoch_begin(self, epoch, logs=None):
        """Brings back the metrics of a checkpoint, which `fit` has just set to zero."""
        self._restore_metrics()  # `fit` has just set them to zero

    def _restore_metrics(self):
        if self._metrics is not None:
            state.restore_metrics(self.model, self.strategy, self._metrics)
        self._metrics = None

    def on_train_batch_end(self, batch, logs=None):
        """Writes a checkpoint where one is due; raises `Preempted` where a signal asked."""
        step = self.counter.step
        asked = self.agreement.asked()
        self.stopped = bool(self.model.stop_training)
        self._logs = {name: float(value) for name, value in (logs or {}).items() if _scalar(value)}
        if asked or self.stopped or any(step % interval == 0 for interval in self.intervals):
            self._save(step)
        if asked:
            raise Preempted(step, asked)

    def at_rest(self):
        """Tells what training had measured, for a run that was resumed at the end of an epoch."""
        self._restore_metrics()
        results = self.model.get_metrics_result()
        # As `fit` has it: a model with a `train_step` of its own may log something else.
        same = results.keys() == self._logs.keys()
        logs = results if same or not self._logs else self._logs
        self.training_logs = {name: float(value) for name, value in logs.items()}

    def on_test_batch_end(self, batch, logs=None):
        """Raises `Preempted` where a signal asked: evaluations begin again."""
        self.agreement.heed(self.counter.step)

    def _save(self, step):
        tensors = state.capture(self.model, self.strategy)
        self.guard.check(state.is_finite(tensors))
        states = {name: callback.get_state() for name, callback in self.stateful.items()}
        record = {"callbacks": states, "logs": self._logs, "stopped": self.stopped}
        if self.folder is not None:
            checkpoint.write(
                self.folder, checkpoint.Checkpoint(step, tensors, record), keep=self.keep
            )


def _scalar(value):
    return getattr(value, "shape", ()) == ()
