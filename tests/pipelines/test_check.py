"""`check`, run as a user runs it, on copies that are whole and on copies that are not."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import check

SMALL = check.Expected(
    name="ImageNet",
    classes=3,
    first="a",
    last="c",
    images={"train": 9, "val": 6},
    per_class={"train": (2, 4), "val": (2, 2)},
)


def jpeg(number=0):
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), "uint8")
    return tf.io.encode_jpeg(pixels).numpy()


def put(root, name, content=None):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg() if content is None else content)


@pytest.fixture
def copy(tmp_path):
    """A whole copy: 2, 3 and 4 training images and 2 validation images of the classes a, b, c."""
    for count, name in enumerate("abc", start=2):
        for number in range(count):
            put(tmp_path, f"train/{name}/{number}.jpg")
        for number in range(2):
            put(tmp_path, f"val/{name}/{number}.JPEG")
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs `check`; returns its exit status, its findings and its last line."""

    def run_check(dataset, data_dir, *flags):
        capsys.readouterr()  # TFDS tells what it writes
        arguments = [f"--dataset={dataset}", f"--data_dir={data_dir}", *flags]
        status = command.main(["pipelines", "check", *arguments])
        *lines, summary = capsys.readouterr().out.splitlines()
        assert all(line.startswith(("ok: ", "warning: ", "problem: ")) for line in lines)
        assert status == any(line.startswith("problem: ") for line in lines)
        return status, lines, summary

    return run_check


def test_a_whole_folder(copy, run, monkeypatch):
    monkeypatch.setitem(check.EXPECTED, "imagenet", SMALL)
    put(copy, "train/a/.hidden", b"")
    status, lines, summary = run("folder", copy, "--expect=imagenet")
    assert status == 0
    assert lines == [
        "ok: train: 9 images in 3 classes: at least 2 (a), at most 4 (c)",
        "ok: train: classes and numbers of images are ImageNet's",
        "ok: val: 6 images in 3 classes: at least 2 (a), at most 2 (a)",
        "ok: val: classes and numbers of images are ImageNet's",
        "ok: train and val have the same class folders",
        "ok: train: all 9 images can be decoded",
        "ok: val: all 6 images can be decoded",
    ]
    assert summary == f"No problems were found with folder in {copy}."


def remove(root, name):
    path = root / name
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def problems(lines):
    return [line.removeprefix("problem: ") for line in lines if line.startswith("problem: ")]


def test_damaged_files(copy, run):
    png = tf.io.encode_png(np.zeros((9, 9, 3), "uint8")).numpy()
    put(copy, "train/b/cut.jpg", jpeg()[:400])
    put(copy, "train/b/cut.png", png[:-20])
    put(copy, "train/c/Thumbs.db")
    put(copy, "train/loose.jpg")
    put(copy, "val/b/page.jpg", b"<html>not found</html>")
    put(copy, "val/c/none.jpg", b"")
    put(copy, os.fsdecode(b"val/a/\xff.jpg"), b"")
    (copy / "val/c/link.jpg").symlink_to("/nowhere.jpg")
    _, lines, summary = run("folder", copy)
    train, val = copy / "train", copy / "val"
    cannot = "that cannot be decoded"
    # What training leaves out, with the same words.
    assert [line for line in lines if line.startswith("warning: ")] == [
        f"warning: 1 file in {train} is left out (not JPEG, PNG or WebP by name): c/Thumbs.db",
        f"warning: 1 file in {train} is left out (outside the class folders): loose.jpg",
    ]
    assert problems(lines) == [
        f"train: 2 images of 11 {cannot}: {train}/b/cut.jpg, {train}/b/cut.png",
        f"val: 2 files of 0 bytes: {val}/a/\\udcff.jpg, {val}/c/none.jpg",
        f"val: 2 images of 8 {cannot}: {val}/b/page.jpg, {val}/c/link.jpg",
    ]
    assert summary == f"3 problems were found with folder in {copy}."


