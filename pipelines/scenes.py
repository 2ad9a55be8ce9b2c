"""Streams of whole images with boxes, scaled, mirrored and padded, for detection.

Boxes are xyxy in pixels, half-open; see `objects` for what the streams deliver.
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from resnet_keras.errors import InputError

from . import decode, stream
from .annotations import Annotations
from .buckets import Scale, buckets, check_scales, dealt, resized, window_size
from .encoded import count_broken, fail_if, listed

CHECKS = "; `python -m resnet_keras.pipelines check` finds all such images"
_ANNOTATIONS = "its annotations say"
# Nothing here needs AutoGraph, which takes as long as all the rest of making a stream.
_AS_IT_IS = tf.autograph.experimental.do_not_convert


class Scenes(NamedTuple):
    """Images with their objects, wherever they are stored.

    Rows are dicts of key string (), name string (), number int64 (), image_id int64 (), size int32
    (2,), and of the image's objects, filled up with zeros to `most_objects`: boxes float64 (N, 4),
    labels int32 (N,) with -1 where there is none, crowd bool (N,), difficult bool (N,) and area
    float64 (N,).

    Attributes:
        num_examples: how many images there are.
        class_names: in the order of the labels.
        category_ids: what the labels are called in the data set's own files.
        most_objects: in one image; 1 or more.
        scale: at which images are delivered, where no other is asked for.
        training: (seed, first, size) to an endless data set of (window's number, rows of `size`
            images), from the first-th window on, in an order that depends on the seed only.
        ordered: () to a data set of rows, each image once.
        pixels: (key, size, shorter side wanted) to uint8 (height, width, 3), whole or shrunk by 2,
            4 or 8 to no less than is wanted.
    """

    num_examples: int
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    most_objects: int
    scale: Scale
    training: Callable[[int, int, int], tf.data.Dataset]
    ordered: Callable[[], tf.data.Dataset]
    pixels: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Share(NamedTuple):
    """Which part of a stream of batches is delivered; see `batches.training`."""

    global_batch_size: int
    start_step: int = 0
    parts: int = 1
    shard: int = 0
    shards: int = 1

    def check(self) -> None:
        """Raises `InputError` where batches cannot be divided so."""
        if self.global_batch_size < 1:
            raise InputError(f"The batch size must be positive, not {self.global_batch_size}.")
        if self.start_step < 0:
            raise InputError(f"start_step must not be negative, but is {self.start_step}.")
        if self.parts < 1 or self.global_batch_size % self.parts:
            raise InputError(
                f"A batch of {self.global_batch_size} has no {self.parts} equal parts."
            )
        if not 0 <= self.shard < self.shards:
            raise InputError(f"There is no shard {self.shard} of {self.shards}.")
        if self.delivered % self.shards:
            raise InputError(
                f"A batch of {self.delivered} cannot be shared out: make it a multiple of "
                f"{self.shards}."
            )

    @property
    def delivered(self) -> int:
        """Images in each delivered batch, over all shards."""
        return self.global_batch_size // self.parts

    @property
    def batch_size(self) -> int:
        """Images in each delivered batch of this shard."""
        return self.delivered // self.shards


def in_memory(
    annotations: Annotations,
    pixels: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    scale: Scale,
) -> Scenes:
    """Scenes whose boxes are in memory; any step is reached at no cost."""
    names = tf.constant([os.fsencode(path) for path in annotations.paths])  # need not be UTF-8
    counts = annotations.row_splits[1:] - annotations.row_splits[:-1]
    most = max(1, int(counts.max()))
    sizes, ids = tf.constant(annotations.sizes), tf.constant(annotations.image_ids)

    def ragged(column):
        return tf.RaggedTensor.from_row_splits(column, annotations.row_splits)

    columns = {
        "boxes": (ragged(annotations.boxes), 0.0, [most, 4]),
        "labels": (ragged(annotations.labels), -1, [most]),
        "crowd": (ragged(annotations.crowd), False, [most]),
        "difficult": (ragged(annotations.difficult), False, [most]),
        "area": (ragged(annotations.areas), 0.0, [most]),
    }

    @_AS_IT_IS
    def rows(numbers):
        objects = {
            name: tf.gather(column, numbers).to_tensor(default, shape=[None, *shape])
            for name, (column, default, shape) in columns.items()
        }
        chosen = tf.gather(names, numbers)
        return {
            "key": chosen,
            "name": chosen,
            "number": numbers,
            "image_id": tf.gather(ids, numbers),
            "size": tf.gather(sizes, numbers),
            **objects,
        }

    examples = len(annotations.paths)

    def training(seed, first, size):
        @_AS_IT_IS
        def window(number):
            positions = number * size + tf.range(size, dtype=tf.int64)
            return number, rows(stream.shuffled(positions, examples, seed))

        return tf.data.Dataset.range(first, stream.LAST).map(window)

    def ordered():
        together = tf.data.Dataset.range(examples).batch(1024).map(rows)
        return together.unbatch()

    return Scenes(
        examples,
        annotations.class_names,
        annotations.category_ids,
        most,
        scale,
        training,
        ordered,
        pixels,
    )


def encoded(
    read: Callable[[tf.Tensor], tf.Tensor], exif_orientation: bool
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """The `pixels` of encoded images, which `read` finds by their keys."""

    def pixels(key, size, wanted):
        del size  # which is what the annotations say

        def whole(shape):
            return tf.concat([[0, 0], shape], axis=0)

        return decode.decode_window(read(key), whole, wanted, exif_orientation=exif_orientation)

    return pixels


def training(
    source: Scenes,
    share: Share,
    *,
    seed: int,
    scales: Sequence[Scale] | None = None,
    flip: bool = True,
    max_corrupt: int = 100,
) -> tf.data.Dataset:
    """An endless stream of batches; batch k depends on (seed, k) only.

    An image that cannot be decoded becomes a black one that is wholly a crowd region, so that
    nothing is learnt from it; its name goes to stderr when it is met first.

    Args:
        source: of images with boxes.
        share: batch size, start and part.
        seed: of the order and of every draw.
        scales: of (shorter side, most of the longer), one of which is drawn for each image.
        flip: whether images are mirrored, in half the cases.
        max_corrupt: with more different broken images than this, the stream fails and names them.

    Returns:
        A dataset of ({"image", "size"}, {"boxes", "labels", "crowd", "key"}), see
        `objects.training`.
    """
    share.check()
    scales = tuple(scales or (source.scale,))
    check_scales(scales)
    if max_corrupt < 0:
        raise InputError(f"max_corrupt must not be negative, but is {max_corrupt}.")
    sides = buckets(scales)
    batch = share.global_batch_size
    window = window_size(batch, source.num_examples)
    first, before = divmod(share.start_step * batch, window)

    @_AS_IT_IS
    def deal(number, rows):
        keys = tf.random.experimental.stateless_split(stream.draw_seed(seed, number), 4)
        choice = tf.random.stateless_uniform([window], keys[0], 0, len(scales), tf.int32)
        wanted = resized(rows["size"], tf.gather(tf.constant(scales), choice))
        order, bucket = dealt(wanted, batch, sides, keys[1])
        mirrored = tf.random.stateless_uniform([window], keys[2]) < (0.5 if flip else 0.0)
        drawn = tf.random.stateless_uniform([window, 2], keys[3], None, None, tf.int32)
        rows = {**rows, "wanted": wanted, "mirrored": mirrored, "draws": drawn}
        rows = {name: tf.gather(column, order) for name, column in rows.items()}
        own = tf.range(window) % share.delivered // share.batch_size == share.shard
        rows["bucket"] = bucket
        return {name: tf.boolean_mask(column, own) for name, column in rows.items()}

    @_AS_IT_IS
    def load(row):
        image, is_broken = decoded(source.pixels, row, [_ANNOTATIONS])
        nothing = tf.constant([], tf.string)
        broken = tf.cond(is_broken, lambda: row["name"][None], lambda: nothing)
        features, targets = _placed(image, row, sides)
        targets = {**targets, "key": row["draws"]}
        return features, _ignored(targets, features["size"], is_broken), broken

    windows = source.training(seed, first, window)
    rows = windows.map(deal).flat_map(tf.data.Dataset.from_tensor_slices)
    rows = rows.skip(before // share.shards)
    loaded = rows.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)
    counted = loaded.scan(
        tf.constant([], tf.string), count_broken(max_corrupt, "nothing is learnt of them")
    )
    return counted.batch(share.batch_size, drop_remainder=True)


def evaluation(source: Scenes, batch_size: int, *, scale: Scale | None = None) -> tf.data.Dataset:
    """Every image once, in windows that are sorted by shape; the last batch holds what is left.

    Args:
        source: of images with boxes; one that cannot be decoded is an error that names it.
        batch_size: images in a batch.
        scale: (shorter side, most of the longer).

    Returns:
        A dataset of ({"image", "size"}, targets), see `objects.evaluation`.
    """
    Share(batch_size).check()
    scales = (scale or source.scale,)
    check_scales(scales)
    sides = buckets(scales)

    @_AS_IT_IS
    def deal(rows):
        count = tf.shape(rows["size"])[0]
        wanted = resized(rows["size"], tf.tile(tf.constant(scales), [count, 1]))
        order, bucket = dealt(wanted, batch_size, sides)
        rows = {**rows, "wanted": wanted, "mirrored": tf.zeros([count], tf.bool)}
        rows = {name: tf.gather(column, order) for name, column in rows.items()}
        return {**rows, "bucket": bucket}

    @_AS_IT_IS
    def load(row):
        image, is_broken = decoded(source.pixels, row, [_ANNOTATIONS])
        with tf.control_dependencies(
            [fail_if(is_broken, ["cannot decode ", listed(row["name"]), CHECKS])]
        ):
            image = tf.identity(image)
        features, targets = _placed(image, row, sides)
        times = tf.cast(row["wanted"] / row["size"], tf.float32)
        number = tf.cast(row["number"], tf.int32)
        return features, {
            **targets,
            "key": tf.stack([0, number]),
            "image_id": row["image_id"],
            "scale": times[::-1],
            "original_boxes": row["boxes"],
            "difficult": row["difficult"],
            "area": row["area"],
        }

    windows = source.ordered().batch(window_size(batch_size, source.num_examples))
    rows = windows.map(deal).flat_map(tf.data.Dataset.from_tensor_slices)
    loaded = rows.map(load, num_parallel_calls=os.cpu_count(), deterministic=True)
    return loaded.batch(batch_size).apply(
        tf.data.experimental.assert_cardinality(-(-source.num_examples // batch_size))
    )


def weighted(
    batches: tf.data.Dataset, batch_size: int, shard: int = 0, shards: int = 1
) -> tf.data.Dataset:
    """Makes all batches one size, and adds weights float32 (batch_size,).

    The last batch is filled up with copies of its last image that weigh 0. With `shards`, only
    the shard-th of so many equal parts of each batch is delivered.
    """
    if not 0 <= shard < shards or batch_size % shards:
        raise InputError(
            f"There is no part {shard} of {shards} equal ones of a batch of {batch_size}."
        )
    own = tf.range(batch_size)[batch_size // shards * shard : batch_size // shards * (shard + 1)]

    def fill(features, targets):
        images = tf.shape(targets["labels"])[0]
        chosen = tf.minimum(own, images - 1)
        filled = tf.nest.map_structure(
            lambda column: tf.gather(column, chosen), (features, targets)
        )
        return *filled, tf.cast(own < images, tf.float32)

    count = batches.cardinality()
    return batches.map(fill).apply(tf.data.experimental.assert_cardinality(count))


def decoded(pixels: Callable[..., tf.Tensor], row: dict[str, tf.Tensor], expected: list) -> tuple:
    """Decodes a row's image.

    Args:
        pixels: as of `Scenes`.
        row: with "key", "name", "size", and "wanted", the size that it will be resized to.
        expected: says what tells its size, in parts of a message.

    Returns:
        uint8 (height, width, 3), black where it cannot be decoded, and whether that is so. It fails
        where the image has another size.
    """
    wanted = tf.reduce_min(row["wanted"])

    def whole():
        return pixels(row["key"], row["size"], wanted), False

    # A nested data set is TensorFlow's only way to catch an error inside a graph.
    nothing = tf.data.Dataset.from_tensors(0)
    image = nothing.map(lambda _: whole()).ignore_errors()
    black = nothing.map(lambda _: (tf.zeros(tf.concat([row["size"], [3]], 0), tf.uint8), True))
    image, is_broken = image.concatenate(black).take(1).get_single_element()
    shape = tf.shape(image)[:2]
    times = tf.reduce_min(row["size"]) // wanted
    ratio = 2 ** tf.reduce_sum(tf.cast(times >= decode.RATIOS[1:], tf.int32))
    fits = tf.reduce_all(shape == row["size"]) | tf.reduce_all(shape == row["size"] // ratio)
    sentence = [
        listed(row["name"]),
        " is not ",
        tf.strings.as_string(row["size"][1]),
        " pixels wide and ",
        tf.strings.as_string(row["size"][0]),
        " high, as ",
        *expected,
        " (of a photograph that EXIF turns, that may be the upright image's size: then give "
        "exif_orientation=True)",
    ]
    with tf.control_dependencies([fail_if(~fits, sentence)]):
        return tf.identity(image), is_broken


def _placed(image, row, sides):
    """The image and its boxes, mirrored, resized and padded."""
    height, width = tf.unstack(row["wanted"])
    times = row["wanted"] / row["size"]
    boxes = row["boxes"] * tf.tile(times[::-1], [2])
    x1, y1, x2, y2 = tf.unstack(boxes, axis=1)
    mirrored = tf.stack(
        [tf.cast(width, tf.float64) - x2, y1, tf.cast(width, tf.float64) - x1, y2], 1
    )
    boxes = tf.where(row["mirrored"] & (row["labels"] >= 0)[:, None], mirrored, boxes)
    limits = tf.cast(tf.stack([width, height, width, height]), tf.float32)
    boxes = tf.clip_by_value(tf.cast(boxes, tf.float32), 0.0, limits)
    # Mirrored first: as a rule images grow, and a mirrored one resized is the resized one mirrored.
    image = tf.cond(row["mirrored"], lambda: tf.reverse(image, [1]), lambda: image)
    padded = _padded(resize(image, height, width), row["bucket"])
    features = {
        "image": tf.ensure_shape(padded, [*(sides[0] if len(sides) == 1 else (None, None)), 3]),
        "size": row["wanted"],
    }
    return features, {"boxes": boxes, "labels": row["labels"], "crowd": row["crowd"]}


def resize(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Bilinear and without antialiasing, as [32] and torchvision's detectors have it.

    Args:
        image: uint8 (h, w, 3), of `pixels`: of no more than twice the size where it was shrunk.
        height: in pixels.
        width: in pixels.

    Returns:
        uint8 (height, width, 3).
    """

    def stretched():
        # As float32: the kernel for uint8 takes longer. The half for rounding is added before the
        # image grows.
        pixels = tf.cast(image, tf.float32)[None] + 0.5
        size = tf.stack([height, width])
        larger = tf.raw_ops.ResizeBilinear(images=pixels, size=size, half_pixel_centers=True)
        return tf.cast(larger[0], tf.uint8)

    shape = tf.shape(image)
    same = (shape[0] == height) & (shape[1] == width)
    return tf.cond(same, lambda: image, stretched)


def _padded(image, bucket):
    """With zeros at the bottom and at the right; as a matrix, which pads five times as fast."""
    height, width = tf.unstack(tf.shape(image)[:2])
    flat = tf.reshape(image, [height, 3 * width])
    padded = tf.pad(flat, [[0, bucket[0] - height], [0, 3 * (bucket[1] - width)]])
    return tf.reshape(padded, [bucket[0], bucket[1], 3])


def _ignored(targets, size, is_broken):
    """Of a broken image: one crowd region that covers all of it."""
    height, width = tf.unstack(tf.cast(size, tf.float32))
    first = tf.range(tf.shape(targets["labels"])[0]) == 0
    whole = tf.where(first[:, None], tf.stack([0.0, 0.0, width, height]), 0.0)
    return {
        **targets,
        "boxes": tf.where(is_broken, whole, targets["boxes"]),
        "labels": tf.where(is_broken, tf.where(first, 0, -1), targets["labels"]),
        "crowd": tf.where(is_broken, first, targets["crowd"]),
    }
