"""ILSVRC's localization error. NumPy.

An answer to an image is a list of classes, the most probable first, with a box for each. An image
is right if one of the first five has the right class and a box that overlaps an instance of it by
an IoU of one half or more (Russakovsky et al. 2015, Sec. 4.2).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_keras.errors import InputError

OVERLAP = 0.5


class Truth(NamedTuple):
    """An image's class, and its instances of it.

    Attributes:
        image_id: which image.
        label: the class.
        boxes: (instances, 4), x1, y1, x2, y2 in pixels, half-open.
    """

    image_id: int
    label: int
    boxes: np.ndarray


class Answer(NamedTuple):
    """What a model says of an image.

    Attributes:
        image_id: which image.
        labels: int (n,), the most probable class first.
        boxes: (n, 4), one for each.
        true_box: (4,), its box for the true class; None where it was not asked for it.
    """

    image_id: int
    labels: np.ndarray
    boxes: np.ndarray
    true_box: np.ndarray | None = None


class Errors(NamedTuple):
    """Shares of the images, 0 to 1.

    Attributes:
        localization: neither class and box of the first `top` answers are right.
        classification: none of the first `top` classes is right.
        true_class: the box for the true class, which is told, is wrong: Table 13's first rows. NaN
            where no model was asked.
        images: how many there are.
    """

    localization: float
    classification: float
    true_class: float
    images: int


def errors(truth: Iterable[Truth], answers: Iterable[Answer], *, top: int = 5) -> Errors:
    """Scores answers.

    Args:
        truth: of images with an instance at least.
        answers: one for each of these images; those of other images are left out.
        top: how many answers of an image count.

    Raises:
        InputError: an image has no answer or two, or no instance; or there are no images.
    """
    if top < 1:
        raise InputError(f"top is 1 or more, not {top}.")
    by_image: dict[int, Answer] = {}
    for one in answers:
        if one.image_id in by_image:
            raise InputError(f"There are two answers to image {one.image_id}.")
        by_image[one.image_id] = one
    rows = []
    for image in truth:
        if image.image_id not in by_image:
            raise InputError(f"There is no answer to image {image.image_id}.")
        if not len(image.boxes):
            raise InputError(f"Image {image.image_id} has no box to be found.")
        rows.append(_of_image(image, by_image[image.image_id], top))
    if not rows:
        raise InputError("There are no images with boxes to score.")
    localization, classification, true_class = np.mean(rows, axis=0).tolist()
    return Errors(localization, classification, true_class, len(rows))


def _of_image(image, found, top):
    same = np.asarray(found.labels[:top]) == image.label
    covers = overlaps(np.asarray(found.boxes[:top]).reshape(-1, 4), image.boxes)
    told = np.nan
    if found.true_box is not None:
        told = not overlaps(np.asarray(found.true_box)[None], image.boxes)[0]
    return not (same & covers).any(), not same.any(), told


def overlaps(boxes: Any, instances: Any) -> np.ndarray:
    """Which of the boxes (n, 4) overlap any instance (m, 4) by half or more: bool (n,)."""
    a, b = np.asarray(boxes, "float64")[:, None], np.asarray(instances, "float64")[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    areas = [np.prod(np.maximum(x[..., 2:] - x[..., :2], 0), axis=-1) for x in (a, b)]
    union = areas[0] + areas[1] - shared
    # Multiplied, not divided: one half is met exactly, and an empty union is none.
    return ((shared >= OVERLAP * union) & (union > 0)).any(axis=1)


def told(errors: Errors, top: int) -> str:
    """One line of errors, in percent."""
    return (
        f"localization error {100 * errors.localization:.2f} % (top-{top}), "
        f"{100 * errors.true_class:.2f} % with the true class; "
        f"classification error {100 * errors.classification:.2f} % (top-{top})"
    )


def check_classes(model: Sequence[str] | None, wanted: Sequence[str], count: int) -> None:
    """Refuses a model of other classes than a data set's.

    Raises:
        InputError: as said.
    """
    if model is not None and tuple(model) != tuple(wanted):
        if len(model) != len(wanted):
            raise InputError(f"The model has {len(model)} classes, and the data set {len(wanted)}.")
        place = next(n for n, name in enumerate(model) if name != wanted[n])
        raise InputError(
            f"The model and the data set have other classes, of which {place} is the first: "
            f"{model[place]} of the model, {wanted[place]} of the data set."
        )
    if model is None and count != len(wanted):
        raise InputError(f"The model tells {count} classes, and the data set has {len(wanted)}.")
