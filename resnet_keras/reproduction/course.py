"""The course of an experiment: the runs that are missing are made, and what came of all is read."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_keras import pipelines
from resnet_keras.errors import unknown

from . import detection, experiments, families, gradients, imagenet, improvements, jobs, results
from .jobs import FAILED, Machine
from .measuring import MEASURES
from .results import Results


class Order(NamedTuple):
    """What is asked of an experiment.

    Attributes:
        experiment: its name.
        dataset: on which.
        scale: "paper" or "quick".
        folder: where its runs are made and kept.
        flags: of `train` or `evaluate`, for every run.
        data_dir: as these take it.
        machine: how runs are made.
    """

    experiment: str
    dataset: str
    scale: str
    folder: Path
    flags: Sequence[str]
    data_dir: str | None
    machine: Machine


def dataset(experiment: str, given: str | None) -> str:
    """The data set of an experiment: what is given, or its own.

    Raises:
        InputError: the experiment is not made on it.
    """
    own = {"imagenet": imagenet.DATASETS, detection.EXPERIMENT: detection.DATASETS}
    known = own.get(experiment, experiments.DATASETS)
    if given and given not in known:
        raise unknown(f"data set of {experiment}:", given, known)
    return given or known[0]


def train(
    order: Order,
    depths: Sequence[int],
    seeds: Sequence[int],
    differences: Callable[[Path, Sequence[str]], Sequence[str]],
) -> tuple[int, Results | None]:
    """Trains the members of one of `experiments.EXPERIMENTS` that are not finished.

    Args:
        order: what is asked.
        depths: of the networks; none for the experiment's own.
        seeds: a run of each network for each; none for the scale's own.
        differences: of `train`, between a run that is there and flags.

    Returns:
        The exit status of a command, and what came of it, unless it was stopped.

    Raises:
        InputError: there is no such network, recipe or data, or a run has other flags.
    """
    members = experiments.members(
        order.experiment,
        order.dataset,
        depths or experiments.depths(order.experiment, order.dataset, order.scale),
        seeds or experiments.seeds(order.experiment, order.scale),
    )
    dataset, scale, folder, data_dir = order.dataset, order.scale, order.folder, order.data_dir
    arguments = {
        member.name: [
            *experiments.arguments(member, order.experiment, dataset, scale),
            *order.flags,
        ]
        for member in members
    }
    missing = jobs.training(arguments, folder, data_dir, differences)
    if missing and order.machine.run:
        jobs.check_data(lambda: pipelines.arrays(dataset, "test", data_dir=data_dir))
    _tell(members, missing)
    status, failed = jobs.run(missing, order.machine)
    if order.experiment in MEASURES and status in (0, FAILED):
        begun = experiments.read(folder, members)
        measuring = jobs.measuring(order.experiment, begun, folder, data_dir)
        status = max(status, jobs.run(measuring, order.machine)[0])
    if status not in (0, FAILED):
        return status, None
    if order.experiment == families.EXPERIMENT and order.machine.run:
        families.time(folder, (member.group for member in members), dataset)
    return status, results.of_members(order.experiment, dataset, scale, folder, members, failed)


def detect(
    order: Order,
    seeds: Sequence[int],
    longer: bool,
    differences: Callable[[Path, Sequence[str]], Sequence[str]],
) -> tuple[int, Results | None]:
    """Trains the members of `detection` that are not finished, and measures what was not.

    Args:
        order: what is asked.
        seeds: see `detection.members`.
        longer: see `detection.members`.
        differences: of `detection.train`, between a run that is there and flags.

    Returns:
        As `train`.

    Raises:
        InputError: a run has other flags, or files that are there cannot be used.
    """
    members = detection.members(order.scale, seeds, longer)
    arguments = {
        member.name: [*detection.arguments(member, order.scale), *order.flags] for member in members
    }
    command = "detection.train"
    missing = jobs.training(arguments, order.folder, order.data_dir, differences, command)
    _tell(members, missing)
    status, failed = jobs.run(missing, order.machine)
    if status not in (0, FAILED):
        return status, None
    begun = detection.read(order.folder, members, failed)
    listed = detection.measurements(members)
    if order.machine.run:
        improvements.measure(order.folder, listed, begun)
    rows = detection.measured(order.folder, listed, begun)
    return status, results.of_detectors(members, begun, rows, order.dataset, order.scale)


def gradients_of(
    order: Order, depths: Sequence[int], seeds: Sequence[int]
) -> tuple[int, Results | None]:
    """Measures the gradients of networks that were not trained, where that was not done.

    Args:
        order: what is asked.
        depths: of the networks; none for the scale's own.
        seeds: of their weights; none for the scale's own.

    Raises:
        InputError: there are no such networks or data.
    """
    listed = gradients.starts(depths, seeds, order.scale)
    folder = order.folder.parent / gradients.EXPERIMENT
    if order.machine.run:
        gradients.measure(folder, listed, order.dataset, order.data_dir)
    return 0, results.of_gradients(listed, folder, order.dataset, order.scale)


def evaluate(
    order: Order,
    trained: Sequence[str],
    tags: Sequence[str] | None,
    weights_dir: str | None,
) -> tuple[int, Results | None]:
    """Evaluates weights on ImageNet by the paper's protocols, where that was not done.

    Args:
        order: what is asked.
        trained: folders of runs of `train`, or folders of them.
        tags: of registered weights; None for "imagenet", or none beside `trained`.
        weights_dir: a folder with files of registered weights.

    Returns:
        The exit status of a command, and what came of it, unless it was stopped.

    Raises:
        InputError: there are no such weights or data.
    """
    if tags is None:
        tags = [] if trained else ["imagenet"]
    weights = imagenet.trained(trained, order.dataset) + imagenet.registered(tags)
    flags = [f"--dataset={order.dataset}", *order.flags]
    if order.dataset == pipelines.FOLDER and order.data_dir:  # TFDS's is the same anywhere
        flags.append(f"--data_dir={os.path.abspath(order.data_dir)}")
    evaluations = imagenet.evaluations(weights, order.scale, order.folder, flags, weights_dir)
    missing = jobs.evaluating(evaluations, order.data_dir, weights_dir)
    if missing and order.machine.run:
        jobs.check_data(lambda: pipelines.open_split(order.dataset, "val", data_dir=order.data_dir))
    _tell(evaluations, missing)
    status, _ = jobs.run(missing, order.machine)
    if status not in (0, FAILED):
        return status, None
    return status, results.of_evaluations(evaluations, order.scale)


def _tell(runs, missing):
    finished = len(runs) - len(missing)
    print(f"{len(runs)} run(s), {finished} of them finished before", flush=True)
