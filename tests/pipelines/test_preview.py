"""`preview`, run as a user runs it: the picture holds the stream's own pixels, and titles."""

import re
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import pipelines
from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import preview


def put(root, name, colour):
    """A JPEG of 40x30 pixels, of one colour and a little noise."""
    noise = np.random.default_rng(len(name)).integers(0, 9, (30, 40, 3), "uint8")
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_jpeg(noise + np.uint8(colour)).numpy())


@pytest.fixture
def photos(tmp_path):
    for number in range(9):
        put(tmp_path, f"train/dark/{number}.jpg", 20)
        put(tmp_path, f"train/light/{number}.jpg", 220)
    return tmp_path


SMALL = ("--image_size=24", "--scales=24,30")


@pytest.fixture
def run(tmp_path, capsys):
    """Runs `preview`; returns its picture, uint8 (height, width, 3), and what it said."""

    def run_preview(dataset, *flags):
        out = tmp_path / "sheets" / "sheet.png"
        arguments = [f"--dataset={dataset}", f"--out={out}", *flags]
        assert command.main(["pipelines", "preview", *arguments]) == 0, capsys.readouterr().err
        said = capsys.readouterr().out.strip()
        assert said.startswith(f"{out}: ")
        assert "\n" not in said
        return tf.io.decode_png(out.read_bytes(), channels=3).numpy(), said

    return run_preview


