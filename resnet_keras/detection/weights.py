"""Detectors with public weights: torchvision's Faster R-CNN, built by name and loaded from its files.

    model = detection.get("fasterrcnn_resnet50_fpn", weights="coco")
    found = model.predict(images)
    facts.COCO_CLASSES[found["labels"][0, 0]]

A detector is what torchvision's is of the same name, shown by its own answers to random weights.
Labels count from 0, so that a label is COCO's category id less 1; torchvision's own are these ids.
Pixels are those of an image whose shorter side is 800, the longer at most 1333. detectron2's files
are not read.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from resnet_keras import zoo
from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import IMAGENET_MEAN, IMAGENET_STD
from resnet_keras.files import digest
from resnet_keras.zoo import networks
from resnet_keras.zoo.entries import WeightsEntry
from resnet_keras.zoo.weights import (
    architecture,
    assignment,
    download,
    formats,
    foreign,
    layouts,
    resnets,
    wrappers,
)
from resnet_keras.zoo.weights.layouts import changed

from . import statistics
from .faster_rcnn import FasterRCNN

Tensors = dict[str, formats.Tensor]

EPSILON = 1e-5  # of torch's batch normalization
COCO = "coco"
PREDICTOR = ("class_logits", "box_deltas")
_BODY = "backbone.body."
_V1, _V2 = "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"


class Detector(NamedTuple):
    """A detector of torchvision's.

    Attributes:
        box_head, rpn_convolutions: arguments of `FasterRCNN`.
        frozen: whether the backbone's batch normalization is constant, as soon as it has weights.
        parameters: that its publisher counts: without frozen batch normalization, and with the
            background's deltas, 4 * 1025, which nothing looks at and `FasterRCNN` has not.
        entry: its public weights.
        box_ap: of these, in percent on COCO val2017, its publisher's own figure. None was measured
            with this package.
    """

    box_head: str
    rpn_convolutions: int
    frozen: bool
    parameters: int
    entry: WeightsEntry
    box_ap: float


def _coco(model, sha256, origin, epsilon):
    name = f"{model}_coco-{sha256}.pth"
    return WeightsEntry(
        model=model,
        tag=COCO,
        layout="torchvision",
        address=f"https://download.pytorch.org/models/{name}",
        checksum=f"sha256:{sha256}",
        licence="BSD-3-Clause",
        dataset=COCO,
        origin=origin,
        options={"epsilon": epsilon},
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        notes="The address, which begins the file's SHA-256, and the figures are as torchvision "
        "0.28 has them; the address could not be reached while this was written. The licence is "
        "torchvision's own.",
    )


DETECTORS = {
    _V1: Detector(
        box_head="two_mlp",
        rpn_convolutions=1,
        frozen=True,
        parameters=41_755_286,
        # Its frozen batch normalization had no epsilon when it was trained.
        entry=_coco(_V1, "258fb6c6", "torchvision, a recipe like that of the paper", 0.0),
        box_ap=37.0,
    ),
    _V2: Detector(
        box_head="convolutions",
        rpn_convolutions=2,
        frozen=False,
        parameters=43_712_278,
        entry=_coco(_V2, "dd69338a", "torchvision, arXiv 2111.11429's recipe", EPSILON),
        box_ap=46.7,
    ),
}


def get(
    name: str,
    *,
    weights: str | os.PathLike | None = None,
    weights_dir: str | os.PathLike | None = None,
    num_classes: int | None = None,
    epsilon: float | None = None,
    **changes: Any,
) -> FasterRCNN:
    """Builds one of torchvision's detectors, and loads weights into it.

    Args:
        name: "fasterrcnn_resnet50_fpn" or "fasterrcnn_resnet50_fpn_v2".
        weights: None (random); "coco", torchvision's, downloaded once; or the path of a file of
            such a network, .pth or .safetensors.
        weights_dir: a folder in which the registered file is looked for, instead of downloading it
            to the cache folder (RESNET_KERAS_HOME).
        num_classes: of objects; by default the weights', or COCO's 90. With another number than
            the weights', the predicting layers are new and the rest is loaded.
        epsilon: of the backbone's batch normalization; by default 1e-5, and 0 for torchvision's
            file of the first network, told by its name or hash. What was trained on from that one
            has 0, too, which no file says.
        **changes: settings that differ from torchvision's; see `settings.Settings`.

    Returns:
        A detector. With weights, the backbone of the first has constant batch normalization, see
        `statistics.frozen`. All else is trained: torchvision also keeps the first stages as they
        are, which `zoo.freeze(model.backbone, "conv2")` does.

    Raises:
        InputError: unknown name, weights or setting, or weights of another network.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    detector = DETECTORS[name]
    path, tensors, head = None, {}, None
    if weights is not None:
        path = _resolve(detector.entry, weights, weights_dir)
        tensors = read(path)
        _check_kind(path, tensors, detector.box_head)
        head = _classes(path, tensors)
        epsilon = _epsilon(path) if epsilon is None else epsilon
    network = "resnet50"
    backbone = zoo.backbone(
        network,
        input_shape=(None, None, 3),
        stride_in_1x1=False,
        epsilon=EPSILON if epsilon is None else epsilon,
    )
    if path is not None and detector.frozen:
        backbone = statistics.frozen(backbone)
    model = FasterRCNN(
        backbone,
        num_classes or head or len(detector.entry.class_names or ()),
        neck="fpn",
        preset="torchvision",
        box_head=detector.box_head,
        rpn_convolutions=detector.rpn_convolutions,
        name=name,
        **changes,
    )
    if path is not None:
        _assign(model, path, tensors, epsilon=epsilon, head=model.num_classes == head)
    return model


