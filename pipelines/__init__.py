"""Data sets as tf.data pipelines: uint8 RGB images and int32 labels, ready for `model.fit`.

`training` is an endless stream, a pure function of (seed, step); `evaluation` visits every example
once. Importing this package imports no TensorFlow.

A data set is "digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped", "arrays",
files of MNIST's form or an .npz file in DATA_DIR, or "arrays/NAME", small images of TensorFlow
Datasets, which are held in memory; "imagenet2012" or "tfds/NAME", any classification data set of
TensorFlow Datasets; or "folder", images in
DATA_DIR/train/CLASS/ and DATA_DIR/val/CLASS/, or in DATA_DIR/CLASS/, of which "val" is 20 %. Of a
split, a share can be taken: "train[:90%]" and "train[90%:]", see `splits`.

Time series are "digits_series", the digits read as 64 steps, and "ucr", a folder's files in the
forms of the UCR and UEA archives; they are float32 (length, channels) in place of images.
"""

from . import main_objects, masks, objects
from .batches import evaluation, training
from .catalog import (
    ARRAYS,
    DATASETS,
    FOLDER,
    SPLITS,
    TFDS,
    UCR,
    DatasetInfo,
    arrays,
    check_images,
    check_names,
    check_no_exif,
    check_padding,
    fingerprint,
    info,
    is_in_memory,
    is_series,
    open_split,
    own_files,
    turns_by_exif,
)
from .listing import SUFFIXES
from .view import View, test_side

__all__ = [
    "ARRAYS",
    "DATASETS",
    "FOLDER",
    "SPLITS",
    "SUFFIXES",
    "TFDS",
    "UCR",
    "DatasetInfo",
    "View",
    "arrays",
    "check_images",
    "check_names",
    "check_no_exif",
    "check_padding",
    "evaluation",
    "fingerprint",
    "info",
    "is_in_memory",
    "is_series",
    "main_objects",
    "masks",
    "objects",
    "open_split",
    "own_files",
    "test_side",
    "training",
    "turns_by_exif",
]
