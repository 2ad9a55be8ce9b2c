"""A network as a folder of another runtime: written aside, run, compared, and then renamed.

exporting.export(model, "resnet20_int8", format="litert", quantize="int8", about=about,
                 compared=images, calibration=images)
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.files import PART, check_local, make_folder, readable, umask, unwritable

from . import calibration as calibrations
from . import card, exported, formats, litert, onnx, openvino, runtimes, saved_model, tracing
from .calibration import Inputs
from .exported import Exported, Tensor
from .formats import DYNAMIC, FLOAT16, INT8, NONE

# The largest difference from the network, in units of the largest logit, that a file may have. What
# quantization may cost is the user's to judge, but not answers that have nothing in common.
LIMITS = {NONE: 1e-4, FLOAT16: 1e-2, DYNAMIC: 0.3, INT8: 0.5}
# What the weights made here keep to on their test images; `doubt` warns of more.
GOOD = {NONE: 1e-5, FLOAT16: 2e-3, DYNAMIC: 3e-2, INT8: 3e-2}


class About(NamedTuple):
    """What is told of a network beside its file.

    Attributes:
        network: its name.
        weights: their tag or file; None for a folder's own.
        preprocessing: how images are shown to it.
        assumed: why that is a guess, see `zoo.weights.WeightsFile`.
        class_names: in the order of the logits.
        licence: of the weights.
    """

    network: str
    weights: str | None = None
    preprocessing: zoo.Preprocessing | None = None
    assumed: str = ""
    class_names: Sequence[str] | None = None
    licence: str | None = None


def export(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    format: str,
    quantize: str = NONE,
    about: About,
    compared: Inputs,
    calibration: Inputs | None = None,
    batch_size: int | None = None,
    reduce_range: bool = True,
    exif_orientation: bool | None = None,
) -> Exported:
    """Writes a classifier of images or series for another runtime.

    Args:
        model: of `zoo.get`, in float32; its input shape is the file's.
        folder: made here; nothing may be there yet.
        format: one of `formats.FORMATS`.
        quantize: "none", "float16", "dynamic" or "int8", as far as the format has it; series, which
            are no uint8 pixels, not "int8".
        about: what is told of the network.
        compared: images, or series, that file and network are asked about.
        calibration: of int8, see `calibration.Data.calibrating`.
        batch_size: inputs at once; any number without, and 1 for LiteRT.
        reduce_range: of ONNX and int8, see `onnx.write`.
        exif_orientation: of SavedModel, see `saved_model.write`.

    Returns:
        What was written, with its largest difference from the network.

    Raises:
        InputError: the format cannot take the network or be quantized so, the calibration is none,
            the file's answers are not the network's, or the folder cannot be written to. Nothing is
            left then.
    """
    known = formats.check(format, quantize)
    own = model.input_shape[1:]
    series = len(own) == 2
    if not known.free:
        batch_size = batch_size or 1
        if None in own:
            kind = "series of one length" if series else "images of one size"
            raise InputError(
                f"{known.title} takes {kind}, and {model.name} any: build it with that in its "
                "input_shape."
            )
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be positive, not {batch_size}.")
    if series:
        formats.check_series(quantize)
    images = _calibration(calibration, quantize, own[:-1])
    name, shape = "series" if series else "pixels", (batch_size, *own)

    def convert(aside: Path) -> tuple[Tensor, tuple[Tensor, ...]]:
        path = aside / exported.FILES[format]
        if format == "savedmodel":
            options = {"preprocessing": about.preprocessing, "class_names": about.class_names}
            options["exif_orientation"] = exif_orientation
            saved_model.write(model, path, batch_size=batch_size, **options)
        else:
            traced = tracing.trace(model, shape, name)
            options = {"reduce_range": reduce_range} if (format, quantize) == ("onnx", INT8) else {}
            _write(traced, path, format, quantize, images, options)
        whole = not series and (quantize == INT8 or format == "savedmodel")
        logits = Tensor("logits", "float32", (batch_size, model.output_shape[-1]))
        return Tensor(name, "uint8" if whole else "float32", shape), (logits,)

    facts = {
        "task": exported.CLASSIFICATION,
        "format": format,
        "quantize": quantize,
        "num_classes": model.output_shape[-1],
        "calibration": _described(calibration) if quantize == INT8 else None,
    }
    expected = _answers(model, compared.values)

    def compare(found: Exported) -> dict[str, Any]:
        given = runtimes.open_runtime(found)(compared.values, pad=True)
        return _difference(given, expected, LIMITS[quantize], compared)

    return write(folder, about, facts, convert, compare)


def _write(traced, path, format, quantize, images, options):
    if format == "litert":
        litert.write(traced, path, quantize, images)
    elif format == "onnx":
        onnx.write(traced, path, quantize, images, **options)
    else:
        openvino.write(traced, path, quantize)


def _calibration(given, quantize, size):
    """Pixels to calibrate with, checked; None without."""
    if quantize != INT8:
        return None
    if given is None:
        raise InputError("quantize=int8 is calibrated with images: give a data set of them.")
    calibrations.check_count(len(given.values))
    if given.values.shape[1:] != (*size, 3):
        raise InputError(
            f"The calibration images are {given.values.shape[1]} x {given.values.shape[2]} pixels, "
            f"and the network takes {size[0]} x {size[1]}."
        )
    calibrations.check_pixels(given.values)
    return given.values


def _described(calibration):
    return {"images": len(calibration.values), "origin": calibration.origin}


def _answers(model, images):
    with in_float32():
        parts = [model.predict_on_batch(images[n : n + 32]) for n in range(0, len(images), 32)]
    return np.concatenate(parts)


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Has GPUs multiply in float32 and not in TF32, by which a comparison would fail."""
    settings = tf.config.experimental
    before = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        settings.enable_tensor_float_32_execution(before)


