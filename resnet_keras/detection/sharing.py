"""An evaluation that replicas and machines share: each image is looked at by one of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

from resnet_keras.training import replicas
from resnet_keras.training.feed import Feed

from . import measuring


class SharedEvaluation:
    """Measures what a model answers, as `training.fit` takes it for its `evaluate`.

    All workers must call it together, and all are told the same.

    Args:
        strategy: whose replicas look at the images.
        batches: of (features, targets, weights), for as many replicas and this worker's shard.
        measure: takes answers, targets and weights of all images, as arrays; gives the measures.
        heed: called after each batch with the step of the training; may raise.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        batches: tf.data.Dataset,
        measure: Callable[[Any, Any, np.ndarray], dict[str, float]],
        heed: Callable[[int], None] = lambda step: None,
    ):
        self.strategy, self.measure, self.heed = strategy, measure, heed
        self._feed = Feed(strategy, batches)
        self._model = self._predict = None

    def __call__(self, model: keras.Model) -> dict[str, float]:
        """Measures."""
        if model is not self._model:  # what is traced is kept from one evaluation to the next
            self._model, self._predict = model, _predicting(model, self.strategy)
        step = int(ops.convert_to_numpy(model.optimizer.iterations))
        rows: list[dict[str, Any]] = []
        for features, targets, weights in self._feed:
            # Of masks those of the file are scored.
            targets = {name: value for name, value in targets.items() if name != "masks"}
            share = {"answers": self._predict(features), "targets": targets, "weights": weights}
            rows.append(tree.map_structure(self._local, share))
            self.heed(step)
        together = tree.map_structure(lambda *columns: np.concatenate(columns), *rows)
        images = tree.map_structure(self._of_all_workers, together)
        return self.measure(images["answers"], images["targets"], images["weights"])

    def _local(self, value):
        """What this worker's replicas hold, one after the other."""
        return np.concatenate(
            [np.asarray(x) for x in self.strategy.experimental_local_results(value)]
        )

    def _of_all_workers(self, column):
        """The rows of all workers, one after the other."""
        place, total = replicas.workers(self.strategy)
        if total == 1:
            return column
        whole = np.zeros((total, *column.shape), np.int32 if column.dtype == bool else column.dtype)
        whole[place] = column
        summed = replicas.total(self.strategy, whole).reshape(-1, *column.shape[1:])
        return summed.astype(column.dtype)


class SharedAveragePrecision(SharedEvaluation):
    """`measuring.average_precision`, as `training.fit` takes it for its `evaluate`.

    Args:
        strategy: as of `SharedEvaluation`.
        batches: of `pipelines.objects.evaluation`.
        category_ids: of the labels, in their order.
        heed: as of `SharedEvaluation`.
        outlines: of the images, see `measuring.detections`.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        batches: tf.data.Dataset,
        category_ids: Sequence[int],
        heed: Callable[[int], None] = lambda step: None,
        outlines: measuring.Outlines | None = None,
    ):
        def measure(answers, targets, weights):
            images = measuring.in_original_pixels(answers, targets, weights, outlines=outlines)
            return measuring.precision(*images, category_ids)

        super().__init__(strategy, batches, measure, heed)


def _predicting(model, strategy) -> Callable[[Mapping[str, Any]], Any]:
    """The model's own `predict`, on every replica and of this worker's only."""
    step = model.predict_step
    if model.jit_compile:
        step = tf.function(step, jit_compile=True)

    @tf.function(reduce_retracing=True)
    def predict(features):
        return strategy.run(step, args=((features,),))

    return predict
