"""Which files there are to predict, and a picture of what `zoo.prediction` says of images."""

import os
import warnings
from collections.abc import Sequence

import numpy as np

from resnet_keras.errors import InputError
from resnet_keras.pipelines import listing, series_files
from resnet_keras.zoo import prediction as answers


def image_files(arguments: Sequence[str]) -> list[str]:
    """Lists files as they are given, and the JPEG, PNG and WebP files below folders by name.

    Of folders, hidden files are left out and links are followed, as in training; other files are
    left out with a warning.

    Raises:
        InputError: something is not there or holds no images.
    """
    paths: list[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            images, others = listing.files_below(argument)
            if not images:
                there = f", but {len(others)} other file(s)" if others else ""
                raise InputError(
                    f"The folder {argument} has no {listing.FORMATS} files below it{there}."
                )
            if others:
                warnings.warn(f"{listing.left_out(others, argument)}.", stacklevel=2)
            paths += images
        elif os.path.isfile(argument):
            if argument.endswith(series_files.SUFFIXES):
                raise InputError(
                    f"{argument} is a file of series, and the network takes images: name images, "
                    "or a network for series such as resnet1d."
                )
            paths.append(argument)
        else:
            raise InputError(f"There is no image or folder {argument}.")
    return paths


def series_in(
    paths: Sequence[str], built_for: Sequence[int | None] | None
) -> list[tuple[str, np.ndarray]]:
    """Reads files of series for a network, as (path, float32 (examples, length, channels)).

    Args:
        paths: of files as `pipelines.series_files` reads them.
        built_for: (length, channels) that the network takes, any length being None; None if it is
            not known.

    Raises:
        InputError: a file is not there, holds no series, or such as the network does not take.
    """
    examples = []
    for path in paths:
        if not os.path.isfile(path):
            raise InputError(f"There is no file of series {path}: name {series_files.FORMATS}.")
        values = series_files.read(path).values
        if built_for is not None:
            answers.check_series(values.shape[1:], built_for, f"series of {path}")
        examples.append((path, values))
    return examples


def draw(predictions: Sequence[answers.Prediction], caption: str) -> bytes:
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