def load(
    model: FasterRCNN,
    path: str | os.PathLike,
    *,
    epsilon: float | None = None,
    head: bool = True,
) -> None:
    """Loads a file of torchvision's Faster R-CNN into a detector, all of it or nothing.

    For backbones other than those of `get`, as of torchvision's `resnet_fpn_backbone("resnet101")`.

    Args:
        model: with neck="fpn" and a backbone of the zoo that strides in its 3x3 convolutions
            (stride_in_1x1=False), whose batch normalization may be `statistics.frozen`.
        path: of the file, .pth or .safetensors.
        epsilon: as of `get`.
        head: False leaves the predicting layers as they are, whatever the file holds for them.

    Raises:
        InputError: the file cannot be read, is of another network, or does not fit.
    """
    if model.neck is None:
        raise InputError('torchvision\'s files are of feature pyramids: build with neck="fpn".')
    path = Path(path).expanduser()
    tensors = read(path)
    kind = "two_mlp" if any(x.name == "fc6" for x in model.box_head.layers) else "convolutions"
    _check_kind(path, tensors, kind)
    _assign(model, path, tensors, epsilon=_epsilon(path) if epsilon is None else epsilon, head=head)


def read(path: str | os.PathLike) -> Tensors:
    """Opens a file of torchvision's Faster R-CNN.

    Args:
        path: of a .safetensors or, where torch is installed, .pth; of the weights alone, or with
            what training scripts save around them.

    Returns:
        Tensors by torchvision's names, which are read when they are assigned.

    Raises:
        InputError: the file cannot be read, or is of another network.
    """
    path = Path(path)
    tensors = wrappers.under(path, formats.open_file(path).tensors, f"{_BODY}conv1.weight")
    for pattern, what in _OTHERS:
        if any(re.match(pattern, name) for name in tensors):
            raise InputError(f"{path} holds {what}.")
    if f"{_BODY}conv1.weight" not in tensors:
        raise InputError(
            f"{path} holds no weights of torchvision's Faster R-CNN with a ResNet: "
            f"{foreign.contents(tensors)}."
        )
    return tensors


_OTHERS = (
    (r"roi_heads\.(mask|keypoint)_", "a Mask or Keypoint R-CNN, which is not read"),
    (r"head\.(classification|regression)_head\.", "a RetinaNet or FCOS, and no Faster R-CNN"),
    (r"backbone\.body\.\d+\.", "a detector with a MobileNet, and not with a ResNet"),
    (
        r"(backbone\.(bottom_up\.|res\d|stem)|proposal_generator\.)",
        "a detector of detectron2's, whose files are not read",
    ),
    (
        r"(layer1\.0\.conv1|module\.layer1\.0\.conv1)\.",
        "a classifier: give it as weights of the backbone, zoo.backbone(name, weights=...)",
    ),
)


