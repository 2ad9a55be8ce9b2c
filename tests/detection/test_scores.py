"""COCO's and VOC's metrics against values computed independently."""

import struct
import sys

import numpy as np
import pytest

from resnet_keras.detection import curves, precision, scores
from resnet_keras.detection.scores import Found, Truth
from resnet_keras.errors import InputError, MissingExtraError

# (image, category, xywh, crowd) and (image, category, xywh, score), on 3 images of 200x200.
OBJECTS = [
    (1, 1, (10, 10, 50, 50), 0),
    (1, 1, (100, 100, 20, 20), 0),
    (1, 18, (60, 60, 120, 120), 0),
    (2, 1, (20, 30, 40, 60), 0),
    (2, 1, (0, 100, 200, 80), 1),
    (2, 18, (5, 5, 30, 30), 0),
]
DETECTIONS = [
    (1, 1, (12, 11, 50, 50), 0.9),
    (1, 1, (100, 104, 20, 20), 0.8),
    (1, 1, (10, 10, 48, 52), 0.7),
    (1, 18, (70, 50, 120, 120), 0.95),
    (2, 1, (22, 30, 40, 50), 0.6),
    (2, 1, (10, 110, 60, 60), 0.85),
    (2, 1, (120, 10, 30, 30), 0.3),
    (2, 18, (5, 5, 30, 24), 0.5),
    (2, 18, (5, 7, 28, 30), 0.4),
    (3, 1, (50, 50, 40, 40), 0.65),
]
IDS = (1, 18)


def xyxy(box):
    x, y, width, height = box
    return x, y, x + width, y + height


def made(objects=OBJECTS, detections=DETECTIONS, corners=xyxy, ids=IDS):
    truth, found = [], []
    for image in (1, 2, 3):
        rows = [row for row in objects if row[0] == image]
        boxes = np.reshape([xyxy(row[2]) for row in rows], [-1, 4])
        labels = [ids.index(row[1]) for row in rows]
        truth.append(Truth(image, boxes, labels, crowd=[row[3] for row in rows]))
        rows = [row for row in detections if row[0] == image]
        boxes = np.reshape([corners(row[2]) for row in rows], [-1, 4])
        found.append(Found(image, boxes, [r[3] for r in rows], [ids.index(r[1]) for r in rows]))
    return truth, found


def test_cocos_twelve_numbers():
    result = scores.coco(*made(), IDS)
    expected = [
        *(0.534323, 0.932673, 0.359901, 0.55, 0.577723, 0.5),
        *(0.433333, 0.616667, 0.616667, 0.55, 0.75, 0.5),
    ]
    assert tuple(result.values) == scores.COCO
    np.testing.assert_allclose(list(result.values.values()), expected, atol=1e-6)
    np.testing.assert_allclose(result.ap50, [0.865347, 1], atol=1e-6)
    np.testing.assert_allclose(result.ap.mean(), 0.534323, atol=1e-6)
    assert result.precision.shape == (2, 2, 101)
    np.testing.assert_allclose(result.precision.mean(axis=(1, 2)), [0.932673, 0.359901], atol=1e-6)


def test_classes_keep_their_order_where_ids_do_not_ascend():
    result = scores.coco(*made(ids=(18, 1)), (18, 1))
    np.testing.assert_allclose(result.ap50, [1, 0.865347], atol=1e-6)


def test_xywh_given_as_corners_scores_little():
    result = scores.coco(*made(corners=lambda box: box), IDS)
    assert result.values["ap"] < 0.2


def test_without_objects_there_is_nothing_to_score():
    result = scores.coco(*made(objects=[]), IDS)
    assert set(result.values.values()) == {-1.0}
    assert set(result.ap) == {-1.0}
    assert np.isnan(scores.voc(*made(objects=[]), 2).mean)


def test_without_detections_the_scores_are_zero():
    result = scores.coco(*made(detections=[]), IDS)
    assert result.values["ap"] == result.values["ar100"] == 0
    assert scores.voc(*made(detections=[]), 2).mean == 0


