"""Suppression and voting against literal loops."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import nms

# The second's IoU with the first is exactly .5, the third's nearly 1.
BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 10.001], [20, 20, 30, 30]], "float32")
SCORES = np.array([0.9, 0.8, 0.7, 0.95], "float32")


def iou(a, b):
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def suppressed(boxes, scores, limit, threshold):
    """The literal loop, for one image: indices of what is kept."""
    kept = []
    for number in np.argsort(-scores, kind="stable"):
        if scores[number] == -np.inf or len(kept) == limit:
            break
        if all(iou(boxes[number], boxes[other]) <= threshold for other in kept):
            kept.append(int(number))
    return kept


def crowded(shape, seed=0):
    """Boxes that overlap often, in an image of 60 x 60; coordinates to 1/8, so IoUs are exact."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(-40, 400, (*shape, 2)) / 8
    sides = generator.integers(40, 160, (*shape, 2)) / 8
    return np.concatenate([corner, corner + sides], axis=-1).astype("float32")


@pytest.fixture(scope="module")
def compiled():
    return {jit: tf.function(nms.nms, jit_compile=jit) for jit in (False, True)}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_strictly_above_the_limit_is_suppressed(compiled, jit_compile):
    index, count = compiled[jit_compile](BOXES[None], SCORES[None], 4, 0.5)
    assert index.dtype == count.dtype == "int32"
    np.testing.assert_array_equal(index, [[3, 0, 1, 0]])
    np.testing.assert_array_equal(count, [3])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_against_a_loop(compiled, jit_compile):
    boxes = crowded((3, 50))
    scores = np.random.default_rng(1).integers(0, 10, (3, 50)).astype("float32")  # with ties
    scores[0, 5], scores[1] = np.nan, -np.inf
    boxes[0, 6] = 0  # no area: overlaps nothing
    limits = [60] if jit_compile else [10, 60]
    for limit in limits:
        index, count = compiled[jit_compile](boxes, scores, limit, 0.3)
        for image in range(3):
            real = np.where(np.isnan(scores[image]), -np.inf, scores[image])
            expected = suppressed(boxes[image], real, limit, 0.3)
            assert int(count[image]) == len(expected)
            padded = expected + [0] * (limit - len(expected))
            np.testing.assert_array_equal(index[image], padded)
        assert int(count[0]) == limit or limit == 60


def test_padding_changes_nothing(compiled):
    padded = np.concatenate([BOXES, np.zeros((5, 4)), BOXES[:2] * 1e4]).astype("float32")
    scores = np.concatenate([SCORES, np.full(7, -np.inf)]).astype("float32")
    groups = np.arange(11) % 2
    for run in (compiled[False], lambda *args: nms.grouped(*args[:2], groups, *args[2:])):
        index, count = run(padded[None], scores[None], 4, 0.5)
        kept = index[0, : int(count[0])].numpy()
        assert set(kept) <= {0, 1, 2, 3}
    alone = nms.grouped(BOXES[None], SCORES[None], groups[:4], 4, 0.5)[0]
    np.testing.assert_array_equal(alone, index)


def test_boxes_that_are_no_numbers_are_left_out():
    boxes = np.concatenate([BOXES, [[np.nan, 0, 9, 9]]]).astype("float32")
    scores = np.append(SCORES, 1).astype("float32")[None]
    index, count = nms.grouped(boxes[None], scores, np.arange(5) % 2, 5, 0.49)
    np.testing.assert_array_equal(index, [[3, 0, 1, 0, 0]])
    np.testing.assert_array_equal(count, [3])


def test_groups_do_not_suppress_each_other():
    boxes, groups = BOXES[None], np.array([[0, 1, 1, 0]])
    index, count = nms.grouped(boxes, SCORES[None], groups, 4, 0.49)
    np.testing.assert_array_equal(index, [[3, 0, 1, 0]])  # 2 falls to 1 and not to 0
    np.testing.assert_array_equal(count, [3])
    index, _ = nms.grouped(boxes - 100, SCORES[None], groups[0], 4, 0.49)
    np.testing.assert_array_equal(index, [[3, 0, 1, 0]])


