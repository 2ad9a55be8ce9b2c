"""A network of the zoo run by another runtime: exported once, kept in the cache folder.

    network, file = zoo.weights.find("resnet50", "imagenet")
    model = engines.open_engine(network, file, "auto", image_size=224)
    logits = model.predict_on_batch(images)

A kept model is of one network, one file of weights, one size of images and certain versions of the
packages that write it; another of any of these is exported anew. Opening one that is kept imports
no TensorFlow.
"""

import functools
import hashlib
import importlib.util
import json
import re
import shutil
import warnings
from pathlib import Path

from resnet_keras import processes, tuning, zoo
from resnet_keras.errors import InputError, unknown
from resnet_keras.files import digest, digest_of_all, locked, make_folder

from . import exported, formats
from .classifier import Classifier
from .exported import Exported

KERAS, AUTO = "keras", "auto"
FORMATS = {"openvino": "openvino", "onnxruntime": "onnx", "litert": "litert"}  # of each engine
ENGINES = (KERAS, *FORMATS, AUTO)
FASTEST = ("openvino", "onnxruntime")  # first; LiteRT's is slower than Keras on servers
_IN_OTHER_PRECISION = ("openvino",)


def choose(engine: str, dtype: str = "float32") -> str:
    """The engine that is meant: of "auto" the first of `FASTEST` that is installed, or Keras.

    Keras, too, where there is a GPU, for the others compute on the CPU.

    Args:
        engine: one of `ENGINES`.
        dtype: in which it is to compute; of the others than Keras, OpenVINO alone has a choice.

    Raises:
        InputError: there is no such engine, or not in this precision.
        MissingExtraError: it is not installed.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    able = FORMATS if dtype == "float32" else _IN_OTHER_PRECISION
    if engine == AUTO and processes.gpus():
        return KERAS
    if engine == AUTO:
        there = [name for name in FASTEST if name in able and _installed(name)]
        return there[0] if there else KERAS
    if engine != KERAS:
        if engine not in able:
            raise InputError(
                f"engine={engine} computes in float32 here, not in {dtype}: take one of "
                f"{', '.join((KERAS, *able))}."
            )
        formats.check(FORMATS[engine], formats.NONE)
    return engine


def _installed(engine):
    packages = formats.FORMATS[FORMATS[engine]].packages
    return all(importlib.util.find_spec(package) is not None for package in packages)


def open_engine(
    network: "zoo.networks.Network",
    file: "zoo.weights.WeightsFile",
    engine: str,
    *,
    image_size: int,
    dtype: str = "float32",
    folder: Path | None = None,
) -> Classifier:
    """Opens a network in an engine on all cores, of this process's; exports it first, if need be.

    Args:
        network: of images.
        file: its weights.
        engine: of `choose`, and not Keras.
        image_size: side of the images in pixels.
        dtype: in which OpenVINO computes, see `open_runtime`.
        folder: where exported models are kept; without, in the cache folder (RESNET_KERAS_HOME).

    Raises:
        InputError: the engine does not take the network, or the folder cannot be written to.
    """
    found = keep(network, file, engine, image_size=image_size, folder=folder)
    return Classifier(found, threads=tuning.cores(), dtype=dtype)


def keep(
    network: "zoo.networks.Network",
    file: "zoo.weights.WeightsFile",
    engine: str,
    *,
    image_size: int,
    folder: Path | None = None,
) -> Exported:
    """The exported model of a network, made if it is not kept; arguments as of `open_engine`."""
    if network.takes_series:
        raise InputError(f"{network.name} takes series: engine={engine} is for images.")
    path, stem = _place(network, file, engine, image_size, folder)
    place = make_folder(path.parent)
    with locked(path):
        if exported.is_export(path):
            try:
                return exported.read(path)
            except InputError as error:
                warnings.warn(f"{error} It is made again.", stacklevel=2)
        for older in place.glob(f"{stem}-*"):  # of other versions, or damaged
            if older.is_dir():
                shutil.rmtree(older, ignore_errors=True)
        return _export(network, file, engine, image_size, path)


def is_kept(
    network: "zoo.networks.Network",
    file: "zoo.weights.WeightsFile",
    engine: str,
    *,
    image_size: int,
    folder: Path | None = None,
) -> bool:
    """Whether `open_engine` need not export; arguments as of it."""
    return exported.is_export(_place(network, file, engine, image_size, folder)[0])


def _place(network, file, engine, image_size, folder):
    """The folder of a kept model, and how the names of its other versions begin."""
    format = FORMATS[engine]
    told = {
        "arguments": dict(network.arguments),
        "options": {**file.defaults, **file.options},
        "weights": digest(file.path),
    }
    name = re.sub(r"\W", "_", network.name)
    stem = f"{name}-{image_size}-{format}-{_hash(told)}"
    folder = folder or zoo.weights.download.cache_folder() / "engines"
    made_by = {**formats.versions(format), "code": _code()}
    return folder / f"{stem}-{_hash(made_by)}", stem


@functools.cache
def _code():
    """SHA-256 of what builds and exports networks, of which another version makes another file."""
    own = Path(__file__).parent
    folders = [own, own.parent / "networks", zoo.entry.FOLDER, *zoo.entry.FOLDER.glob("*/")]
    return digest_of_all(sorted(path for folder in folders for path in folder.glob("*.py")))


def _hash(facts):
    text = json.dumps(facts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value):
    """What JSON has not: arrays by their values; tensors of the file are in its own hash."""
    return value.tolist() if hasattr(value, "tolist") else type(value).__name__


def _export(network, file, engine, image_size, path):
    import keras

    from . import calibration, exporting

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"engine={engine} is exported by Keras's TensorFlow backend, but KERAS_BACKEND is "
            f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow."
        )
    model = zoo.build(network, file, input_shape=(image_size, image_size, 3), dtype="float32")
    about = exporting.About(
        network.name,
        str(file.entry.tag if file.entry else file.path),
        file.shown(image_size),
        file.assumed,
        file.class_names,
        file.entry.licence if file.entry else None,
    )
    compared = calibration.made_up((image_size, image_size), 4)
    return exporting.export(model, path, format=FORMATS[engine], about=about, compared=compared)
