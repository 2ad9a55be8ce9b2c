"""Masked networks compute an image of a padded batch as if it were alone."""

import detectors
import keras
import numpy as np
import pytest

from resnet_keras import zoo
from resnet_keras.detection import backbones, padding

SIZES = np.array([[40, 72], [64, 96]], "int32")


@pytest.fixture(scope="module")
def trunk():
    assert backbones
    return zoo.backbone("resnet10_shapes", input_shape=(None, None, 3))


def padded(image):
    """The image above noise to the right and below, which nothing must see, and a larger one."""
    batch = detectors.images(2, seed=1)
    batch[0, : image.shape[1], : image.shape[2]] = image[0]
    return batch


def test_an_image_of_a_padded_batch_is_as_if_alone(trunk):
    image = detectors.images(1)[:, :40, :72]
    masked = padding.masked(trunk)
    assert masked.get_layer("conv1_conv") is trunk.get_layer("conv1_conv")
    batch = padded(image)
    with padding.sizes_of(batch, SIZES):
        found = masked(batch)
    alone, blind = trunk(image), trunk(batch)
    for name, features in alone.items():
        rows, columns = features.shape[1:3]
        np.testing.assert_allclose(found[name][:1, :rows, :columns], features, atol=1e-5)
        assert np.max(np.abs(blind[name][:1, :rows, :columns] - features)) > 1e-2


def test_outside_of_sizes_nothing_is_masked(trunk):
    image = detectors.images(1)
    for name, features in padding.masked(trunk)(image).items():
        np.testing.assert_array_equal(features, trunk(image)[name])


def test_cells_of_the_image():
    batch, features = np.zeros((2, 64, 96, 3)), np.zeros((2, 8, 12, 1), "float32")
    with padding.sizes_of(batch, np.array([[17, 96], [64, 1]], "int32")):
        rows, columns = padding.counts(features)
        inside = keras.ops.convert_to_numpy(padding.inside(features))
    np.testing.assert_array_equal(rows, [3, 8])
    np.testing.assert_array_equal(columns, [12, 1])
    expected = np.zeros((2, 8, 12), bool)
    expected[0, :3], expected[1, :, :1] = True, True
    np.testing.assert_array_equal(inside, expected)
    # Two levels of a pyramid whose last side is odd: 160 pixels, stride 64.
    with padding.sizes_of(np.zeros((1, 160, 32, 3)), np.array([[129, 32]], "int32")):
        rows, columns = padding.counts(np.zeros((1, 3, 1, 1)))
    assert (int(rows[0]), int(columns[0])) == (3, 1)


def test_what_is_put_outside():
    features = np.arange(1, 13, dtype="float32").reshape(1, 3, 4, 1)
    with padding.sizes_of(np.zeros((1, 24, 32, 3)), np.array([[16, 20]], "int32")):
        extended, without = padding.extended(features), padding.without(features)
    np.testing.assert_array_equal(extended[0, ..., 0], [[1, 2, 3, 3], [5, 6, 7, 7], [5, 6, 7, 7]])
    np.testing.assert_array_equal(
        without[0, ..., 0],
        [[1, 2, 3, -np.inf], [5, 6, 7, -np.inf], [-np.inf] * 4],
    )


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
