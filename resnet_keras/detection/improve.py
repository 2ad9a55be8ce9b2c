"""Several scales and several detectors in testing (the paper's appendix B, Table 9). TensorFlow.

    better = improve.multi_scale(model)
    best = improve.ensemble([model, other], scales=(200, 400, 600, 800, 1000))
    found = best.predict(images)

The two other improvements of Table 9, box refinement and global context, are options of
`FasterRCNN`, and count here as they do there. Masks are those of the final boxes, means over the
detectors that find masks, and over the two scales at which a box is looked at.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from resnet_keras.errors import InputError

from . import detections
from .faster_rcnn import FasterRCNN, unpack
from .proposals import propose
from .protocols import CANONICAL, LONGEST, SCALES, check_classes, check_scales


class View(NamedTuple):
    """An image at one scale, as one detector sees it.

    Attributes:
        maps: features that RoIs are taken of.
        levels: of anchors.
        size: height and width, int32 (1, 2).
        factor: width and height over the original's, twice: float32 (4,), for boxes.
    """

    maps: list[tf.Tensor]
    levels: list[Any]
    size: tf.Tensor
    factor: tf.Tensor


def multi_scale(
    model: FasterRCNN,
    scales: Sequence[int] = SCALES,
    *,
    proposal_scales: Sequence[int] | None = None,
    canonical_size: float = CANONICAL,
) -> "Combination":
    """A detector that looks at each RoI at two scales.

    Args:
        model: trained at one scale.
        scales: shorter sides of the image pyramid in pixels, ascending.
        proposal_scales: those of them at which proposals are made; all are taken together. None is
            the middle one: the paper's 600, at which its model was trained.
        canonical_size: a RoI is seen at the two adjacent scales between which it would have this
            many pixels squared; ImageNet's crops have 224.

    Returns:
        A Keras model; its `predict` takes and gives what the detector's does.

    Raises:
        InputError: there are fewer than two scales, or they do not ascend.
    """
    return Combination([model], scales, proposal_scales, canonical_size)


def ensemble(
    models: Sequence[FasterRCNN],
    scales: Sequence[int] | None = None,
    *,
    proposal_scales: Sequence[int] | None = None,
    canonical_size: float = CANONICAL,
) -> "Combination":
    """A detector whose proposals are those of several, each judged by all of them.

    Scores and boxes are means over the detectors. Thresholds, `detections` and `refine` are the
    first one's.

    Args:
        models: with the same classes.
        scales: None looks at the images as they are given; else as of `multi_scale`.
        proposal_scales: as of `multi_scale`.
        canonical_size: as of `multi_scale`.

    Returns:
        A Keras model; its `predict` takes and gives what a detector's does.

    Raises:
        InputError: there are no models, or they have not equally many classes.
    """
    return Combination(models, scales, proposal_scales, canonical_size)


@keras.saving.register_keras_serializable(package="resnet_keras")
class Combination(keras.Model):
    """Detectors and scales of `ensemble` and `multi_scale`. It predicts, and is not trained."""

    def __init__(
        self,
        members: Sequence[FasterRCNN],
        scales: Sequence[int] | None = None,
        proposal_scales: Sequence[int] | None = None,
        canonical_size: float = CANONICAL,
        *,
        name: str = "combination",
        **base: Any,
    ):
        super().__init__(name=name, autocast=False, **base)
        _check(members, scales, proposal_scales)
        self.members = list(members)
        self.scales = None if scales is None else tuple(scales)
        if scales is None:
            self.proposal_scales = None
        else:
            self.proposal_scales = tuple(proposal_scales or (scales[len(scales) // 2],))
        self.canonical_size = canonical_size
        self.jit_compile = False  # each image has its own size, at each scale
        self.built = True

    @property
    def num_classes(self) -> int:
        """Of objects."""
        return self.members[0].num_classes

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the labels, in their order; None where they have no names."""
        return next((m.class_names for m in self.members if m.class_names is not None), None)

    @property
    def scale(self) -> tuple[int, int] | None:
        """Shorter side and most of the longer one, in pixels, at which it is shown images.

        With `scales` that is the largest of them, so that no detail is lost before.
        """
        if self.scales is None:
            return self.members[0].scale
        return self.scales[-1], round(LONGEST * self.scales[-1])

    @property
    def mask_side(self) -> int | None:
        """Cells of each side of a mask; None where no member finds masks."""
        sides = [member.mask_side for member in self.members if member.mask_side is not None]
        return max(sides, default=None)

    def call(self, inputs):
        """Detections of each image, by itself: scales depend on its size."""
        images, sizes = unpack(inputs)
        limit = self.members[0].settings.detections
        found = {
            "boxes": tf.TensorSpec([limit, 4], tf.float32),
            "scores": tf.TensorSpec([limit], tf.float32),
            "labels": tf.TensorSpec([limit], tf.int32),
            "count": tf.TensorSpec([], tf.int32),
        }
        if self.mask_side is not None:
            found["masks"] = tf.TensorSpec([limit, self.mask_side, self.mask_side], tf.float32)
        return tf.map_fn(
            self._detect, (images, sizes), fn_output_signature=found, parallel_iterations=1
        )

    def _detect(self, elements):
        image, size = elements
        image = image[: size[0], : size[1]]
        views = [self._views(member, image, size) for member in self.members]
        rois, is_roi = self._proposals(views)

        def answer(rois):
            answers = [
                _answer(member, its_views, rois, size[None], self.canonical_size)
                for member, its_views in zip(self.members, views, strict=True)
            ]
            scores, boxes = zip(*answers, strict=True)
            return _mean(scores), _mean(boxes)

        first = self.members[0]
        found = detections.detect(answer, rois, is_roi, first.settings, refine=first.refine)
        if self.mask_side is not None:
            found["masks"] = self._masks(views, found["boxes"], found["labels"])
        return {name: values[0] for name, values in found.items()}

    def _masks(self, views, boxes, labels):
        likely = [
            _masks(member, its_views, boxes, tf.maximum(labels, 0), self.canonical_size)
            for member, its_views in zip(self.members, views, strict=True)
            if member.mask_side is not None
        ]
        sides = [self.mask_side] * 2
        # A mask is a grid over its box: resized, it is a finer one over the same.
        likely = [tf.image.resize(masks[0, ..., None], sides)[None, ..., 0] for masks in likely]
        return tf.where((labels >= 0)[..., None, None], _mean(likely), 0.0)

    def _views(self, member, image, size):
        if self.scales is None:
            maps, levels = member.look(image[None], size[None])
            return [View(maps, levels, size[None], tf.ones(4))]
        return [_view(member, image, size, scale) for scale in self.scales]

    def _proposals(self, views):
        """Those of all members and proposal scales, (1, R, 4), and which are none of padding."""
        boxes, is_box = [], []
        for member, its_views in zip(self.members, views, strict=True):
            for scale, view in zip(self.scales or (None,), its_views, strict=True):
                if scale is None or scale in self.proposal_scales:
                    proposed = propose(view.levels, view.size, member.settings, training=False)
                    count = member.settings.proposals[1]
                    boxes.append(tf.ensure_shape(proposed[0] / view.factor, [1, count, 4]))
                    is_box.append(proposed[1])
        return tf.concat(boxes, 1), tf.concat(is_box, 1)

    def build(self, input_shape):
        """Everything is built by `__init__`."""

    def get_config(self):
        return {
            **super().get_config(),
            "members": [keras.saving.serialize_keras_object(member) for member in self.members],
            "scales": self.scales,
            "proposal_scales": self.proposal_scales,
            "canonical_size": self.canonical_size,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        members = [keras.saving.deserialize_keras_object(x) for x in config.pop("members")]
        return cls(members, **config)


def _view(member, image, size, scale):
    """An image (height, width, 3) with `scale` pixels on its shorter side, or as many as go."""
    sides = tf.cast(size, tf.float32)
    factor = tf.minimum(scale / tf.reduce_min(sides), scale * LONGEST / tf.reduce_max(sides))
    scaled = tf.maximum(tf.cast(tf.round(sides * factor), tf.int32), 1)
    pixels = tf.image.resize(image[None], scaled, antialias=True)
    maps, levels = member.look(pixels, scaled[None])
    height, width = tf.unstack(tf.cast(scaled, tf.float32) / sides)
    return View(maps, levels, scaled[None], tf.stack([width, height, width, height]))


def _answer(member, views, rois, sizes, canonical_size):
    """A member's scores (1, R, K) and boxes (1, R, K, 4) of RoIs in the original image."""
    with_context = tf.concat([rois, member.whole_image(sizes)], 1)
    if len(views) == 1:
        features = member.features(views[0].maps, with_context)
    else:
        features = _maxout(member, views, with_context, canonical_size)
    logits, deltas = member.classify(features)
    return detections.of_rois(logits, deltas, rois, sizes, member.settings.box_weights)


def _maxout(member, views, rois, canonical_size):
    """The larger of the features at two adjacent scales, (1, R, width) (Ren et al. 1504.06066)."""
    count = tf.shape(rois)[1]
    width, dtype = member.box_head.output.shape[-1], member.box_head.output.dtype
    merged = tf.fill([count, width], tf.constant(float("-inf"), dtype))
    empty = tf.zeros([0, width], dtype)

    def answer(view, own):
        return member.features(view.maps, tf.gather(rois, own, axis=1) * view.factor)[0]

    for own, features in _at_two_scales(views, rois, canonical_size, answer, empty):
        merged = tf.tensor_scatter_nd_max(merged, own[:, None], features)
    return tf.ensure_shape(merged, [rois.shape[1], width])[None]


def _masks(member, views, boxes, labels, canonical_size):
    """A member's masks (1, D, M, M) of boxes in the original image: of two scales, the mean."""
    if len(views) == 1:
        return tf.sigmoid(member.mask_logits(views[0].maps, boxes, labels))
    sides = [member.mask_side] * 2
    total = tf.zeros([tf.shape(boxes)[1], *sides])

    def answer(view, own):
        placed = tf.gather(boxes, own, axis=1) * view.factor
        return member.mask_logits(view.maps, placed, tf.gather(labels, own, axis=1))[0]

    empty = tf.zeros([0, *sides])
    for own, logits in _at_two_scales(views, boxes, canonical_size, answer, empty):
        total = tf.tensor_scatter_nd_add(total, own[:, None], tf.sigmoid(logits) / 2)
    return tf.ensure_shape(total, [boxes.shape[1], *sides])[None]


def _at_two_scales(views, boxes, canonical_size, answer, empty):
    """Of each view, which of the boxes (1, R, 4) are looked at in it, and what it answers."""
    lower = adjacent(boxes[0], tf.stack([view.factor for view in views]), canonical_size)
    for place, view in enumerate(views):
        own = tf.where((lower == place) | (lower + 1 == place))[:, 0]
        yield (
            own,
            tf.cond(
                tf.size(own) > 0,
                lambda view=view, own=own: answer(view, own),
                lambda: empty,
            ),
        )


def adjacent(boxes, factors, canonical_size=CANONICAL):
    """The lower of the two adjacent scales at which each box is looked at.

    Args:
        boxes: (R, 4), in pixels.
        factors: float32 (scales, 4), what boxes are multiplied by at each scale, ascending.
        canonical_size: square root of the area that lies between the two, if any does.

    Returns:
        int32 (R,) in [0, scales - 2].
    """
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None] * factors[:, :2]  # (R, scales, 2)
    small = tf.reduce_prod(sides, -1) <= canonical_size**2
    return tf.clip_by_value(
        tf.reduce_sum(tf.cast(small, tf.int32), 1) - 1, 0, tf.shape(factors)[0] - 2
    )


def _mean(values):
    return tf.add_n(list(values)) / len(values)


def _check(members, scales, proposal_scales):
    if not members or not all(isinstance(member, FasterRCNN) for member in members):
        raise InputError("An ensemble is made of one or more models of detection.FasterRCNN.")
    counts = {member.num_classes for member in members}
    if len(counts) > 1:
        raise InputError(
            f"The models of an ensemble must have the same classes, not {sorted(counts)} of them."
        )
    check_classes([member.class_names for member in members])
    if scales is None:
        if proposal_scales is not None:
            raise InputError("proposal_scales are some of scales, which are not given.")
        return
    check_scales(scales)
    if not set(proposal_scales or ()) <= set(scales):
        raise InputError(f"proposal_scales {proposal_scales!r} must be among scales {scales!r}.")
