"""A data set that is a folder of class folders: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg.

Without train/, val/ and test/, class folders that lie in DIR itself are its train split.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError, hint

from . import splits, stream
from .listing import check_root, entries_in, holds_images
from .source import Source

_SPLITS = ("train", "val", "validation", "test")


def open_split(data_dir: str | os.PathLike | None, split: str) -> Source:
    """Lists the images of a split; classes are numbered in the order of their names.

    Args:
        data_dir: folder that has one folder for each split, with one for each class in it.
        split: "train", "val" (or a folder "validation"), "test" or the name of another folder,
            or a share of one, see `splits`. All splits have train's classes, where there is a
            train.

    Raises:
        InputError: a folder is missing or has no images, or a split has a class that train lacks.
    """
    wanted = splits.parse(split)
    folder = split_folder(data_dir, wanted.name)
    classes = class_names(data_dir, wanted.name)
    paths: list[str] = []
    labels: list[int] = []
    others: list[str] = []
    for name in _class_folders(folder):
        if name not in classes:
            raise InputError(f"{folder} has a class {name!r} that the train folder lacks.")
        entries = entries_in(folder / name)
        if not entries.images:
            raise InputError(f"The class folder {folder / name} has no images in it.")
        paths += entries.images
        labels += [classes.index(name)] * len(entries.images)
        others += entries.others
    if others:
        warnings.warn(
            f"{len(others)} file(s) below {folder} are not images by their names, such as "
            f"{others[0]}: they are left out.",
            stacklevel=2,
        )
    if wanted.is_whole:
        return from_files(paths, labels, classes)
    names = [os.fsencode(path.removeprefix(f"{folder}/")) for path in paths]
    chosen = splits.share(wanted, labels, names)
    return from_files([paths[n] for n in chosen], [labels[n] for n in chosen], classes)


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
    root = check_root(data_dir)
    folder = _find(root, split)
    if folder is None:
        there = _there(root)
        way_out = f" {splits.HOLD_OUT}" if has_train_only(root) else hint(split, there)
        raise InputError(f"{root} has no folder {split}/; it has {', '.join(there[:8])}.{way_out}")
    return folder


def has_train_only(data_dir: str | os.PathLike) -> bool:
    """Whether there is a train split and no folder that could be another one."""
    root = Path(data_dir).expanduser()
    return _find(root, "train") is not None and (is_flat(root) or _there(root) == ["train"])


def is_flat(root: Path) -> bool:
    """Whether images lie in the class folders ROOT/CLASS/ themselves, for all of two or more."""
    folders = _class_folders(root)
    if len(folders) < 2 or set(folders) & set(_SPLITS):
        return False
    return all(holds_images(root / name) for name in folders)


def class_names(data_dir: str | os.PathLike | None, split: str = "train") -> tuple[str, ...]:
    """Returns the classes, by name: train's; without a train, the split's own, or else val's."""
    root = None if data_dir is None else Path(data_dir).expanduser()
    folder = root and (_find(root, "train") or _find(root, split) or _find(root, "val"))
    folder = folder or split_folder(data_dir, split)
    classes = _class_folders(folder)
    if not classes:
        raise InputError(f"{folder} has no class folders in it.")
    return tuple(classes)


def _find(root, split):
    if not root.is_dir():
        return None
    names = {"val": ("val", "validation")}.get(split, (split,))
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    return root if folder is None and split == "train" and is_flat(root) else folder


def _there(root):
    return sorted(path.name for path in root.iterdir() if path.is_dir()) or ["no folders"]


def _class_folders(folder):
    return np.unique([os.path.basename(path) for path in entries_in(folder).folders]).tolist()
