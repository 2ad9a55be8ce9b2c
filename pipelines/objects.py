"""Batches of images with boxes, for detection: an endless training stream, or every image once.

A data set is "shapes" or "main_shapes", which are made here; "coco" or "voc", a folder in one of
these formats; "ilsvrc", ImageNet's with the boxes of its localization task; or "tfds/coco/2017",
"tfds/voc/2007" and the like of TensorFlow Datasets, of which "tfds/voc/2007+2012" takes both
together.

Images are uint8 (batch, height, width, 3), at the paper's scale (shorter side 600 and the longer
one at most 1000), and padded with zeros at the bottom and at the right to one of a few sizes. Boxes
are float32 xyxy in the pixels of the delivered image and half-open: [0, 0, 1, 1] is its first
pixel. Imports no TensorFlow until a stream is made.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_keras.errors import InputError, unknown

if TYPE_CHECKING:
    import tensorflow as tf

    from .annotations import Annotations, Fault
    from .scenes import Scenes

MADE = ("shapes", "main_shapes")
DATASETS = (*MADE, "coco", "voc", "ilsvrc")
MASKED = (*MADE, "coco")  # with masks of objects, too
TFDS = ("tfds/coco", "tfds/voc")
SCALE = (600, 1000)  # of [32]: shorter side, most of the longer


def has_objects(dataset: str) -> bool:
    """Whether a data set's name is one of images with boxes."""
    return dataset in DATASETS or "/".join(dataset.split("/")[:2]) in TFDS


