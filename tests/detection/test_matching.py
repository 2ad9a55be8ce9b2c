"""Assignment of objects to anchors: thresholds, low quality, crowds, padding."""

import numpy as np
import tensorflow as tf

from resnet_keras.detection import matching

# detectron2's tests/modeling/test_matcher.py
IOU = np.array([[0.15, 0.45, 0.2, 0.6], [0.3, 0.65, 0.05, 0.1], [0.05, 0.4, 0.25, 0.4]], "float32")
ANCHORS = np.array(
    [[0, 0, 10, 10], [0, 0, 10, 6], [20, 0, 30, 10], [22, 0, 30, 10], [60, 60, 70, 70], [0] * 4],
    "float32",
)


def test_detectron2s_values():
    index, state = matching.match(IOU, 0.3, 0.7, low_quality=True)
    assert index.dtype == state.dtype == "int32"
    np.testing.assert_array_equal(index, [1, 1, 2, 0])
    np.testing.assert_array_equal(state, [-1, 1, 0, 1])
    _, state = matching.match(IOU, 0.3, 0.7)
    np.testing.assert_array_equal(state, [-1, -1, 0, -1])


def test_limits_belong_to_the_upper_side():
    iou = np.array([[0.1, 0.5, 0.09, 0.49]], "float32")
    _, state = matching.match(iou, np.float32(0.5), np.float32(0.5), floor=np.float32(0.1))
    np.testing.assert_array_equal(state, [0, 1, -1, 0])


def test_ties_go_to_the_first_object_and_to_all_best_candidates():
    iou = np.array([[0.4, 0.4, 0.1], [0.4, 0.2, 0.1]], "float32")
    index, state = matching.match(iou, 0.3, 0.7, low_quality=True)
    np.testing.assert_array_equal(index, [0, 0, 0])
    np.testing.assert_array_equal(state, [1, 1, 0])


def test_padding_changes_nothing_and_is_nobodys_best():
    padded = np.concatenate([IOU, np.zeros((2, 4), "float32")])
    batch = np.stack([padded, np.zeros_like(padded)])  # the second image is empty
    index, state = matching.match(batch, 0.3, 0.7, low_quality=True)
    np.testing.assert_array_equal(index[0], [1, 1, 2, 0])
    np.testing.assert_array_equal(state, [[-1, 1, 0, 1], [0, 0, 0, 0]])


def test_unusable_candidates_match_nothing_and_leave_the_best_to_others():
    usable = np.array([True, False, True, True])
    _, state = matching.match(IOU, 0.3, 0.7, low_quality=True, usable=usable)
    # Object 1's best is now candidate 0; objects 0 and 2 share candidate 3.
    np.testing.assert_array_equal(state, [1, -1, 0, 1])


def test_boxes_of_a_batch():
    truth = np.array([[[0, 0, 10, 10], [60, 60, 70, 75]], [[20, 0, 30, 10], [0] * 4]], "float32")
    index, state = matching.assign(ANCHORS, truth, 0.3, 0.7)
    np.testing.assert_array_equal(index, [[0, 0, 0, 0, 1, 0], [0] * 6])
    np.testing.assert_array_equal(state, [[1, -1, 0, 0, -1, 0], [0, 0, 1, 1, 0, 0]])
    usable = np.broadcast_to(ANCHORS.any(axis=1), (2, 6))
    _, state = matching.assign(ANCHORS, truth, 0.3, 0.7, low_quality=True, usable=usable)
    np.testing.assert_array_equal(state, [[1, -1, 0, 0, 1, -1], [0, 0, 1, 1, 0, -1]])


def test_what_lies_on_a_crowd_is_no_background():
    truth = np.array([[[0, 0, 10, 10], [0, 0, 26, 10]]], "float32")
    _, state = matching.assign(ANCHORS, truth, 0.3, 0.7)
    np.testing.assert_array_equal(state, [[1, -1, 0, 0, 0, 0]])
    crowd = np.array([[False, True]])
    index, state = matching.assign(ANCHORS, truth, 0.3, 0.7, crowd=crowd)
    # The object on the crowd stays one; .6 and .5 of anchors 2 and 3 lie on the crowd.
    np.testing.assert_array_equal(state, [[1, -1, -1, -1, 0, 0]])
    np.testing.assert_array_equal(index, np.zeros((1, 6)))  # the crowd is nobody's object
    _, state = matching.assign(ANCHORS, truth, 0.3, 0.7, crowd=crowd, low_quality=True)
    np.testing.assert_array_equal(state, [[1, -1, -1, -1, 0, 0]])


def test_xla_agrees():
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 90, (2, 200, 2))
    many = np.concatenate([corner, corner + generator.uniform(5, 40, (2, 200, 2))], axis=-1)
    many = many.astype("float32")

    def assign(candidates, truth):
        return matching.assign(candidates, truth, 0.3, 0.7, low_quality=True)

    expected = assign(many, many[:, :7] + 2)
    assert {-1, 0, 1} == set(np.ravel(expected[1]))
    result = tf.function(assign, jit_compile=True)(many, many[:, :7] + 2)
    for got, wanted in zip(result, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


if __name__ == "__main__":
    import sys

    import pytest

    sys.exit(pytest.main([__file__]))
