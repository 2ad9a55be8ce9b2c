"""scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels in 10 classes.

The last 360 examples, which other people wrote than most of the training examples, are the test
split; the file is in order of writers (E. Alpaydin and C. Kaynak, UCI repository, 1998).
"""

import numpy as np
import tensorflow as tf

from resnet_keras.errors import require

from . import augment

TEST_EXAMPLES = 360
SERIES = "digits_series"


def load(dataset: str, split: str, *, image_size: int, data_dir: str | None):
    """As `pipelines.arrays`; images are resized from 8x8 by bicubic interpolation, grey as RGB.

    "digits_series" are series of 64 steps, float32: the ink of the 8x8 pixels, 0 to 16, by rows.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    del data_dir
    sklearn = require("sklearn.datasets", extra="digits")
    digits = sklearn.load_digits()
    chosen = _split(split, len(digits.target))
    labels = digits.target[chosen].astype(np.int32)
    if dataset == SERIES:
        return digits.data[chosen, :, None].astype(np.float32), labels
    ink = tf.constant(digits.images[chosen, :, :, None] * (255.0 / 16.0), tf.float32)
    grey = tf.image.resize(ink, [image_size, image_size], method="bicubic")
    grey = tf.cast(tf.clip_by_value(tf.round(grey), 0.0, 255.0), tf.uint8)
    return np.repeat(grey.numpy(), 3, axis=-1), labels


def _split(split: str, examples: int) -> slice:
    trainval = examples - TEST_EXAMPLES
    train = trainval * 9 // 10
    return {
        "train": slice(0, train),
        "val": slice(train, trainval),
        "trainval": slice(0, trainval),
        "test": slice(trainval, examples),
    }[split]


def augmentation(dataset: str, image_size: int):
    """Random rotation, scale and shift, as handwriting varies; digits must not be mirrored.

    None for series, which are trained on as they are.
    """
    if dataset == SERIES:
        return None

    def vary(images, key):
        return augment.random_affine(images, key, degrees=12, scale=0.12, shift=image_size / 10)

    return vary