DAMAGED_CLASSES = {
    "lost": (
        lambda root: remove(root, "val/b"),
        "warning: 1 class folder of train's that val lacks: b; no error tells of these classes",
    ),
    "more": (
        lambda root: [put(root, f"val/{name}/0.jpg") for name in ("aa", "z")],
        "problem: {root}/val has 2 class folders that the train folder lacks: aa, z",
    ),
    "no split": (
        lambda root: (root / "val").rename(root / "valid"),
        "problem: {root} has no folder val/; it has train, valid. Did you mean 'valid'?",
    ),
    "other test": (
        lambda root: put(root, "test/b/0.jpg"),
        "warning: 2 class folders of train's that test lacks: a, c; no error tells of these "
        "classes",
    ),
    "empty": (
        lambda root: [(root / "train" / name).mkdir() for name in ("d", "e")],
        "problem: {root}/train has 2 class folders without images: d, e",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED_CLASSES)
def test_damaged_classes(damage, copy, run):
    """What `check` calls a problem, training and evaluation refuse; they warn of what it does."""
    cause, text = DAMAGED_CLASSES[damage]
    cause(copy)
    _, lines, _ = run("folder", copy, "--nodecode", "--limit=1")
    kind, _, expected = text.format(root=copy).partition(": ")
    found = [line for line in lines if not line.startswith("ok: ")]
    assert f"{kind}: {expected}" in found
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        refused = []
        for split in ("train", "val", "test"):
            if split != "test" or (copy / "test").exists():
                try:
                    pipelines.open_split("folder", split, data_dir=copy)
                except InputError as error:
                    refused.append(str(error))
    said = [f"warning: {warning.message}" for warning in warned]
    said += [f"problem: {text}" for text in refused]
    assert sorted(line.rstrip(".") for line in said) == sorted(line.rstrip(".") for line in found)


def test_many_files_that_are_no_images(copy, run):
    for number in range(25):
        put(copy, f"val/b/{number:02}.txt", b"")
    status, lines, _ = run("folder", copy)
    assert status == 0
    (many,) = (line for line in lines if line.startswith("warning: "))
    assert many.endswith("b/00.txt, b/01.txt, b/02.txt and 22 more")
    assert f"25 files in {copy}/val are left out" in many


def test_official_validation_images_lie_in_one_folder(copy, run):
    for name in "abc":
        remove(copy, f"val/{name}")
    put(copy, "val/ILSVRC2012_val_00000001.JPEG")
    _, lines, _ = run("folder", copy)
    (problem,) = problems(lines)
    assert f"{copy}/val holds 1 images and no class folders" in problem
    assert f"{copy}/val/CLASS/" in problem


def test_archives_of_classes_that_were_not_extracted(tmp_path, run):
    put(tmp_path, "train/n01440764.tar", b"")
    (tmp_path / "val").mkdir()
    _, lines, _ = run("folder", tmp_path)
    assert any("1 .tar files and no class folders" in line for line in lines)
    assert f"problem: {tmp_path}/val holds no class folders" in "\n".join(lines)


def test_a_folder_that_is_not_imagenet(copy, run):
    _, lines, _ = run("folder", copy, "--expect=imagenet", "--nodecode")
    assert "problem: train is not ImageNet's: 3 classes, not 1,000" in lines
    assert "problem: train is not ImageNet's: the first class is a, not n01440764" in lines
    assert "problem: val is not ImageNet's: the last class is c, not n15075141" in lines
    assert "problem: val is not ImageNet's: 6 images, not 50,000" in lines
    classes = "3 classes without 732 to 1300 images: a (2), b (3), c (4)"
    assert f"problem: train is not ImageNet's: {classes}" in lines


def test_limit_and_headers(copy, run):
    put(copy, "train/c/cut.jpg", jpeg()[:-200])  # the header is whole
    put(copy, "train/a/page.jpg", b"<html>")
    _, lines, _ = run("folder", copy, "--nodecode")
    page = f"{copy}/train/a/page.jpg"
    assert f"problem: train: 1 image of 11 without a valid header: {page}" in lines
    assert "ok: val: all 6 images have valid headers" in lines
    status, lines, _ = run("folder", copy, "--limit=2")
    assert status == 0
    assert "ok: train: the first 2 images can be decoded" in lines


ARCHIVES = {
    "ILSVRC2012_img_train.tar": check.Archive("train", 5, "5d41402abc4b2a76b9719d911017c592"),
    "ILSVRC2012_img_val.tar": check.Archive("validation", 3, "00000000000000000000000000000000"),
}


def test_archives(tmp_path, run, monkeypatch):
    monkeypatch.setattr(check.archive, "ARCHIVES", ARCHIVES)
    train, val = (tmp_path / name for name in ARCHIVES)
    train.write_bytes(b"hello")
    _, lines, _ = run("imagenet2012", tmp_path, f"--archives={tmp_path}")
    assert lines[0] == f"ok: {train} has all of its 5 bytes"
    assert lines[1].startswith(f"problem: {val} is missing")
    val.write_bytes(b"ab")
    _, lines, _ = run("imagenet2012", tmp_path, f"--archives={tmp_path}", "--hashes")
    assert lines[0].startswith(f"ok: {train} has its size and its MD5 5d41402a")
    assert lines[1] == f"problem: {val} has 2 bytes, not 3: copy it again"
    val.write_bytes(b"abc")
    _, lines, _ = run("imagenet2012", tmp_path, f"--archives={tmp_path}", "--hashes")
    assert lines[1].startswith(f"problem: {val} has the MD5 90015098")
    assert run("imagenet2012", tmp_path, f"--archives={tmp_path}")[0] == 0


def store(data_dir, name, version, splits, classes):
    """Writes a data set as TFDS does; `splits` are lists of (image's bytes, label)."""
    types = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(num_classes=classes),
        "file_name": tfds.features.Text(),
    }
    rows = {
        split: [
            (str(number), {"image": image, "label": label, "file_name": str(number)})
            for number, (image, label) in enumerate(examples)
        ]
        for split, examples in splits.items()
    }
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name, version, tfds.features.FeaturesDict(types), rows, data_dir=data_dir
    )
    return Path(builder.data_dir)


