"""The feature pyramid against its arithmetic."""

import numpy as np

from resnet_keras.detection import necks
from resnet_keras.networks.layers import BatchNormalization


def test_levels_of_odd_sides():
    model = necks.fpn({"conv3": 8, "conv4": 16, "conv5": 32}, channels=4)
    sides = {"conv3": (11, 8, 8), "conv4": (6, 4, 16), "conv5": (3, 2, 32)}
    features = {name: np.ones((2, *shape), "float32") for name, shape in sides.items()}
    levels = model(features)
    assert list(levels) == ["p3", "p4", "p5", "p6"]
    shapes = [(2, 11, 8, 4), (2, 6, 4, 4), (2, 3, 2, 4), (2, 2, 1, 4)]
    assert [tuple(x.shape) for x in levels.values()] == shapes
    np.testing.assert_array_equal(levels["p6"], levels["p5"][:, ::2, ::2])
    # Lateral 1x1 and output 3x3 convolutions, with biases (Lin et al., Sec. 3).
    assert model.count_params() == (8 + 16 + 32 + 3) * 4 + 3 * (9 * 4 * 4 + 4)


def test_coarser_levels_are_added_to_finer_ones():
    model = necks.fpn({"conv2": 1, "conv3": 1}, channels=1)
    for layer in model.layers:
        if layer.weights:
            height, width, *_ = layer.kernel.shape
            kernel = np.zeros(layer.kernel.shape, "float32")
            kernel[height // 2, width // 2] = 1  # passes values through
            layer.set_weights([kernel, np.zeros(1)])
    fine = np.arange(15, dtype="float32").reshape(1, 3, 5, 1)
    coarse = 100 * np.arange(6, dtype="float32").reshape(1, 2, 3, 1)
    levels = model({"conv2": fine, "conv3": coarse})
    np.testing.assert_array_equal(levels["p3"], coarse)
    doubled = coarse.repeat(2, 1).repeat(2, 2)[:, :3, :5]
    np.testing.assert_array_equal(levels["p2"], fine + doubled)


def test_batch_normalization_takes_the_place_of_biases():
    model = necks.fpn({"conv4": 8, "conv5": 8}, channels=4, norm=BatchNormalization)
    names = {weight.name for weight in model.weights}
    assert names == {"kernel", "gamma", "beta", "moving_mean", "moving_variance"}


if __name__ == "__main__":
    import sys

    import pytest

    sys.exit(pytest.main([__file__]))
