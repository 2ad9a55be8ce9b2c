"""PNG files of labels: numbers come out as they stand in the file, whatever their colours."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet_keras.errors import told
from resnet_keras.pipelines import png


def file_of(image, **options):
    content = io.BytesIO()
    image.save(content, "PNG", **options)
    return content.getvalue()


def numbers(most, seed=0):
    return np.random.default_rng(seed).integers(0, most, (13, 21), np.uint8)


def labels(content):
    return png.labels(tf.constant(content), tf.constant("masks/a.png")).numpy()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_are_read_and_not_their_colours(bits):
    wanted = numbers(2**bits)
    for colours in (np.random.default_rng(1).integers(0, 256, 3 * 2**bits), [7] * 3 * 2**bits):
        image = Image.fromarray(wanted, "P")
        image.putpalette(list(map(int, colours)))
        content = file_of(image, bits=bits, transparency=0, dpi=(72, 72))
        assert (content[24], content[25]) == (bits, 3)
        np.testing.assert_array_equal(labels(content), wanted)


def test_grey_values_are_read():
    np.testing.assert_array_equal(labels(file_of(Image.fromarray(numbers(256)))), numbers(256))
    narrow = file_of(Image.fromarray(numbers(2).astype(bool)))
    assert narrow[24] == 1
    np.testing.assert_array_equal(labels(narrow), numbers(2))


def test_masks_are_written_with_vocs_colours():
    content = png.encode(numbers(256))
    image = Image.open(io.BytesIO(content))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), numbers(256))
    np.testing.assert_array_equal(labels(content), numbers(256))
    colours = np.asarray(image.getpalette()).reshape([256, 3])
    # As published: background, aeroplane, bicycle, bird, boat, and the border.
    first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    np.testing.assert_array_equal(colours[:5], first)
    np.testing.assert_array_equal(colours[[20, 255]], [[0, 64, 128], [224, 224, 192]])


def test_an_overlay_leaves_the_ground():
    image = np.full([2, 2, 3], 100, np.uint8)
    mixed = png.overlay(image, np.array([[0, 1], [255, 2]]), share=0.5)
    wanted = [[[100, 100, 100], [114, 50, 50]], [[162, 162, 146], [50, 114, 50]]]
    np.testing.assert_array_equal(mixed, wanted)


WHOLE = png.encode(numbers(256))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no PNG file"),
        (b"\xff\xd8\xff\xe0", "is no PNG file"),
        (file_of(Image.new("RGB", (3, 2))), "is a picture of colours"),
        (file_of(Image.new("LA", (3, 2))), "is a picture of colours"),
        (file_of(Image.fromarray(np.zeros([2, 3], np.uint16))), "has 16 bits"),
        (WHOLE[:20], "cannot decode the mask"),
        (WHOLE[:900], "cannot decode the mask"),
        (WHOLE[:33] + b"\xff" * 4 + WHOLE[37:], "cannot decode the mask"),
        (WHOLE[:33] + b"\x7f" + WHOLE[34:], "cannot decode the mask"),
        (WHOLE[:16] + b"\x7f" * 8 + WHOLE[24:], "cannot decode the mask"),
    ],
)
def test_what_is_no_mask_is_told_in_one_sentence(content, words):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        labels(content)
    assert "masks/a.png" in str(told(caught.value))
    assert words in str(told(caught.value))


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
