"""The processes that make an experiment's runs: a job for each run that is not there yet."""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_keras import processes
from resnet_keras.commands import shell
from resnet_keras.errors import InputError
from resnet_keras.processes import Job
from resnet_keras.training.run_folder import last_weights

from . import imagenet
from .experiments import Member
from .imagenet import Evaluation
from .measuring import MEASURES
from .runs import Run

FAILED = 1


class Machine(NamedTuple):
    """How jobs are run: so many at a time, each with so many GPUs; or not at all.

    Attributes:
        workers: jobs at a time.
        gpus_per_worker: that each job has for itself; see `processes.shares` for 0.
        run: False looks only at what is there.
    """

    workers: int = 1
    gpus_per_worker: int = 0
    run: bool = True


def training(
    members: Mapping[str, Sequence[str]],
    folder: Path,
    data_dir: str | None,
    differences: Callable[[Path, Sequence[str]], Sequence[str]],
    command: str = "train",
) -> list[Job]:
    """A job for each member that is not finished.

    Args:
        members: the flags of each run to train, by the name of its folder.
        folder: of the members' folders.
        data_dir: as `train` takes it.
        differences: of `train`, between a run that is there and flags.
        command: "train" or "detection.train".

    Raises:
        InputError: a run that is there was made with other flags.
    """
    jobs = []
    for name, arguments in members.items():
        workdir = folder / name
        differing = differences(workdir, arguments)
        if differing:
            raise InputError(
                f"{workdir} holds a run with other flags: {'; '.join(differing)}. Choose another "
                "folder."
            )
        if last_weights(workdir) is None:
            places = _given(data_dir=data_dir, workdir=workdir)
            jobs.append(_job(name, folder / f"{name}.log", command, *arguments, *places))
    return jobs


def measuring(
    name: str, begun: Mapping[Member, Run], folder: Path, data_dir: str | None
) -> list[Job]:
    """A job for each finished run of which `measuring.measure(name, ...)` has not told yet."""
    return [
        _job(
            *(member.name, folder / f"{member.name}.log"),
            *("reproduce", name, str(folder / member.name)),
            *_given(data_dir=data_dir),
        )
        for member, run in begun.items()
        if run.finished and MEASURES[name].read(folder / member.name) is None
    ]


def evaluating(
    evaluations: Sequence[Evaluation], data_dir: str | None, weights_dir: str | None
) -> list[Job]:
    """A job for each evaluation that was not made."""
    places = _given(data_dir=data_dir, weights_dir=weights_dir)
    return [
        _job(
            *(evaluation.name, evaluation.path.with_suffix(".log")),
            *("evaluate", *evaluation.arguments, *places),
            f"--results={evaluation.path}",
        )
        for evaluation in evaluations
        if imagenet.read(evaluation.path) is None
    ]


def _job(name, log, command, *arguments):
    return Job(name, [sys.executable, "-m", f"resnet_keras.{command}", *arguments], log)


def _given(**places):
    return [f"--{name}={place}" for name, place in places.items() if place]


def run(jobs: Sequence[Job], machine: Machine) -> tuple[int, set[str]]:
    """Runs jobs, if the machine is to.

    Returns:
        The exit status of a command, and the names of the jobs that failed.

    Raises:
        InputError: there are fewer GPUs than the machine should have.
    """
    if not jobs or not machine.run:
        return 0, set()
    shares = processes.shares(machine.workers, machine.gpus_per_worker)
    statuses, signum = processes.run_all(jobs, shares)
    if signum:
        print(f"stopped by {signal.Signals(signum).name}: the same command goes on from there")
        return processes.status_of(signum), set()
    failed = {name: _ending(status) for name, status in statuses.items() if status}
    if failed:
        logs = [str(job.log) for job in jobs if job.name in failed]
        print(
            f"error: {len(failed)} run(s) failed: "
            f"{', '.join(f'{name} ({ending})' for name, ending in failed.items())}; what they "
            f"printed is in {', '.join(logs)}, and the same command tries them again.",
            file=sys.stderr,
        )
    return FAILED if failed else 0, set(failed)


def _ending(status):
    return f"status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"


def check_data(open_data: Callable[[], object]) -> None:
    """Has missing data told of once, and not downloaded by several jobs at a time."""
    shell.announce("opening the data set")
    shell.start_tensorflow()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # they are the jobs'
    open_data()
