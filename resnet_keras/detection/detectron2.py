"""detectron2's names and shapes of a Faster R-CNN's weights, and the same under this package's.

detectron2's files are pickles, which may run anything when they are read, and are not read here.
Whoever trusts a file makes one of its tensors alone of it, in a process of its own:

    import pickle
    import numpy as np
    from safetensors.numpy import save_file
    content = pickle.load(open("model_final_280758.pkl", "rb"), encoding="latin1")["model"]
    tensors = {name: np.ascontiguousarray(value) for name, value in content.items()}
    save_file(tensors, "model_final_280758.safetensors")
"""

import re
from collections.abc import Mapping

import numpy as np

from resnet_keras.errors import InputError
from resnet_keras.facts import CAFFE_STD, IMAGENET_MEAN
from resnet_keras.zoo import networks
from resnet_keras.zoo import weights as files

Tensors = dict[str, files.formats.Tensor]

NAME = "detectron2"
# The stem of a detector with a pyramid, and of one without.
STEMS = ("backbone.bottom_up.stem.conv1.weight", "backbone.stem.conv1.weight")
CLASSES = "roi_heads.box_predictor.cls_score.weight"
OTHERS = (
    (r"roi_heads\.(mask|keypoint)_", "a Mask or Keypoint R-CNN, which is not read"),
    (r"roi_heads\.box_(head|predictor)\.\d\.", "a Cascade R-CNN, which is not read"),
    (r"head\.(cls|bbox)_subnet\.", "a RetinaNet, and no Faster R-CNN"),
    (r"(sem_seg_head|roi_heads\.box_head\.conv\d)", "a head that no detector here has"),
)
_PREFIXES = ("backbone.bottom_up.", "backbone.", "roi_heads.")  # of the network's stages
_BLOCK = re.compile(r"res(\d)\.(\d+)\.(conv(\d)|shortcut)\.(?:(norm)\.)?(\w+)")
_PYRAMID = re.compile(r"backbone\.fpn_(lateral|output)(\d)\.(\w+)")
_LAYERS = {
    "proposal_generator.rpn_head.conv": "rpn.head.conv",
    "proposal_generator.rpn_head.objectness_logits": "rpn.head.cls_logits",
    "proposal_generator.rpn_head.anchor_deltas": "rpn.head.bbox_pred",
    "roi_heads.box_head.fc1": "roi_heads.box_head.fc6",
    "roi_heads.box_head.fc2": "roi_heads.box_head.fc7",
}
_CONSTANTS = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\..*")


def neck(tensors: Mapping[str, files.formats.Tensor]) -> str | None:
    """The neck of the detector that these are of, "c4" or "fpn"; None for any other."""
    if any(_PYRAMID.match(name) for name in tensors):
        return "fpn"
    return "c4" if any(name.startswith("roi_heads.res5.") for name in tensors) else None


def translate(tensors: Tensors, network: networks.Network) -> Tensors:
    """Renames detectron2's tensors to torchvision's, or for the backbone this package's.

    What has no counterpart keeps its name. detectron2's first convolution sees blue first, and its
    background is the last class, as here.

    Args:
        tensors: by detectron2's names.
        network: of the backbone.

    Raises:
        InputError: two tensors come to one name, or pixels are normalized by other numbers.
    """
    _check_pixels(tensors)
    stages, rest = {}, []
    for name, tensor in tensors.items():
        if _CONSTANTS.fullmatch(name):
            continue
        if (inner := _of_torch(name)) is not None:
            stages[inner] = tensor
        else:
            rest.append((_of_torchvision(name), tensor))
    ours = files.resnets.translate(files.layouts.TORCH, stages, network)
    stem = "conv1_conv/kernel"
    if stem in ours:
        ours[stem] = files.layouts.changed(ours[stem], lambda values: values[:, :, ::-1])
    return files.layouts.renamed([*ours.items(), *rest])


def _check_pixels(tensors):
    """Raises `InputError` for files that say that they see other pixels than BGR less the mean."""
    for name, expected in (("pixel_mean", IMAGENET_MEAN[::-1]), ("pixel_std", CAFFE_STD)):
        values = tensors[name].read().ravel() if name in tensors else np.asarray(expected)
        if values.shape != (3,) or np.abs(values - expected).max() > 0.01:
            raise InputError(
                f"its {name} is {', '.join(f'{v:g}' for v in values)}; only networks with "
                f"detectron2's {', '.join(f'{v:g}' for v in expected)} (BGR) are read."
            )


def _of_torch(name):
    """torchvision's name of a ResNet's tensor; None where it is none of one."""
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    inner = name.removeprefix(prefix)
    if inner.startswith("stem.conv1."):
        leaf = inner.removeprefix("stem.conv1.")
        return f"bn1.{leaf.removeprefix('norm.')}" if "." in leaf else f"conv1.{leaf}"
    match = _BLOCK.fullmatch(inner)
    if match is None:
        return None
    stage, block, _, number, norm, leaf = match.groups()
    if number is None:
        layer = f"downsample.{1 if norm else 0}"
    else:
        layer = f"{'bn' if norm else 'conv'}{number}"
    return f"layer{int(stage) - 1}.{block}.{layer}.{leaf}"


def _of_torchvision(name):
    if match := _PYRAMID.fullmatch(name):
        kind, level, leaf = match.groups()
        blocks = {"lateral": "inner_blocks", "output": "layer_blocks"}[kind]
        return f"backbone.fpn.{blocks}.{int(level) - 2}.{leaf}"
    layer, _, leaf = name.rpartition(".")
    return f"{_LAYERS[layer]}.{leaf}" if layer in _LAYERS else name