@pytest.mark.parametrize(
    ("is_true", "positives", "eleven", "area"),
    [
        ([1, 0, 1, 1, 0], 4, 0.613636, 0.625),
        # The recall is exactly 3/10, which arange's .30000000000000004 misses.
        ([1, 1, 1, 0, 1], 10, 0.418182, 0.38),
        ([0, 0, 1], 1, 0.333333, 0.333333),
        ([], 3, 0, 0),
    ],
)
def test_average_precision(is_true, positives, eleven, area):
    curve = precision.curve(is_true, positives)
    assert precision.average_precision(curve, "07") == pytest.approx(eleven, abs=1e-6)
    assert precision.average_precision(curve, "area") == pytest.approx(area, abs=1e-6)


def one(boxes, detections, **flags):
    """AP of one image with one class; detections in the order of their scores."""
    truth = Truth(7, np.reshape(boxes, [-1, 4]), [0] * len(boxes), **flags)
    order = np.arange(len(detections), 0.0, -1)
    found = Found(7, np.reshape(detections, [-1, 4]), order, [0] * len(detections))
    return scores.voc([truth], [found], 1).mean


BOX, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


def test_an_iou_of_just_a_half_is_none():
    """VOC's inclusive [1, 1, 10, 10] and [1, 1, 10, 5], whose IoU is .5 with its +1."""
    assert one([BOX], [[0, 0, 10, 5]]) == 0
    assert one([BOX], [[0, 0, 10, 5.01]]) == 1


def test_the_second_detection_of_an_object_is_wrong():
    assert one([BOX, FAR], [BOX, BOX, FAR]) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_difficult_objects_count_neither_way(flag):
    assert one([BOX, FAR], [FAR, FAR, BOX], **{flag: [False, True]}) == 1
    assert one([BOX, FAR], [BOX], **{flag: [False, True]}) == 1


def test_what_lies_in_a_crowd_counts_neither_way():
    crowd = {"crowd": [False, True]}
    inside, half_out = [52, 52, 54, 54], [55, 55, 75, 75]
    assert one([BOX, FAR], [inside, BOX], **crowd) == 1
    assert one([BOX, FAR], [half_out, BOX], **crowd) == 0.5
    # What finds an object is true there too.
    assert one([inside, FAR], [inside, inside], **crowd) == 1
    assert one([BOX, [0, 0, 60, 60]], [BOX, BOX], **crowd) == 1


def test_equal_scores_do_not_depend_on_the_order_of_images():
    truth = [Truth(key, np.array([BOX]), [0]) for key in range(4)]
    found = [Found(key, np.array([BOX if key % 2 else FAR]), [0.5], [0]) for key in range(4)]
    for order in ([0, 1, 2, 3], [1, 3, 0, 2]):
        chosen = [found[n] for n in order]
        assert scores.voc(truth, chosen, 1).mean == pytest.approx((1 / 2 + 2 / 4) / 4)
        ap = scores.coco([truth[n] for n in order], chosen, (1,)).values["ap50"]
        assert ap == pytest.approx(51 / 101 * 0.5)


def test_cocos_sizes_are_those_of_the_masks():
    box = np.array([[0, 0, 40, 40.0]])
    found = [Found(1, box, [0.9], [0])]
    sizes = {}
    for area in (1000, 1600, 10000):
        values = scores.coco([Truth(1, box, [0], areas=np.array([area]))], found, (1,)).values
        sizes[area] = [name for name in ("small", "medium", "large") if values[f"ap_{name}"] > 0.99]
    assert sizes == {1000: ["small"], 1600: ["medium"], 10000: ["large"]}


def test_more_than_a_hundred_detections_of_a_class_are_not_looked_at():
    boxes = np.array([[20.0 * n, 0, 20 * n + 10, 10] for n in range(120)])
    truth, found = [Truth(1, boxes, [0] * 120)], [Found(1, boxes, np.arange(120, 0, -1), [0] * 120)]
    assert scores.coco(truth, found, (1,)).values["ar100"] == pytest.approx(100 / 120)
    assert scores.voc(truth, found, 1).mean == 1


