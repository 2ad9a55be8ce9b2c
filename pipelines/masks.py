"""Batches of images with masks, for segmentation: an endless stream, or every image once.

A data set is "shapes", which is made here; "voc" or "coco", a folder in one of these formats;
"folder", people's own images and masks, see `mask_files`; or "tfds/oxford_iiit_pet".

Images are uint8 (batch, height, width, 3), and masks uint8 (batch, height, width): the class of
each pixel, and 255 where it is ignored. Imports no TensorFlow until a stream is made.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import IGNORED as IGNORED

if TYPE_CHECKING:
    import tensorflow as tf

    from .maps import LabelMaps
    from .mask_files import Pairs

DATASETS = ("shapes", "voc", "coco", "folder")
# The classes of data sets of TensorFlow Datasets, and the number in the masks of the first.
TFDS = {"tfds/oxford_iiit_pet": (("pet", "background", "border"), 1)}
CROP_SIZE = (513, 513)  # DeepLab's, for VOC
SCALES = (0.5, 2.0)


def has_masks(dataset: str) -> bool:
    """Whether a data set's name is one of images with masks."""
    return dataset in DATASETS or dataset in TFDS


def check_name(dataset: str) -> None:
    """Raises `InputError` where no data set with masks has this name."""
    if has_masks(dataset):
        return
    if dataset.split("/")[:2] in (["tfds", "voc"], ["tfds", "coco"]):
        name = dataset.split("/")[1]
        raise InputError(
            f"{dataset} has no masks, for TensorFlow Datasets leaves them out: give "
            f"dataset={name} and data_dir=FOLDER, a copy as it is published."
        )
    raise unknown("data set of images with masks", dataset, [*DATASETS, *TFDS])


