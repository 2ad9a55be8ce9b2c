"""Whether images with boxes are all there, with boxes inside them and classes that agree."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError, told

from .. import exif, objects, records, shapes, stream, voc
from ..annotations import Annotations, faults
from ..decode import attempt
from ..source import Source
from .examination import examine, header_size, images
from .finding import LISTED, Finding, listed, many

SPLITS = ("train", "val", "test")


def boxes(
    dataset: str,
    data_dir: str | os.PathLike | None,
    *,
    annotations: str | os.PathLike | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks a data set of images with boxes; the arguments are those of `findings`.

    Raises:
        InputError: there is no such folder.
    """
    if dataset in objects.MADE:
        count = sum(len(numbers) for numbers in shapes.NUMBERS.values())
        yield Finding(True, f"{dataset} are made when they are asked for: {count:,} images")
        return
    if dataset not in objects.DATASETS:
        yield from _prepared(dataset, data_dir, decode, limit)
        return
    if data_dir is None or not Path(data_dir).expanduser().is_dir():
        objects.read(dataset, "train", data_dir=data_dir)  # raises
    classes = {}
    for split in _splits(dataset, data_dir, annotations):
        try:
            content, problems = objects.read(
                dataset, split, data_dir=data_dir, annotations=annotations
            )
        except InputError as error:
            # People's own images may have train alone; a share of it is held out then.
            yield Finding(split != "train" and "has no" in str(error), str(error))
            continue
        classes[split] = content.class_names
        yield _contents(split, content)
        every = [fault.text for fault in (*problems, *faults(content))]
        yield from told_faults(every, split)
        yield from images(split, content.paths, decode=decode, limit=limit)
        yield from image_sizes(split, content, limit)
    yield from _same_classes(classes)


def _splits(dataset, data_dir, annotations):
    if annotations is not None:
        return ("train",)
    if dataset == "voc":
        lists = voc.folder(data_dir) / "ImageSets" / "Main"
        there = [split for split in SPLITS if (lists / f"{split}.txt").is_file()]
        return there or ["trainval"]
    return SPLITS[:2]


def _contents(split, content: Annotations):
    counts = np.bincount(content.images, minlength=len(content.paths))
    empty = int((counts == 0).sum())
    also = [f"{many(empty, 'image')} without any"] if empty else []
    also += [many(int(content.crowd.sum()), "crowd region")] if content.crowd.any() else []
    also += [f"{int(content.difficult.sum()):,} difficult"] if content.difficult.any() else []
    return Finding(
        bool(content.paths),
        f"{split}: {many(len(content.paths), 'image')} with {many(len(content.boxes), 'object')} "
        f"of {many(len(content.class_names), 'class')}{''.join(f', {text}' for text in also)}",
    )


def told_faults(texts: Sequence[str], split: str) -> Iterator[Finding]:
    """Each fault of annotations in a sentence of its own, up to so many."""
    for text in texts[:LISTED]:
        yield Finding(False, text)
    if len(texts) > LISTED:
        yield Finding(False, f"{split}: {len(texts) - LISTED:,} more faults of annotations")


def image_sizes(split: str, content: Annotations, limit: int) -> Iterator[Finding]:
    """Finds images of other sizes than their annotations say."""
    paths = tf.constant([os.fsencode(path) for path in content.paths[: limit or None]])
    expected = tf.constant(content.sizes[: limit or None])

    def look(path):
        contents = tf.io.read_file(path)
        return tf.concat([header_size(contents), [exif.orientation(contents)]], axis=0)

    def compare(paths, expected):
        good, found = attempt(look, (paths,), tf.TensorSpec([3], tf.int32))
        return tf.gather(paths, good), tf.gather(expected, good), found

    files = tf.data.Dataset.from_tensor_slices((paths, expected)).batch(stream.CHUNK)
    files = files.map(compare, num_parallel_calls=os.cpu_count(), deterministic=True)
    wrong, turned = [], []
    for names, sizes, found in stream.prefetch(files, None).as_numpy_iterator():
        for name, size, (height, width, orientation) in zip(names, sizes, found, strict=True):
            if tuple(size) == (height, width):
                continue
            is_turned = orientation > 4 and tuple(size) == (width, height)
            (turned if is_turned else wrong).append(os.fsdecode(name))
    if wrong:
        what = "of another size than their annotations say"
        yield Finding(False, f"{split}: {listed(wrong, 'image', what)}")
    if turned:
        what = "with boxes about the upright image, and turned by EXIF (give exif_orientation=True)"
        yield Finding(False, f"{split}: {listed(turned, 'image', what)}")


def _same_classes(classes):
    first, *others = classes or [None]
    for split in others:
        if classes[split] != classes[first]:
            differing = sorted(set(classes[split]) ^ set(classes[first]))
            differ = f" ({', '.join(differing[:LISTED])})" if differing else ", in another order"
            yield Finding(False, f"{split} has other classes than {first}{differ}")


def _prepared(dataset, data_dir, decode, limit):
    name = dataset.removeprefix("tfds/")
    builder = records.loaded(name, data_dir)
    for split, info in builder.info.splits.items():
        if not info.num_examples or (name, split) == ("voc/2012", "test"):
            continue
        source = objects.open_split(dataset, split, data_dir=data_dir)
        yield Finding(True, f"{split}: {source.num_examples:,} images of {dataset}")
        try:
            rows = source.ordered().take(limit or -1)
            count = sum(int((row["labels"] >= 0).sum()) for row in rows.as_numpy_iterator())
            yield Finding(True, f"{split}: {many(count, 'object')}, all inside their images")
        except tf.errors.OpError as error:
            mistake = told(error)
            if mistake is None:
                raise
            yield Finding(False, f"{split}: {mistake}")
            continue
        yield from examine(split, _without_boxes(source), decode=decode, limit=limit).findings


def _without_boxes(scenes):
    def ordered():
        return scenes.ordered().map(lambda row: (row["key"], 0, row["name"]))

    return Source(scenes.num_examples, (), scenes.training, ordered, tf.identity)
