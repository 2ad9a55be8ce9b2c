"""The numbers of a detector: the paper's, and those of the projects whose weights load.

Plain data. The paper's appendix and its reference [32], Faster R-CNN (arXiv 1506.01497), whose code
is py-faster-rcnn, give `PAPER`; torchvision's `fasterrcnn_resnet50_fpn` and detectron2's base
configurations give the others.
"""

from typing import Any, NamedTuple

from resnet_keras.errors import InputError, unknown


class Settings(NamedTuple):
    """All that decides what a detector computes, beside its layers.

    Attributes:
        anchor_form: whose anchors they are, "paper", "torchvision" or "detectron2"; see
            `anchors.base`.
        anchor_sizes: side of the square anchors in pixels, for each level of features.
        anchor_ratios: height over width.
        rpn_channels: of the RPN's convolutions, with neck="c4"; at most as many as the features.
        rpn_positive: IoU from which an anchor is one of an object.
        rpn_negative: IoU below which it is one of the background.
        rpn_samples: anchors per image whose loss is taken.
        rpn_positive_share: at most this share of them positive.
        rpn_beta: where smooth L1 turns from squared to linear, for the RPN.
        cross_boundary: whether anchors that leave the image are trained.
        proposals_before: candidates of a level that non-maximum suppression sees, in training and
            in inference.
        proposals: those that it leaves, in training and in inference.
        proposal_iou: above which of two candidates the worse is suppressed.
        proposal_side: shorter proposals are dropped; pixels.
        roi_samples: RoIs per image whose loss is taken.
        roi_positive_share: at most this share of them positive.
        roi_positive: IoU from which a RoI is one of an object.
        roi_negative: IoUs [low, high) of the RoIs that are the background's.
        box_beta: where smooth L1 turns from squared to linear, for the boxes of RoIs.
        box_weights: what the deltas (x, y, width, height) of RoIs are multiplied by.
        roi: "align" or "max_pool".
        roi_aligned: whether RoIAlign shifts by half a pixel, as it is right to.
        roi_sampling: RoIAlign's samples per bin and axis; None takes as many as there are cells.
        roi_form: of RoIAlign, see `roi.align`: "auto" is fast; "matmul" repeats its bits on GPUs.
        score_threshold: detections of lower scores are dropped.
        nms_iou: above which of two detections of a class the worse is suppressed.
        detections: kept at most.
        detection_side: shorter detections are dropped; pixels.
        masked: whether an image in a padded batch is computed as if it were alone, see `padding`;
            the other projects do not.
    """

    anchor_form: str = "paper"
    anchor_sizes: tuple[tuple[float, ...], ...] = ((128, 256, 512),)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rpn_channels: int = 512  # VGG-16's RPN ([32], Sec. 3.1) has as many as its features
    rpn_positive: float = 0.7
    rpn_negative: float = 0.3
    rpn_samples: int = 256
    rpn_positive_share: float = 0.5
    rpn_beta: float = 1 / 9
    cross_boundary: bool = False
    proposals_before: tuple[int, int] = (12000, 6000)
    proposals: tuple[int, int] = (2000, 300)
    proposal_iou: float = 0.7
    proposal_side: float = 0.0
    roi_samples: int = 128
    roi_positive_share: float = 0.25
    roi_positive: float = 0.5
    roi_negative: tuple[float, float] = (0.1, 0.5)
    box_beta: float = 1.0
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    roi: str = "align"
    roi_aligned: bool = True
    roi_sampling: int | None = 2
    roi_form: str = "auto"
    score_threshold: float = 0.05
    nms_iou: float = 0.3
    detections: int = 100
    detection_side: float = 0.0
    masked: bool = True


