"""Detections of given answers, with and without box refinement."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import boxes as geometry
from resnet_keras.detection import detections
from resnet_keras.detection.settings import Settings

SETTINGS = Settings(detections=6, score_threshold=0.05, nms_iou=0.3, detection_side=2.0)
ROIS = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 0, 0]]], "float32")
IS_ROI = np.array([[True, True, True, False]])


def answer(rois):
    """A hand-made head of two classes: the first's box is 2 to the right, the second's 3 below.

    The first's score is .5, and .3 from 20 on; the second's .9 if x1 is 2, and else .2.
    """
    rois = np.asarray(rois)
    right, below = rois + np.array([2, 0, 2, 0]), rois + np.array([0, 3, 0, 3])
    first = np.where(rois[..., 0] < 20, 0.5, 0.3)
    second = np.where(rois[..., 0] == 2, 0.9, 0.2)
    scores, boxes = np.stack([first, second], -1), np.stack([right, below], -2)
    return tf.constant(scores, tf.float32), tf.constant(boxes, tf.float32)


def rows(found):
    count = int(found["count"][0])
    return [
        (int(label), round(float(score), 6), [round(float(corner), 4) for corner in box])
        for label, score, box in zip(
            found["labels"][0, :count], found["scores"][0], found["boxes"][0], strict=False
        )
    ]


def test_detections_of_one_answer():
    found = detections.detect(answer, ROIS, IS_ROI, SETTINGS)
    # RoIs 0 and 1 overlap, so the first of equal scores suppresses the other.
    assert rows(found) == [
        (0, 0.5, [2, 0, 12, 10]),
        (0, 0.3, [52, 50, 62, 60]),
        (1, 0.2, [0, 3, 10, 13]),
        (1, 0.2, [50, 53, 60, 63]),
    ]


def test_box_refinement():
    found = detections.detect(answer, ROIS, IS_ROI, SETTINGS, refine=True)
    # Pooled again are [2 0 12 10], [3 0 13 10] and [52 50 62 60], the first class's boxes. The
    # second class's .9 is of the first of them. Voters of equal weight at x1 of 2, 3, 4 and 5:
    first = (2 + 3 + 4 + 5) / 4
    # Of the second class: 0 and 1 with .2, 2 with .9, 3 with .2.
    second = (0 * 0.2 + 1 * 0.2 + 2 * 0.9 + 3 * 0.2) / 1.5
    assert rows(found) == [
        (1, 0.9, [pytest.approx(second, abs=1e-3), 3, pytest.approx(second + 10, abs=1e-3), 13]),
        (0, 0.5, [first, 0, first + 10, 10]),
        (0, 0.3, [53, 50, 63, 60]),
        (1, 0.2, [51, 53, 61, 63]),
    ]


def test_small_boxes_and_thresholds():
    scores = tf.constant([[[0.04], [0.9], [0.8]]])
    boxes = tf.constant([[[[0, 0, 9, 9]], [[0, 0, 9, 1]], [[20, 0, 29, 2]]]], tf.float32)
    found = detections.detect(lambda _: (scores, boxes), ROIS[:, :3], IS_ROI[:, :3], SETTINGS)
    assert rows(found) == [(0, 0.8, [20, 0, 29, 2])]


def test_answers_of_a_head():
    generator = np.random.default_rng(0)
    logits, deltas = generator.normal(0, 1, (2, 3, 4)), generator.normal(0, 2, (2, 3, 3, 4))
    rois = np.array([[[5, 5, 30, 20], [0, 0, 9, 9], [40, 3, 60, 40]]] * 2, "float32")
    sizes = np.array([[40, 60], [25, 50]])
    weights = (10, 10, 5, 5)
    logits, deltas = tf.constant(logits, tf.float32), tf.constant(deltas, tf.float32)
    scores, boxes = detections.of_rois(logits, deltas, tf.constant(rois), sizes, weights)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(scores, shares[..., :3], rtol=1e-5)
    for image in range(2):
        for label in range(3):
            own = geometry.decode(deltas[image, :, label], rois[image], weights)
            expected = geometry.clip(own, sizes[image])
            np.testing.assert_allclose(boxes[image, :, label], expected, atol=1e-4)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
