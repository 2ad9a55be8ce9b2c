"""Networks as files of other runtimes: LiteRT, ONNX, OpenVINO, SavedModel; and these files read.

    found = deployment.read("resnet20_litert_int8")
    run = deployment.open_runtime(found)
    logits = run(images)  # uint8 (n, height, width, 3)

Importing this package imports no TensorFlow, and nor does running a file of another runtime.
"""

from .classifier import Classifier
from .classifier import check as check_classifier
from .detector import Detector
from .detector import check as check_detector
from .exported import Exported, is_export, read
from .runtimes import Runtime, open_runtime

__all__ = [
    "Classifier",
    "Detector",
    "Exported",
    "Runtime",
    "check_classifier",
    "check_detector",
    "is_export",
    "open_runtime",
    "read",
]
