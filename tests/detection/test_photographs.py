"""`detection.predict` on whatever photographs there are, with a detector whose answer is known."""

import io
import json
import os
import sys
import types

import numpy as np
import pytest
from PIL import Image

from resnet_keras.detection import loading, predict
from resnet_keras.pipelines import exif

NAME = "a class whose name is far too long for a label in a small picture"


def answer(inputs):
    """The left half of each image, and a worse object."""
    height, width = np.asarray(inputs["size"])[0]
    return {
        "boxes": np.array([[[0, 0, width / 2, height], [0, 0, 1, 1]]], "float32"),
        "scores": np.array([[0.9, 0.2]], "float32"),
        "labels": np.array([[1, 0]]),
        "count": np.array([2]),
    }


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    model = types.SimpleNamespace(
        class_names=("cat", NAME), scale=(48, 80), predict_on_batch=answer
    )
    monkeypatch.setattr(loading, "find", lambda path, which="best": path)
    monkeypatch.setattr(loading, "load", lambda path, which="best": model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images by name; `SIZES` has their sizes, width and height, upright."""
    root = tmp_path_factory.mktemp("photographs")
    turned = Image.Exif()
    turned[exif.TAG] = 6
    for name, (size, mode, options) in IMAGES.items():
        options = {"exif": turned.tobytes()} if options else {}
        Image.fromarray(
            np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), "uint8")
        ).convert(mode).save(root / name, **options)
    return root


IMAGES = {
    "wide.jpg": ((300, 40), "RGB", False),
    "high.png": ((30, 200), "RGB", False),
    "large.jpg": ((2000, 1500), "L", False),
    "turned.jpg": ((90, 50), "RGB", True),
    "one.png": ((1, 1), "RGB", False),
    "line.png": ((200, 1), "RGB", False),
    "alpha.png": ((50, 40), "RGBA", False),
    "modern.webp": ((60, 40), "RGB", False),
}
WIDTHS = {name: size[0] for name, (size, *_) in IMAGES.items()} | {"turned.jpg": 50}


def run(capsys, *arguments):
    status = predict.main(["predict", "--model=any", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_images_of_all_kinds_are_answered_and_drawn(folder, tmp_path, capsys):
    status, out, err = run(capsys, "--json", f"--out={tmp_path}", folder)
    assert (status, err) == (0, "")
    rows = {os.path.basename(row["image"]): row for row in map(json.loads, out.splitlines())}
    assert set(rows) == set(IMAGES)
    for name, row in rows.items():
        ((found),) = row["objects"]
        assert found["class"] == NAME
        assert found["box"][2] == pytest.approx(WIDTHS[name] / 2, abs=0.06)
        picture = Image.open(io.BytesIO((tmp_path / f"{name.split('.')[0]}.png").read_bytes()))
        assert max(picture.size) < 2000
    # The large one is drawn smaller, and what was found beside its pixels.
    assert Image.open(tmp_path / "large.png").size[0] < 1100


def test_of_the_sensors_image_where_it_is_asked_for(folder, capsys):
    out = run(capsys, "--json", "--noexif_orientation", folder / "turned.jpg")[1]
    assert json.loads(out)["objects"][0]["box"] == [0, 0, 45, 50]


def test_broken_images_are_named_and_the_others_answered(folder, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((folder / "large.jpg").read_bytes()[:300])
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes((folder / "one.png").read_bytes())
    status, out, err = run(capsys, broken, odd, folder / "one.png")
    assert status == 2
    assert err == f"error: 1 of 3 images cannot be decoded as JPEG, PNG or WebP: {broken}.\n"
    assert out.count(NAME) == 2
    assert "caf\ufffd.png" in out
    status, out, _ = run(capsys, "--json", broken, odd)
    first, second = map(json.loads, out.splitlines())
    assert (status, first["image"]) == (2, str(broken))
    assert "cannot be decoded" in first["error"]
    assert second["image"] == str(odd)


def test_where_nothing_is_found(folder, tmp_path, capsys):
    status, out, _ = run(capsys, "--threshold=0.95", f"--out={tmp_path}", folder / "high.png")
    assert status == 0
    assert out.splitlines()[1] == "  nothing"
    assert (tmp_path / "high.png").exists()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
