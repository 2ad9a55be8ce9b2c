"""Detectors as files that need none of this package: SavedModel and LiteRT. TensorFlow.

    detection.export(model, "exported")
    found = tf.saved_model.load("exported").serve(images)

What is written gives the detections themselves, after suppression, as `FasterRCNN.predict` does.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import keras
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.files import check_local, make_folder, write_atomically

SUFFIX = ".tflite"


def export(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    padded: bool = False,
) -> Path:
    """Writes a detector as a SavedModel or for LiteRT, with its non-maximum suppression.

    A SavedModel has the signatures "serve" and "serving_default". LiteRT's file needs LiteRT's
    built-in operations only, none of Flex; on it RoIAlign is the form "matmul" of `roi.align`,
    whose answers differ from the other's by rounding.

    Args:
        model: a detector.
        path: of the folder of a SavedModel, or of a file .tflite.
        size: height and width of the images; any without, which LiteRT cannot have.
        batch: number of images; any without, and 1 for LiteRT.
        padded: whether images come with the height and width that each has without the padding
            below and to the right, as `{"image": images, "size": int32 (batch, 2)}`.

    Returns:
        The path. What it holds takes uint8 RGB images (batch, height, width, 3), and gives
        "boxes", "scores", "labels" and "count", and of a `MaskRCNN` "masks".

    Raises:
        InputError: something is at the path already, LiteRT is asked for without a size, or it has
            no operations for the detector.
    """
    check_local(path)
    path = Path(path).expanduser()
    is_litert = path.suffix == SUFFIX
    if path.exists():
        raise InputError(f"There is something at {path} already: give another path.")
    if is_litert:
        if size is None:
            raise InputError(f"{path}: LiteRT takes images of one size: give size=(height, width).")
        batch = batch or 1
    if any(side is not None and side < 1 for side in (*(size or ()), batch)):
        raise InputError(f"size and batch must be positive, not {size!r} and {batch!r}.")
    height, width = size or (None, None)
    inputs = tf.TensorSpec((batch, height, width, 3), tf.uint8, name="image")
    if padded:
        inputs = {"image": inputs, "size": tf.TensorSpec((batch, 2), tf.int32, name="size")}
    make_folder(path.parent)
    with as_matmul(model) if is_litert else nullcontext():
        detect = tf.function(lambda x: model(x, training=False), input_signature=[inputs])
        if is_litert:
            write_atomically(path, _litert(_module(detect, model), path))
        else:
            _saved_model(_module(detect, model), path)
    return path


@contextmanager
def as_matmul(model: keras.Model) -> Iterator[None]:
    """Inside, a detector pools RoIs by operations that LiteRT has."""
    settings = getattr(model, "settings", None)
    if settings is None:
        yield
        return
    model.settings = settings._replace(roi_form="matmul")
    try:
        yield
    finally:
        model.settings = settings


def _module(detect, model):
    module = tf.Module()
    module.parameters = [variable.value for variable in model.variables]
    module.serve = detect
    return module


def _saved_model(module, path):
    signature = module.serve.get_concrete_function()
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as aside:
        whole = Path(aside) / "whole"
        tf.saved_model.save(module, str(whole), {"serve": signature, "serving_default": signature})
        whole.rename(path)


def _litert(module, path):
    # Without the module, which has the variables, they are zeros in the file.
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.serve.get_concrete_function()], module
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return converter.convert()
    except Exception as error:  # of classes that TensorFlow does not name publicly
        raise InputError(
            f"{path}: LiteRT has no built-in operations for this detector: {_reason(error)}."
        ) from error


def _reason(error):
    lines = str(error).splitlines()
    named = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    return " ".join(named) or next(iter(lines), type(error).__name__)
