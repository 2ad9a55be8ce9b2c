"""Networks that tell classes: their losses, metrics, optimizers, protocols and predictions.

from resnet_keras.classification import compile_classifier, make_optimizer, model_options
"""

from typing import TYPE_CHECKING, Any

from .classifier import compile_classifier, make_optimizer, model_options

if TYPE_CHECKING:
    from .distillation import distilled

__all__ = ["compile_classifier", "distilled", "make_optimizer", "model_options"]


def __getattr__(name: str) -> Any:
    if name == "distilled":  # which imports Keras
        from .distillation import distilled

        return distilled
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
