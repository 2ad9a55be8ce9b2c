"""torchvision's names and shapes of a segmenter's weights, and the same under this package's."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from resnet_keras.errors import InputError
from resnet_keras.zoo import networks
from resnet_keras.zoo import weights as files

Tensor = files.formats.Tensor
changed = files.layouts.changed

Tensors = dict[str, Tensor]

_BODY, AUXILIARY = "backbone.", "aux_classifier."


def read(path: str | os.PathLike) -> Tensors:
    """Opens a file of torchvision's FCN or DeepLabV3.

    Args:
        path: of a .safetensors or, where torch is installed, .pth; of the weights alone, or with
            what training scripts save around them.

    Returns:
        Tensors by torchvision's names, which are read when they are assigned.

    Raises:
        InputError: the file cannot be read, or is of another network.
    """
    path, stem = Path(path), f"{_BODY}conv1.weight"
    tensors = files.wrappers.under(path, files.formats.open_file(path).tensors, stem)
    for pattern, what in _OTHERS:
        if any(re.match(pattern, name) for name in tensors):
            raise InputError(f"{path} holds {what}.")
    if stem not in tensors or head(tensors) is None:
        raise InputError(
            f"{path} holds no weights of torchvision's FCN or DeepLabV3 with a ResNet: "
            f"{files.foreign.contents(tensors)}."
        )
    return tensors


_OTHERS = (
    (r"backbone\.body\.", "a detector: give it to detection.get"),
    (r"(backbone\.\d+\.|classifier\.cbr\.)", "a segmenter with a MobileNet, and not with a ResNet"),
    (
        r"(layer1\.0\.conv1|module\.layer1\.0\.conv1)\.",
        "a classifier: give it as weights of the backbone, zoo.backbone(name, weights=...)",
    ),
)


def head(tensors: Mapping[str, Tensor]) -> str | None:
    """The head of `building.segmenter` that tensors by torchvision's names are of, if of one."""
    if "classifier.0.project.0.weight" in tensors:
        return "deeplabv3"
    return "fcn" if "classifier.0.weight" in tensors else None


def translate(tensors: Mapping[str, Tensor], network: networks.Network) -> Tensors:
    """Renames torchvision's tensors to those of a segmenter, and reshapes them as they are read.

    What has no counterpart keeps its name.

    Args:
        tensors: by torchvision's names.
        network: of the backbone.

    Raises:
        InputError: two tensors come to one name.
    """
    body = {
        name.removeprefix(_BODY): tensor
        for name, tensor in tensors.items()
        if name.startswith(_BODY)
    }
    ours = files.resnets.translate(files.layouts.TORCH, body, network)
    heads = {name: tensor for name, tensor in tensors.items() if not name.startswith(_BODY)}
    deep = head(tensors) == "deeplabv3"
    translated = (_translated(name, tensor, deep) for name, tensor in heads.items())
    return files.layouts.renamed([*ours.items(), *translated])


_FCN = {"0": "conv", "1": "bn", "4": "logits"}
_DEEPLAB = {
    **{f"0.convs.{n}.{k}": f"aspp{n}_{p}" for n in range(4) for k, p in enumerate(("conv", "bn"))},
    **{"0.convs.4.1": "pool_conv", "0.convs.4.2": "pool_bn"},
    **{"0.project.0": "project_conv", "0.project.1": "project_bn"},
    **{"1": "conv", "2": "bn", "4": "logits"},
}


def _translated(name, tensor, deep):
    layer, leaf = _layer(name, deep)
    if layer is None:
        return name, tensor
    if layer.endswith("_bn"):
        return f"{layer}/{files.resnets.LEAVES.get(leaf, leaf)}", tensor
    if len(tensor.shape) == 4:  # (out, in, height, width)
        tensor = changed(tensor, lambda values: values.transpose(2, 3, 1, 0), (2, 3, 1, 0))
    return f"{layer}/{'kernel' if leaf == 'weight' else leaf}", tensor


def _layer(name, deep):
    """A layer of a segmenter, None where there is none, and what of it a tensor is."""
    layer, _, leaf = name.rpartition(".")
    place, _, number = layer.partition(".")
    if place == "classifier":
        part = (_DEEPLAB if deep else _FCN).get(number)
        return part and f"head_{part}", leaf
    if place == "aux_classifier":
        part = _FCN.get(number)
        return part and f"auxiliary_{part}", leaf
    return None, leaf
