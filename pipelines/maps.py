"""Streams of whole images with a label for each pixel, moved together, for segmentation.

See `masks` for what the streams deliver.
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from resnet_keras.errors import InputError

from . import scenes, stream
from .buckets import Scale, check_scales, resized
from .encoded import count_broken, fail_if, listed
from .png import IGNORED

FILL = 127  # grey levels of what lies beside an image: about the mean of photographs
# Nothing here needs AutoGraph, which takes as long as all the rest of making a stream.
_AS_IT_IS = tf.autograph.experimental.do_not_convert

Row = dict[str, tf.Tensor]


class LabelMaps(NamedTuple):
    """Images with masks, wherever they are stored.

    Rows are dicts of image and mask, string () keys, name and mask_name, string (), for messages,
    and number int64 ().

    Attributes:
        num_examples: how many images there are.
        class_names: in the order of the labels.
        crop_size: height and width of training crops, where no others are asked for.
        training: (seed, first) to an endless data set of (position, row), from the first-th
            position on, in an order that depends on the seed only.
        ordered: () to a data set of rows, each image once.
        pixels: (key, size, shorter side wanted) to uint8 (height, width, 3), whole or shrunk by 2,
            4 or 8 to no less than is wanted.
        mask: maps a row to its labels, uint8 (height, width).
    """

    num_examples: int
    class_names: tuple[str, ...]
    crop_size: tuple[int, int]
    training: Callable[[int, int], tf.data.Dataset]
    ordered: Callable[[], tf.data.Dataset]
    pixels: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    mask: Callable[[Row], tf.Tensor]


def in_memory(
    names: Sequence[str],
    mask_names: Sequence[str],
    class_names: Sequence[str],
    crop_size: tuple[int, int],
    pixels: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    mask: Callable[[Row], tf.Tensor],
) -> LabelMaps:
    """Label maps whose names are in memory, and are their keys; any step is reached at no cost."""
    images = tf.constant([os.fsencode(name) for name in names])  # need not be UTF-8
    masks = tf.constant([os.fsencode(name) for name in mask_names])

    @_AS_IT_IS
    def row(number):
        image, mask_name = images[number], masks[number]
        keys = {"image": image, "mask": mask_name}
        return {**keys, "name": image, "mask_name": mask_name, "number": number}

    def training(seed, first):
        @_AS_IT_IS
        def at(position):
            return position, row(stream.shuffled(position[None], len(names), seed)[0])

        return tf.data.Dataset.range(first, stream.LAST).map(at)

    def ordered():
        return tf.data.Dataset.range(len(names)).map(row)

    return LabelMaps(len(names), tuple(class_names), crop_size, training, ordered, pixels, mask)


def training(
    source: LabelMaps,
    share: scenes.Share,
    *,
    seed: int,
    crop_size: tuple[int, int] | None = None,
    scales: tuple[float, float] = (0.5, 2.0),
    scale: Scale | None = None,
    flip: bool = True,
    max_corrupt: int = 100,
) -> tf.data.Dataset:
    """An endless stream of batches; batch k depends on (seed, k) only.

    Of an image that cannot be decoded all pixels are ignored; its name goes to stderr when it is
    met first. A mask that cannot be decoded is an error.

    Args:
        source: of images with masks.
        share: batch size, start and part.
        seed: of the order and of every draw.
        crop_size: height and width of what is delivered; the source's own without.
        scales: range of the factor that is drawn for each image.
        scale: (shorter side, most of the longer) that an image has before; its own without.
        flip: whether images are mirrored, in half the cases.
        max_corrupt: with more different broken images than this, the stream fails and names them.

    Returns:
        A dataset of (images, masks), see `masks.training`.
    """
    share.check()
    crop = crop_size or source.crop_size
    check_crop(crop, scales)
    if scale is not None:
        check_scales([scale])
    if max_corrupt < 0:
        raise InputError(f"max_corrupt must not be negative, but is {max_corrupt}.")

    @_AS_IT_IS
    def is_own(position, row):
        del row
        return position % share.delivered // share.batch_size == share.shard

    @_AS_IT_IS
    def load(position, row):
        draws = tf.random.stateless_uniform([4], stream.draw_seed(seed, position))
        mask = _checked_mask(source, row)
        size = tf.shape(mask)
        factor = tf.cast(scales[0] + (scales[1] - scales[0]) * draws[0], tf.float64)
        shown = tf.cast(tf.round(tf.cast(_base(size, scale), tf.float64) * factor), tf.int32)
        shown = tf.maximum(shown, 1)
        spare = tf.maximum(shown - crop, 0)
        corner = tf.cast(tf.cast(spare + 1, tf.float32) * draws[1:3], tf.int32)
        corner = tf.minimum(corner, spare)
        image, is_broken = _image(source, row, size, shown)
        image, mask = window(image, mask, shown, corner, crop)
        mask = tf.where(is_broken, tf.cast(IGNORED, tf.uint8), mask)
        mirrored = flip & (draws[3] < 0.5)
        image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
        mask = tf.cond(mirrored, lambda: tf.reverse(mask, [1]), lambda: mask)
        nothing = tf.constant([], tf.string)
        broken = tf.cond(is_broken, lambda: row["name"][None], lambda: nothing)
        return tf.ensure_shape(image, [*crop, 3]), tf.ensure_shape(mask, crop), broken

    rows = source.training(seed, share.start_step * share.global_batch_size)
    if share.shards > 1:
        rows = rows.filter(is_own)
    loaded = rows.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)
    counted = loaded.scan(
        tf.constant([], tf.string), count_broken(max_corrupt, "nothing is learnt of them")
    )
    return counted.batch(share.batch_size, drop_remainder=True)


def evaluation(
    source: LabelMaps, batch_size: int, *, scale: Scale | None = None
) -> tf.data.Dataset:
    """Every image once, in order, whole; the last batch holds what is left.

    Images of one batch are filled up at the bottom and at the right to its largest height and
    width, with `FILL`, and their masks with 255.

    Args:
        source: of images with masks; one that cannot be decoded is an error that names it.
        batch_size: images in a batch.
        scale: (shorter side, most of the longer) of images and masks; their own without.

    Returns:
        A dataset of (images, masks), see `masks.evaluation`.
    """
    scenes.Share(batch_size).check()
    if scale is not None:
        check_scales([scale])

    @_AS_IT_IS
    def load(row):
        mask = _checked_mask(source, row)
        size = tf.shape(mask)
        shown = _base(size, scale)
        image, is_broken = _image(source, row, size, shown)
        with tf.control_dependencies(
            [fail_if(is_broken, ["cannot decode ", listed(row["name"]), scenes.CHECKS])]
        ):
            image = scenes.resize(tf.identity(image), shown[0], shown[1])
        return image, _nearest(mask, shown, tf.zeros([2], tf.int32), shown)

    loaded = source.ordered().map(load, num_parallel_calls=os.cpu_count(), deterministic=True)
    fill = (tf.constant(FILL, tf.uint8), tf.constant(IGNORED, tf.uint8))
    batches = loaded.padded_batch(batch_size, ([None, None, 3], [None, None]), fill)
    count = -(-source.num_examples // batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def filled(
    batches: tf.data.Dataset, batch_size: int, shard: int = 0, shards: int = 1
) -> tf.data.Dataset:
    """Makes all batches one size: copies fill up the last one, of which all pixels are ignored.

    With `shards`, only the shard-th of so many equal parts of each batch is delivered.
    """
    if not 0 <= shard < shards or batch_size % shards:
        raise InputError(
            f"There is no part {shard} of {shards} equal ones of a batch of {batch_size}."
        )
    own = tf.range(batch_size)[batch_size // shards * shard : batch_size // shards * (shard + 1)]

    @_AS_IT_IS
    def fill(images, masks):
        count = tf.shape(images)[0]
        chosen = tf.minimum(own, count - 1)
        real = tf.reshape(own < count, [-1, 1, 1])
        masks = tf.where(real, tf.gather(masks, chosen), tf.cast(IGNORED, tf.uint8))
        return tf.gather(images, chosen), masks

    count = batches.cardinality()
    return batches.map(fill).apply(tf.data.experimental.assert_cardinality(count))


def check_crop(crop_size: Sequence[int], scales: Sequence[float]) -> None:
    """Raises `InputError` where crops or the range of factors are none."""
    if len(crop_size) != 2 or min(crop_size) < 1:
        raise InputError(f"A crop is (height, width) in pixels, not crop_size={crop_size!r}.")
    if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
        raise InputError(f"`scales` is a range of factors such as (0.5, 2.0), not {scales!r}.")


def _base(size, scale):
    """The size of an image before its factor, int32 (2,)."""
    return size if scale is None else resized(size[None], tf.constant([scale]))[0]


def _checked_mask(source, row):
    """The row's mask; fails where it has a label that is no class."""
    mask = source.mask(row)
    classes = len(source.class_names)
    largest = tf.reduce_max(tf.where(mask == IGNORED, tf.cast(0, tf.uint8), mask))
    sentence = [
        listed(row["mask_name"]),
        " has the label ",
        tf.strings.as_string(largest),
        f", and there are {classes} classes: labels are 0 to {classes - 1}, and {IGNORED} where "
        "pixels are ignored",
    ]
    with tf.control_dependencies([fail_if(tf.cast(largest, tf.int32) >= classes, sentence)]):
        return tf.identity(mask)


