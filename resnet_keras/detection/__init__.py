"""Object detection: Faster R-CNN as the paper's appendix has it, and what it is made of.

    from resnet_keras import detection
    detection.boxes.iou(a, b)

Boxes are (x1, y1, x2, y2) in pixels, half-open: a box of one pixel is (x, y, x + 1, y + 1). They
are padded with 0, their labels with -1. Importing this package imports neither TensorFlow nor
Keras.
"""

import importlib
from typing import Any

_MODULES = (
    "anchors",
    "backbones",
    "boxes",
    "detections",
    "detectors",
    "detectron2",
    "examples",
    "heads",
    "improve",
    "layout",
    "losses",
    "masks",
    "matching",
    "necks",
    "nms",
    "padding",
    "prediction",
    "proposals",
    "roi",
    "sampling",
    "scores",
    "settings",
    "slices",
    "statistics",
    "weights",
)
_NAMES = {
    "AveragePrecision": "measuring",
    "FasterRCNN": "faster_rcnn",
    "MaskRCNN": "mask_rcnn",
    "draw": "prediction",
    "export": "exporting",
    "get": "weights",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
