"""Order and randomness as a pure function of (seed, step).

Step k of a stream holds the positions k * batch to (k + 1) * batch - 1 of an endless sequence of
shuffled epochs. Each epoch is a permutation computed index by index from (seed, epoch), and every
random draw of a batch is stateless, keyed by (seed, step). So nothing is replayed to start at any
step, and a batch is the same however it was reached.
"""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

PREFETCHED_BATCHES = 4


def indices(
    num_examples: int, global_batch_size: int, *, seed: int, start_step: int = 0
) -> tf.data.Dataset:
    """An endless dataset of (step int64 (), example indices int64 (global_batch_size,)).

    Every epoch visits each of `num_examples` once; a batch may reach into the next epoch.
    """
    _check(num_examples, global_batch_size)
    if start_step < 0:
        raise InputError(f"start_step must not be negative, but is {start_step}.")

    def at(step):
        positions = step * global_batch_size + tf.range(global_batch_size, dtype=tf.int64)
        epochs = positions // num_examples
        chosen = tf.raw_ops.RandomIndexShuffle(  # tf.random's wrapper takes no key per index
            index=positions % num_examples,
            seed=tf.stack([tf.zeros_like(epochs) + seed, epochs, tf.zeros_like(epochs)], axis=1),
            max_index=tf.constant(num_examples - 1, tf.int64),
            rounds=4,
        )
        return step, chosen

    return tf.data.Dataset.range(start_step, np.iinfo(np.int64).max).map(at)


def draw_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """The key, int64 (2,), of all random draws at `step`; split it for independent ones."""
    return tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int64), step)


def training(
    images: np.ndarray,
    labels: np.ndarray,
    global_batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    augment: Augmentation | None = None,
) -> tf.data.Dataset:
    """An endless stream over examples in memory.

    Args:
        images: uint8 (examples, height, width, channels).
        labels: int32 (examples,).
        global_batch_size, seed, start_step: as for `indices`.
        augment: maps a batch of images and a key (see `draw_seed`) to a batch of images.
    """
    # Tensors made here are captured by reference; arrays would be copied into the graph.
    all_images, all_labels = tf.constant(images), tf.constant(labels)

    def load(step, batch):
        chosen = tf.gather(all_images, batch)
        if augment is not None:
            chosen = augment(chosen, draw_seed(seed, step))
        return chosen, tf.gather(all_labels, batch)

    order = indices(len(images), global_batch_size, seed=seed, start_step=start_step)
    return order.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)


def evaluation(images: np.ndarray, labels: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Every example once, in order; the last batch holds what is left."""
    _check(len(images), batch_size)
    all_images, all_labels = tf.constant(images), tf.constant(labels)

    def load(start):
        return all_images[start : start + batch_size], all_labels[start : start + batch_size]

    starts = tf.data.Dataset.range(0, len(images), batch_size)
    return starts.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)


def weighted_evaluation(images: np.ndarray, labels: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """As `evaluation`, in batches of one size with weights float32 (batch_size,).

    The last batch is filled up with copies of its last example that weigh 0.
    """
    examples = len(images)
    _check(examples, batch_size)
    all_images, all_labels = tf.constant(images), tf.constant(labels)

    def load(start):
        positions = start + tf.range(batch_size, dtype=tf.int64)
        chosen = tf.minimum(positions, examples - 1)
        weights = tf.cast(positions < examples, tf.float32)
        return tf.gather(all_images, chosen), tf.gather(all_labels, chosen), weights

    starts = tf.data.Dataset.range(0, examples, batch_size)
    return starts.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)


def prefetch(dataset: tf.data.Dataset, device: str | None = "auto") -> tf.data.Dataset:
    """Prefetches a few batches, as the last operation of a pipeline.

    Args:
        dataset: of batches.
        device: "auto" prefetches into the memory of the GPU, if there is just one and the
            pipeline is not made inside a `tf.distribute` scope. A strategy moves each replica's
            share itself and cannot take a data set that already did: with a model built under
            one, make the pipeline in its scope too, or give None, which keeps batches on the
            host. Otherwise a device such as "/GPU:1".
    """
    options = tf.data.Options()
    # With autotuning, closing an iterator waits for the tuner's next wake-up, which it puts off
    # twice as long each time: up to a minute at the end of every `fit` and `evaluate`.
    options.autotune.enabled = False
    dataset = dataset.with_options(options)
    if device == "auto":
        gpus = tf.config.list_logical_devices("GPU")
        device = gpus[0].name if len(gpus) == 1 and not tf.distribute.has_strategy() else None
    if device is None:
        return dataset.prefetch(PREFETCHED_BATCHES)
    to_device = tf.data.experimental.prefetch_to_device(device, PREFETCHED_BATCHES)
    return dataset.apply(to_device)


def _check(num_examples, batch_size):
    if num_examples < 1:
        raise InputError("The data set is empty.")
    if batch_size < 1:
        raise InputError(f"The batch size must be positive, not {batch_size}.")
