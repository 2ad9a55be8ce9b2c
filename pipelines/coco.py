"""COCO's format: one JSON file of boxes for each split, and folders of images.

The file of a split is DATA_DIR/annotations/instances_SPLIT.json, with or without a year behind
(instances_val2017.json), or DATA_DIR/SPLIT/_annotations.coco.json. The images lie in
DATA_DIR/SPLIT/, DATA_DIR/SPLIT2017/, DATA_DIR/images/ or DATA_DIR itself. Imports no TensorFlow.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resnet_keras.errors import InputError, MissingExtraError

from . import outlines, splits
from .annotations import Annotations, Fault, chosen, of_objects

_NAMES = {"val": ("val", "valid", "validation")}


def read(
    data_dir: str | os.PathLike | None,
    split: str,
    *,
    file: str | os.PathLike | None = None,
    outlined: bool = False,
) -> tuple[Annotations, list[Fault]]:
    """Reads a split, or a share of one such as "train[:90%]".

    Classes are the file's categories in the order of their ids.

    Args:
        data_dir: the folder.
        split: its name.
        file: the JSON file, where it lies elsewhere.
        outlined: whether the objects' outlines are read, by pycocotools.

    Returns:
        What could be read, and what is wrong with the rest: ids that are unknown or there twice,
        missing images, fields that are missing or no numbers.

    Raises:
        InputError: no such file, or it is not JSON of this format at all.
    """
    wanted = splits.parse(split)
    root = _folder(data_dir)
    path = Path(file).expanduser() if file else split_file(root, wanted.name)
    content = _content(path)
    problems: list[Fault] = []
    categories = _by_id(path, content, "categories", ("id", "name"), problems)
    images = _by_id(path, content, "images", ("id", "file_name", "width", "height"), problems)
    folder = _image_folder(root, path, wanted.name, images)
    problems += _images(path, folder, images)
    numbers = {key: number for number, key in enumerate(images)}
    labels = {key: number for number, key in enumerate(sorted(categories))}
    objects = list(_objects(path, content, numbers, labels, problems))
    shapes: list[bytes] = []
    if outlined:
        objects, shapes = _with_outlines(path, content, images, objects, problems)
    annotations = of_objects(
        [str(categories[key]["name"]) for key in labels],
        list(labels),
        [os.path.join(folder, image["file_name"]) for image in images.values()],
        list(images),
        [(image["height"], image["width"]) for image in images.values()],
        objects,
        lambda number: f"{path}: annotation {number}",
    )._replace(outlines=shapes)
    if not wanted.is_whole:
        names = [os.fsencode(image["file_name"]) for image in images.values()]
        annotations = chosen(annotations, splits.share(wanted, [0] * len(names), names))
    return annotations, problems


def split_file(root: Path, split: str) -> Path:
    """Returns the JSON file of a split; `InputError` where there is none."""
    for name in _NAMES.get(split, (split,)):
        exact = [
            root / "annotations" / f"instances_{name}.json",
            root / "annotations" / f"{name}.json",
            root / name / "_annotations.coco.json",
        ]
        with_year = sorted(root.glob(f"annotations/instances_{name}[0-9][0-9][0-9][0-9].json"))
        there = [path for path in [*exact, *with_year] if path.is_file()]
        if len(there) > 1:
            listed = ", ".join(map(str, there))
            raise InputError(f"Split {split!r} has several files ({listed}): name one of them.")
        if there:
            return there[0]
    have = sorted(path.name for path in root.glob("annotations/*.json"))
    raise InputError(
        f"{root} has no annotations/instances_{split}.json"
        f"{'; it has ' + ', '.join(have[:8]) if have else ''}. {splits.HOLD_OUT}"
    )


def _folder(data_dir):
    if data_dir is None:
        raise InputError("Give data_dir=FOLDER, which holds annotations/ and the images.")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    return root


def _content(path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:  # of JSON or of UTF-8
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in keys):
        raise InputError(f"{path} is not of COCO's format: it has no lists of {', '.join(keys)}.")
    return content


def _by_id(path, content, kind, fields, problems):
    """The entries of a list by their ids; those with faults are told of and left out."""
    noun = {"categories": "category", "images": "image"}[kind]
    entries = {}
    for place, entry in enumerate(content[kind]):
        missing = [f for f in fields if not isinstance(entry, dict) or entry.get(f) is None]
        if missing:
            name = entry.get("id", place) if isinstance(entry, dict) else place
            problems.append(Fault(f"{path}: {noun} {name} has no {missing[0]}."))
        elif not isinstance(entry["id"], int):
            problems.append(Fault(f"{path}: {noun} id {entry['id']!r} is not a whole number."))
        elif entry["id"] in entries:
            problems.append(Fault(f"{path}: there are two of {noun} id {entry['id']}."))
        elif kind == "images" and not _is_size(entry):
            size = f"width {entry['width']!r} and height {entry['height']!r}"
            problems.append(Fault(f"{path}: image {entry['id']} has {size}, not whole pixels."))
        else:
            entries[entry["id"]] = entry
    return entries


def _is_size(image):
    return all(isinstance(image[side], int) and image[side] > 0 for side in ("width", "height"))


def _image_folder(root, path, split, images):
    """The folder that holds the first image, or the likeliest one where none does."""
    year = path.stem.removeprefix("instances_")
    names = dict.fromkeys([*_NAMES.get(split, (split,)), year])
    folders = [root / name for name in names]
    folders += [root / "images" / name for name in names] + [root / "images", path.parent, root]
    first = next((image["file_name"] for image in images.values()), None)
    there = [folder for folder in folders if folder.is_dir()]
    holding = (folder for folder in there if first and (folder / str(first)).is_file())
    return next(holding, there[0])


def _images(path, folder, images) -> Iterator[Fault]:
    seen = set()
    for key, image in images.items():
        name = image["file_name"]
        if name in seen:
            yield Fault(f"{path}: image {key} has the file {name} of another image.")
        elif not os.path.isfile(os.path.join(folder, name)):
            yield Fault(f"{path}: image {key} is missing: there is no file {folder / name}.")
        seen.add(name)


def _objects(path, content, numbers, labels, problems):
    """Rows for `of_objects`; annotations with faults are told of and left out."""
    seen = set()
    for place, entry in enumerate(content["annotations"]):
        name = entry.get("id", f"number {place}") if isinstance(entry, dict) else f"number {place}"
        fault = _fault(entry, numbers, labels, seen)
        if fault:
            problems.append(Fault(f"{path}: annotation {name} {fault}."))
            continue
        seen.add(name)
        x, y, width, height = map(float, entry["bbox"])
        crowd = bool(entry.get("iscrowd", 0))
        area = _area(entry)
        box = (x, y, x + width, y + height)
        label = labels[entry["category_id"]]
        yield numbers[entry["image_id"]], box, label, crowd, False, area, name


def _area(entry):
    """Of an object in pixels, where nothing tells it that of its box."""
    return float(
        entry["bbox"][2] * entry["bbox"][3] if entry.get("area") is None else entry["area"]
    )


def _with_outlines(path, content, images, objects, problems):
    """The rows that have outlines, in the order of their images, and these."""
    sizes = [(image["height"], image["width"]) for image in images.values()]
    entries = {
        entry.get("id", f"number {place}"): entry
        for place, entry in enumerate(content["annotations"])
        if isinstance(entry, dict)
    }
    rows, shapes = [], []
    for row in sorted(objects, key=lambda row: row[0]):
        try:
            entry = entries[row[-1]]
            shape = outlines.encode(entry.get("segmentation"), *sizes[row[0]])
        except MissingExtraError:
            raise
        except InputError as error:
            problems.append(Fault(f"{path}: annotation {row[-1]} {error}."))
        else:
            shapes.append(shape)
            if entry.get("area") is None:
                row = (*row[:-2], outlines.area(shape, *sizes[row[0]]), row[-1])
            rows.append(row)
    return rows, shapes


def _fault(entry, numbers, labels, seen):
    if not isinstance(entry, dict) or "image_id" not in entry or "category_id" not in entry:
        return "has no image_id or no category_id"
    if entry.get("id") in seen:
        return "has the id of another annotation"
    if not _hashable(entry["image_id"]) or entry["image_id"] not in numbers:
        return f"has the unknown image id {entry['image_id']!r}"
    if not _hashable(entry["category_id"]) or entry["category_id"] not in labels:
        return f"has the unknown category id {entry['category_id']!r}"
    box = entry.get("bbox")
    numeric = isinstance(box, list) and len(box) == 4
    if not numeric or not all(isinstance(v, int | float) for v in box):
        return "has no bbox of four numbers x, y, width, height"
    if not isinstance(entry.get("area", 0), int | float | None):
        return f"has the area {entry['area']!r}, which is no number"
    return None


def _hashable(value):
    return isinstance(value, int | str)


def write(path: str | os.PathLike, annotations: Annotations) -> None:
    """Writes annotations as a JSON file of this format.

    Args:
        path: of the file.
        annotations: whose images' files are written by their names alone.
    """
    x1, y1, x2, y2 = annotations.boxes.T
    boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).tolist()
    content = {
        "images": [
            {"id": int(key), "file_name": os.path.basename(name), "height": int(h), "width": int(w)}
            for key, name, (h, w) in zip(
                annotations.image_ids, annotations.paths, annotations.sizes, strict=True
            )
        ],
        "annotations": [
            {
                "id": number + 1,
                "image_id": int(annotations.image_ids[annotations.images[number]]),
                "category_id": annotations.category_ids[annotations.labels[number]],
                "bbox": box,
                "area": float(annotations.areas[number]),
                "iscrowd": int(annotations.crowd[number]),
            }
            for number, box in enumerate(boxes)
        ],
        "categories": [
            {"id": key, "name": name}
            for key, name in zip(annotations.category_ids, annotations.class_names, strict=True)
        ],
    }
    Path(path).write_text(json.dumps(content))
