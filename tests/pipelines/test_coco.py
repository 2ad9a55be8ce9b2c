"""COCO's format: what is read from it, and that every fault in it is found and told."""

import contextlib
import json
import warnings

import numpy as np
import object_files
import pytest

from resnet_keras.errors import InputError
from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import annotations, check, coco, objects


@pytest.fixture
def root(tmp_path):
    return object_files.write_coco(tmp_path / "mine")


def read(root, split="train", **options):
    content, problems = coco.read(root, split, **options)
    return annotations.checked(content, problems)


def test_images_boxes_and_classes(root):
    content = read(root)
    assert content.class_names == ("cup", "plate", "fork")  # by their ids
    assert content.category_ids == (3, 7, 90)
    assert content.image_ids.tolist() == list(object_files.COCO)
    np.testing.assert_array_equal(content.sizes[:2], [[40, 60], [60, 40]])
    np.testing.assert_array_equal(content.boxes[:2], [[0, 0, 60, 40], [10.5, 5, 30.5, 25.25]])
    assert content.labels[:4].tolist() == [1, 0, 2, 0]
    assert content.crowd[:4].tolist() == [False, False, False, True]
    np.testing.assert_array_equal(content.areas[:2], [2400, 405])
    assert content.row_splits.tolist() == [0, 2, 4, 5, 5, 8, 9, 10, 11]


def test_written_annotations_are_read_again(root):
    (root / "train").rename(root / "images")
    content = read(root)
    coco.write(root / "annotations" / "instances_val.json", content)
    again = read(root, "val")
    for name in ("boxes", "labels", "crowd", "areas", "image_ids", "sizes", "images"):
        np.testing.assert_array_equal(getattr(again, name), getattr(content, name))


def test_shares_have_no_image_in_common(root):
    first, second = read(root, "train[:50%]"), read(root, "train[50%:]")
    assert sorted([*first.image_ids, *second.image_ids]) == sorted(object_files.COCO)
    assert len(first.boxes) + len(second.boxes) == 11
    for share in (first, second):
        counts = np.diff(share.row_splits)
        expected = [len(object_files.COCO[key][1]) for key in share.image_ids]
        assert counts.tolist() == expected


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/val.json", "images/val"),
        ("valid/_annotations.coco.json", "valid"),
        ("annotations/instances_validation.json", "images"),
    ],
)
def test_files_and_folders_by_their_usual_names(root, file, folder):
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text((root / "annotations/instances_train.json").read_text())
    (root / folder).mkdir(parents=True, exist_ok=True)
    for path in (root / "train").iterdir():
        path.rename(root / folder / path.name)
    assert read(root, "val").paths[0] == str(root / folder / "11.png")


def changed(root, change):
    content = object_files.coco_content()
    change(content)
    object_files.rewrite_coco(root, content)


def box(values, number=0):
    return lambda content: content["annotations"][number].update(bbox=values)


def entry(kind, number, **values):
    return lambda content: content[kind][number].update(values)


def corners(content):
    for one in content["annotations"]:
        x, y, width, height = one["bbox"]
        one["bbox"] = [x, y, x + width, y + height]


def shares(content):
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for one in content["annotations"]:
        width, height = sizes[one["image_id"]]
        x, y, w, h = one["bbox"]
        one["bbox"] = [x / width, y / height, 0.99 * w / width, 0.99 * h / height]


