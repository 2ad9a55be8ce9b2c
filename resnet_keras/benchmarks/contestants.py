"""The contestants of a benchmark, each in a process of its own; imports no TensorFlow."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from resnet_keras import tuning
from resnet_keras.commands import shell
from resnet_keras.errors import InputError, require

from . import clocks

# All contestants live at once, so that none may take a GPU's whole memory beforehand.
_SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class Process:
    """A contestant's process, which answers to a line with a line of JSON."""

    def __init__(self, process, errors):
        self._process, self._errors = process, errors

    def ask(self, what: str) -> dict[str, Any]:
        """Sends it a line; returns its answer."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            sys.stderr.write(self._errors.read())
            status = self._process.wait()
            raise RuntimeError(f"{' '.join(self._process.args)} ended with status {status}.")
        answer = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer


@contextlib.contextmanager
def process(module: str, spec: NamedTuple) -> Iterator[tuple[Process, dict[str, Any]]]:
    """A contestant that has built its network, and the facts that it tells.

    Args:
        module: of this folder, whose `main` calls `serve`.
        spec: what it is told, as JSON.

    Raises:
        InputError: it cannot do what it is told.
    """
    command = [sys.executable, "-m", f"{__package__}.{module}", json.dumps(spec._asdict())]
    environment = {**_SHARED_GPU, **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        try:
            contestant = Process(child, errors)
            yield contestant, contestant.answer()
        finally:
            child.kill()
            child.wait()


def serve(
    make: Callable[[], tuple[Callable[[], clocks.Timing], dict[str, Any]]],
    others: Mapping[str, Callable[[], dict[str, Any]]] = types.MappingProxyType({}),
) -> int:
    """What a contestant's process does: it makes rounds when asked, until its stdin ends.

    It makes one uncounted round and writes a line that describes it; for each line "run" it makes a
    round and writes its `Timing` and the most memory held since the uncounted one.

    Args:
        make: returns a function that makes a round, and facts for the record.
        others: what else is asked for, and how it is answered.

    Returns:
        The process's exit status.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(**values):
        print(json.dumps(values), file=answers, flush=True)

    try:
        run, facts = make()
        run()  # traces, compiles, fills caches
    except InputError as error:
        answer(error=str(error))
        return shell.USER_ERROR
    watched = clocks.reset_peak_memory()
    answer(**facts)
    for line in sys.stdin:
        if line.strip() in others:
            answer(**others[line.strip()]())
            continue
        timing = run()._asdict()
        answer(timing=timing, peak_memory_gib=clocks.peak_memory_gib() if watched else None)
    return 0


def of_keras_or_torch(
    is_torch: bool,
    steps: int,
    ours: Callable[[], Callable[[], Any]],
    theirs: Callable[[Any], Callable[[], Any]],
) -> tuple[Callable[[], clocks.Timing], dict[str, Any]]:
    """A contestant whose rounds are so many steps, and facts for the record.

    Args:
        is_torch: which of the two.
        steps: in a round.
        ours: makes a step, after Keras was started as the commands start it.
        theirs: the same of torch, which it is given.

    Raises:
        InputError: its packages are not installed.
    """
    if is_torch:
        torch = require("torch", "torch")
        torch.set_num_threads(tuning.cores())
        step, facts = theirs(torch), {"torch": torch.__version__}
    else:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        facts = dict(tuning.tune_cpu())
        shell.start_tensorflow()
        step = ours()
    return lambda: clocks.timed(lambda: [step() for _ in range(steps)]), facts
