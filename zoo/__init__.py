"""The registry: every network of the paper by name, with its weights.

    from resnet_keras import zoo
    model = zoo.get("resnet50")                       # He initialization
    model = zoo.get("resnet20", weights="digits")     # trained, comes with the package
    model = zoo.get("resnet50", weights="imagenet")   # the authors' own, downloaded once
    zoo.predict(model, "cat.jpg")                     # [[Guess(label, name, probability), ...]]

Importing this package imports neither TensorFlow nor Keras; `get`, `backbone` and `info` do.
"""

from . import entries, entry, networks, paper, prediction, recipes, weights
from .building import backbone, build, freeze, get
from .entries import ENTRIES
from .entry import Preprocessing, WeightsEntry
from .information import ModelInfo, info, list_models, list_recipes, list_weights
from .networks import NETWORKS, register
from .prediction import Guess, predict
from .weights.publish import save

__all__ = [
    "ENTRIES",
    "NETWORKS",
    "Guess",
    "ModelInfo",
    "Preprocessing",
    "WeightsEntry",
    "backbone",
    "build",
    "entries",
    "entry",
    "freeze",
    "get",
    "info",
    "list_models",
    "list_recipes",
    "list_weights",
    "networks",
    "paper",
    "predict",
    "prediction",
    "recipes",
    "register",
    "save",
    "weights",
]


def __dir__() -> list[str]:
    return sorted(__all__)
