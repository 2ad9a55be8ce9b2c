"""Commands that run as processes of their own, watched by one that passes signals on to them."""

import collections
import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import InputError

STOPS = (signal.SIGTERM, signal.SIGINT)
NO_GPU = "-1"  # as CUDA_VISIBLE_DEVICES


class Job(NamedTuple):
    """A command, a name for its lines of output, and a file to which they are added."""

    name: str
    command: Sequence[str]
    log: Path | None = None


def start(job: Job, environment: Mapping[str, str]) -> tuple[subprocess.Popen, threading.Thread]:
    """Starts a process, each line of whose output is printed after [NAME].

    Args:
        job: what to start.
        environment: what its environment has besides this process's own.

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
    reader = threading.Thread(target=_copy, args=(job, process), daemon=True)
    reader.start()
    return process, reader


def _copy(job, process):
    with _opened(job.log) as log:
        for line in process.stdout:
            with contextlib.suppress(OSError):  # nobody reads: the process must not wait for that
                print(f"[{job.name}] {line}", end="", flush=True)
            with contextlib.suppress(OSError):
                log.write(line)
                log.flush()


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

    heard = [n for n in STOPS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, send) for number in heard}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
            "CUDA_VISIBLE_DEVICES": visible_gpus(worker, gpus_per_worker),
            "TF_NUM_INTRAOP_THREADS": str(threads),
        }
        for worker in range(workers)
    ]


def visible_gpus(worker: int, count: int) -> str:
    """The GPUs of a worker when each has `count`, as CUDA_VISIBLE_DEVICES.

    Raises:
        InputError: there are too few.
    """
    last = (worker + 1) * count
    known = _gpus() if count else []
    if len(known) < last and count:
        raise InputError(f"{last} GPUs are asked for, and this machine shows {len(known)}.")
    return ",".join(known[worker * count : last]) or NO_GPU


@functools.cache
def _gpus():
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
