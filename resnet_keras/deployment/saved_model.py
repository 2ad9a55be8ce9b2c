"""Networks as SavedModels, with one signature for pixels. TensorFlow."""

import os
from collections.abc import Sequence

import keras
import tensorflow as tf

from resnet_keras.zoo import Preprocessing


def write(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    preprocessing: Preprocessing | None,
    class_names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> None:
    """Writes a model as a SavedModel whose signature "serving_default" takes uint8 `pixels`.

    Args:
        model: pixels to logits.
        folder: that must not be there yet.
        preprocessing: not used yet.
        class_names: not used yet.
        batch_size: images at once; any number without.
    """
    spec = tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.uint8, name="pixels")
    module = tf.Module()
    module.parameters = [variable.value for variable in model.variables]
    module.serve = tf.function(
        lambda pixels: {"logits": model(tf.cast(pixels, tf.float32), training=False)},
        input_signature=[spec],
    )
    signature = module.serve.get_concrete_function()
    tf.saved_model.save(module, os.fspath(folder), {"serving_default": signature})
