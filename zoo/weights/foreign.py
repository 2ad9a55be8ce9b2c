"""Tells what a file is that is no network of this package: of which project, and the way out."""

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError

from ..networks import find, is_name
from . import kerashub, layouts
from .formats import Opened, Tensor
from .pickles import shortened
from .wrappers import FOREIGN_HEAD

# By names of tensors: what the network is, and the way out.
_ANOTHER = "another network than those here"
_PROJECTS = (
    (
        r"stack\d_block\d+_\d_(conv|bn)/|(^|/)res_net_backbone/",
        "KerasHub's ResNet",
        "its ResNets are read as resnet18 to resnet152 and resnetv2_50 to resnetv2_152, from "
        "files that name their layers",
    ),
    (
        r"(^|/)post_bn/|_preact_bn/",
        "keras.applications' ResNet V2, with pre-activation",
        "of these resnet50v2, resnet101v2 and resnet152v2 are read, as networks of these names",
    ),
    (
        r"(^|\.)stem\.conv\.weight$",
        "a ResNet V2 of timm's or BiT's",
        "of these resnetv2_50, resnetv2_101 and resnetv2_152 are read, as networks of these names; "
        "BiT's have group normalization and are not",
    ),
    (
        r"(^|\.)conv1\.0\.weight$",
        "a ResNet with a deep stem, such as ResNet-D",
        "of these resnet50c, resnet18d, resnet34d, resnet50d, resnet101d and resnet152d are read, "
        "as networks of these names",
    ),
    (
        r"(^|\.)layer0\.conv1\.weight$",
        "a squeeze-and-excitation network of its authors",
        "of these legacy_seresnet50, legacy_seresnext50_32x4d and others are read, as networks of "
        "these names",
    ),
    (
        r"(^|\.)res2\.0\.conv1\.weight$",
        "Detectron2's ResNet",
        "its names are not read; torchvision's file of the same network is",
    ),
    (
        r"(^|\.)(features\.)?conv_stem\.weight$|(^|\.)features\.0\.0\.weight$|(^|/)stem_conv/",
        "an EfficientNet or MobileNet",
        f"it is {_ANOTHER}",
    ),
    (
        r"denseblock1\.|(^|/)pool2_(conv|bn)/",
        "a DenseNet",
        "of these densenet121, densenet161, densenet169 and densenet201 are read, as networks of "
        "these names",
    ),
    (
        r"(^|\.)features\.0\.weight$|(^|/)block1_conv1/",
        "a VGG or AlexNet",
        "of these vgg16, vgg16_bn, vgg19 and vgg19_bn are read, as networks of these names",
    ),
    (r"cls_token|class_token|patch_embed", "a vision transformer", f"it is {_ANOTHER}"),
    (r"(^|\.)(stages|features)\.\d\.(blocks\.)?\d\.(conv_)?dw", "a ConvNeXt", f"it is {_ANOTHER}"),
)
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_KERAS_VARIABLE = re.compile(r"((?:.*/)?layers/([a-z0-9_]+?)(?:_\d+)?)/vars/(\d+)")
_OWN = re.compile(r"(?:.*/)?(?:(?:pixel|series)_normalization/vars/0|normalization/mean)")


def is_own(tensors: Iterable[str]) -> bool:
    """Whether there is the first layer that every network of this package has."""
    return any(_OWN.fullmatch(name) for name in tensors)


def by_layer_names(opened: Opened) -> dict[str, Tensor]:
    """Names the tensors of another project's `.keras` or `.weights.h5` by its layers' names.

    `layers/conv2d_3/vars/0` becomes `conv2_block1_1_conv/kernel`, as Keras notes the names beside
    the numbers. This package's own networks keep their numbers.

    Raises:
        InputError: two tensors come to one name.
    """
    tensors = opened.tensors
    # Older Keras noted no names, and `hdf5.layer` gives the numbers.
    numbers = all(name == path.rpartition("/")[2] for path, name in opened.layers.items())
    if numbers or is_own(tensors):
        return tensors

    def name(path):
        match = _KERAS_VARIABLE.fullmatch(path)
        layer = opened.layers.get(match[1]) if match else None
        if match is None or layer is None:
            return path
        number, variables = int(match[3]), _VARIABLES.get(match[2], ())
        return f"{layer}/{variables[number] if number < len(variables) else number}"

    return layouts.renamed((name(path), tensor) for path, tensor in tensors.items())


def unknown(path: Path, tensors: Mapping[str, Tensor], opened: Opened) -> InputError:
    """Says what a file holds that is in no layout known here, or not of a network known here."""
    for pattern, project, way_out in _PROJECTS:
        if any(re.search(pattern, name) for name in tensors):
            return InputError(f"{path} holds {project}: {way_out}.")
    if any(_KERAS_VARIABLE.fullmatch(name) for name in tensors):
        return InputError(
            f"{path} holds no weights of a layout that is known here: it is Keras's, of another "
            "network than those here, and lacks the names of its layers. If it is "
            "keras.applications' ResNet, load it with keras and save the model as .keras, which "
            "has them."
        )
    if any(name.endswith("conv1_conv/kernel") for name in tensors):
        return InputError(
            f"{path} lacks the normalization of its pixels, which this package's networks have, "
            "and the biases of its convolutions, which keras.applications' have."
        )
    called = (opened.metadata.get("config") or {}) if opened.format in ("keras", "hdf5") else {}
    called = called.get("name") if isinstance(called, dict) else None
    return InputError(
        f"{path} holds no weights of a layout that is known here (this package's, Keras's, "
        "keras.applications', torchvision's, timm's or transformers'): "
        + (f"its model is called {shortened([called])}; " if called else "")
        + (contents(tensors) if tensors else "it holds no tensors")
        + "."
    )


