"""Times the training pipeline of images with boxes against plain tf.data, on one thread.

All read the same files, people's own or JPEGs made here, and deliver the same: uint8 images at the
paper's scale (shorter side 600, the longer at most 1000), half of them mirrored, padded to one of
the same sizes, with their boxes, labels and crowd regions. The plain form decodes the whole image
and resizes it, bilinear without antialiasing as ours; `antialias` with it, for a photograph that
becomes much smaller. `decode` is the limit of a pipeline that decodes whole images: it does nothing
but read and decode them.
"""

import functools
import itertools
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from resnet_keras import tuning
from resnet_keras.errors import unknown
from resnet_keras.pipelines import annotations, buckets, objects, scenes

from .input import OURS, limit_threads, lines_of_rates, make_files, on_one_thread, round_of
from .rounds import medians, ratio, take_turns

MADE = "photographs"  # the data set that is made here
_BOXES = 7  # of an image that is made; COCO has 7.3 on average
_FAULTY = 100  # objects that are left out
_ROWS = ("key", "size", "boxes", "labels", "crowd")


def compare(
    *,
    dataset: str,
    data_dir: str | None,
    split: str,
    files: int,
    size: tuple[int, int],
    images: int,
    rounds: int,
    batch_size: int,
    peers: Sequence[str],
) -> dict[str, Any]:
    """Times our pipeline and its peers in turns, after an uncounted round.

    Args:
        dataset: "photographs", which are made, or "coco" or "voc" in `data_dir`.
        data_dir: see there.
        split: of "coco" and "voc".
        files: how many photographs are made.
        size: width and height of the photographs that are made.
        images: in a round of each, rounded up to whole batches.
        rounds: of each.
        batch_size: images in a batch.
        peers: whom to compare with, of `PEERS`.

    Returns:
        A dict as `input.compare`'s.

    Raises:
        InputError: an unknown peer, or as `objects.training`.
    """
    for peer in peers:
        if peer not in PEERS:
            raise unknown("peer", peer, PEERS)
    one_thread = limit_threads()
    batches = -(-images // batch_size)
    with tempfile.TemporaryDirectory() as directory:
        if dataset == MADE:
            source = _photographs(directory, files, size)
        else:
            # COCO's own training images have two boxes without height.
            source = objects.open_split(dataset, split, data_dir=data_dir, max_faulty=_FAULTY)
        rows = _rows(source)
        pipelines = {OURS: ours(source, batch_size)}
        pipelines |= {name: PEERS[name].make(rows, batch_size) for name in peers}
        contest = {
            name: functools.partial(round_of, pipeline, batches, batch_size)
            for name, pipeline in pipelines.items()
        }
        take_turns(contest, 1)  # uncounted: compiles, fills buffers and caches
        rates = take_turns(contest, rounds)
        kilobytes = statistics.mean(os.path.getsize(path) for path in rows["key"]) / 1000
    height, width = np.median(rows["size"], axis=0)
    return {
        "task": "input",
        "dataset": dataset,
        "tensorflow": tf.__version__,
        "cpu": tuning.processor()["name"],
        "cpus": os.cpu_count(),
        "one_thread": one_thread,
        "files": len(rows["key"]),
        "size": [int(width), int(height)],
        "mean_kB": kilobytes,
        "scale": list(source.scale),
        "batch_size": batch_size,
        "rounds": rounds,
        "images": batches * batch_size,
        "rates": {name: medians(rates[name]) for name in pipelines},
        "ratio": {peer: ratio(rates[OURS], rates[peer]) for peer in peers},
    }


def report(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    threads = "one thread" if result["one_thread"] else "threads NOT limited to one"
    (width, height), (shorter, longest) = result["size"], result["scale"]
    lines = [
        f"input with boxes, {result['files']} images of {result['dataset']}, {width}x{height} (the "
        f"median) and {result['mean_kB']:.1f} kB on average, at a scale of {shorter}, at most "
        f"{longest}, batch {result['batch_size']}, {threads}, {result['cpu']} ({result['cpus']} "
        f"CPUs), TensorFlow {result['tensorflow']}, median of {result['rounds']} rounds of "
        f"{result['images']} images",
        *lines_of_rates(result, {name: peer.label for name, peer in PEERS.items()}, decimals=1),
    ]
    return "\n".join(lines)


def _photographs(directory, files, size):
    """JPEGs like photographs, each with boxes at random places."""
    generator = np.random.default_rng(0)
    width, height = size
    paths = make_files(directory, files, width, height)
    rows = []
    for number, _ in itertools.product(range(files), range(_BOXES)):
        low = generator.uniform(0, 0.8, 2)
        high = low + generator.uniform(0.05, 0.2, 2)
        box = np.concatenate([low, high]) * [width, height, width, height]
        area = (box[2] - box[0]) * (box[3] - box[1])
        rows.append((number, box, int(generator.integers(80)), False, False, area, len(rows)))
    content = annotations.of_objects(
        [f"class{n}" for n in range(80)],
        range(80),
        paths,
        range(files),
        [(height, width)] * files,
        rows,
        lambda number: f"object {number}",
    )
    pixels = scenes.encoded(tf.io.read_file, exif_orientation=False)
    return scenes.in_memory(content, pixels, objects.SCALE)


def _rows(source):
    """Paths, sizes and objects of all images, as arrays."""
    batches = list(source.ordered().batch(1024).as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in _ROWS}


def ours(source: scenes.Scenes, batch_size: int) -> Iterator[Any]:
    """This package's stream."""
    share = scenes.Share(batch_size)
    return iter(on_one_thread(scenes.training(source, share, seed=0)))


def straightforward(
    rows: dict[str, np.ndarray], batch_size: int, *, antialias: bool = False
) -> Iterator[Any]:
    """What one writes with tf.data and tf.image, for the same batches."""
    scale, sides = tf.constant([objects.SCALE]), buckets.buckets([objects.SCALE])

    def load(row):
        image = tf.io.decode_jpeg(tf.io.read_file(row["key"]), channels=3)
        size = buckets.resized(row["size"][None], scale)
        bucket = tf.gather(tf.constant(sides), buckets.smallest(size, sides)[0])
        image = tf.image.resize(image, size[0], antialias=antialias)
        image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
        times = tf.cast(size[0] / row["size"], tf.float32)
        boxes = tf.cast(row["boxes"], tf.float32) * tf.tile(times[::-1], [2])
        if_mirrored = tf.random.uniform([]) < 0.5
        x1, y1, x2, y2 = tf.unstack(boxes, axis=1)
        width = tf.cast(size[0, 1], tf.float32)
        there = (row["labels"] >= 0)[:, None] & if_mirrored
        boxes = tf.where(there, tf.stack([width - x2, y1, width - x1, y2], axis=1), boxes)
        image = tf.cond(if_mirrored, lambda: tf.image.flip_left_right(image), lambda: image)
        image = tf.image.pad_to_bounding_box(image, 0, 0, bucket[0], bucket[1])
        features = {"image": image, "size": size[0]}
        return features, {"boxes": boxes, "labels": row["labels"], "crowd": row["crowd"]}

    images = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows["key"])).repeat()
    images = images.map(load, num_parallel_calls=os.cpu_count())
    return iter(on_one_thread(images.padded_batch(batch_size).prefetch(2)))


def whole_decode(rows: dict[str, np.ndarray], batch_size: int) -> Iterator[Any]:
    """Reads and decodes the files, and nothing else: int32 (batch,), their sizes."""

    def load(path):
        return tf.size(tf.io.decode_jpeg(tf.io.read_file(path), channels=3))

    images = tf.data.Dataset.from_tensor_slices(rows["key"]).shuffle(len(rows["key"])).repeat()
    return iter(on_one_thread(images.map(load).batch(batch_size)))


class Peer(NamedTuple):
    """What the table calls a contestant, and what makes its endless batches."""

    label: str
    make: Callable[[dict[str, np.ndarray], int], Iterator[Any]]


PEERS = {
    "decode": Peer("bare decode of whole images", whole_decode),
    "tf.data": Peer("plain tf.data, as ours", straightforward),
    "antialias": Peer(
        "plain tf.data, antialiased", functools.partial(straightforward, antialias=True)
    ),
}
