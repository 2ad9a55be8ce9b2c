"""Data sets of time series in the forms of the UCR and UEA archives, from a user's folder.

DATA_DIR holds NAME_TRAIN.tsv and NAME_TEST.tsv (UCR 2018), NAME_TRAIN.ts and NAME_TEST.ts (UEA,
aeon, sktime), or one .npz file of arrays x_train, y_train, x_test and y_test; `series_files` says
how they are written. Imports no TensorFlow.
"""

import functools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet_keras.errors import InputError

from . import npz, splits
from .series_files import Series, checked, class_order, numbered, read

NAME = "ucr"
_ENDINGS = (".tsv", ".ts")
_LAYOUT = "NAME_TRAIN.tsv and NAME_TEST.tsv, the same as .ts, or one .npz file"


class Problem(NamedTuple):
    """A data set of the archives: its two splits, and the names of its classes in order."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


def files(data_dir: str | os.PathLike | None) -> tuple[Path, ...]:
    """The files of a data set: of training and test series, or the one that has both.

    Raises:
        InputError: the folder is not there, or has no data set or several.
    """
    if data_dir is None:
        raise InputError(f"{NAME} needs data_dir, a folder that has {_LAYOUT}.")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    found: list[tuple[Path, ...]] = []
    for ending in _ENDINGS:
        for train in sorted(root.glob(f"*_TRAIN{ending}")):
            test = train.with_name(f"{train.name.removesuffix(f'_TRAIN{ending}')}_TEST{ending}")
            if not test.is_file():
                raise InputError(f"{train} is there, and {test} is missing.")
            found.append((train, test))
    found = found or [(path,) for path in sorted(root.glob("*.npz"))]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(paths[0].name for paths in found)
        raise InputError(f"{root} has several data sets ({names}): give each a folder of its own.")
    deeper = next(root.glob("*/*_TRAIN.ts*"), None)
    such = f": name one of its folders, such as {deeper.parent}" if deeper else ""
    raise InputError(f"{root} has no data set of series, {_LAYOUT}{such}.")


def called(data_dir: str | os.PathLike | None) -> str:
    """The name of a data set: NAME of NAME_TRAIN.tsv, or of NAME.npz.

    Raises:
        InputError: as `files`.
    """
    return files(data_dir)[0].stem.removesuffix("_TRAIN")


def problem(data_dir: str | os.PathLike | None) -> Problem:
    """Reads a data set, once as long as its files stay the same.

    Classes are in the order of a .ts file's @classLabel, and else in order of their numbers, or of
    the alphabet where they are no numbers.

    Raises:
        InputError: names the file and what is wrong with it.
    """
    paths = files(data_dir)
    stamps = tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    return _problem(paths, stamps)


@functools.lru_cache(1)
def _problem(paths, stamps):
    del stamps
    train, test = _of_arrays(paths[0]) if len(paths) == 1 else map(read, paths)
    if train.labels is None or test.labels is None:
        raise InputError(f"{paths[0]} and its test series must have classes (@classLabel true).")
    if train.values.shape[1:] != test.values.shape[1:]:
        raise InputError(
            f"The series of {paths[0]} are of shape {train.values.shape[1:]} (length, channels), "
            f"and those of {paths[-1]} {test.values.shape[1:]}."
        )
    for path, labels in ((paths[0], train.labels), (paths[-1], test.labels)):
        if missing := [label for label in labels if label.lower() in ("", "?", "nan")]:
            raise InputError(f"{path} has a series whose class is missing ({missing[0]!r}).")
    names = class_order([*train.labels, *test.labels, *(train.classes or ())])
    # Not sorted where the header has an order; "1" and "1.0" are one class.
    classes = tuple(dict.fromkeys(names[label] for label in train.classes or names))
    trained = {names[label] for label in train.labels} | {names[c] for c in train.classes or ()}
    strange = sorted({names[label] for label in test.labels} - trained)
    if strange:
        raise InputError(f"{paths[-1]} has a class {strange[0]!r} that {paths[0]} lacks.")
    if any(name not in classes for name in trained):
        (first, *_) = sorted(trained - {*classes})
        raise InputError(f"{paths[0]} has a class {first!r} that its @classLabel lacks.")
    if len(classes) < 2:
        raise InputError(f"{paths[0]} has one class only, {''.join(classes)!r}.")
    return Problem(
        train.values,
        numbered(train.labels, names, classes),
        test.values,
        numbered(test.labels, names, classes),
        classes,
    )


def _of_arrays(path):
    """Training and test series of an .npz file."""
    arrays = npz.read_splits(path)
    return [_of_pair(path, arrays, split) for split in ("train", "test")]


def _of_pair(path, arrays, split):
    values = checked(arrays[f"x_{split}"], f"x_{split} of {path}")
    labels = arrays[f"y_{split}"]
    if labels.shape != (len(values),) or labels.dtype.kind not in "iufbU":
        raise InputError(
            f"y_{split} of {path} must be a number or text for each of {len(values)} series, not "
            f"{labels.dtype} {labels.shape}."
        )
    return Series(values, [str(label) for label in labels.tolist()])


def load(dataset: str, split: str, *, image_size: int, data_dir: str | None):
    """As `pipelines.arrays`: "trainval" is the archive's training series, "val" a tenth of them.

    The tenth has its share of each class, and is the same on every machine.
    """
    del dataset, image_size
    known = problem(data_dir)
    return splits.of_arrays(split, *known[:4])


def augmentation(dataset: str, image_size: int) -> None:
    """None: series are trained on as they are."""
    del dataset, image_size
