"""Data sets of TensorFlow Datasets with a mask for each image, in record shards."""

from collections.abc import Sequence

import tensorflow as tf

from resnet_keras.errors import InputError

from . import png, records
from .encoded import fail_if
from .maps import LabelMaps
from .scenes import encoded


def open_split(
    dataset: str,
    data_dir: str | None,
    split: str,
    class_names: Sequence[str],
    first: int,
    crop_size: tuple[int, int],
) -> LabelMaps:
    """Opens a split, prepared on disk or by TensorFlow Datasets on first use.

    The order is that of `records.open_split`.

    Args:
        dataset: a name of TFDS, with the features "image" and "segmentation_mask".
        data_dir: TFDS's folder; None takes TFDS's default.
        split: "train", "test", or whatever TFDS calls it, or a share of one.
        class_names: in the order of the labels.
        first: the number of the first class in the masks; 255 stays what it is.
        crop_size: height and width of training crops, where no others are asked for.

    Raises:
        InputError: no such data set or split, or it is not on disk and cannot be made.
    """
    builder = records.loaded(dataset, data_dir)
    if not {"image", "segmentation_mask"} <= set(builder.info.features):
        raise InputError(f"{dataset} is no data set of images with one mask each.")
    name = records.split_name(builder, split)
    raw_epoch = records.reader(builder, name, encoded=("image", "segmentation_mask"))

    def read_epoch(shuffle_seed=None):
        return raw_epoch(shuffle_seed).enumerate().map(_row)

    examples = records.count(raw_epoch(), f"{dataset}/{name}")

    @tf.autograph.experimental.do_not_convert
    def training(seed, start):
        rows = records.shuffled(read_epoch, examples, seed, start)
        return rows.enumerate(tf.constant(start, tf.int64))

    def mask(row):
        labels = png.labels(row["mask"], row["mask_name"])
        least = tf.reduce_min(labels)
        sentence = [
            row["mask_name"],
            " has the label ",
            tf.strings.as_string(least),
            f", and those of {dataset} begin at {first}",
        ]
        with tf.control_dependencies([fail_if(tf.cast(least, tf.int32) < first, sentence)]):
            moved = labels - tf.cast(first, tf.uint8)
        return tf.where(labels == png.IGNORED, labels, moved)

    pixels = encoded(tf.identity, False)
    classes = tuple(class_names)
    return LabelMaps(examples, classes, crop_size, training, read_epoch, pixels, mask)


@tf.autograph.experimental.do_not_convert
def _row(number, raw):
    name = raw["tfds_id"]
    keys = {"image": raw["image"], "mask": raw["segmentation_mask"]}
    mask_name = tf.strings.join(["the mask of ", name])
    return {**keys, "name": name, "mask_name": mask_name, "number": number}
