"""Networks as SavedModels, as TensorFlow Serving takes them. TensorFlow.

    saved_model.write(model, "resnet50_served/1", preprocessing=zoo.Preprocessing())
    tensorflow_model_server --model_name=resnet50 --model_base_path=$PWD/resnet50

TensorFlow Serving is given the folder above, and what a SavedModel's own folder is called, a
number, is its version. What is written needs nothing of this package, and no Keras.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.files import check_local, make_folder
from resnet_keras.pipelines import decode, encoded

# The names of the signatures. The second is that of TensorFlow's own models for encoded images.
PIXELS, FLOAT, IMAGES = "serving_default", "serving_float", "image_bytes"

_SHORTEST = 16  # bytes; less is no image


class _Input(NamedTuple):
    """What a model takes, float (batch, *shape)."""

    name: str
    shape: tuple[int | None, ...]
    batch_size: int | None

    def spec(self, dtype) -> tf.TensorSpec:
        return tf.TensorSpec((self.batch_size, *self.shape), dtype, name=self.name)


def write(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    preprocessing: zoo.Preprocessing | None,
    class_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    top: int = 5,
    exif_orientation: bool | None = None,
    webp: bool = True,
) -> None:
    """Writes a model as a SavedModel with signatures for pixels and for encoded images.

    "serving_default" takes `pixels`, uint8 RGB (batch, height, width, 3), and "serving_float" the
    same as float32 in [0, 255]. They give `logits` and `probabilities`, float32 (batch, classes);
    of a model without a head its output by its layer's name; of one with several, these by theirs.
    A network for series has "serving_default" alone, for `series`, float32 (batch, length,
    channels).

    "image_bytes" takes `image_bytes`, string (batch,): JPEG, PNG or WebP files of any size. The
    graph decodes, turns, resizes and crops them by the very operations of `predict`. It gives the
    `top` most probable classes, the first first: `classes` int32, `probabilities` float32 and,
    where `class_names` are given, `labels` string, each (batch, top). One file that cannot be
    decoded fails its whole batch, with TensorFlow's InvalidArgumentError.

    Args:
        model: pixels or series to logits, features or a dict of outputs.
        folder: that must not be there yet; for TensorFlow Serving MODEL/1, 1 being the version.
        preprocessing: how images are shown to the network; None leaves "image_bytes" out.
        class_names: in the order of the logits.
        batch_size: images in a batch; any number without.
        top: how many classes "image_bytes" gives; all, where there are fewer.
        exif_orientation: whether JPEGs are turned upright as their EXIF says; as `preprocessing`
            has it without.
        webp: False lets "image_bytes" take JPEG and PNG alone, for servers whose TensorFlow has no
            WebP. (2.19 refuses a graph with its operation, DecodeWebP; 2.21 has it.)

    Raises:
        InputError: something is at `folder` already, or it cannot be written to; arguments that do
            not fit the model; Keras's backend is not TensorFlow.
    """
    check_local(folder)
    folder = Path(folder).expanduser()
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"A SavedModel holds TensorFlow's variables, and Keras's backend is "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow."
        )
    if folder.exists():
        raise InputError(f"There is something at {folder} already: give another folder.")
    for name, value in (("batch_size", batch_size), ("top", top)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be positive, not {value}.")
    taken = _input(model, batch_size)
    if preprocessing is not None:
        _check_fit(model, taken, preprocessing, class_names)
    module = _module(model, taken)
    signatures = _signatures(module, taken)
    if preprocessing is not None:
        turned = preprocessing.heeds_exif if exif_orientation is None else exif_orientation
        view = _view(preprocessing, exif_orientation=turned, webp=webp)
        signatures[IMAGES] = _of_images(module, taken, view, class_names, top)
    make_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        whole = Path(aside) / "whole"
        tf.saved_model.save(module, str(whole), signatures)
        whole.rename(folder)


def _input(model, batch_size):
    shape: Any = getattr(model, "input_shape", None)
    if shape is None:  # a detector, which takes images of any size
        shape = (None, None, None, 3)
    if not isinstance(shape, tuple) or len(shape) not in (3, 4):
        raise InputError(f"{model.name} must take images or series alone, not {shape}.")
    return _Input("pixels" if len(shape) == 4 else "series", shape[1:], batch_size)


def _check_fit(model, taken, preprocessing, class_names):
    """Raises `InputError` where encoded images cannot be shown to a model, or it has no classes."""
    if not _tells_classes(model):
        raise InputError(f"{model.name} does not tell classes: leave preprocessing out.")
    if len(taken.shape) != 3 or taken.shape[-1] != 3:
        raise InputError(
            f"{model.name} takes {taken.name} of shape {taken.shape}, and files are read as RGB: "
            "leave preprocessing out."
        )
    try:
        size = zoo.weights.file.check_preprocessing(preprocessing).image_size
    except ValueError as error:
        raise InputError(f"preprocessing shows no image: {error}.") from error
    if any(side not in (None, size) for side in taken.shape[:2]):
        raise InputError(
            f"preprocessing shows images of side {size}, and {model.name} was built for "
            f"{taken.shape[0]} x {taken.shape[1]}."
        )
    classes = model.output_shape[-1]
    if class_names is not None and len(class_names) != classes:
        raise InputError(
            f"{len(class_names)} class_names do not fit {model.name}: it has {classes} classes."
        )


def _tells_classes(model):
    return getattr(model, "output_names", None) == ["logits"] and len(model.output_shape) == 2


def _module(model, taken):
    """What is saved: the variables, and as `answer` the model as a function to a dict."""
    module = tf.Module()
    module.parameters = [variable.value for variable in model.variables]

    def answer(values):
        outputs = model(values, training=False)
        if isinstance(outputs, dict):
            return outputs
        if _tells_classes(model):
            return {"logits": outputs, "probabilities": tf.nn.softmax(outputs)}
        return dict(zip(model.output_names, tf.nest.flatten(outputs), strict=True))

    # One function for all signatures: the network is in the file once.
    module.answer = tf.function(answer, input_signature=[taken.spec(tf.float32)])
    return module


def _signatures(module, taken):
    def of(dtype):
        def serve(values):
            return module.answer(tf.cast(values, tf.float32))

        return tf.function(serve, input_signature=[taken.spec(dtype)], autograph=False)

    if taken.name == "series":
        return {PIXELS: of(tf.float32)}
    return {PIXELS: of(tf.uint8), FLOAT: of(tf.float32)}


def _view(preprocessing: zoo.Preprocessing, **how: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """What `predict` shows of a file's content, as a function of string ().

    Args:
        preprocessing: how the image is resized and cropped.
        how: as for `decode.decode`.
    """
    size, resize, *way = preprocessing

    def view(contents):
        # Without this the decoder's own error would be of a place in a string.
        length = tf.strings.length(contents)
        message = ["image_bytes must hold an encoded image, not", length, "byte(s)"]
        with tf.control_dependencies([tf.debugging.Assert(length > _SHORTEST, message)]):
            image = decode.decode(tf.identity(contents), **how)
        return tf.ensure_shape(encoded.centre_view(image, resize, size, *way), [size, size, 3])

    return view


def _of_images(module, taken, view, class_names, top):
    """The signature for encoded images."""
    names = None if class_names is None else tf.constant([str(name) for name in class_names])
    spec = tf.TensorSpec([taken.batch_size], tf.string, name=IMAGES)

    def serve(image_bytes):
        # The decoders run there, and so a GPU is sent a byte for each value.
        with tf.device("CPU"):
            pixels = tf.map_fn(view, image_bytes, fn_output_signature=tf.uint8)
        probabilities = module.answer(tf.cast(pixels, tf.float32))["probabilities"]
        best = tf.math.top_k(probabilities, min(top, probabilities.shape[-1]))
        answers = {"classes": best.indices, "probabilities": best.values}
        return answers if names is None else {**answers, "labels": tf.gather(names, best.indices)}

    return tf.function(serve, input_signature=[spec], autograph=False)
