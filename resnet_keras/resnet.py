"""`networks.resnet` by its short name."""

from .networks.resnet import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_BLOCKS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    cifar_resnet,
    count_multiply_adds,
    count_parameters,
    endpoints,
    freeze,
    resnet,
)

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "IMAGENET_BLOCKS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "cifar_resnet",
    "count_multiply_adds",
    "count_parameters",
    "endpoints",
    "freeze",
    "resnet",
]
