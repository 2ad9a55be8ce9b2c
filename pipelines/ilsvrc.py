"""ILSVRC's localization data: VOC's XML beside ImageNet's folders of classes.

DATA_DIR, which is ILSVRC/ or holds it, has Annotations/CLS-LOC/train/CLASS/NAME.xml with
Data/CLS-LOC/train/CLASS/NAME.JPEG, and Annotations/CLS-LOC/val/NAME.xml with
Data/CLS-LOC/val/NAME.JPEG. An image without XML has no boxes and is left out: more than half of
training's. (TensorFlow Datasets' imagenet2012 carries no boxes at all.)

Two faults of ILSVRC's own files are mended: objects of some of training's dogs have the name of the
class, such as "Scottish_deerhound", for which their folder is taken; and some boxes leave their
image, as n03127925_147's, or have their corners in another order. Imports no TensorFlow.
"""

import os
import re
import warnings
from pathlib import Path

import numpy as np

from resnet_keras.errors import InputError

from . import splits, voc
from .annotations import TOLERANCE, Annotations, Fault, chosen, of_objects
from .listing import SUFFIXES

_TASK = "CLS-LOC"
SPLITS = ("train", "val")


def read(data_dir: str | os.PathLike | None, split: str) -> tuple[Annotations, list[Fault]]:
    """Reads a split, or a share of one such as "train[:90%]".

    Classes are training's folders (WordNet ids), in the order of their names, which is ImageNet's.

    Args:
        data_dir: the folder.
        split: "train" or "val".

    Returns:
        What could be read, and what is wrong with the rest.

    Raises:
        InputError: no such folder or split, or no boxes there.
    """
    wanted = splits.parse(split)
    if wanted.name not in SPLITS:
        raise InputError(f"ilsvrc has the splits {' and '.join(SPLITS)}, and not {wanted.name}.")
    root = folder(data_dir)
    classes = sorted(path.name for path in _files(_boxes(root, "train")) if path.is_dir())
    labels = {name: number for number, name in enumerate(classes)}
    problems: list[Fault] = []
    paths, sizes, rows = [], [], []
    files = sorted(_boxes(root, wanted.name).rglob("*.xml"))
    if not files:
        raise InputError(f"There is no XML file in {_boxes(root, wanted.name)}/.")
    for path in files:
        try:
            size, objects = voc.record(path)
            if not objects:  # ILSVRC has none such
                raise InputError(f"{path} has no object: give it a box, or take the file away.")
            own = [
                (len(paths), box, _label(name, labels, path, at), False, *rest, at)
                for box, name, *rest, at in objects
            ]
            image = _image(root, path)
        except InputError as error:
            problems.append(Fault(str(error)))
            continue
        rows += own
        paths.append(str(image))
        sizes.append(size)
    names = range(len(classes))
    annotations = of_objects(classes, names, paths, range(len(paths)), sizes, rows, str)
    annotations = _mended(annotations)
    if wanted.is_whole:
        return annotations, problems
    found = [os.fsencode(Path(path).relative_to(root)) for path in paths]
    return chosen(annotations, splits.share(wanted, [0] * len(found), found)), problems


def folder(data_dir: str | os.PathLike | None) -> Path:
    """Returns the folder that holds Annotations/CLS-LOC; `InputError` where there is none."""
    if data_dir is None:
        raise InputError(
            "Give data_dir=FOLDER, which holds Annotations/CLS-LOC/ and Data/CLS-LOC/."
        )
    root = Path(data_dir).expanduser()
    for path in (root, root / "ILSVRC"):
        if (path / "Annotations" / _TASK).is_dir():
            return path
    raise InputError(f"{root} has no folder Annotations/{_TASK}/, nor ILSVRC/Annotations/{_TASK}/.")


def _boxes(root, split):
    return root / "Annotations" / _TASK / split


def _image(root, path):
    """The image that an XML file is about: at the same place below Data/."""
    place = root / "Data" / path.relative_to(root / "Annotations")
    for suffix in (".JPEG", *SUFFIXES):
        file = place.with_suffix(suffix)
        if file.exists():
            return file
    raise InputError(
        f"{path}: the image is missing: there is no file {place.with_suffix('.JPEG')}."
    )


def _label(name, labels, path, where):
    if not re.fullmatch(r"n\d+", name) and path.parent.name in labels:
        name = path.parent.name  # a name in English
    if name not in labels:
        raise InputError(f"{where}: the class {name} is none of the folders of training.")
    return labels[name]


def _mended(annotations):
    """With boxes cut to their images, and corners in order, where a few of them are not so.

    Where most are not, something else is wrong, and all stay as they are, for `annotations.checked`
    to tell; and so does a box of which nothing is in its image.
    """
    boxes = annotations.boxes
    low, high = boxes[:, :2], boxes[:, 2:]
    # The file's corners belong to their box; of the half-open one, the lower are one less.
    ordered = np.concatenate([np.minimum(low, high - 1), np.maximum(high, low + 1)], axis=1)
    sides = np.tile(annotations.sizes[annotations.images][:, ::-1], 2)
    cut = np.clip(ordered, 0, sides)
    off = (high < low).any(axis=1) | (np.abs(cut - ordered) > TOLERANCE).any(axis=1)
    off &= np.isfinite(boxes).all(axis=1) & (cut[:, 2:] > cut[:, :2]).all(axis=1)
    if not off.any() or 2 * off.sum() > len(boxes):
        return annotations
    first = annotations.where(int(np.argmax(off)))
    warnings.warn(
        f"{off.sum()} box(es) that leave their image or have their corners in another order are "
        f"cut and put in order: {first} is the first.",
        stacklevel=3,
    )
    boxes = np.where(off[:, None], cut, boxes)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return annotations._replace(boxes=boxes, areas=np.where(off, areas, annotations.areas))


def _files(path):
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise InputError(f"Cannot read the folder {path}: {error.strerror}.") from error
