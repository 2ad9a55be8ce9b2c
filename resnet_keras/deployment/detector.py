"""An exported detector where commands have a Keras model.

    model = Detector(exported.read("mine_litert"))
    found = model.predict_on_batch({"image": images, "size": sizes})

Imports no TensorFlow.
"""

from collections.abc import Mapping

import numpy as np

from resnet_keras.errors import InputError

from .exported import DETECTION, Exported
from .runtimes import Runtime, open_runtime


class Detector:
    """What measurements and predictions ask of a `FasterRCNN`, answered by an exported model.

    Attributes:
        name: what errors call it: its folder.
        num_classes: that it tells apart.
        class_names: in the order of the labels, if they are known.
        scale: (shorter side, most of the longer side) at which it was trained, if that is known.
        mask_side: None: it finds no masks.
    """

    mask_side = None

    def __init__(self, exported: Exported, *, threads: int | None = None):
        """Opens the model in its own runtime; arguments and errors as of `open_runtime`."""
        check(exported)
        self.name = str(exported.folder)
        self.num_classes = exported.num_classes
        self.class_names = exported.class_names
        self.scale = exported.scale
        self._sides = exported.image_shape
        self._run: Runtime = open_runtime(exported, threads=threads)

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Finds objects as `FasterRCNN.predict` does.

        A model for images of one size sees smaller ones with black below and to the right, which
        the network itself leaves out of account: near there its boxes may differ a little.

        Args:
            inputs: "image" (n, height, width, 3) in [0, 255], rounded here; "size" int32 (n, 2),
                height and width of each without padding.

        Raises:
            InputError: an image is larger than those that the model takes.
        """
        images, sizes = (np.asarray(inputs[name]) for name in ("image", "size"))
        shown = [
            np.clip(np.rint(image[:height, :width]), 0, 255).astype("uint8")
            for image, (height, width) in zip(images, sizes, strict=True)
        ]
        if None in self._sides:
            answers = [self._run(image[None]) for image in shown]
            answers = {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}
        else:
            answers = self._run(np.stack([self._padded(image) for image in shown]), pad=True)
        return _within(answers, sizes)

    def _padded(self, image):
        (height, width), most = image.shape[:2], self._sides
        if height > most[0] or width > most[1]:
            raise InputError(
                f"{self.name} takes images of {most[0]} x {most[1]} pixels, and one is shown to it "
                f"at {height} x {width}: give a smaller `scale`, or export the detector for larger "
                "images or, as savedmodel, for any."
            )
        return np.pad(image, [(0, most[0] - height), (0, most[1] - width), (0, 0)])


def _within(answers, sizes):
    """Detections cut to each image; without those that lie beside it."""
    kept = {name: np.zeros_like(values) for name, values in answers.items()}
    kept["labels"] -= 1  # of places without a detection
    for n, (height, width) in enumerate(sizes):
        boxes = np.clip(answers["boxes"][n], 0, [width, height] * 2)
        real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        places = np.flatnonzero(real[: int(answers["count"][n])])
        kept["count"][n] = len(places)
        kept["boxes"][n, : len(places)] = boxes[places]
        for name in ("scores", "labels"):
            kept[name][n, : len(places)] = answers[name][n, places]
    return kept


def check(exported: Exported) -> None:
    """Raises `InputError` for an exported model that is no detector."""
    if exported.task != DETECTION:
        raise InputError(
            f"{exported.folder} is an exported model for {exported.task}, and detects nothing: "
            "name one of `python -m resnet_keras.export` with a detector."
        )
