"""What lets a run stop anywhere and go on from there: signals, checkpoints, the rest of an epoch.

The state itself is `checkpoint`'s.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import checkpoint, distribution
from .callbacks import Counter, Guard
from .processes import STOPS

REPEATS = 1.0  # seconds in which a signal that comes again is still the same


class Preempted(Exception):
    """Training stopped, at a checkpoint or before it began, because a signal asked it to."""

    def __init__(self, step: int | None, signum: int):
        where = "before the first step" if step is None else f"at step {step}"
        super().__init__(f"stopped {where} by {signal.Signals(signum).name}")
        self.signum = signum


class Signals:
    """Turns SIGTERM and SIGINT into an orderly stop inside its `with` block.

    Before `hold` the block ends at once in `Preempted`; from then on the signal is remembered in
    `received`, for `Checkpoints` to heed. One that comes again within `REPEATS` seconds is the
    same: a terminal, or systemd, sends it to a launcher and its workers, and the launcher passes
    it on. A later one acts as ever.
    """

    def __init__(self):
        self.received = 0
        self._at = 0.0
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self):
        self._before = {number: signal.getsignal(number) for number in STOPS}
        self.listen()
        return self

    def listen(self):
        """Takes the signals; again, where TensorFlow has taken them to coordinate workers."""
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:  # as that of SIGINT is in a shell's background
                signal.signal(number, self._receive)

    def __exit__(self, *error):
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)

    def hold(self):
        """From here on signals wait."""
        self._held = True
        self.listen()

    def _receive(self, number, frame):
        if not self.received:
            self.received, self._at = number, time.monotonic()
            if not self._held:
                raise Preempted(None, number)
        elif time.monotonic() - self._at > REPEATS:
            self.__exit__()
            signal.raise_signal(number)


class Checkpoints(keras.callbacks.Callback):
    """Writes a checkpoint every so many steps, before every evaluation, and when asked to stop.

    Comes last, so that it sees what the other callbacks made of the step. Evaluations need none:
    they change nothing, and a run that is killed in one begins it again.

    Args:
        folder: of the checkpoints; None on workers that do not write.
        used: the strategy.
        counter: of the steps.
        stateful: callbacks with `get_state`, by the name their state is stored under.
        every: steps between checkpoints.
        eval_every: steps between evaluations.
        total_steps: where the run ends.
        keep: the last so many are kept.
        guard: says whether the weights are worth keeping.
        signals: ask the run to stop.
    """

    def __init__(
        self,
        folder: Path | None,
        used: tf.distribute.Strategy,
        counter: Counter,
        stateful: dict[str, Any],
        *,
        every: int,
        eval_every: int,
        total_steps: int,
        keep: int,
        guard: Guard,
        signals: Signals,
    ):
        super().__init__()
        self.folder = folder
        self.used = used
        self.counter = counter
        self.stateful = stateful
        self.intervals = (every, eval_every, total_steps)
        self.keep = keep
        self.guard = guard
        self.signals = signals
        self.training_logs: dict[str, float] = {}
        self._sums = None

    def resume(self, found: checkpoint.Checkpoint):
        """Puts the run, whose model is compiled and built, where it was."""
        checkpoint.restore(self.model, self.used, found.tensors)
        self._sums = found.tensors["metrics"]
        for name, callback in self.stateful.items():
            callback.set_state(found.record[name])

    def on_epoch_begin(self, epoch, logs=None):
        self._restore_metrics()  # `fit` has just set them to zero

    def _restore_metrics(self):
        if self._sums is not None:
            checkpoint.restore_metrics(self.model, self.used, self._sums)
        self._sums = None

    def on_train_batch_end(self, batch, logs=None):
        step = self.counter.step
        asked = self._asked()
        if asked or any(step % interval == 0 for interval in self.intervals):
            self._save(step)
        if asked:
            raise Preempted(step, asked)

    def on_test_begin(self, logs=None):
        if self._sums is not None:  # the run was resumed right before this evaluation
            self._restore_metrics()
            results = self.model.get_metrics_result()
            self.training_logs = {name: float(value) for name, value in results.items()}

    def on_test_batch_end(self, batch, logs=None):
        asked = self._asked()
        if asked:
            raise Preempted(self.counter.step, asked)

    def _save(self, step):
        tensors = checkpoint.capture(self.model, self.used)
        self.guard.check(checkpoint.is_finite(tensors))
        record = {name: callback.get_state() for name, callback in self.stateful.items()}
        if self.folder is not None:
            found = checkpoint.Checkpoint(step, tensors, record)
            checkpoint.write(self.folder, found, keep=self.keep)

    def _asked(self):
        """The signal to stop, if one came to any worker."""
        if distribution.total(self.used, np.array(self.signals.received)) == 0:
            return 0
        return self.signals.received or signal.SIGTERM


def finish_epoch(model: keras.Model, test, watching: keras.callbacks.CallbackList) -> None:
    """Evaluates as `fit` does at the end of an epoch, for a run that was resumed right there.

    Args:
        model: compiled.
        test: what `fit` takes as `validation_data`.
        watching: callbacks, `Checkpoints` among them.
    """
    watching.on_train_begin()  # as `fit` does; Keras's own History relies on it
    found = model.evaluate(test, callbacks=watching, return_dict=True, verbose=0)
    (keeper,) = (c for c in watching.callbacks if isinstance(c, Checkpoints))
    tested = {f"val_{name}": value for name, value in found.items()}
    watching.on_epoch_end(0, {**keeper.training_logs, **tested})


def stretches(step: int, total_steps: int, eval_every: int) -> Sequence[tuple[int, int]]:
    """How `fit` gets from a step to the end, when each of its epochs ends in an evaluation.

    Returns:
        (epochs, steps per epoch) for each call: the rest of an epoch, whole ones, a last short one.
    """
    found = []
    rest = min(-step % eval_every, total_steps - step)
    if rest:
        found.append((1, rest))
        step += rest
    epochs, last = divmod(total_steps - step, eval_every)
    return found + [(epochs, eval_every)] * (epochs > 0) + [(1, last)] * (last > 0)