def _resolve(entry, weights, weights_dir):
    if str(weights) == entry.tag:
        return download.fetch(entry, weights_dir)
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if os.sep in str(weights) or path.suffix or path.is_dir():
        raise InputError(f"There is no weights file {weights}.")
    raise unknown(f"weights for {entry.model}:", str(weights), [entry.tag])


def _epsilon(path):
    """Of torchvision's own files by what they are called, or what they hold."""
    entries = [detector.entry for detector in DETECTORS.values()]
    for entry in entries:
        if path.stem == Path(entry.file_name).stem:
            return entry.options["epsilon"]
    found = digest(path, "sha256")
    for entry in entries:
        if found.startswith(entry.checksum.split(":")[1]):
            return entry.options["epsilon"]
    return EPSILON


def _check_kind(path, tensors, box_head):
    found = "two_mlp" if "roi_heads.box_head.fc6.weight" in tensors else "convolutions"
    if found != box_head:
        name = {detector.box_head: name for name, detector in DETECTORS.items()}[found]
        raise InputError(
            f'{path} holds weights with the box head of {name}: ask for that, or box_head="{found}"'
            " of FasterRCNN."
        )


def _classes(path, tensors):
    """Of objects, by the head."""
    shape = getattr(tensors.get("roi_heads.box_predictor.cls_score.weight"), "shape", ())
    if len(shape) != 2 or shape[0] < 2:
        raise InputError(f"{path} lacks roi_heads.box_predictor.cls_score.weight, the classes.")
    return shape[0] - 1


def _assign(model, path, tensors, *, epsilon, head):
    network = _network(model, path)
    _check_epsilon(model, path, epsilon)
    given = translate(tensors, network)
    shown = architecture.of(given)
    if shown is not None:
        architecture.check(path, shown, network)
    for layer in model.backbone.layers:
        if isinstance(layer, statistics.ScaleAndOffset):
            _fold(given, layer.name, epsilon)
    wanted = {variable.path: variable for variable in model.weights}
    skipped = () if head else PREDICTOR
    wanted, given = (
        {
            name: value
            for name, value in values.items()
            if name.split("/")[0] not in ("normalization", *skipped)
        }
        for values in (wanted, given)
    )
    assignment.fill(path, model.name, wanted, given)


def _network(model, path):
    """The row of the zoo that the backbone is of."""
    name = model.backbone.name.removesuffix("_backbone")
    network = networks.find(name) if networks.is_name(name) else None
    if network is None or network.dataset != "imagenet" or network.plain:
        raise InputError(
            f"{path} is of a detector with a ResNet for ImageNet: make the backbone by "
            f"zoo.backbone, as of resnet50, and not {name}."
        )
    strides = {layer.name: getattr(layer, "strides", None) for layer in model.backbone.layers}
    # Of basic blocks it is the first 3x3 convolution in any case.
    if "conv3_block1_3_conv" in strides and strides["conv3_block1_1_conv"] == (2, 2):
        raise InputError(
            f"{path} is of a network that strides in its 3x3 convolutions: make the backbone with "
            "stride_in_1x1=False."
        )
    return network


def _check_epsilon(model, path, epsilon):
    for layer in model.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.epsilon != epsilon:
            raise InputError(
                f"The batch normalization of {path} has epsilon {epsilon}, and {layer.name} has "
                f"{layer.epsilon}: make the backbone with epsilon={epsilon}."
            )