def _difference(given, expected, limit, compared):
    """How far logits are from the network's.

    Raises:
        InputError: so far that something is wrong.
    """
    largest = float(np.abs(given - expected).max() / np.abs(expected).max())
    same = int((given.argmax(-1) == expected.argmax(-1)).sum())
    if not largest <= limit:  # nor where it is no number
        raise InputError(
            f"The file's logits differ from the network's by {largest:.2g} of the largest one, and "
            f"{limit:g} is the most for this kind of file; {same} of {len(given)} classes are the "
            "same. Nothing was written."
        )
    return {
        "largest": largest,
        "images": len(given),
        "origin": compared.origin,
        "same_class": same,
    }


def doubt(found: Exported) -> str | None:
    """What to say of a classifier's file that differs from its network more than good ones do."""
    largest, good = found.difference["largest"], GOOD[found.quantize]
    if largest <= good:
        return None
    few = found.calibration is not None and found.calibration["images"] < calibrations.ENOUGH
    advice = ", or calibrate with more images" if few else ""
    return (
        f"{found.folder} differs from its network by {largest:.2g} of the largest logit, and "
        f"others of its kind by {good:g} at most: measure it with `python -m "
        f"resnet_keras.evaluate`{advice}."
    )


def write(
    folder: str | os.PathLike,
    about: About,
    facts: Mapping[str, Any],
    convert: Callable[[Path], tuple[Tensor, tuple[Tensor, ...]]],
    compare: Callable[[Exported], Mapping[str, Any]],
) -> Exported:
    """Writes an exported folder aside, and renames it when its runtime has answered.

    Args:
        folder: made here; nothing may be there yet.
        about: what is told of the network.
        facts: fields of `Exported` that are known before.
        convert: writes the model into a folder; returns its input and its outputs.
        compare: runs what is described and returns its difference from the network.

    Raises:
        InputError: something is at the folder already, or it cannot be written to; or what the
            functions raise.
    """
    folder = free(folder)
    names = _labels(about.class_names)
    parent = make_folder(folder.parent)
    aside = Path(tempfile.mkdtemp(PART, f".{folder.name}.", parent))
    try:
        taken, outputs = convert(aside)
        found = Exported(
            path=aside / exported.FILES[facts["format"]],
            **facts,
            network=about.network,
            weights=about.weights,
            input=taken,
            outputs=outputs,
            preprocessing=about.preprocessing,
            assumed=about.assumed,
            class_names=names,
            difference={},
            sizes={},
            versions=formats.versions(facts["format"]),
        )
        files = exported.files_of(aside, found.path.name)
        found = found._replace(sizes={name: (aside / name).stat().st_size for name in files})
        found = found._replace(difference=compare(found))
        exported.write(found, card.page(found, about.licence))
        exported.read(aside)  # as whoever uses it will
        for name in files:
            _sync(aside / name)
        os.chmod(aside, 0o777 & ~umask())  # mkdtemp makes folders for the owner only
        os.rename(aside, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    except tf.errors.OpError as error:  # its own writing, of a SavedModel
        raise unwritable(folder, OSError(error.message)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return found._replace(path=folder / found.path.name)


def free(folder: str | os.PathLike) -> Path:
    """The path, if nothing is there yet; `InputError` otherwise."""
    check_local(folder)
    path = Path(folder).expanduser()
    if path.exists() or path.is_symlink():
        raise InputError(f"There is something at {path} already: give another folder as out.")
    return path


def _labels(names):
    if names is None:
        return None
    texts = tuple(readable(str(name)) for name in names)
    broken = [text for text in texts if len(text.splitlines()) != 1]
    if broken:
        raise InputError(f"The class name {broken[0]!r} is not one line of {exported.LABELS}.")
    return texts


def _sync(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
