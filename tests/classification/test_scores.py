"""Softmax scores, their averages and the errors that are counted from them."""

import numpy as np
import pytest

from resnet_keras.classification.scores import Scores, average, count_errors, log_softmax
from resnet_keras.errors import InputError


def test_an_ensemble_averages_softmax_scores():
    labels = np.array([0, 1], "int32")
    shares = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]]])
    members = [Scores(np.log(s), labels) for s in shares]
    together = average(members)
    np.testing.assert_allclose(np.exp(together.log_shares), [[0.65, 0.35], [0.35, 0.65]])
    assert [count_errors(m).top1 for m in (*members, together)] == [0.5, 0.5, 0.0]


def test_scores_too_small_for_float32_are_told_apart():
    """Six classes; the label's score underflows and is still the second largest."""
    logits = np.array([[900.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0]])
    scores = Scores(log_softmax(logits), np.array([1], "int32"))
    errors = count_errors(scores)
    assert (errors.top1, errors.top5) == (1.0, 0.0)


def test_an_ensemble_is_measured_on_one_set_of_examples():
    shares = np.zeros((2, 3))
    one, other = (Scores(shares, np.array(labels, "int32")) for labels in ([0, 1], [1, 0]))
    with pytest.raises(InputError, match="on the same examples"):
        average([one, other])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
