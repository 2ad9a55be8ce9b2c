"""What a localizer answers to a stream of `pipelines.main_objects`, and how good that is."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import scores


def answers(model: Any, batches: Iterable[Any]) -> tuple[list[scores.Truth], list[scores.Answer]]:
    """Asks about every image once.

    Args:
        model: a `Localizer`, an `RCNN` or a `testing.Test`.
        batches: of `pipelines.main_objects.evaluation_of`; copies that fill up a batch weigh 0.

    Returns:
        The images that have an object, and the answers to them, both in pixels of the originals.
    """
    truth, found = [], []
    for features, targets, *weights in batches:
        told = {name: np.asarray(v) for name, v in model.predict_on_batch(features).items()}
        images = {name: np.asarray(value) for name, value in targets.items()}
        counted = np.asarray(weights[0]) if weights else np.ones(len(images["label"]))
        of_batch = in_original_pixels(told, images, counted)
        truth += of_batch[0]
        found += of_batch[1]
    return truth, found


def in_original_pixels(
    answers: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], weights: np.ndarray
) -> tuple[list[scores.Truth], list[scores.Answer]]:
    """What a model answered to a batch, and what is there; images without objects are left out.

    Args:
        answers: of `Localizer.predict`.
        targets: of `pipelines.main_objects.evaluation_of`.
        weights: float (images,), 0 for copies that fill up.
    """
    truth, found = [], []
    for place in np.flatnonzero(np.asarray(weights) * (targets["label"] >= 0)):
        number = int(targets["image_id"][place])
        boxes = targets["original_boxes"][place]
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        truth.append(scores.Truth(number, int(targets["label"][place]), boxes))
        factor = np.tile(targets["scale"][place], 2)
        true_box = answers["true_boxes"][place] / factor if "true_boxes" in answers else None
        found.append(
            scores.Answer(
                number, answers["labels"][place], answers["boxes"][place] / factor, true_box
            )
        )
    return truth, found


def measures(
    truth: Iterable[scores.Truth], found: Iterable[scores.Answer], top: int
) -> dict[str, float]:
    """A run's measures: the errors, 0 to 1, by the names of their columns."""
    errors = scores.errors(truth, found, top=top)
    return {
        "val_localization_error": errors.localization,
        "val_true_class_error": errors.true_class,
        "val_class_error": errors.classification,
    }