def test_detections_get_the_labels_of_the_data_set():
    found = [Found(4, np.arange(12.0).reshape(3, 4), np.array([0.9, 0.8, 0.7]), [0, 1, 2])]
    (image,) = scores.relabelled(found, ("N/A", "dog", "cat"), ("cat", "dog"))
    np.testing.assert_array_equal(image.labels, [1, 0])
    np.testing.assert_array_equal(image.scores, [0.8, 0.7])
    np.testing.assert_array_equal(image.boxes, np.arange(4, 12.0).reshape(2, 4))
    (empty,) = scores.relabelled([Found(4, np.zeros([0, 4]), [], [])], ("a",), ("a",))
    assert empty.boxes.shape == (0, 4)
    with pytest.raises(InputError, match="'cow' is not once in each"):
        scores.relabelled(found, ("dog", "cat"), ("cow", "dog"))
    with pytest.raises(InputError, match="'cat' is not once in each"):
        scores.relabelled(found, ("cat", "cat"), ("cat",))


@pytest.mark.parametrize("classes", [1, 3, 20, 80])
def test_curves_are_drawn_of_any_number_of_classes(classes):
    truth = [Truth(n, np.array([BOX, FAR]), [n, n]) for n in range(classes)]
    found = [Found(n, np.array([FAR, BOX]), [0.9, 0.8], [n, n]) for n in range(0, classes, 2)]
    result = scores.coco(truth, found, range(1, classes + 1))
    names = [f"class {n} with $ and a long name" for n in range(classes)]
    content = curves.draw(result, names, "title")
    width, height = struct.unpack(">2I", content[16:24])  # of a PNG
    assert width == 1200
    assert 600 < height < 1000


def test_classes_without_objects_are_left_out_of_the_mean():
    truth, found = made()
    result = scores.voc(truth, found, 3, metric="07")
    assert np.isnan(result.ap[2])
    assert result.mean == pytest.approx(result.ap[:2].mean())


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Found(9, np.zeros([1, 4]), [0.5], [0]), "unknown image 9"),
        (Found(1, np.zeros([1, 4]), [0.5], [-1]), "Image 1 has detections with labels outside 0"),
        (Found(1, np.zeros([1, 4]), [0.5], [2]), "leave out what fills up"),
    ],
)
def test_what_cannot_be_scored_is_refused(found, message):
    for score in (lambda *x: scores.coco(*x, IDS), lambda *x: scores.voc(*x, 2)):
        with pytest.raises(InputError, match=message):
            score(made()[0], [found])


def test_images_come_once():
    truth, found = made()
    with pytest.raises(InputError, match="detections of one image twice"):
        scores.voc(truth, [*found, found[0]], 2)


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(InputError, match="Choose one of 07, area"):
        scores.voc(*made(), 2, metric="10")


def test_without_pycocotools_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'resnet_keras\[detection\]'"):
        scores.coco(*made(), IDS)


def filled(image, share=1.0):
    """An image whose masks are its boxes, or the left part of them."""
    from resnet_keras.pipelines import instances

    whole = np.zeros([len(image.labels), 200, 200], bool)
    for mask, (x1, y1, x2, y2) in zip(whole, np.asarray(image.boxes, int), strict=True):
        mask[y1:y2, x1 : x1 + int(share * (x2 - x1))] = True
    rles = [{"size": [200, 200], "counts": counts} for counts in instances.encode(whole)]
    return image._replace(masks=rles)


def test_masks_that_fill_their_boxes_score_as_boxes():
    truth, found = made()
    boxes = scores.coco(truth, found, IDS)
    truth = [filled(image) for image in truth]
    masks = scores.coco(truth, [filled(image) for image in found], IDS, masks=True)
    for name in ("ap", "ap50", "ap75", "ar100"):
        assert masks.values[name] == pytest.approx(boxes.values[name], abs=1e-12), name
    halves = scores.coco(truth, [filled(image, 0.45) for image in found], IDS, masks=True)
    assert 0 <= halves.values["ap50"] < 0.1 < masks.values["ap50"]
    with pytest.raises(InputError, match="without masks"):
        scores.coco(truth, found, IDS, masks=True)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
