"""The confusion matrix in Keras: exact, over batches and replicas, and from a file."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.segmentation import scores
from resnet_keras.segmentation.losses import PixelCrossEntropy
from resnet_keras.segmentation.metrics import ConfusionMatrix

CLASSES = 4


def batches():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (3, 2, 7, 5)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    return labels, rng.normal(size=(*labels.shape, CLASSES)).astype(np.float32)


def wanted():
    labels, logits = batches()
    return scores.confusion_matrix(labels, logits.argmax(-1), CLASSES)


def test_batches_are_counted():
    metric = ConfusionMatrix(CLASSES)
    for batch in zip(*batches(), strict=True):
        metric.update_state(*batch)
    np.testing.assert_array_equal(metric.matrix, wanted())
    np.testing.assert_allclose(metric.per_class(), scores.iou(wanted()))
    result = metric.result()
    assert float(result["miou"]) == pytest.approx(scores.mean_iou(wanted()))
    assert float(result["pixel_accuracy"]) == pytest.approx(scores.pixel_accuracy(wanted()))
    metric.reset_state()
    assert not np.asarray(metric.matrix).any()
    assert float(metric.result()["miou"]) == 0


def test_counts_stay_exact_beyond_float32():
    metric = ConfusionMatrix(2)
    metric.matrix.assign([[2**53, 2**24], [0, 0]])
    metric.update_state(np.array([[[0, 0]]]), np.array([[[[1.0, 0.0], [0.0, 1.0]]]]))
    np.testing.assert_array_equal(metric.matrix, [[2**53 + 1, 2**24 + 1], [0, 0]])


def test_it_comes_back_from_its_configuration():
    again = keras.metrics.deserialize(keras.metrics.serialize(ConfusionMatrix(CLASSES)))
    assert isinstance(again, ConfusionMatrix)
    assert again.num_classes == CLASSES


def test_replicas_count_together_and_outputs_share_the_names(mirrored):
    with mirrored.scope():
        pixels = keras.Input((7, 5, CLASSES))
        same = keras.layers.Identity(name="logits")(pixels)
        model = keras.Model(pixels, {"logits": same, "auxiliary": same})
        metric = ConfusionMatrix(CLASSES)
        loss = {"logits": PixelCrossEntropy(), "auxiliary": PixelCrossEntropy()}
        model.compile(loss=loss, metrics={"logits": [metric]})
    labels, logits = batches()
    data = tf.data.Dataset.from_tensor_slices((logits, {"logits": labels, "auxiliary": labels}))
    measured = model.evaluate(data, verbose=0, return_dict=True)
    assert measured["miou"] == pytest.approx(scores.mean_iou(wanted()))
    assert measured["pixel_accuracy"] == pytest.approx(scores.pixel_accuracy(wanted()))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
