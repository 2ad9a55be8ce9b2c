"""Encoded images against Pillow, windows against whole images, and what is no image."""

import contextlib
import io
import pathlib
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet_keras.pipelines import decode

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), "uint8")).resize(
    (97, 61), Image.Resampling.BICUBIC
)


def encoded(image, kind, **options):
    """Bytes of a Pillow image or an array."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def pillow(contents):
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"), int)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def whole(contents):
    return decode.decode(contents)


@tf.function(
    input_signature=[
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([4], tf.int32),
        tf.TensorSpec([], tf.int32),
    ]
)
def window(contents, part, size):
    return decode.decode_window(contents, lambda shape: part, size)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def survivors(contents):
    def shape(row):
        return tf.shape(decode.decode(row))

    return decode.attempt(shape, (contents,), tf.TensorSpec([3], tf.int32))


@contextlib.contextmanager
def memory_for(limit):
    """Checks that the process never has `limit` bytes more in memory than at first."""

    def peak():
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])

    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = peak()
    yield
    assert peak() - before < limit


FORMATS = {
    "JPEG": encoded(PICTURE, "JPEG"),
    "JPEG 4:4:4": encoded(PICTURE, "JPEG", quality=100, subsampling=0),
    "JPEG 4:2:2": encoded(PICTURE, "JPEG", subsampling=1),
    "progressive JPEG": encoded(PICTURE, "JPEG", progressive=True),
    "grey JPEG": encoded(PICTURE.convert("L"), "JPEG"),
    "CMYK JPEG": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "PNG": encoded(PICTURE, "PNG"),
    "grey PNG": encoded(PICTURE.convert("L"), "PNG"),
    "black and white PNG": encoded(PICTURE.convert("1"), "PNG"),
    "palette PNG": encoded(PICTURE.convert("P"), "PNG"),
    "PNG with alpha": encoded(PICTURE.convert("RGBA"), "PNG"),
    "grey PNG with alpha": encoded(PICTURE.convert("LA"), "PNG"),
    "WebP": encoded(PICTURE, "WEBP"),
    "lossless WebP": encoded(PICTURE, "WEBP", lossless=True),
    "WebP with EXIF": encoded(PICTURE, "WEBP", exif=b"Exif\0\0II*\0"),
    "WebP with alpha": encoded(PICTURE.convert("RGBA"), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", FORMATS)
def test_whole_images_are_those_of_pillow(name):
    found = whole(FORMATS[name])
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, pillow(FORMATS[name]))


def test_16_bits_are_cut_to_8():
    deep = np.random.default_rng(0).integers(0, 2**16, (61, 97), "uint16")
    found = whole(encoded(deep, "PNG")).numpy()
    np.testing.assert_array_equal(found, np.repeat((deep >> 8)[..., None], 3, axis=2))


def test_alpha_is_dropped_and_does_not_darken():
    transparent = PICTURE.copy()
    transparent.putalpha(0)
    np.testing.assert_array_equal(whole(encoded(transparent, "PNG")), np.asarray(PICTURE))


@pytest.mark.parametrize("name", FORMATS)
def test_a_window_is_a_slice_of_the_whole(name):
    found = window(FORMATS[name], [11, 15, 41, 70], 40).numpy()
    np.testing.assert_array_equal(found, pillow(FORMATS[name])[11:52, 15:85])


def test_a_small_window_is_decoded_without_branches_or_not_at_all():
    part = tf.constant([11, 15, 41, 70])
    for name, contents in FORMATS.items():
        for size, fits in ((40, True), (21, True), (20, False), (10, False)):
            _, shapes = decode.attempt(
                lambda row, size=size: tf.shape(
                    decode.decode_small_window(row, lambda shape: part + 0 * shape[0], size)
                ),
                (tf.constant([contents]),),
                tf.TensorSpec([3], tf.int32),
            )
            expected = [[41, 70, 3]] if fits and "JPEG" in name else np.zeros((0, 3))
            np.testing.assert_array_equal(shapes, expected)
    found = decode.decode_small_window(tf.constant(FORMATS["JPEG"]), lambda shape: part, 40)
    np.testing.assert_array_equal(found, window(FORMATS["JPEG"], part, 40))


def noise(height=200, width=300):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), "uint8")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 1}])
@pytest.mark.parametrize(
    "part", [(0, 0, 200, 300), (37, 51, 80, 90), (100, 200, 100, 100), (3, 5, 1, 7), (199, 0, 1, 1)]
)
def test_only_edges_of_a_jpegs_window_differ_and_little(part, options):
    """At its left and right edge, noise shows that neighbouring colours are not read."""
    contents = encoded(noise(), "JPEG", **options)
    top, left, height, width = part
    found = window(contents, part, 300).numpy().astype(int)
    difference = abs(found - pillow(contents)[top : top + height, left : left + width])
    assert difference.shape == (height, width, 3)
    assert difference[:, 1:-1].max(initial=0) == 0


def blocks(image, ratio):
    """Means of squares of `ratio` x `ratio` pixels."""
    height, width = (side // ratio for side in image.shape[:2])
    tiles = image[: height * ratio, : width * ratio].reshape(height, ratio, width, ratio, 3)
    return tiles.mean((1, 3))


@pytest.mark.parametrize(
    ("side", "ratio"), [(201, 1), (200, 2), (101, 2), (100, 4), (51, 4), (50, 8), (10, 8)]
)
def test_a_window_much_larger_than_needed_is_averaged(side, ratio):
    """The window's shorter side is 400; from twice the needed one on, it is shrunk."""
    from sklearn.datasets import load_sample_image

    contents = encoded(load_sample_image("china.jpg"), "JPEG", quality=95)
    found = window(contents, [16, 24, 400, 600], side).numpy()
    assert found.shape == (400 // ratio, 600 // ratio, 3)
    expected = blocks(pillow(contents)[16:416, 24:624], ratio)
    assert abs(found - expected).mean() < 1.5
    # Nor is it shifted, by which the differences would be many times as large.
    assert abs(found[:, 1:] - expected[:, :-1]).mean() > 4 * abs(found - expected).mean()


def test_corners_of_a_shrunk_window_are_rounded_to_its_pixels():
    rows, columns = np.mgrid[:240, :240].astype("uint8")
    contents = encoded(
        np.stack([rows, columns, 0 * rows], axis=2), "JPEG", quality=100, subsampling=0
    )
    found = window(contents, [27, 53, 161, 175], 80).numpy()
    assert found.shape == (80, 87, 3)
    assert found[0, 0, 0] == pytest.approx(26.5, abs=1.5)  # the mean of rows 26 and 27
    assert found[0, 0, 1] == pytest.approx(52.5, abs=1.5)
    assert found[-1, -1, 0] == pytest.approx(26.5 + 2 * 79, abs=1.5)
    assert found[-1, -1, 1] == pytest.approx(52.5 + 2 * 86, abs=1.5)


def png_chunk(name, data):
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def png(width, height, before=b""):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + before + header + pixels + png_chunk(b"IEND", b"")


def jpeg(width, height):
    contents = bytearray(FORMATS["JPEG"])
    start = contents.index(b"\xff\xc0")
    contents[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(contents)


def webp(width, height):
    contents = bytearray(FORMATS["WebP"])
    contents[26:30] = struct.pack("<HH", width, height)
    return bytes(contents)


BROKEN = {
    "nothing": b"",
    "text": b"GIF of a cat, see https://example.com/cat.gif\n" * 10,
    "a JPEG's first bytes": b"\xff\xd8\xff",
    "a PNG's first bytes": b"\x89PNG",
    "half a PNG header": FORMATS["PNG"][:18],
    "a PNG header with a width only": FORMATS["PNG"][:20],
    "GIF": encoded(PICTURE, "GIF"),
    "BMP": encoded(PICTURE, "BMP"),
    "TIFF": encoded(PICTURE, "TIFF"),
    **{
        f"a third of a {name}": contents[: len(contents) // 3] for name, contents in FORMATS.items()
    },
    "huge JPEG": jpeg(65500, 65500),
    "empty JPEG": jpeg(0, 61),
    "huge PNG": png(60000, 60000),
    "negative PNG": png(2**32 - 60000, 60000),
    "huge PNG whose header is not first": png(
        20000, 20000, png_chunk(b"vpAg", struct.pack(">IIB", 5, 5, 0))
    ),
    "PNG of no pixels": png(0, 5),
    "huge WebP": webp(16383, 16383),
    "WebP of no pixels": webp(0, 61),
    "animated WebP": encoded(
        PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)], lossless=True
    ),
    "another RIFF": b"RIFF" + FORMATS["WebP"][4:8] + b"WAVEfmt " * 9,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_image_is_refused_without_much_memory(name):
    good = FORMATS["PNG"]
    survivors([good, BROKEN["text"]])  # has made the decoders ready
    with memory_for(50e6):
        rows, shapes = survivors([good, BROKEN[name], good])
    assert list(rows) == [0, 2]
    np.testing.assert_array_equal(shapes, [[61, 97, 3]] * 2)


def test_the_error_says_how_large_an_image_claims_to_be():
    with pytest.raises(tf.errors.InvalidArgumentError, match="60000 60000"):
        whole(BROKEN["huge PNG"])


@pytest.mark.parametrize("good", [[], [4], [0, 1, 2, 5], list(range(6))])
def test_attempt_leaves_out_the_rows_that_fail(good):
    contents = [FORMATS["PNG"] if row in good else b"no image" for row in range(6)]
    rows, shapes = survivors(contents)
    assert rows.dtype == tf.int32
    np.testing.assert_array_equal(rows, good)
    np.testing.assert_array_equal(shapes, np.reshape([[61, 97, 3]] * len(good), [-1, 3]))


def test_attempt_hands_over_several_columns():
    def difference(one, other):
        with tf.control_dependencies([tf.debugging.Assert(one > other, [one])]):
            return one - other

    columns = (tf.constant([5, 1, 9]), tf.constant([2, 4, 3]))
    rows, found = decode.attempt(difference, columns, tf.TensorSpec([], tf.int32))
    assert (list(rows), list(found)) == ([0, 2], [3, 6])


def test_a_missing_file_is_left_out(tmp_path):
    (tmp_path / "here.png").write_bytes(FORMATS["PNG"])
    names = tf.constant([str(tmp_path / name) for name in ("gone.png", "here.png")])
    rows, _ = decode.attempt(
        lambda name: decode.decode(tf.io.read_file(name)),
        (names,),
        tf.TensorSpec([None, None, 3], tf.uint8),
    )
    assert list(rows) == [1]


def test_a_window_of_64_megapixels_is_decoded_small():
    smooth = Image.radial_gradient("L").resize((8000, 8000), Image.Resampling.BILINEAR)
    contents = encoded(smooth.convert("RGB"), "JPEG")
    expected = np.asarray(smooth.crop((500, 1000, 7500, 8000)).resize((875, 875)), int)
    del smooth
    window(contents, [0, 0, 16, 16], 16)
    start = time.process_time()
    with memory_for(50e6):  # whole it has 192 MB
        found = window(contents, [1000, 500, 7000, 7000], 224).numpy()
    assert time.process_time() - start < 10
    assert found.shape == (875, 875, 3)
    assert abs(found - expected[..., None]).max() <= 3


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
