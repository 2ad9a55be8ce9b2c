"""The training view of Sec. 3.4, a modern one, and the views of the test protocols.

They serve any `Source` of encoded images: ImageNet, another data set of TFDS, or class folders.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from resnet_keras.errors import MARKS, InputError, unknown

from . import augment, decode, modern, stream
from .source import Source
from .view import View, check_shown

_REMEDY = "; `python -m resnet_keras.pipelines check` finds all such images"
_RUN = 128  # images among which those of one size are sought
_WORTH_A_GRAPH = 10  # images that are shown in less time with a graph, its making included
CROPS = ("centre", "ten")


def training(
    source: Source,
    chunks: stream.Chunks,
    *,
    seed: int,
    view: View | None = None,
    max_corrupt: int = 100,
) -> tf.data.Dataset:
    """An endless stream of augmented batches.

    An image that cannot be decoded is replaced by the next one of its chunk that can; its name
    goes to stderr when it is met first. (Of a truncated JPEG, a crop above the cut is whole.)

    Args:
        source: of encoded images.
        chunks: batch size, start and share.
        seed: of the order and of every draw.
        view: what is done to an image.
        max_corrupt: with more different broken images than this, the stream fails and names them.
            Each share of a batch, and each service, counts its own.

    Returns:
        A dataset of uint8 images (batch, size, size, 3) and int32 labels (batch,), or float32
        labels (batch, classes) under mixup or cutmix.
    """
    view = view or View()
    view.check()
    chunks.check()
    if max_corrupt < 0:
        raise InputError(f"max_corrupt must not be negative, but is {max_corrupt}.")
    classes, size, places = len(source.class_names), view.image_size, stream.CHUNK
    finish = modern.layers(view, classes)

    result = tf.TensorSpec([size, size, 3], tf.uint8)

    def crop_by(decode_part):
        def crop(key, drawn):
            window = decode_part(
                source.read(key),
                lambda shape: window_of(shape, drawn, view),
                size,
                exif_orientation=source.exif_orientation,
            )
            return _stretch(window, size)

        return crop

    def load(number, keys, labels, names):
        seeds = tf.random.experimental.stateless_split(stream.draw_seed(seed, number), 3)
        drawn, mirrored = draw_windows(seeds[0], places, view)
        labels = _check_labels(labels, names, classes)
        good, images = decode.attempt(crop_by(decode.decode_small_window), (keys, drawn), result)

        def take_all():
            return images, labels, tf.constant([], tf.string)

        def look_closer():
            general = crop_by(decode.decode_window)
            decodable = _try_again(general, (keys, drawn), good, images, result)
            return _replace(*decodable, labels, names)

        chosen, labels, broken = tf.cond(tf.size(good) == places, take_all, look_closer)
        chosen = tf.ensure_shape(chosen, [places, size, size, 3])
        labels = tf.ensure_shape(labels, [places])
        colour = augment.draw_colour(
            chosen, seeds[1], jitter=view.colour_jitter, pca=view.pca_noise
        )
        finished, labels = finish(_mirror_and_colour(chosen, mirrored, *colour), labels, seeds[2])
        return finished, labels, broken

    decoded = source.training(seed, chunks).map(
        load, num_parallel_calls=os.cpu_count(), deterministic=True
    )
    counted = decoded.scan(tf.constant([], tf.string), count_broken(max_corrupt))
    # Not `rebatch`: tf.distribute looks for the last `batch`, which would be one of chunks, and
    # shares out what it finds.
    return counted.unbatch().skip(chunks.before_start).batch(chunks.batch_size, drop_remainder=True)


def evaluation(
    source: Source,
    batch_size: int,
    *,
    image_size: int = 224,
    resize: int = 256,
    interpolation: str = "bilinear",
    crops: str = "centre",
    crop_mode: str = "centre",
    antialias: bool = True,
) -> tf.data.Dataset:
    """Every image once, in order, as the single-crop and 10-crop tests see it.

    Args:
        source: of encoded images; one that cannot be decoded is an error that names it.
        batch_size: images in a batch; the last batch holds what is left.
        image_size: side of the crops.
        resize: length of the shorter side before, or of both sides where they are stretched.
        interpolation: "bilinear" or "bicubic", antialiased; the pixels are Pillow's.
        crops: "centre", or "ten" for corners, centre and their mirror images (Krizhevsky et al.).
        crop_mode: "stretch" resizes to a square, whatever the proportions; for `crops` "centre".
        antialias: False for the `tf.image.resize` of Keras's loader, rounded to uint8.

    Returns:
        A dataset of uint8 images (batch, size, size, 3), or (batch, 10, size, size, 3) with
        "ten", and int32 labels (batch,).
    """
    if crops not in CROPS:
        raise unknown("crops", crops, CROPS)
    shown = _checked(image_size, resize, interpolation, crop_mode, antialias)
    if crops == "ten" and crop_mode == "stretch":
        raise InputError("Ten crops are of images in their proportions, not of stretched ones.")

    def view(image):
        if crops == "centre":
            return centre_view(image, **shown)
        whole = resize_shorter_side(image, resize, interpolation, antialias=antialias)
        return ten_crops(whole, image_size)

    shape = [image_size, image_size, 3] if crops == "centre" else [10, image_size, image_size, 3]
    examples = _ordered(source, view, tf.TensorSpec(shape, tf.uint8))
    return examples.map(lambda _, image, label: (image, label)).batch(batch_size)


def images(
    paths: Sequence[str],
    *,
    image_size: int,
    resize: int,
    interpolation: str = "bilinear",
    crop_mode: str = "centre",
    antialias: bool = True,
    exif_orientation: bool = True,
) -> tf.data.Dataset:
    """Image files, in order, as the single-crop test sees them.

    Args:
        paths: of files.
        image_size: side of the crops.
        resize: as for `evaluation`.
        interpolation: as for `evaluation`.
        crop_mode: as for `evaluation`.
        antialias: as for `evaluation`.
        exif_orientation: as for `decode.decode`.

    Returns:
        A dataset of uint8 images (size, size, 3), black where a file cannot be decoded, and whether
        it could, bool ().
    """
    shown = _checked(image_size, resize, interpolation, crop_mode, antialias)
    names = tf.constant([os.fsencode(path) for path in paths])
    result = tf.TensorSpec([image_size, image_size, 3], tf.uint8)

    def view(path):
        image = decode.decode(tf.io.read_file(path), exif_orientation=exif_orientation)
        return centre_view(image, **shown)

    def load(path):
        good, views = decode.attempt(view, (path[None],), result)
        black = tf.zeros([1, *result.shape], tf.uint8)
        return tf.concat([views, black], axis=0)[0], tf.size(good) > 0

    files = tf.data.Dataset.from_tensor_slices(names)
    return files.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)


def views(
    arrays: Sequence[np.ndarray],
    *,
    image_size: int,
    resize: int,
    interpolation: str = "bilinear",
    crop_mode: str = "centre",
    antialias: bool = True,
) -> Iterator[np.ndarray]:
    """Decoded images, one by one, as the single-crop test sees them: as `images` those of files.

    Args:
        arrays: uint8 (height, width, channels) of any sizes.
        image_size: side of the crops.
        resize: as for `evaluation`.
        interpolation: as for `evaluation`.
        crop_mode: as for `evaluation`.
        antialias: as for `evaluation`.

    Yields:
        uint8 (image_size, image_size, channels).

    Raises:
        InputError: there is no such view, or an image is nearly a line.
    """
    shown = _checked(image_size, resize, interpolation, crop_mode, antialias)

    def view(image):
        return centre_view(image, **shown)

    if len(arrays) >= _WORTH_A_GRAPH:
        view = tf.function(view, reduce_retracing=True)
    for array in arrays:
        if array.shape[:2] == (image_size, image_size) == (resize, resize):
            yield array
            continue
        try:
            yield view(tf.constant(array)).numpy()
        except tf.errors.InvalidArgumentError as error:
            shape = " x ".join(map(str, array.shape[:2]))
            raise InputError(
                f"An image of {shape} pixels cannot be resized to {resize}."
            ) from error


def whole_images(
    source: Source,
    side: int,
    pixels_per_batch: int,
    *,
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> tf.data.Dataset:
    """Every image once, whole, its shorter side resized: for fully convolutional tests.

    Args:
        source: as for `evaluation`.
        side: length of the shorter side.
        pixels_per_batch: images of one size are batched up to so many pixels.
        interpolation: as for `evaluation`.
        antialias: as for `evaluation`.

    Returns:
        A dataset of (numbers int64 (batch,), uint8 images (batch, height, width, 3), int32 labels
        (batch,)); the numbers say which examples of the source these are.
    """

    def view(image):
        return resize_shorter_side(image, side, interpolation, antialias=antialias)

    examples = _ordered(source, view, tf.TensorSpec([None, None, 3], tf.uint8))

    def size_of(number, image, label):
        shape = tf.shape(image, out_type=tf.int64)
        return shape[0] * 2**20 + shape[1]

    def images_at_once(size):
        pixels = (size // 2**20) * (size % 2**20)
        return tf.clip_by_value(pixels_per_batch // pixels, 1, 64)

    def by_size(*run):
        together = tf.data.Dataset.zip(run)
        return together.group_by_window(
            size_of, lambda _, same: same.batch(64), window_size_func=images_at_once
        )

    # Grouped within runs: ImageNet has hundreds of sizes, whose images would all wait in memory.
    return examples.window(_RUN).flat_map(by_size)


def _checked(image_size, resize, interpolation, crop_mode, antialias):
    """The arguments of `centre_view`, if there is such a view."""
    check_shown(image_size, resize, interpolation, crop_mode)
    return {
        "size": image_size,
        "resize": resize,
        "interpolation": interpolation,
        "crop_mode": crop_mode,
        "antialias": antialias,
    }


def resize_shorter_side(
    image: tf.Tensor, size: int, interpolation: str, *, antialias: bool = True
) -> tf.Tensor:
    """Resizes uint8 (height, width, 3) so that its shorter side is `size`, as torchvision does.

    The longer side becomes size * longer / shorter, rounded down. More than `decode.MAX_PIXELS`, of
    an image that is nearly a line, are an error.
    """
    height, width = tf.unstack(_sides(image, size))
    if not antialias:
        return _resize_plainly(image, height, width, interpolation)
    return augment.resize(image, height, width, interpolation)


def centre_view(
    image: tf.Tensor,
    resize: int,
    size: int,
    interpolation: str,
    crop_mode: str = "centre",
    antialias: bool = True,
) -> tf.Tensor:
    """The middle (size, size, 3) of what `resize_shorter_side` makes, without the rest of it.

    An odd margin is halved to the even number, as Python's round does in torchvision. With
    `crop_mode` "stretch" it is the middle of the image resized to a square.
    """
    sides = tf.constant([resize, resize]) if crop_mode == "stretch" else _sides(image, resize)
    height, width = tf.unstack(sides)
    top, left = tf.unstack(_middle(sides, size))
    if not antialias:
        return _cut(_resize_plainly(image, height, width, interpolation), (top, left), size)
    return augment.resize(image, height, width, interpolation, (top, left, size, size))


def _resize_plainly(image, height, width, interpolation):
    """Without antialiasing, as Keras's loader does it, and rounded to uint8."""
    resized = tf.image.resize(tf.cast(image, tf.float32), [height, width], interpolation)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def _sides(image, size):
    shape = tf.shape(image, tf.int64)[:2]
    sides = shape * size // tf.reduce_min(shape)
    within = tf.reduce_prod(sides) <= decode.MAX_PIXELS
    with tf.control_dependencies([tf.debugging.Assert(within, [shape])]):
        return tf.cast(sides, tf.int32)


