"""Batches on their way to the replicas."""

import math
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from resnet_keras.errors import InputError

from . import replicas


def split(batches: tf.data.Dataset, parts: int) -> tf.data.Dataset:
    """Each batch, any nest of tensors, as `parts` smaller ones, in order.

    Raises:
        InputError: the batches' size is not known, or cannot be divided so.
    """
    if parts == 1:
        return batches
    size = batch_size(batches)
    if size is None or size % parts:
        raise InputError(
            f"Batches of {'unknown size' if size is None else size} cannot be split equally among "
            f"{parts} replicas: make them of one size that is a multiple, as .batch(..., "
            "drop_remainder=True) does."
        )

    def element(*batch):
        return batch if isinstance(batches.element_spec, tuple) else batch[0]

    def cut(tensor):
        shape = tf.concat([[parts, size // parts], tf.shape(tensor)[1:]], 0)
        return tf.reshape(tensor, shape)

    def shaped(tensor, spec):
        return tf.ensure_shape(tensor, [size // parts, *spec.shape[1:]])

    pieces = batches.map(lambda *batch: tf.nest.map_structure(cut, element(*batch))).unbatch()
    return pieces.map(
        lambda *batch: tf.nest.map_structure(shaped, element(*batch), batches.element_spec)
    )


def batch_size(batches: tf.data.Dataset) -> int | None:
    """Examples in each batch, by the shape of its first tensor; None where that does not tell."""
    shape = tf.nest.flatten(batches.element_spec)[0].shape
    return shape[0] if shape.rank else None


class Feed:
    """Hands a worker's batches to the replicas, and counts the seconds it waits for them.

    Give `batches()` to `fit` or `evaluate`.

    Args:
        strategy: the strategy.
        dataset: this worker's share of each global batch. For several replicas, of a size that
            is known and the same for all batches.
        in_graph: Keras may loop over batches in its graph (`steps_per_execution`), where the wait
            cannot be seen: `seconds` is then NaN.
        endless: that the batches end is an `InputError` (not in a graph).

    Attributes:
        seconds: see above.
        batch_size: examples in each batch of `dataset`, if its shapes tell.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        dataset: tf.data.Dataset,
        *,
        in_graph: bool = False,
        endless: bool = False,
    ):
        self.seconds = math.nan if in_graph else 0.0
        self.batch_size = batch_size(dataset)
        self._in_graph, self._endless = in_graph, endless
        cardinality = int(dataset.cardinality())
        self._count = cardinality if cardinality >= 0 else None
        shared = split(dataset, strategy.num_replicas_in_sync // replicas.workers(strategy).total)
        self._distributed = strategy.distribute_datasets_from_function(lambda context: shared)

    def batches(self):
        """What `fit` takes: see `Batches`."""
        return Batches(self._distributed if self._in_graph else self, self._count)

    def __iter__(self) -> Iterator[Any]:
        iterator = iter(self._distributed)
        while True:
            began = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                if self._endless:
                    raise InputError(
                        "The training batches came to an end: a stream has none, as .repeat() "
                        "makes it."
                    ) from None
                return
            self.seconds += time.perf_counter() - began
            yield batch


class _Distributed(tf.distribute.DistributedDataset):
    """An iterable that Keras's trainer takes as distributed already."""

    def __init__(self, source):
        self._source = source

    def __iter__(self) -> Iterator[Any]:
        return iter(self._source)


class Batches(DataAdapter):
    """Distributed batches for `fit` and `evaluate`, from any iterable.

    Args:
        source: gives one distributed value per batch, each time it is iterated over; a data set
            that a strategy distributes, for Keras to loop over in its graph.
        count: its batches, or None if it has no end.
    """

    def __init__(self, source, count: int | None):
        distributed = isinstance(source, tf.distribute.DistributedDataset | tf.data.Dataset)
        self._dataset = source if distributed else _Distributed(source)
        self._count = count

    def get_tf_dataset(self):
        """What Keras's trainer iterates over."""
        return self._dataset

    @property
    def num_batches(self):
        """How many batches there are; None for no end."""
        return self._count
