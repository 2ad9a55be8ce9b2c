"""What Keras offers on no backend alike: errors inside a step, and work outside a trace.

The one module beside `layers` that imports a backend for networks, metrics and optimizers.
"""

import contextlib

import keras


def name_invalid(labels, valid, classes: int) -> None:
    """Names a label that is none of the classes, where the backend can.

    On TensorFlow an `InvalidArgumentError`, which XLA leaves out; on JAX a printed line.

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

        jax.lax.cond(valid.all(), lambda: None, name)


def eagerly() -> contextlib.AbstractContextManager:
    """A context in which operations run at once, also inside a function that is being traced."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()
