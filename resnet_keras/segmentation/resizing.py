"""Maps at the size of another: bilinear, as every segmenter resizes its logits."""

from typing import Any

import keras
from keras import ops

from resnet_keras.networks.blocks import CHANNELS_LAST


@keras.saving.register_keras_serializable(package="resnet_keras")
class BilinearResizing(keras.layers.Layer):
    """Resizes maps to the height and width of others, or to fixed ones.

    Pixels have areas: the corners of both maps are one ("half-pixel centres", torch's
    `align_corners=False`). Computed in the layer's compute dtype.

    Args:
        size: (height, width), or None: the layer is then called with what it takes them of.
        class_names: of the channels, where they are logits of classes; kept for who reads a model
            from its file.
    """

    def __init__(self, size=None, class_names=None, **kwargs):
        super().__init__(**kwargs)
        self.size = None if size is None else tuple(size)
        self.class_names = None if class_names is None else tuple(class_names)

    def call(self, x, like=None):
        """Maps (batch, h, w, channels) at the size of `like`, (batch, height, width, ...)."""
        # Of `ops.shape` only sides that are not known beforehand are tensors.
        size: Any = self.size or tuple(ops.shape(like)[1:3])
        if not all(isinstance(side, int) for side in size):
            # A graph for images of any size: Keras 3.15 compares sides with 0 in Python.
            import tensorflow as tf

            return tf.cast(tf.image.resize(x, size), x.dtype)
        return ops.image.resize(
            x, size, interpolation="bilinear", antialias=False, data_format=CHANNELS_LAST
        )

    def compute_output_spec(self, x, like=None):
        size = self.size or like.shape[1:3]
        return keras.KerasTensor((x.shape[0], *size, x.shape[-1]), dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "class_names": self.class_names}


def resized(x, like, name: str, **options: Any) -> keras.KerasTensor:
    """`x` at the height and width of `like`; of these, only unknown ones tie it to `like`.

    So a network of fixed size can be cut between its blocks, see `networks.rematerialize`.
    """
    size = like.shape[1:3]
    if None in size:
        return BilinearResizing(name=name, **options)(x, like=like)
    return BilinearResizing(size, name=name, **options)(x)
