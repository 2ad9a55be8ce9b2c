"""What all networks share: pixels, dtype policy, normalization, head, and the checks of both.

A family's builder has its own arguments and a trunk, and leaves the rest to `network`:

    def my_network(width=64, **shared):
        def trunk(x, norm, drop_rates):
            ...  # stages whose last layers are called conv2_block1_out and so on
            return x

        return network(trunk, blocks=(2, 2), **shared)
"""

import contextlib
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict

import keras
from keras import layers

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import BATCH, CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD

from .blocks import CHANNELS_LAST, he_normal, linear_drop_rates
from .layers import Dropout, Maxout, PixelNormalization
from .maxout import check as check_maxout
from .normalization import maker

POOLINGS = ("avg", "max", None)
IMAGE, SERIES = ("height", "width"), ("length",)  # the sides of an input, before its channels


class Common(TypedDict, total=False):
    """Arguments of `network` that have nothing to do with what is seen."""

    include_top: bool
    pooling: str | None
    dtype: Any
    normalization: str
    synchronized: bool
    epsilon: float
    stochastic_depth: float
    dropout: float
    maxout: int | None


class Shared(Common, total=False):
    """Arguments of `network` that builders of images' networks pass on as they are."""

    num_classes: int
    input_shape: tuple[int | None, int | None, int]
    mean: Any
    std: Any


# What networks for CIFAR have in place of the defaults of `network`, which are ImageNet's.
CIFAR: Shared = {
    "num_classes": 10,
    "input_shape": (32, 32, 3),
    "mean": CIFAR10_MEAN,
    "std": CIFAR10_STD,
}


def network(
    trunk: Callable,
    *,
    blocks: Sequence[int],
    residual: bool = True,
    name: str = "network",
    num_classes: int = 1000,
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    mean: Any = IMAGENET_MEAN,
    std: Any = IMAGENET_STD,
    include_top: bool = True,
    pooling: str | None = None,
    dtype: Any = None,
    normalization: str = BATCH,
    synchronized: bool = False,
    epsilon: float = 1e-5,
    stochastic_depth: float = 0.0,
    dropout: float = 0.0,
    maxout: int | None = None,
    head: Callable | None = None,
    axes: Sequence[str] = IMAGE,
    pixel_normalization: Callable = PixelNormalization,
) -> keras.Model:
    """Builds a network around a trunk.

    Args:
        trunk: a function from the normalized pixels (batch, height, width, channels), a function
            that makes normalizations, as `norm(name=...)`, and for each stage the drop rates of
            its blocks, to the last stage's features.
        blocks: how many the stages have.
        residual: whether the blocks have branches that may be dropped.
        name: of the model.
        num_classes: size of the logits.
        input_shape: (height, width, channels) of the pixels; height and width may be None.
            Grey pixels, of one channel, are seen as RGB where mean and std have three.
        mean: of the pixels, per channel or per pixel, in units of 0 to 255.
        std: their standard deviation, likewise.
        include_top: False ends at the last stage's features.
        pooling: then "avg" or "max" over positions, (batch, channels), or None.
        dtype: a Keras dtype policy such as "mixed_bfloat16"; None takes Keras's current one.
        normalization: what stands behind convolutions: "batch", "synchronized", "group", "layer" or
            "frozen", see `normalization.maker`.
        synchronized: batch statistics over all replicas, as "synchronized" says, too.
        epsilon: of the normalizations.
        stochastic_depth: rate at which the last block drops its residual branch in training, for
            each example; block l of L has l/L of it.
        dropout: rate at which features are dropped before the logits in training.
        maxout: None, or of how many linear maps of the pooled features the maximum is taken, for as
            many values as there are features, before they are dropped; see `layers.Maxout`.
        head: a function from the last stage's features to those that the logits are made of,
            (batch, channels); None takes their mean over positions.
        axes: what the sides of the input are called; `SERIES` makes a network for series of
            shape (length, channels), of which the rest is said in the same way.
        pixel_normalization: class of the first layer, `PixelNormalization` or one derived from it.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes), or to features.

    Raises:
        InputError: an argument is none of the above.
    """
    last = rate("stochastic_depth", stochastic_depth)
    if last and not residual:
        raise InputError(f"{name} has no residual branches: leave stochastic_depth out.")
    norm = maker(normalization, epsilon, synchronized)
    with dtype_policy(dtype):
        pixels, x = _normalized_input(input_shape, mean, std, axes, pixel_normalization)
        x = trunk(x, norm, linear_drop_rates(blocks, last))
        x = _top(x, include_top, num_classes, pooling, dropout, maxout, head)
        return keras.Model(pixels, x, name=name)


