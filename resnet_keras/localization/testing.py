"""How a localizer is tested: on centre crops or whole images, at several scales, in ensembles.

`Test` is what `measuring` and `prediction` ask. TensorFlow.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from resnet_keras.detection import faster_rcnn
from resnet_keras.errors import InputError, unknown
from resnet_keras.pipelines import objects

from .model import LocalizationModel, answer
from .protocols import CENTER_CROP, DENSE, FACTORS, MULTI_SCALE, PROTOCOLS
from .rcnn import RCNN


class Test:
    """One or several models, with a protocol.

    The candidates of all models, at all scales, are united, and the best of them is the answer; the
    classes are those of their mean probabilities. If all models are `RCNN`s, each looks at the
    proposals of all, and their scores and boxes are averaged ("the union of proposals").

    Args:
        models: of the same classes.
        protocol: "center_crop" shows the middle of each image, as large as the crops of training;
            "dense" shows it whole; "multi_scale" at several scales, of which each is a factor of
            the one at which it is delivered.
        factors: of "multi_scale".
        top: for how many classes it answers; the first model's number without.
        scale: (shorter side, most of the longer one) at which images are delivered; the models'
            own without, or 600 and 1000 of those that do not tell it.

    Raises:
        InputError: the models differ in their classes, in their scales without `scale`, or in
            their crops with "center_crop"; or the protocol is none.
    """

    def __init__(
        self,
        models: Sequence[LocalizationModel],
        protocol: str = DENSE,
        *,
        factors: Sequence[float] = FACTORS,
        top: int | None = None,
        scale: tuple[int, int] | None = None,
    ):
        if protocol not in PROTOCOLS:
            raise unknown("protocol", protocol, PROTOCOLS)
        if not models:
            raise InputError("There is no model to test.")
        self.models = list(models)
        first = self.models[0]
        for other in self.models[1:]:
            if (other.num_classes, other.class_names) != (first.num_classes, first.class_names):
                raise InputError("The models of an ensemble must have the same classes.")
        self.protocol, self.factors = protocol, tuple(factors)
        if protocol == MULTI_SCALE and (not factors or min(factors) <= 0):
            raise InputError(f"factors are one or more positive numbers, not {factors!r}.")
        self.num_classes, self.class_names = first.num_classes, first.class_names
        self.scale, self.crop = scale or _own_scale(models), first.crop
        self.top = top or first.top
        if protocol == CENTER_CROP and not self.crop:
            raise InputError("The model does not know the side of its crops: give it `crop`.")
        sides = [str(model.crop) for model in self.models]
        if protocol == CENTER_CROP and len(set(sides)) > 1:
            raise InputError(
                f"The models are trained on crops of different sides, {' and '.join(sides)}: test "
                "them by another protocol, or each alone."
            )
        self._predict = tf.function(self.answers, reduce_retracing=True)

    def answers(self, inputs: Any) -> dict[str, tf.Tensor]:
        """As `Localizer.predict` answers, in the pixels of the images given."""
        images, sizes = faster_rcnn.unpack(inputs)
        if self.protocol == CENTER_CROP:
            images, sizes, corners = center_crops(images, sizes, self.crop)
            found = self._asked(images, sizes, inputs)
            shift = tf.cast(tf.tile(corners[:, ::-1], [1, 2]), tf.float32)
            moved = {"boxes": found["boxes"] + shift[:, None]}
            if "true_boxes" in found:
                moved["true_boxes"] = found["true_boxes"] + shift
            return {**found, **moved}
        return self._asked(images, sizes, inputs)

    def predict_on_batch(self, inputs: Any) -> dict[str, np.ndarray]:
        """`answers` of one batch, as arrays."""
        given = keras.tree.map_structure(tf.convert_to_tensor, inputs)
        return {name: value.numpy() for name, value in self._predict(given).items()}

    def _asked(self, images, sizes, inputs):
        factors = self.factors if self.protocol == MULTI_SCALE else (1.0,)
        members = [_Scaled(model, factor) for factor in factors for model in self.models]
        if len(self.models) > 1 and all(isinstance(model, RCNN) for model in self.models):
            members = [_United(self.models, factor) for factor in factors]
        return answer(members, images, sizes, self.top, inputs)


def _own_scale(models):
    scales = [model.scale or objects.SCALE for model in models]
    if len(set(scales)) > 1:
        told = " and ".join(f"{shorter},{longest}" for shorter, longest in sorted(set(scales)))
        raise InputError(
            f"The models are trained for different scales, {told}: say with `scale` at which they "
            "see images."
        )
    return scales[0]


class _Scaled:
    """A model that sees images larger or smaller than they are given, and answers in their size."""

    def __init__(self, model, factor):
        self.model, self.factor = model, factor
        self.num_classes = model.num_classes

    def look(self, images, sizes):
        if self.factor == 1:
            return self.model.look(images, sizes), 1.0, sizes
        smaller, new = resized(images, sizes, self.factor)
        return self.model.look(smaller, new), tf.cast(new / sizes, tf.float32), sizes

    def classify(self, seen):
        return self.model.classify(seen[0])

    def candidates(self, seen, classes):
        boxes, scores = self.model.candidates(seen[0], classes)
        return _unscaled(boxes, seen[1]), scores


class _United:
    """R-CNNs of which each looks at the proposals of all."""

    def __init__(self, models, factor):
        self.members = [_Scaled(model, factor) for model in models]
        self.models, self.num_classes = models, models[0].num_classes

    def look(self, images, sizes):
        return [member.look(images, sizes) for member in self.members]

    def classify(self, seen):
        rows = [m.classify(s) for m, s in zip(self.members, seen, strict=True)]
        # The logarithm of the mean, whose softmax it is again.
        return tf.math.log(tf.add_n([tf.nn.softmax(row) for row in rows]) / len(rows) + 1e-30)

    def candidates(self, seen, classes):
        pairs = [(model, one[0]) for model, one in zip(self.models, seen, strict=True)]
        rows = [model.proposals(one, classes) for model, one in pairs]
        boxes = tf.concat([boxes for boxes, _ in rows], 2)
        known = tf.concat([scores for _, scores in rows], 2)
        again = [model.rescored(one, classes, boxes) for model, one in pairs]
        mean = tf.add_n([boxes for boxes, _ in again]) / len(again)
        scores = tf.add_n([scores for _, scores in again]) / len(again)
        return _unscaled(mean, seen[0][1]), tf.where(known >= 0, scores, known)


def _unscaled(boxes, times):
    """Boxes (batch, k, n, 4) of images that were resized by (batch, 2), height first, or 1."""
    if isinstance(times, float):
        return boxes / times
    return boxes / tf.tile(times[:, ::-1], [1, 2])[:, None, None]


def center_crops(images, sizes, crop):
    """The middle of each image: crops, their sizes int32 (batch, 2), and their corners (y, x).

    Args:
        images: (batch, height, width, 3), padded.
        sizes: int32 (batch, 2).
        crop: side in pixels; what is smaller stays as it is, padded with zeros.
    """
    missing = tf.maximum(crop - tf.shape(images)[1:3], 0)
    images = tf.pad(images, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
    corners = tf.maximum(sizes - crop, 0) // 2

    def cut(row):
        image, corner = row
        return tf.slice(image, [corner[0], corner[1], 0], [crop, crop, 3])

    spec = tf.TensorSpec([crop, crop, 3], images.dtype)
    return tf.map_fn(cut, (images, corners), spec), tf.minimum(sizes, crop), corners


def resized(images, sizes, factor):
    """Padded images at another scale, and their new sizes, int32 (batch, 2)."""
    shape = tf.cast(tf.shape(images)[1:3], tf.float32)
    sides = tf.cast(tf.math.ceil(shape * factor), tf.int32)
    pixels = tf.cast(images, tf.float32)
    larger = tf.image.resize(pixels, sides, antialias=factor < 1)
    new = tf.cast(tf.round(tf.cast(sizes, tf.float32) * factor), tf.int32)
    return larger, tf.maximum(new, 1)
