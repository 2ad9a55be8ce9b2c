"""The per-class region proposal network of the paper's appendix C, as a Keras model. TensorFlow.

    backbone = zoo.backbone("resnet101", weights="imagenet", input_shape=(None, None, 3))
    model = Localizer(statistics.frozen(backbone), num_classes=1000)
    model.compile(optimizers.SGD(0.001))
    model.fit(train, steps_per_epoch=1000, epochs=10)
    answers = model.predict(images)

"This RPN ends with two sibling 1x1 convolutional layers for binary classification (cls) and box
regression (reg) [...] both in a per-class form", of which an image trains the weights of its own
class. It is convolutional: trained on crops, it is applied to whole images.
"""

import types
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from resnet_keras.detection import anchors, faster_rcnn, losses, matching, padding, sampling
from resnet_keras.detection import boxes as geometry
from resnet_keras.detection import statistics as statistics  # whose layer is in saved models
from resnet_keras.errors import InputError, unknown
from resnet_keras.networks.blocks import he_normal
from resnet_keras.networks.network import dtype_policy

from . import heads
from .model import LocalizationModel, check_names

NEVER = float("-inf")  # the score of what is never taken


class Seen(NamedTuple):
    """What a localizer sees of images.

    Attributes:
        features: (batch, places, channels), before the per-class layers.
        logits: float32 (batch, classes), of the classifier.
        anchors: float32 (places * anchors, 4).
        present: bool (batch, places * anchors), whether the anchor's cell belongs to the image.
        sizes: int32 (batch, 2).
    """

    features: tf.Tensor
    logits: tf.Tensor
    anchors: tf.Tensor
    present: tf.Tensor
    sizes: tf.Tensor


