"""Whether the records that TFDS wrote are all there, with whole images and valid labels."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from resnet_keras.files import expanded

from .. import records
from .examination import examine
from .expected import Expected
from .finding import Finding, listed, many

IMAGENET2012 = "imagenet2012"


def prepared(
    name: str,
    data_dir: str | None,
    *,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks a data set that TFDS has prepared on disk.

    The arguments are those of `findings`, with TFDS's name of the data set.

    Raises:
        InputError: TFDS does not know it, or it is not made of images with one label each.
    """
    builder = builder_of(name, data_dir)
    if not is_prepared(builder):
        yield _not_prepared(name, builder)
        return
    builder = records.prepare(name, data_dir)  # which is there, so that nothing is downloaded
    classes = builder.info.features["label"].num_classes
    splits = builder.info.splits
    yield Finding(True, f"{builder.data_path} is prepared, with {many(classes, 'class')}")
    if expected is not None:
        yield from _expected_splits(splits, classes, expected)
    for split, info in splits.items():
        missing = [path.name for path in info.filepaths if not path.exists()]
        if missing:
            yield Finding(False, f"{split}: {listed(missing, 'record file', 'missing')}")
        elif not info.num_examples:
            yield Finding(False, f"{split} is empty")
        else:
            yield from _split(name, data_dir, split, builder, decode, limit)


def builder_of(name: str, data_dir: str | None) -> Any:
    """Returns TFDS's builder; its constructor downloads nothing.

    Raises:
        InputError: TFDS does not know the data set.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=expanded(data_dir))
    except Exception as error:  # TFDS lets through what protobuf and the disk raise
        raise records.cannot_load(name, data_dir, error) from error


def is_prepared(builder: Any) -> bool:
    """Whether TFDS has written the data set."""
    # Not builder.is_prepared(), which logs a warning where the answer is no.
    return (builder.data_path / "dataset_info.json").exists()


def _not_prepared(name, builder):
    if builder.data_path.exists():
        return Finding(
            False, f"{builder.data_path} is there without a dataset_info.json: copy it again"
        )
    # With the archives in place that is how it should be before a build.
    text = f"{name} is not prepared in {builder.data_path}"
    if name == IMAGENET2012:
        return Finding(True, f"{text}: TFDS will build it there from the archives on first use")
    return Finding(False, f"{text}: TFDS will download and build it there on first use")


def _expected_splits(splits, classes, expected):
    if classes != expected.classes:
        yield Finding(False, f"{many(classes, 'class')}, not {expected.name}'s {expected.classes}")
    for split, images in expected.images.items():
        names = records.NAMES.get(split, (split,))
        info = next((splits[name] for name in names if name in splits), None)
        if info is None:
            yield Finding(
                False,
                f"there is no split {names[0]}: TFDS leaves out, with no more than a warning, what "
                "it has no archive for; build again with the archive in place",
            )
        elif info.num_examples != images:
            yield Finding(
                False,
                f"{info.name} has {many(info.num_examples, 'example')}, not {expected.name}'s "
                f"{images:,}",
            )
        else:
            yield Finding(True, f"{info.name} has {expected.name}'s {images:,} examples")


def _split(name, data_dir, split, builder, decode, limit):
    info, label = builder.info.splits[split], builder.info.features["label"]
    source = records.open_split(name, data_dir, split)._replace(num_examples=info.num_examples)
    examined = examine(split, source, decode=decode, limit=limit)
    wanted = min(limit or info.num_examples, info.num_examples)
    count = len(examined.labels)
    if examined.error is not None or count != wanted:
        stop = f"{split}: reading stops after {count:,} of {wanted:,} records"
        yield Finding(False, f"{stop} ({examined.error or 'there are no more'})")
        yield from _record_files(split, builder)
    if count:
        yield from examined.findings
        yield labels(split, examined.labels, label.names, complete=wanted == info.num_examples)


def _record_files(split, builder):
    """Names the files with other numbers of records than TFDS noted when it wrote them."""
    if builder.info.file_format.value != "tfrecord":
        return []
    info = builder.info.splits[split]
    broken = [
        path.name
        for path, length in zip(info.filepaths, info.shard_lengths, strict=True)
        if _count_records(path) != length
    ]
    if not broken:
        return []
    return [Finding(False, f"{split}: {listed(broken, 'record file', 'cut short')}")]


def _count_records(path):
    try:
        return int(tf.data.TFRecordDataset(str(path)).reduce(0, lambda count, _: count + 1))
    except tf.errors.OpError:
        return None


def labels(
    split: str, found: np.ndarray, classes: Sequence[str], *, complete: bool = True
) -> Finding:
    """Checks that labels are 0 to classes - 1 and, in a `complete` split, that each is there.

    Args:
        split: its name.
        found: int (examples,), at least one.
        classes: their names.
        complete: whether these are all labels of the split.
    """
    low, high, last = int(found.min()), int(found.max()), len(classes) - 1
    if low == high == -1:
        return Finding(True, f"{split} has no labels: it cannot be trained or evaluated on")
    if low == 1 and high == last + 1:
        return Finding(
            False,
            f"{split}: labels are off by one: they run from 1 to {high}, and must from 0 to {last}",
        )
    if low < 0 or high > last:
        return Finding(False, f"{split}: labels run from {low} to {high}, outside 0 to {last}")
    absent = sorted(set(range(last + 1)) - set(np.unique(found).tolist()))
    if complete and absent:
        names = [f"{number} ({classes[number]})" for number in absent]
        return Finding(False, f"{split}: {listed(names, 'class', 'without an example')}")
    every = ", and every class has examples" if not absent else ""
    return Finding(True, f"{split}: labels lie in 0 to {last}{every}")