def translate(tensors: Mapping[str, formats.Tensor], network: networks.Network) -> Tensors:
    """Renames torchvision's tensors to those of a `FasterRCNN`, and reshapes them as they are read.

    What has no counterpart keeps its name.

    Args:
        tensors: by torchvision's names, of the older releases, too.
        network: of the backbone.

    Raises:
        InputError: two tensors come to one name.
    """
    body = {
        name.removeprefix(_BODY): tensor
        for name, tensor in tensors.items()
        if name.startswith(_BODY)
    }
    ours = resnets.translate(layouts.TORCH, body, network)
    heads = {name: tensor for name, tensor in tensors.items() if not name.startswith(_BODY)}
    return layouts.renamed([*ours.items(), *(_translated(*pair) for pair in heads.items())])


_BLOCK = re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)(?:\.([01]))?\.(\w+)")
_CONVOLUTION = re.compile(r"rpn\.head\.conv(?:\.(\d)\.0)?\.(\w+)")
_BOX_BLOCK = re.compile(r"roi_heads\.box_head\.(\d)\.([01])\.(\w+)")
_LAYERS = {
    "rpn.head.cls_logits": "rpn_objectness",
    "rpn.head.bbox_pred": "rpn_deltas",
    "roi_heads.box_head.fc6": "fc6",
    "roi_heads.box_head.fc7": "fc7",
    "roi_heads.box_head.5": "fc",
    "roi_heads.box_predictor.cls_score": "class_logits",
    "roi_heads.box_predictor.bbox_pred": "box_deltas",
}


def _translated(name, tensor):
    layer, leaf = _layer(name)
    if layer is None:
        return name, tensor
    if layer.endswith("_bn"):
        return f"{layer}/{resnets.LEAVES.get(leaf, leaf)}", tensor
    rank = len(tensor.shape)
    if rank == 4:  # (out, in, height, width)
        tensor = changed(tensor, lambda values: values.transpose(2, 3, 1, 0), (2, 3, 1, 0))
    elif rank == 2:  # (out, in)
        tensor = changed(tensor, lambda values: values.T, (1, 0))
    if layer in ("fc6", "fc") and rank == 2:
        tensor = changed(tensor, _channels_last)
    if layer == "class_logits":  # the background is their first class
        tensor = changed(tensor, lambda values: np.roll(values, -1, axis=-1))
    if layer == "box_deltas":
        shape = (*tensor.shape[:-1], max(tensor.shape[-1] - 4, 0))
        tensor = formats.Tensor(shape, lambda read=tensor.read: read()[..., 4:])
    return f"{layer}/{'kernel' if leaf == 'weight' else leaf}", tensor


def _layer(name):
    """A layer of `FasterRCNN`, None where there is none, and what of it a tensor is."""
    layer, _, leaf = name.rpartition(".")
    if layer in _LAYERS:
        return _LAYERS[layer], leaf
    if match := _BLOCK.fullmatch(name):
        kind, level, place, leaf = match.groups()
        return f"p{int(level) + 2}_{kind}_{('conv', 'bn')[int(place or 0)]}", leaf
    if match := _CONVOLUTION.fullmatch(name):
        number, leaf = match.groups()
        return f"rpn_{number}_conv" if int(number or 0) else "rpn_conv", leaf
    if match := _BOX_BLOCK.fullmatch(name):
        number, place, leaf = match.groups()
        return f"box_{number}_{('conv', 'bn')[int(place)]}", leaf
    return None, leaf


def _channels_last(kernel, side=7):
    """A kernel over flattened (channels, side, side) as one over (side, side, channels)."""
    features, width = kernel.shape
    parts = kernel.reshape(features // side**2, side, side, width)
    return parts.transpose(1, 2, 0, 3).reshape(features, width)


def _fold(tensors, name, epsilon):
    """Turns the batch normalization `name` into a `statistics.ScaleAndOffset`."""
    names = [f"{name}/{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")]
    if any(part not in tensors for part in names):
        return  # which is said when they are assigned
    gamma, beta, mean, variance = (tensors.pop(part) for part in names)

    def scale():
        return gamma.read() / np.sqrt(variance.read() + np.float32(epsilon))

    tensors[f"{name}/scale"] = formats.Tensor(gamma.shape, scale)
    tensors[f"{name}/offset"] = formats.Tensor(
        beta.shape, lambda: beta.read() - mean.read() * scale()
    )
