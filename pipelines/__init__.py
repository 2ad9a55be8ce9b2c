"""Data sets as tf.data pipelines: uint8 RGB images and int32 labels, ready for `model.fit`.

`training` is an endless stream, a pure function of (seed, step); `evaluation` visits every example
once. Importing this package imports no TensorFlow.
"""

import importlib
import types
from typing import TYPE_CHECKING, NamedTuple

from resnet_keras.errors import InputError, unknown

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

SPLITS = ("train", "val", "trainval", "test")


class DatasetInfo(NamedTuple):
    """What a model must know of a data set; mean and std per RGB channel, in units of 0 to 255."""

    module: str
    num_classes: int
    image_size: int
    resizable: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


DATASETS = {
    # Measured over trainval at the digits' own 8x8.
    "digits": DatasetInfo("digits", 10, 32, True, (78.0,) * 3, (96.0,) * 3),
    "cifar10": DatasetInfo("cifar", 10, 32, False, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": DatasetInfo("cifar", 100, 32, False, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
}


def info(dataset: str) -> DatasetInfo:
    """Returns the facts of a data set; `InputError` names the known ones."""
    if dataset not in DATASETS:
        raise unknown("dataset", dataset, DATASETS)
    return DATASETS[dataset]


def arrays(
    dataset: str, split: str, *, image_size: int | None = None, data_dir: str | None = None
) -> tuple["np.ndarray", "np.ndarray"]:
    """Loads a split into memory.

    Args:
        dataset: a key of `DATASETS`.
        split: "train" (90 % of the training examples, 45,000 of CIFAR's), "val" (the others),
            "trainval" (both) or "test".
        image_size: side in pixels, for data sets that can be resized (digits).
        data_dir: where TensorFlow Datasets keeps its files.

    Returns:
        uint8 images (examples, height, width, 3) and int32 labels (examples,).

    Raises:
        InputError: unknown data set or split, a size it cannot have, or data that is not there.
    """
    known = info(dataset)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size must be positive, not {image_size}.")
    if image_size not in (None, known.image_size) and not known.resizable:
        raise InputError(f"{dataset} images have side {known.image_size}, not {image_size}.")
    size = image_size or known.image_size
    return _module(known).load(dataset, split, image_size=size, data_dir=data_dir)


def training(
    dataset: str,
    split: str,
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    image_size: int | None = None,
    data_dir: str | None = None,
    device: str | None = "auto",
) -> "tf.data.Dataset":
    """An endless stream of augmented batches; batch k depends on (seed, k) only.

    Args:
        dataset, split, image_size, data_dir: as for `arrays`.
        global_batch_size: examples in each batch, over all replicas.
        seed: of the order and of every random draw.
        start_step: the first batch to deliver; later ones cost nothing to reach.
        device: where batches are prefetched to, see `stream.prefetch`.

    Returns:
        A dataset of uint8 images (global_batch_size, height, width, 3) and int32 labels
        (global_batch_size,).
    """
    from . import stream

    images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
    augmented = stream.training(
        images,
        labels,
        global_batch_size,
        seed=seed,
        start_step=start_step,
        augment=_module(info(dataset)).augmentation(dataset, images.shape[1]),
    )
    return stream.prefetch(augmented, device)


def evaluation(
    dataset: str,
    split: str,
    batch_size: int,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    replicas: int | None = None,
    device: str | None = "auto",
) -> "tf.data.Dataset":
    """Every example of the split once, in order, unaugmented.

    Args:
        dataset, split, image_size, data_dir, device: as for `training`.
        batch_size: examples in a batch; without `replicas` the last batch holds what is left.
        replicas: makes all batches one size that so many replicas share equally, and adds
            float32 weights (batch,), 1 for examples and 0 for what fills up the last batch.
            Under `MirroredStrategy` Keras 3.15 fails on a first batch with unequal shares, and
            TensorFlow 2.21 on an empty share. Weights act on `compile(weighted_metrics=...)`.

    Returns:
        A dataset of (images, labels), or of (images, labels, weights) with `replicas`.
    """
    from . import stream

    images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
    if replicas is None:
        batches = stream.evaluation(images, labels, batch_size)
    else:
        size = -(-min(batch_size, len(images)) // replicas) * replicas
        batches = stream.weighted_evaluation(images, labels, size)
    return stream.prefetch(batches, device)


def _module(known: DatasetInfo) -> types.ModuleType:
    return importlib.import_module(f"{__name__}.{known.module}")
