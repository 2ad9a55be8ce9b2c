"""Faster R-CNN ([32], arXiv 1506.01497) on a residual network, as a Keras model. TensorFlow.

    backbone = zoo.backbone("resnet50", weights="imagenet", input_shape=(None, None, 3))
    model = FasterRCNN(statistics.frozen(backbone), num_classes=20)
    model.compile(optimizers.SGD(0.001))
    model.fit(train, steps_per_epoch=1000, epochs=10)
    found = model.predict(images)

One forward pass makes a step: features, proposals, and the losses of both stages, which are trained
jointly; the paper alternates between them. What is drawn is a function of the `key` that comes with
an image, so that the model has no random state of its own.
"""

import functools
import itertools
import types
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from resnet_keras.errors import InputError, unknown
from resnet_keras.networks import normalization
from resnet_keras.networks.layers import PixelNormalization
from resnet_keras.networks.network import dtype_policy

from . import anchors, detections, examples, heads, losses, necks, padding, roi, slices
from . import statistics as statistics  # whose layer is in saved detectors
from .own_losses import OwnLosses
from .proposals import Level, propose
from .settings import settings as make_settings

MULTIPLE = 32  # images are padded to sides that leave no rest at any stride of a backbone
_PROBE = 256  # side of the image by which strides are found out


