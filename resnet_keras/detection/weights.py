"""Detectors with public weights: torchvision's and detectron2's Faster R-CNN, from their files.

    model = detection.get("fasterrcnn_resnet50_fpn", weights="coco")
    found = model.predict(images)
    facts.COCO_CLASSES[found["labels"][0, 0]]

A detector is what torchvision's is of the same name, shown by its own answers to random weights.
Labels count from 0, so that a label is COCO's category id less 1; torchvision's own are these ids.
Of detectron2's less is shown: the answers are those of its arithmetic written out once more after
its source, as it could not be installed; its own were not seen, and no public file of either was
loaded. Their labels, 0 to 79, are detectron2's. Pixels are those of an image whose shorter side is
800, the longer at most 1333, RGB here for both.
"""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from resnet_keras import zoo
from resnet_keras.errors import InputError, unknown
from resnet_keras.files import digest
from resnet_keras.networks.layers import PixelNormalization
from resnet_keras.zoo import networks
from resnet_keras.zoo import weights as files

from . import layout, statistics
from .detectors import DETECTORS, EPSILON
from .faster_rcnn import FasterRCNN

SCALE = (800, 1333)  # of both projects: the shorter side, and the most of the longer one

PREDICTOR = ("class_logits", "box_deltas")


def get(
    name: str,
    *,
    weights: str | os.PathLike | None = None,
    weights_dir: str | os.PathLike | None = None,
    num_classes: int | None = None,
    epsilon: float | None = None,
    **changes: Any,
) -> FasterRCNN:
    """Builds a detector of torchvision's or detectron2's, and loads weights into it.

    Args:
        name: "fasterrcnn_resnet50_fpn" or "fasterrcnn_resnet50_fpn_v2" of torchvision;
            "fasterrcnn_resnet50_c4_detectron2" or the like with resnet101 or fpn.
        weights: None (random); "coco", the project's, of torchvision downloaded once; or the path
            of a file of such a network, .pth or .safetensors. detectron2's file is a pickle, which
            has to be made a .safetensors of first, see `detectron2`.
        weights_dir: a folder in which the registered file is looked for, instead of downloading it
            to the cache folder (RESNET_KERAS_HOME).
        num_classes: of objects; by default the weights', or COCO's 90, of detectron2 80. With
            another number than the weights', the predicting layers are new and the rest is loaded.
        epsilon: of the backbone's batch normalization; by default 1e-5, and 0 for torchvision's
            file of the first network, told by its name or hash. What was trained on from that one
            has 0, too, which no file says.
        **changes: settings that differ from the project's; see `settings.Settings`.

    Returns:
        A detector. With weights, the backbone of all but "_v2" has constant batch normalization,
        see `statistics.frozen`. All else is trained: both projects also keep the first stages as
        they are, which `zoo.freeze(model.backbone, "conv2")` does.

    Raises:
        InputError: unknown name, weights or setting, or weights of another network.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    detector = DETECTORS[name]
    path, tensors, head = None, {}, None
    if weights is not None:
        path = _resolve(detector.entry, weights, weights_dir)
        tensors = layout.read(path)
        _check_project(path, tensors, detector.preset)
        _check_kind(path, tensors, detector.neck, detector.box_head)
        head = _classes(path, tensors)
        epsilon = _epsilon(path, tensors) if epsilon is None else epsilon
    backbone = zoo.backbone(
        detector.network,
        input_shape=(None, None, 3),
        # detectron2's are MSRA's networks.
        stride_in_1x1=detector.preset == "detectron2",
        mean=detector.entry.mean,
        std=detector.entry.std,
        epsilon=EPSILON if epsilon is None else epsilon,
    )
    if path is not None and detector.frozen:
        backbone = statistics.frozen(backbone)
    if num_classes is None:
        num_classes = head or len(detector.class_names)
        if num_classes == len(detector.class_names):
            changes.setdefault("class_names", detector.class_names)
    changes.setdefault("scale", SCALE)
    model = FasterRCNN(
        backbone,
        num_classes,
        neck=detector.neck,
        preset=detector.preset,
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
    """Loads a file of torchvision's or detectron2's into a detector, all of it or nothing.

    For backbones other than those of `get`, as of torchvision's `resnet_fpn_backbone("resnet101")`.

    Args:
        model: of `preset="torchvision"` or "detectron2", with a backbone of the zoo, whose batch
            normalization may be `statistics.frozen`. torchvision's strides in its 3x3 convolutions
            (stride_in_1x1=False); detectron2's in its 1x1, and has `std=(1, 1, 1)`.
        path: of the file, .pth or .safetensors.
        epsilon: as of `get`.
        head: False leaves the predicting layers as they are, whatever the file holds for them.

    Raises:
        InputError: the file cannot be read, is of another network, or does not fit.
    """
    path = Path(path).expanduser()
    tensors = layout.read(path)
    arguments = model.get_config()
    _check_project(path, tensors, arguments["preset"])
    _check_kind(path, tensors, arguments["neck"], arguments["box_head"])
    epsilon = _epsilon(path, tensors) if epsilon is None else epsilon
    _assign(model, path, tensors, epsilon=epsilon, head=head)


def _resolve(entry, weights, weights_dir):
    if str(weights) == entry.tag and entry.layout == "detectron2":
        return _converted(entry, weights_dir)
    if str(weights) == entry.tag:
        return files.download.fetch(entry, weights_dir)
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if os.sep in str(weights) or path.suffix or path.is_dir():
        raise InputError(f"There is no weights file {weights}.")
    raise unknown(f"weights for {entry.model}:", str(weights), [entry.tag])


def _converted(entry, weights_dir):
    """The file that a user has made of detectron2's pickle."""
    folder = Path(weights_dir).expanduser() if weights_dir else files.download.cache_folder()
    path = (folder / entry.file_name).with_suffix(".safetensors")
    if not path.is_file():
        raise InputError(
            f"{entry.address} is a pickle, which may run anything and is not read: make {path} of "
            "it with the lines at the top of resnet_keras.detection.detectron2."
        )
    return path