def examples(labels):
    return [(jpeg(number), label) for number, label in enumerate(labels)]


@pytest.mark.slow
def test_a_prepared_data_set(tmp_path, run):
    splits = {"train": examples([0, 1, 2] * 7), "test": examples([0, 2, 1])}
    folder = store(tmp_path, "mine", "1.0.0", splits, 3)
    status, lines, _ = run("tfds/mine", tmp_path)
    assert status == 0
    assert lines[0] == f"ok: {folder} is prepared, with 3 classes"
    assert sorted(lines[1:]) == [
        "ok: test: all 3 images can be decoded",
        "ok: test: labels lie in 0 to 2, and every class has examples",
        "ok: train: all 21 images can be decoded",
        "ok: train: labels lie in 0 to 2, and every class has examples",
    ]
    _, lines, _ = run("tfds/mine", tmp_path, "--limit=2", "--nodecode")
    assert "ok: train: the first 2 images have valid headers" in lines


def test_broken_images_and_labels_of_a_prepared_data_set(tmp_path, run):
    splits = {
        "train": [*examples([0, 1, 1, 0]), (jpeg()[:400], 1)],
        "test": examples([-1, -1]),
    }
    folder = store(tmp_path, "mine", "1.0.0", splits, 3)
    _, lines, _ = run("tfds/mine", tmp_path)
    broken = "train: 1 image of 5 that cannot be decoded: mine-train.tfrecord-00000-of-00001__"
    assert any(line.startswith(f"problem: {broken}") for line in lines)
    assert "problem: train: 1 class without an example: 2 (2)" in lines
    assert "ok: test has no labels: it cannot be trained or evaluated on" in lines
    # As if the labels had been counted from 1.
    features = json.loads((folder / "features.json").read_text())
    label = features["featuresDict"]["features"]["label"]["classLabel"]
    label["numClasses"] = "1"
    (folder / "features.json").write_text(json.dumps(features))
    _, lines, _ = run("tfds/mine", tmp_path)
    assert "problem: train: labels run from 0 to 1, outside 0 to 0" in lines


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([1, 2, 3], "off by one: they run from 1 to 3, and must from 0 to 2"),
        ([0, 3], "labels run from 0 to 3, outside 0 to 2"),
        ([-1, 2], "labels run from -1 to 2, outside 0 to 2"),
        ([0, 2], "1 class without an example: 1 (b)"),
    ],
)
def test_labels(found, words):
    finding = check.labels("train", np.array(found), ["a", "b", "c"])
    assert not finding.ok
    assert words in finding.text
    assert check.labels("train", np.array([0, 2]), ["a", "b", "c"], complete=False).ok


