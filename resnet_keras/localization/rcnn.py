"""R-CNN on the boxes of a localizer (appendix C), as a Keras model. TensorFlow.

    model = RCNN(localizer)
    model.compile(optimizers.SGD(0.001))
    model.fit(train, steps_per_epoch=1000, epochs=10)

"The image region is cropped from a proposal, warped to 224x224 pixels, and fed into the
classification network as in R-CNN [8]. The outputs of this network consist of two sibling fc layers
for cls and reg, also in a per-class form." The localizer is not trained. The paper takes its 200
best boxes of each training image, once; here they are made anew at each step, of random crops, and
a batch takes one box, by default, of each of its images: "RoI-centric", in that the boxes of a
batch are of as many images.
"""

import types
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from resnet_keras.detection import boxes as geometry
from resnet_keras.detection import faster_rcnn, losses, matching, roi, sampling, slices
from resnet_keras.errors import InputError
from resnet_keras.networks.network import dtype_policy

from . import heads
from .localizer import Localizer, Seen
from .model import LocalizationModel


class SeenTwice(NamedTuple):
    """The images, their sizes, and what the localizer sees of them."""

    images: tf.Tensor
    sizes: tf.Tensor
    first: Seen


@keras.saving.register_keras_serializable(package="resnet_keras")
class RCNN(LocalizationModel):
    """A network that looks at each box of a localizer again, and moves and scores it anew.

    Inputs, targets and answers are those of the `Localizer`, which also tells the classes.

    Args:
        localizer: trained. It becomes a part of this model, with the same weights, which are no
            `trainable_variables` of it; nothing of it is changed.
        backbone: of `zoo.backbone`, with sides of None; without, a copy of the localizer's, with
            its weights. What of the localizer's is not trained is not trained in the copy either,
            unless the whole localizer was frozen: then all of the copy is trained.
        side: of the warped regions in pixels.
        proposals: how many boxes of the localizer are looked at, for each class.
        rois: boxes of an image that a step trains on.
        overlap: IoU from which a box is positive; the others are negative. Half of each is drawn.
        scale: see `Localizer`; the localizer's without.
        crop: see there.

    Raises:
        InputError: an argument is none of the above.
    """

    loss_names = ("object_loss", "box_loss")

    def __init__(
        self,
        localizer: Localizer,
        backbone: keras.Model | None = None,
        *,
        side: int = 224,
        proposals: int = 200,
        rois: int = 1,
        overlap: float = 0.5,
        scale: Sequence[int] | None = None,
        crop: int | None = None,
        name: str = "rcnn",
        dtype: Any = None,
        trainable: bool = True,
    ):
        if not isinstance(localizer, Localizer):
            raise InputError(f"localizer must be a Localizer, not {type(localizer).__name__}.")
        if backbone is None:
            backbone = _copy(localizer)
        if dtype is None:
            dtype = backbone.dtype_policy
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        if min(side, proposals, rois) < 1 or not 0 < overlap <= 1:
            raise InputError("side, proposals and rois are positive, and overlap is an IoU.")
        last = faster_rcnn.endpoints_of(backbone)[-1]
        self.localizer, self.backbone = localizer, backbone
        self.num_classes, self.top = localizer.num_classes, localizer.top
        own = {"side": side, "proposals": proposals, "rois": rois, "overlap": overlap}
        scale = None if scale is None else list(scale)
        self._arguments = {**own, "scale": scale, "crop": crop}
        with dtype_policy(self.dtype_policy):
            self.per_class = heads.PerClass(self.num_classes, dtype="float32", name="per_class")
            self.per_class.build((None, None, backbone.output[last].shape[-1]))
        self._parts = types.SimpleNamespace(
            body=keras.Model(backbone.input, backbone.output[last]), **own
        )
        self.prepare()

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Those of the localizer."""
        return self.localizer.class_names

    @property
    def scale(self) -> tuple[int, int] | None:
        """Shorter side and most of the longer one, in pixels, of images in tests."""
        own = self._arguments["scale"]
        return self.localizer.scale if own is None else tuple(own)

    @property
    def crop(self) -> int | None:
        """Side of the crops that it is trained on."""
        own = self._arguments["crop"]
        return self.localizer.crop if own is None else own

    # The localizer's variables are left out here, and not by its layers' `trainable`, which would
    # change it for whoever gave it.
    @property
    def trainable_variables(self):
        return self._without_localizer(super().trainable_variables)

    @property
    def non_trainable_variables(self):
        return _except(self.variables, self.trainable_variables)

    @property
    def trainable_weights(self):
        return self._without_localizer(super().trainable_weights)

    @property
    def non_trainable_weights(self):
        return _except(self.weights, self.trainable_weights)

    def _without_localizer(self, variables):
        return _except(variables, self.localizer.variables)

    def look(self, images, sizes, training=False):
        first = self.localizer.look(images, sizes)
        return SeenTwice(tf.cast(images, "float32"), sizes, first)

    def classify(self, seen):
        return self.localizer.classify(seen.first)

    def candidates(self, seen, classes):
        proposals, scores = self.proposals(seen, classes)
        boxes, again = self.rescored(seen, classes, proposals)
        # Where there are fewer proposals than asked for, those that are none keep their score.
        return boxes, tf.where(scores >= 0, again, scores)

    def proposals(self, seen, classes):
        """The localizer's best boxes of each class: (batch, k, n, 4) and scores (batch, k, n)."""
        boxes, scores = self.localizer.candidates(seen.first, classes)
        limit = tf.minimum(self._parts.proposals, tf.shape(scores)[2])
        scores, place = tf.math.top_k(scores, limit)
        boxes = tf.gather(boxes, place, batch_dims=2)
        return tf.stop_gradient(boxes), tf.stop_gradient(scores)

    def rescored(self, seen, classes, proposals):
        """New boxes and scores of proposals (batch, k, n, 4) for classes (batch, k)."""
        shape = tf.shape(proposals)
        width = self._parts.body.output.shape[-1]
        features = slices.mapped(
            lambda boxes: self._features(seen.images, boxes, False),
            [tf.reshape(proposals, [shape[0], -1, 4])],
            [width],
            "float32",
        )
        logits, deltas = self.per_class(
            tf.reshape(features, [-1, shape[2], width]), tf.reshape(classes, [-1, 1])
        )
        boxes = geometry.decode(tf.reshape(deltas, shape), proposals, self._WEIGHTS)
        clipped = geometry.clip(tf.reshape(boxes, [shape[0], -1, 4]), seen.sizes)
        return tf.reshape(clipped, shape), tf.reshape(tf.sigmoid(logits), shape[:3])

    _WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the second stage's regression ([32])

    def _features(self, images, boxes, training):
        side = self._parts.side
        form = "matmul" if self.jit_compile else "crop"
        warped = roi.align(images, boxes, side, 1, sampling=1, form=form)
        pixels = tf.reshape(tf.stop_gradient(warped), [-1, side, side, 3])
        features = tf.cast(self._parts.body(pixels, training=training), "float32")
        pooled = tf.reduce_mean(features, [1, 2])
        return tf.reshape(pooled, [tf.shape(boxes)[0], tf.shape(boxes)[1], features.shape[-1]])

    def losses_of(self, images, sizes, targets, training):
        label, truth, key = self.truth(targets, sizes)
        seen = self.look(images, sizes)
        known = tf.maximum(label, 0)[:, None]
        proposals, scores = self.proposals(seen, known)
        usable = (scores[:, 0] >= 0) & (label >= 0)[:, None]
        overlap = self._parts.overlap
        index, state = matching.assign(proposals[:, 0], truth, overlap, overlap, usable=usable)
        chosen, weights = drawn(state, self._parts.rois, key)
        boxes = tf.gather(proposals[:, 0], chosen, batch_dims=1)
        own = tf.gather(truth, tf.gather(index, chosen, batch_dims=1), batch_dims=1)
        logits, deltas = self.per_class(self._features(seen.images, boxes, training), known)
        return losses.rpn(
            logits[:, 0],
            deltas[:, 0],
            tf.gather(state, chosen, batch_dims=1) == 1,
            geometry.encode(boxes, own, self._WEIGHTS),
            weights,
            beta=1.0,
        )

    def get_config(self):
        parts = {"localizer": self.localizer, "backbone": self.backbone}
        inside = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **self._arguments, **inside}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = [
            keras.saving.deserialize_keras_object(config.pop(name))
            for name in ("localizer", "backbone")
        ]
        return cls(*parts, **config)