def _epsilon(path, tensors):
    """Of torchvision's own files by what they are called, or what they hold."""
    if layout.of_detectron2(tensors):
        return EPSILON
    entries = [detector.entry for detector in DETECTORS.values()]
    entries = [entry for entry in entries if entry.layout == "torchvision"]
    for entry in entries:
        if path.stem == Path(entry.file_name).stem:
            return entry.options["epsilon"]
    found = digest(path, "sha256")
    for entry in entries:
        if found.startswith(entry.checksum.split(":")[1]):
            return entry.options["epsilon"]
    return EPSILON


def _check_project(path, tensors, preset):
    project = "detectron2" if layout.of_detectron2(tensors) else "torchvision"
    if project != preset:
        names = [name for name, detector in DETECTORS.items() if detector.preset == project]
        raise InputError(
            f"{path} is of a detector of {project}'s: ask for {' or '.join(names)}, or build with "
            f'preset="{project}".'
        )


def _check_kind(path, tensors, neck, box_head):
    if layout.of_detectron2(tensors):
        found = layout.detectron2.neck(tensors)
        if found is None:
            raise InputError(
                f"{path} is of a detector of detectron2's with neither a pyramid (FPN) nor its "
                "last stage on RoIs (C4), which is not read."
            )
        if found != neck:
            raise InputError(f'{path} holds weights of a detector with neck="{found}".')
        return
    if neck != "fpn":
        raise InputError('torchvision\'s files are of feature pyramids: build with neck="fpn".')
    found = "two_mlp" if "roi_heads.box_head.fc6.weight" in tensors else "convolutions"
    if found != box_head:
        rows = [(d.box_head, name) for name, d in DETECTORS.items() if d.preset == "torchvision"]
        raise InputError(
            f"{path} holds weights with the box head of {dict(rows)[found]}: ask for that, or "
            f'box_head="{found}" of FasterRCNN.'
        )


def _classes(path, tensors):
    """Of objects, by the head; both projects call it alike."""
    shape = getattr(tensors.get("roi_heads.box_predictor.cls_score.weight"), "shape", ())
    if len(shape) != 2 or shape[0] < 2:
        raise InputError(f"{path} lacks roi_heads.box_predictor.cls_score.weight, the classes.")
    return shape[0] - 1


def _assign(model, path, tensors, *, epsilon, head):
    network = _network(model, path, tensors)
    _check_epsilon(model, path, epsilon)
    if layout.of_detectron2(tensors):
        _check_pixels(model.backbone, path)
    try:
        given = layout.translate(tensors, network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    shown = files.architecture.of(given)
    if shown is not None:
        files.architecture.check(path, shown, network)
    for layer in model.backbone.layers:
        if isinstance(layer, statistics.ScaleAndOffset):
            _fold(path, given, layer.name, epsilon)
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
    files.assignment.fill(path, model.name, wanted, given)


def _network(model, path, tensors):
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
    in_1x1 = "conv3_block1_3_conv" in strides and strides["conv3_block1_1_conv"] == (2, 2)
    if in_1x1 and not layout.of_detectron2(tensors):
        raise InputError(
            f"{path} is of a network that strides in its 3x3 convolutions: make the backbone with "
            "stride_in_1x1=False."
        )
    if not in_1x1 and "conv3_block1_3_conv" in strides and layout.of_detectron2(tensors):
        raise InputError(
            f"{path} is of a network that strides in its first 1x1 convolutions: make the backbone "
            "with stride_in_1x1=True."
        )
    return network


def _check_pixels(backbone, path):
    """Raises `InputError` where pixels are normalized otherwise than detectron2 does it."""
    entry = next(d.entry for d in DETECTORS.values() if d.preset == "detectron2")
    for layer in backbone.layers:
        if isinstance(layer, PixelNormalization) and not (
            np.allclose(layer.mean, entry.mean, atol=1e-3) and np.allclose(layer.std, entry.std)
        ):
            raise InputError(
                f"{path} is of a network that sees pixels less their mean alone: make the backbone "
                f"with mean={entry.mean}, std={entry.std}."
            )


def _check_epsilon(model, path, epsilon):
    for layer in model.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.epsilon != epsilon:
            raise InputError(
                f"The batch normalization of {path} has epsilon {epsilon}, and {layer.name} has "
                f"{layer.epsilon}: make the backbone with epsilon={epsilon}."
            )


def _fold(path, tensors, name, epsilon):
    """Turns the batch normalization `name` into a `statistics.ScaleAndOffset`."""
    names = [f"{name}/{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")]
    if any(part not in tensors for part in names):
        return  # which is said when they are assigned
    gamma, beta, mean, variance = (tensors.pop(part) for part in names)

    def scale():
        squared = variance.read() + np.float32(epsilon)
        if squared.min() <= 0:
            raise InputError(
                f"{path}: {name} has a variance of 0 or less, and an epsilon of {epsilon}: give "
                "the epsilon that it was trained with."
            )
        return gamma.read() / np.sqrt(squared)

    tensors[f"{name}/scale"] = files.formats.Tensor(gamma.shape, scale)
    tensors[f"{name}/offset"] = files.formats.Tensor(
        beta.shape, lambda: beta.read() - mean.read() * scale()
    )
