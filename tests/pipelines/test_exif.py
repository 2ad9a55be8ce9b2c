"""Photographs that lie on their side, against Pillow's `ImageOps.exif_transpose`."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from resnet_keras import evaluate, pipelines, predict, zoo
from resnet_keras.classification import prediction, protocols
from resnet_keras.errors import InputError
from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import decode, exif, folder

ORIENTATIONS = range(1, 9)
VIEW = pipelines.View(image_size=24, scales=(26, 40), pca_noise=0)
# Traced once: what is tested is what the pipelines' graphs do.
ORIENTATION = tf.function(exif.orientation, input_signature=[tf.TensorSpec([], tf.string)])


def pixels(seed=0, height=45, width=70):
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 5, width // 5, 3))
    return np.kron(coarse, np.ones((5, 5, 1))).astype("uint8")


def jpeg(orientation=None, seed=0, image=None, **options):
    """A JPEG without subsampled colours, of which any window is that of the whole, decoded."""
    tags = Image.Exif()
    if orientation is not None:
        tags[exif.TAG] = orientation
    target = io.BytesIO()
    image = Image.fromarray(pixels(seed) if image is None else image)
    options = {"quality": 95, "subsampling": 0, "exif": tags.tobytes(), **options}
    image.save(target, "JPEG", **options)
    return target.getvalue()


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def tiff(order, entries, offset=8, before=b""):
    """EXIF's segment with entries (tag, type, count, value of two bytes)."""
    packed = b"".join(
        struct.pack(f"{order}HHI", *entry[:3]) + struct.pack(f"{order}Hxx", entry[3])
        for entry in entries
    )
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    head = mark + struct.pack(f"{order}I", offset) + before
    count = struct.pack(f"{order}H", len(entries))
    return segment(0xE1, b"Exif\0\0" + head + count + packed + bytes(4))  # there is no next one


def with_segments(*segments):
    """A JPEG that begins with these, and has neither JFIF nor EXIF of its own."""
    plain = jpeg(exif=b"")
    assert plain[:4] == b"\xff\xd8\xff\xe0"
    return plain[:2] + b"".join(segments) + plain[20:]


MAKER = (0x010F, 2, 4, 0x4142)
TURN = (exif.TAG, 3, 1, 6)
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
READABLE = {
    "little end first": [tiff("<", [MAKER, TURN])],
    "big end first": [tiff(">", [MAKER, TURN])],
    "after JFIF": [JFIF, tiff("<", [TURN])],
    "after XMP": [XMP, tiff(">", [TURN])],
    "after a profile and a comment": [
        *(JFIF, segment(0xE2, bytes(65000)), segment(0xFE, b"hello"), tiff("<", [TURN])),
    ],
    "after fill bytes": [b"\xff\xff", tiff("<", [TURN])],
    "directory further behind": [tiff("<", [TURN], 20, bytes(12))],
    "before XMP": [tiff(">", [TURN]), XMP],
}
UNREADABLE = {
    "none": [],
    "XMP only": [XMP],
    "an empty directory": [tiff("<", [])],
    "no orientation": [tiff("<", [MAKER])],
    "0": [tiff("<", [(exif.TAG, 3, 1, 0)])],
    "9": [tiff("<", [(exif.TAG, 3, 1, 9)])],
    "text": [tiff("<", [(exif.TAG, 2, 1, 6)])],
    "neither end first": [tiff("<", [TURN]).replace(b"II*\0", b"IJ*\0")],
    "directory outside": [tiff("<", [TURN], 60000)],
    "directory far outside": [tiff("<", [TURN], 2**32 - 1)],
    "cut": [segment(0xE1, b"Exif\0\0II*\0\x08\0")],
    "nothing in it": [segment(0xE1, b"Exif\0\0")],
    "more entries than there are": [
        tiff("<", [MAKER]).replace(struct.pack("<HH", 1, MAKER[0]), b"\xff\xff\x0f\x01")
    ],
}


@pytest.mark.parametrize("how", READABLE)
def test_an_orientation_is_found(how):
    content = with_segments(*READABLE[how])
    assert ORIENTATION(content).numpy() == 6
    assert Image.open(io.BytesIO(content)).getexif()[exif.TAG] == 6
    upright = decode.decode(tf.constant(content), exif_orientation=True)
    np.testing.assert_array_equal(upright, np.rot90(decode.decode(tf.constant(content)), -1))


@pytest.mark.parametrize("how", UNREADABLE)
def test_what_is_broken_counts_as_upright(how):
    content = with_segments(*UNREADABLE[how])
    assert ORIENTATION(content).numpy() == 1
    np.testing.assert_array_equal(
        decode.decode(tf.constant(content), exif_orientation=True),
        decode.decode(tf.constant(content)),
    )


