"""A data set that is a folder of class folders: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg."""

import os
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError

from . import SUFFIXES, stream
from .source import Source


def open_split(data_dir: str | os.PathLike | None, split: str) -> Source:
    """Lists the images of a split; classes are numbered in the order of their names.

    Args:
        data_dir: folder that has one folder for each split, with one for each class in it.
        split: "train", "val" (or a folder "validation"), or "test". All splits have train's
            classes, where there is a train.

    Raises:
        InputError: a folder is missing or has no images, or a split has a class that train lacks.
    """
    folder = split_folder(data_dir, split)
    classes = class_names(data_dir, split)
    paths: list[str] = []
    labels: list[int] = []
    others: list[str] = []
    for name in _class_folders(folder):
        if name not in classes:
            raise InputError(f"{folder} has a class {name!r} that the train folder lacks.")
        found, ignored = images_in(folder / name)
        if not found:
            raise InputError(f"The class folder {folder / name} has no images in it.")
        paths += found
        labels += [classes.index(name)] * len(found)
        others += ignored
    if others:
        warnings.warn(
            f"{len(others)} file(s) below {folder} are not images by their names, such as "
            f"{others[0]}: they are left out.",
            stacklevel=2,
        )
    return from_files(paths, labels, classes)


def from_files(paths: list[str], labels: list[int], classes: tuple[str, ...]) -> Source:
    """A source of image files; any step is reached at no cost."""
    # Tensors made here are captured by reference; arrays would be copied into the graph.
    all_paths = tf.constant([os.fsencode(path) for path in paths])  # names need not be UTF-8
    all_labels = tf.constant(labels, tf.int32)

    def training(seed, chunks):
        def look_up(number):
            positions = number * stream.CHUNK + tf.range(stream.CHUNK, dtype=tf.int64)
            chosen = stream.shuffled(positions, len(paths), seed)
            names = tf.gather(all_paths, chosen)
            return number, names, tf.gather(all_labels, chosen), names

        return chunks.numbers().map(look_up)

    def ordered():
        examples = tf.data.Dataset.range(len(paths))
        return examples.map(lambda i: (all_paths[i], all_labels[i], all_paths[i]))

    return Source(len(paths), classes, training, ordered, tf.io.read_file)


def split_folder(data_dir: str | os.PathLike | None, split: str) -> Path:
    """Returns DIR/SPLIT; `InputError` where there is none."""
    if data_dir is None:
        raise InputError("Give --data_dir=FOLDER, which holds train/CLASS/ and val/CLASS/.")
    root = Path(data_dir)
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    folder = _find(root, split)
    if folder is None:
        there = sorted(p.name for p in root.iterdir() if p.is_dir()) or ["no folders"]
        raise InputError(f"{root} has no folder {split}/; it has {', '.join(there[:8])}.")
    return folder


def class_names(data_dir: str | os.PathLike | None, split: str = "train") -> tuple[str, ...]:
    """Returns the classes, by name: train's; without a train, the split's own, or else val's."""
    root = None if data_dir is None else Path(data_dir)
    folder = root and (_find(root, "train") or _find(root, split) or _find(root, "val"))
    folder = folder or split_folder(data_dir, split)
    classes = _class_folders(folder)
    if not classes:
        raise InputError(f"{folder} has no class folders in it.")
    return tuple(classes)


def images_in(folder: Path) -> tuple[list[str], list[str]]:
    """Returns a folder's image files and its other files; hidden ones are in neither."""
    found, others = [], []
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise InputError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    for name in names:
        if not name.startswith("."):
            (found if name.lower().endswith(SUFFIXES) else others).append(f"{folder}/{name}")
    return found, others


def _find(root, split):
    names = {"val": ("val", "validation")}.get(split, (split,))
    return next((root / name for name in names if (root / name).is_dir()), None)


def _class_folders(folder):
    entries = (e for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    return np.unique([entry.name for entry in entries]).tolist()
