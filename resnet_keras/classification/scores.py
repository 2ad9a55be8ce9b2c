"""What networks say of the examples of a data set, and the errors that are counted from it."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from resnet_keras.errors import InputError


class Errors(NamedTuple):
    """Errors in [0, 1] and the number of examples they were measured on.

    `top5` is None of five classes or fewer, among which every label is.
    """

    top1: float
    top5: float | None
    examples: int


class Scores(NamedTuple):
    """What a model says of every example, in the data set's order.

    `log_shares`, float64 (examples, classes), are logarithms of softmax scores, for a sure
    network's scores are too small to be told from 0; `labels` are int32 (examples,).
    """

    log_shares: np.ndarray
    labels: np.ndarray


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Float64 logarithms of the softmax shares along the last axis."""
    logits = np.asarray(logits, "float64")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def logarithms(shares: np.ndarray) -> np.ndarray:
    """Finite logarithms of float64 softmax shares, of those that are 0 too."""
    return np.log(np.maximum(shares, np.finfo("float64").tiny))


def average(members: Iterable[Scores]) -> Scores:
    """The mean of the models' softmax scores.

    Args:
        members: of each model, taken one at a time: on ImageNet each holds 400 MB.

    Raises:
        InputError: they are not of the same examples.
    """
    remaining = iter(members)
    first = next(remaining)
    total, count = None, 1
    for member in remaining:
        if not np.array_equal(first.labels, member.labels):
            raise InputError("The models of an ensemble must be measured on the same examples.")
        total = np.exp(first.log_shares) if total is None else total
        total += np.exp(member.log_shares)
        count += 1
    return first if total is None else Scores(logarithms(total / count), first.labels)


def wrong(scores: Scores, k: int) -> np.ndarray:
    """Whether each example's label is not among the `k` largest scores, bool (examples,).

    Ties count against the label, as in `metrics.top_k_error`.
    """
    own = np.take_along_axis(scores.log_shares, scores.labels[:, None], axis=1)
    rivals = np.sum(scores.log_shares >= own, axis=1) - 1
    return (rivals >= k) | ~np.isfinite(own[:, 0])


def count_errors(scores: Scores) -> Errors:
    """Returns the errors over all examples."""
    top1 = wrong(scores, 1)
    top5 = float(wrong(scores, 5).mean()) if has_top5(scores) else None
    return Errors(float(top1.mean()), top5, len(top1))


def has_top5(scores: Scores) -> bool:
    """Whether there are more than five classes, without which a top-5 error tells nothing."""
    return scores.log_shares.shape[1] > 5
