"""The data sets by name: what is known of each, and where its images come from.

Imports no TensorFlow until a split is opened.
"""

import importlib
import os
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resnet_keras import facts
from resnet_keras.errors import InputError, check_installed, unknown
from resnet_keras.files import digest_of_all

from . import splits

if TYPE_CHECKING:
    import numpy as np

    from .source import Source

# Classification data sets of TensorFlow Datasets that are asked for by their bare names.
_OF_TFDS = (
    *("beans", "caltech101", "cats_vs_dogs", "eurosat", "food101", "imagenette"),
    *("oxford_flowers102", "oxford_iiit_pet", "stanford_dogs", "tf_flowers"),
)
_SMALL_OF_TFDS = ("cmaterdb", "emnist", "kmnist", "stl10")

# What data sets are called elsewhere.
_ALSO = {
    **{name: f"tfds/{name}" for name in _OF_TFDS},
    **{name: f"arrays/{name}" for name in _SMALL_OF_TFDS},
    **dict.fromkeys(("fashion-mnist", "fashion"), "fashion_mnist"),
    **dict.fromkeys(("svhn", "svhn-cropped"), "svhn_cropped"),
    **dict.fromkeys(("npz", "idx", "numpy"), "arrays"),
    **dict.fromkeys(("imagenet", "imagenet1k", "ilsvrc2012"), "imagenet2012"),
    **dict.fromkeys(("cifar", "cifar-10"), "cifar10"),
    "cifar-100": "cifar100",
    "imagefolder": "folder",
    **dict.fromkeys(("uea", "series", "ucrarchive_2018", "aeon"), "ucr"),
}

SPLITS = ("train", "val", "trainval", "test")
FOLDER, TFDS, UCR, ARRAYS = "folder", "tfds/", "ucr", "arrays"


class DatasetInfo(NamedTuple):
    """What a model must know of a data set; mean and std per RGB channel, in units of 0 to 255.

    `in_memory` data sets have images of one size; the others are encoded photographs. `package` is
    an optional one that is needed, and the extra that brings it. `series` are of `image_size`
    steps and so many `channels`, and have a mean and std for each. `class_names` are those that
    only the data set itself tells. `padding` and `flip` are how training varies small images: so
    many pixels around them before a crop of their size, and whether half are mirrored; None for
    data sets that are varied in ways of their own.
    """

    module: str
    num_classes: int
    image_size: int
    resizable: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    in_memory: bool = True
    package: tuple[str, str] | None = None
    series: bool = False
    channels: int = 3
    class_names: tuple[str, ...] | None = None
    padding: int | None = None
    flip: bool | None = None

    def input_shape(self, image_size: int | None = None) -> tuple[int, ...]:
        """What a network sees of an example, at another size where that is given."""
        size = image_size or self.image_size
        return (size, self.channels) if self.series else (size, size, self.channels)


_PADDED = {"padding": 4}  # Sec. 4.2
# Of TensorFlow Datasets; which of their own images must not be mirrored, users say.
_CHARACTERS = tuple(
    f"{ARRAYS}/{name}"
    for name in ("binary_alpha_digits", "cmaterdb", "emnist", "kmnist", "mnist", "omniglot", "svhn")
)
_MIRRORED = {**_PADDED, "flip": True}  # what digits and letters must not be
DATASETS = {
    "digits": DatasetInfo(
        "digits", 10, 32, True, facts.DIGITS_MEAN, facts.DIGITS_STD, package=("sklearn", "digits")
    ),
    "cifar10": DatasetInfo(
        "cifar", 10, 32, False, facts.CIFAR10_MEAN, facts.CIFAR10_STD, **_MIRRORED
    ),
    "cifar100": DatasetInfo(
        "cifar", 100, 32, False, facts.CIFAR100_MEAN, facts.CIFAR100_STD, **_MIRRORED
    ),
    "fashion_mnist": DatasetInfo(
        *("small", 10, 28, False, facts.FASHION_MNIST_MEAN, facts.FASHION_MNIST_STD), **_MIRRORED
    ),
    "mnist": DatasetInfo(
        *("small", 10, 28, False, facts.MNIST_MEAN, facts.MNIST_STD), **_PADDED, flip=False
    ),
    "svhn_cropped": DatasetInfo(
        *("small", 10, 32, False, facts.SVHN_MEAN, facts.SVHN_STD), **_PADDED, flip=False
    ),
    "imagenet2012": DatasetInfo(
        "records", 1000, 224, True, facts.IMAGENET_MEAN, facts.IMAGENET_STD, False
    ),
    "digits_series": DatasetInfo(
        *("digits", 10, 64, False, facts.DIGITS_SERIES_MEAN, facts.DIGITS_SERIES_STD),
        package=("sklearn", "digits"),
        series=True,
        channels=1,
    ),
}


