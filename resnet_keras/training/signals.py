"""Signals that stop a run at a checkpoint, on one machine or several."""

import contextlib
import signal
import sys
import time

import numpy as np

from resnet_keras.processes import Handlers, Interrupted, watched

from . import replicas

REPEATS = 1.0  # seconds in which a signal that comes again is still the same
AGREE_EVERY = 1.0  # seconds between two times that workers ask one another


class Preempted(Interrupted):
    """Training stopped, at a checkpoint or before it began, because a signal asked it to."""

    def __init__(self, step: int | None, signum: int):
        where = "before the first step" if step is None else f"at step {step}"
        super().__init__(signum, f"stopped {where} by {signal.Signals(signum).name}")


class Signals:
    """Turns SIGTERM and SIGINT into an orderly stop inside its `with` block.

    Unless it is `held` the block ends at once in `Preempted`; otherwise the signal is remembered in
    `received`, and a line says so. One that comes again within `REPEATS` seconds is the same: a
    terminal, or systemd, sends it to a launcher and its workers, and the launcher passes it on. A
    later one acts as ever. In any other thread than the main one, which alone may take signals,
    nothing happens.
    """

    def __init__(self, *, held: bool = False):
        self.received = 0
        self._at = 0.0
        self._held = held
        self._heard = 0.0  # when the line was printed
        self._handlers = Handlers(self._receive)
        self._watch = contextlib.ExitStack()

    def __enter__(self):
        self._watch.enter_context(watched(self._hear))
        self._handlers.take()
        return self

    def listen(self):
        """Takes the signals again, where TensorFlow has taken them to coordinate workers."""
        self._handlers.retake()

    def hold(self):
        """From here on signals wait."""
        self._held = True
        self.listen()

    def __exit__(self, *error):
        self._handlers.restore()
        self._watch.close()

    def _receive(self, number, frame):
        if not self.received:
            self.received, self._at = number, time.monotonic()
            if not self._held:
                raise Preempted(None, number)
        elif time.monotonic() - self._at > REPEATS:
            self._handlers.restore()
            signal.raise_signal(number)

    def _hear(self, number):
        """In a thread: says that a signal was heard; one that acts is for the block around, too."""
        if not self._held:
            return True
        if self._heard:
            return time.monotonic() - self._heard > REPEATS
        self._heard = time.monotonic()
        start = "\r\x1b[K" if sys.stdout.isatty() else ""  # over the bar of `Progress`
        name = signal.Signals(number).name
        print(
            f"{start}{name}: stopping after this step; again to quit at once",
            file=sys.stderr,
            flush=True,
        )
        return False


class Agreement:
    """Whether any worker was asked to stop; all must call `asked` equally often.

    Several workers ask one another about once in `AGREE_EVERY` seconds, and not at every call: the
    first tells all how many calls from now, by the time that the last ones took.
    """

    def __init__(self, signals: Signals, strategy):
        self._signals = signals
        self._strategy = strategy
        self._workers = replicas.workers(strategy)
        self._calls = self._next = 0
        self._since = time.monotonic()

    def asked(self) -> int:
        """The signal to stop by; 0 for none."""
        if self._workers.total == 1:
            return self._signals.received
        self._calls += 1
        if self._calls < self._next:
            return 0
        calls = self._calls_in_time() if self._workers.is_chief else 0
        message = np.array([self._signals.received, calls])
        received, calls = map(int, replicas.total(self._strategy, message))
        self._calls, self._next, self._since = 0, calls, time.monotonic()
        # Another's number would be no other: they are added up.
        return (self._signals.received or signal.SIGTERM) if received else 0

    def heed(self, step: int) -> None:
        """Raises `Preempted` where a worker was asked to stop: between batches of an evaluation."""
        asked = self.asked()
        if asked:
            raise Preempted(step, asked)

    def _calls_in_time(self):
        seconds = time.monotonic() - self._since
        calls = round(self._calls * AGREE_EVERY / max(seconds, 1e-6))
        # At most twice as many as before: the first calls compile, or are quick.
        return min(max(calls, 1), 2 * max(self._next, 1))