_FPN = {
    "anchor_form": "detectron2",
    "anchor_sizes": ((32,), (64,), (128,), (256,), (512,)),
    "proposals_before": (2000, 1000),
    "proposals": (2000, 1000),
}
# What py-faster-rcnn drops where it speaks of the paper's 16 pixels: at the scale of the image.
PAPER = Settings(proposal_side=16.0)
_TORCHVISION = {
    "anchor_form": "torchvision",
    "cross_boundary": True,
    "proposal_side": 1e-3,
    "roi_samples": 512,
    "roi_negative": (0.0, 0.5),
    "box_beta": 1 / 9,
    "roi_aligned": False,
    "nms_iou": 0.5,
    "detection_side": 1e-2,
    "masked": False,
}
_DETECTRON2 = {
    "anchor_form": "detectron2",
    "cross_boundary": True,
    "rpn_beta": 0.0,
    "box_beta": 0.0,
    "roi_samples": 512,
    "roi_negative": (0.0, 0.5),
    "roi_sampling": None,
    "nms_iou": 0.5,
    "masked": False,
}
PRESETS: dict[str, dict[str, Settings]] = {
    "paper": {"c4": PAPER, "fpn": PAPER._replace(**_FPN, proposal_side=0.0)},
    "torchvision": {"fpn": Settings()._replace(**{**_FPN, **_TORCHVISION})},
    "detectron2": {
        "c4": Settings(**_DETECTRON2)._replace(
            anchor_sizes=((32, 64, 128, 256, 512),),
            proposals=(2000, 1000),
            rpn_channels=1024,
            # It pads images for a pyramid only; in inference it has one at a time.
            masked=True,
        ),
        "fpn": Settings()._replace(**{**_FPN, **_DETECTRON2, "proposals": (1000, 1000)}),
    },
}


def settings(preset: str, neck: str, **changes: Any) -> Settings:
    """The numbers of a preset, some of them changed.

    Args:
        preset: "paper", "torchvision" or "detectron2".
        neck: "c4" or "fpn".
        **changes: attributes of `Settings`. `proposals` and `proposals_before` may be one number,
            for training and inference; `anchor_sizes` of one level may be numbers.

    Raises:
        InputError: there is no such preset, neck or setting, or not of this value.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    if neck not in PRESETS[preset]:
        raise unknown(f"neck of preset {preset}:", neck, PRESETS[preset])
    for name in changes:
        if name not in Settings._fields:
            raise unknown("setting of a detector", name, Settings._fields)
    for name in ("proposals", "proposals_before"):
        if isinstance(changes.get(name), int):
            changes[name] = (changes[name],) * 2
    sizes = changes.get("anchor_sizes")
    if sizes is not None and all(isinstance(size, int | float) for size in sizes):
        changes["anchor_sizes"] = (tuple(sizes),)
    changed = PRESETS[preset][neck]._replace(**{k: _tuples(v) for k, v in changes.items()})
    check(changed)
    return changed


def _tuples(value):
    """Lists, as JSON has them, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def check(values: Settings) -> None:
    """Raises `InputError` for numbers that nothing could be computed with."""
    if values.roi not in ("align", "max_pool"):
        raise unknown("roi", values.roi, ("align", "max_pool"))
    if values.roi_form not in ("auto", "matmul"):
        raise unknown("roi_form", values.roi_form, ("auto", "matmul"))
    for name in ("rpn_samples", "roi_samples", "detections"):
        if getattr(values, name) < 1:
            raise InputError(f"{name} must be positive, not {getattr(values, name)!r}.")
    for name in ("proposals", "proposals_before"):
        if min(getattr(values, name)) < 1:
            raise InputError(f"{name} must be positive, not {getattr(values, name)!r}.")
    for name in ("nms_iou", "proposal_iou", "score_threshold", "roi_positive", "rpn_positive"):
        if not 0 <= getattr(values, name) <= 1:
            raise InputError(f"{name} must be in [0, 1], not {getattr(values, name)!r}.")
    if values.rpn_negative > values.rpn_positive:
        raise InputError(
            f"rpn_negative={values.rpn_negative} must not be above "
            f"rpn_positive={values.rpn_positive}."
        )
    if not values.anchor_sizes or not all(values.anchor_sizes) or not values.anchor_ratios:
        raise InputError("anchor_sizes and anchor_ratios must not be empty.")
