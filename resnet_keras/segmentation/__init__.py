"""Semantic segmentation: FCN and DeepLabV3 on the zoo's networks, and what they are made of.

    from resnet_keras import segmentation, zoo
    backbone = zoo.backbone("resnet50", input_shape=(None, None, 3), output_stride=8)
    model = segmentation.segmenter(backbone, num_classes=21, head="deeplabv3")

Labels are those of pixels: 0 is the background, where there is one. Importing this package imports
neither TensorFlow nor Keras.
"""

import importlib
from typing import Any

_MODULES = (
    "atrous",
    "building",
    "heads",
    "layout",
    "losses",
    "metrics",
    "prediction",
    "resizing",
    "scores",
    "segmenters",
    "weights",
)
_NAMES = {
    "ConfusionMatrix": "metrics",
    "PixelCrossEntropy": "losses",
    "class_names": "building",
    "get": "weights",
    "load": "loading",
    "segmenter": "building",
    "without_auxiliary": "building",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
