"""Plain and residual networks of He, Zhang, Ren and Sun (arXiv 1512.03385).

`resnet` builds the ImageNet networks of Table 1 and `cifar_resnet` the CIFAR networks of Sec. 4.2;
`shortcut=None` makes either plain. Each network takes raw RGB pixels in [0, 255] and normalizes
them itself. Layer names follow Keras Applications; the stages' last layers, `conv2_block3_out` and
so on, are the endpoints that `endpoints` names.
"""

import contextlib
import functools
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD

from .layers import (
    BatchNormalization,
    Dropout,
    PixelNormalization,
    StochasticDepth,
    Subsampling,
    ZeroPaddedShortcut,
)

# Table 1: blocks in conv2_x, conv3_x, conv4_x and conv5_x.
IMAGENET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (50, 101, 152)
SHORTCUTS = ("A", "B", "C", None)
POOLINGS = ("avg", "max", None)
# Said in every layer: Keras's global setting would make another network of the same calls.
CHANNELS_LAST = "channels_last"
# With fewer, oneDNN crashes in the gradient of a strided 1x1 kernel (seen for 3 to 8 channels).
STRIDED_CHANNELS = 16


def conv(x, filters, kernel_size, stride, name):
    """A bias-free convolution with symmetric zero padding and He initialization [13]."""
    padding = "same"
    if stride > 1 and kernel_size > 1:
        # At stride 2 "same" would pad at the bottom and right only; Caffe and torch pad both sides.
        x = layers.ZeroPadding2D(kernel_size // 2, CHANNELS_LAST, name=f"{name}_pad")(x)
        padding = "valid"
    if stride > 1 and kernel_size == 1 and x.shape[-1] < STRIDED_CHANNELS:
        # The same numbers; of wider inputs it takes 1.3 to 3 times as long.
        x = Subsampling(stride, name=f"{name}_stride")(x)
        stride = 1
    return layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding=padding,
        data_format=CHANNELS_LAST,
        use_bias=False,
        kernel_initializer=he_normal(),
        name=f"{name}_conv",
    )(x)


def he_normal():
    """A normal distribution of variance 2 / fan-in, not truncated (Sec. 3.4, [13])."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv_bn(x, filters, kernel_size, stride, name, norm):
    """Batch normalization right after each convolution and before activation (Sec. 3.4)."""
    x = conv(x, filters, kernel_size, stride, name)
    return norm(name=f"{name}_bn")(x)


def conv_bn_relu(x, filters, kernel_size, stride, name, norm):
    x = conv_bn(x, filters, kernel_size, stride, name, norm)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def shortcut_connection(x, filters, stride, shortcut, name, norm, drop_rate):
    """The x of y = F(x) + x, by option A, B or C where dimensions grow (Sec. 3.3, 4.1)."""
    if shortcut != "C" and stride == 1 and x.shape[-1] == filters:
        return x
    if shortcut == "A":
        return ZeroPaddedShortcut(filters, stride, name=f"{name}_0_pad")(x)
    x = conv_bn(x, filters, 1, stride, f"{name}_0", norm)
    # Keras orders weights, in files too, by their layers' distance from the output: what lengthens
    # the branch must lengthen the projection, or one is loaded in the other's place.
    return layers.Identity(name=f"{name}_0_keep")(x) if drop_rate else x


def add_relu(x, residual, name, drop_rate):
    """The second nonlinearity comes after the addition (Fig. 2)."""
    if drop_rate:
        residual = StochasticDepth(drop_rate, name=f"{name}_drop")(residual)
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.Activation("relu", name=f"{name}_out")(x)


def plain_block(x, filters, stride, name, norm, drop_rate):
    """Two 3x3 convolutions, and no shortcut around them (Sec. 3.3), so that none may be dropped."""
    assert not drop_rate
    x = conv_bn_relu(x, filters, 3, stride, f"{name}_1", norm)
    x = conv_bn(x, filters, 3, 1, f"{name}_2", norm)
    return layers.Activation("relu", name=f"{name}_out")(x)


def basic_block(x, filters, stride, name, norm, drop_rate, *, shortcut):
    """Two 3x3 convolutions around which the shortcut leads (Fig. 5, left)."""
    identity = shortcut_connection(x, filters, stride, shortcut, name, norm, drop_rate)
    x = conv_bn_relu(x, filters, 3, stride, f"{name}_1", norm)
    x = conv_bn(x, filters, 3, 1, f"{name}_2", norm)
    return add_relu(identity, x, name, drop_rate)


def bottleneck_block(x, filters, stride, name, norm, drop_rate, *, shortcut, stride_in_1x1):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide (Fig. 5, right).

    The paper's own networks stride in the first 1x1; fb.resnet.torch and torchvision in the 3x3
    ("v1.5"), which costs 6 % more multiply-adds in ResNet-50.
    """
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    identity = shortcut_connection(x, 4 * filters, stride, shortcut, name, norm, drop_rate)
    x = conv_bn_relu(x, filters, 1, first, f"{name}_1", norm)
    x = conv_bn_relu(x, filters, 3, second, f"{name}_2", norm)
    x = conv_bn(x, 4 * filters, 1, 1, f"{name}_3", norm)
    return add_relu(identity, x, name, drop_rate)


