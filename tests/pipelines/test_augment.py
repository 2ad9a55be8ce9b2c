"""Pure image functions, against literal loops."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.pipelines import augment, stream

KEY = stream.draw_seed(3, tf.constant(5, tf.int64))


def pictures(count=64, side=12):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, side, side, 3), "uint8")


def test_pad_frames_with_one_colour():
    images = pictures(2)
    padded = augment.pad(tf.constant(images), 4, (125, 123, 114)).numpy()
    assert padded.shape == (2, 20, 20, 3)
    np.testing.assert_array_equal(padded[:, 4:-4, 4:-4], images)
    frame = np.ones((20, 20), bool)
    frame[4:-4, 4:-4] = False
    assert (padded[:, frame] == (125, 123, 114)).all()


@pytest.mark.parametrize("flip", [False, True])
def test_each_crop_is_a_window_of_its_image(flip):
    images = pictures()
    crops = augment.random_crop(tf.constant(images), 8, KEY, flip=flip).numpy()
    assert crops.shape == (64, 8, 8, 3)
    seen = set()
    for image, crop in zip(images, crops, strict=True):
        places = {
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if np.array_equal(
                crop[:, ::-1] if mirrored else crop, image[top : top + 8, left : left + 8]
            )
        }
        assert len(places) == 1
        seen |= places
    assert {top for top, _, _ in seen} == set(range(5))
    assert {left for _, left, _ in seen} == set(range(5))
    assert {mirrored for _, _, mirrored in seen} == ({False, True} if flip else {False})


def test_draws_depend_on_the_key_only():
    images = tf.constant(pictures())
    again = augment.random_crop(images, 8, stream.draw_seed(3, tf.constant(5, tf.int64)))
    np.testing.assert_array_equal(augment.random_crop(images, 8, KEY), again)
    other = augment.random_crop(images, 8, stream.draw_seed(3, tf.constant(6, tf.int64)))
    assert not np.array_equal(again, other)


def test_affine_without_range_changes_nothing():
    images = tf.constant(pictures())
    same = augment.random_affine(images, KEY, degrees=0, scale=0, shift=0)
    np.testing.assert_array_equal(same, images)


def test_affine_moves_a_dot_as_drawn():
    """A bright dot right of the centre stays at its radius times the magnification."""
    images = np.zeros((200, 41, 41, 1), "float32")
    images[:, 19:22, 30:33] = 1.0  # centred at radius 11 from the centre (20, 20)
    turned = augment.random_affine(tf.constant(images), KEY, degrees=30, scale=0.2, shift=0).numpy()
    rows, columns = np.mgrid[:41, :41]
    mass = turned.sum((1, 2, 3))
    down = (turned[..., 0] * rows).sum((1, 2)) / mass - 20
    right = (turned[..., 0] * columns).sum((1, 2)) / mass - 20
    angles, radii = np.degrees(np.arctan2(down, right)), np.hypot(down, right) / 11
    assert abs(angles).max() <= 31
    assert angles.min() < -25
    assert angles.max() > 25
    assert 1 / 1.2 - 0.03 < radii.min() < 0.87
    assert 1.15 < radii.max() < 1.23
    assert abs(np.log(radii).mean()) < 0.03


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
