"""`networks.resnet` and what is done to its networks, by their short name."""

from .facts import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_BLOCKS, IMAGENET_MEAN, IMAGENET_STD
from .networks.counts import count_multiply_adds, count_parameters
from .networks.resnet import cifar_resnet, resnet
from .networks.surgery import endpoints, freeze

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
