"""What Keras offers on no backend alike: errors in a step, work outside a trace, device names.

The one module beside `layers` that imports a backend for networks, metrics and optimizers.
"""

import contextlib

import keras


def name_invalid(labels, valid, classes: int) -> None:
    """Names a label that is none of the classes, where the backend can.

    On TensorFlow an `InvalidArgumentError`, which XLA leaves out; on JAX a printed line, on CPUs
    only: on a GPU the branch waits for the device, 1.4 ms for each (H200, JAX 0.11).

    Args:
        labels: (batch,), any dtype.
        valid: bool (batch,), which of them are classes.
        classes: how many there are.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        where = tf.argmin(tf.cast(valid, "int32"))
        message = ["label", labels[where], "is none of the classes 0 to", classes - 1]
        # Without the branch of tf.debugging.Assert.
        tf.raw_ops.Assert(
            condition=tf.reduce_all(valid), data=[tf.convert_to_tensor(part) for part in message]
        )
    elif backend == "jax":
        import jax

        def name():
            jax.debug.print(
                "label {label} is none of the classes 0 to {last}",
                label=labels[valid.argmin()],
                last=classes - 1,
            )

        if isinstance(valid, jax.core.Tracer):
            if jax.default_backend() == "cpu":
                jax.lax.cond(valid.all(), lambda: None, name)
        elif not valid.all():  # run eagerly, `cond` would be compiled anew in every step
            name()


def eagerly() -> contextlib.AbstractContextManager:
    """A context in which operations run at once, also inside a function that is being traced."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def device() -> str:
    """The name of the first GPU or other accelerator that Keras's backend computes on, or "cpu"."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    if backend != "tensorflow":
        return "unknown"
    import tensorflow as tf

    for accelerator in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(accelerator)
        return details.get("device_name", accelerator.name)
    return "cpu"