@keras.saving.register_keras_serializable(package="resnet_keras")
class FasterRCNN(OwnLosses):
    """A detector: a backbone, a region proposal network, and a head for each proposal.

    Inputs are images (batch, height, width, 3), uint8 or float RGB in [0, 255], or, where they are
    padded below and to the right, `{"image": images, "size": int32 (batch, 2)}` with the height
    and width that each has without. Targets are `{"boxes": float32 (batch, N, 4), "labels": int32
    (batch, N)}`: corners x1, y1, x2, y2 in pixels, half-open, and classes from 0 on, padded with
    boxes of 0 and labels of -1; and, where there are such, `"crowd": bool (batch, N)`, and
    `"key": int32 (batch, 2)`, by which an image's samples are drawn.

    `predict` gives `{"boxes": (batch, D, 4), "scores": (batch, D), "labels": (batch, D), "count":
    (batch,)}`, the best first, padded with 0, 0 and -1.

    Args:
        backbone: of `zoo.backbone`, with sides of None. What of it is trained is its layers'
            affair: `statistics.frozen` makes its batch normalization constant.
        num_classes: of objects; the background is not counted.
        neck: "c4" takes RoIs of the last endpoint but one and runs the last stage on each (the
            paper), or of VGG's "conv5" and "fc7" the hidden layers (its baseline); "fpn" makes a
            feature pyramid of all endpoints.
        preset: "paper", "torchvision" or "detectron2"; see `settings`.
        box_head: with neck="fpn", "two_mlp", or "convolutions" (torchvision's v2, with batch
            normalization in the pyramid too, or that of groups or layers where the backbone has
            it).
        rpn_convolutions: 3x3 convolutions of the region proposal network.
        context: whether each RoI's features stand beside those of the whole image, taken as a RoI
            ("global context" of the paper's appendix B); trained like that.
        refine: whether `predict` pools each regressed box again for a second answer, and lets the
            boxes of both vote ("box refinement", there); training is as without.
        class_names: in the order of the labels, for whoever draws or prints what is found.
        scale: shorter side, and most of the longer one, of the images that it is trained on, for
            whoever shows it others.
        **changes: settings that differ from the preset's, such as `proposals`, `anchor_sizes`,
            `score_threshold`, `nms_iou`; see `settings.Settings`.

    Raises:
        InputError: an argument is none of the above.
    """

    noun = "detector"
    loss_names = ("rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss")

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        neck: str = "c4",
        preset: str = "paper",
        box_head: str = "two_mlp",
        rpn_convolutions: int = 1,
        context: bool = False,
        refine: bool = False,
        class_names: Sequence[str] | None = None,
        scale: Sequence[int] | None = None,
        name: str = "faster_rcnn",
        **changes: Any,
    ):
        dtype = changes.pop("dtype", None)
        if dtype is None and isinstance(backbone, keras.Model):
            dtype = backbone.dtype_policy
        trainable = changes.pop("trainable", True)
        # Boxes in half precision would be pixels off: only the layers inside cast what they take.
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        if not isinstance(num_classes, int) or num_classes < 1:
            raise InputError(f"num_classes must be a positive whole number, not {num_classes!r}.")
        self.backbone = backbone
        self.num_classes = num_classes
        self.context, self.refine = context, refine
        self.settings = make_settings(preset, neck, **changes)
        self._arguments = types.SimpleNamespace(
            neck=neck,
            preset=preset,
            box_head=box_head,
            rpn_convolutions=rpn_convolutions,
            context=context,
            refine=refine,
            class_names=None if class_names is None else list(class_names),
            scale=None if scale is None else list(scale),
            **changes,
        )
        if class_names is not None and len(class_names) != num_classes:
            raise InputError(f"There are {num_classes} classes and {len(class_names)} class_names.")
        endpoints = endpoints_of(backbone)
        with dtype_policy(self.dtype_policy):
            if neck == "c4":
                if box_head != "two_mlp":
                    raise InputError(
                        'box_head is for neck="fpn": that of "c4" is the backbone\'s last stage.'
                    )
                self._make_c4(endpoints, rpn_convolutions)
            else:
                self._make_fpn(endpoints, box_head, rpn_convolutions)
        self._check_levels()
        self.prepare()

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the labels, in their order; None where they have no names."""
        names = self._arguments.class_names
        return None if names is None else tuple(names)

    @property
    def scale(self) -> tuple[int, int] | None:
        """Shorter side and most of the longer one, in pixels, of the images it is trained on."""
        return self._arguments.scale and tuple(self._arguments.scale)

    @property
    def mask_side(self) -> int | None:
        """Cells of each side of a mask; None where masks are not found."""
        return None

    def _make_c4(self, endpoints, rpn_convolutions):
        if len(endpoints) < 2:
            raise InputError('neck="c4" needs a backbone with two endpoints, such as conv4, conv5.')
        *_, shared, last = endpoints
        maps = {shared: self.backbone.output[shared]}
        self.neck = None
        channels = maps[shared].shape[-1]
        self.rpn = heads.rpn(
            channels,
            self._per_cell,
            channels=min(channels, self.settings.rpn_channels),
            convolutions=rpn_convolutions,
        )
        hidden = len(self.backbone.output[last].shape) == 2
        make_head = heads.hidden_layers if hidden else heads.last_stage
        self.box_head = make_head(self.backbone, shared, last)
        self.predictor = self._make_predictor()
        trunk = keras.Model(self.backbone.input, maps, name="trunk")
        side = self.box_head.input.shape[1] if hidden else 14
        self._parts = self._hidden(trunk, None, strides=strides_of(trunk), side=side)

    def _make_fpn(self, endpoints, box_head, rpn_convolutions):
        norm = normalization.like(self.backbone)
        kinds = {
            "two_mlp": heads.two_mlp,
            "convolutions": functools.partial(heads.convolutions, norm=norm),
        }
        if box_head not in kinds:
            raise unknown("box_head", box_head, kinds)
        if self.settings.roi != "align":
            raise InputError('roi="max_pool" is for neck="c4": a pyramid takes roi="align".')
        if any(len(self.backbone.output[name].shape) != 4 for name in endpoints):
            raise InputError(
                'neck="fpn" is for stages: leave fc7 out of the endpoints of zoo.backbone.'
            )
        channels = {name: self.backbone.output[name].shape[-1] for name in endpoints}
        self.neck = necks.fpn(channels, norm=norm if box_head == "convolutions" else None)
        self.rpn = heads.rpn(256, self._per_cell, channels=256, convolutions=rpn_convolutions)
        self.box_head = kinds[box_head](256)
        self.predictor = self._make_predictor()
        trunk = keras.Model(self.backbone.input, {n: self.backbone.output[n] for n in endpoints})
        strides = strides_of(trunk)
        if any(2 * fine != coarse for fine, coarse in itertools.pairwise(strides)):
            raise InputError(
                "A feature pyramid needs maps of which each is half the size of the one before, "
                f"not of strides {', '.join(map(str, strides))}: build the backbone with its own "
                "output_stride, or choose its endpoints."
            )
        strides.append(2 * strides[-1])
        self._parts = self._hidden(trunk, self.neck, strides=strides, side=7)

    def _make_predictor(self):
        width = self.box_head.output.shape[-1]
        return heads.predictor(2 * width if self.context else width, self.num_classes)

    def _hidden(self, trunk, neck, **more):
        """Networks of layers that belong to others, in a place where Keras does not look."""
        cut = padding.masked if self.settings.masked else lambda network: network
        return types.SimpleNamespace(
            trunk=cut(trunk), neck=neck and cut(neck), rpn=cut(self.rpn), **more
        )

    @property
    def _per_cell(self):
        return len(self.settings.anchor_sizes[0]) * len(self.settings.anchor_ratios)

    def _check_levels(self):
        sizes, levels = self.settings.anchor_sizes, len(self._parts.strides)
        if len(sizes) != levels or len({len(level) for level in sizes}) != 1:
            raise InputError(
                f"anchor_sizes must have {levels} level(s) of equally many sizes, one for each "
                f"level of features (strides {', '.join(map(str, self._parts.strides))}), not "
                f"{sizes!r}."
            )

    def call(self, inputs, targets=None, training=False):
        """Detections, or with `targets` the losses of each image: {name: float32 (batch,)}."""
        images, sizes = unpack(inputs)
        maps, levels = self.look(images, sizes, training)
        boxes, is_box = propose(
            levels, sizes, self.settings, training=training or targets is not None
        )
        if targets is None:
            return self._detections(maps, boxes, is_box, sizes)
        truth = self._truth(targets, sizes)
        rpn = examples.rpn_losses(levels, truth, sizes, self.settings)
        head = self._head_losses(maps, boxes, is_box, truth, sizes, training)
        losses = [tf.where(truth.valid, loss, float("nan")) for loss in (*rpn, *head)]
        return dict(zip(self.loss_names, losses, strict=True))

    def look(self, images, sizes, training=False):
        """The features that RoIs are taken of, finest first, and `Level`s of anchors.

        Args:
            images: (batch, height, width, 3), see `unpack`.
            sizes: int32 (batch, 2), height and width of each without padding.
            training: as of `call`.
        """
        parts = self._parts
        images = padded(images)
        with padding.sizes_of(images, sizes):
            if not self.settings.masked:
                images = self._with_mean_outside(images)
            maps = parts.trunk(images, training=training)
            if parts.neck is not None:
                maps = parts.neck(maps, training=training)
            maps = list(maps.values())
            answers = [parts.rpn(x, training=training) for x in maps]
            present = [padding.inside(x) for x in maps]
            if self.settings.masked and self.settings.roi == "max_pool":
                maps = [padding.without(x) for x in maps]
            elif self.settings.masked:
                maps = [padding.extended(x) for x in maps]
        return maps, [
            self._level(place, answer, cells, tf.shape(images)[1:3])
            for place, (answer, cells) in enumerate(zip(answers, present, strict=True))
        ]

    def _with_mean_outside(self, images):
        """Padding becomes 0 where pixels are normalized: the other projects pad after that."""
        means = [x.mean for x in self.backbone.layers if isinstance(x, PixelNormalization)]
        images = tf.cast(images, "float32")
        return tf.where(padding.inside(images)[..., None], images, means[0] if means else 0.0)

    def _level(self, place, answer, cells, sides):
        values, stride = self.settings, self._parts.strides[place]
        objectness, deltas = answer
        batch, height, width = (tf.shape(objectness)[axis] for axis in range(3))
        cell = anchors.base(
            values.anchor_sizes[place], values.anchor_ratios, preset=values.anchor_form
        )
        offset = anchors.OFFSETS[values.anchor_form]
        if values.anchor_form == "torchvision":
            # Where a map was rounded up: 13 rows of p6 over 800 pixels are 61 apart there, not 64.
            stride = (sides[0] // height, sides[1] // width)
        grid = anchors.grid(cell, stride, height, width, offset=offset)
        if not values.masked:
            cells = tf.ones_like(cells)
        return Level(
            grid,
            tf.reshape(objectness, [batch, -1]),
            tf.reshape(deltas, [batch, -1, 4]),
            tf.repeat(tf.reshape(cells, [batch, -1]), self._per_cell, axis=1),
        )

    def _truth(self, targets, sizes):
        key = targets.get("key")
        if key is None:
            shape = (tf.shape(targets["labels"])[0], 2)
            key = keras.random.randint(shape, 0, 2**31 - 1, "int32", seed=self.seeds)
        # XLA has nothing to raise with: a loss becomes no number.
        return examples.read(targets, key, sizes, self.num_classes, raises=not self.jit_compile)

    def _head_losses(self, maps, boxes, is_box, truth, sizes, training) -> tuple[Any, ...]:
        rois = examples.rois(boxes, is_box, truth, self.num_classes, self.settings)
        candidates = tf.concat([rois.boxes, self.whole_image(sizes)], 1)
        return self._box_losses(rois, self.features(maps, candidates, training))

    def _box_losses(self, rois, features):
        logits, deltas = self.classify(features)
        beta = self.settings.box_beta
        return losses.head(logits, deltas, rois.labels, rois.deltas, rois.weights, beta=beta)

    def whole_image(self, sizes):
        """What the RoIs given to `features` must end with: (batch, 1, 4), or (batch, 0, 4).

        With `context` it is the whole image, and nothing without.
        """
        width_height = tf.cast(sizes[:, ::-1], "float32")
        whole = tf.concat([tf.zeros_like(width_height), width_height], 1)[:, None]
        return whole if self.context else whole[:, :0]

    def features(self, maps, rois, training=False):
        """What the head makes of RoIs (batch, R, 4): (batch, R, width), before `classify`."""
        if training:
            return self._features(maps, rois, training)
        head = self.box_head.output
        return slices.mapped(
            lambda part: self._features(maps, part, False), (rois,), head.shape[-1:], head.dtype
        )

    def _features(self, maps, rois, training):
        pooled = self._pooled(maps, rois)
        count = pooled.shape[1] or tf.shape(pooled)[1]
        features = self.box_head(tf.reshape(pooled, [-1, *pooled.shape[2:]]), training=training)
        return tf.reshape(features, [-1, count, features.shape[-1]])

    def classify(self, features):
        """Class logits (batch, R, K + 1) and deltas (batch, R, K, 4) of `features`.

        With `context`, the features' last are the whole image's, and are none of R.
        """
        if self.context:
            features, whole = features[:, :-1], features[:, -1:]
            whole = tf.broadcast_to(whole, tf.shape(features))
            features = tf.concat([features, whole], -1)
        count = features.shape[1] or tf.shape(features)[1]
        logits, deltas = self.predictor(tf.reshape(features, [-1, self.predictor.input.shape[-1]]))
        return (
            tf.reshape(logits, [-1, count, self.num_classes + 1]),
            tf.reshape(deltas, [-1, count, self.num_classes, 4]),
        )

    def _pooled(self, maps, rois, side=None):
        """Features of RoIs, (batch, R, side, side, channels), in the head's precision."""
        values, parts = self.settings, self._parts
        side = side or parts.side
        if values.roi == "max_pool":
            # Caffe's boxes end with their last pixel.
            inclusive = rois - tf.constant([0.0, 0.0, 1.0, 1.0])
            pooled = roi.max_pool(maps[0], inclusive, side, parts.strides[0])
        else:
            options = {
                "sampling": values.roi_sampling,
                "aligned": values.roi_aligned,
                "form": "matmul" if self.jit_compile else values.roi_form,
            }
            if self.neck is None:
                pooled = roi.align(maps[0], rois, side, parts.strides[0], **options)
            else:  # the last level is for proposals only
                maps, strides = maps[:-1], parts.strides[:-1]
                pooled = roi.align_pyramid(maps, rois, side, strides, **options)
        return tf.cast(pooled, maps[0].dtype)

    def _detections(self, maps, rois, is_roi, sizes):
        def answer(rois):
            whole = self.whole_image(sizes)
            logits, deltas = self.classify(self.features(maps, tf.concat([rois, whole], 1)))
            return detections.of_rois(logits, deltas, rois, sizes, self.settings.box_weights)

        rois = tf.ensure_shape(rois, [None, self.settings.proposals[1], 4])
        return detections.detect(answer, rois, is_roi, self.settings, refine=self.refine)

    def export(self, filepath, *arguments, input_signature=None, **options):
        """Exports as Keras does, without another signature for uint8 images of any size."""
        signature = input_signature or [keras.InputSpec("uint8", (None, None, None, 3))]
        super().export(filepath, *arguments, input_signature=signature, **options)

    def get_config(self):
        arguments = {**vars(self._arguments), "num_classes": self.num_classes}
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), **arguments, "backbone": backbone}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"))
        return cls(backbone, **config)