def ten_crops(image: tf.Tensor, size: int) -> tf.Tensor:
    """Four corners and the centre, then their mirror images: (10, size, size, 3)."""
    shape = tf.shape(image)[:2]
    bottom, right = tf.unstack(shape - size)
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), tf.unstack(_middle(shape, size))]
    crops = tf.stack([_cut(image, place, size) for place in places])
    return tf.concat([crops, tf.reverse(crops, [2])], axis=0)


def _middle(shape, size):
    return tf.cast(tf.round(tf.cast(shape - size, tf.float32) / 2.0), tf.int32)


def _cut(image, corner, size):
    return image[corner[0] : corner[0] + size, corner[1] : corner[1] + size]


_TRIES = 10  # at a crop of the drawn area and ratio that lies within the image


def draw_windows(key: tf.Tensor, count: int, view: View) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws what decides about a crop before the image's size is known.

    Args:
        key: int64 (2,), see `stream.draw_seed`.
        count: of images.
        view: what is done to them.

    Returns:
        float32 (count, n) for `window_of`, and whether each is mirrored, bool (count,).
    """
    draws = tf.random.stateless_uniform([count, 4 + 2 * _TRIES], key)
    mirrored = draws[:, 3] < (0.5 if view.flip else 0.0)
    if view.min_area:
        return tf.concat([draws[:, 1:3], draws[:, 4:]], axis=1), mirrored
    low, high = view.shorter_sides
    scale = low + tf.floor(draws[:, :1] * (high - low + 1))
    return tf.concat([draws[:, 1:3], view.image_size / scale], axis=1), mirrored


def window_of(shape: tf.Tensor, drawn: tf.Tensor, view: View) -> tf.Tensor:
    """Where the crop lies in the image before it is rescaled.

    Args:
        shape: int32 (height, width) of the image.
        drawn: float32 (n,), a row of `draw_windows`.
        view: as there.

    Returns:
        int32 (top, left, height, width).
    """
    shape = tf.cast(shape, tf.float32)
    if view.min_area:
        sides = _area_window(shape, drawn[2:], view.min_area)
    else:  # every operation here costs about as much as a row of pixels
        side = tf.maximum(tf.round(drawn[2] * tf.reduce_min(shape)), 1.0)
        sides = tf.stack([side, side])
    corner = tf.floor(drawn[:2] * (shape - sides + 1.0))
    return tf.cast(tf.concat([corner, sides], axis=0), tf.int32)


def _area_window(shape, draws, min_area):
    """Sides of the first of ten drawn windows that fit, or of the largest square."""
    area = tf.reduce_prod(shape) * (min_area + draws[:_TRIES] * (1.0 - min_area))
    ratio = tf.exp((2.0 * draws[_TRIES:] - 1.0) * tf.math.log(4.0 / 3.0))
    sides = tf.round(tf.stack([tf.sqrt(area / ratio), tf.sqrt(area * ratio)], axis=1))
    sides = tf.maximum(tf.concat([sides, tf.fill([1, 2], tf.reduce_min(shape))], axis=0), 1.0)
    fits = tf.reduce_all(sides <= shape, axis=1)
    return sides[tf.argmax(fits)]


@tf.function(jit_compile=True)
def _mirror_and_colour(images, mirrored, matrix, offset):
    """Both at once, for compiled into the pass over the colours mirroring costs nothing."""
    return augment.apply_colour(augment.mirror(images, mirrored), matrix, offset)


def _stretch(window, size):
    """Bilinear and without antialiasing, as training was done in Caffe and Torch."""
    # As float32: the kernel for uint8 takes twice as long.
    pixels = tf.cast(window, tf.float32)[None]
    resized = tf.raw_ops.ResizeBilinear(images=pixels, size=[size, size], half_pixel_centers=True)
    return tf.cast(resized[0] + 0.5, tf.uint8)


def _try_again(function, columns, good, images, result):
    """`decode.attempt` on the rows that are not among `good`; all that are good now, in order."""
    tried = tf.scatter_nd(good[:, None], tf.ones_like(good), [stream.CHUNK]) > 0
    left = tf.cast(tf.where(~tried)[:, 0], tf.int32)
    again, more = decode.attempt(function, tuple(tf.gather(c, left) for c in columns), result)
    rows = tf.concat([good, tf.gather(left, again)], axis=0)
    order = tf.argsort(rows)
    return tf.gather(rows, order), tf.gather(tf.concat([images, more], axis=0), order)


def _replace(good, images, labels, names):
    """Puts in each broken image's place the next good one; the first follows the chunk's last."""
    places = tf.range(stream.CHUNK)
    count = tf.size(good)
    fail = fail_if(count == 0, ["none of these images can be decoded: ", listed(names)])
    with tf.control_dependencies([fail]):
        following = tf.searchsorted(good, places)
    chosen = tf.math.floormod(following, tf.maximum(count, 1))
    taken = tf.gather(good, chosen)
    broken = tf.boolean_mask(names, taken != places)
    return tf.gather(images, chosen), tf.gather(labels, taken), broken


def count_broken(max_corrupt, instead="others take their places"):
    """For `Dataset.scan`: its state are the names of the broken images so far.

    Elements are (images, labels, names of broken images), of which the last is taken off; `instead`
    says what becomes of them.
    """

    def report(known, broken):
        everything, _ = tf.unique(tf.concat([known, broken], axis=0))
        new = everything[tf.size(known) :]
        count = tf.size(everything)
        warning = tf.cond(
            tf.size(new) > 0,
            lambda: tf.print(
                tf.strings.join(
                    [
                        "warning: cannot decode ",
                        listed(new),
                        f"; {instead} (",
                        tf.strings.as_string(count),
                        f" such images so far, {max_corrupt} allowed)",
                    ]
                ),
                output_stream=sys.stderr,
            ),
            tf.no_op,
        )
        too_many = fail_if(
            count > max_corrupt,
            [
                f"more than {max_corrupt} images cannot be decoded (max_corrupt): ",
                listed(everything),
            ],
        )
        with tf.control_dependencies([warning, too_many]):
            return tf.identity(everything)

    def count(known, chunk):
        images, labels, broken = chunk
        known = tf.cond(tf.size(broken) > 0, lambda: report(known, broken), lambda: known)
        return known, (images, labels)

    return count


def _ordered(source, view, result):
    """(number, view, label) of each example; fails at one that cannot be decoded."""

    def load(number, row):
        key, label, name = row
        label = _check_labels(label[None], name[None], len(source.class_names))[0]
        good, images = decode.attempt(
            lambda key: view(
                decode.decode(source.read(key), exif_orientation=source.exif_orientation)
            ),
            (key[None],),
            result,
        )
        with tf.control_dependencies(
            [fail_if(tf.size(good) == 0, ["cannot decode ", listed(name), _REMEDY])]
        ):
            return number, tf.ensure_shape(images[0], result.shape), label

    return (
        source.ordered()
        .enumerate()
        .map(load, num_parallel_calls=os.cpu_count(), deterministic=True)
    )


def _check_labels(labels, names, classes):
    valid = (labels >= 0) & (labels < classes)
    bad = [listed(tf.boolean_mask(names, ~valid)), f" has a label outside 0 to {classes - 1}"]
    with tf.control_dependencies([fail_if(~tf.reduce_all(valid), bad)]):
        return tf.identity(labels)


def listed(names: tf.Tensor) -> tf.Tensor:
    """Names, string () or (n,), as one text for a message."""
    # TensorFlow's errors must be UTF-8, which file names need not be.
    readable = tf.strings.unicode_transcode(names, "UTF-8", "UTF-8")
    return tf.strings.reduce_join(readable, separator=", ")


def fail_if(wrong: tf.Tensor, parts: list[Any]) -> tf.Operation:
    """Fails with a message that `errors.told` finds."""
    start, end = MARKS
    return tf.cond(
        wrong,
        lambda: tf.debugging.Assert(False, [tf.strings.join([start, *parts, end])]),
        tf.no_op,
    )
