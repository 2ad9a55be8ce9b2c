"""Image files to views by Pillow, which are those of TensorFlow's operations."""

import struct
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from resnet_keras.errors import InputError
from resnet_keras.pipelines import listing, views

Image = pytest.importorskip("PIL.Image")
ImageFile = pytest.importorskip("PIL.ImageFile")
SIZES = [(48, 64), (64, 48), (20, 190), (190, 20), (33, 47), (40, 40), (150, 41)]
SHOWN = {"image_size": 32, "resize": 37}


def picture(height, width, mode="RGB"):
    y, x = np.mgrid[:height, :width]
    draws = np.random.default_rng(height * width)
    waves = np.stack([127 + 100 * np.sin(x / 7 + k) + 20 * np.cos(y / 5 * k) for k in range(3)], -1)
    noisy = np.clip(waves + draws.normal(0, 25, waves.shape), 0, 255).astype("uint8")
    return Image.fromarray(noisy).convert(mode)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Photographs of many shapes and codings, what is no JPEG, and what is damaged."""
    folder, paths = tmp_path_factory.mktemp("files"), []

    def path(name):
        paths.append(str(folder / name))
        return paths[-1]

    for number, size in enumerate(SIZES * 3):
        image = picture(*size)
        exif = image.getexif()
        exif[0x0112] = number % 9  # 0 is none
        options = {"subsampling": number % 3, "progressive": number % 2, "quality": 85}
        image.save(path(f"{number}.jpg"), exif=exif, **options)
    whole = (folder / "0.jpg").read_bytes()
    for kind in (3, 4):  # EXIF's orientation 6 as two bytes, and as four
        count = 0 if kind == 3 else 1  # which nobody heeds
        value = (6, 0) if kind == 3 else (0, 6)
        entry = struct.pack(">HHIHH", 0x0112, kind, count, *value)
        exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
        picture(40, 70).save(path(f"type{kind}.jpg"), exif=exif)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><r tiff:Orientation='6'/></x:xmpmeta>"
    picture(40, 70).save(path("xmp.jpg"), xmp=xmp)
    picture(40, 50, "L").save(path("grey.jpg"))
    picture(40, 50, "CMYK").save(path("cmyk.jpg"))
    picture(40, 50).save(path("other.png"))
    picture(40, 50).save(path("other.webp"))
    picture(40, 50).save(path("a png.jpg"), "PNG")
    draws = np.random.default_rng(0)
    for number in range(12):
        damaged = bytearray(whole)
        for place in draws.integers(20, len(whole), 3):
            damaged[place] = draws.integers(256)
        end = len(whole) * (number + 1) // 8
        content = bytes(damaged) if number > 6 else whole[:end]
        (folder / f"damaged{number}.jpg").write_bytes(content)
        path(f"damaged{number}.jpg")
    (folder / "empty.jpg").touch()
    path("empty.jpg")
    path("missing.jpg")
    return paths


def read(paths, batch_size=5, **shown):
    parts = [*views.batches(paths, batch_size, **{**SHOWN, **shown})]
    assert [len(images) for images, _ in parts[:-1]] == [batch_size] * (len(parts) - 1)
    images, good = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert (images.dtype, good.dtype, len(images)) == ("uint8", bool, len(paths))
    return images, good


@pytest.mark.parametrize(
    "shown",
    [
        {},
        pytest.param(
            {"interpolation": "bicubic", "exif_orientation": False}, marks=pytest.mark.slow
        ),
        pytest.param({"crop_mode": "stretch"}, marks=pytest.mark.slow),
        {"antialias": False},
    ],
    ids=["usual", "bicubic", "stretch", "plain"],
)
def test_the_same_pixels_as_without_pillow(files, shown, monkeypatch, capfd):
    images, good = read(files, **shown)
    monkeypatch.setattr(views, "_pillow_applies", lambda antialias: False)
    expected, readable = read(files, **shown)
    np.testing.assert_array_equal(good, readable)
    np.testing.assert_array_equal(images, expected)
    assert 0 < good.sum() < len(files)
    assert not images[~good].any()


def test_pillow_takes_the_usual_files(files, monkeypatch):
    """Otherwise the test above would compare TensorFlow with itself."""
    monkeypatch.setattr(views, "_by_tensorflow", None)
    images, good = read(files[: len(SIZES)])
    assert good.all()
    assert images.any()


def test_what_is_too_large_is_left_to_the_decoder(files, monkeypatch):
    monkeypatch.setattr(listing, "MAX_PIXELS", 100)
    assert views._view(files[0], {**SHOWN, "exif_orientation": True}) is None


def test_an_older_pillow_is_not_asked(monkeypatch):
    monkeypatch.setattr(views.importlib.metadata, "version", lambda name: "12.1.0")
    assert not views._pillow_applies(True)

    def missing(name):
        raise views.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(views.importlib.metadata, "version", missing)
    assert not views._pillow_applies(True)


@pytest.mark.parametrize(
    "wrong", [{"interpolation": "nearest"}, {"crop_mode": "top"}, {"image_size": 38}]
)
def test_views_that_there_are_not(wrong):
    with pytest.raises(InputError):
        next(views.batches([], 5, **{**SHOWN, **wrong}))


def test_threads_end_where_nobody_asks_for_more(files):
    before = threading.active_count()
    some = views.batches(files * 5, 5, **SHOWN)
    next(some)
    some.close()
    assert threading.active_count() == before


def test_without_tensorflow(files):
    """For other engines, which are there in a second."""
    code = """
    import sys
    from resnet_keras.pipelines import views
    (batch,) = views.batches(sys.argv[1:], 9, image_size=32, resize=37)
    assert batch[1].all() and "tensorflow" not in sys.modules
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), *files[: len(SIZES)]]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
