"""Whether images with masks are all there, and masks have their images' sizes and known labels."""

import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from resnet_keras.errors import InputError, told

from .. import coco, mask_files, masks, shapes, stream
from ..maps import LabelMaps, check_pair
from .boxes import image_sizes, told_faults
from .examination import images
from .finding import LISTED, Finding, many

SPLITS = ("train", "val", "test")


def label_masks(
    dataset: str,
    data_dir: str | os.PathLike | None,
    *,
    annotations: str | os.PathLike | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks a data set of images with masks; the arguments are those of `findings`.

    Raises:
        InputError: there is no such data set or folder.
    """
    masks.check_name(dataset)
    if dataset == "shapes":
        count = sum(len(numbers) for numbers in shapes.NUMBERS.values())
        yield Finding(True, f"shapes are made when they are asked for: {count:,} images")
        return
    if data_dir is None or not Path(data_dir).expanduser().is_dir():
        masks.open_split(dataset, "train", data_dir=data_dir)  # raises, but for TFDS's own folder
    options = {"decode": decode, "limit": limit}
    for split in _splits(dataset, data_dir, annotations):
        try:
            if dataset == "coco":
                yield from _outlines(split, data_dir, annotations, **options)
            else:
                yield from _pairs(dataset, split, data_dir, **options)
        except InputError as error:
            # People's own images may have train alone; a share of it is held out then.
            yield Finding(split != "train" and "has no" in str(error), str(error))


def _splits(dataset, data_dir, annotations):
    if annotations is not None:
        return ("train",)
    if dataset == "voc":
        lists = mask_files.voc_root(data_dir) / mask_files.LISTS
        return [split for split in SPLITS if (lists / f"{split}.txt").is_file()] or ["train"]
    if dataset == "folder":
        there = mask_files.split_folders(Path(data_dir).expanduser())
        return ["trainval"] if "" in there else list(there) or ["train"]
    return SPLITS[:2] if dataset == "coco" else ("train", "test")


def _pairs(dataset, split, data_dir, *, decode, limit):
    """Findings about files, or about TFDS's records."""
    if dataset in masks.DATASETS:
        pairs, problems = masks.read(dataset, split, data_dir=data_dir)
        yield from told_faults(problems, split)
        if not pairs.images:
            yield Finding(False, f"{split}: there are no images with masks")
            return
        yield from images(split, pairs.images, decode=decode, limit=limit)
        try:
            source = masks.of_pairs(pairs)
        except InputError as error:  # classes cannot be counted: why, all masks tell
            nameless = pairs._replace(class_names=tuple(map(str, range(masks.IGNORED))))
            found = _masks(split, masks.of_pairs(nameless), limit)
            faulty = [finding for finding in found if not finding.ok]
            yield from faulty or [Finding(False, _sentence(error))]
            return
    else:
        source = masks.open_split(dataset, split, data_dir=data_dir)
    yield _contents(split, source)
    yield from _masks(split, source, limit)


def _contents(split, source: LabelMaps):
    count = many(source.num_examples, "image")
    classes = many(len(source.class_names), "class")
    return Finding(True, f"{split}: {count} with masks of {classes}")


def _masks(split, source: LabelMaps, limit):
    """Decodes images and masks; a sentence for each that cannot be used, up to so many."""
    rows = source.ordered().take(limit or -1)
    checked = rows.map(lambda row: check_pair(source, row), num_parallel_calls=os.cpu_count())
    good = stream.prefetch(checked.ignore_errors(), None).as_numpy_iterator()
    numbers = {int(number) for number in good}
    wanted = min(limit or source.num_examples, source.num_examples)
    if len(numbers) == wanted:
        yield Finding(True, f"{split}: all {wanted:,} masks fit their images and classes")
        return
    faulty = rows.filter(lambda row: ~tf.reduce_any(row["number"] == sorted({-1, *numbers})))
    for row in faulty.take(LISTED):
        try:
            check_pair(source, row)
        except tf.errors.OpError as error:
            yield Finding(False, f"{split}: {_sentence(told(error) or 'cannot be read')}")
    count = wanted - len(numbers)
    if count > LISTED:
        yield Finding(False, f"{split}: {count - LISTED:,} more masks that cannot be used")


def _sentence(mistake):
    """What is wrong, without the advice to run what is being run."""
    return str(mistake).split("; `python -m")[0]


def _outlines(split, data_dir, annotations, *, decode, limit):
    """Findings about COCO's file."""
    content, problems = coco.read(data_dir, split, file=annotations, outlined=True)
    objects = many(len(content.boxes), "object")
    classes = many(len(content.class_names), "class")
    count = many(len(content.paths), "image")
    yield Finding(
        bool(content.paths), f"{split}: {count} with {objects} of {classes} and the background"
    )
    yield from told_faults([fault.text for fault in problems], split)
    yield from images(split, content.paths, decode=decode, limit=limit)
    yield from image_sizes(split, content, limit)
