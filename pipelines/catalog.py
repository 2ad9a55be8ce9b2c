"""The data sets by name: what is known of each, and where its images come from.

Imports no TensorFlow until a split is opened.
"""

import importlib
import os
import types
from typing import TYPE_CHECKING, NamedTuple

from resnet_keras import facts
from resnet_keras.errors import InputError, unknown

if TYPE_CHECKING:
    import numpy as np

    from .source import Source

SPLITS = ("train", "val", "trainval", "test")
FOLDER, TFDS = "folder", "tfds/"


class DatasetInfo(NamedTuple):
    """What a model must know of a data set; mean and std per RGB channel, in units of 0 to 255.

    `in_memory` data sets have images of one size; the others are encoded photographs.
    """

    module: str
    num_classes: int
    image_size: int
    resizable: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    in_memory: bool = True


DATASETS = {
    "digits": DatasetInfo("digits", 10, 32, True, facts.DIGITS_MEAN, facts.DIGITS_STD),
    "cifar10": DatasetInfo("cifar", 10, 32, False, facts.CIFAR10_MEAN, facts.CIFAR10_STD),
    "cifar100": DatasetInfo("cifar", 100, 32, False, facts.CIFAR100_MEAN, facts.CIFAR100_STD),
    "imagenet2012": DatasetInfo(
        "records", 1000, 224, True, facts.IMAGENET_MEAN, facts.IMAGENET_STD, False
    ),
}


def info(dataset: str, data_dir: str | os.PathLike | None = None) -> DatasetInfo:
    """Returns the facts of a data set.

    Args:
        dataset: a key of `DATASETS`, "folder" or "tfds/NAME".
        data_dir: counts the classes of "folder" and "tfds/NAME"; the others are known without.

    Raises:
        InputError: an unknown data set, or one that is not there.
    """
    if dataset in DATASETS:
        return DATASETS[dataset]
    if dataset == FOLDER:
        from . import class_folders

        classes = len(class_folders.class_names(data_dir))
        return DATASETS["imagenet2012"]._replace(module="folder", num_classes=classes)
    if dataset.startswith(TFDS):
        from . import records

        builder = records.prepare(dataset.removeprefix(TFDS), data_dir)
        classes = builder.info.features["label"].num_classes
        return DATASETS["imagenet2012"]._replace(num_classes=classes)
    raise unknown("dataset", dataset, [*DATASETS, FOLDER, f"{TFDS}NAME"])


def module_of(known: DatasetInfo) -> types.ModuleType:
    """Imports the module that loads a data set, and augments one in memory."""
    return importlib.import_module(f".{known.module}", __package__)


def turns_by_exif(dataset: str) -> bool:
    """Whether a data set's photographs are turned as EXIF says, where nothing else is asked for."""
    return dataset == FOLDER


def check_no_exif(dataset: str, exif_orientation: bool | None) -> None:
    """Raises `InputError` where EXIF is asked for of pixels in memory."""
    if exif_orientation is not None:
        raise InputError(f"{dataset} is held in memory: exif_orientation is for photographs.")


def open_split(
    dataset: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    exif_orientation: bool | None = None,
) -> "Source":
    """Opens a split of a data set of encoded images.

    Args:
        dataset: "imagenet2012", "folder" or "tfds/NAME".
        split: "train", "val", "test" or another one that is there; or a share of one, such as
            "train[:90%]".
        data_dir: the folder of "folder", or where TensorFlow Datasets keeps its files.
        exif_orientation: whether photographs are turned as their cameras noted, see `exif`. None
            turns those of "folder" and leaves those of published data sets as they always were.

    Raises:
        InputError: no such data set or split, or it is not there.
    """
    from . import folder, records

    if exif_orientation is None:
        exif_orientation = turns_by_exif(dataset)
    if dataset == FOLDER:
        source = folder.open_split(data_dir, split)
        return source._replace(exif_orientation=exif_orientation)
    name = dataset.removeprefix(TFDS)
    if name == dataset and info(dataset).in_memory:
        raise InputError(f"{dataset} is held in memory as pixels, not as encoded images.")
    source = records.open_split(name, data_dir, split)
    return source._replace(exif_orientation=exif_orientation)


def arrays(
    dataset: str, split: str, *, image_size: int | None = None, data_dir: str | None = None
) -> tuple["np.ndarray", "np.ndarray"]:
    """Loads a split into memory.

    Args:
        dataset: a key of `DATASETS`.
        split: "train" (90 % of the training examples, 45,000 of CIFAR's), "val" (the others),
            "trainval" (both) or "test"; or a share of one, such as "trainval[:80%]".
        image_size: side in pixels, for data sets that can be resized (not CIFAR).
        data_dir: where TensorFlow Datasets keeps its files.

    Returns:
        uint8 images (examples, height, width, 3) and int32 labels (examples,).

    Raises:
        InputError: unknown data set or split, a size it cannot have, or data that is not there.
    """
    from . import splits

    known = info(dataset, data_dir)
    if not known.in_memory:
        raise InputError(f"{dataset} is too large to be held in memory.")
    wanted = splits.parse(split)
    if wanted.name not in SPLITS:
        raise unknown("split", wanted.name, SPLITS)
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size must be positive, not {image_size}.")
    if image_size not in (None, known.image_size) and not known.resizable:
        raise InputError(f"{dataset} images have side {known.image_size}, not {image_size}.")
    size = image_size or known.image_size
    load = module_of(known).load
    images, labels = load(dataset, wanted.name, image_size=size, data_dir=data_dir)
    if wanted.is_whole:
        return images, labels
    chosen = splits.share(wanted, labels, [str(n).encode() for n in range(len(labels))])
    return images[chosen], labels[chosen]
