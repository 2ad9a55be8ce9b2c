"""Any classification data set of TensorFlow Datasets, as encoded images in record shards."""

import os
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from resnet_keras import hosts
from resnet_keras.errors import InputError, hint
from resnet_keras.files import expanded

from . import splits, stream
from .source import Source

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

SHUFFLED_RECORDS = 4096  # 450 MB of ImageNet's JPEGs
SHARDS_AT_ONCE = 16
NAMES = {"val": ("validation", "val")}


def open_split(dataset: str, data_dir: str | None, split: str) -> Source:
    """Opens a split, prepared on disk or by TensorFlow Datasets on first use.

    Each epoch reads the shards in an order of its own and shuffles within a window of
    `SHUFFLED_RECORDS`. A start in the middle reads what comes before in its epoch, undecoded.

    Args:
        dataset: a TFDS name such as "imagenet2012" or "oxford_iiit_pet".
        data_dir: TFDS's folder; None takes TFDS's default.
        split: "train", "val" (TFDS's "validation"), "test" or whatever TFDS calls it, or a share
            such as "train[:90%]", which TFDS cuts.

    Raises:
        InputError: no such data set or split, or it is not on disk and cannot be made.
    """
    builder = prepare(dataset, data_dir)
    name = split_name(builder, split)
    raw_epoch = reader(builder, name)

    def read_epoch(shuffle_seed=None):
        raw = raw_epoch(shuffle_seed)
        return raw.map(lambda row: (row["image"], tf.cast(row["label"], tf.int32), row["tfds_id"]))

    examples = count(read_epoch(), f"{dataset}/{name}")

    @tf.autograph.experimental.do_not_convert
    def training(seed, chunks):
        first = chunks.first * stream.CHUNK
        rows = shuffled(read_epoch, examples, seed, first)
        rows = rows.batch(stream.CHUNK, drop_remainder=True)
        numbered = rows.enumerate(chunks.first).filter(lambda number, _: chunks.wanted(number))
        return numbered.map(lambda number, row: (number, *row))

    classes = tuple(builder.info.features["label"].names)
    return Source(examples, classes, training, read_epoch, tf.identity)


def reader(
    builder: Any, name: str, encoded: Sequence[str] = ("image",)
) -> Callable[..., tf.data.Dataset]:
    """Returns a function of a seed that reads a split once, its images left encoded.

    With a seed, the shards are read in an order of its own; without, in theirs.
    """
    import tensorflow_datasets as tfds

    skip_decoding = {feature: tfds.decode.SkipDecoding() for feature in encoded}

    def read_epoch(shuffle_seed=None):
        config = tfds.ReadConfig(
            shuffle_seed=shuffle_seed,
            shuffle_reshuffle_each_iteration=False,
            interleave_cycle_length=SHARDS_AT_ONCE,
            try_autocache=False,
            skip_prefetch=True,
            add_tfds_id=True,
        )
        return builder.as_dataset(
            split=name,
            decoders=skip_decoding,
            shuffle_files=shuffle_seed is not None,
            read_config=config,
        )

    return read_epoch


