"""Anchors of three projects, and the grid of a feature map."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import anchors
from resnet_keras.errors import InputError

# py-faster-rcnn's docstring: 1-based inclusive corners at stride 16, so 1 more than its code gives.
PY_FASTER_RCNN = [
    [-83, -39, 100, 56],
    [-175, -87, 192, 104],
    [-359, -183, 376, 200],
    [-55, -55, 72, 72],
    [-119, -119, 136, 136],
    [-247, -247, 264, 264],
    [-35, -79, 52, 96],
    [-79, -167, 96, 184],
    [-167, -343, 184, 360],
]
TORCHVISION = np.array(
    [
        [91, 45],
        [181, 91],
        [362, 181],
        [64, 64],
        [128, 128],
        [256, 256],
        [45, 91],
        [91, 181],
        [181, 362],
    ]
)
DETECTRON2 = np.array(
    [
        [90.5097, 45.2548],
        [64, 64],
        [45.2548, 90.5097],
        [181.0193, 90.5097],
        [128, 128],
        [90.5097, 181.0193],
        [362.0387, 181.0193],
        [256, 256],
        [181.0193, 362.0387],
    ]
)
SIZES = (128, 256, 512)


def around_origin(half):
    return np.concatenate([-half, half], axis=1)


def test_py_faster_rcnn():
    cell = anchors.grid(anchors.base(SIZES), 16, 1, 1, offset=anchors.OFFSETS["paper"])
    zero_based = np.array(PY_FASTER_RCNN) - 1
    np.testing.assert_array_equal(zero_based[0], [-84, -40, 99, 55])
    np.testing.assert_array_equal(cell, zero_based + np.array([0, 0, 1, 1]))  # half-open


def test_torchvision():
    base = anchors.base(SIZES, preset="torchvision")
    np.testing.assert_array_equal(base, around_origin(TORCHVISION))
    grid = anchors.grid(base, 16, 2, 3)
    assert grid.shape == (2 * 3 * 9, 4)
    np.testing.assert_array_equal(grid[9], [-75, -45, 107, 45])
    np.testing.assert_array_equal(grid[27], [-91, -29, 91, 61])


def test_detectron2():
    base = anchors.base(SIZES, preset="detectron2")
    np.testing.assert_allclose(base, around_origin(DETECTRON2), atol=5e-5)  # given to four places
    base = anchors.base((32, 64), (0.25, 1, 4), preset="detectron2")
    half = np.array([[32, 8], [16, 16], [8, 32], [64, 16], [32, 32], [16, 64]])
    np.testing.assert_array_equal(base, around_origin(half))


def test_an_unknown_preset():
    with pytest.raises(InputError, match=r"Unknown preset of anchors 'detectron'.*'detectron2'"):
        anchors.base(SIZES, preset="detectron")


def test_the_grid_of_unknown_sides():
    base = anchors.base((32,))

    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def grid(features):
        return anchors.grid(base, 8, tf.shape(features)[0], tf.shape(features)[1], offset=0.5)

    result = grid(tf.zeros((3, 2)))
    np.testing.assert_array_equal(result, anchors.grid(base, 8, 3, 2, offset=0.5))
    centres = (result[:, :2] + result[:, 2:]) / 2
    np.testing.assert_array_equal(
        centres[::3], [[4, 4], [12, 4], [4, 12], [12, 12], [4, 20], [12, 20]]
    )


def test_inside():
    given = np.array(
        [[0, 0, 200, 100], [-1, 0, 9, 9], [0, 0, 201, 9], [0, 0, 9, 101], [5, -2, 9, 9]]
    )
    result = anchors.inside(given, np.array([[100, 200], [100, 300]]))
    expected = [[True, False, False, False, False], [True, False, True, False, False]]
    np.testing.assert_array_equal(result, expected)
    result = anchors.inside(given, (100, 200), border=1)
    np.testing.assert_array_equal(result, [True, True, True, True, False])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
