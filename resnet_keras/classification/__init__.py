"""Networks that tell classes: their losses, metrics, optimizers, protocols and predictions.

from resnet_keras.classification import compile_classifier, make_optimizer, model_options
"""

from .classifier import compile_classifier, make_optimizer, model_options

__all__ = ["compile_classifier", "make_optimizer", "model_options"]
