"""All that decides how training goes on, as arrays: weights, optimizer, seeds and metrics.

Not among them is the state of Keras's global seed generator: give layers of your own that draw a
`keras.random.SeedGenerator`, which is a variable. Variables are told apart by their place in the
model, the optimizer or the metrics; their paths are for messages only, as a model that is built
again in one process has layers of other names.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from resnet_keras.errors import InputError

from . import replicas

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

MODEL, OPTIMIZER, METRICS = "model", "optimizer", "metrics"
_NAME = re.compile(rf"({MODEL}|{OPTIMIZER}|{METRICS})/(\d+)/(.*)")


def capture(model: "keras.Model", strategy: "tf.distribute.Strategy") -> dict[str, np.ndarray]:
    """Reads all variables that training changes.

    Weights, moving statistics, seeds and the optimizer's variables are the same on every replica.
    Metrics have values of their own on each, whatever their shape and dtype: their arrays have the
    replicas as their first axis. All workers must call this together.

    Returns:
        {"GROUP/PLACE/PATH": array}.
    """
    from keras import ops

    tensors = {
        # Not an optimizer's paths: in one process they begin with sgd, sgd_1, ...
        f"{group}/{place}/{variable.path if group == MODEL else variable.name}": np.asarray(
            ops.convert_to_numpy(variable), order="C"
        )
        for group, variables in _shared(model).items()
        for place, variable in enumerate(variables)
    }
    for place, variable in enumerate(_metric_variables(model)):
        shape = (strategy.num_replicas_in_sync, *variable.shape)
        values = np.zeros(shape, np.asarray(ops.convert_to_numpy(variable)).dtype)
        for replica, part in _local_parts(variable, strategy).items():
            values[replica] = part.numpy()
        # Other workers have filled other rows, and nothing changes a number that 0 is added to.
        tensors[f"{METRICS}/{place}/{variable.path}"] = replicas.total(strategy, values)
    return tensors


def check(model: "keras.Model") -> None:
    """Raises `InputError` where a variable is of a dtype that no checkpoint can hold."""
    for variables in _shared(model).values():
        for variable in variables:
            if "bfloat16" in str(variable.dtype):
                raise InputError(
                    f"{variable.path} is stored as bfloat16, which checkpoints do not hold: take "
                    "the dtype policy mixed_bfloat16, whose weights are float32."
                )


def is_finite(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether weights and moving statistics are numbers."""
    weights = (value for name, value in tensors.items() if name.startswith(f"{MODEL}/"))
    return all(np.isfinite(value).all() for value in weights if value.dtype.kind not in "biu")


def restore(
    model: "keras.Model",
    strategy: "tf.distribute.Strategy",
    tensors: Mapping[str, np.ndarray],
) -> None:
    """Assigns what `capture` read, except the metrics: see `restore_metrics`.

    Args:
        model: compiled and built, with its optimizer.
        strategy: under which it was made.
        tensors: of `capture`.

    Raises:
        InputError: they are of another model, optimizer or number of replicas.
    """
    groups = _grouped(tensors)
    for group, variables in _shared(model).items():
        _check(group, variables, groups[group])
    for path, value in groups[METRICS]:
        if value.shape[:1] != (strategy.num_replicas_in_sync,):
            raise InputError(
                f"The checkpoint is of {len(value)} replica(s), and there are "
                f"{strategy.num_replicas_in_sync} here ({path})."
            )
    for group, variables in _shared(model).items():
        for variable, (_, value) in zip(variables, groups[group], strict=True):
            variable.assign(value)


def restore_metrics(
    model: "keras.Model",
    strategy: "tf.distribute.Strategy",
    tensors: Mapping[str, np.ndarray],
) -> None:
    """Gives each replica its own metrics again; once `fit` or `evaluate` has built them.

    Raises:
        InputError: the model is compiled with other metrics.
    """
    variables, values = _metric_variables(model), _grouped(tensors)[METRICS]
    _check(METRICS, variables, [(path, value[0]) for path, value in values])
    for variable, (_, value) in zip(variables, values, strict=True):
        for replica, part in _local_parts(variable, strategy).items():
            part.assign(value[replica])


def _check(group, variables, values):
    """Raises `InputError` unless the values fit the variables, one by one."""
    here = [(v.path, tuple(v.shape)) for v in variables]
    there = [(path, value.shape) for path, value in values]
    pairs = zip(here, there, strict=False)
    wrong = next((f"{b[0]} {b[1]} there, {a[0]} {a[1]} here" for a, b in pairs if a[1] != b[1]), "")
    if len(here) != len(there):
        wrong = f"{len(there)} variables there, {len(here)} here"
    if wrong:
        raise InputError(f"The checkpoint does not fit: of the {group}, {wrong}.")


def _grouped(tensors):
    """(path, value) by their places, for each group."""
    groups = {MODEL: [], OPTIMIZER: [], METRICS: []}
    for name, value in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise InputError(
                f"The checkpoint is of another version of this package ({name}): begin again, in "
                "another workdir."
            )
        groups[match[1]].append((int(match[2]), match[3], value))
    return {
        group: [(path, value) for _, path, value in sorted(entries, key=lambda entry: entry[0])]
        for group, entries in groups.items()
    }


def _shared(model):
    """The variables that are the same on every replica."""
    metrics = {id(variable) for variable in _metric_variables(model)}
    return {
        MODEL: [v for v in model.variables if id(v) not in metrics],
        OPTIMIZER: list(model.optimizer.variables),
    }


def _metric_variables(model):
    return [variable for metric in model.metrics for variable in metric.variables]


def _local_parts(variable, strategy):
    """{replica: its own part of a metric's variable} for this worker's replicas."""
    parts = strategy.experimental_local_results(variable.value)
    first = replicas.workers(strategy).place * len(parts)
    return dict(enumerate(parts, first))
