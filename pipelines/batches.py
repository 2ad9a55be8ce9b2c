"""Batches of any data set for `model.fit`: an endless training stream, or every example once.

Imports no TensorFlow until a stream is made.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError

from .catalog import arrays, check_no_exif, check_padding, info, module_of, open_split
from .view import View, test_side

if TYPE_CHECKING:
    import tensorflow as tf


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
    padding: int | None = None,
    flip: bool | None = None,
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
        dataset: a key of `DATASETS`, "folder" or "tfds/NAME".
        split: its split, or a share of one such as "train[:90%]".
        global_batch_size: examples in each batch, over all replicas.
        seed: of the order and of every random draw.
        start_step: the first batch to deliver; later ones cost nothing to reach. (TFDS's records
            are read from the beginning of their epoch on, but not decoded.)
        image_size: side in pixels, for data sets that can be resized (not CIFAR).
        data_dir: the folder of "folder", or where TensorFlow Datasets keeps its files.
        view: of encoded images; `image_size` takes its place where given.
        exif_orientation: of encoded images, see `open_split`.
        padding: of small images in memory: pixels on each side, before a random crop; None for the
            data set's own, 4 (Sec. 4.2).
        flip: of small images in memory: mirror half of them; None for the data set's own, which is
            False for digits, those of MNIST and SVHN among them.
        max_corrupt: how many images that cannot be decoded are replaced, see `encoded.training`.
        parts: each batch is delivered as so many equal smaller ones, for gradients that are
            accumulated over them; `start_step` still counts whole ones.
        shard: (index, count) gives the index-th of count equal parts of each delivered batch, for
            a host among several.
        services: addresses "grpc://HOST:PORT" of hosts that make the batches in turn, see
            `service`; encoded images only.
        device: into whose memory batches are prefetched, see `stream.prefetch`.
        threads: of a pool of the pipeline's own.
        ram_budget: bytes that prefetched batches may take.

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
    facts = info(dataset, data_dir)
    augment = _augmentation(dataset, facts, image_size, padding, flip)
    if not facts.in_memory:
        from . import encoded, service

        view = view or View()
        view = view._replace(image_size=image_size or view.image_size)
        source = open_split(dataset, split, data_dir=data_dir, exif_orientation=exif_orientation)

        def batches_of(chunks):
            return encoded.training(source, chunks, seed=seed, view=view, max_corrupt=max_corrupt)

        # What a chunk holds depends on its position only, and not on where batches end.
        chunks = stream.Chunks(global_batch_size // parts, start_step * parts, *shard)
        batches = (
            service.distribute(batches_of, chunks, services) if services else batches_of(chunks)
        )
        return stream.prefetch(batches, device, threads=threads, ram_budget=ram_budget)
    if view is not None or services:
        raise InputError(f"{dataset} is held in memory: view and services are for photographs.")
    check_no_exif(dataset, exif_orientation)
    images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
    batches = stream.training(
        images,
        labels,
        global_batch_size,
        seed=seed,
        start_step=start_step,
        augment=augment,
    )
    if parts > 1:  # cut after the draws, which are made for whole batches
        batches = batches.unbatch().batch(global_batch_size // parts, drop_remainder=True)
    batches = stream.part(batches, *shard)
    return stream.prefetch(batches, device, threads=threads, ram_budget=ram_budget)


def _augmentation(dataset, facts, image_size, padding, flip):
    """How images in memory are varied; None for photographs, and for what is not varied."""
    if facts.padding is not None:
        from . import augment

        return augment.padded_crop(
            facts.image_size,
            facts.mean,
            facts.padding if padding is None else padding,
            facts.flip if flip is None else flip,
        )
    check_padding(dataset, padding, flip)
    if not facts.in_memory:
        return None
    return module_of(facts).augmentation(dataset, image_size or facts.image_size)


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
        dataset: as for `training`.
        split: as for `training`.
        batch_size: examples in a batch; without `replicas` the last batch holds what is left.
        image_size: side in pixels of what is delivered, where the data set can be resized.
        data_dir: as for `training`.
        exif_orientation: of encoded images, see `open_split`.
        replicas: makes all batches one size that so many replicas share equally, and adds
            float32 weights (batch,), 1 for examples and 0 for what fills up the last batch.
            Under `MirroredStrategy` Keras 3.15 fails on a first batch with unequal shares, and
            TensorFlow 2.21 on an empty share. Weights act on `compile(weighted_metrics=...)`.
        shard: as for `training`; with `replicas`. (Every host decodes all images.)
        device: into whose memory batches are prefetched, see `stream.prefetch`.
        threads: of a pool of the pipeline's own.
        ram_budget: bytes that prefetched batches may take.
        **protocol: `resize`, `interpolation`, `crops`, `crop_mode` and `antialias` of
            `encoded.evaluation`.

    Returns:
        A dataset of (images, labels), or of (images, labels, weights) with `replicas`.

    Raises:
        InputError: a protocol for a data set in memory, or what `arrays` and `open_split` raise.
    """
    import tensorflow as tf

    from . import stream

    facts = info(dataset, data_dir)
    if facts.in_memory:
        if protocol:
            raise InputError(f"{dataset} is evaluated as it is, without {', '.join(protocol)}.")
        check_no_exif(dataset, exif_orientation)
        images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
        examples, batches_of = len(labels), functools.partial(stream.evaluation, images, labels)
    else:
        from . import encoded

        source = open_split(dataset, split, data_dir=data_dir, exif_orientation=exif_orientation)
        side = image_size or facts.image_size
        view = {"image_size": side, "resize": test_side(side), **protocol}
        examples = source.num_examples
        batches_of = functools.partial(encoded.evaluation, source, **view)
    if replicas is None:
        batches = batches_of(batch_size)
    else:
        size = -(-min(batch_size, examples) // replicas) * replicas
        batches = stream.part(stream.weighted(batches_of(size), size), *shard)
        batches = batches.apply(tf.data.experimental.assert_cardinality(-(-examples // size)))
    return stream.prefetch(
        batches, device, threads=threads, ram_budget=ram_budget, batch_size=batch_size
    )
