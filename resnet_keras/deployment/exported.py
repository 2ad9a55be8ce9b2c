"""What an exported folder holds, and its description read back.

    found = exported.read("resnet20_litert_int8")
    found.path, found.input.shape, found.class_names

A folder has the model (a file, or the folder of a SavedModel), preprocessing.json, labels.txt where
the classes have names, and README.md. Imports no TensorFlow.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.files import check_local, digest, write_atomically
from resnet_keras.zoo import Preprocessing

VERSION = 1  # of preprocessing.json
DESCRIPTION, LABELS, CARD = "preprocessing.json", "labels.txt", "README.md"
CLASSIFICATION, DETECTION = "classification", "detection"
TASKS = (CLASSIFICATION, DETECTION)
# What preprocessing.json says of the input beside its shape.
_IMAGES = {"layout": "NHWC", "pixels": "RGB 0..255"}
_SERIES = {"layout": "NWC", "series": "numbers as they were measured"}
# What the model is called in its folder, by format.
FILES = {
    "savedmodel": "1",  # a version, so that the folder is as TensorFlow Serving wants it
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "model.xml",
}


class Tensor(NamedTuple):
    """An input or output of a model; sides that are free are None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Exported(NamedTuple):
    """What is known of an exported model.

    Attributes:
        path: of the model: a file, or the folder of a SavedModel.
        task: "classification" or "detection".
        network: name of the network.
        weights: its weights' tag or file.
        format, quantize: what it was exported as.
        input: the pixels, RGB in 0 to 255, (batch, height, width, 3); or series, numbers of any
            size, (batch, length, channels).
        outputs: logits (batch, classes), or "boxes", "scores", "labels" and "count".
        preprocessing: how images are shown to a classifier; None for series and a detector.
        assumed: why that is a guess, in words that go on after the file's name; "" if it is none.
        num_classes: that it tells apart.
        class_names: in the order of the logits, if they are known.
        difference: its largest difference from the network when it was exported; see `export`.
        sizes: bytes of each file of the model, by its name in the folder.
        calibration: of int8: the images it was calibrated with; None without.
        versions: of the packages that made it.
        scale: (shorter side, most of the longer side) at which a detector was trained, if known.
    """

    path: Path
    task: str
    network: str
    weights: str | None
    format: str
    quantize: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    preprocessing: Preprocessing | None
    assumed: str
    num_classes: int
    class_names: tuple[str, ...] | None
    difference: Mapping[str, Any]
    sizes: Mapping[str, int]
    calibration: Mapping[str, Any] | None
    versions: Mapping[str, str]
    scale: tuple[int, int] | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def takes_series(self) -> bool:
        """Whether it takes series, and no images."""
        return len(self.input.shape) == 3

    @property
    def batch_size(self) -> int | None:
        """Images, or series, at once, where the model takes no other number."""
        return self.input.shape[0]

    @property
    def image_shape(self) -> tuple[int | None, int | None]:
        """Height and width; None where they are free.

        Raises:
            InputError: it takes series.
        """
        if self.takes_series:
            raise InputError(f"{self.path} takes series, and no images.")
        return self.input.shape[1], self.input.shape[2]

    def shown(self, image_size: int | None = None) -> Preprocessing:
        """How images are shown at a size; without one, at that which the model takes.

        Raises:
            InputError: it takes series, or images of another size, or such as are not square.
        """
        height, width = self.image_shape
        if self.preprocessing is None:
            raise InputError(
                f"{self.path} was exported without preprocessing: run it by "
                "deployment.open_runtime, or export it again with preprocessing."
            )
        if height != width:
            raise InputError(
                f"{self.path} takes images of {height} x {width} pixels, and here they are shown "
                "as squares: run it by deployment.open_runtime."
            )
        if image_size is not None and height not in (None, image_size):
            raise InputError(
                f"{self.path} takes images of side {height} only, not of image_size={image_size}: "
                "export the network at that size, or at any."
            )
        return self.preprocessing.at(image_size or height or self.preprocessing.image_size)


def is_export(path: str | os.PathLike) -> bool:
    """Whether a path is an exported folder, or the model in one; it may yet be broken."""
    return _folder(Path(path)) is not None


def _folder(path):
    if (path / DESCRIPTION).is_file():
        return path
    inside = path.name in FILES.values() and (path.parent / DESCRIPTION).is_file()
    return path.parent if inside else None


