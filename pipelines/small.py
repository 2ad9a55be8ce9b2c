"""Small images of one size, held in memory: MNIST and its kin, SVHN, and arrays that a user has.

Where DATA_DIR has the four IDX files of MNIST's form (train-images-idx3-ubyte, ..., or with a dot
before idx3, gzipped or not), or one .npz file of x_train, y_train, x_test and y_test, or is such a
file, these are the data set. Else it is TensorFlow Datasets', which downloads it. Imports no
TensorFlow until then.
"""

import functools
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet_keras.errors import InputError

from . import idx, npz, splits

NAME = "arrays"  # of a user's own
LARGEST = 96  # pixels on a side of what TensorFlow Datasets has
_IDX = tuple(
    f"{split}-{kind}-ubyte"
    for split in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)
_LAYOUT = f"the IDX files {_IDX[0]} and so on, or one .npz file of {', '.join(npz.SPLITS)}"
# The sides of images, and the numbers of classes, of data sets that are known by name.
KNOWN = {"fashion_mnist": (28, 10), "mnist": (28, 10), "svhn_cropped": (32, 10)}


class Images(NamedTuple):
    """A data set: uint8 RGB (examples, side, side, 3), int32 labels, the classes in their order.

    `mean` and `std` are those of the training images, per channel.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def side(self) -> int:
        """Of the images, in pixels."""
        return self.train.shape[1]


def files(data_dir: str | os.PathLike | None) -> tuple[Path, ...]:
    """A user's files: four IDX files, or one .npz file; none where there are none.

    Raises:
        InputError: there are some of the IDX files only, or several .npz files.
    """
    if data_dir is None or "://" in str(data_dir):
        return ()
    root = Path(data_dir).expanduser()
    if root.is_file():
        return (root,)
    places = {name: _one_of(root, name, name.replace("-idx", ".idx")) for name in _IDX}
    if any(places.values()):
        missing = [name for name, path in places.items() if path is None]
        if missing:
            raise InputError(f"{root} has IDX files, but no {missing[0]} and no {missing[0]}.gz.")
        return tuple(path for path in places.values() if path)
    arrays = sorted(root.glob("*.npz"))
    if len(arrays) > 1:
        names = " and ".join(path.name for path in arrays[:2])
        raise InputError(f"{root} has {names}: name the one that is meant as data_dir.")
    return tuple(arrays)


def _one_of(root, *names):
    """The first of such files, gzipped or not."""
    paths = (root / f"{name}{end}" for name in names for end in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def own_files(data_dir: str | os.PathLike | None) -> tuple[Path, ...]:
    """As `files`; raises `InputError` where there are none, too."""
    paths = files(data_dir)
    if not paths:
        raise InputError(f"{NAME} needs data_dir, a folder that has {_LAYOUT}, or that file.")
    return paths


def images(dataset: str, data_dir: str | os.PathLike | None) -> Images:
    """Reads a data set, once as long as its files stay the same.

    Args:
        dataset: "arrays"; "arrays/NAME" of TensorFlow Datasets; or a key of `KNOWN`.
        data_dir: the user's files, or where TensorFlow Datasets keeps its own.

    Raises:
        InputError: there are no such files, or names the file and what is wrong with it.
    """
    paths = _paths(dataset, data_dir)
    if not paths:
        return _of_tfds(dataset.removeprefix(f"{NAME}/"), data_dir and str(data_dir))
    stamps = tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    read = _of_files(paths, stamps)
    side, classes = KNOWN.get(dataset, (read.side, len(read.class_names)))
    if (read.side, len(read.class_names)) != (side, classes):
        raise InputError(
            f"{paths[0]} has images of side {read.side} in {len(read.class_names)} classes, and "
            f'{dataset} has side {side} and {classes} classes: dataset="{NAME}" takes any.'
        )
    if dataset in KNOWN and read.class_names != tuple(map(str, range(classes))):
        raise InputError(
            f"{paths[0]} has the classes {', '.join(read.class_names)}, and {dataset} numbers them "
            f'from 0 to {classes - 1}: dataset="{NAME}" takes any.'
        )
    return read


def _paths(dataset, data_dir):
    """The user's files; none of NAME/..., which is TensorFlow Datasets', whatever else is there."""
    if dataset == NAME:
        return own_files(data_dir)
    return files(data_dir) if dataset in KNOWN else ()


@functools.lru_cache(2)
def _of_files(paths, stamps):
    del stamps
    if len(paths) == 1:
        found = npz.read_splits(paths[0])
        arrays = [found[name] for name in npz.SPLITS]
        whats = [f"{name} of {paths[0]}" for name in npz.SPLITS]
    else:
        arrays, whats = [idx.read(path) for path in paths], [str(path) for path in paths]
    train, test = _checked(arrays[0], whats[0]), _checked(arrays[2], whats[2])
    if train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"{whats[0]} has images of side {train.shape[1]}, and {whats[2]} of {test.shape[1]}."
        )
    numbered = [
        _labels(labels, len(of), what)
        for labels, of, what in ((arrays[1], train, whats[1]), (arrays[3], test, whats[3]))
    ]
    classes = np.unique(numbered[0])
    strange = np.setdiff1d(numbered[1], classes)
    if len(strange):
        raise InputError(f"{whats[3]} has a class {strange[0]!s} that {whats[1]} lacks.")
    if len(classes) < 2:
        raise InputError(f"{whats[1]} has one class only, {classes[0]!s}.")
    train_labels, test_labels = (np.searchsorted(classes, own).astype("int32") for own in numbered)
    names = tuple(map(str, classes))
    return Images(train, train_labels, test, test_labels, names, *_statistics(train))


def _statistics(images):
    """Mean and standard deviation of each channel; 1 in place of a deviation of 0."""
    mean, std = [], []
    for channel in range(3):
        # By how often each level occurs: floats of all pixels would take eight times the memory.
        counts = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., 0].size
        mean.append(float(counts @ np.arange(256)))
        std.append(float(np.sqrt(counts @ (np.arange(256) - mean[-1]) ** 2)) or 1.0)
    return tuple(mean), tuple(std)


def _checked(array, what):
    """An array as uint8 RGB (examples, side, side, 3)."""
    array = np.asarray(array)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or not array.size:
        raise InputError(
            f"{what} must be images (examples, height, width), or with 1 or 3 channels, not of "
            f"shape {array.shape}."
        )
    if array.shape[1] != array.shape[2]:
        raise InputError(
            f"{what} has images of {array.shape[1]} x {array.shape[2]} pixels: they must be square."
        )
    if array.dtype != np.uint8:
        raise InputError(f"{what} must be uint8, pixels from 0 to 255, not {array.dtype}.")
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _labels(labels, examples, what):
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (examples,) or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{what} must be a whole number or text for each of {examples} images, not "
            f"{labels.dtype} {labels.shape}."
        )
    return labels


@functools.lru_cache(2)
def _of_tfds(name, data_dir):
    from . import records

    builder = records.prepare(name, data_dir)
    shape = builder.info.features["image"].shape
    if None in shape or shape[0] != shape[1] or shape[0] > LARGEST:
        raise InputError(
            f"{name} of TensorFlow Datasets has images of shape {shape}: those in memory are "
            f'square, of one size and of side {LARGEST} at most. "tfds/{name}" takes any.'
        )
    arrays = []
    for split in _splits_of(name, [*builder.info.splits]):
        pixels, labels = records.arrays(name, data_dir, split)
        arrays += [_checked(pixels, f"{name}/{split}"), labels]
    names = tuple(builder.info.features["label"].names)
    return Images(*arrays, names, *_statistics(arrays[0]))


def _splits_of(name, there):
    """What is trained and what is tested on: the validation split, or a share, without a test."""
    if there and "train" not in there:
        raise InputError(
            f"{name} of TensorFlow Datasets has no split train: it has {', '.join(there)}."
        )
    if "test" in there or not there:
        return "train", "test"
    if "validation" in there:
        warnings.warn(f"{name} has no test split: validation is taken for it", stacklevel=2)
        return "train", "validation"
    warnings.warn(
        f"{name} has no test split: the last tenth of train is taken for it", stacklevel=2
    )
    return "train[:90%]", "train[90%:]"


def load(dataset: str, split: str, *, image_size: int, data_dir: str | None):
    """As `pipelines.arrays`: "trainval" is all training images, "val" a tenth of them.

    The tenth has its share of each class, and is the same on every machine.
    """
    del image_size
    known = images(dataset, data_dir)
    return splits.of_arrays(split, *known[:4])