def _image(source, row, size, shown):
    """The row's image, at least as large as it will be shown, and whether it is broken."""
    asked = {"key": row["image"], "name": row["name"], "size": size, "wanted": shown}
    return scenes.decoded(source.pixels, asked, ["its mask ", listed(row["mask_name"]), " is"])


def check_pair(source: LabelMaps, row: Row) -> tf.Tensor:
    """Fails with a sentence where an image and its mask cannot be used; returns its number."""
    mask = _checked_mask(source, row)
    size = tf.shape(mask)
    _, is_broken = _image(source, row, size, size)
    wrong = fail_if(is_broken, ["cannot decode ", listed(row["name"])])
    with tf.control_dependencies([wrong]):
        return tf.identity(row["number"])


def window(
    image: tf.Tensor, mask: tf.Tensor, shown: tf.Tensor, corner: tf.Tensor, size: Sequence[int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """A window of an image and its mask that are resized, made without the rest of them.

    Args:
        image: uint8 (h, w, 3), resized bilinearly, without antialiasing.
        mask: uint8 (H, W), of which the nearest labels are taken.
        shown: int32 (2,), height and width that both are resized to.
        corner: int32 (2,), where therein the window begins.
        size: height and width of the window; beyond the image it is `FILL` and 255.

    Returns:
        uint8 (*size, 3) and uint8 size.
    """
    pixels = tf.cast(image, tf.float32)[None]
    resampled = tf.raw_ops.ScaleAndTranslate(
        images=pixels,
        size=tf.constant(size, tf.int32),
        scale=tf.cast(shown / tf.shape(image)[:2], tf.float32),
        translation=-tf.cast(corner, tf.float32),
        kernel_type="triangle",
        antialias=False,
    )[0]
    rows, columns = (corner[n] + tf.range(size[n]) < shown[n] for n in (0, 1))
    inside = rows[:, None] & columns[None]
    rounded = tf.cast(tf.clip_by_value(resampled + 0.5, 0.0, 255.0), tf.uint8)
    labels = _nearest(mask, shown, corner, tf.constant(size, tf.int32))
    return (
        tf.where(inside[..., None], rounded, tf.cast(FILL, tf.uint8)),
        tf.where(inside, labels, tf.cast(IGNORED, tf.uint8)),
    )


def _nearest(mask, shown, corner, size):
    """The labels at the middles of a window's pixels; in whole numbers, that nothing rounds."""
    for axis in (0, 1):
        length = tf.cast(tf.shape(mask)[axis], tf.int64)
        place = tf.cast(corner[axis] + tf.range(size[axis]), tf.int64)
        place = (2 * place + 1) * length // (2 * tf.cast(shown[axis], tf.int64))
        mask = tf.gather(mask, tf.minimum(place, length - 1), axis=axis)
    return mask