def info(dataset: str, data_dir: str | os.PathLike | None = None) -> DatasetInfo:
    """Returns the facts of a data set.

    Args:
        dataset: a key of `DATASETS`, "folder", "ucr", "arrays", "arrays/NAME" or "tfds/NAME".
        data_dir: tells of all but `DATASETS`, which are known without.

    Raises:
        InputError: an unknown data set, or one that is not there.
    """
    if dataset in DATASETS:
        return DATASETS[dataset]
    if dataset == FOLDER:
        from . import class_folders

        classes = len(class_folders.class_names(data_dir))
        return DATASETS["imagenet2012"]._replace(module="folder", num_classes=classes)
    if dataset == UCR:
        return _series_info(data_dir)
    if _is_arrays(dataset):
        return _images_info(dataset, data_dir)
    if dataset.startswith(TFDS):
        from . import records

        builder = records.prepare(dataset.removeprefix(TFDS), data_dir)
        classes = builder.info.features["label"].num_classes
        return DATASETS["imagenet2012"]._replace(num_classes=classes)
    raise _unknown(dataset)


def _series_info(data_dir):
    from . import ucr

    problem = ucr.problem(data_dir)
    _, length, channels = problem.train.shape
    mean = problem.train.mean(axis=(0, 1), dtype="float64")
    std = problem.train.std(axis=(0, 1), dtype="float64")
    return DatasetInfo(
        *("ucr", len(problem.class_names), length, False),
        tuple(map(float, mean)),
        tuple(float(value) or 1.0 for value in std),
        series=True,
        channels=channels,
        class_names=problem.class_names,
    )


def _images_info(dataset, data_dir):
    from . import small

    images = small.images(dataset, data_dir)
    return DatasetInfo(
        *("small", len(images.class_names), images.side, False),
        images.mean,
        images.std,
        class_names=images.class_names,
        **_PADDED,
        flip=not dataset.startswith(_CHARACTERS),
    )


def _is_arrays(dataset):
    return dataset == ARRAYS or dataset.startswith(f"{ARRAYS}/")


def _unknown(dataset):
    known = [*DATASETS, FOLDER, ARRAYS, UCR, f"{TFDS}NAME", f"{ARRAYS}/NAME"]
    return unknown("dataset", dataset, known, _ALSO)


def is_series(dataset: str) -> bool:
    """Whether a data set is of series and not of images, by its name alone."""
    return dataset == UCR or (dataset in DATASETS and DATASETS[dataset].series)


def check_images(dataset: str, what: str) -> None:
    """Raises `InputError` where something that is for images is asked of a data set of series."""
    if is_series(dataset):
        raise InputError(f"{dataset} is a data set of series: {what} is for images.")


def is_in_memory(dataset: str) -> bool:
    """Whether a data set has images of one size, or series, in memory, by its name alone.

    Raises:
        InputError: there is no such name.
    """
    if dataset in DATASETS:
        return DATASETS[dataset].in_memory
    if dataset == UCR or _is_arrays(dataset):
        return True
    if dataset == FOLDER or dataset.startswith(TFDS):
        return False
    raise _unknown(dataset)


def check_names(
    dataset: str,
    split_names: Sequence[str],
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    exif_orientation: bool | None = None,
) -> None:
    """Refuses what a data set cannot give, as far as names tell; needs no TensorFlow.

    Args:
        dataset: as for `info`.
        split_names: splits or shares of them that are to be opened.
        data_dir: as for `info`.
        image_size: side in pixels; None for the data set's own.
        exif_orientation: see `open_split`.

    Raises:
        InputError: there is no such data set, split or size, or no folder of images or series.
        MissingExtraError: a package that it needs is not installed.
    """
    if is_in_memory(dataset):
        check_no_exif(dataset, exif_orientation)
        for split in split_names:
            _check_split(split)
        _check_size(dataset, image_size)
        if dataset == UCR:
            from . import ucr

            ucr.files(data_dir)
        if dataset == ARRAYS or (dataset in DATASETS and DATASETS[dataset].module == "small"):
            from . import small

            (small.own_files if dataset == ARRAYS else small.files)(data_dir)
    elif dataset == FOLDER:
        from . import class_folders

        for split in split_names:
            class_folders.split_folder(data_dir, splits.parse(split).name)
    if dataset not in (FOLDER, UCR) and data_dir is not None and _has_class_folders(data_dir):
        warnings.warn(
            f"{data_dir} has class folders of images, and {dataset} is taken: those are "
            f'dataset="{FOLDER}"',
            stacklevel=2,
        )
    package = DATASETS[dataset].package if dataset in DATASETS else None
    if package:
        check_installed(*package)


