"""Localization: where the main object of an image is, as the paper's appendix C has it.

    from resnet_keras import localization
    model = localization.Localizer(backbone, num_classes=1000)

Boxes are those of `resnet_keras.detection`. Importing this package imports neither TensorFlow nor
Keras.
"""

import importlib
from typing import Any

_MODULES = ("heads", "measuring", "protocols", "scores", "testing")
_NAMES = {"Localizer": "localizer", "RCNN": "rcnn", "load": "loading"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
