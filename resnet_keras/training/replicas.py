"""Replicas: one device, MirroredStrategy over GPUs or logical CPUs, or several machines.

What Keras or TensorFlow does wrongly under a strategy is mended where it happens: the moving
statistics of batch normalization in `layers`; accumulation, clipping and loss scaling in
`optimizers`; a ragged last batch by the weights of `pipelines.evaluation(replicas=...)`; `fit` over
several machines in `keras_patches`. What cannot be mended is refused by `check`.
"""

import functools
import json
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError, unknown

from . import keras_patches

STRATEGIES = ("mirrored", "one_device", "multi_worker")
# What the other workers' operations raise when one worker is gone, within some ten seconds.
WORKER_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)


class Workers(NamedTuple):
    """The place of this process among those that train together."""

    place: int = 0
    total: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes."""
        return self.place == 0


def make_strategy(name: str = "mirrored", *, logical_cpus: int = 1) -> tf.distribute.Strategy:
    """Returns the strategy under whose scope model and optimizer are built.

    Args:
        name: "mirrored", a replica on every GPU, or on every logical CPU without one;
            "one_device", the first of them; "multi_worker", a replica on every GPU, or on the CPU
            without one, of several machines, which the environment variable TF_CONFIG lists. Waits
            for them.
        logical_cpus: how many devices the CPU is split into, where there is no GPU. Can be set
            only before TensorFlow first uses a device.

    Raises:
        InputError: unknown name, logical CPUs where there is a GPU or too late, or TF_CONFIG
            missing or wrong.
    """
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if name == "multi_worker":
        workers()  # says what is wrong with TF_CONFIG
    if logical_cpus > 1:
        if name != "mirrored":
            raise InputError(f"logical_cpus are replicas of the strategy mirrored, not of {name}.")
        _split_cpu(logical_cpus)
    if name == "multi_worker":
        keras_patches.mend()
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    # NCCL reduces between GPUs; naming the alternative avoids a warning on CPUs.
    reduction = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def workers(strategy: tf.distribute.Strategy | None = None) -> Workers:
    """Returns this process's place, by TF_CONFIG; with a strategy of one process, 0 of 1.

    Raises:
        InputError: TF_CONFIG is missing or wrong.
    """
    if strategy is not None and not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Workers()
    text = os.environ.get("TF_CONFIG")
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


def agree(strategy: tf.distribute.Strategy, step: int) -> None:
    """Makes sure that all workers begin at the same step.

    Raises:
        InputError: they do not: they see different folders.
    """
    if total(strategy, np.array(step)) != step * workers(strategy).total:
        raise InputError(
            f"This worker would go on from step {step} and others would not: give a workdir that "
            "all workers see."
        )


def total(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Adds up arrays of one shape and dtype over all workers, which must call this together."""
    if workers(strategy).total == 1:
        return values
    return _summing(strategy)(tf.constant(values)).numpy()


@functools.cache
def _summing(strategy):
    replicas = strategy.num_replicas_in_sync // workers(strategy).total

    def bring(values):  # once for each worker
        first = tf.distribute.get_replica_context().replica_id_in_sync_group % replicas == 0
        return tf.where(first, values, tf.zeros_like(values))

    @tf.function
    def add(values):
        return strategy.reduce("SUM", strategy.run(bring, args=(values,)), axis=None)

    return add


def check(
    strategy: tf.distribute.Strategy,
    *,
    batch_size: int,
    jit_compile: bool,
    accumulate_steps: int = 1,
) -> None:
    """Refuses what a strategy would do wrongly or not at all.

    Raises:
        InputError: a global batch that the replicas cannot share equally, or XLA under mirrored
            replicas, which Keras does not compile.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % (replicas * accumulate_steps):
        parts = f"{replicas} replicas"
        if accumulate_steps > 1:
            parts += f" in {accumulate_steps} steps"
        raise InputError(
            f"A global batch of {batch_size} cannot be split equally among {parts}: "
            f"take a multiple of {replicas * accumulate_steps}."
        )
    if jit_compile and not isinstance(strategy, tf.distribute.OneDeviceStrategy):
        raise InputError(
            "XLA does not compile mirrored replicas: take the strategy one_device, or no "
            "jit_compile."
        )


def _split_cpu(count: int) -> None:
    if tf.config.list_physical_devices("GPU"):
        raise InputError("logical_cpus are for machines without a GPU: leave logical_cpus at 1.")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise InputError(
                "The CPU can be split into logical devices only before TensorFlow first uses it."
            ) from error


def device_kind() -> str:
    """What replicas run on: "GPU" or "CPU"."""
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