def own_files(
    dataset: str, data_dir: str | os.PathLike | None
) -> tuple[str, tuple[Path, ...]] | None:
    """The name and the files of series or arrays that a user brings; needs no TensorFlow.

    None of any other data set, which is told by its name, or is too large to be read for this.

    Raises:
        InputError: there are no such files.
    """
    from . import small, ucr

    if dataset == UCR:
        return ucr.called(data_dir), ucr.files(data_dir)
    if dataset != ARRAYS and dataset not in small.KNOWN:
        return None
    paths = small.own_files(data_dir) if dataset == ARRAYS else small.files(data_dir)
    if not paths:
        return None  # TensorFlow Datasets'
    return paths[0].stem if len(paths) == 1 else paths[0].resolve().parent.name, paths


def fingerprint(dataset: str, data_dir: str | os.PathLike | None) -> tuple[str, str] | None:
    """The name of `own_files` and their SHA-256, wherever they lie; None where there are none."""
    own = own_files(dataset, data_dir)
    return own and (own[0], digest_of_all(own[1]))


def _has_class_folders(data_dir):
    from . import class_folders

    root = Path(data_dir).expanduser()
    return class_folders.is_flat(root) or class_folders.is_flat(root / "train")


def _check_split(split):
    name = splits.parse(split).name
    if name not in SPLITS:
        raise unknown("split", name, SPLITS)


def _check_size(dataset, image_size):
    if image_size is not None:
        check_images(dataset, f"image_size={image_size}")
    if is_series(dataset):
        return
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size must be positive, not {image_size}.")
    if _is_arrays(dataset):
        if image_size is not None:
            raise InputError(f"{dataset} images have one size: leave image_size out.")
        return
    known = DATASETS[dataset]
    if image_size not in (None, known.image_size) and not known.resizable:
        raise InputError(
            f"{dataset} images have side {known.image_size}, not image_size={image_size}: leave "
            "image_size out."
        )


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


def check_padding(dataset: str, padding: int | None, flip: bool | None) -> None:
    """Raises `InputError` where a data set does not take `padding` or `flip`; its name tells."""
    if _is_arrays(dataset) or (dataset in DATASETS and DATASETS[dataset].padding is not None):
        return
    for name, value in (("padding", padding), ("flip", flip)):
        if value is not None:
            check_images(dataset, f"{name}={value}")
            raise InputError(
                f"{dataset} is not varied by {name}={value}: that is for small images in memory "
                f"such as cifar10 or {ARRAYS}."
            )


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
    if name == dataset and is_in_memory(dataset):
        raise InputError(f"{dataset} is held in memory as pixels, not as encoded images.")
    source = records.open_split(name, data_dir, split)
    return source._replace(exif_orientation=exif_orientation)


def arrays(
    dataset: str, split: str, *, image_size: int | None = None, data_dir: str | None = None
) -> tuple["np.ndarray", "np.ndarray"]:
    """Loads a split into memory.

    Args:
        dataset: a key of `DATASETS`, "ucr", "arrays" or "arrays/NAME".
        split: "train" (90 % of the training examples, 45,000 of CIFAR's), "val" (the others),
            "trainval" (both) or "test"; or a share of one, such as "trainval[:80%]".
        image_size: side in pixels, for data sets that can be resized (only digits).
        data_dir: where TensorFlow Datasets keeps its files, or the folder of "ucr" or "arrays";
            see `small` for files of MNIST's form.

    Returns:
        uint8 images (examples, height, width, 3), or float32 series (examples, length, channels),
        and int32 labels (examples,).

    Raises:
        InputError: unknown data set or split, a size it cannot have, or data that is not there.
    """
    known = info(dataset, data_dir)
    if not known.in_memory:
        raise InputError(f"{dataset} is too large to be held in memory.")
    _check_split(split)
    _check_size(dataset, image_size)
    wanted = splits.parse(split)
    size = image_size or known.image_size
    load = module_of(known).load
    images, labels = load(dataset, wanted.name, image_size=size, data_dir=data_dir)
    if wanted.is_whole:
        return images, labels
    chosen = splits.share(wanted, labels, [str(n).encode() for n in range(len(labels))])
    return images[chosen], labels[chosen]