def test_record_files_that_are_missing_or_cut(tmp_path, run):
    splits = {"train": examples([0, 1] * 9), "test": examples([0, 1])}
    folder = store(tmp_path, "mine", "1.0.0", splits, 2)
    (records,) = folder.glob("mine-train*")
    records.write_bytes(records.read_bytes()[:-50])
    (folder / "mine-test.tfrecord-00000-of-00001").unlink()
    _, lines, _ = run("tfds/mine", tmp_path)
    told = "\n".join(lines)
    assert "problem: train: reading stops after 16 of 18 records (truncated record" in told
    assert f"problem: train: 1 record file cut short: {records.name}" in told
    assert "problem: test: 1 record file missing: mine-test.tfrecord-00000-of-00001" in told
    assert "{{" not in told
    (folder / "dataset_info.json").unlink()
    (folder / "features.json").unlink()
    _, lines, _ = run("tfds/cifar10", tmp_path)
    assert lines[0].startswith("problem: cifar10 is not prepared in")
    assert not (tmp_path / "cifar10").exists()


def test_imagenet_is_looked_for_in_records_and_archives(tmp_path, run, monkeypatch):
    monkeypatch.setattr(check.archive, "ARCHIVES", ARCHIVES)
    _, lines, _ = run("imagenet2012", tmp_path)
    manual = tmp_path / "downloads" / "manual"
    assert [line.split(": ")[0] for line in lines] == ["problem", "problem", "ok"]
    assert f"{manual}/ILSVRC2012_img_train.tar is missing" in lines[0]
    assert "is not prepared" in lines[2]
    put(manual, "ILSVRC2012_img_train.tar", b"hello")
    put(manual, "ILSVRC2012_img_val.tar", b"abc")
    assert run("imagenet2012", tmp_path)[0] == 0
    (tmp_path / "imagenet2012" / "5.1.0").mkdir(parents=True)
    _, lines, _ = run("imagenet2012", tmp_path)
    assert "5.1.0 is there without a dataset_info.json: copy it again" in lines[2]
    (tmp_path / "imagenet2012" / "5.1.0").rmdir()
    store(tmp_path, "imagenet2012", "5.1.0", {"train": examples([0, 999])}, 1000)
    _, lines, _ = run("tfds/imagenet2012", tmp_path)
    assert "problem: train has 2 examples, not ImageNet's 1,281,167" in lines
    assert any(line.startswith("problem: there is no split validation") for line in lines)
    assert any(line.startswith("problem: train: 998 classes without an example") for line in lines)
    expected = SMALL._replace(classes=1000, images={"train": 2})
    monkeypatch.setattr(check.report, "IMAGENET", expected)
    status, lines, _ = run("imagenet2012", tmp_path, "--limit=1")
    assert status == 0
    assert "ok: train has ImageNet's 2 examples" in lines


def test_what_a_folder_holds_is_recognized(tmp_path):
    assert check.dataset_in(None) == check.dataset_in(str(tmp_path)) == "imagenet2012"
    for number in range(501):
        (tmp_path / "train" / f"n{number:08}").mkdir(parents=True)
    assert check.dataset_in(str(tmp_path)) == "folder"
    assert check.expected_in(str(tmp_path)) is check.IMAGENET
    (tmp_path / "train" / "n00000000").rmdir()
    assert check.expected_in(str(tmp_path)) is None


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
