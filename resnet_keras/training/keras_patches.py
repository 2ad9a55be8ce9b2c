"""The one place that touches Keras's private TensorFlow trainer (3.15.1), and why.

Two faults keep `fit` from running on replicas; `mend` replaces the two functions that have them:

- `TensorFlowTrainer._maybe_symbolic_build` reduces a batch over the replicas, only to learn its
  shape; `Strategy.reduce` refuses batches under `MultiWorkerMirroredStrategy`, and truth values,
  as a detector's targets have them, under every strategy. The shapes of one local replica's share
  serve as well.
- Under `MultiWorkerMirroredStrategy`, `reduce_per_replica` averages the logs, scalars, with
  `axis=0`, which they do not have.

And two needs of `fitting`: to build a model before `fit` does, and to call `fit` several times
without its last act. tests/training/test_keras_patches.py fails when a new Keras has mended or
moved any of this.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf
from keras import tree
from keras.src.backend.tensorflow import trainer

REDUCE_PER_REPLICA = trainer.reduce_per_replica  # Keras's own
MAYBE_SYMBOLIC_BUILD = trainer.TensorFlowTrainer._maybe_symbolic_build


def mend() -> None:
    """Makes `fit` and `evaluate` work on workers, and with truth values, in this process."""
    trainer.reduce_per_replica = _reduce_per_replica
    trainer.TensorFlowTrainer._maybe_symbolic_build = _maybe_symbolic_build


def _reduce_per_replica(values, strategy, reduction):
    if reduction not in ("auto", "mean") or not _spans_workers(strategy):
        return REDUCE_PER_REPLICA(values, strategy, reduction)
    return tree.map_structure(lambda v: strategy.reduce("MEAN", v, axis=None), values)


def _maybe_symbolic_build(self, iterator=None, data_batch=None):
    strategy = self.distribute_strategy
    if iterator is None or strategy.num_replicas_in_sync == 1:
        return MAYBE_SYMBOLIC_BUILD(self, iterator, data_batch)
    _, _, batches = next(iter(iterator))
    share = tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], next(batches))
    with strategy.scope():
        self._symbolic_build(data_batch=share)


def _spans_workers(strategy):
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def build(model, strategy: tf.distribute.Strategy, element_spec) -> None:
    """Makes the variables of a compiled model, its metrics and optimizer, as `fit` itself does.

    Args:
        model: compiled; built or not.
        strategy: under which it was made.
        element_spec: of the data set that it is to be trained on, tensors as Keras takes them.
    """
    with strategy.scope():
        model._symbolic_build(data_batch=element_spec)


@contextlib.contextmanager
def without_finalizing(optimizer) -> Iterator[None]:
    """Keeps `fit` from putting the optimizer's own moving averages in the weights' place.

    It does so at the end of every call, with `use_ema`; a run that was interrupted has more calls.
    """
    finalize = optimizer.finalize_variable_values
    optimizer.finalize_variable_values = lambda variables: None
    try:
        yield
    finally:
        optimizer.finalize_variable_values = finalize
