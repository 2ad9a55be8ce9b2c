"""What images show: their most probable classes, from files to guesses.

for prediction in predict(model, image_files(["cat.jpg"]), preprocessing=file.preprocessing):
    print(prediction.path, prediction.guesses)
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from resnet_keras.errors import InputError
from resnet_keras.pipelines import listing

from .scores import log_softmax

if TYPE_CHECKING:
    import keras

    from resnet_keras import zoo


class Guess(NamedTuple):
    """A class that an image may show."""

    label: int
    name: str
    probability: float


class Prediction(NamedTuple):
    """What a network says of an image file.

    `image` is what it saw, uint8 (height, width, 3); `guesses` the most probable classes first,
    None where the file could not be decoded.
    """

    path: str
    image: np.ndarray
    guesses: list[Guess] | None


def image_files(arguments: Sequence[str]) -> list[str]:
    """Lists files as they are given, and the JPEG and PNG files below folders by name.

    Of folders, hidden files are left out and links are followed, as in training.

    Raises:
        InputError: something is not there or holds no images.
    """
    paths: list[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            below = listing.images_below(argument)
            if not below:
                raise InputError(f"The folder {argument} has no JPEG or PNG files below it.")
            paths += below
        elif os.path.isfile(argument):
            paths.append(argument)
        else:
            raise InputError(f"There is no image or folder {argument}.")
    return paths


def predict(
    model: "keras.Model",
    paths: Sequence[str],
    *,
    preprocessing: "zoo.Preprocessing",
    class_names: Sequence[str] | None = None,
    top: int = 5,
    batch_size: int = 32,
    exif_orientation: bool = True,
) -> Iterator[Prediction]:
    """Predicts the classes of image files, batch by batch.

    Args:
        model: pixels to logits, for crops of `preprocessing.image_size`.
        paths: of JPEG and PNG files.
        preprocessing: how they are shown to it.
        class_names: in the order of the logits; without, classes go by their numbers.
        top: how many classes to name.
        batch_size: images at once.
        exif_orientation: whether JPEGs are turned upright as their EXIF says.
    """
    from resnet_keras.pipelines import encoded, stream

    shown = {**preprocessing._asdict(), "exif_orientation": exif_orientation}
    files = encoded.images(paths, **shown).batch(batch_size)
    names = iter(paths)
    for images, readable in stream.prefetch(files, None):
        images = np.asarray(images)
        shares = np.exp(log_softmax(model.predict_on_batch(images)))
        for image, good, share in zip(images, np.asarray(readable), shares, strict=True):
            best = np.argsort(-share, kind="stable")[:top]
            guesses = [
                Guess(int(n), class_names[n] if class_names else f"class {n}", float(share[n]))
                for n in best
            ]
            yield Prediction(next(names), image, guesses if good else None)


def draw(predictions: Sequence[Prediction], caption: str) -> bytes:
    """A PNG of the images as the network saw them, each with its likely classes; by matplotlib."""
    from resnet_keras.pipelines import preview

    images = np.stack([prediction.image for prediction in predictions])
    return preview.draw(images, [_label(prediction) for prediction in predictions], caption)


def _label(prediction):
    if prediction.guesses is None:
        return "not decoded"
    first, *others = prediction.guesses
    likely = [first, *(guess for guess in others if guess.probability >= 0.01)]
    return "\n".join(f"{g.name}: {100 * g.probability:.0f} %" for g in likely[:2])