def _top(x, include_top, num_classes, pooling, dropout, maxout, head):
    """What follows the last stage: the head, pooled features, or nothing."""
    dropout = rate("dropout", dropout)
    check_maxout(maxout, pooled=include_top and head is None)
    if include_top:
        if pooling is not None:
            raise InputError("pooling is for features: give include_top=False beside it.")
        x = (head or _mean)(x)
        if maxout is not None:
            x = Maxout(x.shape[-1], int(maxout), name="maxout")(x)
        return _logits(x, positive("num_classes", num_classes), dropout)
    if dropout:
        raise InputError("dropout stands before the logits: leave it out with include_top=False.")
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, ("avg", "max", "None"))
    if pooling == "avg":
        return _mean(x)
    if pooling == "max":
        pool = layers.GlobalMaxPooling2D if x.ndim == 4 else layers.GlobalMaxPooling1D
        return pool(CHANNELS_LAST, name="max_pool")(x)
    return x


def _mean(x):
    pool = layers.GlobalAveragePooling2D if x.ndim == 4 else layers.GlobalAveragePooling1D
    return pool(CHANNELS_LAST, name="avg_pool")(x)


def _logits(x, num_classes, dropout):
    """The classifier; float32 logits under every dtype policy."""
    if dropout:
        x = Dropout(dropout, name="dropout")(x)
    dense = layers.Dense(
        num_classes, kernel_initializer=he_normal(), dtype="float32", name="logits"
    )
    return dense(x)


def _normalized_input(input_shape, mean, std, axes, pixel_normalization):
    shape = _checked_shape(input_shape, axes)
    images = len(axes) == len(IMAGE)
    # float32 takes uint8 as well as float pixels; a uint8 input would cut fractions off.
    pixels = keras.Input(shape, dtype="float32", name="pixels" if images else "series")
    try:
        layer = pixel_normalization(mean, std, name="normalization")
    except (TypeError, ValueError) as error:
        raise InputError(f"mean and std must be numbers, not {mean!r} and {std!r}.") from error
    for what, value in (("mean", layer.initial_mean), ("std", layer.initial_std)):
        # Grey pixels fit any number of channels: they are repeated.
        grey = images and shape[-1] == 1 and value.ndim
        channels = value.shape[-1] if grey else shape[-1]
        if value.shape not in ((channels,), (*shape[:-1], channels)):
            raise InputError(
                f"{what} has shape {value.shape}; with input_shape {shape} it must be "
                f"{(shape[-1],)} (per channel) or {shape} (per {'pixel' if images else 'step'})."
            )
    return pixels, layer(pixels)


def _checked_shape(input_shape, axes) -> tuple[Any, ...]:
    sides: tuple[Any, ...] = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    valid = [side is None or (_is_whole(side) and side > 0) for side in sides]
    if len(sides) != len(axes) + 1 or not all(valid) or sides[-1] is None:
        free = "first two" if len(axes) == len(IMAGE) else "first"
        what = "This network takes series: " if free == "first" else ""
        raise InputError(
            f"{what}input_shape is ({', '.join(axes)}, channels), positive numbers of which the "
            f"{free} may be None, not {input_shape!r}."
        )
    return sides


def positive(what: str, value: Any, meaning: str = "") -> int:
    """The value, if it is a positive whole number; `InputError` names `what` otherwise.

    Args:
        what: an argument.
        value: of it.
        meaning: what it stands for, where that may be mistaken.
    """
    if not _is_whole(value) or value < 1:
        meant = f": it is {meaning}" if meaning else ""
        raise InputError(f"{what} must be a positive whole number, not {value!r}{meant}.")
    return int(value)


def cifar_blocks(depth: int) -> list[int]:
    """How many basic blocks each of a CIFAR network's three stages has (Sec. 4.2).

    Raises:
        InputError: the depth is not 6n+2.
    """
    depth = positive("depth", depth)
    if depth < 8 or (depth - 2) % 6:
        raise InputError(f"CIFAR networks have 6n+2 layers (8, 14, 20, ...), not {depth}.")
    return [(depth - 2) // 6] * 3


def _is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def rate(what: str, value: Any) -> float:
    """The value, if it is a rate; `InputError` names `what` otherwise."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise InputError(f"{what} must be a rate in [0, 1), not {value!r}.")
    return float(value)


@contextlib.contextmanager
def dtype_policy(dtype: Any) -> Iterator[None]:
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
