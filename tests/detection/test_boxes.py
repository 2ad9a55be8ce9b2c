"""Overlap, the coder of regression targets, and sentences on boxes that cannot be true."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import detection, errors
from resnet_keras.detection import boxes
from resnet_keras.errors import InputError

ANCHORS = np.array([[0, 0, 10, 20], [-8, -8, 8, 8], [100, 100, 228, 164]], "float32")
BOXES = np.array([[5, 5, 15, 35], [0, 0, 1, 1], [90, 110, 250, 180]], "float32")
DELTAS = [
    [0.5, 0.5, 0, 0.405465],
    [0.03125, 0.03125, -2.772589, -2.772589],
    [0.046875, 0.203125, 0.223144, 0.089612],
]


def test_iou():
    others = np.array([[0, 0, 10, 5], [6, 6, 7, 7], [20, 20, 30, 30], [10, 0, 20, 10], [0] * 4])
    result = boxes.iou(np.array([[0, 0, 10, 10], [0, 0, 0, 0], [9, 9, 1, 1]]), others)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result[0], [0.5, 0.01, 0, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(result[1:], np.zeros((2, 5)))  # padding and inverted: no NaN


def test_iou_of_batches_and_in_half_precision():
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 50, (2, 7, 2))
    many = np.concatenate([corner, corner + generator.uniform(1, 50, (2, 7, 2))], axis=-1)
    result = boxes.iou(many, many[:, :5])
    assert result.shape == (2, 7, 5)
    for image, i, j in np.ndindex(2, 7, 5):
        a, b = many[image, i], many[image, j]
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        shared = np.prod(np.maximum(sides, 0))
        union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
        assert float(result[image, i, j]) == pytest.approx(shared / union, abs=1e-5)
    # 1000 x 1000 pixels are beyond float16.
    large = np.array([[0, 0, 1000, 1000], [0, 0, 1000, 500]], "float16")
    np.testing.assert_allclose(boxes.iou(large, large), [[1, 0.5], [0.5, 1]])


def test_iou_with_crowds_is_the_share_of_the_box():
    result = boxes.iou_crowd(
        np.array([[10, 110, 70, 170], [0, 90, 10, 110], [0, 0, 0, 0]]),
        np.array([[0, 100, 200, 180], [0, 0, 0, 0]]),
    )
    np.testing.assert_allclose(result, [[1, 0], [0.5, 0], [0, 0]])


def test_keras_agrees():
    generator = np.random.default_rng(1)
    corner = generator.uniform(0, 50, (2, 20, 2))
    many = np.concatenate([corner, corner + generator.uniform(1, 50, (2, 20, 2))], axis=-1)
    many = many.astype("float32")
    a, b = many
    expected = keras.utils.bounding_boxes.compute_iou(a, b, "xyxy")
    np.testing.assert_allclose(boxes.iou(a, b), expected, atol=1e-5)
    expected = keras.utils.bounding_boxes.encode_box_to_deltas(
        a, b, anchor_format="xyxy", box_format="xyxy", encoding_format="center_xywh"
    )
    np.testing.assert_allclose(boxes.encode(a, b), expected, atol=1e-5)


def test_clip():
    given = np.array([[[-5, -6, 50, 60], [1, 2, 3, 4], [0] * 4]] * 2, "float32")
    result = boxes.clip(given, np.array([[20, 30], [40, 10]]))
    np.testing.assert_array_equal(result[0], [[0, 0, 30, 20], [1, 2, 3, 4], [0] * 4])
    np.testing.assert_array_equal(result[1, 0], [0, 0, 10, 40])
    np.testing.assert_array_equal(boxes.clip(given[0], (20, 30)), result[0])


def test_encode():
    np.testing.assert_allclose(boxes.encode(ANCHORS, BOXES), DELTAS, atol=1e-5)
    weights = (10.0, 10.0, 5.0, 5.0)
    expected = np.multiply(DELTAS, weights)
    np.testing.assert_allclose(boxes.encode(ANCHORS, BOXES, weights), expected, atol=1e-5)


def test_decode_clamps():
    deltas = np.array([[0.5, 0.5, np.log(2), 10], [-1, 1, -2, 0.3]], "float32")
    result = boxes.decode(deltas, ANCHORS[[0, 2]])
    expected = [[0, -605, 20, 645], [27.3385, 152.8045, 44.6615, 239.1955]]
    np.testing.assert_allclose(result, expected, atol=1e-4)  # given to four places
    huge = boxes.decode(np.full((1, 4), 1e4, "float32"), ANCHORS[:1])
    assert np.isfinite(huge).all()


def test_decode_inverts_encode_for_each_class():
    weights = (10.0, 10.0, 5.0, 5.0)
    truth = np.stack([BOXES, BOXES + 3], axis=1)[None]  # (1, 3, 2, 4)
    anchors = ANCHORS[None, :, None]
    deltas = boxes.encode(anchors, truth, weights)
    np.testing.assert_allclose(boxes.decode(deltas, anchors, weights), truth, atol=1e-4)


def test_padding_has_finite_targets_and_gradients():
    padded = tf.constant([[0.0, 0, 0, 0], [3, 3, 1, 1]])
    with tf.GradientTape() as tape:
        tape.watch(padded)
        targets = boxes.encode(ANCHORS[:2], padded), boxes.encode(padded, ANCHORS[:2])
        overlap = boxes.iou(padded, padded)
    assert all(np.isfinite(target).all() for target in targets)
    assert np.isfinite(tape.gradient([*targets, overlap], padded)).all()


GOOD = np.array([[[10, 20, 30, 50], [0, 0, 1, 1], [0] * 4], [[0, 0, 200, 100], [0] * 4, [0] * 4]])
LABELS = np.array([[0, 2, -1], [1, -1, -1]])
SIZE = np.array([[100, 200], [100, 200]])
# What replaces the boxes and labels of entry 1, and how the sentence goes.
WRONG = {
    "nan": ([[0, 0, np.nan, 5]], [1], "a corner is not a number"),
    "infinite": ([[0, 0, np.inf, 5]], [1], "a corner is not a number"),
    "too_large": ([[0, 0, 5, 5]], [3], r"with label 3: the label is none of the classes 0 to 2"),
    "negative": ([[0, 0, 5, 5]], [-2], "the label is none of the classes 0 to 2"),
    "padding": ([[0, 0, 5, 5]], [-1], "label -1 marks padding"),
    "scaled": ([[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]], [1, 0], r"all boxes .* within \[0, 1\]"),
    "inverted": ([[50, 10, 20, 40]], [0], r"ends before it begins; .* \(x, y, x \+ width"),
    "xywh": ([[100, 60, 20, 30]], [0], r"ends before it begins; .*turn \(x, y, width, height\)"),
    "empty": ([[50, 10, 50, 40]], [0], "has no area; remove it"),
    "outside": ([[150, 10, 250, 40], [0, 0, 9, 9]], [0, 0], "leaves its image; clip it"),
    "negative_corner": ([[-3, 10, 50, 40], [0, 0, 9, 9]], [0, 0], "leaves its image"),
    "added_twice": ([[150, 10, 300, 40], [90, 90, 210, 150]], [0, 0], "most boxes of the image"),
}


def targets(kind):
    given, labels, sentence = WRONG[kind]
    wrong, wrong_labels = GOOD.astype("float32"), LABELS.copy()
    wrong[1, : len(given)], wrong_labels[1, : len(given)] = given, labels
    return wrong, wrong_labels, f"^Batch entry 1, box 0, .*{sentence}"


def test_what_is_right_passes():
    boxes.check(GOOD, LABELS, SIZE, 3)
    boxes.check(GOOD + np.array([0, 0, 0.5, 0.5]) * (LABELS >= 0)[..., None], LABELS, SIZE, 3)
    boxes.check(np.zeros((2, 1, 4)), np.full((2, 1), -1), (100, 200), 3)
    boxes.check(np.zeros((2, 0, 4)), np.zeros((2, 0), "int32"), (100, 200), 3)
    np.testing.assert_array_equal(boxes.valid(GOOD, LABELS, SIZE, 3), [True, True])


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named(kind):
    wrong, labels, sentence = targets(kind)
    with pytest.raises(InputError, match=sentence) as caught:
        boxes.check(wrong, labels, SIZE, 3)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(boxes.valid(wrong, labels, SIZE, 3), [True, False])


def test_a_graph_says_the_same():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 4], tf.float32),
            tf.TensorSpec([None, None], tf.int32),
        ]
    )
    def step(given, labels):
        boxes.check(given, labels, SIZE, 3)
        return given

    for kind in WRONG:
        wrong, labels, sentence = targets(kind)
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            step(wrong, labels.astype("int32"))
        assert re.search(sentence, str(errors.told(caught.value)))
    step(GOOD.astype("float32"), LABELS.astype("int32"))
    step(np.zeros((2, 0, 4), "float32"), np.zeros((2, 0), "int32"))


def test_xla_marks_the_entry():
    valid = tf.function(boxes.valid, jit_compile=True)
    wrong, labels, _ = targets("inverted")
    np.testing.assert_array_equal(valid(wrong, labels, SIZE, 3), [True, False])


def test_the_facade_has_the_modules():
    assert detection.boxes is boxes
    assert {"anchors", "boxes", "losses", "matching", "nms", "roi"} <= set(dir(detection))
    with pytest.raises(AttributeError, match="no attribute 'box'"):
        _ = detection.box


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
