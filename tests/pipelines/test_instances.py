"""Objects' masks in streams of images with boxes."""

import json

import numpy as np
import object_files
import pytest

from resnet_keras.errors import InputError
from resnet_keras.pipelines import instances, objects, shapes


def crop(mask, box, side=4):
    return instances.crops(instances.encode(mask[None]), mask.shape, np.float64([box]), side)[0]


def test_shares_of_cells():
    mask = np.zeros([8, 12], bool)
    mask[2:4, 2:8] = True
    # Cells of 2 x 2 pixels: one row of them, and three columns.
    expected = np.array([[0, 0, 0, 0], [0, 255, 255, 255], [0] * 4, [0] * 4])
    np.testing.assert_array_equal(crop(mask, [0, 0, 8, 8]), expected)
    # Half a pixel to the left: a quarter of the first cell is the ground, three of the last.
    np.testing.assert_array_equal(crop(mask, [1.5, 2, 9.5, 4])[0], [191, 255, 255, 64])


def test_boxes_are_cut_to_their_images():
    mask = np.ones([8, 8], bool)
    np.testing.assert_array_equal(crop(mask, [-0.5, 4, 4, 8.75]), np.full([4, 4], 255))


def seen(batch):
    return {name: np.asarray(value) for part in batch for name, value in part.items()}


def first(**options):
    stream = objects.training("shapes", "train[:8]", 8, seed=3, device=None, masks=True, **options)
    return seen(next(iter(stream)))


def whole(mask, box, side):
    """A mask in its image, by the nearest cell: boxes of `shapes` are whole pixels."""
    x1, y1, x2, y2 = (round(float(side)) for side in box)
    result = np.zeros([side, side], bool)
    rows = ((np.arange(y2 - y1) + 0.5) / (y2 - y1) * len(mask)).astype(int)
    columns = ((np.arange(x2 - x1) + 0.5) / (x2 - x1) * len(mask)).astype(int)
    result[y1:y2, x1:x2] = mask[rows][:, columns] >= 128
    return result


