"""KerasHub's ResNets: its presets' folders, and the files that Keras saves of its models.

    zoo.get("resnet50", weights="resnet_50_imagenet")  # a folder of `save_to_preset`

A preset has the backbone, the head and the pixels' normalization in files of their own. The
networks are timm's, v1 with the stride in the 3x3 ("v1.5") and v2 in the authors' form.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    INCEPTION_MEAN,
    INCEPTION_STD,
    INTERPOLATIONS,
)

from ..entry import Preprocessing
from ..network import Network
from . import formats
from .formats import Opened, Tensor

BACKBONE = "model.weights.h5"
_HEAD, _CONVERTER, _CONFIG = "task.weights.h5", "image_converter.json", "config.json"
_BLOCK = re.compile(r"stack(\d)_block(\d+)_(\d|pre_activation)_(conv|bn)/(\w+)")
_NAMES = {"post_bn": "conv5_post_bn", "predictions": "logits"}


class Converter(NamedTuple):
    """What a preset's image converter does.

    Attributes:
        mean, std: RGB in units of 0 to 255.
        preprocessing: how images are shown; None where it cannot be had here.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocessing: Preprocessing | None


def recognise(names: Collection[str]) -> bool:
    """Whether these are the tensors of KerasHub's ResNet, by the names of its layers."""
    return any(_BLOCK.fullmatch(name) for name in names)


def is_preset(folder: Path) -> bool:
    """Whether it is a folder of a ResNet's `save_to_preset`."""
    config = _read(folder / _CONFIG)
    return config.get("class_name") == "ResNetBackbone" and (folder / BACKBONE).is_file()


def network_of(folder: Path) -> str | None:
    """The name here of a preset's network; None for a ResNet-D or another size."""
    config = _read(folder / _CONFIG).get("config", {})
    blocks, kind = config.get("stackwise_num_blocks"), config.get("block_type")
    per_block = {"basic_block": 2, "bottleneck_block": 3}.get(kind)
    if per_block is None or not isinstance(blocks, list):
        return None
    depth = per_block * sum(blocks) + 2
    return f"resnetv2_{depth}" if config.get("use_pre_activation") else f"resnet{depth}"


def with_head(path: Path, opened: Opened) -> Opened:
    """A preset's backbone and, where it has one, its head."""
    head = path.with_name(_HEAD)
    if path.name != BACKBONE or not is_preset(path.parent) or not head.is_file():
        return opened
    task = formats.open_file(head)
    # Of their own layers only, which are numbered in each file.
    tensors = {f"task/{name}": tensor for name, tensor in task.tensors.items()}
    layers = {f"task/{name}": layer for name, layer in task.layers.items()}
    return opened._replace(
        tensors={**opened.tensors, **tensors}, layers={**opened.layers, **layers}
    )


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames KerasHub's tensors to this package's.

    Raises:
        InputError: they are a ResNet-D's.
    """
    if "conv2_conv/kernel" in tensors:
        raise InputError(
            'This is a ResNet-D of KerasHub (a "vd" preset), with a deep stem, which is not read '
            "here; its presets resnet_18_imagenet to resnet_152_imagenet and resnet_v2_*_imagenet "
            "are."
        )
    return {_name(name): tensor for name, tensor in tensors.items()}


def defaults(network: Network) -> dict[str, Any]:
    """Arguments of `zoo.get` that the tensors do not say."""
    if network.name.startswith("resnetv2_"):  # whose presets are timm's a1h_in1k
        return {"mean": INCEPTION_MEAN, "std": INCEPTION_STD, "epsilon": 1e-5}
    bottleneck = network.depth in BOTTLENECK_DEPTHS and "stride_in_1x1" in network.options
    stride = {"stride_in_1x1": False} if bottleneck else {}
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "epsilon": 1e-5, **stride}


def converter(path: Path) -> Converter | None:
    """What is said of pixels beside a preset's backbone; None where there is nothing.

    Raises:
        InputError: it cannot be used.
    """
    place = path.with_name(_CONVERTER)
    if path.name != BACKBONE or not place.is_file():
        return None
    config = _read(place).get("config", {})
    try:
        mean, std = _normalization(config["scale"], config["offset"])
        height, width = config["image_size"]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"{place} has a converter that cannot be used ({error!r}): mend it or move it away."
        ) from error
    known = config.get("interpolation") in INTERPOLATIONS and height == width
    way = (height, height, config.get("interpolation"), "centre", bool(config.get("antialias")))
    cropped = known and config.get("crop_to_aspect_ratio")
    return Converter(mean, std, Preprocessing(*way) if cropped else None)


def _normalization(scale, offset):
    """Mean and deviation of `scale * pixels + offset`, numbers or one for each channel."""
    scales = scale if isinstance(scale, list) else [scale] * 3
    offsets = offset if isinstance(offset, list) else [offset] * 3
    pairs = list(zip(offsets, scales, strict=True))
    return tuple(-o / s for o, s in pairs), tuple(1 / s for _, s in pairs)


def _name(name):
    match = _BLOCK.fullmatch(name)
    if match is None:
        layer, _, leaf = name.rpartition("/")
        return f"{_NAMES.get(layer, layer)}/{leaf}"
    stack, block, number, kind, leaf = match.groups()
    number = "preact" if number == "pre_activation" else number
    return f"conv{int(stack) + 2}_block{int(block) + 1}_{number}_{kind}/{leaf}"


def _read(path):
    """A JSON object; empty where there is none that can be read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
