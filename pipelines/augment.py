"""Pure image functions: every random draw comes from a key that is handed in."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# Eigenvalues and eigenvectors of the covariance of ImageNet's RGB values in [0, 1] (Krizhevsky et
# al. 2012, [21]), one row per channel. Figures of fb.resnet.torch.
PCA_EIGENVALUES = (0.2175, 0.0188, 0.0045)
PCA_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


def pad(images: tf.Tensor, padding: int, colour) -> tf.Tensor:
    """Frames uint8 images (batch, height, width, 3) with `padding` pixels of one colour."""
    fill = tf.constant(colour, images.dtype)
    # tf.pad fills with one number only: shift the colour to zero and back, modulo 256.
    return tf.pad(images - fill, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]) + fill


def random_crop(images: tf.Tensor, size: int, key: tf.Tensor, *, flip: bool = False) -> tf.Tensor:
    """Cuts a window of its own out of each image, mirrored in half the cases if `flip`.

    Args:
        images: (batch, height, width, channels), any dtype.
        size: side of the window.
        key: int64 (2,), see `stream.draw_seed`.
        flip: mirror left and right at random (Sec. 3.4, 4.2).

    Returns:
        (batch, size, size, channels) of the same dtype.
    """
    batch, height, width, _ = images.shape
    top_key, left_key, flip_key = tf.unstack(tf.random.experimental.stateless_split(key, 3))
    top = _uniform(batch, top_key, height - size + 1)
    left = _uniform(batch, left_key, width - size + 1)
    rows = top[:, None] + tf.range(size)
    columns = left[:, None] + tf.range(size)
    if flip:
        mirrored = _uniform(batch, flip_key, 2)[:, None] == 1
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def padded_crop(
    side: int, mean: Sequence[float], padding: int, flip: bool
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    """Returns a function that cuts images out of a frame around them, for `stream.training`.

    It pads on each side, in the mean colour, and takes a crop of the images' size or its mirror
    image. The paper pads zeros after the mean was subtracted (Sec. 4.2). That is the mean colour
    before, exactly for a mean per channel and nearly for one per pixel.

    Args:
        side: of the images, in pixels.
        mean: of each channel, in units of 0 to 255.
        padding: pixels on each side.
        flip: whether half of the crops are mirrored.

    Returns:
        A function of uint8 images (batch, side, side, 3) and a key; None where nothing is changed.
    """
    colour = [round(value) for value in mean]
    if not padding and not flip:
        return None

    def crop_and_flip(images, key):
        return random_crop(pad(images, padding, colour), side, key, flip=flip)

    return crop_and_flip


def random_affine(
    images: tf.Tensor, key: tf.Tensor, *, degrees: float, scale: float, shift: float
) -> tf.Tensor:
    """Turns, scales and shifts each image about its centre by bilinear interpolation.

    Args:
        images: uint8 or float (batch, height, width, channels).
        key: int64 (2,), see `stream.draw_seed`.
        degrees: largest rotation to either side.
        scale: 0.1 draws the magnification from [1/1.1, 1.1], uniformly in its logarithm.
        shift: largest shift along each axis, in pixels.

    Returns:
        The same shape and dtype; what comes in from outside is 0.
    """
    batch, height, width, _ = images.shape
    draws = tf.random.stateless_uniform([4, batch], key, -1.0, 1.0)
    turn, stretch, right, down = tf.unstack(draws)
    angle = turn * (degrees * math.pi / 180.0)
    zoom = tf.exp(-stretch * math.log1p(scale))  # the transform leads from output to input
    cos, sin = zoom * tf.cos(angle), zoom * tf.sin(angle)
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    zero = tf.zeros_like(cos)
    across = [cos, -sin, x - cos * x + sin * y + shift * right]
    along = [sin, cos, y - sin * x - cos * y + shift * down]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([*across, *along, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
    )


def resize(
    image: tf.Tensor,
    height: tf.Tensor | int,
    width: tf.Tensor | int,
    interpolation: str,
    window: tuple[tf.Tensor | int, ...] | None = None,
) -> tf.Tensor:
    """Resizes with antialiasing, to the very pixels of Pillow 13 (`Image.resize`).

    Like Pillow it resizes along rows first, and rounds and clips to uint8 before the columns; but
    along columns first where the height loses more than twice as many pixels as the width. (Pillow
    before version 13 took rows first there too: by a level or two, such images differ from its.)

    Args:
        image: uint8 (height, width, channels).
        height: of the resized image.
        width: of the resized image.
        interpolation: "bilinear" or "bicubic" (a = -0.5).
        window: top, left, height and width of the part of the resized image that is wanted, which
            alone is computed; the whole by default.

    Returns:
        uint8 (height, width, channels).
    """
    top, left, rows, columns = window or (0, 0, height, width)
    shrunk = tf.shape(image)[:2] - tf.stack([height, width])
    columns_first = shrunk[0] > tf.maximum(2 * shrunk[1], 0)
    # An image whose columns come first is turned over: two branches with all that follows would
    # double the time that the graph takes to be built.
    axes = tf.where(columns_first, [1, 0], [0, 1])
    wanted = tf.gather([[height, top, rows], [width, left, columns]], axes)
    resized = _resample(_turned(image, columns_first), wanted, interpolation)
    return tf.ensure_shape(_turned(resized, columns_first), [None, None, image.shape[2]])


def _turned(image, turned):
    return tf.cond(turned, lambda: transposed(image, (1, 0, 2)), lambda: image)


_BITS = 22  # of the fractions of Pillow's integer coefficients
_BAND = 2**18  # pixels that are handled at once: as int32 they take four times the memory


def _resample(image, wanted, interpolation):
    """Resizes along rows, then along columns.

    Args:
        image: uint8 (height, width, channels).
        wanted: int32 (2, 3): the length of each axis, where the wanted window begins, and its own.
        interpolation: see `resize`.

    Returns:
        uint8, the window.
    """
    height, width, channels = tf.unstack(tf.shape(image))
    top, bottom, down = _coefficients(height, wanted[0], interpolation)
    left, right, across = _coefficients(width, wanted[1], interpolation)
    step = tf.maximum(_BAND // (right - left), 1)

    def along_rows(start):
        band = image[start : tf.minimum(start + step, bottom), left:right]
        rows = tf.shape(band)[0]
        pixels = transposed(tf.reshape(band, [rows, -1]))  # (columns and channels, rows)
        changed = _weigh(across, tf.reshape(pixels, [right - left, -1]))
        return transposed(tf.reshape(changed, [-1, rows]))

    def more(start, bands):
        return start + step, bands.write(bands.size(), along_rows(start))

    bands = tf.TensorArray(tf.uint8, 0, dynamic_size=True, infer_shape=False)
    loop = (lambda start, _: start < bottom), more, (top, bands)
    _, bands = tf.while_loop(*loop, parallel_iterations=1)
    changed = _weigh(down, bands.concat())
    return tf.reshape(changed, [wanted[0, 2], wanted[1, 2], channels])


def transposed(pixels: tf.Tensor, axes=(1, 0)) -> tf.Tensor:
    """The transpose of uint8 pixels.

    By way of float32: without AVX-512, oneDNN logs an error over the transpose of other types. The
    half, which the cast cuts off, keeps TensorFlow from exchanging cast and transpose.
    """
    levels = tf.cast(pixels, tf.float32) + 0.5
    return tf.cast(tf.floor(tf.transpose(levels, axes)), tf.uint8)


def _weigh(coefficients, pixels):
    """Pillow's sums: uint8 (new, any) of pixels uint8 (old, any)."""
    indices, values, shape = coefficients
    sums = tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=indices, a_values=values, a_shape=shape, b=tf.cast(pixels, tf.int32)
    )
    levels = tf.bitwise.right_shift(sums + 2 ** (_BITS - 1), _BITS)
    return tf.cast(tf.clip_by_value(levels, 0, 255), tf.uint8)


