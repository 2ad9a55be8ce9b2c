"""Top-1 and top-5 error."""

import numpy as np
import pytest

from resnet_keras.metrics import CrossEntropy, cross_entropy, top1_error, top5_error


def test_against_sorting():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 12)).astype("float32")
    labels = generator.integers(0, 12, 200)
    ranked = np.argsort(-logits, axis=1)
    np.testing.assert_array_equal(top1_error(labels, logits), ranked[:, 0] != labels)
    expected = [label not in row[:5] for label, row in zip(labels, ranked, strict=True)]
    np.testing.assert_array_equal(top5_error(labels[:, None], logits), expected)


def test_ties_and_nan_are_errors():
    logits = np.array([[1, 1, 0], [np.nan] * 3, [0, 2, 1]], "float32")
    np.testing.assert_array_equal(top1_error(np.array([0, 1, 1]), logits), [1, 1, 0])
    np.testing.assert_array_equal(top5_error(np.array([0, 1, 1]), logits), [0, 1, 0])


def test_keras_averages_it_over_unequal_batches():
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model.compile(loss="sparse_categorical_crossentropy", metrics=[top1_error])
    logits = np.eye(3)[[0, 1, 2, 0, 1]]
    labels = np.array([0, 1, 2, 1, 0])
    result = model.evaluate(logits, labels, batch_size=3, verbose=0, return_dict=True)
    assert result["top1_error"] == pytest.approx(2 / 5)


def test_label_smoothing_spreads_a_share_over_all_classes():
    """Szegedy et al. 2015, Sec. 7: the label's probability is 1 - e + e / K, the others' e / K."""
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    labels = np.array([0, 3, 1, 2, 2])
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full((5, 4), 0.2 / 4)
    target[np.arange(5), labels] += 0.8
    expected = -(target * logs).sum(axis=1).mean()
    for given in (labels, np.eye(4, dtype="float32")[labels]):
        assert float(CrossEntropy(0.2)(given, logits)) == pytest.approx(expected, rel=1e-5)
        plain = float(np.mean(cross_entropy(given, logits)))  # what is logged
        assert plain == pytest.approx(-logs[np.arange(5), labels].mean(), rel=1e-5)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
