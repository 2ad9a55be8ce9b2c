"""Segmenters with public weights: torchvision's FCN and DeepLabV3 by name, loaded from its files.

    model = segmentation.get("deeplabv3_resnet50", weights="coco_voc")
    labels = model.predict(images).argmax(-1)
    segmentation.class_names(model)[labels[0, 0, 0]]

A segmenter is what torchvision's is of the same name, shown by its own logits to random weights. It
was published to see images whose shorter side is 520.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from resnet_keras import zoo
from resnet_keras.errors import InputError, unknown
from resnet_keras.zoo import networks
from resnet_keras.zoo import weights as files

from . import building, layout
from .segmenters import OUTPUT_STRIDE, SEGMENTERS

PREDICTING = (f"{building.HEAD}_logits", f"{building.AUXILIARY}_logits")
_AUXILIARY_LAYERS = f"{building.AUXILIARY}_"


def get(
    name: str,
    *,
    weights: str | os.PathLike | None = None,
    weights_dir: str | os.PathLike | None = None,
    num_classes: int | None = None,
    auxiliary: bool = False,
    class_names: Sequence[str] | None = None,
    dropout: float | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = OUTPUT_STRIDE,
    **overrides: Any,
) -> keras.Model:
    """Builds one of torchvision's segmenters, and loads weights into it.

    Args:
        name: "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50" or "deeplabv3_resnet101".
        weights: None (random); "coco_voc", torchvision's, downloaded once; or the path of a file of
            such a network, .pth or .safetensors.
        weights_dir: a folder in which the registered file is looked for, instead of downloading it
            to the cache folder (RESNET_KERAS_HOME).
        num_classes: the background included; by default the weights', or VOC's 21. With another
            number than the weights', the predicting layers are new and the rest is loaded.
        auxiliary: whether there is the auxiliary head, for training; see `building.segmenter`.
        class_names: by default VOC's where the weights are registered, or none.
        dropout: as of `building.segmenter`.
        input_shape: (height, width, 3); height and width may be None.
        output_stride: 8 as torchvision's; 16, with half of DeepLabV3's rates, is faster.
        **overrides: of `zoo.backbone`: `dtype`, `synchronized`, `mean`, `std`, `epsilon`.

    Returns:
        A model from RGB pixels (batch, height, width, 3) in [0, 255] to float32 logits (batch,
        height, width, num_classes), or to a dict of two such; see `building.segmenter`.

    Raises:
        InputError: unknown name, weights or option, or weights of another network.
    """
    if name not in SEGMENTERS:
        raise unknown("segmenter", name, SEGMENTERS)
    chosen = SEGMENTERS[name]
    path, tensors, classes = None, {}, None
    if weights is not None:
        path = _resolve(chosen.entry, weights, weights_dir)
        tensors = layout.read(path)
        _check_head(path, tensors, chosen.head)
        classes = _classes(path, tensors)
    voc = chosen.entry.class_names or ()
    if num_classes is None:
        num_classes = classes or len(voc)
    registered = str(weights) == chosen.entry.tag
    if class_names is None and registered and num_classes == len(voc):
        class_names = voc
    backbone = zoo.backbone(
        chosen.network,
        input_shape=input_shape,
        endpoints=("conv4", "conv5"),
        **{"stride_in_1x1": False, "output_stride": output_stride, **overrides},
    )
    model = building.segmenter(
        backbone,
        num_classes,
        head=chosen.head,
        auxiliary=auxiliary,
        dropout=dropout,
        class_names=class_names,
        name=name,
    )
    if path is not None:
        _assign(model, networks.find(chosen.network), path, tensors, head=num_classes == classes)
    return model


def load(model: keras.Model, path: str | os.PathLike, *, head: bool = True) -> None:
    """Loads a file of torchvision's FCN or DeepLabV3 into a segmenter, all of it or nothing.

    For backbones other than those of `get`. What the file holds of an auxiliary head is left out
    where the segmenter has none.

    Args:
        model: of `building.segmenter`, with a backbone of the zoo that strides in its 3x3
            convolutions (stride_in_1x1=False), and the file's own width of the head.
        path: of the file, .pth or .safetensors.
        head: False leaves the predicting layers as they are, whatever the file holds for them.

    Raises:
        InputError: the file cannot be read, is of another network, or does not fit.
    """
    building.class_names(model)  # which refuses what is no segmenter
    path = Path(path).expanduser()
    tensors = layout.read(path)
    deep = any(layer.name == f"{building.HEAD}_aspp" for layer in model.layers)
    _check_head(path, tensors, "deeplabv3" if deep else "fcn")
    _assign(model, _network(model, path), path, tensors, head=head)


def _resolve(entry, weights, weights_dir):
    if str(weights) == entry.tag:
        return files.download.fetch(entry, weights_dir)
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if os.sep in str(weights) or path.suffix or path.is_dir():
        raise InputError(f"There is no weights file {weights}.")
    raise unknown(f"weights for {entry.model}:", str(weights), [entry.tag])


def _check_head(path, tensors, expected):
    head = layout.head(tensors)
    if head != expected:
        raise InputError(
            f'{path} holds weights with the head "{head}", and not "{expected}": ask for '
            f"{', '.join(name for name, row in SEGMENTERS.items() if row.head == head)}, or build "
            f'with head="{head}".'
        )


def _classes(path, tensors):
    """How many there are, by the head."""
    shape = getattr(tensors.get("classifier.4.weight"), "shape", ())
    if len(shape) != 4 or not shape[0]:
        raise InputError(f"{path} lacks classifier.4.weight, the logits of the classes.")
    return shape[0]


def _network(model, path):
    """The row of the zoo that a segmenter's backbone is of."""
    try:
        record = model.get_layer("normalization").network
        network = networks.find(record["model"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{model.name!r} has no backbone of zoo.backbone.") from error
    if network.dataset != "imagenet" or network.files is None or network.plain:
        raise InputError(
            f"{path} is of a segmenter with a ResNet for ImageNet: make the backbone by "
            f"zoo.backbone, as of resnet50, and not {network.name}."
        )
    if record["options"].get("stride_in_1x1"):
        raise InputError(
            f"{path} is of a network that strides in its 3x3 convolutions: make the backbone with "
            "stride_in_1x1=False."
        )
    return network


def _assign(model, network, path, tensors, *, head):
    wanted = {variable.path: variable for variable in model.weights}
    auxiliary = any(name.startswith(_AUXILIARY_LAYERS) for name in wanted)
    if not auxiliary:
        tensors = {n: t for n, t in tensors.items() if not n.startswith(layout.AUXILIARY)}
    elif not any(name.startswith(layout.AUXILIARY) for name in tensors):
        raise InputError(f"{path} holds no auxiliary head: leave auxiliary out.")
    try:
        given = layout.translate(tensors, network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    shown = files.architecture.of(given)
    if shown is not None:
        files.architecture.check(path, shown, network)
    skipped = ("normalization", *(() if head else PREDICTING))
    wanted, given = (
        {name: value for name, value in values.items() if name.split("/")[0] not in skipped}
        for values in (wanted, given)
    )
    files.assignment.fill(path, model.name, wanted, given)
