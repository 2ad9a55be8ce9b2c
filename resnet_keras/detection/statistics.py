"""Batch normalization of a detector: its statistics computed once and then kept.

A detector sees few images at a time, too few for batch statistics. The paper's appendix: "for each
pre-trained model, we compute the BN statistics (means and variances for each layer) on the ImageNet
training set. Then the BN layers are fixed during fine-tuning". `recompute` does the first, `frozen`
the second. What is trained may take its statistics over all replicas: `synchronize`.
"""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
from keras import layers, ops

from resnet_keras.errors import InputError
from resnet_keras.networks.layers import FrozenBatchNormalization
from resnet_keras.networks.network import dtype_policy


def recompute(network: keras.Model, batches: Iterable) -> int:
    """Sets the moving statistics of a network to the mean and variance over images.

    Each layer's inputs are those of a pass in training, in which the layers before it normalize by
    the statistics of the batch: larger batches come nearer to what inference sees.

    Args:
        network: functional; of the zoo.
        batches: of pixels (batch, height, width, channels); what stands beside them, as in
            (images, labels), is left out.

    Returns:
        How many images there were.

    Raises:
        InputError: there are no batches, or no batch normalization.
    """
    norms = normalizations(network)
    if not norms:
        raise InputError(f"{network.name} has no batch normalization whose statistics to compute.")
    watched = keras.Model(network.input, [norm.input for norm in norms])
    images, counts = 0, np.zeros(len(norms))
    sums = [(np.zeros(n.moving_mean.shape), np.zeros(n.moving_mean.shape)) for n in norms]
    for batch in batches:
        pixels = batch[0] if isinstance(batch, tuple | list) else batch
        images += int(pixels.shape[0])
        for place, x in enumerate(watched(pixels, training=True)):
            x = ops.cast(x, "float32")
            axes = tuple(range(len(x.shape) - 1))
            count = int(np.prod([x.shape[axis] for axis in axes]))
            mean, variance = (
                np.asarray(ops.convert_to_numpy(v), "float64") for v in ops.moments(x, axes)
            )
            counts[place] += count
            sums[place][0][...] += count * mean
            sums[place][1][...] += count * (variance + mean**2)
    if not images:
        raise InputError("There are no batches to compute the statistics of.")
    for norm, count, (first, second) in zip(norms, counts, sums, strict=True):
        mean = first / count
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(np.maximum(second / count - mean**2, 0))
    return images


def normalizations(*networks: keras.Model) -> list[layers.BatchNormalization]:
    """The batch normalizations of functional networks, without those that stay as they are."""
    every = (layer for network in networks for layer in network.layers)
    normalizations = (layer for layer in every if isinstance(layer, layers.BatchNormalization))
    return [one for one in normalizations if not isinstance(one, FrozenBatchNormalization)]


def frozen(network: keras.Model) -> keras.Model:
    """A copy whose batch normalization is a scale and an offset that nothing changes.

    So no statistics move in `fit`, the step needs less memory than with frozen batch
    normalization, and its operations are deterministic on GPUs, too.

    Args:
        network: functional; of the zoo. It stays as it is.

    Returns:
        A network of the same layers' names, with weights of its own; the network itself where it
        has no batch normalization.
    """
    if not any(isinstance(layer, layers.BatchNormalization) for layer in network.layers):
        return network

    def copy(layer):
        if isinstance(layer, layers.BatchNormalization):
            return ScaleAndOffset(name=layer.name, dtype=layer.dtype_policy.name)
        return layer.__class__.from_config(layer.get_config())

    def call(layer, *arguments, **options):
        if isinstance(layer, ScaleAndOffset):
            return layer(*arguments)  # the options are batch normalization's
        return layer(*arguments, **options)

    with dtype_policy(network.dtype_policy):
        clone = keras.models.clone_model(network, clone_function=copy, call_function=call)
    for layer in network.layers:
        other = clone.get_layer(layer.name)
        if isinstance(layer, layers.BatchNormalization):
            gamma = 1.0 if layer.gamma is None else layer.gamma
            beta = 0.0 if layer.beta is None else layer.beta
            scale = gamma / ops.sqrt(layer.moving_variance + layer.epsilon)
            other.scale.assign(scale)
            other.offset.assign(beta - layer.moving_mean * scale)
        else:
            other.set_weights(layer.get_weights())
    return clone


@keras.saving.register_keras_serializable(package="resnet_keras")
class ScaleAndOffset(layers.Layer):
    """`x * scale + offset` for each channel, with values that are not trained."""

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.scale = self.add_weight(shape, "ones", trainable=False, name="scale")
        self.offset = self.add_weight(shape, "zeros", trainable=False, name="offset")

    def call(self, x, training=None, mask=None):  # a clone calls it as the layer that it was
        return x * ops.cast(self.scale, x.dtype) + ops.cast(self.offset, x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config()  # Keras's own has no place for a dtype policy


def synchronize(
    norms: Sequence[layers.BatchNormalization], sync_batch_norm: bool, frozen: bool
) -> None:
    """Has batch statistics taken over all replicas, or not.

    Args:
        norms: of a model, those that take statistics of each batch.
        sync_batch_norm: whether over all replicas.
        frozen: whether the backbone had others, which are constant now.

    Raises:
        InputError: over all replicas, and there is none.
    """
    if sync_batch_norm and not norms:
        remedy = ", or give frozen_statistics=False" if frozen else ""
        raise InputError(
            "sync_batch_norm is for batch normalization that takes statistics of each batch, and "
            f"this model has none: leave it out{remedy}."
        )
    for layer in norms:
        layer.synchronized = sync_batch_norm
