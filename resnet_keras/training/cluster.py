"""The processes that train together, and the place of this one among them.

TF_CONFIG lists them, as TensorFlow has it; `use_slurm` sets it from what Slurm says of the tasks
of a job step. Importing this module imports no TensorFlow.
"""

import json
import os
from typing import NamedTuple

from resnet_keras.errors import InputError

CLUSTERS = ("tf_config", "slurm")
_PLACE = "TF_CONFIG"
_OF_SLURM = (
    *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"),
)


class Workers(NamedTuple):
    """The place of this process among those that train together."""

    place: int = 0
    total: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes."""
        return self.place == 0


def workers() -> Workers:
    """Returns this process's place, by TF_CONFIG.

    Raises:
        InputError: TF_CONFIG is missing or wrong.
    """
    text = os.environ.get(_PLACE)
    if not text:
        raise InputError(
            "The strategy multi_worker needs the environment variable TF_CONFIG on each machine; "
            "on one machine, python -m resnet_keras.launch --workers=2 -- ... sets it."
        )
    try:
        config = json.loads(text)
        addresses, task = config["cluster"]["worker"], config["task"]
        index, kind, others = int(task["index"]), task["type"], set(config["cluster"]) - {"worker"}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"TF_CONFIG is wrong ({error!r}): {text}") from error
    if others or kind != "worker" or not 0 <= index < len(addresses):
        raise InputError(f"TF_CONFIG must list workers only and be one of them, not {text}.")
    return Workers(index, len(addresses))


def check(cluster: str) -> Workers | None:
    """Checks what is said of the workers, before TensorFlow is imported.

    Args:
        cluster: one of `CLUSTERS`.

    Returns:
        The place of this process; of Slurm's tasks by their number alone.

    Raises:
        InputError: an environment variable is missing or wrong.
    """
    if cluster != "slurm":
        return workers()
    missing = [name for name in _OF_SLURM if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"cluster=slurm is for the tasks of a Slurm job step, and {missing[0]} is not set: "
            "start the command with srun, a task for each worker."
        )
    try:
        place = Workers(*(int(os.environ[name]) for name in _OF_SLURM[:2]))
    except ValueError as error:
        raise InputError(f"{_OF_SLURM[0]} and {_OF_SLURM[1]} must be numbers: {error}.") from error
    return place


def use_slurm() -> Workers:
    """Sets TF_CONFIG from the variables of a Slurm job step, by TensorFlow's resolver.

    Ports are 8888 and up on each node. Which GPUs a task sees is left to Slurm: --gpus-per-task
    gives each its own.

    Raises:
        InputError: a variable is missing or wrong, or the tasks are not in the order of the nodes,
            as TensorFlow numbers them.
    """
    check("slurm")
    import tensorflow as tf

    total = int(os.environ["SLURM_STEP_NUM_TASKS"])
    try:
        # The resolver's own counting of GPUs fails without nvidia-smi, and where Slurm binds them.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=total, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"Slurm's variables name no cluster: {error}.") from error
    index = resolver.task_id
    if index is None:
        raise InputError(f"SLURM_PROCID={os.environ['SLURM_PROCID']} is no task of {total}.")
    host, node = addresses[index].rsplit(":", 1)[0], os.environ.get("SLURMD_NODENAME")
    if node and node != host:
        raise InputError(
            f"Task {index} runs on {node}, and TensorFlow takes it to run on {host}: it numbers "
            "tasks by the sorted names of their nodes, so give srun --distribution=block, or set "
            "TF_CONFIG and take cluster=tf_config."
        )
    task = {"type": "worker", "index": index}
    os.environ[_PLACE] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return workers()
