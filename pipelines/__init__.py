"""Data sets as tf.data pipelines: uint8 RGB images and int32 labels, ready for `model.fit`.

`training` is an endless stream, a pure function of (seed, step); `evaluation` visits every example
once. Importing this package imports no TensorFlow.

A data set is "digits", "cifar10" or "cifar100", which are held in memory; "imagenet2012" or
"tfds/NAME", any classification data set of TensorFlow Datasets; or "folder", images in
DATA_DIR/train/CLASS/ and DATA_DIR/val/CLASS/. Of a split, a share can be taken: "train[:90%]" and
"train[90%:]", see `splits`.
"""

import functools
import importlib
import os
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras import facts
from resnet_keras.errors import InputError, unknown

from .view import View, test_side

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    from .source import Source

__all__ = [
    "DATASETS",
    "SPLITS",
    "DatasetInfo",
    "View",
    "arrays",
    "evaluation",
    "info",
    "open_split",
    "training",
]

SPLITS = ("train", "val", "trainval", "test")
FOLDER, TFDS = "folder", "tfds/"
SUFFIXES = (".jpg", ".jpeg", ".png")  # of image files


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
        dataset: see above.
        data_dir: counts the classes of "folder" and "tfds/NAME"; the others are known without.

    Raises:
        InputError: an unknown data set, or one that is not there.
    """
    if dataset in DATASETS:
        return DATASETS[dataset]
    if dataset == FOLDER:
        from . import folder

        classes = len(folder.class_names(data_dir))
        return DATASETS["imagenet2012"]._replace(module="folder", num_classes=classes)
    if dataset.startswith(TFDS):
        from . import records

        builder = records.prepare(dataset.removeprefix(TFDS), data_dir)
        classes = builder.info.features["label"].num_classes
        return DATASETS["imagenet2012"]._replace(num_classes=classes)
    raise unknown("dataset", dataset, [*DATASETS, FOLDER, f"{TFDS}NAME"])


def turns_by_exif(dataset: str) -> bool:
    """Whether a data set's photographs are turned as EXIF says, where nothing else is asked for."""
    return dataset == FOLDER