def places(sheet, images):
    """Where each image stands on the sheet, enlarged to 128 pixels or more: (top, left)."""
    times = -(-128 // images.shape[2])
    found = []
    for image in images.repeat(times, 1).repeat(times, 2):
        windows = np.lib.stride_tricks.sliding_window_view(sheet, image.shape[:2], (0, 1))
        corners = (windows[..., :3, :3] == np.moveaxis(image[:3, :3], 2, 0)).all((2, 3, 4))
        exact = [
            (top, left)
            for top, left in np.argwhere(corners)
            if (sheet[top : top + len(image), left : left + image.shape[1]] == image).all()
        ]
        assert exact, "an image is not on the sheet"
        found.append(tuple(exact[0]))
    return found


def title(sheet, place, width):
    """The strip above an image."""
    top, left = place
    return sheet[top - 15 : top - 1, left : left + width]


def test_digits(run):
    sheet, said = run("digits", "--count=6", "--seed=3")
    assert said.endswith("6 images of 32 x 32 pixels from digits/train, as augmented with seed 3")
    stream = pipelines.training("digits", "train", 6, seed=3)
    images, labels = next(stream.as_numpy_iterator())
    where = places(sheet, images)
    assert len(set(where)) == 6
    assert len({top for top, _ in where}) == 2  # rows
    strips = {label: title(sheet, place, 128) for label, place in zip(labels, where, strict=True)}
    assert all(strip.min() < 100 for strip in strips.values())  # something is written there
    assert len({strip.tobytes() for strip in strips.values()}) == len(set(labels))


def test_unaugmented_images_are_the_same_ones(run):
    sheet, said = run("digits", "--count=3", "--noaugment", "--split=val")
    assert said.endswith("from digits/val, as in evaluation")
    images, labels, _ = preview.examples("digits", "val", 3, seed=0, augmented=False)
    places(sheet, images)
    _, augmented_labels, _ = preview.examples("digits", "val", 3, seed=0)
    np.testing.assert_array_equal(labels, augmented_labels)
    everything, _ = pipelines.arrays("digits", "val")
    assert all((everything == image).all((1, 2, 3)).any() for image in images)


def test_cifar(run):
    with tfds.testing.mock_data(num_examples=20):
        sheet, _ = run("cifar10", "--count=2")
        images, _, _ = preview.examples("cifar10", "train", 2, seed=0)
    places(sheet, images)


@pytest.mark.parametrize(
    "augment", ["--augment", pytest.param("--noaugment", marks=pytest.mark.slow)]
)
def test_class_folders_have_their_names_as_titles(augment, photos, run, monkeypatch):
    drawn = []
    draw = preview.draw
    monkeypatch.setattr(
        preview, "draw", lambda images, *rest: drawn.append((images, *rest)) or draw(images, *rest)
    )
    sheet, _ = run("folder", f"--data_dir={photos}", "--count=20", *SMALL, augment)
    ((images, texts, _),) = drawn
    assert images.shape == (20, 24, 24, 3)
    assert texts == ["light" if image.mean() > 128 else "dark" for image in images]
    assert set(texts) == {"light", "dark"}
    assert sheet.min() < 40
    assert sheet.max() == 255


def test_mixed_labels(photos, run):
    run("folder", f"--data_dir={photos}", "--count=4", "--mixup=1", *SMALL)
    mixed = np.array([[0.634, 0.366, 0.0], [0.0, 0.001, 0.999], [0.5, 0.0, 0.5]], "float32")
    assert preview.titles(mixed, ("cat", "dog", "cow")) == [
        "cat .63\ndog .37",
        "cow",
        "cat .50\ncow .50",
    ]
    assert preview.titles(mixed[:1], ()) == ["0 .63\n1 .37"]
    assert preview.titles(np.array([2, 0]), ("cat", "dog", "cow")) == ["cow", "cat"]


def test_long_names_and_dollars_are_drawn():
    images = np.zeros((2, 8, 8, 3), "uint8")
    content = preview.draw(images, ["a" * 99 + " .50\nb .50", "$x^$"], "caption")
    sheet = tf.io.decode_png(content).numpy()
    assert sheet.shape[0] < 300
    assert (sheet[:, -1] == 255).all()  # nothing is written over the edge


@pytest.mark.parametrize("place", ["left", "right", "top", "bottom"])
def test_names_of_objects_are_not_cut_off_at_the_edges(place):
    corners = {"left": (-20, 70), "right": (180, 70), "top": (80, -5), "bottom": (80, 155)}

    def ground(x, y):
        """Pixels of the name's own colour, which is also the outline's."""
        outline = (np.array([x, y, x + 15.0, y + 8]), 0, "motorcycle 0.93", False)
        content = preview.draw(np.zeros((1, 150, 200, 3), "uint8"), [""], "", [[outline]])
        pixels = tf.io.decode_png(content, channels=3).numpy().astype(int)
        return (np.abs(pixels - [31, 119, 180]).max(axis=-1) < 8).sum()

    in_the_middle = ground(80, 70)
    line = 100  # pixels that the outline has at most, whose part outside is not seen
    assert in_the_middle - line < ground(*corners[place]) < in_the_middle + line
    assert in_the_middle > 5 * line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--out"),
        (["--out=sheet.jpg"], "sheet.png"),
        (["--out=sheet"], "sheet.png"),
        (["--out=/proc/nowhere/sheet.png"], "/proc/nowhere"),
        (["--out=s.png", "--dataset=nothing"], "nothing"),
        (["--out=s.png", "--split=nothing"], "nothing"),
        (["--out=s.png", "--mixup=1"], "photographs"),
        (["--out=s.png", "--count=0"], "count"),
        (["--out=s.png", "--exif_orientation"], "exif_orientation is for photographs"),
        (["--out=s.png", "--dataset=folder"], "Give --data_dir=FOLDER"),
        (["--out=s.png", "--dataset=folder", "--data_dir=photos", "--scales=100,200"], "Scales"),
        (["--out=s.png", "--dataset=folder", "--data_dir=photos", "--noaugment"], "cannot decode"),
    ],
)
def test_mistakes_end_in_one_sentence(flags, words, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "photos/train/a/0.jpg", 9)
    (tmp_path / "photos/train/a/1.jpg").write_bytes(b"no image")
    assert command.main(["pipelines", "preview", "--dataset=digits", *flags]) == 2
    # TensorFlow's C++ may log a line of its own once in a process, in any test.
    said = re.sub(r"^E\d{4} .*\n", "", capfd.readouterr().err, flags=re.MULTILINE)
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = tmp_path / "sheet.png"
    assert command.main(["pipelines", "preview", "--dataset=digits", f"--out={out}"]) == 2
    assert "resnet_keras[plot]" in capsys.readouterr().err


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
