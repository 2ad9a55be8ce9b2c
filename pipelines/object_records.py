"""COCO and Pascal VOC of TensorFlow Datasets, as encoded images with boxes in record shards."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from resnet_keras.errors import InputError

from . import decode, records
from .annotations import TOLERANCE
from .encoded import fail_if, listed
from .scenes import Scenes, encoded

SCALE = (600, 1000)
MOST_OBJECTS = 100  # COCO has up to 93 in an image, VOC 56
# TFDS numbers COCO's 80 classes without the gaps that their ids have.
_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _GAPS)
_NEAR = 0.01  # pixels: TFDS keeps whole corners as float32 shares of the image's sides


def open_split(
    dataset: str, data_dir: str | None, split: str, exif_orientation: bool = False
) -> Scenes:
    """Opens a split, prepared on disk or by TensorFlow Datasets on first use.

    The order is that of `records.open_split`. TFDS keeps VOC's corners as they stand in the XML
    files, counted from 1 and inclusive: x1 and y1 are moved by one pixel. Boxes without area, of
    which COCO has two, are left out.

    Args:
        dataset: "voc", "voc/2007", "voc/2012", "coco", "coco/2014" or "coco/2017"; or several of
            one name, "voc/2007+2012", whose splits of this name are taken together: one after the
            other, and mixed in training.
        data_dir: TFDS's folder; None takes TFDS's default.
        split: "train", "val" (TFDS's "validation"), "trainval" (VOC's name of both), "test", or a
            share of one.
        exif_orientation: see `exif`.

    Raises:
        InputError: no such data set or split, or it is not on disk and cannot be made.
    """
    kind, _, years = dataset.partition("/")
    names = [f"{kind}/{year}" for year in years.split("+")] if years else [kind]
    if kind == "coco" and len(names) > 1:
        raise InputError(f"{dataset}: COCO's years are of the same images; take one.")
    if len(set(names)) < len(names):
        raise InputError(f"{dataset} names a data set twice.")
    parts = [_part(name, data_dir, split) for name in names]
    classes = {tuple(part[0].info.features["objects"]["label"].names) for part in parts}
    if len(classes) > 1:
        raise InputError(f"The data sets of {dataset} have other classes than each other.")
    readers = [reader for _, reader in parts]
    counts = [
        records.count(reader(), f"{name}/{split}")
        for name, (_, reader) in zip(names, parts, strict=True)
    ]
    row_of = _voc if kind == "voc" else _coco
    raw_epoch = functools.partial(_mixed, readers, counts)

    def read_epoch(shuffle_seed=None):
        numbered = raw_epoch(shuffle_seed).enumerate()
        return numbered.map(lambda number, raw: _row(number, raw, row_of(raw)))

    examples = sum(counts)

    @tf.autograph.experimental.do_not_convert
    def training(seed, first, size):
        rows = records.shuffled(read_epoch, examples, seed, first * size)
        return rows.batch(size, drop_remainder=True).enumerate(first)

    (classes,) = classes
    ids = COCO_IDS if kind == "coco" and len(classes) == len(COCO_IDS) else range(len(classes))
    pixels = encoded(tf.identity, exif_orientation)
    return Scenes(examples, classes, tuple(ids), MOST_OBJECTS, SCALE, training, read_epoch, pixels)


def _part(dataset: str, data_dir: str | None, split: str) -> tuple[Any, Callable]:
    """TFDS's builder of one data set, and what reads a split of it."""
    builder = records.loaded(dataset, data_dir)
    if dataset == "voc/2012" and split == "test":
        raise InputError("voc/2012's test split has no boxes: PASCAL's server scores it.")
    names = ("train", "val") if split == "trainval" else (split,)
    name = "+".join(records.split_name(builder, part) for part in names)
    return builder, records.reader(builder, name)


@tf.autograph.experimental.do_not_convert
def _mixed(readers, counts, shuffle_seed=None):
    """Reads several data sets once: one after the other or, with a seed, evenly mixed."""
    first, *others = [reader(shuffle_seed) for reader in readers]
    if not others:
        return first
    if shuffle_seed is None:
        return functools.reduce(tf.data.Dataset.concatenate, others, first)
    turns = tf.repeat(tf.range(len(counts), dtype=tf.int64), counts)
    seed = tf.stack([tf.cast(shuffle_seed, tf.int64), 0])
    turns = tf.random.experimental.stateless_shuffle(turns, seed)
    choices = tf.data.Dataset.from_tensor_slices(turns)
    return tf.data.Dataset.choose_from_datasets([first, *others], choices)