def _copy(localizer):
    """A copy of a localizer's backbone, with its weights, to be trained."""
    copy = keras.models.clone_model(localizer.backbone)
    copy.set_weights(localizer.backbone.get_weights())
    if not localizer.trainable_variables:  # it was frozen as a whole, as for use and not for good
        for layer in copy.layers:
            layer.trainable = True
    return copy


def _except(variables, others):
    """Variables without others."""
    left_out = {id(variable) for variable in others}
    return [variable for variable in variables if id(variable) not in left_out]


def drawn(state, count, key):
    """Draws boxes of each image, each positive or negative with equal chances.

    Args:
        state: int (batch, n), 1 positive, 0 negative, -1 neither.
        count: how many; with 1, the images of a batch share out what is positive.
        key: int32 (batch, 2), one for each image.

    Returns:
        index int32 (batch, count) and weight float32 (batch, count), as of `sampling.balanced`.
    """
    index, weight = sampling.balanced(state, 2 * count, 0.5, key)

    def toss(image_key):
        own = tf.random.experimental.stateless_fold_in(image_key, 2)
        return tf.random.stateless_uniform([count], own, 0, 2, tf.int32, alg="philox") == 1

    tossed = tf.map_fn(toss, key, fn_output_signature=tf.TensorSpec([count], tf.bool))
    second = tossed & (weight[:, count:] > 0)
    return (
        tf.where(second, index[:, count:], index[:, :count]),
        tf.where(second, weight[:, count:], weight[:, :count]),
    )
