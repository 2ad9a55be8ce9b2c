"""Starts a command several times on this machine, as workers that train together.

    python -m resnet_keras.launch --workers=2 -- --recipe=resnet20_digits --workdir=runs/two

What stands after -- are flags of `resnet_keras.train`, or of another --command that trains;
--strategy=multi_worker is added. Each worker gets its place in TF_CONFIG, and each line it prints
begins with its number. When one worker ends other than well, the others are given --grace seconds
to end by themselves. The exit status is the first one that was not 0. SIGTERM and SIGINT are passed
on: the workers agree on a step, write a checkpoint there and exit with status 75.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from . import processes
from .commands import shell, train_flags
from .commands.definitions import Group, new_flags
from .errors import InputError

FLAGS = new_flags()
_devices = Group(FLAGS, "Devices")
_devices.whole("workers", 2, "Processes to start.", 1)
_devices.choice(
    "command",
    "train",
    ["train", "detection.train"],
    "What they run: train or detection.train. It is a command that trains.",
)
_devices.whole(
    "gpus_per_worker", 0, "GPUs that each worker has for itself. With 0, all train on the CPU.", 0
)
_devices.whole("grace", 60, "Seconds the others have once one has failed.", 0)

# How TensorFlow tells a worker that another one has ended, which one does first at a good end, too.
LEFT = re.compile(
    r"[EWI]\d{4} .*(coordination|collective_executor|unhealthy)|/job:worker/|The tasks have crashed"
    r"|Additional GRPC error information|:UNKNOWN:Error received from peer",
    re.IGNORECASE,
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    own, rest = shell.split_rest(argv)
    after = ("training", train_flags.FLAGS)
    return shell.run(lambda: _main(rest), FLAGS, own, __doc__, after=after)


def _main(arguments: Sequence[str]) -> int:
    if not arguments:
        raise InputError("Give the flags of the training after --, such as -- --recipe=NAME.")
    addresses = [f"localhost:{port}" for port in _free_ports(FLAGS.workers)]
    name = f"resnet_keras.{FLAGS.command}"
    command = [sys.executable, "-m", name, *arguments, "--strategy=multi_worker"]
    running: list[subprocess.Popen] = []
    readers = []
    with processes.passed_on(running):
        for index in range(len(addresses)):
            job = processes.Job(str(index), command)
            process, reader = processes.start(job, _environment(addresses, index), LEFT)
            running.append(process)
            readers.append(reader)
        status = _wait(running, FLAGS.grace)
    for reader in readers:
        reader.join(timeout=5)
    return status


def _environment(addresses, index):
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    gpus = processes.visible_gpus(index, FLAGS.gpus_per_worker, len(addresses))
    return {"TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": gpus}


def _free_ports(count):
    """Ports that nothing listens on now; they are held until all are known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("localhost", 0))
        return [listener.getsockname()[1] for listener in sockets]


def _wait(running, grace):
    """Waits for all; returns the first status that was not 0, or 0."""
    first, deadline = 0, None
    while True:
        states = [process.poll() for process in running]
        first = first or next((s for s in states if s), 0)
        if None not in states:
            # As a shell has it: 128 and the number of the signal that killed it.
            return first if first >= 0 else 128 - first
        if first and deadline is None:
            deadline = time.monotonic() + grace
        if deadline is not None and time.monotonic() > deadline:
            for process in running:
                process.kill()
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
