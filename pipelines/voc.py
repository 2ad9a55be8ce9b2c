"""Pascal VOC's format: an XML file of boxes for each image.

DATA_DIR, or its one folder VOC* or VOCdevkit/VOC*, holds Annotations/NAME.xml, JPEGImages/NAME.jpg
and ImageSets/Main/SPLIT.txt, the names of a split. Without such lists, "train" is a share of 80 %
of all images, mixed the same on every machine, "val" the others, and "trainval" all.

Corners in the files count pixels from 1 and belong to their box; as half-open boxes from 0, x1 and
y1 are one less. Imports no TensorFlow.
"""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from resnet_keras.errors import InputError, hint

from . import splits
from .annotations import Annotations, Fault, chosen, of_objects
from .listing import SUFFIXES

HELD_OUT = {"train": "trainval[:80%]", "val": "trainval[80%:]", "trainval": "trainval"}


def read(data_dir: str | os.PathLike | None, split: str) -> tuple[Annotations, list[Fault]]:
    """Reads a split, or a share of one such as "train[:90%]".

    Classes are those of all XML files, in the order of their names.

    Args:
        data_dir: the folder.
        split: its name.

    Returns:
        What could be read, and what is wrong with the rest.

    Raises:
        InputError: no such folder or split.
    """
    wanted = splits.parse(split)
    root = folder(data_dir)
    names, order = _names(root, wanted)
    images = {path.name: path for path in _files(root / "JPEGImages")}
    stems = {path.stem: path for path in images.values() if path.suffix.lower() in SUFFIXES}
    problems: list[Fault] = []
    paths, sizes, rows, classes = [], [], [], set()
    listed = {name: number for number, name in enumerate(names)}
    everything = [*names, *sorted(_stems(root) - listed.keys())]
    for name in everything:
        path = root / "Annotations" / f"{name}.xml"
        try:
            tree = _tree(path)
            classes |= {_text(item, "name", path) for item in tree.iterfind("object")}
            if name not in listed:
                continue
            size = _size(tree, path)
            objects = list(_objects(tree, path))
            file = images.get(tree.findtext("filename", "").strip()) or stems.get(name)
            if file is None:
                expected = root / "JPEGImages" / f"{name}.jpg"
                raise InputError(f"{path}: the image is missing: there is no file {expected}.")
        except InputError as error:
            if name in listed:
                problems.append(Fault(str(error)))
            continue
        rows += [(len(paths), *row) for row in objects]
        paths.append(str(file))
        sizes.append(size)
    labels = {name: number for number, name in enumerate(sorted(classes))}
    annotations = of_objects(
        list(labels),
        range(len(labels)),
        paths,
        range(len(paths)),
        sizes,
        [(image, box, labels[name], False, *rest) for image, box, name, *rest in rows],
        str,
    )
    if order.is_whole:
        return annotations, problems
    found = [os.fsencode(Path(path).stem) for path in paths]
    return chosen(annotations, splits.share(order, [0] * len(found), found)), problems


def record(path: Path) -> tuple[tuple[int, ...], list[tuple]]:
    """Reads one XML file.

    Returns:
        Height and width of the image, and of each object (box, class, difficult, area, where).

    Raises:
        InputError: what is wrong with the file.
    """
    tree = _tree(path)
    return _size(tree, path), list(_objects(tree, path))


def folder(data_dir: str | os.PathLike | None) -> Path:
    """Returns the folder that holds Annotations/; `InputError` where there is none."""
    if data_dir is None:
        raise InputError("Give data_dir=FOLDER, which holds Annotations/ and JPEGImages/.")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    inside = [root, *sorted(root.glob("VOC*")), *sorted(root.glob("VOCdevkit/VOC*"))]
    there = [path for path in inside if (path / "Annotations").is_dir()]
    if len(there) > 1 and there[0] != root:
        raise InputError(f"{root} holds several data sets: give {', or '.join(map(str, there))}.")
    if not there:
        raise InputError(f"{root} has no folder Annotations/ of XML files.")
    return there[0]


def _names(root, wanted):
    """The names to read, and which share of them is wanted."""
    lists = root / "ImageSets" / "Main"
    path = lists / f"{wanted.name}.txt"
    if path.is_file():
        return read_list(path), wanted
    there = sorted(file.stem for file in lists.glob("*.txt") if "_" not in file.stem)
    if there:
        text = f"{root} has no ImageSets/Main/{wanted.name}.txt; it has {', '.join(there)}."
        raise InputError(f"{text}{hint(wanted.name, there)}")
    if wanted.name not in HELD_OUT:
        raise InputError(
            f"{root} has no ImageSets/Main/{wanted.name}.txt; without such lists the splits are "
            f"{', '.join(HELD_OUT)}."
        )
    names = sorted(_stems(root))
    if wanted.is_whole:
        return names, splits.parse(HELD_OUT[wanted.name])
    if wanted.name != "trainval":
        raise InputError(
            f"{root} has no ImageSets/Main/: take shares of trainval, which is all images, and "
            f"not {wanted}."
        )
    return names, wanted


def read_list(path: Path) -> list[str]:
    """The names in a list of images; `InputError` where it cannot be read or has one twice."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    names = [line[0] for line in lines if line]  # a flag may follow, in the lists of a class
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path} has {twice} twice.")
    return names


def _files(path):
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise InputError(f"Cannot read the folder {path}: {error.strerror}.") from error


def _stems(root):
    return {path.stem for path in _files(root / "Annotations") if path.suffix == ".xml"}


def _tree(path):
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is not valid XML: {error}.") from error


def _size(tree, path):
    sides = [_number(tree, f"size/{side}", path) for side in ("height", "width")]
    if not all(side > 0 and side == int(side) for side in sides):
        raise InputError(f"{path}: the size {sides[1]:g} x {sides[0]:g} is not of whole pixels.")
    return tuple(map(int, sides))


def _objects(tree, path):
    """(box, class, difficult, area, where) of each object; people's parts are left out."""
    for number, item in enumerate(tree.iterfind("object")):
        where = f"{path}: object {number}"
        corners = ("xmin", "ymin", "xmax", "ymax")
        x1, y1, x2, y2 = (_number(item, f"bndbox/{corner}", where) for corner in corners)
        box = (x1 - 1, y1 - 1, x2, y2)
        difficult = item.findtext("difficult", "0").strip() == "1"
        area = (box[2] - box[0]) * (box[3] - box[1])
        yield box, _text(item, "name", where), difficult, area, where


def _text(item, name, where):
    text = item.findtext(name, "").strip()
    if not text:
        raise InputError(f"{where}: an object has no {name}.")
    return text


def _number(item, name, where):
    text = item.findtext(name)
    if text is None:
        raise InputError(f"{where}: there is no {name}.")
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where}: {name} is {text!r}, which is no number.") from error
