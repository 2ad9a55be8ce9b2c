"""The classes of an image's pixels, by one look or by several, and pictures of them.

for path, image, labels in prediction.of_files(model, ["street.jpg"]):
    print(path, labels.shape)
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.pipelines import buckets, decode, listing, scenes

from . import scores

# DeepLab's (arXiv 1706.05587, Sec. 4.1): with mirrored images, the test of most published figures.
MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def probabilities(
    model: keras.Model,
    images: Any,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> np.ndarray:
    """Softmax of a segmenter's logits, the mean over images resized and mirrored.

    Args:
        model: from images (batch, height, width, 3) of any size to logits.
        images: uint8 (batch, height, width, 3).
        scales: factors by which images are resized, bilinearly; what is found is resized back.
        flip: whether mirrored images are looked at, too.

    Returns:
        float32 (batch, height, width, classes).

    Raises:
        InputError: they are no RGB images, or a factor is not positive.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"Images are (batch, height, width, 3) RGB pixels, not of shape {images.shape}."
        )
    if not scales or min(scales) <= 0:
        raise InputError(f"`scales` are positive factors such as 0.5 and 1, not {scales!r}.")
    looks = [_look(model, images, scale, mirrored) for scale in scales for mirrored in _ways(flip)]
    return np.sum(looks, axis=0) / np.float32(len(looks))


def _ways(flip):
    return (False, True) if flip else (False,)


def _look(model, images, scale, mirrored):
    """Softmax at one scale, at the size of the images."""
    height, width = images.shape[1:3]
    shown = images[:, :, ::-1] if mirrored else images
    if scale != 1:
        size = [max(1, round(scale * side)) for side in (height, width)]
        shown = tf.cast(tf.round(_resized(shown, size)), tf.uint8)
    logits = _logits(model, np.asarray(shown))
    found = tf.nn.softmax(logits)
    if scale != 1:
        found = _resized(found, [height, width])
    return found.numpy()[:, :, ::-1] if mirrored else found.numpy()


def _resized(values, size):
    values = tf.cast(values, tf.float32)
    return tf.raw_ops.ResizeBilinear(images=values, size=size, half_pixel_centers=True)


def _logits(model, images):
    """Of a model that may have an auxiliary output, too."""
    answer: Any = model.predict_on_batch(images)
    return tf.cast(answer["logits"] if isinstance(answer, dict) else answer, tf.float32)


def confusion(
    model: keras.Model,
    batches: Iterable[Any],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> np.ndarray:
    """Lets a segmenter look at every image of an evaluation once, and counts pixels.

    Args:
        model: as of `probabilities`.
        batches: of `pipelines.masks.evaluation`.
        scales: see `probabilities`.
        flip: see `probabilities`.

    Returns:
        The confusion matrix, see `scores`, int64 (classes, classes).

    Raises:
        InputError: a label is none of the model's classes.
    """

    def counts(images, masks):
        found = probabilities(model, images, scales=scales, flip=flip)
        return scores.confusion_matrix(masks, found.argmax(axis=-1), found.shape[-1])

    return scores.total(counts(*batch) for batch in batches)


def of_files(
    model: keras.Model,
    paths: Sequence[str | os.PathLike],
    *,
    scale: tuple[int, int] | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    exif_orientation: bool = True,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Finds the class of each pixel of image files.

    Args:
        model: as of `probabilities`.
        paths: of JPEG, PNG and WebP files.
        scale: (shorter side, most of the longer side) at which images are shown; their own without.
        scales: see `probabilities`.
        flip: see `probabilities`.
        exif_orientation: whether JPEGs are turned upright as their EXIF says.

    Yields:
        Each path, its pixels, uint8 (height, width, 3), and their classes, uint8 (height, width).

    Raises:
        InputError: a file cannot be read or decoded.
    """
    for path in map(str, paths):
        try:
            content = tf.io.read_file(path)
            image = decode.decode(content, exif_orientation=exif_orientation).numpy()
        except tf.errors.NotFoundError as error:
            raise InputError(f"There is no image {path}.") from error
        except tf.errors.OpError as error:
            raise InputError(f"{path} cannot be decoded as {listing.FORMATS}.") from error
        shown = image
        if scale is not None:
            height, width = tf.unstack(buckets.resized([image.shape[:2]], [scale])[0])
            shown = scenes.resize(tf.constant(image), height, width).numpy()
        found = probabilities(model, shown[None], scales=scales, flip=flip)
        if scale is not None:
            found = _resized(found, image.shape[:2]).numpy()
        yield path, image, found[0].argmax(axis=-1).astype(np.uint8)