def read(path: str | os.PathLike) -> Exported:
    """Reads the description of an exported model, and checks that its files are as they were.

    Args:
        path: the exported folder, or the model in it.

    Raises:
        InputError: there is none, it is damaged, or of a newer version of this package.
    """
    check_local(path)
    folder = _folder(Path(path).expanduser())
    if folder is None:
        raise InputError(
            f"{path} is no exported model: name the folder that `python -m resnet_keras.export` "
            f"wrote, which has a {DESCRIPTION}."
        )
    place = folder / DESCRIPTION
    try:
        facts = json.loads(place.read_text())
        version = facts["format_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(place, error) from error
    if version != VERSION:
        raise InputError(
            f"{place} is of version {version!r}, and this package reads {VERSION}: take the "
            "package's version that wrote it, or export again."
        )
    try:
        found = _parsed(folder, facts)
    except (KeyError, TypeError, ValueError, OSError, AttributeError) as error:
        raise _damaged(place, error) from error
    _check_files(folder, found.sizes, facts["sha256"])
    return found


def _damaged(place, error):
    return InputError(f"{place} cannot be used ({type(error).__name__}: {error}): export again.")


def _parsed(folder, facts):
    _require(facts["task"] in TASKS, "task", facts)
    _require(facts["format"] in FILES, "format", facts)
    _require(facts["file"] == FILES[facts["format"]], "file", facts)
    _require(isinstance(facts["sha256"], dict), "sha256", facts)
    shown = facts["preprocessing"]
    names = _class_names(folder / LABELS)
    count = facts["num_classes"]
    if names is not None and len(names) != count:
        raise ValueError(f"{len(names)} names in {LABELS} for {count} classes")
    return Exported(
        folder / facts["file"],
        *(facts[key] for key in ("task", "network", "weights", "format", "quantize")),
        _input(facts["input"]),
        tuple(map(_tensor, facts["outputs"])),
        None if shown is None else zoo.weights.file.check_preprocessing(Preprocessing(**shown)),
        str(facts["assumed"]),
        count,
        names,
        dict(facts["difference"]),
        {str(name): int(size) for name, size in facts["sizes"].items()},
        facts["calibration"],
        dict(facts["versions"]),
        _scale(facts.get("scale")),
    )


def _scale(sides):
    if sides is None:
        return None
    shorter, longest = map(int, sides)
    return shorter, longest


def _require(condition, key, facts):
    if not condition:
        raise ValueError(f"{key} {facts[key]!r}")


def _tensor(facts):
    shape = tuple(facts["shape"])
    if not all(side is None or isinstance(side, int) for side in shape):
        raise ValueError(f"shape {shape}")
    return Tensor(str(facts["name"]), str(facts["dtype"]), shape)


def _input(facts):
    found = _tensor(facts)
    if len(found.shape) not in (3, 4):
        raise ValueError(f"input of shape {found.shape}")
    return found


def _class_names(place):
    return tuple(place.read_text(encoding="utf-8").splitlines()) if place.is_file() else None


def _check_files(folder, sizes, checksums):
    """Raises `InputError` for a file of the model that is missing or is not as it was written."""
    for name, size in sizes.items():
        place = folder / name
        if not place.is_file():
            raise InputError(f"{folder} lacks {name}: export again, or copy the whole folder.")
        if place.stat().st_size != size or digest(place) != checksums.get(name):
            raise InputError(
                f"{place} is damaged: it is not the file that was exported (its size or SHA-256 "
                "differs): copy it once more, or export again."
            )


def files_of(folder: Path, name: str) -> list[str]:
    """The files of a model in an exported folder, by their names in it."""
    if (folder / name).is_dir():
        paths = sorted(path for path in (folder / name).rglob("*") if path.is_file())
        return [path.relative_to(folder).as_posix() for path in paths]
    weights = Path(name).with_suffix(".bin")  # OpenVINO's
    return [name, *([weights.name] if (folder / weights).is_file() else [])]


def describe(found: Exported) -> dict[str, Any]:
    """What preprocessing.json says of a model whose files are written; `read` gives it back."""
    return {
        "format_version": VERSION,
        "task": found.task,
        "network": found.network,
        "weights": found.weights,
        "format": found.format,
        "quantize": found.quantize,
        "file": found.path.name,
        "input": {**_described(found.input), **(_SERIES if found.takes_series else _IMAGES)},
        "outputs": [_described(output) for output in found.outputs],
        "preprocessing": found.preprocessing and found.preprocessing._asdict(),
        "assumed": found.assumed,
        "num_classes": found.num_classes,
        "difference": dict(found.difference),
        "calibration": found.calibration,
        "sizes": dict(found.sizes),
        "sha256": {name: digest(found.folder / name) for name in found.sizes},
        "versions": dict(found.versions),
        **({"scale": [*found.scale]} if found.scale else {}),
    }


def _described(tensor):
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": [*tensor.shape]}


def write(found: Exported, card: str) -> None:
    """Writes what stands beside a model: its description, its class names and its card."""
    folder = found.folder
    if found.class_names is not None:
        write_atomically(folder / LABELS, "".join(f"{name}\n" for name in found.class_names))
    write_atomically(folder / CARD, card)
    write_atomically(folder / DESCRIPTION, json.dumps(describe(found), indent=2) + "\n")
