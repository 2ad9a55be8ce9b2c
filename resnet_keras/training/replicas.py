"""Replicas: one device, MirroredStrategy over GPUs or logical CPUs, or several machines.

What Keras or TensorFlow does wrongly under a strategy is mended where it happens: the moving
statistics of batch normalization in `layers`; accumulation, clipping and loss scaling in
`optimizers`; a ragged last batch by the weights of `pipelines.evaluation(replicas=...)`; `fit` over
several machines in `keras_patches`. What cannot be mended is refused by `check`.
"""

import functools

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError

from . import cluster, keras_patches, limits
from .cluster import Workers

# What the other workers' operations raise when one worker is gone, within some ten seconds.
WORKER_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)


def make_strategy(name: str = "mirrored", *, logical_cpus: int = 1) -> tf.distribute.Strategy:
    """Returns the strategy under whose scope model and optimizer are built.

    Args:
        name: "mirrored", a replica on every GPU, or on every logical CPU without one;
            "one_device", the first of them; "multi_worker", a replica on every GPU, or on the CPU
            without one, of several machines, which the environment variable TF_CONFIG lists; see
            `cluster.use_slurm` for Slurm. Waits for them.
        logical_cpus: how many devices the CPU is split into, where there is no GPU. Can be set
            only before TensorFlow first uses a device.

    Raises:
        InputError: unknown name, logical CPUs where there is a GPU or too late, or TF_CONFIG
            missing or wrong.
    """
    limits.check_strategy(name, logical_cpus)
    if name == "multi_worker":
        cluster.workers()  # says what is wrong with TF_CONFIG
    if logical_cpus > 1:
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
    return cluster.workers()


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
    limits.check_batch(batch_size, strategy.num_replicas_in_sync, accumulate_steps)
    alone = isinstance(strategy, tf.distribute.OneDeviceStrategy)
    limits.check_xla("one_device" if alone else "mirrored", jit_compile)


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
