"""Detectors as exported folders: boxes after suppression.

detecting.export(model, "detector_litert", (480, 640), format="litert", about=about)
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from resnet_keras.detection.exporting import as_matmul
from resnet_keras.errors import InputError

from . import calibration, exported, exporting, formats, litert, onnx, runtimes, tracing
from .calibration import Inputs
from .exported import Exported, Tensor
from .exporting import About
from .formats import FLOAT16, NONE

# What they can be, and how they can be quantized.
FORMATS = {"savedmodel": (NONE,), "litert": (NONE, FLOAT16), "onnx": (NONE, FLOAT16)}
# A detection of the network's is in the file's answer if that has one of its class so near.
NEAR = 1.0  # pixels, of any corner
SHOWN = (240, 320)  # size of the images that a file for any size is compared with
LIMIT = 0.9  # the least share of detections that must be


def check(format: str, quantize: str) -> None:
    """Raises `InputError` for what a detector cannot be exported to, as `formats.check` does."""
    if format in formats.FORMATS and format not in FORMATS:
        raise InputError(
            f"Detectors are exported as {', '.join(FORMATS)}, and not as "
            f"{formats.FORMATS[format].title}, whose converter stops at operations of theirs."
        )
    if quantize in formats.QUANTIZATIONS and quantize not in FORMATS.get(format, (quantize,)):
        raise InputError(
            f"Detectors are exported in float32 and, as litert and onnx, in float16, and not as "
            f"{format} with quantize={quantize}."
        )
    formats.check(format, quantize)


def export(
    model: keras.Model,
    folder: str | os.PathLike,
    size: tuple[int, int] | None = None,
    *,
    format: str,
    quantize: str = NONE,
    about: About,
    batch_size: int | None = None,
    compared: Inputs | None = None,
) -> Exported:
    """Writes a detector for another runtime, with its non-maximum suppression.

    Args:
        model: of `detection`, without masks.
        folder: made here; nothing may be there yet.
        size: height and width of the images; of any without, which SavedModel alone can be for.
        format: one of `FORMATS`. LiteRT's file has built-in operations only, none of Flex.
        quantize: "none", or "float16", which stores weights so, as LiteRT and ONNX.
        about: what is told of the detector.
        batch_size: images at once; any number without, and 1 for the other formats.
        compared: uint8 images of that size that file and network are asked about; made-up ones
            without.

    Returns:
        What was written, with its largest difference from the network. It takes uint8 `image`
        and gives "boxes", "scores", "labels" and "count", as `FasterRCNN.predict` does.

    Raises:
        InputError: the format cannot take the detector, the file's answers are not the network's,
            or the folder cannot be written to. Nothing is left then.
    """
    check(format, quantize)
    if format != "savedmodel":
        batch_size = batch_size or 1
        if size is None:
            title = formats.FORMATS[format].title
            raise InputError(f"{title} takes images of one size here, and not of any.")
    if any(number is not None and number < 1 for number in (*(size or ()), batch_size)):
        raise InputError(f"size and batch_size must be positive, not {size} and {batch_size}.")
    images = compared or calibration.made_up(size or SHOWN, 4)
    shape = (batch_size, *(size or (None, None)), 3)

    def convert(aside: Path) -> tuple[Tensor, tuple[Tensor, ...]]:
        path = aside / exported.FILES[format]
        # LiteRT has no operation for the other form of RoIAlign.
        form = as_matmul(model) if format == "litert" else contextlib.nullcontext()
        with form:
            traced = tracing.trace(model, shape, "image", "uint8")
            outputs = _outputs(traced)
            if format == "litert":
                litert.write(traced, path, quantize)
            elif format == "onnx":
                onnx.write(traced, path, quantize)
            else:
                signatures = {"serving_default": traced.concrete}
                tf.saved_model.save(traced.module, os.fspath(path), signatures)
        return Tensor("image", "uint8", shape), outputs

    def compare(found: Exported) -> Mapping[str, Any]:
        given = runtimes.open_runtime(found)(images.values, pad=True)
        with exporting.in_float32():
            parts = [model.predict_on_batch(image[None]) for image in images.values]
        expected = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return difference(given, expected, images.origin)

    facts = {
        "task": exported.DETECTION,
        "format": format,
        "quantize": quantize,
        "num_classes": model.num_classes,
        "calibration": None,
        "scale": getattr(model, "scale", None),
    }
    return exporting.write(folder, about, facts, convert, compare)


def check_precision(model: keras.Model) -> None:
    """Raises `InputError` for a detector that computes in another precision than float32."""
    other = {layer.compute_dtype for layer in model._flatten_layers()} - {"float32"}
    if other:
        raise InputError(
            f"{model.name} computes in {other.pop()}, and exported detectors in float32: train it "
            "with dtype=float32, or load its weights into one that is built so."
        )


def _outputs(traced):
    outputs = traced.concrete.structured_outputs
    if "masks" in outputs:
        raise InputError("Detectors with masks are exported by detection.export alone.")
    return tuple(
        Tensor(name, outputs[name].dtype.name, tuple(outputs[name].shape))
        for name in traced.outputs
    )


def difference(
    given: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], origin: str
) -> dict[str, Any]:
    """How far detections are from the network's, each from the nearest of its class.

    Equal scores and overlaps near the limit may fall otherwise in another runtime, so that not
    all need be there.

    Args:
        given, expected: "boxes", "scores", "labels" and "count" of the same images.
        origin: of these, in words.

    Returns:
        Of those that are there, the largest difference of a corner in pixels, and of a score; and
        how many there are.

    Raises:
        InputError: too few are.
    """
    images = range(len(expected["count"]))
    rows = [row for n in images for row in _nearest(given, expected, n)]
    if not rows:
        raise InputError(
            f"The network finds nothing in {len(images)} images, of {origin}, so that the file "
            "cannot be compared with it. Nothing was written: build the detector with a smaller "
            "score_threshold, or call deployment.detecting.export with compared images that show "
            "its objects."
        )
    near = [row for row in rows if row[0] <= NEAR]
    if len(near) < LIMIT * len(rows):
        raise InputError(
            f"The file finds {len(near)} of the network's {len(rows)} objects in "
            f"{len(expected['count'])} images, of {origin}. Nothing was written."
        )
    more = [row for n in images for row in _nearest(expected, given, n)]
    if sum(row[0] <= NEAR for row in more) < LIMIT * len(more):
        raise InputError(
            f"The file finds {len(more)} objects in {len(images)} images, of {origin}, and the "
            f"network finds {len(rows)} only. Nothing was written."
        )
    return {
        "largest": max((corners for corners, _ in near), default=0.0),
        "scores": max((score for _, score in near), default=0.0),
        "same": len(near),
        "objects": len(rows),
        "images": len(expected["count"]),
        "origin": origin,
    }


def _nearest(given, expected, n):
    """(largest difference of a corner, difference of the score) of each detection in image n."""
    found = slice(0, int(given["count"][n]))
    labels, boxes = given["labels"][n, found], given["boxes"][n, found]
    for place in range(int(expected["count"][n])):
        same = np.flatnonzero(labels == expected["labels"][n, place])
        if not len(same):
            yield np.inf, np.inf
            continue
        far = np.abs(boxes[same] - expected["boxes"][n, place]).max(axis=-1)
        nearest = same[far.argmin()]
        score = abs(given["scores"][n, nearest] - expected["scores"][n, place])
        yield float(far.min()), float(score)
