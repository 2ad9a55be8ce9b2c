"""Resized images and test views against Pillow's, level by level."""

import numpy as np
import PIL
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from resnet_keras.pipelines import augment, encoded, folder

PHOTOGRAPHS = load_sample_images().images  # two, of 427 x 640 pixels
INTERPOLATIONS = ("bilinear", "bicubic")


def pillow(image, height, width, interpolation):
    """An image as Pillow 13 resizes it: older versions never go along columns first."""
    resample = Image.Resampling[interpolation.upper()]
    columns_first = image.height - height > max(2 * (image.width - width), 0)
    if columns_first and int(PIL.__version__.split(".")[0]) < 13:
        image = image.resize((image.width, height), resample)
    return image.resize((width, height), resample)


def pillow_view(image, side, size, interpolation):
    """torchvision's Resize and CenterCrop."""
    longer = int(side * max(image.size) / min(image.size))
    width, height = (side, longer) if image.width <= image.height else (longer, side)
    left, top = (round((length - size) / 2.0) for length in (width, height))
    resized = pillow(image, height, width, interpolation)
    return np.asarray(resized.crop((left, top, left + size, top + size)).convert("RGB"))


def picture(generator, number, height, width):
    """Part of a photograph, noise, or black and white, where bicubic interpolation overshoots."""
    if number % 3 == 0 and height <= 427 and width <= 640:
        top, left = generator.integers(0, (428 - height, 641 - width))
        return PHOTOGRAPHS[number % 2][top : top + height, left : left + width]
    noise = generator.integers(0, 256, (height, width, 3), "uint8")
    return noise if number % 2 else (noise > 127).astype("uint8") * 255


def drawn_files(root, generator, count):
    """Encoded images of 1 to 600 pixels a side: JPEG and PNG, colour and grey."""
    paths = []
    for number in range(count):
        height, width = np.exp(generator.uniform(0, np.log(600), 2)).astype(int)
        if max(height, width) > 40 * min(height, width):
            height = max(height, 16)
            width = max(width, 16)
        image = Image.fromarray(picture(generator, number, height, width))
        grey, jpeg = generator.random(2) < (0.2, 0.5)
        paths.append(root / f"{number:03}.{'jpg' if jpeg else 'png'}")
        image.convert("L" if grey else "RGB").save(paths[-1])
    return paths


def compare_views(root, seed, views, files):
    """Asserts that random views of random files are Pillow's."""
    generator = np.random.default_rng(seed)
    for view in range(views):
        (root / str(view)).mkdir()
        paths = drawn_files(root / str(view), generator, files)
        source = folder.from_files(list(map(str, paths)), [0] * files, ("one",))
        side = int(generator.integers(20, 300))
        size = int(generator.integers(1, side + 1))
        shown = INTERPOLATIONS[view % 2]
        ((found, _),) = encoded.evaluation(
            source, files, image_size=size, resize=side, interpolation=shown
        ).as_numpy_iterator()
        for path, pixels in zip(paths, found, strict=True):
            expected = pillow_view(Image.open(path), side, size, shown)
            np.testing.assert_array_equal(pixels, expected, f"{path}, {side}, {size}, {shown}")


@pytest.mark.slow
def test_random_views_are_pillows(tmp_path):
    compare_views(tmp_path, 0, views=4, files=16)


@pytest.mark.slow
def test_five_hundred_random_views_are_pillows(tmp_path):
    compare_views(tmp_path, 1, views=20, files=25)


@pytest.fixture(scope="module")
def resize():
    """`augment.resize` by interpolation, traced once for all sizes."""

    def traced(interpolation):
        side = tf.TensorSpec([], tf.int32)
        return tf.function(
            lambda image, height, width: augment.resize(image, height, width, interpolation),
            input_signature=[tf.TensorSpec([None, None, 3], tf.uint8), side, side],
        )

    return {interpolation: traced(interpolation) for interpolation in INTERPOLATIONS}


def assert_pillows(resize, image, height, width, interpolation):
    expected = pillow(Image.fromarray(image), height, width, interpolation)
    found = resize[interpolation](image, height, width).numpy()
    assert found.dtype == np.uint8
    told = f"{image.shape[:2]} to {height, width}, {interpolation}"
    np.testing.assert_array_equal(found, np.asarray(expected), told)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_images_resized_to_any_sides_are_pillows(resize, interpolation):
    """Stretched, enlarged, shrunk, and left as they are along one axis or both."""
    generator = np.random.default_rng(2)
    for number in range(60):
        old, new = np.exp(generator.uniform(0, np.log(500), (2, 2))).astype(int)
        kept = [number % 5 == 0, number % 4 == 0]
        height, width = map(int, np.where(kept, old, new))
        assert_pillows(resize, picture(generator, number, *old), height, width, interpolation)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((512, 512), (256, 256)),
        ((600, 200), (256, 85)),  # 344 rows less, more than twice 115 columns: these come first
        ((400, 100), (170, 300)),  # taller than wide, and wider than before
        ((300, 200), (100, 100)),  # twice as many exactly: rows come first
        ((301, 200), (100, 100)),
        ((1, 1), (7, 5)),
        ((3, 4000), (1, 9)),
        ((4000, 2), (9, 3)),
    ],
)
def test_resized_images_of_special_sides_are_pillows(resize, interpolation, old, new):
    for number in (1, 2):
        image = picture(np.random.default_rng(3), number, *old)
        assert_pillows(resize, image, *new, interpolation)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("band", [1, 3000, 2**30])
def test_large_images_are_resized_in_bands(monkeypatch, interpolation, band):
    monkeypatch.setattr(augment, "_BAND", band)
    image = PHOTOGRAPHS[0]
    for part, sides in ((image, (100, 150)), (image[:, :120], (150, 90)), (image[:7], (30, 99))):
        expected = pillow(Image.fromarray(part), *sides, interpolation)
        found = augment.resize(tf.constant(part), *sides, interpolation)
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_resizing_a_large_image_takes_little_memory(peak_memory):
    image = tf.zeros([4000, 4000, 3], tf.uint8)
    augment.resize(image[:400, :400], 256, 256, "bilinear")
    used = peak_memory(lambda: augment.resize(image, 256, 256, "bilinear"))
    assert used < 96e6  # half of what the image takes as int32


@pytest.mark.parametrize("columns_first", [False, True])
@pytest.mark.parametrize("window", [(0, 0, 1, 1), (13, 40, 50, 9), (0, 59, 80, 1), (0, 0, 80, 60)])
def test_a_window_of_a_resized_image_is_that_part_of_the_whole(window, columns_first):
    top, left, height, width = window
    image = tf.constant(PHOTOGRAPHS[1][:, : 100 if columns_first else 640])
    whole = augment.resize(image, 80, 60, "bicubic")
    found = augment.resize(image, 80, 60, "bicubic", window)
    np.testing.assert_array_equal(found, whole[top : top + height, left : left + width])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
