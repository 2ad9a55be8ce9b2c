"""Proposals against a literal loop."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import boxes as geometry
from resnet_keras.detection.proposals import Level, propose
from resnet_keras.detection.settings import settings

SIZES = np.array([[48, 64], [64, 64]], "int32")


def levels(seed=0):
    """Two levels, of 60 and 20 anchors, for two images."""
    generator = np.random.default_rng(seed)
    found = []
    for count in (60, 20):
        corners = generator.uniform(-10, 50, (count, 2))
        anchors = np.concatenate([corners, corners + generator.uniform(5, 40, (count, 2))], 1)
        objectness = generator.normal(0, 1, (2, count))
        deltas = generator.normal(0, 0.3, (2, count, 4))
        values = (tf.constant(x, tf.float32) for x in (anchors, objectness, deltas))
        found.append(Level(*values, tf.constant(generator.random((2, count)) < 0.8)))
    return found


def loop(levels, entry, values, place):
    """The literal form for one image."""
    kept = []
    for level in levels:
        boxes = geometry.clip(geometry.decode(level.deltas[entry], level.anchors), SIZES[entry])
        boxes = np.array(boxes)
        overlaps = np.array(geometry.iou(boxes, boxes))
        sides = np.min(boxes[:, 2:] - boxes[:, :2], 1)
        scores = level.objectness.numpy()[entry]
        present = np.flatnonzero(level.present[entry])
        order = present[np.argsort(-scores[present])][: values.proposals_before[place]]
        chosen = []
        for number in order:
            apart = all(overlaps[number, other] <= values.proposal_iou for other in chosen)
            if sides[number] >= max(values.proposal_side, 1e-6) and apart:
                chosen.append(number)
        kept += [(scores[number], boxes[number]) for number in chosen]
    kept.sort(key=lambda pair: -pair[0])
    return np.array([box for _, box in kept[: values.proposals[place]]])


@pytest.mark.parametrize("place", [0, 1])
def test_against_a_loop(place):
    changes = {"proposals_before": (50, 15), "proposals": (60, 8), "proposal_side": 6.0}
    values = settings("paper", "fpn", **changes)
    boxes, is_proposal = propose(levels(), SIZES, values, training=place == 0)
    assert boxes.shape == (2, values.proposals[place], 4)
    for entry in range(2):
        expected = loop(levels(), entry, values, place)
        count = int(np.sum(is_proposal[entry]))
        assert count == len(expected) > 5
        np.testing.assert_allclose(boxes[entry, :count], expected, atol=1e-4)
        np.testing.assert_array_equal(boxes[entry, count:], 0)
        assert np.all(is_proposal[entry, :count])


def test_no_gradient_goes_through():
    first, second = levels()
    with tf.GradientTape() as tape:
        tape.watch(first.deltas)
        boxes, _ = propose([first, second], SIZES, settings("paper", "c4"), training=True)
        total = tf.reduce_sum(boxes)
    assert tape.gradient(total, first.deltas) is None


def test_outputs_that_are_no_numbers_propose_nothing():
    broken = [level._replace(deltas=level.deltas * float("nan")) for level in levels()]
    boxes, is_proposal = propose(broken, SIZES, settings("paper", "c4"), training=True)
    assert not np.any(is_proposal)
    np.testing.assert_array_equal(boxes, 0)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
