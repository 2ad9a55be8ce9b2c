"""The command that names what images show."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet_keras import pipelines, predict, zoo

MODEL = ("--model=resnet20", "--weights=digits")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Twelve digits as PNG, JPEG and WebP files in two folders, named by what they show."""
    root = tmp_path_factory.mktemp("digits")
    images, labels = pipelines.arrays("digits", "test", image_size=48)
    for number in range(12):
        folder = root / ("even", "odd")[number % 2]
        folder.mkdir(exist_ok=True)
        image, name = images[number], f"{number:02}_shows_{labels[number]}"
        if number == 0:
            Image.fromarray(image).save(folder / f"{name}.webp")
        elif number < 6:
            (folder / f"{name}.png").write_bytes(tf.io.encode_png(image).numpy())
        else:
            (folder / f"{name}.jpg").write_bytes(tf.io.encode_jpeg(image, quality=95).numpy())
    (root / "even" / "notes.txt").write_text("no image")
    (root / "even" / ".hidden.png").write_text("no image")
    return root


def run(capsys, *arguments):
    status = predict.main(["predict", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_folders_and_files_as_json(digits, capsys):
    single = next((digits / "odd").glob("*.png"))
    status, out, err = run(capsys, *MODEL, "--json", "--batch_size=5", digits, single)
    assert status == 0
    assert err == (
        f"warning: 1 file in {digits} is left out (not JPEG, PNG or WebP by name): "
        "even/notes.txt.\n"
    )
    rows = json.loads(out)
    files = sorted(map(str, digits.rglob("[0-9]*")))
    assert [row["image"] for row in rows] == [*files, str(single)]
    assert rows[-1]["top"] == next(r["top"] for r in rows if r["image"] == str(single))
    for row in rows:
        assert len(row["top"]) == 5
        assert row["image"].split("shows_")[1][0] == row["top"][0]["name"]
        shares = [guess["probability"] for guess in row["top"]]
        assert shares == sorted(shares, reverse=True)
        assert 0.5 < shares[0] <= sum(shares) <= 1.001


def test_table_and_picture_beside_a_broken_file(digits, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no image")
    status, out, err = run(
        capsys, *MODEL, "--top=2", f"--plot={tmp_path / 'new' / 'seen.png'}", digits / "odd", broken
    )
    assert status == 2
    assert err == f"error: 1 of 7 images cannot be decoded as JPEG, PNG or WebP: {broken}.\n"
    blocks = out.split("\n" + str(digits))
    assert len(blocks) == 6
    for block in blocks:
        name, best, second = block.strip().splitlines()
        shares = [float(line.split("%")[0]) for line in (best, second)]
        assert shares[0] > shares[1] >= 0
        assert best.split()[-1] == name.split("shows_")[1][0]
    picture = tf.io.decode_png((tmp_path / "new" / "seen.png").read_bytes()).numpy()
    assert picture.shape[0] > 2 * 128
    assert len(np.unique(picture)) > 50


def test_decoders_say_nothing_between_the_lines(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), "uint8")
    jpeg = tf.io.encode_jpeg(noise).numpy()
    (tmp_path / "cut.jpg").write_bytes(jpeg[:2000] + bytes(30) + jpeg[2500:])
    (tmp_path / "odd.jpg").write_bytes(b"\xff\xd8\xff no image")
    assert predict.main(["predict", *MODEL, str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert "JPEG data" not in said
    assert said.startswith("error: 1 of 2 images cannot be decoded")
    assert said.count("\n") == 1


def test_a_published_folder_and_another_size(digits, tmp_path, capsys):
    model = zoo.get("resnet20", weights="digits")
    zoo.save(model, tmp_path / "mine", class_names=[f"digit {n}" for n in range(10)])
    status, out, err = run(
        capsys, f"--model={tmp_path / 'mine'}", "--json", "--image_size=24", digits / "odd"
    )
    assert (status, err) == (0, "")
    assert all(row["top"][0]["name"].startswith("digit ") for row in json.loads(out))


def test_networks_that_do_not_answer_to_photographs(digits, tmp_path, capsys):
    zoo.save(zoo.get("resnet20", weights="digits", include_top=False), tmp_path / "features")
    zoo.save(zoo.get("resnet8", mean=(9,), std=(8,), input_shape=(32, 32, 1)), tmp_path / "grey")
    for name, words in (("features", "no head"), ("grey", "1 channel")):
        status, _, err = run(capsys, f"--model={tmp_path / name}", digits / "odd")
        assert status == 2
        assert words in err
        assert err.count("\n") == 1


def test_names_that_are_not_utf8(digits, tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(next((digits / "odd").glob("*.png")).read_bytes())
    status, out, err = run(capsys, *MODEL, tmp_path)
    assert (status, err) == (0, "")
    assert "caf\ufffd.png" in out


@pytest.mark.slow
def test_as_a_command(digits, command, tmp_path):
    done = command("predict", *MODEL, digits / "odd", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "resnet_keras: resnet20 digits on 6 image(s); starting TensorFlow ...\n"
    assert "shows_" in done.stdout
    assert "starting" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*MODEL,), "Name images"),
        ((*MODEL, "nowhere.jpg"), "no image or folder nowhere.jpg"),
        ((*MODEL, "."), "no JPEG, PNG or WebP files below it, but 1 other file(s)"),
        (("--model=resnet20", "w.txt"), "--weights=TAG"),
        (("--weights=digits", "w.txt"), "--model=NAME"),
        ((*MODEL, "--plot=seen.jpg", "w.txt"), "--plot is a PNG"),
        ((*MODEL, "--plot=/proc/nowhere/seen.png", "w.txt"), "/proc/nowhere"),
        (("--model=resnet20", "--weights=w.txt", "w.txt"), "no weights file"),
        ((*MODEL, "w.txt"), "cannot be decoded"),
        ((*MODEL, "--image_size=100000", "w.txt"), "image_size"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.txt").write_text("neither image nor weights")
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
