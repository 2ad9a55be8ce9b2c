"""Confusion matrices and what is read from them, by hand and against a literal loop."""

import sys

import numpy as np
import pytest

from resnet_keras.errors import InputError
from resnet_keras.segmentation import scores


def test_by_hand():
    labels = [[0, 0, 1, 255], [1, 2, 2, 255]]
    found = [[0, 1, 1, 2], [1, 2, 0, 0]]
    matrix = scores.confusion_matrix(labels, found, 4)
    np.testing.assert_array_equal(matrix, [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0] * 4])
    assert matrix.dtype == np.int64
    np.testing.assert_allclose(scores.iou(matrix), [1 / 3, 2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(scores.accuracy(matrix), [1 / 2, 1, 1 / 2, np.nan])
    assert scores.mean_iou(matrix) == pytest.approx(1 / 2)
    assert scores.pixel_accuracy(matrix) == pytest.approx(4 / 6)


def test_against_a_literal_loop():
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, 5, (2, 3, 17, 19))
    labels[rng.random(labels.shape) < 0.1] = 255
    matrix = np.zeros([5, 5], int)
    for label, taken in zip(labels.ravel(), found.ravel(), strict=True):
        if label != 255:
            matrix[label, taken] += 1
    parts = [scores.confusion_matrix(*pair, 5) for pair in zip(labels, found, strict=True)]
    np.testing.assert_array_equal(scores.total(parts), matrix)
    shares = []
    for kind in range(5):
        real, taken = (labels == kind), (found == kind) & (labels != 255)
        shares.append((real & taken).sum() / (real | taken).sum())
    np.testing.assert_allclose(scores.iou(matrix), shares)


def test_a_class_that_is_found_and_not_there_counts():
    matrix = scores.confusion_matrix([0, 0], [0, 1], 3)
    assert scores.mean_iou(matrix) == pytest.approx(0.25)


def test_nothing_at_all():
    matrix = scores.confusion_matrix([255], [0], 2)
    assert np.isnan(scores.mean_iou(matrix))
    assert np.isnan(scores.pixel_accuracy(matrix))


@pytest.mark.parametrize(
    ("labels", "found", "words"),
    [([0, 1], [0], "do not fit"), ([0, 3], [0, 0], "Labels are 0 to 2"), ([0], [3], "0 to 2")],
)
def test_what_is_no_label_is_told(labels, found, words):
    with pytest.raises(InputError, match=words):
        scores.confusion_matrix(labels, found, 3)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
