"""Images of several sizes in one batch: each is computed as if it were alone.

A batch is padded below and to the right. Convolutions pad with zeros too, but behind each layer, so
that a network sees more of the padding than of its own zeros, and an object at the border is found
elsewhere than without padding. `masked` gives every convolution zeros outside of each image, which
is what it would see of the image alone, and takes means over an image (of group normalization, and
of a squeeze) inside of it only.
"""

import contextlib
import threading
from collections.abc import Iterator

import keras
from keras import ops

_SEEN = threading.local()  # replicas trace in threads of their own


@contextlib.contextmanager
def sizes_of(images, sizes) -> Iterator[None]:
    """Tells networks of `masked` inside the `with` block how large the images are.

    Args:
        images: (batch, height, width, channels), padded.
        sizes: their heights and widths, int32 (batch, 2).
    """
    _SEEN.sides, _SEEN.sizes = ops.shape(images)[1:3], sizes
    try:
        yield
    finally:
        del _SEEN.sides, _SEEN.sizes


def masked(network: keras.Model) -> keras.Model:
    """The same layers, where what looks beyond a pixel sees zeros outside of each image.

    Args:
        network: functional, from pixels or features to features; its spatial layers are those that
            `networks.blocks` makes.

    Returns:
        A network for use inside `sizes_of`.
    """

    def call(layer, *arguments, **options):
        if _looks_around(layer):
            first, *rest = arguments
            arguments = (Mask(name=f"{layer.name}_mask")(first), *rest)
        if isinstance(layer, keras.layers.GroupNormalization):
            return GroupsInside(layer)(arguments[0])
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return MeanInside(layer)(arguments[0])
        return layer(*arguments, **options)

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)


def _looks_around(layer):
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return True
    if isinstance(layer, keras.layers.MaxPooling2D) and layer.pool_size == layer.strides:
        return True  # VGG's: its last bin may reach beyond; ResNet's has a padding layer before it
    kernel = getattr(layer, "kernel_size", None)
    return kernel is not None and max(kernel) > 1 and layer.padding == "same"


class Mask(keras.layers.Layer):
    """Features with zeros outside of each image; (batch, h, w, channels) to the same."""

    def call(self, x):
        if not hasattr(_SEEN, "sizes"):  # while the graph is made
            return x
        return ops.where(inside(x)[..., None], x, ops.zeros((), x.dtype))

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class _Inside(keras.layers.Layer):
    """A layer `own` that takes means over an image, here over the image without its padding."""

    def __init__(self, own):
        super().__init__(name=f"{own.name}_inside", dtype=own.dtype_policy)
        self.own = own

    def call(self, x):
        return self._inside(x) if hasattr(_SEEN, "sizes") else self.own(x)

    def compute_output_spec(self, x):
        return self.own.compute_output_spec(x)


class GroupsInside(_Inside):
    """Group normalization."""

    def _inside(self, x):
        own = self.own
        batch, height, width = ops.shape(x)[:3]
        groups = (batch, height, width, own.groups, x.shape[-1] // own.groups)
        grouped = ops.cast(ops.reshape(x, groups), "float32")
        mean = ops.mean(_over_cells(x, grouped), axis=-1, keepdims=True)
        square = _over_cells(x, ops.square(grouped - mean))
        variance = ops.mean(square, axis=-1, keepdims=True)
        y = ops.reshape((grouped - mean) * ops.rsqrt(variance + own.epsilon), ops.shape(x))
        scale, offset = (ops.cast(value, "float32") for value in (own.gamma, own.beta))
        return ops.cast(y * scale + offset, x.dtype)


class MeanInside(_Inside):
    """Global average pooling that keeps its dimensions."""

    def _inside(self, x):
        mean = _over_cells(x, ops.cast(x, "float32")[..., None, :])
        return ops.cast(mean[..., 0, :], x.dtype)


def _over_cells(features, grouped):
    """Means of (batch, h, w, groups, channels) over the cells that belong to each image."""
    kept = ops.cast(inside(features)[..., None, None], "float32")
    cells = ops.sum(kept, axis=(1, 2), keepdims=True)
    return ops.sum(grouped * kept, axis=(1, 2), keepdims=True) / cells


def inside(features):
    """Which cells of a map belong to the image: bool (batch, h, w); inside `sizes_of`."""
    rows, columns = counts(features)
    height, width = ops.shape(features)[1:3]
    vertical = ops.arange(height, dtype="int32") < rows[:, None]
    horizontal = ops.arange(width, dtype="int32") < columns[:, None]
    return vertical[:, :, None] & horizontal[:, None, :]


def counts(features):
    """How many rows and columns of a map belong to each image; inside `sizes_of`.

    Args:
        features: (batch, h, w, channels), of images whose padded sides are multiples of 32.

    Returns:
        int32 (batch,) rows and columns: sizes over the map's stride, a power of 2, rounded up.
    """
    result = []
    for axis, (side, cells) in enumerate(zip(_SEEN.sides, ops.shape(features)[1:3], strict=True)):
        ratio = ops.cast(side, "float32") / ops.cast(cells, "float32")
        stride = ops.cast(ops.round(2.0 ** ops.round(ops.log2(ratio))), "int32")
        result.append((_SEEN.sizes[:, axis] + stride - 1) // stride)
    return result


def extended(features):
    """Features whose last row and column of the image are repeated over what is outside.

    So RoIAlign, which clamps what it samples to the map, clamps to the image's part of it. Inside
    `sizes_of`.
    """
    import tensorflow as tf

    rows, columns = counts(features)
    height, width = tf.shape(features)[1], tf.shape(features)[2]
    vertical = tf.minimum(tf.range(height), rows[:, None] - 1)
    horizontal = tf.minimum(tf.range(width), columns[:, None] - 1)
    features = tf.gather(features, vertical, axis=1, batch_dims=1)
    return tf.gather(features, horizontal, axis=2, batch_dims=1)


def without(features):
    """Features that are -inf outside of the image, where `roi.max_pool` sees nothing."""
    return ops.where(inside(features)[..., None], features, float("-inf"))
