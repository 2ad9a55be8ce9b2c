"""What the models of localization share: steps with losses of their own, and answers. TensorFlow.

A model has `look(images, sizes)`, whatever it sees of images once; `classify(seen)`, logits of
classes; and `candidates(seen, classes)`, scored boxes for each class asked for. The answer for a
class is its best candidate.
"""

from typing import Any

import keras
import tensorflow as tf

from resnet_keras.detection import boxes as geometry
from resnet_keras.detection import faster_rcnn
from resnet_keras.detection.own_losses import OwnLosses
from resnet_keras.errors import InputError


class LocalizationModel(OwnLosses):
    """A Keras model that brings its losses and answers with one box for each of some classes.

    Attributes:
        loss_names: of its losses, in the order in which `losses_of` gives them.
        num_classes: how many classes there are.
        top: for how many of the most probable classes `predict` answers.
    """

    noun = "localizer"
    num_classes: int
    top: int

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the labels, in their order; None where they have no names."""
        raise NotImplementedError

    @property
    def scale(self) -> tuple[int, int] | None:
        """Shorter side and most of the longer one, in pixels, of images in tests."""
        raise NotImplementedError

    @property
    def crop(self) -> int | None:
        """Side of the crops that it is trained on."""
        raise NotImplementedError

    def look(self, images, sizes, training=False):
        """Whatever it sees of images (batch, height, width, 3) of these sizes, int32 (batch, 2)."""
        raise NotImplementedError

    def classify(self, seen):
        """float32 logits (batch, num_classes) of what `look` saw."""
        raise NotImplementedError

    def candidates(self, seen, classes):
        """Scored boxes for classes int32 (batch, k): float32 (batch, k, n, 4) and (batch, k, n)."""
        raise NotImplementedError

    def losses_of(self, images, sizes, targets, training):
        """The losses of each image, float32 (batch,) each, in the order of `loss_names`."""
        raise NotImplementedError

    def call(self, inputs, targets=None, training=False):
        """Answers, see `answer`; or with `targets` the losses of each image."""
        images, sizes = faster_rcnn.unpack(inputs)
        if targets is None:
            return answer([self], images, sizes, self.top, inputs)
        losses = self.losses_of(images, sizes, targets, training)
        return dict(zip(self.loss_names, losses, strict=True))

    def truth(self, targets, sizes):
        """Label (batch,), boxes (batch, N, 4) and key (batch, 2) of targets, checked.

        Raises:
            InputError: (in a graph, TensorFlow's error with its sentence) a box cannot be true.
        """
        label = tf.cast(targets["label"], "int32")
        boxes = tf.cast(targets["boxes"], "float32")
        key = targets.get("key")
        if key is None:
            shape = (tf.shape(label)[0], 2)
            key = keras.random.randint(shape, 0, 2**31 - 1, "int32", seed=self.seeds)
        # A class is checked with or without boxes: an image's label stands beside each of its own.
        filled = tf.reduce_any(boxes != 0, axis=-1)
        labels = tf.where(filled, label[:, None], -1)
        if self.jit_compile:  # XLA has nothing to raise with
            return label, boxes, key
        checked = geometry.check(boxes, labels, sizes, self.num_classes)
        known = tf.debugging.assert_less(
            label, self.num_classes, f"A label is none of the classes 0 to {self.num_classes - 1}."
        )
        with tf.control_dependencies([one for one in (checked, known) if one is not None]):
            return tf.identity(label), tf.identity(boxes), key


def answer(members, images, sizes, top: int, inputs: Any = None):
    """One box for each of the most probable classes: what ILSVRC asks for.

    Args:
        members: models whose class probabilities are averaged and whose candidates are united.
        images: (batch, height, width, 3).
        sizes: int32 (batch, 2), height and width without padding.
        top: how many classes.
        inputs: what may also hold "classes" int32 (batch, k), to answer for these, as another
            network predicts them; and "label" int32 (batch,), to answer for this one besides.

    Returns:
        {"boxes": float32 (batch, k, 4), "labels": int32 (batch, k), "scores": float32 (batch, k)
        the probabilities of the classes, "confidences": float32 (batch, k) those of the boxes,
        "count": int32 (batch,), k}, and, with "label", "true_boxes" (batch, 4).
    """
    inputs = inputs if isinstance(inputs, dict) else {}
    seen = [member.look(images, sizes) for member in members]
    probabilities = tf.add_n(
        [tf.nn.softmax(member.classify(s)) for member, s in zip(members, seen, strict=True)]
    ) / len(members)
    if "classes" in inputs:
        classes = tf.cast(inputs["classes"], "int32")
        scores = tf.gather(probabilities, classes, batch_dims=1)
    else:
        scores, classes = tf.math.top_k(probabilities, min(top, members[0].num_classes))
    count = tf.shape(classes)[1]
    asked = classes
    if "label" in inputs:
        asked = tf.concat([classes, tf.cast(inputs["label"], "int32")[:, None]], axis=1)
    boxes, confidences = best(*united(members, seen, asked))
    answers = {
        "boxes": boxes[:, :count],
        "labels": classes,
        "scores": scores,
        "confidences": confidences[:, :count],
        "count": tf.fill([tf.shape(classes)[0]], count),
    }
    return {**answers, "true_boxes": boxes[:, -1]} if "label" in inputs else answers


def united(members, seen, classes):
    """The candidates of all members: boxes (batch, k, n, 4) and scores (batch, k, n)."""
    rows = [member.candidates(s, classes) for member, s in zip(members, seen, strict=True)]
    return tf.concat([boxes for boxes, _ in rows], 2), tf.concat([scores for _, scores in rows], 2)


def best(boxes, scores):
    """The candidate with the highest score, the first of equal ones: (..., 4) and (...,)."""
    place = tf.argmax(scores, axis=-1, output_type=tf.int32)
    dims = len(scores.shape) - 1
    return (
        tf.gather(boxes, place, batch_dims=dims),
        tf.gather(scores, place, batch_dims=dims),
    )


def check_names(num_classes: int, class_names) -> None:
    """Raises `InputError` where there is no class, or not a name for each."""
    if not isinstance(num_classes, int) or num_classes < 1:
        raise InputError(f"num_classes must be a positive whole number, not {num_classes!r}.")
    if class_names is not None and len(class_names) != num_classes:
        raise InputError(f"There are {num_classes} classes and {len(class_names)} class_names.")
