"""Detectors that always or never find what is there, measured by the stream of the evaluation."""

import signal
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import measuring, scores, sharing
from resnet_keras.pipelines import objects
from resnet_keras.training import signals

SPLIT = "val[:6]"


class Oracle:
    """Answers with the truth of the batches in their order, moved by `shift` pixels."""

    num_classes = 3

    def __init__(self, batches, shift=0.0):
        self.answers = iter([targets for _, targets, *_ in batches])
        self.shift = shift

    def predict_on_batch(self, features):
        targets = next(self.answers)
        labels = np.asarray(targets["labels"])
        count = (labels >= 0).sum(axis=1)
        return {
            "boxes": np.asarray(targets["boxes"]) + self.shift,
            "scores": np.where(labels >= 0, 0.9, 0.0),
            "labels": labels,
            "count": count,
        }


@pytest.fixture(scope="module")
def batches():
    """Two of four images, the last of which has two copies that weigh nothing; at half size."""
    test = objects.evaluation("shapes", SPLIT, 4, scale=(64, 64), replicas=1, device=None)
    return list(test)


def test_what_is_there_is_found(batches):
    truth, found = measuring.detections(Oracle(batches), batches)
    assert len({image.image_id for image in truth}) == len(truth) == 6
    for here, there in zip(truth, found, strict=True):
        assert here.image_id == there.image_id
        np.testing.assert_allclose(here.boxes, there.boxes, atol=1e-4)  # in original pixels
        np.testing.assert_array_equal(here.labels, there.labels)
    values = measuring.average_precision(Oracle(batches), batches, (1, 2, 3))
    assert values == {"val_ap": 1.0, "val_ap50": 1.0, "val_ap75": 1.0}


class Seer:
    """Stands for a detector that finds all that its features tell it."""

    jit_compile = False

    def __init__(self):
        self.optimizer = types.SimpleNamespace(iterations=7)

    def predict_step(self, data):
        ((features,),) = (data,)
        labels = features["labels"]
        return {
            "boxes": features["boxes"],
            "scores": tf.where(labels >= 0, 0.9, 0.0),
            "labels": labels,
            "count": tf.reduce_sum(tf.cast(labels >= 0, tf.int32), 1),
        }


def test_replicas_share_an_evaluation_and_heed_a_signal_in_it(mirrored):
    def told(features, targets, weights):
        return {**features, **targets}, targets, weights

    test = objects.evaluation("shapes", SPLIT, 4, replicas=2, device=None).map(told)
    heard = []
    shared = sharing.SharedAveragePrecision(mirrored, test, (1, 2, 3), heard.append)
    assert shared(Seer()) == {"val_ap": 1.0, "val_ap50": 1.0, "val_ap75": 1.0}
    assert heard == [7, 7]  # after each batch, the step

    with signals.Signals(held=True) as stopped:
        shared.heed = signals.Agreement(stopped, mirrored).heed
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(signals.Preempted, match="stopped at step 7 by SIGTERM"):
            shared(Seer())


def test_what_is_elsewhere_is_not_found(batches):
    assert measuring.average_precision(Oracle(batches, 500.0), batches, (1, 2, 3))["val_ap"] == 0
    truth, found = measuring.detections(Oracle(batches, 500.0), batches)
    assert scores.voc(truth, found, 3).mean == 0


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