@pytest.mark.parametrize("side", [128, pytest.param(256, marks=pytest.mark.slow)])
def test_masks_lie_on_their_objects(side):
    """Mirrored and scaled: pixels of an object are of one colour but for noise and the slope."""
    options = {} if side == 128 else {"scales": [(side, side)]}
    batch = first(**options)
    plain = first(flip=False, **options)
    np.testing.assert_array_equal(batch["key"], plain["key"])  # the same images
    mirrored = 0
    drawn = {tuple(map(tuple, one.boxes)): one for one in shapes.examples("train[:8]")}
    for place, labels in enumerate(batch["labels"]):
        count = int((labels >= 0).sum())
        boxes = plain["boxes"][place, :count] / (side / 128)
        one = drawn[tuple(map(tuple, np.int32(np.round(boxes))))]
        is_mirrored = not np.array_equal(batch["boxes"][place], plain["boxes"][place])
        mirrored += is_mirrored
        for n in range(count):
            expected = (one.instances == n + 1).repeat(side // 128, 0).repeat(side // 128, 1)
            expected = expected[:, ::-1] if is_mirrored else expected
            found = whole(batch["masks"][place, n], batch["boxes"][place, n], side)
            assert (found & expected).sum() / (found | expected).sum() > 0.97
        assert not batch["masks"][place, count:].any()
    assert 0 < mirrored < 8


def test_batches_depend_on_seed_and_step_only():
    stream = iter(objects.training("shapes", "train[:8]", 4, seed=1, device=None, masks=True))
    batches = [seen(next(stream)) for _ in range(3)]
    later = objects.training(
        "shapes", "train[:8]", 4, seed=1, start_step=2, device=None, masks=True
    )
    for name, value in seen(next(iter(later))).items():
        np.testing.assert_array_equal(value, batches[2][name], err_msg=name)


SQUARE = [[8, 8, 24, 8, 24, 24, 8, 24]]


def content(**segmentations):
    """A data set of the images 30 and 32, whose objects have masks."""
    made = object_files.coco_content({key: object_files.COCO[key] for key in (30, 32)})
    first, second = made["annotations"]
    first["segmentation"] = SQUARE
    # Counted down the columns: the left half of the box from 16, 32 to 80, 96.
    runs = [16 * 128 + 32, *([64, 64] * 31), 64]
    second["segmentation"] = {"size": [128, 128], "counts": [*runs, 128**2 - sum(runs)]}
    for name, value in segmentations.items():
        {"first": first, "second": second}[name]["segmentation"] = value
    return made


@pytest.fixture
def folder(tmp_path):
    object_files.write_coco(tmp_path, {key: object_files.COCO[key] for key in (30, 32)})
    (file,) = tmp_path.glob("annotations/*train*.json")

    def write(made):
        file.write_text(json.dumps(made))
        return tmp_path

    return write


def test_polygons_and_run_lengths(folder):
    stream = objects.evaluation(
        "coco", "train", 1, data_dir=folder(content()), device=None, masks=True
    )
    masks = {int(t["image_id"][0]): np.asarray(t["masks"][0, 0]) for _, t in stream}
    half = np.zeros([56, 56], int)
    half[:, :28] = 255
    assert abs(masks[30].astype(int) - 255).max() == 0
    assert abs(masks[32].astype(int) - half).max() == 0
    source = objects.open_split("coco", "train", data_dir=folder(content()), masks=True)
    size, outlines = source.outlines(32)
    assert size == (128, 128)
    assert len(outlines) == 1


@pytest.mark.parametrize(
    ("segmentations", "message"),
    [
        ({"first": None}, "annotation 100 has no segmentation"),
        ({"first": [[8, 8, 24, 24]]}, "annotation 100 has no segmentation: a list of polygons of"),
        (
            {"second": {"size": [64, 64], "counts": [64 * 64]}},
            r"annotation 101 has run lengths of the size \[64, 64\] \(height, width\), and its "
            r"image is \[128, 128\]",
        ),
        (
            {"second": {"size": 128, "counts": [128**2]}},
            r"annotation 101 has run lengths of the size 128 \(height, width\)",
        ),
        (
            {"first": None, "second": None},
            "There are 1 more faults: `python -m resnet_keras.pipelines check --masks` lists all",
        ),
        (
            {"second": {"size": [128, 128], "counts": [5, 7]}},
            "annotation 101 has run lengths that do not add up",
        ),
        (
            {"second": {"size": [128, 128], "counts": "no lengths"}},
            "annotation 101 has run lengths that",
        ),
        ({"first": [[8, 8, 1e9, 8, 24, 1e9]]}, "annotation 100 has a polygon far outside of its"),
        ({"first": [[8, 8, float("nan"), 8, 24, 24]]}, "annotation 100 has no segmentation"),
        (
            {"first": [[30, 40, 46, 40, 46, 60, 30, 60]]},
            "annotation 100 has a mask from 30, 40 to 46, 60, most of it outside of the object's "
            "box from 8, 8 to 24, 24",
        ),
        ({"second": {"size": [128, 128], "counts": [128**2]}}, "annotation 101 has an empty mask"),
    ],
)
def test_faults_of_masks(folder, segmentations, message):
    made = content(**segmentations)
    with pytest.raises(InputError, match=message):
        objects.open_split("coco", "train", data_dir=folder(made), masks=True)
    objects.open_split("coco", "train", data_dir=folder(made))  # of which boxes are right


def test_empty_masks_can_be_left_out(folder):
    made = content(second={"size": [128, 128], "counts": [128**2]})
    with pytest.warns(UserWarning, match="left out"):
        source = objects.open_split(
            "coco", "train", data_dir=folder(made), masks=True, max_faulty=1
        )
    assert source.outlines(32)[1] == []


def test_faulty_boxes_and_masks_are_counted_together(folder):
    made = content(second={"size": [128, 128], "counts": [128**2]})
    made["annotations"][0]["bbox"] = [8, 8, 0, 16]
    with pytest.warns(UserWarning, match="left out"):
        objects.open_split("coco", "train", data_dir=folder(made), masks=True, max_faulty=2)
    with pytest.raises(InputError, match="empty mask"), pytest.warns(UserWarning, match="left out"):
        objects.open_split("coco", "train", data_dir=folder(made), masks=True, max_faulty=1)


def test_an_area_that_is_not_told_is_the_masks(folder):
    made = content()
    for entry in made["annotations"]:
        entry.pop("area", None)
    content_read, _ = objects.read("coco", "train", data_dir=folder(made), masks=True)
    np.testing.assert_array_equal(content_read.areas, [16 * 16, 32 * 64])
    boxes_read, _ = objects.read("coco", "train", data_dir=folder(made))
    np.testing.assert_array_equal(boxes_read.areas, [16 * 16, 64 * 64])


def test_data_sets_without_masks():
    with pytest.raises(InputError, match="masks are read of shapes, main_shapes, coco, not of voc"):
        objects.open_split("voc", "train", masks=True)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