@keras.saving.register_keras_serializable(package="resnet_keras")
class Localizer(LocalizationModel):
    """A backbone, a classifier on it, and a region proposal network for each class.

    Inputs are as of `detection.FasterRCNN`: images (batch, height, width, 3) in [0, 255], or
    `{"image": images, "size": int32 (batch, 2)}`; beside them may stand "classes" int32 (batch, k),
    for which it then answers, such as another network's five best, and "label", see
    `model.answer`. Targets are `{"label": int32 (batch,), "boxes": float32 (batch, N, 4)}` as
    `pipelines.main_objects` gives them: the image's class, or -1, and corners x1, y1, x2, y2 of its
    instances in pixels, padded with 0; and, where there is one, `"key": int32 (batch, 2)`, by which
    anchors are drawn.

    `predict` gives `{"boxes": (batch, k, 4), "labels": (batch, k), "scores": (batch, k), ...}`: one
    box for each of the `top` most probable classes, see `model.answer`.

    Args:
        backbone: of `zoo.backbone`, with sides of None. What of it is trained is its layers'
            affair: `detection.statistics.frozen` makes its batch normalization constant.
        num_classes: how many classes there are.
        endpoint: of the backbone, on which boxes are proposed; the last one without.
        anchor_sizes: square roots of the anchors' areas, in pixels. (The paper has "multiple"
            anchors and does not say which; these are half of [32]'s, as crops of 224 are to its
            images of 600, rounded.)
        anchor_ratios: heights over widths.
        channels: of the 3x3 convolution; at most the endpoint's.
        samples: anchors of an image that are trained on, positive and negative ones 1:1.
        overlaps: IoU from which an anchor is positive, and below which it is negative.
        top: for how many classes `predict` answers.
        class_names: in the order of the labels.
        scale: shorter side, and most of the longer one, at which images are to be tested.
        crop: side of the crops that it is trained on, for the test on centre crops.

    Raises:
        InputError: an argument is none of the above.
    """

    loss_names = ("class_loss", "object_loss", "box_loss")

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        endpoint: str | None = None,
        anchor_sizes: Sequence[float] = (64, 128, 256),
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        channels: int = 512,
        samples: int = 8,
        overlaps: Sequence[float] = (0.7, 0.3),
        top: int = 5,
        class_names: Sequence[str] | None = None,
        scale: Sequence[int] | None = None,
        crop: int | None = None,
        name: str = "localizer",
        dtype: Any = None,
        trainable: bool = True,
    ):
        if dtype is None and isinstance(backbone, keras.Model):
            dtype = backbone.dtype_policy
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        check_names(num_classes, class_names)
        if not anchor_sizes or not anchor_ratios or min(*anchor_sizes, *anchor_ratios) <= 0:
            raise InputError("anchor_sizes and anchor_ratios are one or more positive numbers.")
        if samples < 2 or samples % 2 or top < 1:
            raise InputError("samples is an even number, half positives, and top is 1 or more.")
        if len(overlaps) != 2 or not 0 < overlaps[1] <= overlaps[0] <= 1:
            raise InputError(f"overlaps is (positive from, negative below), not {overlaps!r}.")
        names = faster_rcnn.endpoints_of(backbone)
        endpoint = endpoint or names[-1]
        if endpoint not in names:
            raise unknown("endpoint of the backbone", endpoint, names)
        self.backbone, self.num_classes, self.top = backbone, num_classes, top
        self.samples, self.overlaps = samples, tuple(overlaps)
        self._arguments = {
            "num_classes": num_classes,
            "endpoint": endpoint,
            "anchor_sizes": list(anchor_sizes),
            "anchor_ratios": list(anchor_ratios),
            "channels": channels,
            "samples": samples,
            "overlaps": list(overlaps),
            "top": top,
            "class_names": None if class_names is None else list(class_names),
            "scale": None if scale is None else list(scale),
            "crop": crop,
        }
        outputs = backbone.output
        with dtype_policy(self.dtype_policy):
            per_place = len(anchor_sizes) * len(anchor_ratios)
            self.rpn = _convolution(outputs[endpoint].shape[-1], channels)
            self.per_class = heads.PerClass(
                num_classes, per_place, dtype="float32", name="per_class"
            )
            self.per_class.build((None, None, self.rpn.output.shape[-1]))
            self.classifier = keras.layers.Dense(
                num_classes, kernel_initializer=he_normal(), dtype="float32", name="classifier"
            )
            self.classifier.build((None, outputs[names[-1]].shape[-1]))
        trunk = keras.Model(backbone.input, {n: outputs[n] for n in sorted({endpoint, names[-1]})})
        (stride,) = faster_rcnn.strides_of(keras.Model(backbone.input, {"x": outputs[endpoint]}))
        # In a place where Keras does not look: the layers are the backbone's.
        self._parts = types.SimpleNamespace(
            trunk=padding.masked(trunk),
            rpn=padding.masked(self.rpn),
            stride=stride,
            last=names[-1],
            cell=anchors.base(anchor_sizes, anchor_ratios),
        )
        self.prepare()

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the labels, in their order; None where they have no names."""
        names = self._arguments["class_names"]
        return None if names is None else tuple(names)

    @property
    def scale(self) -> tuple[int, int] | None:
        """Shorter side and most of the longer one, in pixels, of images in tests."""
        return self._arguments["scale"] and tuple(self._arguments["scale"])

    @property
    def crop(self) -> int | None:
        """Side of the crops that it is trained on."""
        return self._arguments["crop"]

    def look(self, images, sizes, training=False):
        images, parts = faster_rcnn.padded(images), self._parts
        with padding.sizes_of(images, sizes):
            maps = parts.trunk(images, training=training)
            last = maps[parts.last]
            inside = tf.cast(padding.inside(last), "float32")[..., None]
            pooled = tf.reduce_sum(tf.cast(last, "float32") * inside, [1, 2])
            logits = self.classifier(pooled / tf.reduce_sum(inside, [1, 2]))
            features = parts.rpn(maps[self._arguments["endpoint"]], training=training)
            present = padding.inside(features)
        shape = tf.shape(features)
        grid = anchors.grid(
            parts.cell, parts.stride, shape[1], shape[2], offset=anchors.OFFSETS["paper"]
        )
        return Seen(
            tf.reshape(features, [shape[0], shape[1] * shape[2], features.shape[-1]]),
            logits,
            grid,
            tf.repeat(tf.reshape(present, [shape[0], -1]), len(parts.cell), axis=1),
            sizes,
        )

    def classify(self, seen):
        return seen.logits

    def candidates(self, seen, classes):
        logits, deltas = self.per_class(seen.features, classes)
        boxes = geometry.decode(deltas, seen.anchors)
        shape = tf.shape(boxes)
        flat = geometry.clip(tf.reshape(boxes, [shape[0], -1, 4]), seen.sizes)
        scores = tf.where(seen.present[:, None], tf.sigmoid(logits), NEVER)
        return tf.reshape(flat, shape), scores

    def losses_of(self, images, sizes, targets, training):
        label, boxes, key = self.truth(targets, sizes)
        seen = self.look(images, sizes, training)
        has_class = label >= 0
        known = tf.maximum(label, 0)
        class_loss = tf.where(
            has_class,
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=known, logits=seen.logits),
            0.0,
        )
        logits, deltas = self.per_class(seen.features, known[:, None])
        positive_from, negative_below = self.overlaps
        index, state = matching.assign(
            seen.anchors,
            boxes,
            negative_below,
            positive_from,
            low_quality=True,
            usable=seen.present & has_class[:, None],
        )
        chosen, weights = sampling.balanced(state, self.samples, 0.5, key)
        own = tf.gather(index, chosen, batch_dims=1)
        targets = geometry.encode(
            tf.gather(seen.anchors, chosen), tf.gather(boxes, own, batch_dims=1)
        )
        return class_loss, *losses.rpn(
            tf.gather(logits[:, 0], chosen, batch_dims=1),
            tf.gather(deltas[:, 0], chosen, batch_dims=1),
            tf.gather(state, chosen, batch_dims=1) == 1,
            targets,
            weights,
        )

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), **self._arguments, "backbone": backbone}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"))
        return cls(backbone, **config)


def _normal():
    return keras.initializers.RandomNormal(stddev=0.01)


def _convolution(in_channels, channels):
    features = keras.Input((None, None, in_channels), name="features")
    layer = keras.layers.Conv2D(
        min(channels, in_channels),
        3,
        padding="same",
        activation="relu",
        kernel_initializer=_normal(),
        name="rpn_conv",
    )
    return keras.Model(features, layer(features), name="rpn")
