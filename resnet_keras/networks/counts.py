"""Counts a network's parameters and multiply-adds, as Tables 1 and 6 do."""

import math

import keras
from keras import layers

from resnet_keras.errors import InputError

from .layers import Maxout

COUNTED = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense, Maxout),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
)


def count_parameters(model: keras.Model) -> int:
    """Trainable values of a model of which nothing is frozen."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def count_multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one image through the model's convolutions and dense layers (Table 1).

    The model must have been built with a fixed height and width, or length of series.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, COUNTED):
            kernels = [v.shape for v in layer.variables if v.name.endswith("kernel")]
            total += _positions(layer) * sum(math.prod(shape) for shape in kernels)
    return total


def _positions(layer) -> int:
    """At how many places of its output the layer's kernel is applied."""
    spatial = layer.output.shape[1:-1]
    if None in spatial:
        raise InputError("Multiply-adds need a model with a fixed height and width, or length.")
    return math.prod(spatial)
