"""The commands that look at images with masks: `check` and `preview` with --masks."""

import mask_files
import numpy as np
import object_files
import pytest
from PIL import Image

from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import png

MASKS = ["check", "--masks", "--dataset=folder"]


def told(capsys, arguments):
    status = command.main(["pipelines", *map(str, arguments)])
    return status, capsys.readouterr()


@pytest.mark.slow
def test_masks_are_checked(tmp_path, capsys):
    root = mask_files.write_folder(tmp_path)
    status, said = told(capsys, ["check", "--masks", f"--data_dir={root}"])
    assert status == 0
    assert "ok: trainval: 6 images with masks of 3 classes" in said.out
    assert "ok: trainval: all 6 masks fit their images and classes" in said.out
    faults = {
        "a": b"nothing",
        "b": png.encode(np.zeros([40, 60])),
        "c": png.encode(np.full([50, 50], 3)),
        "d": object_files.png(3, 30, 90),
    }
    for name, content in faults.items():
        (root / f"masks/{name}.png").write_bytes(content)
    (root / "masks/e.png").unlink()
    (root / "images/f.png").unlink()
    status, said = told(capsys, [*MASKS, f"--data_dir={root}"])
    assert status == 1
    problems = [line for line in said.out.splitlines() if line.startswith("problem: ")]
    for name, words in {
        "a": "is no PNG file",
        "b": "is not 60 pixels wide and 40 high, as its mask",
        "c": "has the label 3, and there are 3 classes",
        "d": "is a picture of colours",
        "e": "the mask is missing",
        "f": "the image is missing",
    }.items():
        (line,) = (line for line in problems if f"/{name}.png" in line)
        assert words in line
    assert len(problems) == 6


def test_all_faulty_masks_are_told_where_classes_have_no_names(tmp_path, capsys):
    root = mask_files.write_folder(tmp_path, classes=None)
    for name in "ab":
        (root / f"masks/{name}.png").write_bytes(b"nothing")
    status, said = told(capsys, [*MASKS, f"--data_dir={root}"])
    assert status == 1
    assert said.out.count("is no PNG file") == 2


@pytest.mark.slow
def test_masks_of_voc_and_coco_are_checked(tmp_path, capsys):
    mask_files.write_voc(tmp_path / "voc")
    (tmp_path / "voc/SegmentationClass/f.png").unlink()
    status, said = told(capsys, ["check", "--masks", f"--data_dir={tmp_path / 'voc'}"])
    assert status == 1
    assert "the mask of f is missing" in said.out
    assert "ok: train: all 4 masks fit" in said.out
    lists = tmp_path / "voc/ImageSets/Segmentation"
    (lists / "trainaug.txt").write_text("a\nf\n")  # a list of one's own
    status, said = told(capsys, ["check", "--masks", f"--data_dir={tmp_path / 'voc'}"])
    assert said.out.count("the mask of f is missing") == 2
    mask_files.write_coco(tmp_path / "coco")
    status, said = told(capsys, ["check", "--masks", f"--data_dir={tmp_path / 'coco'}"])
    assert status == 0
    assert "train: 8 images with 11 objects of 3 classes and the background" in said.out
    path = tmp_path / "coco/annotations/instances_train.json"
    path.write_text(path.read_text().replace('"segmentation"', '"outline"', 1))
    status, said = told(capsys, ["check", "--masks", f"--data_dir={tmp_path / 'coco'}"])
    assert status == 1
    assert "annotation 100 has no segmentation" in said.out


@pytest.mark.slow
def test_masks_of_upright_photographs_are_checked_as_such(tmp_path, capsys):
    root = mask_files.write_folder(tmp_path)
    (root / "images/a.png").unlink()
    picture = Image.new("RGB", (40, 60))  # lies on its side; its mask is of the upright one
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(root / "images/a.jpg", exif=turned)
    status, said = told(capsys, [*MASKS, f"--data_dir={root}"])
    assert status == 1
    assert "is not 60 pixels wide and 40 high, as its mask" in said.out
    assert "--exif_orientation" in said.out
    status, _ = told(capsys, [*MASKS, f"--data_dir={root}", "--exif_orientation"])
    assert status == 0


def test_masks_are_shown(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    arguments = ["preview", "--masks", "--count=4", f"--out={out}"]
    status, said = told(capsys, [*arguments, "--dataset=shapes"])
    assert status == 0
    assert "4 images with masks from shapes/train" in said.out
    assert out.read_bytes().startswith(b"\x89PNG")
    root = mask_files.write_folder(tmp_path / "own")
    status, _ = told(capsys, [*arguments, "--dataset=folder", f"--data_dir={root}", "--noaugment"])
    assert status == 0
    status, said = told(capsys, [*arguments, "--dataset=digits"])
    assert status == 2
    assert "data set of images with masks" in said.err


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
