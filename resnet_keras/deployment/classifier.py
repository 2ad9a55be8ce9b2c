"""An exported classifier where commands have a Keras model.

    model = Classifier(exported.read("resnet20_onnx"))
    logits = model.predict_on_batch(images)  # uint8 (n, height, width, 3)

Imports no TensorFlow.
"""

import numpy as np

from resnet_keras.errors import InputError

from .exported import CLASSIFICATION, Exported
from .runtimes import Runtime, open_runtime


class Classifier:
    """What protocols and predictions ask of a `keras.Model`, answered by an exported model.

    Attributes:
        name: what errors call it: its folder.
        input_shape: (None, height, width, 3), or (None, length, channels) for series; sides that
            are free are None.
        output_shape: (None, classes).
        image_size: side at which images are shown where the model takes any; None if that is not
            known.
    """

    def __init__(self, exported: Exported, *, threads: int | None = None, dtype: str = "float32"):
        """Opens the model in its own runtime; arguments and errors as of `open_runtime`."""
        check(exported)
        self.name = str(exported.folder)
        self.input_shape = (None, *exported.input.shape[1:])
        self.output_shape = (None, exported.num_classes)
        self.image_size = exported.preprocessing and exported.preprocessing.image_size
        self._run: Runtime = open_runtime(exported, threads=threads, dtype=dtype)

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """float32 logits (n, classes) of any number of images, or series, as the model takes."""
        return self._run(images, pad=True)


def check(exported: Exported) -> None:
    """Raises `InputError` for an exported model that is no classifier."""
    if exported.task != CLASSIFICATION:
        raise InputError(
            f"{exported.folder} is an exported model for {exported.task}, and does not classify: "
            "name one of `python -m resnet_keras.export` with a classifier."
        )
