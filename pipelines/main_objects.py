"""Images with one main object, for localization: random crops to train on, or whole images.

The class of an image is that of its largest object, and its boxes are those of all objects of that
class. In ILSVRC all boxes of an image are of one class, so that this is the image's. Made of the
streams of `objects`, whose data sets are these, too.
"""

from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError

from . import objects

if TYPE_CHECKING:
    import tensorflow as tf

    from .scenes import Scenes


def training_of(
    source: "Scenes",
    global_batch_size: int,
    *,
    crop: int,
    device: str | None = "auto",
    **options: Any,
) -> "tf.data.Dataset":
    """An endless stream of random crops; batch k depends on (seed, k) only.

    Args:
        source: of `objects.open_split`.
        global_batch_size: images in each batch, over all replicas.
        crop: side of the crops in pixels; a smaller image is padded with zeros.
        device: see `stream.prefetch`.
        **options: others of `objects.training_of`: `seed`, `start_step`, `scales` of which one is
            drawn for each image before it is cropped, `flip`, `max_corrupt`, `parts`, `shard`.

    Returns:
        A dataset of ({"image": uint8 (B, crop, crop, 3), "size": int32 (B, 2)}, {"label": int32
        (B,), "boxes": float32 (B, N, 4), "key": int32 (B, 2)}). The label is the class of the whole
        image's main object, -1 where there is none; the boxes of that class are clipped to the
        crop, and 0 where there is none or less than a pixel is left of it.

    Raises:
        InputError: no positive `crop`, as `check`, or as `objects.training_of`.
    """
    from . import stream

    if crop < 1:
        raise InputError(f"crop must be positive, not {crop}.")
    check(source)
    batches = objects.training_of(source, global_batch_size, device=None, **options)

    def cropped(features, targets):
        return _cropped(features, _main(targets, targets["boxes"]), targets["key"], crop)

    return stream.prefetch(batches.map(cropped, num_parallel_calls=2), device)


def evaluation_of(
    source: "Scenes", batch_size: int, *, device: str | None = "auto", **options: Any
) -> "tf.data.Dataset":
    """Every image of a split once, whole.

    Args:
        source: of `objects.open_split`.
        batch_size: images in a batch.
        device: see `stream.prefetch`.
        **options: others of `objects.evaluation_of`: `scale`, `replicas`, `shard`.

    Returns:
        A dataset as `training_of`'s, of whole images (B, H, W, 3), whose features have the "label",
        too, for the test with the true class; the targets also have "image_id" int64 (B,), "scale"
        float32 (B, 2), by which x and y of boxes are to be divided to be in pixels of the original
        image, and "original_boxes" float64 (B, N, 4) in those. With `replicas`, of (features,
        targets, weights).

    Raises:
        InputError: as `check`.
    """
    from . import stream

    check(source)
    batches = objects.evaluation_of(source, batch_size, device=None, **options)

    def whole(features, targets, *weights):
        own = _main(targets, targets["original_boxes"])
        kept = {name: targets[name] for name in ("key", "image_id", "scale")}
        return {**features, "label": own["label"]}, {**kept, **own}, *weights

    return stream.prefetch(batches.map(whole), device)


def check(source: "Scenes") -> None:
    """Refuses a source of which no image has an object.

    Raises:
        InputError: as said.
    """
    import tensorflow as tf

    def has_object(row):
        return tf.reduce_any((row["labels"] >= 0) & ~row["crowd"])

    if not any(True for _ in source.ordered().filter(has_object).take(1)):
        raise InputError(
            "None of the images has an object, so that there is nothing to be localized: give "
            "another split or data set."
        )


def _main(targets, measured):
    """Label of the largest object by the boxes `measured`, and the boxes of its class."""
    import tensorflow as tf

    real = (targets["labels"] >= 0) & ~targets["crowd"]
    sides = measured[..., 2:] - measured[..., :2]
    areas = tf.where(real, sides[..., 0] * sides[..., 1], tf.constant(-1, measured.dtype))
    largest = tf.argmax(areas, axis=1)  # the first of equal ones
    label = tf.gather(targets["labels"], largest, batch_dims=1)
    label = tf.where(tf.reduce_any(real, axis=1), label, -1)
    own = (real & (targets["labels"] == label[:, None]))[..., None]
    names = [name for name in ("boxes", "original_boxes") if name in targets]
    return {
        "label": label,
        **{name: tf.where(own, targets[name], tf.zeros_like(targets[name])) for name in names},
    }


def _cropped(features, targets, key, crop):
    import tensorflow as tf

    image, size = features["image"], features["size"]
    missing = tf.maximum(crop - tf.shape(image)[1:3], 0)
    image = tf.pad(image, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
    room = tf.maximum(size - crop, 0)

    def cut(row):
        pixels, own_room, own_key = row
        # A draw of its own: the key also decides what the model samples.
        own_key = tf.random.experimental.stateless_fold_in(own_key, 1)
        share = tf.random.stateless_uniform([2], own_key, dtype=tf.float64, alg="philox")
        corner = tf.cast(share * tf.cast(own_room + 1, tf.float64), tf.int32)
        return tf.slice(pixels, [corner[0], corner[1], 0], [crop, crop, 3]), corner

    crops, corners = tf.map_fn(
        cut,
        (image, room, key),
        fn_output_signature=(
            tf.TensorSpec([crop, crop, 3], tf.uint8),
            tf.TensorSpec([2], tf.int32),
        ),
    )
    left = tf.minimum(size, crop)
    shift = tf.cast(tf.tile(corners[:, ::-1], [1, 2]), tf.float32)[:, None]
    limits = tf.cast(tf.tile(left[:, ::-1], [1, 2]), tf.float32)[:, None]
    boxes = tf.clip_by_value(targets["boxes"] - shift, 0.0, limits)
    seen = tf.reduce_all(boxes[..., 2:] - boxes[..., :2] >= 1, axis=-1, keepdims=True)
    boxes = tf.where(seen, boxes, 0.0)
    return {"image": crops, "size": left}, {**targets, "boxes": boxes, "key": key}
