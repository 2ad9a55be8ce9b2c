"""The made data set: a function of seed and number, whose boxes are those of its masks."""

import numpy as np
import pytest

from resnet_keras.errors import InputError
from resnet_keras.pipelines import objects, shapes

BOXES = [[60, 96, 82, 125], [11, 76, 60, 124], [63, 45, 100, 82]]
SUM = 7322856
MAIN_BOXES = [[2, 0, 39, 38], [25, 18, 36, 30], [1, 22, 13, 35], [40, 5, 51, 17]]
MAIN_SUM = 1960634


@pytest.fixture(scope="module")
def drawn():
    return shapes.examples("val")


def test_an_image_depends_on_seed_and_number_only(drawn):
    again = shapes.example(0, 1000)
    for one, other in zip(again, drawn[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(shapes.example(1, 1000).image, again.image)
    assert not np.array_equal(shapes.example(0, 1001).image, again.image)


def test_images_are_the_same_for_all_time():
    """Else trained detectors' scores could not be compared."""
    example = shapes.example(0, 7)
    assert example.boxes.tolist() == BOXES
    assert int(example.image.astype(np.int64).sum()) == SUM


def test_main_object_is_the_largest_of_each_image():
    drawn = shapes.examples("val", name="main_shapes")
    assert {len(one.labels) for one in drawn} == {1, 2, 3, 4}
    for one in drawn:
        sides = one.boxes[:, 2:] - one.boxes[:, :2]
        assert (sides[0] > sides[1:]).all()
        assert 20 <= sides[0].min() <= sides[0].max() <= 45
    assert np.bincount([one.labels[0] for one in drawn]).min() > len(drawn) / 4
    example = shapes.main_example(0, 7)  # the same for all time
    assert example.boxes.tolist() == MAIN_BOXES
    assert int(example.image.astype(np.int64).sum()) == MAIN_SUM
    ((features, targets),) = objects.evaluation("main_shapes", "val[:4]", 4, device=None)
    np.testing.assert_array_equal(features["image"], [one.image for one in drawn[:4]])
    np.testing.assert_array_equal(targets["boxes"][:, 0], [one.boxes[0] for one in drawn[:4]])


def test_splits_have_no_image_in_common():
    numbers = [number for split in shapes.NUMBERS for number in shapes.numbers(split).tolist()]
    assert len(set(numbers)) == len(numbers) == 1400
    assert shapes.numbers("train[:10%]").tolist() == list(range(100))
    with pytest.raises(InputError, match="Choose one of train, val, test"):
        shapes.numbers("dev")


def test_boxes_and_masks_agree(drawn):
    for one in drawn:
        assert one.image.shape == (128, 128, 3)
        assert one.image.dtype == one.mask.dtype == np.uint8
        assert one.areas.sum() == (one.mask > 0).sum()
        inside = np.zeros_like(one.mask, bool)
        for (x1, y1, x2, y2), label, area in zip(one.boxes, one.labels, one.areas, strict=True):
            part = one.mask[y1:y2, x1:x2] == label + 1
            assert part.sum() >= area
            # The box is as tight as can be.
            assert all(edge.any() for edge in (part[0], part[-1], part[:, 0], part[:, -1]))
            inside[y1:y2, x1:x2] = True
        assert not one.mask[~inside].any()


def test_the_set_has_what_a_detector_must_learn(drawn):
    counts = [len(one.labels) for one in drawn]
    assert set(counts) == {0, 1, 2, 3, 4}
    assert 2 <= counts.count(0) <= 20
    labels = np.concatenate([one.labels for one in drawn])
    assert np.bincount(labels).min() > len(labels) / 4
    boxes = np.concatenate([one.boxes for one in drawn])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.max() <= 57
    overlapping = [one for one in drawn if _overlap(one.boxes)]
    assert len(overlapping) > 20


def _overlap(boxes):
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low > 0).all(axis=2)
    return (shared.sum() - len(boxes)) > 0


def test_streams_deliver_them_as_they_are(drawn):
    features, targets = next(
        iter(objects.evaluation("shapes", "val[:8]", 8, device=None).as_numpy_iterator())
    )
    np.testing.assert_array_equal(features["image"], [one.image for one in drawn[:8]])
    for n, one in enumerate(drawn[:8]):
        np.testing.assert_array_equal(targets["boxes"][n, : len(one.boxes)], one.boxes)
        np.testing.assert_array_equal(targets["area"][n, : len(one.boxes)], one.areas)
    made = objects.training("shapes", "train[:8]", 8, seed=0, device=None)
    assert made.element_spec[0]["image"].shape == (8, 128, 128, 3)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