def training(
    dataset: str,
    split: str,
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    crop_size: tuple[int, int] | None = None,
    scales: tuple[float, float] = SCALES,
    scale: tuple[int, int] | None = None,
    flip: bool = True,
    class_names: Sequence[str] | None = None,
    exif_orientation: bool = False,
    max_corrupt: int = 100,
    parts: int = 1,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """An endless stream of batches; batch k depends on (seed, k) only.

    Each image is resized by a random factor, bilinearly, and its mask to the nearest labels; of
    both the same random window is cut, which is mirrored in half the cases. Beside smaller images
    it is filled up with grey, of which the labels are 255.

    Args:
        dataset: see above.
        split: its split, or a share of one such as "train[:90%]".
        global_batch_size: images in each batch, over all replicas.
        seed: of the order and of every random draw.
        start_step: the first batch to deliver.
        data_dir: the folder of "voc", "coco" and "folder", or where TensorFlow Datasets keeps its
            files.
        annotations: the JSON file of "coco", where it lies elsewhere.
        crop_size: height and width of what is delivered; (513, 513) by default, and the images' own
            for "shapes".
        scales: range of the factor.
        scale: (shorter side, most of the longer) that images have before, such as (520, 1040) for
            those of cameras; their own without.
        flip: whether images are mirrored, in half the cases.
        class_names: that the data set must have, in this order, such as those of a trained model.
        exif_orientation: whether photographs are turned as their cameras noted, see `exif`; give
            True where the masks are of the upright images.
        max_corrupt: how many images that cannot be decoded are left out, see `maps.training`.
        parts: each batch is delivered as so many equal smaller ones; `start_step` still counts
            whole ones.
        shard: (index, count) gives the index-th of count equal parts of each delivered batch.
        device: into whose memory batches are prefetched, see `stream.prefetch`.
        threads: of a pool of the pipeline's own.
        ram_budget: bytes that prefetched batches may take.

    Returns:
        A dataset of (images uint8 (B, *crop_size, 3), masks uint8 (B, *crop_size)).

    Raises:
        InputError: no such data set or split, an image without a mask or the other way round, or
            batches that cannot be divided as asked. What is wrong with a mask shows when it is
            read.
    """
    source = open_split(
        dataset,
        split,
        data_dir=data_dir,
        annotations=annotations,
        class_names=class_names,
        exif_orientation=exif_orientation,
    )
    return training_of(
        source,
        global_batch_size,
        seed=seed,
        start_step=start_step,
        crop_size=crop_size,
        scales=scales,
        scale=scale,
        flip=flip,
        max_corrupt=max_corrupt,
        parts=parts,
        shard=shard,
        device=device,
        threads=threads,
        ram_budget=ram_budget,
    )


def training_of(
    source: "LabelMaps",
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    crop_size: tuple[int, int] | None = None,
    scales: tuple[float, float] = SCALES,
    scale: tuple[int, int] | None = None,
    flip: bool = True,
    max_corrupt: int = 100,
    parts: int = 1,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """The stream of `training`, of what `open_split` opened; the other arguments are the same."""
    from . import maps, scenes, stream

    share = scenes.Share(global_batch_size, start_step, parts, *shard)
    batches = maps.training(
        source,
        share,
        seed=seed,
        crop_size=crop_size,
        scales=scales,
        scale=scale,
        flip=flip,
        max_corrupt=max_corrupt,
    )
    return stream.prefetch(batches, device, threads=threads, ram_budget=ram_budget)


def evaluation(
    dataset: str,
    split: str,
    batch_size: int,
    *,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    scale: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
    exif_orientation: bool = False,
    replicas: int | None = None,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
) -> "tf.data.Dataset":
    """Every image of the split once, in order and whole.

    In a batch of several, smaller images are filled up at the bottom and at the right, which a
    network sees: of images of many sizes, batches of one give what each image has alone.

    Args:
        dataset: as for `training`, like all that is not told here.
        split: see there.
        batch_size: images in a batch; without `replicas` the last batch holds what is left.
        data_dir: see there.
        annotations: see there.
        scale: (shorter side, most of the longer) of images and masks; their own without.
        class_names: see there.
        exif_orientation: see there.
        replicas: makes all batches one size that so many replicas share equally: copies fill up the
            last one, of which all pixels are ignored.
        shard: see there; with `replicas`.
        device: see there.
        threads: see there.

    Returns:
        A dataset of (images uint8 (B, H, W, 3), masks uint8 (B, H, W)), whose sides differ from
        batch to batch.

    Raises:
        InputError: as `training`.
    """
    source = open_split(
        dataset,
        split,
        data_dir=data_dir,
        annotations=annotations,
        class_names=class_names,
        exif_orientation=exif_orientation,
    )
    return evaluation_of(
        source,
        batch_size,
        scale=scale,
        replicas=replicas,
        shard=shard,
        device=device,
        threads=threads,
    )


def evaluation_of(
    source: "LabelMaps",
    batch_size: int,
    *,
    scale: tuple[int, int] | None = None,
    replicas: int | None = None,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
) -> "tf.data.Dataset":
    """The stream of `evaluation`, of what `open_split` opened; the other arguments are the same."""
    from . import maps, stream

    size = batch_size
    if replicas is not None:
        size = -(-min(batch_size, source.num_examples) // replicas) * replicas
    batches = maps.evaluation(source, size, scale=scale)
    if replicas is not None:
        batches = maps.filled(batches, size, *shard)
    return stream.prefetch(batches, device, threads=threads)


def open_split(
    dataset: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
    exif_orientation: bool = False,
) -> "LabelMaps":
    """Opens a split; the arguments are those of `training`.

    Returns:
        The source, whose `class_names` are in the order of the labels.

    Raises:
        InputError: as `training`.
    """
    check_name(dataset)
    if annotations is not None and dataset != "coco":
        raise InputError(f"annotations=FILE is for coco, not for {dataset}.")
    if dataset == "shapes":
        source = _shapes(split)
    elif dataset == "coco":
        source = _coco(data_dir, split, annotations, exif_orientation)
    elif dataset in DATASETS:
        pairs, problems = read(dataset, split, data_dir=data_dir)
        check_problems(problems, len(pairs.images))
        source = of_pairs(pairs, exif_orientation)
    else:
        from . import mask_records

        classes, first = TFDS[dataset]
        name = dataset.removeprefix("tfds/")
        source = mask_records.open_split(name, data_dir, split, classes, first, CROP_SIZE)
    if class_names is not None and tuple(class_names) != source.class_names:
        raise InputError(
            f"{dataset}/{split} has the classes {', '.join(source.class_names)}, and not "
            f"{', '.join(class_names)} in this order."
        )
    return source


def read(
    dataset: str, split: str, *, data_dir: str | os.PathLike | None = None
) -> "tuple[Pairs, list[str]]":
    """Lists a split of "voc" or "folder", and what is wrong with it, a sentence each.

    Raises:
        InputError: there is no such folder or split.
    """
    from . import mask_files

    return getattr(mask_files, dataset)(data_dir, split)


def check_problems(problems: Sequence[str], count: int) -> None:
    """Raises `InputError` with the first of the problems, or where there are no images."""
    from .annotations import MASKS_REMEDY

    if problems:
        others = len(problems) - 1
        also = f" There are {others} more faults: {MASKS_REMEDY}." if others else ""
        raise InputError(f"{problems[0]}{also}")
    if not count:
        raise InputError("The data set is empty: there are no images with masks.")


def of_pairs(pairs: "Pairs", exif_orientation: bool = False) -> "LabelMaps":
    """The source of files; classes without names are counted in all masks, and called 0, 1, ..."""
    import tensorflow as tf

    from . import maps, png, scenes

    def mask(row):
        return png.labels(tf.io.read_file(row["mask"]), row["mask_name"])

    classes = pairs.class_names or _numbers(pairs.all_masks)
    pixels = scenes.encoded(tf.io.read_file, exif_orientation)
    return maps.in_memory(pairs.images, pairs.masks, classes, CROP_SIZE, pixels, mask)


def _numbers(paths):
    """The names of classes that have none: "0" to the largest label, by all masks."""
    import tensorflow as tf

    from . import png, stream

    def largest(path):
        labels = png.labels(tf.io.read_file(path), path)
        return tf.reduce_max(tf.where(labels == IGNORED, tf.cast(0, tf.uint8), labels))

    names = tf.constant([os.fsencode(path) for path in paths])
    found = tf.data.Dataset.from_tensor_slices(names).map(
        largest, num_parallel_calls=os.cpu_count()
    )
    try:
        most = max(int(label) for label in stream.prefetch(found, None).as_numpy_iterator())
    except tf.errors.OpError as error:
        from resnet_keras.errors import told

        raise told(error) or InputError(f"Cannot read the masks: {error}") from error
    if most == 0:
        raise InputError(
            "All masks hold only the label 0, and 255, which is ignored: masks of two classes are "
            "written with 0 and 1, not with 0 and 255."
        )
    return tuple(map(str, range(most + 1)))


def _shapes(split):
    import numpy as np
    import tensorflow as tf

    from . import maps, shapes

    drawn = shapes.examples(split)
    images = tf.constant(np.stack([one.image for one in drawn]))
    labels = tf.constant(np.stack([one.mask for one in drawn]))
    numbers = shapes.numbers(split)
    names = [f"shapes/{number}" for number in numbers.tolist()]

    def place(key):
        number = tf.strings.to_number(tf.strings.substr(key, len("shapes/"), -1), tf.int32)
        return number - int(numbers[0])

    def pixels(key, size, wanted):
        del size, wanted
        return images[place(key)]

    return maps.in_memory(
        names,
        names,
        ("background", *shapes.CLASSES),
        (shapes.SIDE, shapes.SIDE),
        pixels,
        lambda row: labels[place(row["mask"])],
    )


def _coco(data_dir, split, annotations, exif_orientation):
    import tensorflow as tf

    from . import coco, maps, mask_files, outlines, scenes

    content, problems = coco.read(data_dir, split, file=annotations, outlined=True)
    check_problems([fault.text for fault in problems], len(content.paths))
    begins = content.row_splits

    def draw(number):
        own = slice(begins[number], begins[number + 1])
        labels, crowd = content.labels[own] + 1, content.crowd[own]
        return outlines.label_map(content.outlines[own], labels, crowd, *content.sizes[number])

    def mask(row):
        labels = tf.numpy_function(draw, [row["number"]], tf.uint8, stateful=False)
        return tf.ensure_shape(labels, [None, None])

    names = content.paths
    where = [f"the annotation of {path}" for path in names]
    classes = ("background", *content.class_names)
    mask_files.check_count(len(classes), "With the background, the file of COCO's format")
    pixels = scenes.encoded(tf.io.read_file, exif_orientation)
    return maps.in_memory(names, where, classes, CROP_SIZE, pixels, mask)
