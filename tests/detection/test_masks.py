"""Masks of RoIs and of whole images, and the loss of the mask branch."""

import numpy as np
import pytest

from resnet_keras.detection import examples, losses, masks, roi
from resnet_keras.errors import InputError
from resnet_keras.pipelines import instances, shapes


def literal(mask, box, height, width):
    """A mask in its image: a bilinear value at each pixel's centre, 0 outside of the mask."""
    result = np.zeros([height, width])
    side = len(mask)
    padded = np.pad(mask, 1)
    for y in range(height):
        for x in range(width):
            row = (y + 0.5 - box[1]) / (box[3] - box[1]) * side + 0.5
            column = (x + 0.5 - box[0]) / (box[2] - box[0]) * side + 0.5
            if not (0 <= row <= side + 1 and 0 <= column <= side + 1):
                continue
            top, left = min(int(row), side), min(int(column), side)
            down, right = row - top, column - left
            part = padded[top : top + 2, left : left + 2]
            result[y, x] = np.array([1 - down, down]) @ part @ np.array([1 - right, right])
    return result


def test_pasted_masks():
    generator = np.random.default_rng(0)
    boxes = np.float32([[2.3, 3.8, 17.1, 20.4], [-5, -4, 9, 8], [10, 2, 40, 12], [3, 3, 4.5, 30]])
    small = generator.random((len(boxes), 5, 5)).astype("float32")
    found = masks.paste(small, boxes, (24, 30))
    for mask, box, whole in zip(small, boxes, found, strict=True):
        expected = literal(mask, box, 24, 30)
        sure = abs(expected - 0.5) > 1e-5
        np.testing.assert_array_equal(whole[sure], expected[sure] >= 0.5)


def test_whole_boxes():
    """A mask that fills its box is the box's pixels, and an empty box has none."""
    boxes = np.float32([[2, 3, 6, 8], [4, 4, 4, 4], [-3, 0, 2, 50]])
    found = masks.paste(np.ones([3, 28, 28], "float32"), boxes, (10, 12))
    expected = np.zeros([3, 10, 12], bool)
    expected[0, 3:8, 2:6] = expected[2, :, :2] = True
    np.testing.assert_array_equal(found, expected)
    assert masks.paste(np.zeros([0, 28, 28]), np.zeros([0, 4]), (10, 12)).shape == (0, 10, 12)


@pytest.fixture(scope="module")
def objects():
    """Masks of whole images, within their boxes, and boxes; all of one size."""
    drawn = [one for one in shapes.examples("test[:12]") if len(one.labels)]
    whole = np.concatenate(
        [[one.instances == n + 1 for n in range(len(one.labels))] for one in drawn]
    )
    boxes = np.concatenate([one.boxes for one in drawn]).astype("float32")
    small = [
        instances.crops(instances.encode(mask[None]), mask.shape, box[None].astype(float))[0]
        for mask, box in zip(whole, boxes, strict=True)
    ]
    return whole, np.stack(small), boxes


@pytest.mark.parametrize("size", [14, 28])
def test_targets_are_the_mask_where_a_roi_lies(objects, size):
    """As RoIAlign takes them of the whole image's mask; RoIs are beside their objects."""
    whole, small, boxes = objects
    generator = np.random.default_rng(1)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    rois = boxes + sides * generator.uniform(-0.15, 0.15, boxes.shape).astype("float32")
    rois[0] = boxes[0]
    found = masks.targets(small[None], boxes[None], rois[None], size)[0].numpy()
    expected = roi.align(
        whole[..., None].astype("float32"), rois[:, None], size, 1, sampling=8, aligned=True
    )[:, 0, ..., 0].numpy()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    # Pixels are blurred by RoIAlign of the image, and cells by that of the object's mask.
    assert abs(found - expected).mean() < 0.01
    assert ((found >= 0.5) == (expected >= 0.5)).mean() > 0.99


def test_what_is_learnt_comes_back(objects):
    whole, small, boxes = objects
    learnt = masks.targets(small[None], boxes[None], boxes[None], 28)[0].numpy()
    found = masks.paste(learnt, boxes, whole.shape[1:])
    ious = (found & whole).sum((1, 2)) / (found | whole).sum((1, 2))
    assert ious.min() > 0.98


def test_run_lengths(objects):
    whole, small, boxes = objects
    from pycocotools import mask

    learnt = masks.targets(small[None], boxes[None], boxes[None], 28)[0].numpy()
    pasted = masks.paste(learnt, boxes, whole.shape[1:])
    for one, rle in zip(pasted, masks.encode(learnt, boxes, whole.shape[1:]), strict=True):
        np.testing.assert_array_equal(mask.decode(rle), one)


def test_masks_of_another_type_are_refused():
    targets = {"masks": np.zeros([1, 2, 8, 8], bool), "labels": np.zeros([1, 2], "int32")}
    with pytest.raises(InputError, match="not of type bool"):
        masks.check(targets)
    masks.check({**targets, "masks": targets["masks"].astype("uint8")})


def test_objects_fill_the_places_of_the_background():
    """Of two images: one with two objects, and one without any; class 3 is the background."""
    boxes = np.arange(24, dtype="float32").reshape(2, 3, 4)
    labels = np.array([[1, 0, 3], [3, 3, 3]], "int32")
    weights = np.ones([2, 3], "float32")
    rois = examples.Rois(boxes, labels, boxes, weights, labels)
    found = examples.repeated(rois, 3)
    np.testing.assert_array_equal(found.boxes[0], boxes[0, [0, 1, 0]])
    np.testing.assert_array_equal(found.boxes[1], boxes[1, [0, 0, 0]])
    np.testing.assert_array_equal(found.labels, [[1, 0, 1], [3, 3, 3]])
    np.testing.assert_array_equal(found.weights, [[1, 1, 0], [0, 0, 0]])


def test_loss():
    logits = np.full([2, 3, 4, 4], 1e4, "float32")
    targets = np.full([2, 3, 4, 4], np.nan, "float32")
    logits[0, 0], targets[0, 0] = 0.0, 0.25
    logits[0, 1], targets[0, 1] = 2.0, 1.0
    counted = np.zeros([2, 3], bool)
    counted[0, :2] = True
    expected = (np.log(2) + np.log1p(np.exp(-2.0))) / 2
    np.testing.assert_allclose(losses.mask(logits, targets, counted), [expected, 0], rtol=1e-6)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