def training(
    dataset: str,
    split: str,
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    scales: Sequence[tuple[int, int]] | None = None,
    flip: bool = True,
    class_names: Sequence[str] | None = None,
    exif_orientation: bool = False,
    max_corrupt: int = 100,
    max_faulty: int = 0,
    masks: bool = False,
    parts: int = 1,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """An endless stream of batches; batch k depends on (seed, k) only.

    Args:
        dataset: see above.
        split: its split, or a share of one such as "train[:90%]".
        global_batch_size: images in each batch, over all replicas.
        seed: of the order and of every random draw.
        start_step: the first batch to deliver.
        data_dir: the folder of "coco", "voc" and "ilsvrc", or where TensorFlow Datasets keeps its
            files.
        annotations: the JSON file of "coco", where it lies elsewhere.
        scales: of (shorter side, most of the longer side), one of which is drawn for each image;
            ((600, 1000),) by default, and the images' own for those that are made here.
        flip: whether images are mirrored, in half the cases.
        class_names: that the data set must have, in this order, such as those of a trained model.
        exif_orientation: whether photographs are turned as their cameras noted, see `exif`; give
            True where the boxes are about the upright images.
        max_corrupt: how many images that cannot be decoded are left out, see `scenes.training`.
        max_faulty: how many objects with faulty boxes are left out, with a warning. (Of TFDS's
            records those without area always are, and other faults are errors.)
        masks: whether objects have masks, too: of "shapes" and "coco", by pycocotools.
        parts: each batch is delivered as so many equal smaller ones; `start_step` still counts
            whole ones.
        shard: (index, count) gives the index-th of count equal parts of each delivered batch.
        device: into whose memory batches are prefetched, see `stream.prefetch`.
        threads: of a pool of the pipeline's own.
        ram_budget: bytes that prefetched batches may take.

    Returns:
        A dataset of ({"image": uint8 (B, H, W, 3), "size": int32 (B, 2)}, {"boxes": float32 (B, N,
        4), "labels": int32 (B, N), "crowd": bool (B, N), "key": int32 (B, 2)}). The size is the
        height and width without padding; N is the most objects of an image in the split. Where
        there is no object, the label is -1 and the box 0. The key is a random number of the image's
        place in the stream, for draws in the model. Images without objects are there too. With
        `masks` there is also "masks": uint8 (B, N, 56, 56), of each object within its box, see
        `instances`; of crowd regions it is 0.

    Raises:
        InputError: no such data set or split, a fault in its annotations, which the message names,
            or batches that cannot be divided as asked.
    """
    source = open_split(
        dataset,
        split,
        data_dir=data_dir,
        annotations=annotations,
        class_names=class_names,
        exif_orientation=exif_orientation,
        max_faulty=max_faulty,
        masks=masks,
    )
    return training_of(
        source,
        global_batch_size,
        seed=seed,
        start_step=start_step,
        scales=scales,
        flip=flip,
        max_corrupt=max_corrupt,
        parts=parts,
        shard=shard,
        device=device,
        threads=threads,
        ram_budget=ram_budget,
    )


def training_of(
    source: "Scenes",
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    scales: Sequence[tuple[int, int]] | None = None,
    flip: bool = True,
    max_corrupt: int = 100,
    parts: int = 1,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """The stream of `training`, of what `open_split` opened; the other arguments are the same."""
    from . import scenes, stream

    share = scenes.Share(global_batch_size, start_step, parts, *shard)
    share.check()
    batches = scenes.training(
        source, share, seed=seed, scales=scales, flip=flip, max_corrupt=max_corrupt
    )
    return stream.prefetch(
        batches,
        device,
        threads=threads,
        ram_budget=ram_budget,
        batch_bytes=_bytes(scales or (source.scale,), share.batch_size),
    )


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
    max_faulty: int = 0,
    masks: bool = False,
    replicas: int | None = None,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """Every image of the split once, at one scale, images of like shape together.

    Args:
        dataset: as for `training`, like all that is not told here.
        split: see there.
        batch_size: images in a batch; without `replicas` the last batch holds what is left.
        data_dir: see there.
        annotations: see there.
        scale: (shorter side, most of the longer side).
        class_names: see there.
        exif_orientation: see there.
        max_faulty: see there.
        masks: see there.
        replicas: makes all batches one size that so many replicas share equally, and adds float32
            weights (B,), 1 for images and 0 for the copies that fill up the last batch.
        shard: see there; with `replicas`.
        device: see there.
        threads: see there.
        ram_budget: see there.

    Returns:
        A dataset as `training`'s, with more among the targets: "image_id" int64 (B,), the file's of
        "coco" and else the image's place in the split; "scale" float32 (B, 2), by which x and y of
        boxes are to be divided to be in pixels of the original image; and for scoring, as they are
        in the files, "original_boxes" float64 (B, N, 4), "difficult" bool (B, N) and "area" float64
        (B, N). With `replicas`, of (features, targets, weights).

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
        max_faulty=max_faulty,
        masks=masks,
    )
    return evaluation_of(
        source,
        batch_size,
        scale=scale,
        replicas=replicas,
        shard=shard,
        device=device,
        threads=threads,
        ram_budget=ram_budget,
    )


def evaluation_of(
    source: "Scenes",
    batch_size: int,
    *,
    scale: tuple[int, int] | None = None,
    replicas: int | None = None,
    shard: tuple[int, int] = (0, 1),
    device: str | None = "auto",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tf.data.Dataset":
    """The stream of `evaluation`, of what `open_split` opened; the other arguments are the same."""
    from . import scenes, stream

    size = batch_size
    if replicas is not None:
        size = -(-min(batch_size, source.num_examples) // replicas) * replicas
    batches = scenes.evaluation(source, size, scale=scale)
    if replicas is not None:
        batches = scenes.weighted(batches, size, *shard)
    return stream.prefetch(
        batches,
        device,
        threads=threads,
        ram_budget=ram_budget,
        batch_bytes=_bytes((scale or source.scale,), size),
    )


def _bytes(scales, batch_size):
    """Of the pixels of the largest batch."""
    from .buckets import buckets

    height, width = buckets(scales)[-1]
    return 3 * height * width * batch_size


def open_split(
    dataset: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
    exif_orientation: bool = False,
    max_faulty: int = 0,
    masks: bool = False,
) -> "Scenes":
    """Opens a split; the arguments are those of `training`.

    Returns:
        The source, whose `class_names` and `category_ids` are in the order of the labels. With
        `masks`, its streams deliver masks.

    Raises:
        InputError: as `training`.
    """
    source = _open(dataset, split, data_dir, annotations, exif_orientation, max_faulty, masks)
    if class_names is not None and tuple(class_names) != source.class_names:
        raise InputError(
            f"{dataset}/{split} has the classes {', '.join(source.class_names)}, and not "
            f"{', '.join(class_names)} in this order."
        )
    return source


def _open(dataset, split, data_dir, annotations, exif_orientation, max_faulty, masks):
    from . import instances, scenes
    from .annotations import checked

    if annotations is not None and dataset != "coco":
        raise InputError(f"annotations=FILE is for coco, not for {dataset}.")
    if masks:
        check_masks(dataset)
    if dataset in MADE:
        return _shapes(dataset, split, masks)
    if dataset in DATASETS:
        import tensorflow as tf

        content, problems = read(
            dataset, split, data_dir=data_dir, annotations=annotations, masks=masks
        )
        kept = checked(content, problems, max_faulty=max_faulty, outlined=masks)
        if masks:
            spared = max_faulty - (len(content.boxes) - len(kept.boxes))
            kept = instances.checked(kept, max_faulty=spared)
        pixels = scenes.encoded(tf.io.read_file, exif_orientation)
        return scenes.in_memory(kept, pixels, SCALE, masks=masks)
    if has_objects(dataset):
        from . import object_records

        name = dataset.removeprefix("tfds/")
        return object_records.open_split(name, data_dir, split, exif_orientation)
    raise unknown("dataset", dataset, [*DATASETS, *(f"{name}/YEAR" for name in TFDS)])


def read(
    dataset: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    masks: bool = False,
) -> "tuple[Annotations, list[Fault]]":
    """Reads the files of a split of "coco", "voc" or "ilsvrc", and what is wrong with them.

    With `masks`, the objects' outlines are read, which "coco" has.

    Raises:
        InputError: there are none, or they are of another format.
    """
    from . import coco, ilsvrc, voc

    if dataset == "coco":
        return coco.read(data_dir, split, file=annotations, outlined=masks)
    if dataset == "ilsvrc":
        return ilsvrc.read(data_dir, split)
    return voc.read(data_dir, split)


def check_masks(dataset: str) -> None:
    """Raises `InputError` where a data set has no masks of objects."""
    if dataset not in MASKED:
        raise InputError(
            f"masks are read of {', '.join(MASKED)}, not of {dataset}, which has boxes alone here."
        )


def _shapes(name, split, masks):
    import numpy as np
    import tensorflow as tf

    from . import scenes, shapes
    from .annotations import checked

    drawn = shapes.examples(split, name=name)
    images = tf.constant(np.stack([one.image for one in drawn]))
    content = checked(shapes.annotations(split, drawn, name, outlined=masks))
    first = int(shapes.numbers(split)[0])

    def pixels(key, size, wanted):
        del size, wanted
        number = tf.strings.to_number(tf.strings.substr(key, len(f"{name}/"), -1), tf.int32)
        return images[number - first]

    return scenes.in_memory(content, pixels, (shapes.SIDES[name],) * 2, masks=masks)
