"""ILSVRC's localization error, beside a literal loop."""

import math

import numpy as np
import pytest

from resnet_keras.errors import InputError
from resnet_keras.localization import scores


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def literal(truth, answers, top):
    """As ILSVRC's development kit tells it: the least over answers of max(class, box)."""
    total = 0
    for image in truth:
        (answer,) = (one for one in answers if one.image_id == image.image_id)
        least = 1
        for label, box in list(zip(answer.labels, answer.boxes, strict=True))[:top]:
            wrong_class = int(label != image.label)
            wrong_box = 1
            for instance in image.boxes:
                wrong_box = min(wrong_box, int(iou(box, instance) < 0.5))
            least = min(least, max(wrong_class, wrong_box))
        total += least
    return total / len(truth)


def made(seed, images=60, classes=4):
    generator = np.random.default_rng(seed)
    truth, answers = [], []
    for number in range(images):
        corner = generator.integers(0, 12, (3, 2))
        boxes = np.concatenate([corner, corner + generator.integers(4, 12, (3, 2))], 1)
        truth.append(scores.Truth(number, int(generator.integers(classes)), boxes[:2]))
        near = boxes + generator.integers(-2, 3, boxes.shape)
        labels = generator.permutation(classes)[:3]
        answers.append(scores.Answer(number, labels, near, near[0]))
    return truth, answers[::-1]


@pytest.mark.parametrize("top", [1, 2, 5])
def test_error_is_the_literal_loops(top):
    for seed in range(5):
        truth, answers = made(seed)
        found = scores.errors(truth, answers, top=top)
        assert found.localization == pytest.approx(literal(truth, answers, top))
        assert 0 < found.localization < 1
        told = [
            scores.Answer(a.image_id, np.array([t.label]), np.array([a.true_box]))
            for t, a in zip(truth, answers[::-1], strict=True)
        ]
        assert found.true_class == pytest.approx(literal(truth, told, 1))
        assert found.classification <= found.localization


def one(boxes, *, labels=(0,), label=0, instances=((0, 0, 10, 10),), **options):
    truth = [scores.Truth(7, label, np.array(instances))]
    answers = [scores.Answer(7, np.array(labels), np.array(boxes, "float64"))]
    return scores.errors(truth, answers, **options)


def test_half_is_enough_and_any_instance_will_do():
    assert one([(0, 0, 10, 5)]).localization == 0  # an IoU of exactly one half
    assert one([(0, 0, 10, 4.99)]).localization == 1
    assert one([(50, 50, 60, 60)], instances=[(0, 0, 9, 9), (50, 50, 60, 60)]).localization == 0
    assert one([(0, 0, 0, 0)], instances=[(0, 0, 9, 9)]).localization == 1


def test_class_and_box_must_be_right_in_one_answer():
    both = one([(50, 50, 60, 60), (0, 0, 10, 10)], labels=(0, 1))
    assert (both.localization, both.classification) == (1, 0)
    assert math.isnan(both.true_class)  # nobody asked
    second = [(50, 50, 60, 60), (0, 0, 10, 10)]
    assert one(second, labels=(1, 0)).localization == 0
    assert one(second, labels=(1, 0), top=1).localization == 1


@pytest.mark.parametrize(
    ("truth", "answers", "message"),
    [
        ([], [], "no images with boxes"),
        ([scores.Truth(3, 0, np.ones((1, 4)))], [], "no answer to image 3"),
        ([scores.Truth(3, 0, np.ones((0, 4)))], [3], "Image 3 has no box"),
        ([scores.Truth(3, 0, np.ones((1, 4)))], [3, 3], "two answers to image 3"),
    ],
)
def test_what_cannot_be_scored_is_told(truth, answers, message):
    answers = [scores.Answer(n, np.array([0]), np.ones((1, 4))) for n in answers]
    with pytest.raises(InputError, match=message):
        scores.errors(truth, answers)


def test_classes_must_be_the_data_sets():
    scores.check_classes(("a", "b"), ("a", "b"), 2)
    scores.check_classes(None, ("a", "b"), 2)
    with pytest.raises(InputError, match="of which 1 is the first: c of the model, b of the data"):
        scores.check_classes(("a", "c"), ("a", "b"), 2)
    with pytest.raises(InputError, match="The model has 3 classes, and the data set 2"):
        scores.check_classes(("a", "b", "c"), ("a", "b"), 3)
    with pytest.raises(InputError, match="tells 3 classes, and the data set has 2"):
        scores.check_classes(None, ("a", "b"), 3)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