def endpoints_of(backbone):
    """The backbone's endpoints, finest first."""
    outputs = getattr(backbone, "output", None)
    if not isinstance(outputs, dict) or any(side for side in backbone.input_shape[1:3]):
        raise InputError(
            "backbone is a network of zoo.backbone(name, input_shape=(None, None, 3)), which takes "
            "images of any size to features by endpoint."
        )
    return sorted(outputs)


def strides_of(trunk):
    """Pixels between two cells of each of a trunk's maps."""
    shapes = trunk.compute_output_shape((1, _PROBE, _PROBE, trunk.input_shape[-1]))
    return [_PROBE // shapes[name][1] for name in sorted(shapes)]


def unpack(inputs):
    """Images (batch, height, width, 3) and sizes, int32 (batch, 2), of what a detector is given."""
    images = inputs["image"] if isinstance(inputs, dict) else inputs
    shape = tf.shape(images)
    sizes = inputs.get("size") if isinstance(inputs, dict) else None
    if sizes is None:
        sizes = tf.tile(shape[None, 1:3], [shape[0], 1])
    return images, tf.cast(sizes, "int32")


def padded(images):
    """Images whose sides are multiples of 32."""
    margin = -tf.shape(images)[1:3] % MULTIPLE
    return tf.pad(images, [[0, 0], [0, margin[0]], [0, margin[1]], [0, 0]])
