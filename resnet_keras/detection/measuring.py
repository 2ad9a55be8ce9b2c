"""What a detector finds in a stream of `pipelines.objects.evaluation`, and how good that is.

model.fit(train, callbacks=[measuring.AveragePrecision(test, category_ids)])
truth, found = measuring.detections(model, test)
scores.voc(truth, found, num_classes)
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from resnet_keras.errors import InputError

from . import masks, scores
from .scores import some

MEASURES = ("ap", "ap50", "ap75")
Outlines = Callable[[int], tuple[tuple[int, int], list[bytes]]]


def detections(
    model: keras.Model, batches: Iterable[Any], outlines: Outlines | None = None
) -> tuple[list[scores.Truth], list[scores.Found]]:
    """Lets a detector look at every image once.

    Args:
        model: a `FasterRCNN`, or what `improve` makes of it.
        batches: of `pipelines.objects.evaluation`; copies that fill up a batch weigh 0.
        outlines: of the data set, see `scenes.Scenes`; with them masks are told, if the detector
            finds some.

    Returns:
        The objects, and what was found, both in pixels of the original images.
    """
    truth, found = [], []
    for features, targets, *weights in batches:
        answers = {name: np.asarray(v) for name, v in model.predict_on_batch(features).items()}
        images = {name: np.asarray(value) for name, value in targets.items()}
        counted = np.asarray(weights[0]) if weights else np.ones(len(images["image_id"]))
        of_batch = in_original_pixels(answers, images, counted, outlines)
        truth += of_batch[0]
        found += of_batch[1]
    return truth, found


def in_original_pixels(
    answers: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    weights: np.ndarray,
    outlines: Outlines | None = None,
) -> tuple[list[scores.Truth], list[scores.Found]]:
    """What a detector answered of some images, and what is there, for scoring.

    Args:
        answers: of `FasterRCNN.predict`.
        targets: of `pipelines.objects.evaluation`.
        weights: float (images,), 0 for copies that fill up.
        outlines: as of `detections`.
    """
    truth, found = [], []
    for place in np.flatnonzero(weights):
        image = _truth({name: value[place] for name, value in targets.items()})
        count = int(answers["count"][place])
        # Boxes are at the scale that the detector saw.
        factor = np.tile(targets["scale"][place], 2)
        own = scores.Found(
            image.image_id,
            answers["boxes"][place, :count] / factor,
            answers["scores"][place, :count],
            answers["labels"][place, :count],
        )
        if outlines is not None and "masks" in answers:
            size, counts = outlines(image.image_id)
            image = image._replace(masks=[{"size": list(size), "counts": c} for c in counts])
            own = own._replace(masks=masks.encode(answers["masks"][place, :count], own.boxes, size))
        truth.append(image)
        found.append(own)
    return truth, found


def names_of(model: keras.Model, wanted: Sequence[str]) -> tuple[str, ...]:
    """The names of a detector's classes; those `wanted` where it has none, but as many.

    Raises:
        InputError: it has no names, and not so many classes.
    """
    names = getattr(model, "class_names", None)
    if names is not None:
        return tuple(names)
    if model.num_classes != len(wanted):
        raise InputError(
            f"The detector tells {model.num_classes} classes without names, and the data set has "
            f"{len(wanted)}: {some(wanted)}."
        )
    return tuple(wanted)


def _truth(image):
    real = image["labels"] >= 0
    return scores.Truth(
        int(image["image_id"]),
        image["original_boxes"][real],
        image["labels"][real],
        image["crowd"][real],
        image["difficult"][real],
        image["area"][real],
    )


def average_precision(
    model: keras.Model,
    batches: Iterable[Any],
    category_ids: Sequence[int],
    outlines: Outlines | None = None,
) -> dict[str, float]:
    """COCO's AP, AP at IoU .5 and at .75, as a run's measures: 0 to 1.

    Args:
        model: see `detections`.
        batches: see `detections`.
        category_ids: of the labels, in their order.
        outlines: see `detections`.

    Returns:
        {"val_ap": ..., "val_ap50": ..., "val_ap75": ...}, and where masks are found and there are
        outlines also "val_mask_ap", "val_mask_ap50" and "val_mask_ap75".

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    return precision(*detections(model, batches, outlines), category_ids)


def precision(
    truth: Iterable[scores.Truth], found: Iterable[scores.Found], category_ids: Sequence[int]
) -> dict[str, float]:
    """As `average_precision`, of what was found already."""
    truth, found = list(truth), list(found)
    values = scores.coco(truth, found, category_ids).values
    measured = {f"val_{name}": values[name] for name in MEASURES}
    if all(image.masks is not None for image in truth):
        values = scores.coco(truth, found, category_ids, masks=True).values
        measured |= {f"val_mask_{name}": values[name] for name in MEASURES}
    return measured


class AveragePrecision(keras.callbacks.Callback):
    """Adds `average_precision` to the logs at the end of each epoch, for `Model.fit`.

    `training.fit` takes the function as its `evaluate` instead.

    Args:
        batches: of `pipelines.objects.evaluation`.
        category_ids: of the labels, in their order; those of the labels themselves without.
        verbose: whether a line is printed.
        outlines: of the data set, see `detections`. Without them masks are not measured, which a
            warning says of a `MaskRCNN`.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        category_ids: Sequence[int] | None = None,
        *,
        verbose: bool = True,
        outlines: Outlines | None = None,
    ):
        super().__init__()
        self.batches, self.category_ids, self.verbose = batches, category_ids, verbose
        self.outlines = outlines

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Says so where masks are found and not measured."""
        if self.outlines is None and getattr(self.model, "mask_side", None) is not None:
            warnings.warn(
                "AP is that of boxes alone: for masks give outlines=source.outlines, of "
                "source = pipelines.objects.open_split(..., masks=True).",
                stacklevel=2,
            )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Measures, and adds to the logs."""
        ids = self.category_ids
        if ids is None:
            ids = range(1, self.model.num_classes + 1)
        measured = average_precision(self.model, self.batches, ids, self.outlines)
        if isinstance(logs, dict):
            logs.update(measured)
        if self.verbose:
            print(" - ".join(f"{name}: {value:.4f}" for name, value in measured.items()))
