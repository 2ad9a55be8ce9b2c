"""Segmenters: a head on a network of the zoo, with logits for each pixel."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from resnet_keras.errors import InputError, unknown
from resnet_keras.networks import normalization
from resnet_keras.networks.network import dtype_policy, positive

from . import heads
from .resizing import BilinearResizing, resized

LOGITS, AUXILIARY = "logits", "auxiliary"  # a segmenter's outputs
HEAD = "head"  # with which the names of the head's layers begin; of the auxiliary's, AUXILIARY
AUXILIARY_DROPOUT = 0.1  # torchvision's


class Head(NamedTuple):
    """What `segmenter` takes where it is not told.

    Attributes:
        build: a function of `heads`.
        channels: of the head, by those of the features.
        dropout: torchvision's rate.
    """

    build: Callable
    channels: Callable[[int], int]
    dropout: float


HEADS = {
    "fcn": Head(heads.fcn, lambda features: features // 4, 0.1),
    "deeplabv3": Head(heads.deeplabv3, lambda features: 256, 0.5),
}


def segmenter(
    backbone: keras.Model,
    num_classes: int,
    *,
    head: str = "fcn",
    auxiliary: bool = False,
    skip: str | None = None,
    channels: int | None = None,
    rates: Sequence[int] | None = None,
    dropout: float | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a network for semantic segmentation on a backbone, whose layers it shares.

    A batch holds images of one size: what a network sees beyond an image is zeros, and pixels of
    padding would be something else. Images of several sizes are shown one by one, or in crops.

    Args:
        backbone: of `zoo.backbone`, with `output_stride=8` or 16 for finer maps.
        num_classes: the background included, where it is one.
        head: "fcn" or "deeplabv3"; see `heads`. DeepLabV3 pools over the whole image, so that its
            batch normalization needs two images or more for each replica in training. Heads have
            the backbone's own normalization where that is of groups or layers.
        auxiliary: whether there is a second FCN head, on the endpoint before the last, for
            training. `without_auxiliary` takes it off.
        skip: an earlier endpoint, such as "conv2", whose features refine the head's, as in
            DeepLabV3+; None: the logits are computed of the head's and enlarged.
        channels: of the head; by default torchvision's, 256 for DeepLabV3 and a quarter of the
            features' for FCN.
        rates: dilations of DeepLabV3's convolutions; by default 12, 24, 36 at output stride 8, 6,
            12, 18 at 16, and so on in proportion.
        dropout: of the head; by default torchvision's, 0.1 for FCN and 0.5 for DeepLabV3.
        class_names: of the logits, for who loads the saved model; see `class_names`.
        name: of the model.

    Returns:
        A model from RGB pixels (batch, height, width, 3), uint8 or float in [0, 255], to float32
        logits (batch, height, width, num_classes). With `auxiliary` to a dict of two such, by
        "logits" and "auxiliary".

    Raises:
        InputError: an argument is none of the above, or the backbone lacks an endpoint.
    """
    num_classes = positive("num_classes", num_classes)
    if head not in HEADS:
        raise unknown("head", head, HEADS)
    names = _checked_names(class_names, num_classes)
    features = _features(backbone)
    *earlier, deepest = features
    if auxiliary and not earlier:
        raise InputError(
            "An auxiliary head stands on the endpoint before the last: build the backbone with "
            'two endpoints, such as endpoints=("conv4", "conv5").'
        )
    if skip is not None and skip not in earlier:
        raise unknown("skip", skip, [*earlier, "None"])
    pixels = backbone.input
    norm = normalization.like(backbone)

    def enlarged(x, name):
        x = heads.logits(x, num_classes, name=HEAD if name == LOGITS else name)
        return resized(x, pixels, name, dtype="float32", class_names=names)

    with dtype_policy(backbone.dtype_policy):
        x = features[deepest]
        options = _head_options(head, x, pixels, channels, dropout, rates)
        y = HEADS[head].build(x, norm=norm, name=HEAD, **options)
        if skip is not None:
            y = heads.decoder(y, features[skip], channels=options["channels"], norm=norm, name=HEAD)
        outputs = {LOGITS: enlarged(y, LOGITS)}
        if auxiliary:
            x = features[earlier[-1]]
            fcn = _head_options("fcn", x, pixels, None, AUXILIARY_DROPOUT, None)
            outputs[AUXILIARY] = enlarged(heads.fcn(x, norm=norm, name=AUXILIARY, **fcn), AUXILIARY)
        network = backbone.name.removesuffix("_backbone")
        return keras.Model(
            pixels, outputs if auxiliary else outputs[LOGITS], name=name or f"{head}_{network}"
        )


def without_auxiliary(model: keras.Model) -> keras.Model:
    """A segmenter with one output, its logits; the layers are the same, and so the weights."""
    if not isinstance(model.output, dict):
        return model
    return keras.Model(model.input, model.output[LOGITS], name=model.name)


def class_names(model: keras.Model) -> tuple[str, ...] | None:
    """What a segmenter's classes are called, if it was told so when it was built.

    Raises:
        InputError: the model is none of `segmenter`.
    """
    layer = next((layer for layer in model.layers if layer.name == LOGITS), None)
    if not isinstance(layer, BilinearResizing):
        raise InputError(f"{model.name!r} is no segmenter: segmentation.segmenter builds one.")
    return layer.class_names


def output_stride(features: keras.KerasTensor, pixels: keras.KerasTensor) -> int:
    """How many times smaller than the images a map of features is."""
    if None in pixels.shape[1:3]:  # then nothing else tells
        model = keras.Model(pixels, features)
        side = 256
        cells = model.compute_output_shape((1, side, side, pixels.shape[-1]))[1]
    else:
        side, cells = pixels.shape[1], features.shape[1]
    return 2 ** math.ceil(math.log2(side / cells))  # sides are rounded up at each stride


def _features(backbone):
    """The maps of a backbone by endpoint, shallowest first."""
    outputs = backbone.output
    if not isinstance(outputs, dict) or not all(len(x.shape) == 4 for x in outputs.values()):
        raise InputError(
            f"{backbone.name!r} gives no features by endpoint: build it by zoo.backbone."
        )
    return dict(sorted(outputs.items()))


def _head_options(head, features, pixels, channels, dropout, rates):
    """Arguments of a function of `heads`, with its defaults."""
    if channels is None:
        channels = HEADS[head].channels(features.shape[-1])
    dropout = HEADS[head].dropout if dropout is None else dropout
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Real) or not 0 <= dropout < 1:
        raise InputError(f"dropout must be a rate in [0, 1), not {dropout!r}.")
    options = {"channels": positive("channels", channels), "dropout": float(dropout)}
    if head == "deeplabv3":
        if rates is None:
            unit = max(1, 96 // output_stride(features, pixels))
            rates = (unit, 2 * unit, 3 * unit)
        options["rates"] = tuple(positive("Each of rates", rate) for rate in rates)
    elif rates is not None:
        raise InputError('rates are of head="deeplabv3": leave them out for another.')
    return options


def _checked_names(class_names, num_classes):
    if class_names is None:
        return None
    names = tuple(map(str, class_names))
    if len(names) != num_classes:
        raise InputError(f"{len(names)} class_names do not fit {num_classes} classes.")
    return names