def detections(boxes, scores, limit, threshold, score_threshold):
    """`per_class` as a loop over the classes of one image."""
    found = []
    for label in range(scores.shape[1]):
        own = boxes[:, label] if boxes.ndim == 3 else boxes
        masked = np.where(scores[:, label] > score_threshold, scores[:, label], -np.inf)
        for number in suppressed(own, masked, len(own), threshold):
            found.append((float(scores[number, label]), number, label, own[number]))
    found.sort(key=lambda detection: -detection[0])
    return found[:limit]


@pytest.mark.parametrize(
    ("own_boxes", "jit_compile"), [(False, False), (True, False), (True, True)]
)
def test_the_detections_of_each_class(own_boxes, jit_compile):
    boxes = crowded((2, 30, 4) if own_boxes else (2, 30))
    scores = np.random.default_rng(2).permuted(np.arange(240) / 240).reshape(2, 30, 4)
    scores = scores.astype("float32")
    scores[1] *= 0.06  # a few above the threshold only
    run = tf.function(nms.per_class, jit_compile=jit_compile)
    for candidates in [None] if jit_compile else [None, 60, 1000]:
        kept, confidence, labels, count = run(boxes, scores, 25, 0.3, candidates=candidates)
        assert kept.shape == (2, 25, 4)
        for image in range(2):
            expected = detections(boxes[image], scores[image], 25, 0.3, 0.05)
            number = int(count[image])
            assert number == len(expected)
            assert [float(s) for s in confidence[image, :number]] == [e[0] for e in expected]
            assert labels[image, :number].numpy().tolist() == [e[2] for e in expected]
            np.testing.assert_array_equal(kept[image, :number], [e[3] for e in expected])
            assert not np.any(kept[image, number:])
            assert not np.any(confidence[image, number:])
            assert np.all(labels[image, number:] == -1)
        assert int(count[0]) == 25 > int(count[1]) > 0


def test_no_detection_at_all():
    kept, scores, labels, count = nms.per_class(BOXES[None], np.zeros((1, 4, 3)), 5, 0.5)
    assert not np.any(kept)
    assert not np.any(scores)
    assert np.all(labels == -1)
    assert int(count[0]) == 0


def voted(kept, label, boxes, scores, threshold):
    """The vote on one detection, a loop over all boxes of its class."""
    total, result = 0.0, np.zeros(4)
    for number in range(len(boxes)):
        box = boxes[number, label] if boxes.ndim == 3 else boxes[number]
        score = max(float(scores[number, label]), 0.0)
        if iou(kept, box) >= threshold:
            total, result = total + score, result + score * box
    return result / total if total else kept


@pytest.mark.parametrize("own_boxes", [False, True])
def test_voting_against_a_loop(own_boxes):
    boxes = crowded((2, 30, 4) if own_boxes else (2, 30))
    scores = np.random.default_rng(3).uniform(-0.2, 1, (2, 30, 4)).astype("float32")
    kept, _, labels, count = nms.per_class(boxes, scores, 40, 0.3, score_threshold=0.5)
    result = nms.vote(kept, labels, boxes, scores, 0.4)
    moved = 0
    for image in range(2):
        for number in range(int(count[image])):
            box, label = kept[image, number].numpy(), int(labels[image, number])
            expected = voted(box, label, boxes[image], scores[image], 0.4)
            np.testing.assert_allclose(result[image, number], expected, rtol=1e-5, atol=1e-4)
            moved += not np.allclose(box, expected)
        assert not np.any(result[image, int(count[image]) :])
    assert moved > 10


def test_voting_by_hand():
    """The third box lies at 3/4 of the way; the one with an IoU of exactly .5 votes, too."""
    kept, labels = BOXES[None, :1], np.array([[0]])
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.9], [2, 0, 10, 10]]], "float32")
    scores = np.array([[[1], [0.5], [9], [0.5]]], "float32")
    result = nms.vote(kept, labels, boxes, scores)
    np.testing.assert_allclose(result[0, 0], [0.5, 0, 10, 8.75])
    np.testing.assert_array_equal(nms.vote(kept, labels, boxes, -scores), kept)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