def shuffled(
    read_epoch: Callable[..., tf.data.Dataset], examples: int, seed: int, first: int
) -> tf.data.Dataset:
    """Reads epochs without end, from the first-th example on, in an order by the seed only.

    Args:
        read_epoch: of a seed for the shards' order.
        examples: in an epoch.
        seed: of the order.
        first: how many examples are left out.
    """

    @tf.autograph.experimental.do_not_convert
    def shuffled_epoch(epoch):
        # `shuffle` mixes its seed with the program's, which the graph of this function holds.
        tf.compat.v1.get_default_graph().seed = None
        keys = tf.random.experimental.stateless_split(stream.draw_seed(seed, epoch), 2)
        raw = read_epoch(keys[0, 0])
        return raw.shuffle(SHUFFLED_RECORDS, keys[1, 0], reshuffle_each_iteration=False)

    epochs = tf.data.Dataset.range(first // examples, stream.LAST).flat_map(shuffled_epoch)
    return epochs.skip(first % examples)


def prepare(dataset: str, data_dir: str | None):
    """Returns TFDS's builder of a data set that is on disk, or can be downloaded.

    Raises:
        InputError: unknown, not to be had, or not made of images with one label each.
    """
    import tensorflow_datasets as tfds

    builder = loaded(dataset, data_dir)
    features = builder.info.features
    types = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    if not all(key in features and isinstance(features[key], types[key]) for key in types):
        raise InputError(f"{dataset} is no data set of images with one label each.")
    return builder


def loaded(dataset: str, data_dir: str | None) -> Any:
    """Returns TFDS's builder of a data set of any kind; raises as `prepare`."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(dataset, data_dir=expanded(data_dir))
        check_hosts(builder)
        builder.download_and_prepare()
    except InputError:
        raise
    except Exception as error:  # TFDS lets through what protobuf, urllib3 and the disk raise
        raise cannot_load(dataset, data_dir, error) from error
    return builder


def arrays(dataset: str, data_dir: str | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Loads a whole split of images of one size into memory, in TFDS's fixed order.

    Returns:
        The images as TFDS has them, and int32 labels.

    Raises:
        InputError: the data set is not on disk and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    try:
        check_hosts(tfds.builder(dataset, data_dir=expanded(data_dir)))
        loaded = tfds.load(dataset, split=split, data_dir=expanded(data_dir))
        # Not batch_size=-1, which aborts the process where TFDS does not know the split's size.
        batches = list(tfds.as_numpy(loaded.batch(1000)))
    except InputError:
        raise
    except Exception as error:  # TFDS lets through what protobuf, urllib3 and the disk raise
        raise cannot_load(dataset, data_dir, error) from error
    images = np.concatenate([batch["image"] for batch in batches])
    return images, np.concatenate([batch["label"] for batch in batches]).astype(np.int32)


def check_hosts(builder: "tfds.core.DatasetBuilder") -> None:
    """Looks whether what TFDS would download can be had: TFDS itself tries for minutes.

    Raises:
        InputError: none of the hosts can be reached.
    """
    urls = _missing(builder)
    if not urls:
        return
    hosts_of = {urllib.parse.urlsplit(url).hostname: url for url in urls}
    reasons = [hosts.unreachable(url) for url in hosts_of.values()]
    if all(reasons):
        raise InputError(
            f"Cannot reach {' nor '.join(map(str, reasons))}, where {builder.name} is downloaded "
            "from: prepare it with TensorFlow Datasets on a machine with a connection, copy the "
            "folder, and give it as data_dir=FOLDER."
        )


def _missing(builder):
    """Addresses of a data set's files that TFDS would download: not what is there already."""
    ours = builder.download_and_prepare.__module__.startswith("tensorflow_datasets.core")
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not ours or by_hand or os.path.exists(builder.data_path / "dataset_info.json"):
        return []  # nor TFDS's mock data
    downloads = Path(builder.data_dir_root) / "downloads"
    texts = "".join(path.read_text(errors="replace") for path in downloads.glob("**/*.INFO"))
    by_hand = {path.name for path in downloads.glob("manual/*")}
    return [
        url
        for url in builder.url_infos
        if url.startswith("http") and url not in texts and Path(url).name not in by_hand
    ]


def cannot_load(dataset: str, data_dir: str | None, error: Exception) -> InputError:
    """One sentence for whatever TFDS raises."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return InputError(
        f"Cannot load {dataset} from {data_dir or '~/tensorflow_datasets'} nor download it: "
        f"give data_dir=FOLDER with a prepared copy, or a network "
        f"({type(error).__name__}: {lines[0] if lines else 'no more'})."
    )


def split_name(builder: Any, split: str) -> str:
    """What TFDS calls a split or a share of one; `InputError` where there is none."""
    wanted = splits.parse(split)
    names = NAMES.get(wanted.name, (wanted.name,))
    known = list(builder.info.splits)
    if not known:  # TFDS's mock data
        return str(wanted._replace(name=names[0]))
    chosen = next((name for name in names if name in known), None)
    if chosen is None:
        way_out = f" {splits.HOLD_OUT}" if known == ["train"] else hint(wanted.name, known)
        raise InputError(
            f"{builder.name} has no split {wanted.name!r}; it has {', '.join(known)}.{way_out}"
        )
    wanted = wanted._replace(name=chosen)
    if not wanted.is_whole:
        wanted.limits(builder.info.splits[chosen].num_examples)  # TFDS asserts, with a traceback
    return str(wanted)


def count(dataset: tf.data.Dataset, what: str) -> int:
    """How many examples there are; `InputError` where there are none."""
    examples = int(dataset.cardinality())
    if examples < 0:
        examples = sum(1 for _ in dataset)
    if not examples:
        raise InputError(f"{what} is empty.")
    return examples