def test_no_bytes_make_it_fail():
    content = with_segments(JFIF, tiff("<", [MAKER, TURN]))
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content[: generator.integers(0, 120)])
        for place in generator.integers(0, len(damaged) or 1, 3) if damaged else ():
            damaged[place] = generator.integers(256)
        assert 1 <= ORIENTATION(bytes(damaged)).numpy() <= 8
    png = tf.io.encode_png(pixels()).numpy()
    assert [ORIENTATION(c).numpy() for c in (png, b"", b"\xff\xd8")] == [1, 1, 1]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_images_are_turned_as_by_pillow(orientation):
    content = jpeg(orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(
        decode.decode(tf.constant(content), exif_orientation=True), expected
    )
    stored = decode.decode(tf.constant(content))
    np.testing.assert_array_equal(exif.upright(stored, tf.constant(orientation)), expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", [8, 30])
def test_a_window_is_that_of_the_upright_image(orientation, size):
    # Shrinking moves the window by up to a pixel: across slopes, not across steps.
    rows, columns = np.mgrid[:45, :70].astype("uint8")
    slopes = np.stack([5 * rows, 3 * columns, rows + columns], axis=2)
    content = tf.constant(jpeg(orientation, image=slopes if size == 8 else None))
    whole = decode.decode(content, exif_orientation=True).numpy()
    top, left, height, width = window = (3, 8, 32, 24)
    found = decode.decode_window(
        content, lambda shape: tf.constant(window), size, exif_orientation=True
    )
    expected = whole[top : top + height, left : left + width]
    if size == 30:
        np.testing.assert_array_equal(found, expected)
        return
    ratio = 2  # shrunk as it is decoded
    assert found.shape == (height // ratio, width // ratio, 3)
    means = expected.reshape(height // ratio, ratio, width // ratio, ratio, 3).mean((1, 3))
    assert np.abs(found.numpy() - means).max() < 12


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """Two folders of the same images: as a phone stores them, and upright as PNGs."""
    root = tmp_path_factory.mktemp("turned")
    for number in range(24):
        content = jpeg(number % 8 + 1, seed=number)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        for split in ("train", "val"):
            for name in ("phone", "upright"):
                (root / name / split / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            where = f"{split}/{'ab'[number % 2]}/{number:02}"
            (root / "phone" / f"{where}.jpg").write_bytes(content)
            upright.save(root / "upright" / f"{where}.png")
    return root / "phone", root / "upright"


def batches(root, dataset="folder", **options):
    made = pipelines.training(dataset, "train", 16, seed=3, data_dir=root, view=VIEW, **options)
    return list(made.take(4).as_numpy_iterator())


def same(some, others):
    pairs = zip(some, others, strict=True)
    return all(np.array_equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


@pytest.mark.slow
def test_training_sees_the_upright_images(turned):
    phone, upright = turned
    expected = batches(upright)
    assert same(batches(phone), expected)
    assert same(batches(phone, exif_orientation=True), expected)
    assert not same(batches(phone, exif_orientation=False), expected)


@pytest.mark.slow
@pytest.mark.parametrize("crops", ["centre", "ten"])
def test_evaluation_sees_the_upright_images(turned, crops):
    def views(root, **options):
        made = pipelines.evaluation(
            "folder", "val", 24, data_dir=root, image_size=24, crops=crops, **options
        )
        return list(made.as_numpy_iterator())

    phone, upright = turned
    assert same(views(phone), views(upright))
    assert not same(views(phone, exif_orientation=False), views(upright))


@pytest.mark.slow
def test_images_without_orientation_stay_as_they_were(tmp_path):
    for number in range(16):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed=number, exif=b"", subsampling=2))
    heeding = batches(tmp_path)
    assert same(heeding, batches(tmp_path, exif_orientation=False))


def test_published_data_sets_are_left_as_they_are(turned, monkeypatch):
    phone, _ = turned
    source = folder.open_split(phone, "train")
    monkeypatch.setattr(pipelines.records, "open_split", lambda *_: source)
    assert not pipelines.open_split("tfds/pets", "train").exif_orientation
    assert not pipelines.open_split("imagenet2012", "train").exif_orientation
    assert pipelines.open_split("tfds/pets", "train", exif_orientation=True).exif_orientation
    assert pipelines.open_split("folder", "train", data_dir=phone).exif_orientation


@pytest.mark.parametrize("use", [pipelines.training, pipelines.evaluation])
def test_sets_in_memory_have_no_exif(use):
    more = {"seed": 0} if use is pipelines.training else {}
    with pytest.raises(InputError, match="exif_orientation is for photographs"):
        use("digits", "test", 4, exif_orientation=True, **more)


@pytest.mark.slow
def test_predict_sees_the_upright_images(turned, tmp_path, capsys):
    phone, upright = turned
    model = zoo.get("resnet8", num_classes=2, input_shape=(24, 24, 3))
    zoo.save(model, tmp_path / "own")
    shown = zoo.Preprocessing(24, 28)

    def seen(root, **options):
        paths = prediction.image_files([str(root / "val")])
        predictions = zoo.prediction.of_files(model, paths, preprocessing=shown, **options)
        return np.stack([predicted.image for predicted in predictions])

    np.testing.assert_array_equal(seen(phone), seen(upright))
    assert not np.array_equal(seen(phone, exif_orientation=False), seen(upright))

    def said(root, *more):
        own = f"--model={tmp_path / 'own'}"
        assert predict.main(["predict", own, "--json", *more, str(root / "val")]) == 0
        return [row.split(":")[1] for row in capsys.readouterr().out.splitlines() if "prob" in row]

    expected = said(upright)
    assert said(phone) == expected
    assert said(phone, "--noexif_orientation") != expected

    # Keras's loader, by whose images it was trained then, leaves them as they lie.
    zoo.save(model, tmp_path / "own", preprocessing=zoo.Preprocessing.stretched(24))
    lying = said(phone)
    assert lying == said(phone, "--noexif_orientation")
    assert lying != said(phone, "--exif_orientation") == said(upright)


@pytest.mark.slow
def test_evaluate_sees_what_the_network_was_trained_on(turned, tmp_path):
    phone, upright = turned
    model = zoo.get("resnet8", num_classes=2, input_shape=(24, 24, 3))

    def images(root, *more):
        arguments = (f"--model={tmp_path / 'own'}", "--dataset=folder", f"--data_dir={root}")
        assert evaluate.main(["evaluate", *arguments, *more]) == 0
        return seen[-1]

    seen = []
    crop_scores = protocols.crop_scores

    def spy(model, dataset):
        seen.append(np.concatenate([batch for batch, _ in dataset.as_numpy_iterator()]))
        return crop_scores(model, dataset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocols, "crop_scores", spy)
        for shown, turns in (
            (zoo.Preprocessing(24, 28), True),
            (zoo.Preprocessing.stretched(24), False),
        ):
            zoo.save(model, tmp_path / "own", preprocessing=shown)
            expected = images(upright)
            assert np.array_equal(images(phone), expected) == turns
            assert np.array_equal(images(phone, "--exif_orientation"), expected)


@pytest.mark.parametrize("how", ["--decode", pytest.param("--nodecode", marks=pytest.mark.slow)])
def test_check_counts_them(turned, how, capsys):
    phone, upright = turned
    told = "carry an EXIF orientation: turned by it, but with --noexif_orientation"
    assert command.main(["pipelines", "check", f"--data_dir={phone}", how]) == 0
    assert f"ok: train: 21 images {told}\n" in capsys.readouterr().out
    assert command.main(["pipelines", "check", f"--data_dir={upright}", how]) == 0
    assert "EXIF" not in capsys.readouterr().out


def test_a_run_records_the_choice(turned, tmp_path, capsys):
    from resnet_keras import train

    phone, _ = turned
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "run.flags").write_text("--nothing=of these\n# versions\n")
    # A run of other flags is refused, which tells those of this one before it trains.
    small = ("--model=resnet8", "--image_size=16", "--scales=18,24", "--batch_size=16")
    data = ("--dataset=folder", f"--data_dir={phone}", f"--workdir={workdir}")
    for given, kept in (([], "true"), (["--noexif_orientation"], "false")):
        assert train.main(["train", *small, *data, *given]) == 2
        assert f"--exif_orientation={kept} here" in capsys.readouterr().err


def test_stored_windows_hold_the_same_pixels():
    stored = pixels(height=30, width=50)
    for orientation in map(tf.constant, ORIENTATIONS):
        upright = exif.upright(tf.constant(stored), orientation).numpy()
        shape = exif.upright_shape(tf.constant([30, 50]), orientation)
        assert tuple(shape) == upright.shape[:2]
        window = tf.constant([2, 5, 20, 7])
        top, left, height, width = exif.stored_window(window, tf.constant([30, 50]), orientation)
        part = exif.upright(stored[top : top + height, left : left + width], orientation)
        np.testing.assert_array_equal(part, upright[2:22, 5:12])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