def open_split(
    dataset: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    exif_orientation: bool | None = None,
) -> "Source":
    """Opens a split of a data set of encoded images.

    Args:
        dataset, split, data_dir: as for `training`.
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
        data_dir: the folder of "folder", or where TensorFlow Datasets keeps its files.

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
    load = _module(known).load
    images, labels = load(dataset, wanted.name, image_size=size, data_dir=data_dir)
    if wanted.is_whole:
        return images, labels
    chosen = splits.share(wanted, labels, [str(n).encode() for n in range(len(labels))])
    return images[chosen], labels[chosen]


def training(
    dataset: str,
    split: str,
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    image_size: int | None = None,
    data_dir: str | None = None,
    view: View | None = None,
    exif_orientation: bool | None = None,
    max_corrupt: int = 100,
    parts: int = 1,
    shard: tuple[int, int] = (0, 1),
    services: Sequence[str] = (),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """An endless stream of augmented batches; batch k depends on (seed, k) only.

    Args:
        dataset, split, image_size, data_dir: as for `arrays`.
        global_batch_size: examples in each batch, over all replicas.
        seed: of the order and of every random draw.
        start_step: the first batch to deliver; later ones cost nothing to reach. (TFDS's records
            are read from the beginning of their epoch on, but not decoded.)
        view: of encoded images; `image_size` takes its place where given.
        exif_orientation: of encoded images, see `open_split`.
        max_corrupt: how many images that cannot be decoded are replaced, see `encoded.training`.
        parts: each batch is delivered as so many equal smaller ones, for gradients that are
            accumulated over them; `start_step` still counts whole ones.
        shard: (index, count) gives the index-th of count equal parts of each delivered batch, for
            a host among several.
        services: addresses "grpc://HOST:PORT" of hosts that make the batches in turn, see
            `service`; encoded images only.
        device, threads, ram_budget: see `stream.prefetch`.

    Returns:
        A dataset of uint8 images (batch, height, width, 3) and int32 labels (batch,), or float32
        labels (batch, classes) under mixup or cutmix.

    Raises:
        InputError: a batch cannot be divided as asked, a view or services for a data set in memory,
            or what `arrays` and `open_split` raise.
    """
    from . import stream

    if parts < 1 or global_batch_size % parts:
        raise InputError(f"A batch of {global_batch_size} has no {parts} equal parts.")
    known = info(dataset, data_dir)
    if not known.in_memory:
        from . import encoded, service

        view = view or View()
        view = view._replace(image_size=image_size or view.image_size)
        opened = open_split(dataset, split, data_dir=data_dir, exif_orientation=exif_orientation)

        def batches(chunks):
            return encoded.training(opened, chunks, seed=seed, view=view, max_corrupt=max_corrupt)

        # What is made depends on the position only, and not on where batches end.
        chunks = stream.Chunks(global_batch_size // parts, start_step * parts, *shard)
        made = service.distribute(batches, chunks, services) if services else batches(chunks)
        return stream.prefetch(made, device, threads=threads, ram_budget=ram_budget)
    if view is not None or services:
        raise InputError(f"{dataset} is held in memory: a view and --services are for photographs.")
    check_no_exif(dataset, exif_orientation)
    images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
    augmented = stream.training(
        images,
        labels,
        global_batch_size,
        seed=seed,
        start_step=start_step,
        augment=_module(known).augmentation(dataset, images.shape[1]),
    )
    augmented = stream.part(stream.split(augmented, parts), *shard)
    return stream.prefetch(augmented, device, threads=threads, ram_budget=ram_budget)


def evaluation(
    dataset: str,
    split: str,
    batch_size: int,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    exif_orientation: bool | None = None,
    replicas: int | None = None,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
    **protocol: Any,
) -> "tf.data.Dataset":
    """Every example of the split once, in order, unaugmented.

    Args:
        dataset, split, image_size, data_dir, exif_orientation: as for `training`.
        batch_size: examples in a batch; without `replicas` the last batch holds what is left.
        replicas: makes all batches one size that so many replicas share equally, and adds
            float32 weights (batch,), 1 for examples and 0 for what fills up the last batch.
            Under `MirroredStrategy` Keras 3.15 fails on a first batch with unequal shares, and
            TensorFlow 2.21 on an empty share. Weights act on `compile(weighted_metrics=...)`.
        shard: as for `training`; with `replicas`. (Every host decodes all images.)
        device, threads, ram_budget: see `stream.prefetch`.
        **protocol: `resize`, `interpolation`, `crops`, `crop_mode` and `antialias` of
            `encoded.evaluation`.

    Returns:
        A dataset of (images, labels), or of (images, labels, weights) with `replicas`.
    """
    import tensorflow as tf

    from . import stream

    known = info(dataset, data_dir)
    if known.in_memory:
        if protocol:
            raise InputError(f"{dataset} is evaluated as it is, without {', '.join(protocol)}.")
        check_no_exif(dataset, exif_orientation)
        images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
        examples, batches_of = len(labels), functools.partial(stream.evaluation, images, labels)
    else:
        from . import encoded

        opened = open_split(dataset, split, data_dir=data_dir, exif_orientation=exif_orientation)
        side = image_size or known.image_size
        view = {"image_size": side, "resize": test_side(side), **protocol}
        examples = opened.num_examples
        batches_of = functools.partial(encoded.evaluation, opened, **view)
    if replicas is None:
        batches = batches_of(batch_size)
    else:
        size = -(-min(batch_size, examples) // replicas) * replicas
        batches = stream.part(stream.weighted(batches_of(size), size), *shard)
        batches = batches.apply(tf.data.experimental.assert_cardinality(-(-examples // size)))
    return stream.prefetch(
        batches, device, threads=threads, ram_budget=ram_budget, batch_size=batch_size
    )


def check_no_exif(dataset: str, exif_orientation: bool | None) -> None:
    """Raises `InputError` where EXIF is asked for of pixels in memory."""
    if exif_orientation is not None:
        raise InputError(f"{dataset} is held in memory: exif_orientation is for photographs.")


def _module(known: DatasetInfo) -> types.ModuleType:
    return importlib.import_module(f"{__name__}.{known.module}")
