"""Between a backbone and the heads: the feature pyramid."""

from collections.abc import Callable

import keras
from keras import layers, ops

from resnet_keras.networks.blocks import CHANNELS_LAST
from resnet_keras.networks.layers import Subsampling


def fpn(
    shapes: dict[str, int], channels: int = 256, *, norm: Callable | None = None
) -> keras.Model:
    """Feature pyramid network (Lin et al., arXiv 1612.03144), as Faster R-CNN uses it.

    Args:
        shapes: channels of each endpoint, shallowest first: {"conv2": 256, ..., "conv5": 2048}.
        channels: of each level.
        norm: makes normalizations, as `norm(name=...)`, which convolutions have in place of a bias,
            as torchvision's v2 has batch normalization.

    Returns:
        A model from {endpoint: (batch, h, w, channels)} to {"p2": ..., "p5": ..., "p6": ...},
        each level of half the size of the one before; p6 is every second value of p5.
    """
    inputs = {name: keras.Input((None, None, depth), name=name) for name, depth in shapes.items()}
    levels: dict[str, keras.KerasTensor] = {}
    above = None
    for name in reversed(inputs):
        level = f"p{name.removeprefix('conv')}"
        x = _conv(inputs[name], channels, 1, f"{level}_inner", norm)
        if above is not None:
            x = UpsampledSum(name=f"{level}_sum")([x, above])
        above = x
        levels[level] = _conv(x, channels, 3, f"{level}_layer", norm)
    deepest = next(iter(levels))
    extra = f"p{int(deepest[1:]) + 1}"
    outputs = dict(reversed(levels.items()))
    outputs[extra] = Subsampling(2, name=f"{extra}_pool")(levels[deepest])
    return keras.Model(inputs, outputs, name="fpn")


def _conv(x, channels, kernel_size, name, norm):
    x = layers.Conv2D(
        channels,
        kernel_size,
        padding="same",
        data_format=CHANNELS_LAST,
        use_bias=norm is None,
        # torchvision's: kaiming_uniform_(a=1), whose variance is 1 / fan-in.
        kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),
        name=f"{name}_conv",
    )(x)
    return x if norm is None else norm(name=f"{name}_bn")(x)


@keras.saving.register_keras_serializable(package="resnet_keras")
class UpsampledSum(layers.Layer):
    """Adds to features those of half their size, each value four times.

    Takes (batch, h, w, channels) and (batch, ceil(h / 2), ceil(w / 2), channels).
    """

    def call(self, inputs):
        fine, coarse = inputs
        height, width = ops.shape(fine)[1:3]
        coarse = ops.repeat(ops.repeat(coarse, 2, axis=1), 2, axis=2)
        return fine + coarse[:, :height, :width]

    def compute_output_shape(self, input_shape):
        return input_shape[0]
