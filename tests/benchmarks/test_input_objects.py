"""The benchmark of images with boxes: its contestants, figures and mistakes; never its speed."""

import json
import sys

import numpy as np
import pytest

from resnet_keras import benchmark
from resnet_keras.benchmarks import objects
from resnet_keras.benchmarks.input import make_files


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return objects._photographs(tmp_path_factory.mktemp("jpegs"), 2, (80, 60))


def test_contestants_deliver_the_same(source):
    """But for the order and what is mirrored, which is drawn."""
    rows = objects._rows(source)
    mine = next(objects.ours(source, 2))
    features, targets = mine
    assert features["image"].shape == (2, 608, 800, 3)
    for name in ("tf.data", "antialias"):
        theirs, their_targets = next(objects.PEERS[name].make(rows, 2))
        np.testing.assert_array_equal(features["size"], theirs["size"])
        for one, other in [
            (features["image"], theirs["image"]),
            *((targets[key], their_targets[key]) for key in their_targets),
        ]:
            assert (one.dtype, one.shape) == (other.dtype, other.shape)


def both_ways(batch):
    """Images and boxes, as they are and mirrored, by their first label."""
    (features, targets), result = batch, {}
    for image, (_, width), boxes, labels in zip(
        np.asarray(features["image"]).astype(int),
        np.asarray(features["size"]),
        np.asarray(targets["boxes"]),
        np.asarray(targets["labels"]),
        strict=True,
    ):
        x1, y1, x2, y2 = boxes.T
        mirrored = np.stack([width - x2, y1, width - x1, y2], axis=1)
        image = image[:600, :width]
        result[labels[0]] = ((image, boxes), (image[:, ::-1], mirrored))
    return result


def test_the_plain_form_has_our_pixels_and_boxes(source):
    plain = objects.straightforward(objects._rows(source), 2)
    mine, other = both_ways(next(objects.ours(source, 2))), both_ways(next(plain))
    assert mine.keys() == other.keys()
    for label, ((expected, expected_boxes), _) in mine.items():
        errors = [np.abs(image - expected).max() for image, _ in other[label]]
        assert min(errors) <= 12  # the peer's decoder may take another transform
        _, boxes = other[label][int(np.argmin(errors))]
        np.testing.assert_allclose(boxes, expected_boxes, atol=1e-3)


@pytest.mark.slow
def test_a_run_has_figures_for_all(capsys):
    arguments = ["--dataset=photographs", "--size=80,60", "--files=2", "--images=4", "--rounds=1"]
    assert benchmark.main(["benchmark", "input", *arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["rates"]) == ["resnet_keras", "decode", "tf.data", "antialias"]
    assert result["size"] == [80, 60]
    assert result["scale"] == [600, 1000]
    for figures in (*result["rates"].values(), *result["ratio"].values()):
        assert figures["wall"] > 0
        assert figures["cpu"] > 0
    head, _, _, ours, *peers = objects.report(result).splitlines()
    assert "2 images of photographs, 80x60" in head
    assert "resnet_keras" in ours
    assert [line.count("x") for line in peers] == [2, 2, 2]


def test_ones_own_images_are_read(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    make_files(tmp_path / "train", 2, 80, 60)
    images = [{"id": n, "file_name": f"{n:05}.jpg", "width": 80, "height": 60} for n in range(2)]
    row = {"category_id": 3, "bbox": [8, 6, 40, 30], "area": 1200, "iscrowd": 0}
    content = {
        "images": images,
        "annotations": [{**row, "id": n, "image_id": n} for n in range(2)],
        "categories": [{"id": 3, "name": "cup"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(content))
    arguments = ["--dataset=coco", f"--data_dir={tmp_path}", "--images=2", "--rounds=1"]
    assert benchmark.main(["benchmark", "input", *arguments, "--peers=tf.data"]) == 0
    assert "2 images of coco, 80x60" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset=coco"], "needs --data_dir=FOLDER"),
        (["--data_dir=/nowhere"], "--data_dir and --split are for"),
        (["--size=640,480"], "--size is for --dataset=photographs"),
        (["--dataset=photographs", "--size=640x480"], "--size is WIDTH,HEIGHT"),
        (["--dataset=photographs", "--size=8,8"], "32,32 at least"),
        (["--dataset=photographs", "--peers=pillow"], "peer"),
        (["--dataset=photographs", "--memory_images=9"], "leave it out"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, capsys):
    assert benchmark.main(["benchmark", "input", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
