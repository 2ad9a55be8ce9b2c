"""Signals that end a process, and commands that run as processes of their own.

These are watched by one that passes signals on to them.
"""

import collections
import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InputError

STOPS = (signal.SIGTERM, signal.SIGINT)
NO_GPU = "-1"  # as CUDA_VISIBLE_DEVICES
PREEMPTED = 75  # stopped by SIGTERM: start me again (EX_TEMPFAIL of sysexits.h)
INTERRUPTED = 130
UNWINDING = 2.0  # seconds in which what was interrupted may come to its end


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end; as Ctrl-C's exception, no `except Exception` stops it."""

    def __init__(self, signum: int, message: str = ""):
        super().__init__(message or f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


def status_of(signum: int) -> int:
    """The exit status of a process that a signal stopped."""
    return INTERRUPTED if signum == signal.SIGINT else PREEMPTED


class Handlers:
    """Has SIGTERM and SIGINT call a function, from `take` to `restore`; in the main thread only."""

    def __init__(self, handler: Callable[[int, Any], None]):
        self._handler = handler
        self._before: dict[int, Any] = {}

    def take(self) -> None:
        """Remembers how signals act, and takes them."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in STOPS}
        self.retake()

    def retake(self) -> None:
        """Takes the signals again, where a library has taken them meanwhile."""
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:  # as that of SIGINT is in a shell's background
                signal.signal(number, self._handler)

    def restore(self) -> None:
        """Has signals act as before."""
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)


@contextlib.contextmanager
def watched(hear: Callable[[int], bool]) -> Iterator[None]:
    """Tells a function of each signal when it comes, even while the main thread is in C++.

    There it may wait for ever, for another machine or a file, and Python calls no handler.

    Args:
        hear: takes the signal's number, in a thread; returns whether whoever watched before, a
            block around this one, is to be told, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    outer = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def read():
        while number := reader.recv(1):
            if number[0] in STOPS and hear(number[0]) and outer >= 0:
                with contextlib.suppress(OSError):
                    os.write(outer, number)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer)
        writer.close()
        thread.join()
        reader.close()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Has SIGTERM and SIGINT end the block, by `Interrupted`, whatever waits in it.

    What has not come to its end `UNWINDING` seconds later, as it waits in C++ or takes no notice,
    ends with the process, in the same exit status.
    """
    left, came = threading.Event(), threading.Event()
    stderr = os.dup(2)  # which may be held back while TensorFlow starts

    def hear(number):
        if not left.wait(UNWINDING):
            with contextlib.suppress(OSError):
                os.write(stderr, f"{Interrupted(number)}\n".encode())
            os._exit(status_of(number))
        return False

    def stop(number, frame):
        if not came.is_set():  # a terminal and a launcher may both send it
            came.set()
            raise Interrupted(number)

    handlers = Handlers(stop)
    try:
        with watched(hear):
            handlers.take()
            try:
                yield
            finally:
                handlers.restore()
                left.set()
    finally:
        os.close(stderr)


def leave(status: int) -> None:
    """Ends the process; after a signal at once, though a library's threads have work to do.

    Python waits for such threads, and one of TensorFlow Datasets's may wait for a host; TensorFlow
    ends the step that it computes, and takes seconds to clean up. Only workers that train together
    are given the time for that, in which they take leave of one another.
    """
    threads = [t for t in threading.enumerate() if t is not threading.main_thread()]
    waited_for = not all(thread.daemon for thread in threads)
    stopped = status in (PREEMPTED, INTERRUPTED)
    if stopped and (waited_for or not os.environ.get("TF_CONFIG")):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


class Job(NamedTuple):
    """A command, a name for its lines of output, and a file to which they are added."""

    name: str
    command: Sequence[str]
    log: Path | None = None


def start(
    job: Job, environment: Mapping[str, str], held: re.Pattern[str] | None = None
) -> tuple[subprocess.Popen, threading.Thread]:
    """Starts a process, each line of whose output is printed after [NAME].

    Args:
        job: what to start.
        environment: what its environment has besides this process's own.
        held: lines that begin so are printed at the end, and only where it ends other than well.

    Returns:
        The process, and the thread that reads from it.
    """
    process = subprocess.Popen(
        job.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
    )
    reader = threading.Thread(target=_copy, args=(job, process, held), daemon=True)
    reader.start()
    return process, reader


def _copy(job, process, held):
    kept = []
    with _opened(job.log) as log:
        for line in process.stdout:
            if held is not None and held.match(line):
                kept.append(line)
            else:
                _print(job.name, line)
            with contextlib.suppress(OSError):
                log.write(line)
                log.flush()
    if kept and process.wait():
        for line in kept:
            _print(job.name, line)


def _print(name, line):
    with contextlib.suppress(OSError):  # nobody reads: the process must not wait for that
        print(f"[{name}] {line}", end="", flush=True)


def _opened(log):
    """The file, or where there is none, or it cannot be written, nowhere."""
    try:
        return open(log or os.devnull, "a", encoding="utf-8")
    except OSError as error:
        print(f"{log} cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        return open(os.devnull, "a", encoding="utf-8")


@contextlib.contextmanager
def passed_on(processes: Sequence[subprocess.Popen]) -> Iterator[list[int]]:
    """Passes SIGTERM and SIGINT on to the processes; yields the list of signals that came."""
    received: list[int] = []

    def send(number, frame):
        received.append(number)
        for process in processes:
            process.send_signal(number)

    with watched(lambda number: False):  # the processes decide when they end
        handlers = Handlers(send)
        handlers.take()
        try:
            yield received
        finally:
            handlers.restore()


def run_all(
    jobs: Sequence[Job], environments: Sequence[Mapping[str, str]]
) -> tuple[dict[str, int], int]:
    """Runs jobs in order, as many at a time as there are environments.

    A signal is passed on to those that run, and no more are started. A job that fails does not
    keep the others from being run.

    Returns:
        Exit status by name of the jobs that ended, and the signal that stopped them, or 0.
    """
    waiting, free = collections.deque(jobs), collections.deque(environments)
    running: dict[str, tuple] = {}
    processes: list[subprocess.Popen] = []
    ended: dict[str, int] = {}
    with passed_on(processes) as received:
        while running or (waiting and not received):
            while waiting and free and not received:
                job, environment = waiting.popleft(), free.popleft()
                running[job.name] = (*start(job, environment), environment)
                processes.append(running[job.name][0])
                if received:  # meanwhile
                    processes[-1].send_signal(received[0])
            for name, (process, reader, environment) in list(running.items()):
                if process.poll() is not None:
                    reader.join(timeout=5)
                    ended[name] = process.returncode
                    processes.remove(process)
                    free.append(environment)
                    del running[name]
            time.sleep(0.05)
    return ended, received[0] if received else 0


def shares(workers: int, gpus_per_worker: int) -> list[dict[str, str]]:
    """Returns an environment for each of several workers on this machine.

    One worker without `gpus_per_worker` has all there is. Several share out the processors and
    have no GPU, or so many each.
    """
    if workers == 1 and not gpus_per_worker:
        return [{}]
    threads = max(1, _processors() // workers)
    return [
        {
            "CUDA_VISIBLE_DEVICES": visible_gpus(worker, gpus_per_worker, workers),
            "TF_NUM_INTRAOP_THREADS": str(threads),
        }
        for worker in range(workers)
    ]


def visible_gpus(worker: int, count: int, workers: int) -> str:
    """The GPUs of one of several workers when each has `count`, as CUDA_VISIBLE_DEVICES.

    Raises:
        InputError: there are too few for all workers.
    """
    known, wanted = gpus() if count else [], workers * count
    if len(known) < wanted:
        asked = "1 GPU is" if wanted == 1 else f"{wanted} GPUs are"
        raise InputError(f"{asked} asked for, and this machine shows {len(known) or 'none'}.")
    return ",".join(known[worker * count : (worker + 1) * count]) or NO_GPU


@functools.cache
def gpus() -> list[str]:
    """The GPUs that this process may use, by CUDA_VISIBLE_DEVICES or else by nvidia-smi."""
    own = os.environ.get("CUDA_VISIBLE_DEVICES")
    if own is not None:
        return [name for name in own.split(",") if name not in ("", NO_GPU)]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(n) for n in range(sum(x.startswith("GPU ") for x in listed.stdout.splitlines()))]


def _processors():
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
