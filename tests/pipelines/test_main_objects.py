"""Crops and whole images with one main object, and ILSVRC's folders."""

import shutil

import numpy as np
import object_files
import pytest

from resnet_keras.errors import InputError
from resnet_keras.pipelines import ilsvrc, main_objects, objects, shapes

# Two classes; of the first image the larger box is n02's, of which there are two.
ROWS = {
    "train/n01/a": ((60, 80), [("n01", (3, 5, 32, 44), 0)]),
    "train/n02/b": (
        (60, 80),
        [
            ("n02", (41, 11, 70, 50), 0),
            ("n01", (1, 1, 10, 10), 0),
            ("n02", (1, 31, 15, 60), 0),
        ],
    ),
    "val/c": ((40, 40), [("n02", (11, 11, 30, 30), 0)]),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "ILSVRC"
    for number, (name, (size, rows)) in enumerate(ROWS.items()):
        for folder, suffix in (("Annotations", ".xml"), ("Data", ".JPEG")):
            path = root / folder / "CLS-LOC" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == ".xml":
                path.write_text(object_files.voc_xml(name, size, rows))
            else:  # PNG in a file called JPEG, as one of ImageNet's is
                path.write_bytes(object_files.png(number, *size))
    return root


@pytest.fixture
def source(root):
    return objects.open_split("ilsvrc", "train", data_dir=root)


def test_ilsvrc_is_vocs_xml_by_classes(root, source):
    content, problems = ilsvrc.read(root.parent, "train")
    assert not problems
    assert content.class_names == source.class_names == ("n01", "n02")
    assert [path.rsplit("/", 2)[1:] for path in content.paths] == [
        ["n01", "a.JPEG"],
        ["n02", "b.JPEG"],
    ]
    np.testing.assert_array_equal(content.boxes[0], [2, 4, 32, 44])
    np.testing.assert_array_equal(content.labels, [0, 1, 0, 1])
    assert ilsvrc.read(root, "val")[0].labels.tolist() == [1]


def test_known_faults_of_ilsvrcs_files_are_mended(root, tmp_path):
    mine = tmp_path / "ILSVRC"
    shutil.copytree(root, mine)
    rows = [
        ("n02", (41, 11, 70, 50), 0),
        ("Scottish_deerhound", (1, 1, 10, 10), 0),  # the folder's class
        ("n02", (71, 31, 95, 66), 0),  # beyond 80 x 60
        ("n02", (15, 60, 1, 31), 0),  # the last corner first
    ]
    file = mine / "Annotations/CLS-LOC/train/n02/b.xml"
    file.write_text(object_files.voc_xml("b", (60, 80), rows))
    with pytest.warns(UserWarning, match=r"2 box\(es\) that leave their image .*b\.xml: object 2"):
        content, problems = ilsvrc.read(mine, "train")
    assert not problems
    np.testing.assert_array_equal(content.labels, [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(
        content.boxes[1:], [[40, 10, 70, 50], [0, 0, 10, 10], [70, 30, 80, 60], [0, 30, 15, 60]]
    )
    np.testing.assert_array_equal(content.areas[3:], [300, 450])
    rows = [*rows[:2], ("n02", (90, 31, 95, 60), 0)]  # not in the image at all
    file.write_text(object_files.voc_xml("b", (60, 80), rows))
    with pytest.raises(InputError, match="leaves its image"):
        objects.open_split("ilsvrc", "train", data_dir=mine)
    with pytest.warns(UserWarning, match="1 object"):
        assert objects.open_split("ilsvrc", "train", data_dir=mine, max_faulty=1).num_examples == 2


def test_class_is_the_largest_objects_and_boxes_are_of_its_class(source):
    (batch,) = main_objects.evaluation_of(source, 2, scale=(60, 80), device=None)
    features, targets = ({k: v.numpy() for k, v in part.items()} for part in batch)
    order = np.argsort(targets["image_id"])
    np.testing.assert_array_equal(targets["label"][order], [0, 1])
    np.testing.assert_array_equal(features["label"], targets["label"])
    boxes = targets["original_boxes"][order]
    np.testing.assert_array_equal(boxes[0, 0], [2, 4, 32, 44])
    np.testing.assert_array_equal(boxes[1], [[40, 10, 70, 50], [0] * 4, [0, 30, 15, 60]])


def test_crops_hold_the_pixels_that_their_boxes_say(source):
    whole = {}
    for features, targets in main_objects.evaluation_of(source, 1, scale=(60, 80), device=None):
        whole[int(targets["label"][0])] = (
            features["image"].numpy()[0],
            targets["boxes"][0].numpy(),
        )
    stream = main_objects.training_of(source, 2, crop=32, seed=3, scales=[(60, 80)], flip=False)
    places = set()
    for features, targets in stream.take(4):
        assert features["image"].shape == (2, 32, 32, 3)
        np.testing.assert_array_equal(features["size"], [[32, 32]] * 2)
        for image, label, boxes in zip(
            features["image"].numpy(),
            targets["label"].numpy(),
            targets["boxes"].numpy(),
            strict=True,
        ):
            pixels, original = whole[label]
            ((y, x),) = [
                (y, x)
                for y in range(60 - 31)
                for x in range(80 - 31)
                if (pixels[y : y + 32, x : x + 32] == image).all()
            ]
            places.add((y, x))
            moved = np.clip(original - [x, y, x, y], 0, 32)
            moved[(moved[:, 2:] - moved[:, :2] < 1).any(1)] = 0
            np.testing.assert_array_equal(boxes, moved)
    assert len(places) > 4


@pytest.mark.slow
def test_batches_depend_on_seed_and_step_alone(source):
    def batches(start, **options):
        stream = main_objects.training_of(
            source, 2, crop=32, start_step=start, scales=[(60, 80)], **{"seed": 3, **options}
        )
        return list(stream.take(5 - start).as_numpy_iterator())

    whole = batches(0)
    for (features, targets), (again, told) in zip(whole[2:], batches(2), strict=True):
        for one, other in ((features, again), (targets, told)):
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
    other = batches(0, seed=4)
    assert any((a[0]["image"] != b[0]["image"]).any() for a, b in zip(whole, other, strict=True))
    half = batches(0, shard=(1, 2))
    np.testing.assert_array_equal(half[1][0]["image"][0], whole[1][0]["image"][1])


def test_a_small_image_is_padded(source):
    stream = main_objects.training_of(source, 2, crop=96, seed=0, scales=[(60, 80)], flip=False)
    features, _ = next(iter(stream))
    np.testing.assert_array_equal(features["size"], [[60, 80]] * 2)
    assert not features["image"].numpy()[:, 60:].any()
    with pytest.raises(InputError, match="crop must be positive"):
        main_objects.training_of(source, 2, crop=0, seed=0)


def test_what_is_wrong_is_told(root, tmp_path):
    with pytest.raises(InputError, match="splits train and val, and not test"):
        objects.open_split("ilsvrc", "test", data_dir=root)
    with pytest.raises(InputError, match="no folder Annotations/CLS-LOC"):
        objects.open_split("ilsvrc", "train", data_dir=tmp_path)
    with pytest.raises(InputError, match="Give data_dir=FOLDER"):
        objects.open_split("ilsvrc", "train")
    mine = tmp_path / "mine"
    (mine / "Annotations/CLS-LOC/train/n01").mkdir(parents=True)
    file = mine / "Annotations/CLS-LOC/train/n01/x.xml"
    file.write_text("<annotation>")
    with pytest.raises(InputError, match=r"x\.xml is not valid XML"):
        objects.open_split("ilsvrc", "train", data_dir=mine)
    file.write_text(object_files.voc_xml("x", (40, 40), [("n09", (1, 1, 9, 9), 0)]))
    with pytest.raises(InputError, match="class n09 is none of the folders"):
        objects.open_split("ilsvrc", "train", data_dir=mine)
    file.write_text(object_files.voc_xml("x", (40, 40), [("n01", (1, 1, 9, 9), 0)]))
    with pytest.raises(InputError, match="the image is missing"):
        objects.open_split("ilsvrc", "train", data_dir=mine)
    file.write_text(object_files.voc_xml("x", (40, 40), []))
    with pytest.raises(InputError, match=r"x\.xml has no object: give it a box"):
        objects.open_split("ilsvrc", "train", data_dir=mine)
    file.unlink()
    with pytest.raises(InputError, match=r"There is no XML file in .*CLS-LOC/train/"):
        objects.open_split("ilsvrc", "train", data_dir=mine)


def test_images_without_objects_are_told():
    empty = next(n for n in range(200) if not len(shapes.example(0, 1000 + n).labels))
    source = objects.open_split("shapes", f"val[{empty}:{empty + 1}]")
    for stream in (main_objects.training_of, main_objects.evaluation_of):
        options = {"crop": 64, "seed": 0} if stream is main_objects.training_of else {}
        with pytest.raises(InputError, match="None of the images has an object"):
            stream(source, 1, device=None, **options)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
