"""What a detector finds in photographs, and pictures of it.

    for path, image, found in prediction.of_files(model, ["street.jpg"]):
        print(path, found["boxes"], found["scores"], found["labels"])

Images are shown to a detector as the streams of `pipelines.objects` show them.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from resnet_keras import drawing
from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically
from resnet_keras.pipelines import buckets, decode, objects, preview, scenes

from . import masks, scores

Detections = dict[str, np.ndarray]
# Pixels of the longer side of a picture: larger photographs are drawn smaller, small ones larger.
SMALLEST, LARGEST = 512, 1600


class Picture(bytes):
    """The content of a PNG file, which notebooks show."""

    def save(self, path: str | os.PathLike) -> None:
        """Writes the file."""
        write_atomically(path, self)

    def _repr_png_(self):
        return bytes(self)


def of_image(model: keras.Model, image: Any, *, scale: tuple[int, int] | None = None) -> Detections:
    """Detects objects in one image of any size.

    Args:
        model: a detector.
        image: (height, width, 3) RGB pixels in [0, 255].
        scale: (shorter side, most of the longer side) at which the detector sees it; without, the
            model's own, which is that of its training.

    Returns:
        {"boxes": float32 (n, 4), "scores": float32 (n,), "labels": int32 (n,)}, the best first;
        boxes are x1, y1, x2, y2 in pixels of the image. Of a `MaskRCNN` "masks": float32
        (n, M, M), too, within these boxes; see `masks.paste`.

    Raises:
        InputError: it is no RGB image.
    """
    image = np.asarray(image)
    shape = image.shape
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"An image is (height, width, 3) RGB pixels, not of shape {shape}.")
    wanted = _wanted(model, image.shape, scale)
    image = tf.cast(image, "float32")
    times = int(tf.reduce_min(tf.shape(image)[:2]) // tf.reduce_min(wanted))
    ratio = max(ratio for ratio in decode.RATIOS if ratio <= max(times, 1))
    if ratio > 1:  # as a JPEG is shrunk while it is decoded
        image = tf.nn.avg_pool2d(image[None], ratio, ratio, "VALID")[0]
    pixels = tf.cast(tf.round(image), "uint8")
    return _detections(model, pixels, shape, wanted)


def of_files(
    model: keras.Model,
    paths: Sequence[str | os.PathLike],
    *,
    scale: tuple[int, int] | None = None,
    exif_orientation: bool = True,
) -> Iterator[tuple[str, np.ndarray, Detections]]:
    """Detects objects in image files.

    Args:
        model: a detector.
        paths: of JPEG, PNG and WebP files.
        scale: as of `of_image`.
        exif_orientation: whether JPEGs are turned upright as their EXIF says.

    Yields:
        Each path, its pixels, uint8 (height, width, 3), and what was found.

    Raises:
        InputError: a file cannot be read or decoded.
    """
    for path in map(str, paths):
        yield path, *of_file(model, path, scale=scale, exif_orientation=exif_orientation)


def of_file(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    scale: tuple[int, int] | None = None,
    exif_orientation: bool = True,
) -> tuple[np.ndarray, Detections]:
    """Detects objects in one image file.

    Args:
        model: a detector.
        path: of a JPEG, PNG or WebP file.
        scale: as of `of_image`.
        exif_orientation: as of `of_files`.

    Returns:
        The pixels, uint8 (height, width, 3), and what was found.

    Raises:
        InputError: the file cannot be read or decoded.
    """
    content, image = decode.of_file(path, exif_orientation=exif_orientation)
    wanted = _wanted(model, image.shape, scale)
    shrunk = scenes.encoded(lambda _: content, exif_orientation)
    pixels = shrunk(tf.constant(""), image.shape[:2], tf.reduce_min(wanted))
    return image, _detections(model, pixels, image.shape, wanted)


def _wanted(model, shape, scale):
    """Height and width at which a detector sees an image: its own scale, if no other is given."""
    scale = scale or getattr(model, "scale", None) or objects.SCALE
    return buckets.resized([shape[:2]], [scale])[0]


def _detections(model, pixels, shape, wanted):
    """What is found in `pixels`, resized to `wanted`; boxes are those of an image of `shape`."""
    height, width = tf.unstack(wanted)
    seen = scenes.resize(pixels, height, width)
    margin = [[0, -height % 32], [0, -width % 32], [0, 0]]  # fewer shapes, so fewer traces
    inputs = {"image": tf.pad(seen, margin)[None], "size": wanted[None]}
    found = {name: np.asarray(value)[0] for name, value in model.predict_on_batch(inputs).items()}
    count = int(found["count"])
    factor = np.array([int(width) / shape[1], int(height) / shape[0]] * 2, "float32")
    kept = {name: found[name][:count] for name in _of(found)}
    return {**kept, "boxes": kept["boxes"] / factor}


def _of(found):
    """What is told of each detection."""
    return [name for name in ("boxes", "scores", "labels", "masks") if name in found]


def draw(
    image: np.ndarray,
    found: Detections,
    class_names: Sequence[str] | None = None,
    *,
    threshold: float = 0.5,
    caption: str = "",
    title: str | None = None,
) -> Picture:
    """Draws boxes with classes and scores, and masks where there are such, into an image.

    Args:
        image: uint8 (height, width, 3).
        found: of `of_image`, or what `predict` gives of a batch of this one image.
        class_names: in the order of the labels; without, classes go by their numbers.
        threshold: detections of lower scores are left out.
        caption: above the image.
        title: beneath the caption; how many objects there are, without.

    Returns:
        A picture, shown in notebooks, with `save(path)`; the content of a PNG file.

    Raises:
        InputError: `found` is of several images, or of a class without a name.
        MissingExtraError: matplotlib is not installed.
    """
    found = _of_one(found)
    image, boxes = _resized(np.asarray(image), found["boxes"])
    if "masks" in found:
        image = _covered(image, boxes, found, threshold)
    outlines = [
        (box, int(label), f"{name_of(label, class_names)} {score:.2f}", False)
        for box, score, label in zip(boxes, found["scores"], found["labels"], strict=True)
        if score >= threshold
    ]
    if title is None:
        title = f"{len(outlines)} object{'' if len(outlines) == 1 else 's'}"
    # The worst first, so that the best are not hidden.
    return Picture(preview.draw(image[None], [title], caption, [outlines[::-1]]))


def _covered(image, boxes, found, threshold):
    """An image with masks as half transparent colours, those of the boxes; the best on top.

    Their borders are not transparent, or a mask could not be told from an image of its colour.
    """
    shown = image.astype("float32")
    for n in np.flatnonzero(found["scores"] >= threshold)[::-1]:  # one is as large as the image
        (mask,) = masks.paste(found["masks"][[n]], boxes[[n]], image.shape[:2])
        colour = 255 * np.array(drawing.colour(int(found["labels"][n])))
        shown[mask] = (image[mask] + colour) / 2
        shown[mask & ~_inside(mask)] = colour
    return np.rint(shown).astype("uint8")


def _inside(mask):
    """Pixels of a mask whose four neighbours are the mask's, too; beyond the image all are."""
    padded = np.pad(mask, 1, constant_values=True)
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _resized(image, boxes):
    """An image of a size at which lines and names can be seen, and its boxes."""
    longer = max(image.shape[:2])
    enlarged = SMALLEST // longer
    if enlarged > 1:
        return image.repeat(enlarged, 0).repeat(enlarged, 1), boxes * enlarged
    times = -(-longer // LARGEST)
    if times == 1:
        return image, boxes
    sides = [-(-side // times) for side in image.shape[:2]]
    pixels = tf.image.resize(image, sides, antialias=True)
    factor = np.array([sides[1] / image.shape[1], sides[0] / image.shape[0]] * 2)
    return tf.cast(tf.round(tf.clip_by_value(pixels, 0, 255)), "uint8").numpy(), boxes * factor


def told(
    found: Detections,
    class_names: Sequence[str] | None = None,
    threshold: float = 0.5,
    *,
    size: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Detections as plain data, the best first.

    Args:
        found: of `of_image`.
        class_names: see `draw`.
        threshold: see `draw`.
        size: height and width of the image; with it masks are told, if there are some.

    Returns:
        {"class": name, "score": float, "box": [x1, y1, x2, y2]} of each, with "segmentation", the
        run lengths of COCO's format, for a mask.

    Raises:
        MissingExtraError: there are masks to tell, and pycocotools is not installed.
    """
    kept = [n for n, score in enumerate(found["scores"]) if score >= threshold]
    rows = [
        {
            "class": name_of(found["labels"][n], class_names),
            "score": round(float(found["scores"][n]), 4),
            "box": [round(float(corner), 1) for corner in found["boxes"][n]],
        }
        for n in kept
    ]
    if size is not None and "masks" in found:
        encoded = masks.encode(found["masks"][kept], found["boxes"][kept], size)
        for row, rle in zip(rows, encoded, strict=True):
            row["segmentation"] = scores.readable(rle)
    return rows


def _of_one(found):
    """Detections of an image, without a batch's first axis and its padding."""
    if np.ndim(found["scores"]) == 1:
        return found
    if len(found["scores"]) != 1:
        raise InputError(
            f"These are the detections of {len(found['scores'])} images: draw one at a time, as of "
            "model.predict(image[None])."
        )
    count = int(found["count"][0])
    return {name: found[name][0][:count] for name in _of(found)}


def name_of(label: int, class_names: Sequence[str] | None) -> str:
    """What a class is called."""
    if not class_names:
        return f"class {label}"
    if label >= len(class_names):
        raise InputError(f"class {label} was found, and there are {len(class_names)} class_names.")
    return class_names[label]
