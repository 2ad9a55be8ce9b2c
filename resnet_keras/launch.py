"""Starts a command several times on this machine, as workers that train together.

    python -m resnet_keras.launch --workers=2 -- --recipe=resnet20_digits --workdir=runs/two

What stands after -- are flags of `resnet_keras.train`; --strategy=multi_worker is added. Each worker
gets its place in TF_CONFIG, and each line it prints begins with its number. When one worker ends
other than well, the others are given --grace seconds to end by themselves. The exit status is the
first one that was not 0. SIGTERM and SIGINT are passed on: the workers agree on a step, write a
checkpoint there and exit with status 75.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from absl import flags

from . import cli
from .errors import InputError

FLAGS = cli.new_flags()
flags.DEFINE_integer("workers", 2, "Processes to start.", 1, flag_values=FLAGS)
flags.DEFINE_integer(
    "gpus_per_worker",
    0,
    "GPUs that each worker has for itself; with 0 all train on the CPU.",
    0,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "grace", 60, "Seconds that the others have once one has failed.", 0, flag_values=FLAGS
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    own, rest = list(argv), []
    if "--" in own:
        place = own.index("--")
        own, rest = own[:place], own[place + 1 :]
    return cli.run(lambda: _main(rest), FLAGS, own, __doc__)


def _main(arguments: Sequence[str]) -> int:
    if not arguments:
        raise InputError("Give the flags of the training after --, such as -- --recipe=NAME.")
    addresses = [f"localhost:{port}" for port in _free_ports(FLAGS.workers)]
    command = [sys.executable, "-m", "resnet_keras.train", *arguments, "--strategy=multi_worker"]
    processes: list[subprocess.Popen] = []
    with _passed_on(processes):
        for index in range(len(addresses)):
            processes.append(_start(command, addresses, index, FLAGS.gpus_per_worker))
        readers = [
            threading.Thread(target=_copy, args=(index, process), daemon=True)
            for index, process in enumerate(processes)
        ]
        for reader in readers:
            reader.start()
        status = _wait(processes, FLAGS.grace)
    for reader in readers:
        reader.join(timeout=5)
    return status


def _start(command, addresses, index, gpus):
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    own = ",".join(str(number) for number in range(index * gpus, (index + 1) * gpus))
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": own or "-1"},
    )


def _free_ports(count):
    """Ports that nothing listens on now; they are held until all are known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def _copy(index, process):
    for line in process.stdout:
        print(f"[{index}] {line}", end="", flush=True)


def _wait(processes, grace):
    """Waits for all; returns the first status that was not 0, or 0."""
    first, deadline = 0, None
    while True:
        states = [process.poll() for process in processes]
        first = first or next((s for s in states if s), 0)
        if None not in states:
            # As a shell has it: 128 and the number of the signal that killed it.
            return first if first >= 0 else 128 - first
        if first and deadline is None:
            deadline = time.monotonic() + grace
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)


@contextlib.contextmanager
def _passed_on(processes):
    def send(number, frame):
        for process in processes:
            process.send_signal(number)

    before = {n: signal.signal(n, send) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