FAULTS = {
    "inverted": (box([10, 10, -5, 5]), r"annotation 100: the box .* is inverted"),
    "not a number": (box([10, float("nan"), 5, 5]), "annotation 100: .* is not finite"),
    "infinite": (box([10, 0, float("inf"), 5]), "annotation 100: .* is not finite"),
    "empty": (box([10, 10, 5, 0]), r"annotation 100: the box \[10, 10, 15, 10\] .* is empty"),
    "outside": (box([50, 10, 15, 5]), "annotation 100: .* leaves its image; the image is 60 pix"),
    "beside": (box([-9, 10, 5, 5]), "annotation 100: .* leaves its image"),
    "scaled": (box([0.1, 0.2, 0.5, 0.5]), r"annotation 100: .* scaled to \[0, 1\]"),
    "no numbers": (box([1, 2, "3", 4]), "annotation 100 has no bbox of four numbers"),
    "three numbers": (box([1, 2, 3]), "annotation 100 has no bbox of four numbers"),
    "no box": (box(None), "annotation 100 has no bbox of four numbers"),
    "image id": (
        entry("annotations", 1, image_id=77),
        "annotation 101 has the unknown image id 77",
    ),
    "category": (entry("annotations", 1, category_id=1), "annotation 101 has the unknown category"),
    "twice": (entry("annotations", 1, id=100), "annotation 100 has the id of another annotation"),
    "area": (entry("annotations", 1, area="x"), "annotation 101 has the area 'x'"),
    "image twice": (entry("images", 1, id=11), "there are two of image id 11"),
    "category twice": (entry("categories", 1, id=90), "there are two of category id 90"),
    "missing image": (
        entry("images", 0, file_name="no.png"),
        "image 11 is missing: .*train/no.png",
    ),
    "file twice": (entry("images", 0, file_name="5.png"), "image 5 has the file 5.png of another"),
    "no size": (entry("images", 0, width=None), "image 11 has no width"),
    "size": (entry("images", 0, width=0), "image 11 has width 0 and height 40, not whole pixels"),
    "corners": (corners, r"annotation 1\d\d and most others are inverted or leave their images"),
    "shares": (shares, r"annotation 100 and most others seem to be scaled to \[0, 1\]"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_one_sentence_in_check_and_in_training(root, name, capsys):
    change, message = FAULTS[name]
    if name == "corners":  # objects far from the corner at 0, 0
        rows = {1: ((60, 60), [(3, [30 + n, 30, 20, 20], 0) for n in range(5)])}
        (root / "train" / "1.png").write_bytes(object_files.png(0, 60, 60))
        content = object_files.coco_content(rows)
        corners(content)
        object_files.rewrite_coco(root, content)
    else:
        changed(root, change)
    with pytest.raises(InputError, match=message) as error:
        objects.training("coco", "train", 2, seed=0, data_dir=root)
    sentence = str(error.value)
    assert str(root / "annotations" / "instances_train.json") in sentence
    assert "\n" not in sentence
    findings = check.boxes("coco", root, decode=False, limit=1)
    assert any(sentence.startswith(finding.text) for finding in findings if not finding.ok)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', r"is not valid JSON: Expecting value: line 1 column 13"),
        ("[]", "is not of COCO's format"),
        ('{"images": [], "annotations": {}, "categories": []}', "is not of COCO's format"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "there are no images"),
    ],
)
def test_a_broken_file_is_told(root, text, message):
    path = root / "annotations" / "instances_train.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        objects.open_split("coco", "train", data_dir=root)


def test_check_says_what_is_there_and_exits_with_1_for_faults(root, capsys):
    (root / "train").rename(root / "images")
    content = object_files.coco_content()
    content["categories"][0]["name"] = "knife"
    object_files.rewrite_coco(root, content, "val")
    assert command.main(["pipelines", "check", f"--data_dir={root}"]) == 1
    said = capsys.readouterr().out
    assert "ok: train: 8 images with 11 objects of 3 classes, 1 image without any, 1 crowd" in said
    assert "problem: val has other classes than train (fork, knife)" in said
    assert said.count("problem:") == 1
    changed(root, box([50, 10, 15, 5]))
    assert command.main(["pipelines", "check", f"--data_dir={root}", "--nodecode"]) == 1
    assert f"problem: {root}/annotations/instances_train.json: annotation 100: the box" in (
        capsys.readouterr().out
    )


def test_check_compares_sizes(root, capsys):
    (root / "train" / "5.png").write_bytes(object_files.png(0, 40, 60))
    assert command.main(["pipelines", "check", "--dataset=coco", f"--data_dir={root}"]) == 1
    said = capsys.readouterr().out
    assert f"train: 1 image of another size than their annotations say: {root}/train/5.png" in said


def test_preview_draws_boxes(root, capsys):
    path = root / "preview.png"
    options = ["--dataset=coco", f"--data_dir={root}", "--count=4", f"--out={path}"]
    with contextlib.suppress(ImportError):
        assert command.main(["pipelines", "preview", *options]) == 0
        assert path.read_bytes().startswith(b"\x89PNG")
    assert "4 images with boxes from coco/train" in capsys.readouterr().out


def test_faulty_boxes_can_be_left_out_and_are_told_of(root):
    changed(root, box([10, 10, 5, 0]))
    with pytest.warns(UserWarning, match=r"1 object\(s\) with faulty boxes are left out"):
        source = objects.open_split("coco", "train", data_dir=root, max_faulty=1)
    assert source.num_examples == 8
    row = next(iter(source.ordered().as_numpy_iterator()))
    np.testing.assert_array_equal(row["labels"], [0, -1, -1])


def test_boxes_that_leave_their_image_by_rounding_are_cut(root):
    changed(root, box([0, 0, 60.4, 40.9]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test = objects.evaluation("coco", "train", 1, data_dir=root, scale=(80, 120), device=None)
    targets = next(t for _, t in test.as_numpy_iterator() if t["image_id"][0] == 11)
    np.testing.assert_array_equal(targets["boxes"][0, 0], [0, 0, 120, 80])
    # Scores are of the boxes as they are written, as pycocotools has them.
    np.testing.assert_array_equal(targets["original_boxes"][0, 0], [0, 0, 60.4, 40.9])


def test_a_missing_split_names_those_there(root):
    with pytest.raises(InputError, match=r"no annotations/instances_val.json; it has instances_tr"):
        coco.read(root, "val")
    with pytest.raises(InputError, match="Give data_dir=FOLDER"):
        coco.read(None, "val")


def test_another_file_of_annotations(root, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(object_files.coco_content()))
    assert len(read(root, file=path).boxes) == 11
    with pytest.raises(InputError, match="annotations=FILE is for coco"):
        objects.training("voc", "train", 1, seed=0, annotations=path)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
