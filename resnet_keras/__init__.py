"""ResNets of *Deep Residual Learning for Image Recognition* as a Keras model zoo.

    from resnet_keras import zoo
    model = zoo.get("resnet50")

Importing this package imports neither TensorFlow nor Keras; building a model does.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tuning import tune_cpu as tune_cpu

__version__ = "0.1.0"

# In a checkout `zoo/` and `pipelines/` stand beside this folder, in an installed wheel inside it.
# The name is tested because pkgutil.walk_packages would otherwise recurse for ever; dirname
# without realpath, because resolving links would leave Bazel's runfiles.
if __name__ == "resnet_keras":
    _here = os.path.dirname(os.path.abspath(__file__))
    if not os.path.isdir(os.path.join(_here, "zoo")):
        __path__.append(os.path.dirname(_here))

_SUBMODULES = (
    *("classification", "detection", "errors", "layers", "localization", "metrics", "networks"),
    *("optimizers", "pipelines", "resnet", "segmentation", "training", "tuning", "zoo"),
)


def __getattr__(name: str):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "tune_cpu":
        return importlib.import_module(f"{__name__}.tuning").tune_cpu
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["__doc__", "__version__", *_SUBMODULES, "tune_cpu"])
