"""What a detector computes of features: anchors' scores and deltas, and those of RoIs."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from resnet_keras.networks.blocks import CHANNELS_LAST
from resnet_keras.networks.layers import BatchNormalization


def rpn(in_channels: int, anchors: int, *, channels: int, convolutions: int = 1) -> keras.Model:
    """The region proposal network's head, which all levels share ([32], Sec. 3.1).

    Args:
        in_channels: of the features.
        anchors: of each cell.
        channels: of the 3x3 convolutions.
        convolutions: how many there are.

    Returns:
        A model from (batch, h, w, in_channels) to float32 objectness logits
        (batch, h, w, anchors) and deltas (batch, h, w, 4 * anchors).
    """
    features = keras.Input((None, None, in_channels), name="features")
    x = features
    for index in range(convolutions):
        name = f"rpn_{index}" if index else "rpn"
        x = _conv(channels, 3, 0.01, f"{name}_conv", activation="relu")(x)
    objectness = _conv(anchors, 1, 0.01, "rpn_objectness", dtype="float32")(x)
    deltas = _conv(4 * anchors, 1, 0.01, "rpn_deltas", dtype="float32")(x)
    return keras.Model(features, (objectness, deltas), name="rpn")


def two_mlp(in_channels: int, *, side: int = 7, width: int = 1024) -> keras.Model:
    """Two hidden layers on flattened features, as of the feature pyramid's Faster R-CNN.

    Returns:
        A model from (rois, side, side, in_channels) to (rois, width).
    """
    rois = keras.Input((side, side, in_channels), name="rois")
    x = layers.Flatten(CHANNELS_LAST, name="flatten")(rois)
    for name in ("fc6", "fc7"):
        x = layers.Dense(width, "relu", kernel_initializer="he_uniform", name=name)(x)
    return keras.Model(rois, x, name="box_head")


def convolutions(
    in_channels: int,
    *,
    norm: Callable = BatchNormalization,
    side: int = 7,
    channels: int = 256,
    count: int = 4,
    width: int = 1024,
) -> keras.Model:
    """Convolutions with batch normalization and one hidden layer, as of torchvision's v2.

    `norm` makes another normalization, as `norm(name=...)`.

    Returns:
        A model from (rois, side, side, in_channels) to (rois, width).
    """
    rois = keras.Input((side, side, in_channels), name="rois")
    x = rois
    for index in range(count):
        x = layers.Conv2D(
            channels,
            3,
            padding="same",
            data_format=CHANNELS_LAST,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"box_{index}_conv",
        )(x)
        x = norm(name=f"box_{index}_bn")(x)
        x = layers.Activation("relu", name=f"box_{index}_relu")(x)
    x = layers.Flatten(CHANNELS_LAST, name="flatten")(x)
    x = layers.Dense(width, "relu", name="fc")(x)
    return keras.Model(rois, x, name="box_head")


def last_stage(backbone: keras.Model, shared: str, last: str) -> keras.Model:
    """The backbone's last stage, on RoIs (the paper's appendix A: conv5 and the layers up).

    Args:
        backbone: gives features by endpoint.
        shared: the endpoint that RoIs are taken of, such as "conv4".
        last: the endpoint at the end of what is run on each, such as "conv5".

    Returns:
        A model from (rois, h, w, channels of `shared`) to (rois, channels of `last`): the mean
        over positions. Its layers are the backbone's.
    """
    stage = keras.Model(backbone.output[shared], backbone.output[last], name="last_stage")
    rois = keras.Input((None, None, backbone.output[shared].shape[-1]), name="rois")
    x = layers.GlobalAveragePooling2D(CHANNELS_LAST, name="roi_pool")(stage(rois))
    return keras.Model(rois, x, name="box_head")


def hidden_layers(backbone: keras.Model, shared: str, last: str) -> keras.Model:
    """The backbone's hidden layers, on RoIs ([32], Sec. 3.2: fc6 and fc7 of VGG-16).

    RoI pooling stands in the place of the last stage's own pooling.

    Args:
        backbone: gives features by endpoint, and has a layer "avg_pool" before its hidden layers.
        shared: the endpoint that RoIs are taken of, such as "conv5".
        last: that of the last hidden layer, "fc7".

    Returns:
        A model from (rois, side, side, channels of `shared`) to (rois, units of `last`). Its layers
        are the backbone's.
    """
    pooled = backbone.get_layer("avg_pool").output
    hidden = keras.Model(pooled, backbone.output[last], name="hidden_layers")
    rois = keras.Input(pooled.shape[1:], name="rois")
    return keras.Model(rois, hidden(rois), name="box_head")


def masks(
    in_channels: int,
    num_classes: int,
    *,
    side: int,
    channels: int = 256,
    convolutions: int = 4,
    norm: Callable | None = None,
) -> keras.Model:
    """Mask R-CNN's mask branch (arXiv 1703.06870, Figure 4).

    Args:
        in_channels: of the features.
        num_classes: of objects.
        side: cells of each side of the features.
        channels: of the convolutions.
        convolutions: 3x3 ones before the transposed one: 4 on a pyramid, none on a last stage.
        norm: makes their normalizations, as `norm(name=...)`: torchvision's v2 has some.

    Returns:
        A model from (rois, side, side, in_channels) to float32 logits
        (rois, 2 * side, 2 * side, num_classes).
    """
    rois = keras.Input((side, side, in_channels), name="rois")
    shared: dict[str, Any] = {
        "data_format": CHANNELS_LAST,
        "kernel_initializer": "he_normal",
    }
    x = rois
    for index in range(convolutions):
        name = f"mask_{index}"
        x = layers.Conv2D(
            channels, 3, padding="same", use_bias=norm is None, name=f"{name}_conv", **shared
        )(x)
        x = x if norm is None else norm(name=f"{name}_bn")(x)
        x = layers.Activation("relu", name=f"{name}_relu")(x)
    x = layers.Conv2DTranspose(channels, 2, 2, activation="relu", name="mask_deconv", **shared)(x)
    x = layers.Conv2D(num_classes, 1, dtype="float32", name="mask_logits", **shared)(x)
    return keras.Model(rois, x, name="mask_head")


def predictor(width: int, num_classes: int) -> keras.Model:
    """Class logits and, for each class, deltas of a RoI.

    Returns:
        A model from (rois, width) to float32 logits (rois, num_classes + 1), of which the last is
        the background's, and deltas (rois, 4 * num_classes).
    """
    features = keras.Input((width,), name="features")

    def dense(outputs, deviation, name):
        return layers.Dense(
            outputs,
            kernel_initializer=keras.initializers.RandomNormal(stddev=deviation),
            dtype="float32",
            name=name,
        )

    # Deviations of Fast R-CNN (arXiv 1504.08083, Sec. 2.3).
    logits = dense(num_classes + 1, 0.01, "class_logits")(features)
    deltas = dense(4 * num_classes, 0.001, "box_deltas")(features)
    return keras.Model(features, (logits, deltas), name="predictor")


def _conv(filters, kernel_size, deviation, name, **options):
    return layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        data_format=CHANNELS_LAST,
        kernel_initializer=keras.initializers.RandomNormal(stddev=deviation),
        name=name,
        **options,
    )
