"""Order and randomness as a pure function of (seed, step).

Step k of a stream holds the positions k * batch to (k + 1) * batch - 1 of an endless sequence of
shuffled epochs. Each epoch is a permutation computed index by index from (seed, epoch), and every
random draw of a batch is stateless, keyed by (seed, step). So nothing is replayed to start at any
step, and a batch is the same however it was reached.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError

from .sharing import CHUNK as CHUNK
from .sharing import check_shares

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

PREFETCHED_BATCHES = 4
LAST = np.iinfo(np.int64).max


class Chunks(NamedTuple):
    """Which chunks of `CHUNK` positions a stream decodes, for batches of every `stride`-th step.

    A chunk's content is a function of (seed, chunk number) only. A stream may take one of
    `shards` equal parts of each batch, for a worker that feeds its own replicas.
    """

    global_batch_size: int
    start_step: int = 0
    shard: int = 0
    shards: int = 1
    stride: int = 1

    def check(self) -> None:
        """Raises `InputError` where the parts of a batch are not whole chunks."""
        _check(1, self.global_batch_size, self.start_step)
        if not 0 <= self.shard < self.shards:
            raise InputError(f"There is no shard {self.shard} of {self.shards}.")
        if not self.contiguous:
            check_shares(self.global_batch_size, self.shards)

    @property
    def contiguous(self) -> bool:
        """Whether the stream takes every chunk from the first on."""
        return self.shards == 1 and self.stride == 1

    @property
    def batch_size(self) -> int:
        """Examples in each batch of this stream."""
        return self.global_batch_size // self.shards

    @property
    def first(self) -> int:
        """The chunk that holds the first position of `start_step`."""
        return self.start_step * self.global_batch_size // CHUNK

    @property
    def before_start(self) -> int:
        """Positions of the first chunk that belong to the step before."""
        return self.start_step * self.global_batch_size % CHUNK

    def numbers(self) -> tf.data.Dataset:
        """The chunks' numbers, int64 (), in order and without end."""
        if self.contiguous:
            return tf.data.Dataset.range(self.first, LAST)
        per_step, own = self.global_batch_size // CHUNK, self.batch_size // CHUNK

        def number(place):
            step = self.start_step + place // own * self.stride
            return step * per_step + self.shard * own + place % own

        return tf.data.Dataset.range(LAST).map(number)

    def wanted(self, number: tf.Tensor) -> tf.Tensor:
        """Whether `numbers` has this chunk."""
        if self.contiguous:
            return number >= self.first
        per_step, own = self.global_batch_size // CHUNK, self.batch_size // CHUNK
        step, place = number // per_step - self.start_step, number % per_step
        return (step >= 0) & (step % self.stride == 0) & (place // own == self.shard)


def indices(
    num_examples: int, global_batch_size: int, *, seed: int, start_step: int = 0
) -> tf.data.Dataset:
    """An endless dataset of (step int64 (), example indices int64 (global_batch_size,)).

    Every epoch visits each of `num_examples` once; a batch may reach into the next epoch.
    """
    _check(num_examples, global_batch_size, start_step)

    def at(step):
        positions = step * global_batch_size + tf.range(global_batch_size, dtype=tf.int64)
        return step, shuffled(positions, num_examples, seed)

    return tf.data.Dataset.range(start_step, LAST).map(at)


def shuffled(positions: tf.Tensor, num_examples: int, seed: int) -> tf.Tensor:
    """Maps positions of the endless sequence, int64 (n,), to the examples that stand there."""
    epochs = positions // num_examples
    return tf.raw_ops.RandomIndexShuffle(  # tf.random's wrapper takes no key per index
        index=positions % num_examples,
        seed=tf.stack([tf.zeros_like(epochs) + seed, epochs, tf.zeros_like(epochs)], axis=1),
        max_index=tf.constant(num_examples - 1, tf.int64),
        rounds=8,  # at 4, TensorFlow's default, small data sets come nearly in order
    )


def draw_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """The key, int64 (2,), of all random draws at a step or chunk; split it for several."""
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
        global_batch_size: examples in each batch.
        seed: of the order and of every draw.
        start_step: the first batch to deliver.
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


def weighted(batches: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Makes all batches one size, and adds weights float32 (batch_size,).

    The last batch is filled up with copies of its last example that weigh 0.
    """

    def fill(images, labels):
        examples = tf.shape(labels)[0]
        places = tf.range(batch_size)
        chosen = tf.minimum(places, examples - 1)
        weights = tf.cast(places < examples, tf.float32)
        return tf.gather(images, chosen), tf.gather(labels, chosen), weights

    return batches.map(fill)


def part(batches: tf.data.Dataset, index: int, count: int) -> tf.data.Dataset:
    """The index-th of `count` equal parts of each batch.

    Raises:
        InputError: the batches' size is not known or cannot be divided so.
    """
    size = tf.nest.flatten(batches.element_spec)[0].shape[0]
    if not 0 <= index < count or (count > 1 and (size is None or size % count)):
        raise InputError(f"There is no part {index} of {count} equal ones of a batch of {size}.")
    if count == 1:
        return batches
    begin, end = size // count * index, size // count * (index + 1)
    return batches.map(lambda *batch: tuple(values[begin:end] for values in batch))


def prefetch(
    dataset: tf.data.Dataset,
    device: str | None = "auto",
    *,
    threads: int | None = None,
    ram_budget: int | None = None,
    batch_size: int = 1,
    batch_bytes: int | None = None,
) -> tf.data.Dataset:
    """Prefetches a few batches, as the last operation of a pipeline.

    Args:
        dataset: of batches.
        device: "auto" prefetches into the memory of the GPU, if there is just one and the
            pipeline is not made inside a `tf.distribute` scope. A strategy moves each replica's
            share itself and cannot take a data set that already did: with a model built under
            one, make the pipeline in its scope too, or give None, which keeps batches on the
            host. Otherwise a device such as "/GPU:1".
        threads: gives the pipeline a pool of so many threads of its own.
        ram_budget: bytes that prefetched batches may take; without it, four batches.
        batch_size: examples in a batch, where the data set's shapes do not tell.
        batch_bytes: of a batch, where it has other sides that the shapes do not tell.
    """
    options = tf.data.Options()
    # With autotuning, closing an iterator waits for the tuner's next wake-up, which it puts off
    # twice as long each time: up to a minute at the end of every `fit` and `evaluate`.
    options.autotune.enabled = False
    if threads is not None:
        options.threading.private_threadpool_size = threads
    dataset = dataset.with_options(options)
    batches = PREFETCHED_BATCHES
    if ram_budget is not None:
        batches = _batches_in(ram_budget, dataset, batch_size, batch_bytes)
    if device == "auto":
        gpus = tf.config.list_logical_devices("GPU")
        device = gpus[0].name if len(gpus) == 1 and not tf.distribute.has_strategy() else None
    if device is None:
        return dataset.prefetch(batches)
    to_device = tf.data.experimental.prefetch_to_device(device, batches)
    return dataset.apply(to_device)


def _batches_in(ram_budget, dataset, batch_size, size=None):
    """How many batches fit; at least one, which is in the making in any case."""
    if size is None:
        specs = tf.nest.flatten(dataset.element_spec)
        sides = [[side or batch_size for side in spec.shape] for spec in specs]
        size = sum(int(np.prod(s)) * spec.dtype.size for s, spec in zip(sides, specs, strict=True))
    return max(1, ram_budget // size)


def _check(num_examples, batch_size, start_step=0):
    if num_examples < 1:
        raise InputError("The data set is empty.")
    if batch_size < 1:
        raise InputError(f"The batch size must be positive, not {batch_size}.")
    if start_step < 0:
        raise InputError(f"start_step must not be negative, but is {start_step}.")