def _voc(raw):
    objects = raw["objects"]
    size = _size(raw["image"])
    corners = _pixels(objects["bbox"], size)
    boxes = corners - tf.constant([1.0, 1.0, 0.0, 0.0], tf.float64)
    return {
        "image_id": tf.constant(-1, tf.int64),
        "size": size,
        "name": raw["image/filename"],
        "boxes": boxes,
        "crowd": tf.zeros_like(objects["is_difficult"]),
        "difficult": objects["is_difficult"],
        "area": tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=1),
    }


def _coco(raw):
    objects = raw["objects"]
    size = _size(raw["image"])
    return {
        "image_id": raw["image/id"],
        "size": size,
        "name": raw["image/filename"],
        "boxes": _pixels(objects["bbox"], size),
        "crowd": objects["is_crowd"],
        "difficult": tf.zeros_like(objects["is_crowd"]),
        "area": tf.cast(objects["area"], tf.float64),
    }


def _size(contents):
    """Height and width, int32 (2,), of an encoded image."""
    shape = tf.cond(
        decode.is_jpeg(contents),
        lambda: tf.io.extract_jpeg_shape(contents)[:2],
        lambda: tf.shape(decode.decode(contents))[:2],
    )
    return tf.ensure_shape(shape, [2])


def _pixels(shares, size):
    """TFDS's ymin, xmin, ymax, xmax in shares of the sides as float64 x1, y1, x2, y2 in pixels."""
    sides = tf.cast(tf.gather(size, [1, 0, 1, 0]), tf.float64)
    boxes = tf.gather(tf.cast(shares, tf.float64), [1, 0, 3, 2], axis=1) * sides
    whole = tf.round(boxes)
    return tf.where(tf.abs(boxes - whole) < _NEAR, whole, boxes)


def _row(number, raw, row):
    """A row as `Scenes` has it; fails where a box is wrong, and leaves out those without area."""
    labels = tf.cast(raw["objects"]["label"], tf.int32)
    boxes, size = row["boxes"], row["size"]
    limits = tf.cast(tf.gather(size, [1, 0, 1, 0]), tf.float64)
    cut = tf.clip_by_value(boxes, tf.zeros([], tf.float64), limits)
    inside = tf.reduce_all(tf.abs(cut - boxes) <= TOLERANCE, axis=1)  # which NaN is not
    upright = tf.reduce_all(boxes[:, 2:] >= boxes[:, :2], axis=1)
    kept = tf.reduce_all(cut[:, 2:] > cut[:, :2], axis=1)
    place = listed(row["name"])
    wrong = [place, ": a box is not finite, inverted or leaves its image"]
    many = [place, f": there are more than {MOST_OBJECTS} objects"]
    with tf.control_dependencies(
        [
            fail_if(~tf.reduce_all(inside & upright), wrong),
            fail_if(tf.size(labels) > MOST_OBJECTS, many),
        ]
    ):
        columns = {**row, "labels": labels, "boxes": cut}
        objects = {
            name: _filled(tf.boolean_mask(columns[name], kept), default)
            for name, default in _OBJECTS.items()
        }
    image_id = tf.where(row["image_id"] < 0, number, row["image_id"])
    whole = {"key": raw["image"], "name": row["name"], "number": number, "size": size}
    return {**whole, "image_id": image_id, **objects}


_OBJECTS = {"boxes": 0, "labels": -1, "crowd": False, "difficult": False, "area": 0}


def _filled(values, default):
    """Of `MOST_OBJECTS` rows."""
    more = [[0, MOST_OBJECTS - tf.shape(values)[0]], [0, 0]][: len(values.shape)]
    filled = tf.pad(values, more, constant_values=tf.cast(default, values.dtype))
    return tf.ensure_shape(filled, [MOST_OBJECTS, *values.shape[1:]])
