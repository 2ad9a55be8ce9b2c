"""The detector that is measured: one or several, at one scale or more. TensorFlow."""

from collections.abc import Sequence

import keras

from resnet_keras.errors import InputError
from resnet_keras.pipelines import objects

from . import improve, protocols
from .faster_rcnn import FasterRCNN
from .settings import check


def adjust(
    model: keras.Model,
    *,
    refine: bool | None = None,
    score_threshold: float | None = None,
    detections: int | None = None,
) -> None:
    """Changes what a detector does in inference; its saved form stays as it was.

    Args:
        model: a `FasterRCNN`, or what `improve` makes of it, which has predicted nothing yet.
        refine: see `FasterRCNN`, like all that is not told here; None leaves it as it is.
        score_threshold: see `settings.Settings`.
        detections: see there.

    Raises:
        InputError: not such values.
    """
    given = {"score_threshold": score_threshold, "detections": detections}
    changes = {name: value for name, value in given.items() if value is not None}
    for member in members_of(model):
        changed = member.settings._replace(**changes)
        check(changed)
        member.settings = changed
        if refine is not None:
            member.refine = refine


def combine(
    models: Sequence[keras.Model],
    protocol: str = protocols.SINGLE,
    *,
    scale: tuple[int, int] | None = None,
    scales: Sequence[int] = (),
    untold: tuple[int, int] = objects.SCALE,
) -> tuple[keras.Model, tuple[int, int]]:
    """One detector of several, and of several scales.

    Args:
        models: detectors of the same classes.
        protocol: "single" shows each image once; "paper_multi_scale" at the scales of a pyramid.
        scale: (shorter side, most of the longer side) of the images that they are made for; their
            own without.
        scales: of the pyramid, see `protocols.pyramid`.
        untold: the scale of a detector that does not tell its own.

    Returns:
        The detector, and the scale at which it is to be shown images.

    Raises:
        InputError: the models are of different classes or scales, or there is an ensemble among
            several.
    """
    trained = scale or _own_scale(models, untold)
    if protocol == protocols.SINGLE and len(models) == 1:
        return models[0], trained
    if not all(isinstance(model, FasterRCNN) for model in models):
        raise InputError(
            "A detector that is an ensemble or multi-scale already is measured as it is: leave out "
            "`protocol` and `ensemble`."
        )
    if protocol == protocols.SINGLE:
        return improve.ensemble(models), trained
    combination = improve.ensemble(models, **protocols.pyramid(trained[0], scales)._asdict())
    assert combination.scale is not None
    return combination, combination.scale


def members_of(model: keras.Model) -> list[FasterRCNN]:
    """The detectors that a detector is made of."""
    return model.members if isinstance(model, improve.Combination) else [model]


def _own_scale(models, untold):
    sides = (model.scale or untold for model in models)
    scales = {(shorter, longest) for shorter, longest in sides}
    if len(scales) > 1:
        told = " and ".join(f"{shorter},{longest}" for shorter, longest in sorted(scales))
        raise InputError(
            f"The detectors are trained at different scales, {told}: say with `scale` at which "
            "they see images."
        )
    return scales.pop()