def contents(tensors: Mapping[str, Any]) -> str:
    """The first names and the top-level names of a file's tensors, in words."""
    top = dict.fromkeys(re.split(r"[./]", name)[0] for name in tensors)
    return (
        f"its {len(tensors)} tensors are called {shortened(tensors)}, with the top-level names "
        f"{shortened(top)}"
    )


def no_classes(path: Path, tensors: Mapping[str, Tensor]) -> InputError:
    """The error for a file that does not say how many classes there are."""
    found = _foreign_head(tensors)
    if not found:
        return InputError(f"{path} has no head: give num_classes, or include_top=False.")
    return InputError(
        f"{path} has no head that can be read, but {shortened(found, 3)}: give num_classes=N for a "
        "new head, or include_top=False."
    )


def warn_of_new_head(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Warns that a head which cannot be read was left out, as it may have been wanted."""
    found = _foreign_head(tensors)
    if found:
        warnings.warn(
            f"The head in {path}, {shortened(found, 3)}, cannot be read and is left out: the "
            "model's head is new.",
            stacklevel=4,
        )


def _foreign_head(tensors):
    return [
        f"{name if name == 'logits/kernel' else name.removeprefix(FOREIGN_HEAD)} {tensor.shape}"
        for name, tensor in tensors.items()
        if name.startswith(FOREIGN_HEAD) and not name.endswith("/bias")
    ]


def folder(path: Path) -> InputError:
    """Says what a folder is that holds no weights as `zoo.save` writes them."""
    config = _config(path)
    if "keras_hub" in str(config.get("module")) or (path / "task.json").is_file():
        return _preset(path)
    files = sorted(
        f.name for f in path.iterdir() if f.suffix in (".bin", ".pth", ".h5", ".safetensors")
    )
    inside = f"; give the path of the file in it: {shortened(files)}" if files else ""
    return InputError(
        f"{path} is no folder of zoo.save's: it lacks config.json or model.safetensors{inside}."
    )


def _preset(path):
    name = kerashub.network_of(path)
    if name is not None and not kerashub.is_preset(path):
        return InputError(f"{path} is a folder of KerasHub's that lacks {kerashub.BACKBONE}.")
    if name is None or not is_name(name) or not _of_imagenet(find(name)):
        return InputError(
            f"{path} is a folder of KerasHub's, of another network than its ResNets of 18 to 152 "
            "layers, v1 and v2, which are read."
        )
    return InputError(
        f"{path} is a folder of KerasHub's: name the network and give the folder as its weights, "
        f"zoo.get({name!r}, weights={str(path)!r})."
    )


def check_published(path: Path, text: str) -> None:
    """Raises `InputError` for the config.json of a folder that is another project's."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(config, dict):
        return
    kind = config.get("model_type")
    if "architectures" in config or kind is not None:
        owner = f"transformers' ({shortened([kind])})"
    elif "pretrained_cfg" in config or "architecture" in config:
        owner = f"timm's ({shortened([config.get('architecture')])})"
    else:
        return
    if kind not in (None, "resnet"):
        raise InputError(f"{path} is a folder of {owner}: it is {_ANOTHER}.")
    network = _transformers_network(config) if kind else config.get("architecture")
    if network is None:
        network = "resnet50"
    elif not is_name(network) or not _of_imagenet(find(network)):  # as all of theirs
        raise InputError(f"{path} is a folder of {owner}: it is {_ANOTHER}.")
    raise InputError(
        f"{path} is a folder of {owner}, not of zoo.save's: name the network and give the folder "
        f"as its weights, zoo.get({network!r}, weights={str(path)!r})."
    )


def _of_imagenet(network):
    return network.dataset == "imagenet" and network.family.files is not None


def check_transformers(path: Path) -> None:
    """Raises `InputError` where the config.json beside transformers' file changes the network."""
    config = _config(path.parent)
    for key, expected in {
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }.items():
        if config.get(key, expected) != expected:
            raise InputError(
                f"{path} is of a ResNet with {key}={shortened([config[key]])}, which is {_ANOTHER}."
            )


def _transformers_network(config):
    depths, bottleneck = config.get("depths"), config.get("layer_type", "bottleneck")
    if not isinstance(depths, list) or not all(isinstance(depth, int) for depth in depths):
        return None
    return f"resnet{sum(depths) * (3 if bottleneck == 'bottleneck' else 2) + 2}"


def _config(path):
    """The config.json of a folder; nothing where there is none that can be read."""
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
