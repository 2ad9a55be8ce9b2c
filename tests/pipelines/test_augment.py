"""Pure image functions, against literal loops and Pillow."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

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


def literal_colour(image, order, factors, noise):
    """Jitter and PCA noise as fb.resnet.torch has them, one after the other, in float64."""
    pixels = image.astype("float64")
    for operation in order:
        grey = pixels @ [0.299, 0.587, 0.114]
        other = [0.0, grey.mean(), grey[..., None]][operation]
        pixels = factors[operation] * pixels + (1 - factors[operation]) * other
    deviations = 255 * np.array([0.2175, 0.0188, 0.0045]) * noise
    for channel, row in enumerate(augment.PCA_EIGENVECTORS):
        pixels[..., channel] += np.dot(row, deviations)
    return pixels


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_fused_colours_are_the_operations_one_by_one_in_any_order(order):
    images = pictures(6)
    generator = np.random.default_rng(1)
    factors = generator.uniform(0.6, 1.4, (6, 3)).astype("float32")
    noise = generator.normal(0, 0.1, (6, 3)).astype("float32")
    pixels = images.astype("float32")
    found = augment.apply_affine(
        pixels, *augment.colour_affine(pixels.mean((1, 2)), factors, noise)
    )
    for changed, image, *draws in zip(found.numpy(), images, factors, noise, strict=True):
        expected = literal_colour(image, order, *draws)
        np.testing.assert_allclose(changed, expected, rtol=0, atol=5e-4)


def test_mirrored_images_get_the_same_colours():
    images = pictures()
    mirrored = np.arange(64) % 3 == 0
    turned = augment.mirror(images, tf.constant(mirrored)).numpy()
    np.testing.assert_array_equal(turned[~mirrored], images[~mirrored])
    np.testing.assert_array_equal(turned[mirrored], images[mirrored, :, ::-1])
    plain = augment.random_colour(images, KEY, jitter=0.4)
    colour = augment.draw_colour(tf.constant(images), KEY, jitter=0.4)
    np.testing.assert_array_equal(
        augment.apply_colour(turned, *colour), augment.mirror(plain, tf.constant(mirrored))
    )


def test_principal_components_are_orthonormal():
    vectors = np.array(augment.PCA_EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-4)


def test_noise_alone_moves_an_image_along_the_principal_components():
    images = np.full((64, 4, 4, 3), 128, "uint8")
    changed = augment.random_colour(images, KEY, pca=0.3).numpy() - 128.0
    assert (changed == changed[:, :1, :1]).all()
    along = changed[:, 0, 0] @ augment.PCA_EIGENVECTORS / 255  # rounded to 1/255
    np.testing.assert_allclose(along.std(0), [0.3 * 0.2175, 0.3 * 0.0188, 0], atol=0.015)
    assert along[:, 0].std() > 0.05


def test_changed_colours_are_rounded_and_clipped_once():
    """A grey ramp at full contrast and brightness runs over both ends."""
    ramp = np.tile(np.arange(256, dtype="uint8")[None, None, :, None], (64, 2, 1, 3))
    changed = augment.random_colour(ramp, KEY, jitter=0.9, pca=0.0).numpy()
    assert changed.dtype == np.uint8
    for row in changed[:, 0, :, 0].astype(float):
        inside = np.flatnonzero((row > 0) & (row < 255))
        slope, start = np.polyfit(inside, row[inside], 1)
        np.testing.assert_allclose(row, np.clip(slope * np.arange(256) + start, 0, 255), atol=0.7)
    assert (changed[:, 0, 0] == 0).any()
    assert (changed[:, 0, 255] == 255).any()


def test_colour_factors_cover_their_range():
    """Brightness scales the mean, contrast too the spread of greys, saturation too that of RGB."""
    image = np.full((8, 8, 3), 60, "uint8")
    image[:4] = 120
    image[:, 0] = (120, 80, 60)
    grey = np.array(augment.GREY)
    found = []
    for step in range(20):
        key = stream.draw_seed(0, tf.constant(step, tf.int64))
        changed = augment.random_colour(np.stack([image] * 32), key, jitter=0.4, pca=0.0)
        changed = changed.numpy().astype(float)
        brightness = (changed @ grey).mean((1, 2)) / (image @ grey).mean()
        contrast = (changed[:, 0, 1, 1] - changed[:, 7, 1, 1]) / 60 / brightness
        saturation = (changed[:, 0, 0, 0] - changed[:, 0, 0, 2]) / 60 / brightness / contrast
        found.append([brightness, contrast, saturation])
    brightness, contrast, saturation = factors = np.concatenate(found, axis=1)
    # Rounded pixels leave the factors exact to some hundredths.
    assert factors.min() > 0.55
    assert factors.max() < 1.45
    np.testing.assert_allclose(factors.mean(1), 1, atol=0.04)
    np.testing.assert_allclose(factors.std(1), 0.8 / 12**0.5, atol=0.02)
    assert abs(np.corrcoef([brightness, contrast, saturation]) - np.eye(3)).max() < 0.15


def test_colours_depend_on_the_key_only():
    images = tf.constant(pictures())
    again = augment.random_colour(images, stream.draw_seed(3, tf.constant(5, tf.int64)), jitter=0.4)
    np.testing.assert_array_equal(augment.random_colour(images, KEY, jitter=0.4), again)
    other = augment.random_colour(images, stream.draw_seed(3, tf.constant(6, tf.int64)), jitter=0.4)
    assert (again.numpy() != other.numpy()).any((1, 2, 3)).all()


def test_colours_without_range_stay():
    images = pictures()
    np.testing.assert_array_equal(augment.random_colour(images, KEY, jitter=0.0, pca=0.0), images)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("crop", "size"),
    [
        (np.s_[:, :], (256, 383)),
        (np.s_[:333, :251], (97, 64)),
        (np.s_[100:161, 100:171], (224, 261)),
        (np.s_[:97, :], (300, 41)),
        (np.s_[7:8, :33], (5, 3)),
    ],
)
def test_resized_photographs_are_those_of_pillow(crop, size, interpolation):
    from sklearn.datasets import load_sample_images

    for photograph in load_sample_images().images:
        image = np.ascontiguousarray(photograph[crop])
        resample = Image.Resampling[interpolation.upper()]
        expected = np.asarray(Image.fromarray(image).resize(size[::-1], resample))
        found = augment.resize(tf.constant(image), *size, interpolation).numpy()
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
