"""What training adds today to the paper's view, by Keras's own layers; all of it is optional."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from .view import View

if TYPE_CHECKING:
    import keras

Finish = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def layers(view: View, classes: int) -> Finish:
    """Returns a function of (uint8 images, int32 labels, key) to the same, changed.

    Under mixup or cutmix, which act within a chunk, labels become float32 (chunk, classes).
    """
    if not (view.rand_augment or view.random_erasing or view.mixup or view.cutmix):
        return lambda images, labels, key: (images, labels)
    import keras

    raw = {"value_range": (0, 255), "dtype": "float32"}  # whatever the model's precision
    alone, mixing = [], []
    if view.rand_augment:
        alone.append(keras.layers.RandAugment(factor=view.rand_augment, **raw))
    # Of one number, these two layers take the upper end of a range that begins at 0.
    if view.random_erasing:
        alone.append(keras.layers.RandomErasing((view.random_erasing,) * 2, **raw))
    if view.mixup:
        mixing.append(keras.layers.MixUp(view.mixup, dtype="float32"))
    if view.cutmix:
        mixing.append(keras.layers.CutMix((view.cutmix,) * 2, dtype="float32"))
    for layer in (*alone, *mixing):
        _draw_from_keys(layer)
        layer.build((None, view.image_size, view.image_size, 3))

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
