"""Detectors that always or never find what is there, measured by the stream of the evaluation."""

import sys

import numpy as np
import pytest

from resnet_keras.detection import measuring, scores
from resnet_keras.pipelines import objects

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


def test_what_is_elsewhere_is_not_found(batches):
    assert measuring.average_precision(Oracle(batches, 500.0), batches, (1, 2, 3))["val_ap"] == 0
    truth, found = measuring.detections(Oracle(batches, 500.0), batches)
    assert scores.voc(truth, found, 3).mean == 0


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
