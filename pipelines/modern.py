"""What training adds today to the paper's view, by Keras's own layers; all of it is optional."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from resnet_keras.errors import InputError

if TYPE_CHECKING:
    import keras

Finish = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class Regularization(NamedTuple):
    """Strengths; 0 turns each off.

    Attributes:
        rand_augment: `factor` of `keras.layers.RandAugment`, which applies two operations; it
            takes milliseconds for an image, many times what all else does.
        random_erasing: share of images from which a rectangle is erased.
        mixup, cutmix: alpha of the Beta(alpha, alpha) that shares are drawn from, at most 1 for
            `keras.layers.CutMix`; with both, each chunk takes one of them.
    """

    rand_augment: float = 0.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def check(self) -> None:
        """Raises `InputError` for a strength that cannot be."""
        if not (0 <= self.rand_augment <= 1 and 0 <= self.random_erasing <= 1):
            raise InputError("rand_augment and random_erasing are 0 to 1.")
        if self.mixup < 0 or not 0 <= self.cutmix <= 1:
            raise InputError("mixup must not be negative and cutmix be 0 to 1.")


def layers(wanted: Regularization, classes: int, image_size: int) -> Finish:
    """Returns a function of (uint8 images, int32 labels, key) to the same, changed.

    Under mixup or cutmix, which act within a chunk, labels become float32 (chunk, classes).
    """
    if not any(wanted):
        return lambda images, labels, key: (images, labels)
    import keras

    made = keras.layers
    whole = {"value_range": (0, 255), "dtype": "float32"}  # whatever the model's precision
    alone, mixing = [], []
    if wanted.rand_augment:
        alone.append(made.RandAugment(factor=wanted.rand_augment, **whole))
    # Of one number, these two layers take the upper end of a range that begins at 0.
    if wanted.random_erasing:
        alone.append(made.RandomErasing((wanted.random_erasing,) * 2, **whole))
    if wanted.mixup:
        mixing.append(made.MixUp(wanted.mixup, dtype="float32"))
    if wanted.cutmix:
        mixing.append(made.CutMix((wanted.cutmix,) * 2, dtype="float32"))
    for layer in (*alone, *mixing):
        _draw_from_keys(layer)
        layer.build((None, image_size, image_size, 3))

    def finish(images, labels, key):
        keys = tf.unstack(tf.random.experimental.stateless_split(key, 5))
        images = tf.cast(images, tf.float32)
        for layer, layer_key in zip(alone, keys, strict=False):
            images = _apply(layer, images, layer_key)
        if mixing:
            batch = {"images": images, "labels": tf.one_hot(labels, classes)}
            mixed = [
                lambda layer=layer, k=k: _apply(layer, dict(batch), k)
                for layer, k in zip(mixing, keys[2:], strict=False)
            ]
            choice = tf.random.stateless_uniform([], keys[4], 0, len(mixed), tf.int32)
            batch = tf.switch_case(choice, mixed)
            images, labels = batch["images"], batch["labels"]
        return tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8), labels

    return finish


def _draw_from_keys(layer: "keras.layers.Layer") -> None:
    """Makes every draw of a layer a function of the key that `_apply` sets.

    The layers draw from a generator with a state, by which a batch would depend on what ran before.
    """
    import keras

    class Keyed(keras.random.SeedGenerator):
        key = tf.zeros([2], tf.int64)
        drawn = 0

        def next(self, ordered=True):
            self.drawn += 1
            return tf.cast(
                tf.random.experimental.stateless_fold_in(self.key, self.drawn), tf.uint32
            )

    generator = Keyed(0)
    layer._get_seed_generator = lambda backend=None: generator  # of Keras's data layers


@tf.autograph.experimental.do_not_convert
def _apply(layer: "keras.layers.Layer", data, key):
    generator = layer._get_seed_generator()
    generator.key, generator.drawn = key, 0
    return layer(data, training=True)
