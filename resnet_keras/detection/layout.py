"""Other projects' names and shapes of weights of Faster and Mask R-CNN, and this package's.

They are torchvision's here; `detectron2` brings that project's to them.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnet_keras.errors import InputError
from resnet_keras.zoo import networks
from resnet_keras.zoo import weights as files

from . import detectron2

Tensor = files.formats.Tensor
changed = files.layouts.changed

Tensors = dict[str, Tensor]

_BODY = "backbone.body."


def read(path: str | os.PathLike) -> Tensors:
    """Opens a file of a Faster R-CNN of torchvision's or detectron2's.

    Args:
        path: of a .safetensors or, where torch is installed, .pth; of the weights alone, or with
            what training scripts save around them.

    Returns:
        Tensors by their project's names, which are read when they are assigned.

    Raises:
        InputError: the file cannot be read, or is of another network.
    """
    path = Path(path)
    if path.suffix == ".pkl":
        raise InputError(
            f"{path} is a pickle, which may run anything and is not read: make a .safetensors of "
            "its tensors with the lines at the top of resnet_keras.detection.detectron2."
        )
    opened = files.formats.open_file(path).tensors
    stems = (f"{_BODY}conv1.weight", *detectron2.STEMS)
    stem = next((stem for stem in stems if any(name.endswith(stem) for name in opened)), stems[0])
    tensors = files.wrappers.under(path, opened, stem)
    for pattern, what in detectron2.OTHERS if stem in detectron2.STEMS else _OTHERS:
        if any(re.match(pattern, name) for name in tensors):
            raise InputError(f"{path} holds {what}.")
    if stem not in tensors:
        raise InputError(
            f"{path} holds no weights of torchvision's or detectron2's Faster R-CNN with a ResNet: "
            f"{files.foreign.contents(tensors)}."
        )
    return tensors


def of_detectron2(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors of `read` have detectron2's names."""
    return any(stem in tensors for stem in detectron2.STEMS)


_OTHERS = (
    (r"roi_heads\.keypoint_", "a Keypoint R-CNN, which is not read"),
    (r"head\.(classification|regression)_head\.", "a RetinaNet, FCOS or SSD, and no Faster R-CNN"),
    (r"backbone\.body\.\d+\.", "a detector with a MobileNet, and not with a ResNet"),
    (
        r"(layer1\.0\.conv1|module\.layer1\.0\.conv1)\.",
        "a classifier: give it as weights of the backbone, zoo.backbone(name, weights=...)",
    ),
)


def translate(tensors: Mapping[str, Tensor], network: networks.Network) -> Tensors:
    """Renames tensors to those of a `FasterRCNN`, and reshapes them as they are read.

    What has no counterpart keeps its name.

    Args:
        tensors: of `read`; by torchvision's names those of the older releases, too.
        network: of the backbone.

    Raises:
        InputError: two tensors come to one name, or what a file says of itself does not fit.
    """
    if of_detectron2(tensors):
        renamed = detectron2.translate(dict(tensors), network)
        pairs = (_translated(*pair, background_first=False) for pair in renamed.items())
        return files.layouts.renamed(pairs)
    body = {
        name.removeprefix(_BODY): tensor
        for name, tensor in tensors.items()
        if name.startswith(_BODY)
    }
    ours = files.resnets.translate(files.layouts.TORCH, body, network)
    heads = {name: tensor for name, tensor in tensors.items() if not name.startswith(_BODY)}
    return files.layouts.renamed([*ours.items(), *(_translated(*pair) for pair in heads.items())])


_BLOCK = re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)(?:\.([01]))?\.(\w+)")
_CONVOLUTION = re.compile(r"rpn\.head\.conv(?:\.(\d)\.0)?\.(\w+)")
_BOX_BLOCK = re.compile(r"roi_heads\.box_head\.(\d)\.([01])\.(\w+)")
_MASK_BLOCK = re.compile(r"roi_heads\.mask_head\.(\d)\.([01])\.(\w+)")
_OLD_MASK_BLOCK = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d)\.(\w+)")
_LAYERS = {
    "rpn.head.cls_logits": "rpn_objectness",
    "rpn.head.bbox_pred": "rpn_deltas",
    "roi_heads.box_head.fc6": "fc6",
    "roi_heads.box_head.fc7": "fc7",
    "roi_heads.box_head.5": "fc",
    "roi_heads.box_predictor.cls_score": "class_logits",
    "roi_heads.box_predictor.bbox_pred": "box_deltas",
    "roi_heads.mask_predictor.conv5_mask": "mask_deconv",
    "roi_heads.mask_predictor.mask_fcn_logits": "mask_logits",
}


def _translated(name, tensor, background_first=True):
    layer, leaf = _layer(name)
    if layer is None:
        return name, tensor
    if layer.endswith("_bn"):
        return f"{layer}/{files.resnets.LEAVES.get(leaf, leaf)}", tensor
    rank = len(tensor.shape)
    if rank == 4:  # (out, in, height, width), of a transposed convolution (in, out, ...)
        tensor = changed(tensor, lambda values: values.transpose(2, 3, 1, 0), (2, 3, 1, 0))
    elif rank == 2:  # (out, in)
        tensor = changed(tensor, lambda values: values.T, (1, 0))
    if layer in ("fc6", "fc") and rank == 2:
        tensor = changed(tensor, _channels_last)
    if layer == "class_logits" and background_first:
        tensor = changed(tensor, lambda values: np.roll(values, -1, axis=-1))
    if layer == "box_deltas" and background_first:  # which has deltas, too
        shape = (*tensor.shape[:-1], max(tensor.shape[-1] - 4, 0))
        tensor = Tensor(shape, lambda read=tensor.read: read()[..., 4:])
    if layer == "mask_logits" and background_first:
        shape = (*tensor.shape[:-1], max(tensor.shape[-1] - 1, 0))
        tensor = Tensor(shape, lambda read=tensor.read: read()[..., 1:])
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
    if match := _MASK_BLOCK.fullmatch(name):
        number, place, leaf = match.groups()
        return f"mask_{number}_{('conv', 'bn')[int(place)]}", leaf
    if match := _OLD_MASK_BLOCK.fullmatch(name):
        number, leaf = match.groups()
        return f"mask_{int(number) - 1}_conv", leaf
    return None, leaf


def has_masks(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors of `read` are of a Mask R-CNN."""
    return any(name.startswith("roi_heads.mask_") for name in tensors)


def _channels_last(kernel, side=7):
    """A kernel over flattened (channels, side, side) as one over (side, side, channels)."""
    features, width = kernel.shape
    parts = kernel.reshape(features // side**2, side, side, width)
    return parts.transpose(1, 2, 0, 3).reshape(features, width)