def stage(x, block, filters, stride, name, norm, drop_rates):
    """A stack of blocks, one for each of `drop_rates`, the first of which may stride."""
    for index, drop_rate in enumerate(drop_rates):
        place = f"{name}_block{index + 1}"
        x = block(x, filters, stride if index == 0 else 1, place, norm, drop_rate)
    return x


def linear_drop_rates(blocks, last):
    """For each stage, its blocks' rates: block l of L drops its branch at l/L of the last one's.

    The linear rule of Huang et al. (arXiv 1603.09382, Sec. 3), whose survival rate falls from 1 to
    1 - last.
    """
    numbers = iter(range(1, sum(blocks) + 1))
    return [[next(numbers) / sum(blocks) * last for _ in range(count)] for count in blocks]


def head(x, num_classes, dropout):
    """Global average pooling and the classifier; float32 logits under every dtype policy."""
    x = layers.GlobalAveragePooling2D(CHANNELS_LAST, name="avg_pool")(x)
    if dropout:
        x = Dropout(dropout, name="dropout")(x)
    dense = layers.Dense(
        num_classes, kernel_initializer=he_normal(), dtype="float32", name="logits"
    )
    return dense(x)


def top(x, include_top, num_classes, pooling, dropout):
    """What follows the last stage: the head, pooled features, or nothing."""
    dropout = _rate("dropout", dropout)
    if include_top:
        if pooling is not None:
            raise InputError("pooling is for features: give include_top=False beside it.")
        return head(x, _positive("num_classes", num_classes), dropout)
    if dropout:
        raise InputError("dropout stands before the logits: leave it out with include_top=False.")
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, ("avg", "max", "None"))
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(CHANNELS_LAST, name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(CHANNELS_LAST, name="max_pool")(x)
    return x


def resnet(
    depth: int,
    *,
    shortcut: str | None = "B",
    stride_in_1x1: bool = True,
    num_classes: int = 1000,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    include_top: bool = True,
    pooling: str | None = None,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    dtype=None,
    synchronized: bool = False,
    epsilon: float = 1e-5,
    stochastic_depth: float = 0.0,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds an ImageNet network of Table 1.

    Args:
        depth: 18, 34, 50, 101 or 152.
        shortcut: "A" (zero-padded), "B" (projection where dimensions grow), "C" (projection
            everywhere), or None for a plain network (18 and 34 only).
        stride_in_1x1: whether a bottleneck strides in its first 1x1 (the paper) or in its 3x3.
        num_classes: size of the logits.
        input_shape: (height, width, channels) of the pixels; height and width may be None.
            Grey pixels, of one channel, are seen as RGB where mean and std have three.
        include_top: False ends at the last stage's features, (batch, h/32, w/32, channels).
        pooling: then "avg" or "max" over positions, (batch, channels), or None.
        mean, std: pixel normalization, per channel or per pixel, in units of 0 to 255.
        dtype: a Keras dtype policy such as "mixed_bfloat16"; None takes Keras's current one.
        synchronized: batch statistics over all replicas.
        epsilon: of the batch normalizations.
        stochastic_depth: rate at which the last block drops its residual branch in training, for
            each example; block l of L has l/L of it. Residual networks only.
        dropout: rate at which features are dropped before the logits in training.
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes).

    Raises:
        InputError: an argument is none of the above.
    """
    if depth not in IMAGENET_BLOCKS:
        raise InputError(
            f"ImageNet networks have depth {_listed(IMAGENET_BLOCKS)}, not {depth!r}; "
            "other depths, 6n+2, are CIFAR networks."
        )
    if shortcut is None and depth in BOTTLENECK_DEPTHS:
        raise InputError(f"Plain ImageNet networks have depth 18 or 34, not {depth}.")
    block = _block(depth in BOTTLENECK_DEPTHS, shortcut, stride_in_1x1)
    rates = _drop_rates(IMAGENET_BLOCKS[depth], stochastic_depth, shortcut)
    norm = functools.partial(BatchNormalization, epsilon=epsilon, synchronized=synchronized)

    with dtype_policy(dtype):
        pixels, x = _normalized_input(input_shape, mean, std)
        x = conv_bn_relu(x, 64, 7, 2, "conv1", norm)
        x = layers.ZeroPadding2D(1, CHANNELS_LAST, name="pool1_pad")(x)
        x = layers.MaxPooling2D(3, 2, data_format=CHANNELS_LAST, name="pool1_pool")(x)
        for index, drop_rates in enumerate(rates):
            stride = 1 if index == 0 else 2
            x = stage(x, block, 64 * 2**index, stride, f"conv{index + 2}", norm, drop_rates)
        x = top(x, include_top, num_classes, pooling, dropout)
        return keras.Model(pixels, x, name=name or f"{_kind(shortcut)}{depth}")


def cifar_resnet(
    depth: int,
    *,
    shortcut: str | None = "A",
    num_classes: int = 10,
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    include_top: bool = True,
    pooling: str | None = None,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
    dtype=None,
    synchronized: bool = False,
    epsilon: float = 1e-5,
    stochastic_depth: float = 0.0,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a CIFAR network of Sec. 4.2: 6n+2 layers, 2n of them at each of three map sizes.

    Arguments as for `resnet`; `depth` is 8, 14, 20, 26, ... Returns a model from pixels (batch,
    height, width, channels) to float32 logits (batch, num_classes); `include_top=False` ends at
    features (batch, h/4, w/4, 64).
    """
    depth = _positive("depth", depth)
    if depth < 8 or (depth - 2) % 6:
        raise InputError(
            f"CIFAR networks have 6n+2 layers (8, 14, 20, 26, 32, ...), not {depth}; "
            f"ImageNet networks have {_listed(IMAGENET_BLOCKS)}."
        )
    block = _block(False, shortcut, stride_in_1x1=False)
    rates = _drop_rates([(depth - 2) // 6] * 3, stochastic_depth, shortcut)
    norm = functools.partial(BatchNormalization, epsilon=epsilon, synchronized=synchronized)

    with dtype_policy(dtype):
        pixels, x = _normalized_input(input_shape, mean, std)
        x = conv_bn_relu(x, 16, 3, 1, "conv1", norm)
        for index, drop_rates in enumerate(rates):
            stride = 1 if index == 0 else 2
            x = stage(x, block, 16 * 2**index, stride, f"conv{index + 2}", norm, drop_rates)
        x = top(x, include_top, num_classes, pooling, dropout)
        return keras.Model(pixels, x, name=name or f"{_kind(shortcut)}{depth}")


def endpoints(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the output of each stage, `{"conv2": tensor, ...}`, shallowest first."""
    found = {}
    for layer in model.layers:
        match = re.fullmatch(r"(conv\d)_block\d+_out", layer.name)
        if match:
            found[match.group(1)] = layer.output
    return found


def freeze(model: keras.Model, through: str | None) -> None:
    """Freezes the stages of a network up to one, and lets the later ones be trained.

    A frozen batch normalization uses its moving statistics and keeps them, in training too. Call
    this before `compile`: Keras reads `trainable` there.

    Args:
        model: a network or backbone of the zoo.
        through: "conv1" (the stem) to "conv5" ("conv4" in CIFAR networks), the last stage to be
            frozen, or None to freeze nothing.

    Raises:
        InputError: the model has no such stage.
    """
    stages = {}
    for layer in model.layers:
        match = re.match(r"(conv\d)_", layer.name)
        if match:
            stages.setdefault(match.group(1), []).append(layer)
    if not stages:
        raise InputError(
            f"{model.name} has no stages of its own: freeze the network inside it, before."
        )
    if through is not None and through not in stages:
        raise unknown(f"stage of {model.name}:", through, stages)
    for stage, members in stages.items():
        for layer in members:
            layer.trainable = through is None or stage > through


def describe(layers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Tells by a network's layers what it was built with.

    Args:
        layers: (class name, config) of each layer, by its name.

    Returns:
        The depth, and the arguments of `resnet` or `cifar_resnet` but normalization and dtype;
        `stochastic_depth` and `dropout` only of networks that have them.

    Raises:
        KeyError: these are not the layers of a network of this module.
    """
    blocks = [name for name in layers if re.fullmatch(r"conv\d_block\d+_out", name)]
    bottleneck, imagenet = "conv2_block1_3_conv" in layers, "pool1_pool" in layers
    shape = layers["pixels"][1]["batch_shape"][1:]
    found: dict[str, Any] = {
        "depth": (3 if bottleneck else 2) * len(blocks) + 2,
        "shortcut": _described_shortcut(layers, bottleneck),
        "epsilon": layers["conv1_bn"][1]["epsilon"],
        "input_shape": tuple(shape),
        "include_top": "logits" in layers,
    }
    if imagenet and bottleneck:
        found["stride_in_1x1"] = tuple(layers["conv3_block1_1_conv"][1]["strides"]) == (2, 2)
    if found["include_top"]:
        found["num_classes"] = layers["logits"][1]["units"]
    else:
        pooled = {"avg": "avg_pool", "max": "max_pool"}
        found["pooling"] = next((key for key, name in pooled.items() if name in layers), None)
    last = blocks[-1].replace("_out", "_drop")
    for option, name in (("stochastic_depth", last), ("dropout", "dropout")):
        if name in layers:
            found[option] = layers[name][1]["rate"]
    return found


def _described_shortcut(layers, bottleneck):
    if "conv2_block1_add" not in layers:
        return None
    # Where dimensions stay: in the first stage of basic blocks, and in any second block.
    if "conv2_block2_0_conv" in layers or (not bottleneck and "conv2_block1_0_conv" in layers):
        return "C"
    return "B" if "conv3_block1_0_conv" in layers else "A"


def count_parameters(model: keras.Model) -> int:
    """Trainable values of a model of which nothing is frozen."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def count_multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one image through the model's convolutions and dense layers (Table 1).

    The model must have been built with a fixed height and width.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            total += _positions(layer) * math.prod(layer.kernel.shape)
    return total


def _positions(layer) -> int:
    """At how many places of its output the layer's kernel is applied."""
    spatial = layer.output.shape[1:-1]
    if None in spatial:
        raise InputError("Multiply-adds need a model with a fixed height and width.")
    return math.prod(spatial)


def _block(bottleneck, shortcut, stride_in_1x1):
    if shortcut not in SHORTCUTS:
        raise unknown("shortcut", shortcut, ("A", "B", "C", "None (plain)"))
    if shortcut is None:
        return plain_block
    if bottleneck:
        return functools.partial(bottleneck_block, shortcut=shortcut, stride_in_1x1=stride_in_1x1)
    return functools.partial(basic_block, shortcut=shortcut)


def _drop_rates(blocks, stochastic_depth, shortcut):
    last = _rate("stochastic_depth", stochastic_depth)
    if last and shortcut is None:
        raise InputError("Plain networks have no residual branches: leave stochastic_depth out.")
    return linear_drop_rates(blocks, last)


def _rate(what, value):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise InputError(f"{what} must be a rate in [0, 1), not {value!r}.")
    return float(value)


def _normalized_input(input_shape, mean, std):
    shape = _checked_shape(input_shape)
    # float32 takes uint8 as well as float pixels; a uint8 input would cut fractions off.
    pixels = keras.Input(shape, dtype="float32", name="pixels")
    try:
        normalization = PixelNormalization(mean, std, name="normalization")
    except (TypeError, ValueError) as error:
        raise InputError(f"mean and std must be numbers, not {mean!r} and {std!r}.") from error
    for what, value in (("mean", normalization.initial_mean), ("std", normalization.initial_std)):
        # Grey pixels fit any number of channels: they are repeated.
        channels = value.shape[-1] if shape[2] == 1 and value.ndim else shape[2]
        if value.shape not in ((channels,), (*shape[:2], channels)):
            raise InputError(
                f"{what} has shape {value.shape}; with input_shape {shape} it must be "
                f"{(shape[2],)} (per channel) or {shape} (per pixel)."
            )
    return pixels, normalization(pixels)


def _checked_shape(input_shape):
    sides = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    valid = [side is None or (_is_whole(side) and side > 0) for side in sides]
    if len(sides) != 3 or not all(valid) or sides[2] is None:
        raise InputError(
            "input_shape is (height, width, channels), positive numbers of which the first two "
            f"may be None, not {input_shape!r}."
        )
    return sides


def _positive(what, value):
    if not _is_whole(value) or value < 1:
        raise InputError(f"{what} must be a positive whole number, not {value!r}.")
    return int(value)


def _is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _kind(shortcut):
    return "plain" if shortcut is None else "resnet"


def _listed(numbers):
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}"


@contextlib.contextmanager
def dtype_policy(dtype):
    """Gives every layer and model that is built inside the policy `dtype`.

    So the blocks need not pass it on, and `compile` sees of a model that its losses need scaling.
    """
    previous = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(dtype if dtype is not None else previous)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"dtype {dtype!r} is no Keras dtype policy: give for instance 'float32', "
            "'mixed_bfloat16' or 'mixed_float16'."
        ) from error
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
