"""Replicas: one device, or MirroredStrategy over all GPUs or over logical CPUs."""

import tensorflow as tf

from .errors import InputError, unknown

STRATEGIES = ("mirrored", "one_device")


def strategy(name: str = "mirrored", *, logical_cpus: int = 1) -> tf.distribute.Strategy:
    """Returns the strategy under whose scope model and optimizer are built.

    Args:
        name: "mirrored", a replica on every GPU, or on every logical CPU without one;
            "one_device", the first of them.
        logical_cpus: how many devices the CPU is split into, where there is no GPU. Can be set
            only before TensorFlow first uses a device.

    Raises:
        InputError: unknown name, or logical CPUs where there is a GPU or too late.
    """
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if logical_cpus > 1:
        if name == "one_device":
            raise InputError(
                "Logical CPUs are replicas of --strategy=mirrored; one_device has one."
            )
        _split_cpu(logical_cpus)
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    # NCCL reduces between GPUs; naming the alternative avoids a warning on CPUs.
    reduction = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def check(used: tf.distribute.Strategy, *, batch_size: int, jit_compile: bool) -> None:
    """Refuses what a strategy would do wrongly or not at all.

    Raises:
        InputError: a global batch that the replicas cannot share equally, or XLA under mirrored
            replicas, which Keras does not compile.
    """
    replicas = used.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"A global batch of {batch_size} cannot be split equally among {replicas} replicas: "
            f"take a multiple of {replicas}."
        )
    if jit_compile and isinstance(used, tf.distribute.MirroredStrategy):
        raise InputError("XLA does not compile mirrored replicas: add --strategy=one_device.")


def _split_cpu(count: int) -> None:
    if tf.config.list_physical_devices("GPU"):
        raise InputError("Logical CPUs are for machines without a GPU: leave --logical_cpus at 1.")
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