def _coefficients(length, wanted, interpolation):
    """What each of the new pixels takes of the old ones, along one axis.

    Args:
        length: of the old axis, int32 ().
        wanted: int32 (3,), see `_resample`.
        interpolation: see `resize`.

    Returns:
        Where the old pixels that are needed begin and end, int32 (), and an int32 matrix (new
        pixels, old pixels needed), sparse, in parts: indices, values, shape.
    """
    new, first, count = tf.unstack(wanted)
    # In Pillow's double precision and order of operations (libImaging/Resample.c).
    scale = tf.cast(length, tf.float64) / tf.cast(new, tf.float64)
    stretch = tf.maximum(scale, 1.0)
    reach = {"bilinear": 1.0, "bicubic": 2.0}[interpolation] * stretch
    centres = (tf.cast(first + tf.range(count), tf.float64) + 0.5) * scale
    starts = tf.maximum(tf.cast(centres - reach + 0.5, tf.int32), 0)
    stops = tf.minimum(tf.cast(centres + reach + 0.5, tf.int32), length)
    places = starts[:, None] + tf.range(tf.reduce_max(stops - starts))
    distances = tf.cast(places, tf.float64) - centres[:, None] + 0.5
    weights = _KERNELS[interpolation](tf.abs(distances * (1.0 / stretch)))
    weights = tf.where(places < stops[:, None], weights, 0.0)
    shares = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    # Halves are rounded away from zero: the cast cuts off what follows the point.
    values = tf.cast(shares * 2.0**_BITS + 0.5 * tf.sign(shares), tf.int32)
    begin, end = starts[0], stops[-1]
    rows = tf.broadcast_to(tf.range(count)[:, None], tf.shape(places))
    columns = tf.minimum(places, end - 1) - begin  # beyond its last pixel a row's values are 0
    indices = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)
    shape = tf.stack([count, end - begin])
    parts = tf.cast(indices, tf.int64), tf.reshape(values, [-1]), tf.cast(shape, tf.int64)
    return begin, end, parts


def _bilinear(x):
    return tf.maximum(1.0 - x, 0.0)


def _bicubic(x):
    near = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


_KERNELS = {"bilinear": _bilinear, "bicubic": _bicubic}


