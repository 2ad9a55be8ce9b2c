"""Exact save and resume: all that decides how a run goes on, in one file that proves itself.

A checkpoint is FOLDER/step-STEP-HASH.safetensors, where HASH begins the SHA-256 of its bytes. It
is written aside, synced and renamed; one that is cut off or has a flipped bit does not fit its
name, and the one before it is used.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import distribution
from .errors import InputError
from .files import write_atomically

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

RECORD = "record"  # the tensor that holds it, uint8
HASH_DIGITS = 16
_NAME = re.compile(rf"step-(\d{{8,}})-[0-9a-f]{{{HASH_DIGITS}}}\.safetensors")


class Checkpoint(NamedTuple):
    """The state of a run right after a training step.

    Attributes:
        step: training steps done.
        tensors: of `capture`.
        record: whatever else decides, as JSON holds it.
    """

    step: int
    tensors: Mapping[str, np.ndarray]
    record: Mapping[str, Any]


def write(folder: str | os.PathLike, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Writes a checkpoint, then removes all but the last `keep`.

    Raises:
        InputError: the folder cannot be written to; what is there stays as it was.
    """
    from safetensors.numpy import save

    record = np.frombuffer(json.dumps(checkpoint.record).encode(), "uint8")
    content = save({**checkpoint.tensors, RECORD: record})
    path = Path(folder) / f"step-{checkpoint.step:08}-{_hash(content)}.safetensors"
    write_atomically(path, content)
    # A later step than this one was damaged, or this would not be it.
    found = _found(folder)
    earlier = [p for step, p in found if step < checkpoint.step]
    for stale in {p for _, p in found} - {path, *earlier[: keep - 1]}:
        stale.unlink(missing_ok=True)
    return path


def latest(folder: str | os.PathLike) -> Checkpoint | None:
    """Reads the last checkpoint that is whole; warns of each damaged one. None without any."""
    for step, path in _found(folder):
        try:
            tensors = _read(path)
            return Checkpoint(step, tensors, json.loads(tensors.pop(RECORD).tobytes()))
        except (OSError, ValueError) as error:
            warnings.warn(
                f"the checkpoint of step {step} is damaged and left aside ({path}: {error})",
                stacklevel=2,
            )
    return None


def capture(model: "keras.Model", used: "tf.distribute.Strategy") -> dict[str, np.ndarray]:
    """Reads all variables that training changes.

    Weights, moving statistics, seeds and the optimizer's variables are the same on every replica;
    each replica has sums of its own for the metrics, float32 (replicas, variables). All workers
    must call this together.
    """
    from keras import ops

    variables = _variables(model)
    values = {name: np.asarray(ops.convert_to_numpy(v), order="C") for name, v in variables.items()}
    return {**values, "metrics": _metric_sums(model, used)}


def is_finite(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether weights and moving statistics are numbers."""
    return all(np.isfinite(v).all() for name, v in tensors.items() if name.startswith("model/"))


def restore(
    model: "keras.Model", used: "tf.distribute.Strategy", tensors: Mapping[str, np.ndarray]
) -> None:
    """Assigns what `capture` read, except the metrics' sums: see `restore_metrics`.

    Raises:
        InputError: the tensors are of another model or optimizer.
    """
    variables = _variables(model)
    shapes = {name: tuple(v.shape) for name, v in variables.items()}
    given = {name: value.shape for name, value in tensors.items() if name != "metrics"}
    different = sorted(n for n in {*given, *shapes} if given.get(n) != shapes.get(n))
    if different or len(tensors["metrics"]) != used.num_replicas_in_sync:
        where = f": {different[0]}" if different else ""
        raise InputError(
            f"The checkpoint is of another network, optimizer or number of replicas{where}."
        )
    for name, variable in variables.items():
        variable.assign(tensors[name])


def restore_metrics(model: "keras.Model", used: "tf.distribute.Strategy", sums: np.ndarray) -> None:
    """Gives each replica its own sums again; once `fit` or `evaluate` has built the metrics."""
    for index, replicas in _local_sums(model, used):
        for replica, variable in replicas.items():
            variable.assign(sums[replica, index])


def _metric_sums(model, used):
    found = np.zeros((used.num_replicas_in_sync, len(_metric_variables(model))), "float32")
    for index, replicas in _local_sums(model, used):
        for replica, variable in replicas.items():
            found[replica, index] = variable.numpy()
    # Other workers have filled other rows, and nothing changes a number that 0 is added to.
    return distribution.total(used, found)


def _local_sums(model, used):
    """For each of the metrics' variables, {replica: its own part} of this worker's replicas."""
    for index, variable in enumerate(_metric_variables(model)):
        parts = used.experimental_local_results(variable.value)
        first = distribution.workers(used).place * len(parts)
        yield index, dict(enumerate(parts, first))


def _metric_variables(model):
    return [variable for metric in model.metrics for variable in metric.variables]


def _variables(model):
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    metrics = {id(variable) for variable in _metric_variables(model)}
    # Not the optimizer's paths: in one process they begin with sgd, sgd_1, ...
    return {
        f"{group}/{index}/{variable.path if group == 'model' else variable.name}": variable
        for group, members in groups.items()
        for index, variable in enumerate(members)
        if id(variable) not in metrics
    }


def _read(path):
    from safetensors.numpy import load

    content = path.read_bytes()
    if f"-{_hash(content)}." not in path.name:
        raise ValueError("its bytes do not have the checksum in its name")
    return load(content)


def _found(folder):
    """(step, path) of each checkpoint, the last first."""
    matches = [(_NAME.fullmatch(path.name), path) for path in Path(folder).glob("step-*")]
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _hash(content):
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
