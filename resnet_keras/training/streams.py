"""Checks of the batches that `fit` is given."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError

Stream = Callable[[int], tf.data.Dataset]


def check_batches(batches: tf.data.Dataset, test: tf.data.Dataset | None) -> None:
    """Checks what `train(0)` gave, and the batches of the evaluation.

    Raises:
        InputError: training has an end, or evaluation none.
    """
    if not isinstance(batches, tf.data.Dataset):
        raise InputError(
            f"train(start_step) gives a tf.data.Dataset, not a {type(batches).__name__}."
        )
    cardinality = int(batches.cardinality())
    if cardinality >= 0:
        raise InputError(
            f"train(0) ends after {cardinality} batches: a stream has no end, as .repeat() makes "
            "it."
        )
    if test is not None and int(test.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise InputError("test has no end: leave .repeat() out.")


def check_stream(train: Stream, steps: Sequence[int] = (1, 3)) -> None:
    """Checks that a stream is what `fit` needs to go on exactly: a pure function of the step.

    Args:
        train: as for `fit`, without accumulation.
        steps: from which it is begun again, besides 0.

    Raises:
        InputError: it gives other batches each time, or the batches from a step on are not those
            that come at that step, or it ends.
    """
    last = max(steps) + 1

    def batches(start, count):
        first = list(itertools.islice(train(start).as_numpy_iterator(), count))
        if len(first) < count:
            raise InputError(
                f"train({start}) ends after {len(first)} batches: a stream has no end, as "
                ".repeat() makes it."
            )
        return [tf.nest.flatten(batch) for batch in first]

    whole = batches(0, last + 1)
    if not _same(whole, batches(0, last + 1)):
        raise InputError(
            "train(0) gives other batches the second time: shuffle and draw by seeds that are "
            "fixed."
        )
    for step in steps:
        if not _same(whole[step : step + 2], batches(step, len(whole[step : step + 2]))):
            raise InputError(
                f"train({step}) does not begin with the batch that train(0) gives at step {step}: "
                "the stream must be a function of the step, as .skip(step) makes it, at the cost "
                "of making the batches before."
            )


def _same(one, other):
    return all(
        np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype
        for left, right in zip(one, other, strict=True)
        for a, b in zip(left, right, strict=True)
    )
