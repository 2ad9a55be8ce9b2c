"""Mask R-CNN (arXiv 1703.06870): Faster R-CNN with a third answer, each object's mask. TensorFlow.

    backbone = zoo.backbone("resnet50", weights="imagenet", input_shape=(None, None, 3))
    model = MaskRCNN(statistics.frozen(backbone), num_classes=80, neck="fpn", preset="torchvision")
    found = model.predict(images)
    whole = masks.paste(found["masks"][0], found["boxes"][0], size)

It is the heir of MNC, on which the paper's entry for COCO's segmentation was built.
"""

from typing import Any

import keras
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.networks import normalization
from resnet_keras.networks.network import dtype_policy

from . import examples, heads, losses, masks, slices
from .faster_rcnn import FasterRCNN

SIDE = 14  # bins of a RoI in front of the mask head


@keras.saving.register_keras_serializable(package="resnet_keras")
class MaskRCNN(FasterRCNN):
    """A `FasterRCNN` with a mask branch.

    With neck="fpn" it is four 3x3 convolutions on RoIs of 14x14 bins and a transposed one, and
    masks are 28x28. With neck="c4" it is a transposed convolution on the last stage's features,
    which the box head shares, and masks are 14x14 where that stage strides (the paper's Figure 4).

    Targets have `"masks": uint8 (batch, N, S, S)` beside boxes and labels: each object within its
    box, see `pipelines.instances`. The loss is the cross-entropy of each pixel of the own class's
    mask, a mean over an image's positive RoIs.

    `predict` gives `"masks": float32 (batch, D, M, M)`, too: of each detection within its box, how
    likely a place is the object's. They are of the final boxes, and of the class that was found.

    Args:
        backbone: as of `FasterRCNN`, like all other arguments; a network of stages.
        num_classes: of objects.
        **arguments: of `FasterRCNN`. With box_head="convolutions" the mask head has batch
            normalization (torchvision's v2).

    Raises:
        InputError: as `FasterRCNN`, or the backbone's last endpoint is no stage.
    """

    loss_names = (*FasterRCNN.loss_names, "mask_loss")

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        name: str = "mask_rcnn",
        **arguments: Any,
    ):
        super().__init__(backbone, num_classes, name=name, **arguments)
        with dtype_policy(self.dtype_policy):
            if self.neck is None:
                self.mask_head = self._on_last_stage()
            else:
                plain = self._arguments.box_head != "convolutions"
                norm = None if plain else normalization.like(self.backbone)
                self.mask_head = heads.masks(256, num_classes, side=SIDE, norm=norm)

    def _on_last_stage(self):
        if len(self.box_head.input.shape) != 4 or "roi_pool" not in {
            layer.name for layer in self.box_head.layers
        }:
            raise InputError(
                "A mask branch needs a backbone of stages, such as a residual network."
            )
        stage = self.box_head.get_layer("roi_pool").input
        # Its features and their mean in one pass; of layers that belong to the box head.
        self._parts.joint = keras.Model(self.box_head.input, (self.box_head.output, stage))
        channels = self.box_head.input.shape[-1]
        _, shape = self._parts.joint.compute_output_shape((1, SIDE, SIDE, channels))
        return heads.masks(stage.shape[-1], self.num_classes, side=shape[1], convolutions=0)

    @property
    def mask_side(self) -> int | None:
        """Cells of each side of a mask."""
        return self.mask_head.output.shape[1]

    def _head_losses(self, maps, boxes, is_box, truth, sizes, training) -> tuple[Any, ...]:
        if truth.masks is None:
            raise InputError(
                "Targets lack masks, which a Mask R-CNN is trained on: make the stream with "
                "masks=True, or train a FasterRCNN."
            )
        rois = examples.rois(boxes, is_box, truth, self.num_classes, self.settings)
        candidates = tf.concat([rois.boxes, self.whole_image(sizes)], 1)
        first = examples.positives(rois, self.settings)
        if self.neck is None:
            features, pooled = self._joint(maps, candidates, training)
            pooled = pooled[:, : first.boxes.shape[1]]
        else:
            features = self.features(maps, candidates, training)
            first = examples.repeated(first, self.num_classes)
            pooled = self._pooled(maps, first.boxes, SIDE)
        return (*self._box_losses(rois, features), self._mask_loss(pooled, first, truth, training))

    def _mask_loss(self, pooled, rois, truth, training):
        is_object = (rois.weights > 0) & (rois.labels < self.num_classes)
        labels = tf.minimum(rois.labels, self.num_classes - 1)
        logits = self._logits(pooled, labels, training)
        own = tf.gather(truth.masks, rois.objects, batch_dims=1)
        boxes = tf.gather(truth.boxes, rois.objects, batch_dims=1)
        targets = masks.targets(own, boxes, rois.boxes, self.mask_side)
        return losses.mask(logits, targets, is_object)

    def _joint(self, maps, rois, training):
        """What `features` gives of RoIs, and the last stage's features (batch, R, h, w, C)."""
        pooled = self._pooled(maps, rois, SIDE)
        count = pooled.shape[1] or tf.shape(pooled)[1]
        flat = tf.reshape(pooled, [-1, *pooled.shape[2:]])
        mean, stage = self._parts.joint(flat, training=training)
        side = self.mask_head.input.shape[1]
        return (
            tf.reshape(mean, [-1, count, mean.shape[-1]]),
            tf.reshape(stage, [-1, count, side, side, stage.shape[-1]]),
        )

    def _logits(self, pooled, labels, training):
        """Logits (batch, R, M, M) of the class `labels` (batch, R) on pooled features."""
        count = pooled.shape[1] or tf.shape(pooled)[1]
        flat = tf.reshape(pooled, [-1, *pooled.shape[2:]])
        logits = self.mask_head(flat, training=training)
        own = tf.gather(logits, tf.reshape(labels, [-1]), axis=3, batch_dims=1)
        return tf.reshape(own, [-1, count, self.mask_side, self.mask_side])

    def mask_logits(self, maps, boxes, labels):
        """Logits of masks in inference, float32 (batch, R, M, M).

        Args:
            maps: of `look`.
            boxes: (batch, R, 4), in pixels.
            labels: int32 (batch, R).
        """

        def answer(boxes, labels):
            if self.neck is None:
                pooled = self._joint(maps, boxes, False)[1]
            else:
                pooled = self._pooled(maps, boxes, SIDE)
            return self._logits(pooled, labels, False)

        return slices.mapped(answer, (boxes, labels), [self.mask_side] * 2, "float32")

    def _detections(self, maps, rois, is_roi, sizes):
        found = super()._detections(maps, rois, is_roi, sizes)
        is_found = found["labels"] >= 0
        logits = self.mask_logits(maps, found["boxes"], tf.maximum(found["labels"], 0))
        likely = tf.where(is_found[..., None, None], tf.sigmoid(logits), 0.0)
        return {**found, "masks": likely}
