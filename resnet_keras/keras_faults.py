"""The one place that touches Keras's private TensorFlow trainer (3.15.1), and why.

Two faults keep `fit` from running under `MultiWorkerMirroredStrategy`; `mend` replaces the two
functions that have them:

- `TensorFlowTrainer._maybe_symbolic_build` reduces a batch over the replicas, only to learn its
  shape; `Strategy.reduce` refuses batches. The shapes of one local replica's share serve as well.
- `reduce_per_replica` averages the logs, scalars, with `axis=0`, which they do not have.

And one need: `fit` takes data only by types it knows. `Batches` is of one of them, so that this
package hands it batches that were fetched, and waited for, in Python.

tests/test_keras_faults.py fails when a new Keras has mended or moved any of this.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from keras import tree
from keras.src.backend.tensorflow import trainer
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

REDUCE_PER_REPLICA = trainer.reduce_per_replica  # Keras's own
MAYBE_SYMBOLIC_BUILD = trainer.TensorFlowTrainer._maybe_symbolic_build


def mend() -> None:
    """Makes `fit` and `evaluate` work under `MultiWorkerMirroredStrategy`, in this process."""
    trainer.reduce_per_replica = _reduce_per_replica
    trainer.TensorFlowTrainer._maybe_symbolic_build = _maybe_symbolic_build


def _reduce_per_replica(values, strategy, reduction):
    if reduction not in ("auto", "mean") or not _spans_workers(strategy):
        return REDUCE_PER_REPLICA(values, strategy, reduction)
    return tree.map_structure(lambda v: strategy.reduce("MEAN", v, axis=None), values)


def _maybe_symbolic_build(self, iterator=None, data_batch=None):
    strategy = self.distribute_strategy
    if iterator is None or not _spans_workers(strategy):
        return MAYBE_SYMBOLIC_BUILD(self, iterator, data_batch)
    _, _, batches = next(iter(iterator))
    share = tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], next(batches))
    with strategy.scope():
        self._symbolic_build(data_batch=share)


def _spans_workers(strategy):
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


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
        return self._dataset

    @property
    def num_batches(self):
        return self._count