# Compiled by XLA, each of the functions below is one pass over the pixels. Mean and map in one take
# twice as long, for XLA then keeps the float32 image that both use; TensorFlow's own operations
# mirror 80 times as slowly.


@tf.function(jit_compile=True)
def mirror(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Mirrors those of the images (batch, height, width, channels) left and right that are to be.

    Args:
        images: any dtype.
        mirrored: bool (batch,), which ones.

    Returns:
        The same shape and dtype.
    """
    return tf.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def random_colour(
    images: tf.Tensor, key: tf.Tensor, *, jitter: float = 0.0, pca: float = 0.1
) -> tf.Tensor:
    """Changes the colours of each image by one matrix and one offset.

    Args:
        images: uint8 (batch, height, width, 3); the shape must be static.
        key: int64 (2,), see `stream.draw_seed`.
        jitter: see `draw_colour`.
        pca: see `draw_colour`.

    Returns:
        uint8, the same shape; rounded and clipped once, at the end.
    """
    return apply_colour(images, *draw_colour(images, key, jitter=jitter, pca=pca))


def draw_colour(
    images: tf.Tensor, key: tf.Tensor, *, jitter: float = 0.0, pca: float = 0.1
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the change of each image's colours, for `apply_colour`.

    Args:
        images: uint8 (batch, height, width, 3), whose mean colours decide about contrast.
        key: int64 (2,), see `stream.draw_seed`.
        jitter: brightness, contrast and saturation are each changed by a factor from
            [1 - jitter, 1 + jitter] (fb.resnet.torch: 0.4, in random order).
        pca: standard deviation of the noise along ImageNet's principal components (AlexNet's
            and the paper's "standard color augmentation": 0.1).

    Returns:
        A matrix (batch, 3, 3) and an offset (batch, 3), see `colour_affine`.
    """
    batch = images.shape[0]
    factor_key, noise_key = tf.unstack(tf.random.experimental.stateless_split(key, 2))
    factors = tf.random.stateless_uniform([batch, 3], factor_key, 1.0 - jitter, 1.0 + jitter)
    noise = tf.random.stateless_normal([batch, 3], noise_key) * pca
    mean = _mean_colour(images) if jitter else tf.zeros([batch, 3])
    return colour_affine(mean, factors, noise)


@tf.function(jit_compile=True)
def _mean_colour(images):
    batch, height, width, _ = images.shape
    rows = tf.cast(tf.reshape(images, [batch, height, width * 3]), tf.float32)
    sums = tf.reshape(tf.reduce_sum(rows, axis=1), [batch, width, 3])  # rows are summed in vectors
    return tf.reduce_sum(sums, axis=1) / float(height * width)


@tf.function(jit_compile=True)
def apply_colour(images: tf.Tensor, matrix: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Maps uint8 images (batch, height, width, 3) by `apply_affine`; rounded and clipped."""
    changed = apply_affine(tf.cast(images, tf.float32), matrix, offset)
    # By way of int32, which the processor converts to in vectors.
    return tf.cast(tf.cast(tf.clip_by_value(changed + 0.5, 0.0, 255.0), tf.int32), tf.uint8)


def colour_affine(
    mean: tf.Tensor, factors: tf.Tensor, noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Fuses colour jitter and PCA noise: all are affine in RGB, contrast once the mean is known.

    A change by factor f is f * x + (1 - f) * other, where other is black (brightness), the image's
    mean grey (contrast) or the pixel's own grey (saturation). Before clipping, the three commute:
    saturation leaves every grey as it is, and brightness scales all alike.

    Args:
        mean: float32 (batch, 3), each image's mean colour.
        factors: float32 (batch, 3) of brightness, contrast and saturation.
        noise: float32 (batch, 3), along the eigenvectors, in units of the eigenvalues.

    Returns:
        A matrix (batch, 3, 3) and an offset (batch, 3), of pixels in units of 0 to 255.
    """
    grey = tf.constant(GREY)
    brightness, contrast, saturation = tf.unstack(factors, axis=1)
    kept = saturation[:, None, None] * tf.eye(3) + (1.0 - saturation)[:, None, None] * grey
    matrix = (brightness * contrast)[:, None, None] * kept
    mean_grey = tf.reduce_sum(mean * grey, axis=1)
    towards_grey = (brightness * (1.0 - contrast) * mean_grey)[:, None]
    components = 255.0 * np.array(PCA_EIGENVECTORS) * np.array(PCA_EIGENVALUES)
    return matrix, towards_grey + tf.linalg.matvec(tf.constant(components, tf.float32), noise)


def apply_affine(pixels: tf.Tensor, matrix: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Maps float32 (batch, height, width, 3) by a matrix and an offset per image; not clipped.

    It is 4 times as fast as a matrix product, which a depth of 3 suits badly.
    """
    columns = [matrix[:, None, None, :, channel] for channel in range(3)]
    products = [pixels[..., c : c + 1] * column for c, column in enumerate(columns)]
    return sum(products, offset[:, None, None, :])


def _uniform(count, key, limit):
    return tf.random.stateless_uniform([count], key, 0, limit, tf.int32)
