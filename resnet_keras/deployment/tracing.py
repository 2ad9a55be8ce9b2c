"""A Keras model as a function of fixed names, from which converters start. TensorFlow."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Traced(NamedTuple):
    """A model as one function.

    Attributes:
        module: that holds the variables, and the function as `serve`.
        spec: of its input.
        outputs: names of its outputs, in their order.
    """

    module: Any
    spec: tf.TensorSpec
    outputs: tuple[str, ...]

    @property
    def concrete(self):
        return self.module.serve.get_concrete_function()


def trace(model: keras.Model, shape: Sequence[int | None], name: str, dtype="float32") -> Traced:
    """Traces a model for inference.

    Args:
        model: pixels to logits, or to a dict of outputs.
        shape: of the images, the batch first; None where a side is free.
        name: what the input is called.
        dtype: of the images.
    """
    spec = tf.TensorSpec(shape, dtype, name=name)

    def answer(images):
        outputs = model(images, training=False)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    module = tf.Module()
    module.parameters = [variable.value for variable in model.variables]
    module.serve = tf.function(answer, input_signature=[spec])
    outputs = module.serve.get_concrete_function().structured_outputs
    return Traced(module, spec, tuple(outputs))
