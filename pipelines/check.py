"""Whether a copy of a data set is whole, told before a long build or run depends on it.

Each check returns findings; none of them downloads, builds or changes anything.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError, unknown
from resnet_keras.files import expanded

from . import exif, folder, records, stream
from .catalog import FOLDER, TFDS
from .decode import attempt, is_jpeg
from .decode import decode as pixels_of
from .listing import SUFFIXES, entries_in
from .source import Source

IMAGENET2012 = "imagenet2012"
LISTED = 20  # names in one finding
_BLOCK = 2**24  # bytes


class Finding(NamedTuple):
    """What one check found; `ok` is False for a problem."""

    ok: bool
    text: str


class Archive(NamedTuple):
    """What an archive is known to be, and TFDS's name of the split it holds."""

    split: str
    size: int
    md5: str


class Expected(NamedTuple):
    """What a whole copy holds, by split: "val" is TFDS's "validation"."""

    name: str
    classes: int
    first: str
    last: str
    images: dict[str, int]
    per_class: dict[str, tuple[int, int]]


class Listing(NamedTuple):
    """What lies in a split's folder: paths of images by class, in the order of the labels."""

    folder: Path
    classes: dict[str, list[str]]
    loose: list[str]
    others: list[str]
    unreadable: list[str]


# Sizes as in TFDS's imagenet2012/checksums.tsv, MD5s as in torchvision's datasets/imagenet.py. The
# training archive's MD5 is unverified: no copy of it was at hand.
ARCHIVES = {
    "ILSVRC2012_img_train.tar": Archive(
        "train", 147_897_477_120, "1d675b47d978889d74fa0da5fadfb00e"
    ),
    "ILSVRC2012_img_val.tar": Archive(
        "validation", 6_744_924_160, "29b22e2961454d5413ddabcf34fc5622"
    ),
}
IMAGENET = Expected(
    name="ImageNet",
    classes=1000,
    first="n01440764",
    last="n15075141",
    images={"train": 1_281_167, "val": 50_000},
    per_class={"train": (732, 1300), "val": (50, 50)},
)
EXPECTED = {"none": None, "imagenet": IMAGENET}


def dataset_in(data_dir: str | None) -> str:
    """Returns "folder" for a folder with train/, val/ or images in class folders in it, and else
    "imagenet2012"."""
    root = Path(data_dir or "").expanduser()
    if data_dir is None or not root.is_dir():
        return IMAGENET2012
    found = any((root / split).is_dir() for split in ("train", "val")) or folder.is_flat(root)
    return FOLDER if found else IMAGENET2012


def expected_in(data_dir: str | None) -> Expected | None:
    """Returns `IMAGENET` for class folders of which most are named as ImageNet's are."""
    try:
        names = folder.class_names(data_dir)
    except InputError:
        return None
    wordnet = sum(re.fullmatch(r"n\d{8}", name) is not None for name in names)
    return IMAGENET if wordnet > IMAGENET.classes // 2 else None


def findings(
    dataset: str,
    data_dir: str | None,
    *,
    archives_in: str | None = None,
    hashes: bool = False,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks a data set, one finding after the other.

    Args:
        dataset: "folder", "imagenet2012" or "tfds/NAME".
        data_dir: its folder, or TFDS's.
        archives_in: folder of ImageNet's archives, which are checked too.
        hashes: whether the archives' MD5s are taken.
        expected: what the data set must hold; imagenet2012 must hold `IMAGENET` in any case.
        decode: whether images are decoded, and not only their headers parsed.
        limit: how many examples of each split are read; 0 for all.

    Raises:
        InputError: another data set, a folder that is not there, or a data set of TFDS's that is
            unknown or not made of images with labels.
    """
    if dataset != FOLDER and dataset != IMAGENET2012 and not dataset.startswith(TFDS):
        raise unknown("dataset", dataset, [FOLDER, IMAGENET2012, f"{TFDS}NAME"])
    if archives_in is not None:
        yield from archives(archives_in, hashes=hashes)
    if dataset == FOLDER:
        yield from class_folders(data_dir, expected=expected, decode=decode, limit=limit)
        return
    name = dataset.removeprefix(TFDS)
    builder = _builder(name, data_dir)
    if name == IMAGENET2012:
        expected = expected or IMAGENET
        manual = builder.data_path.parents[1] / "downloads" / "manual"
        if archives_in is None and (manual.is_dir() or not _is_prepared(builder)):
            yield from archives(manual, hashes=hashes)
    yield from prepared(name, data_dir, expected=expected, decode=decode, limit=limit)


def archives(in_folder: str | os.PathLike, *, hashes: bool = False) -> list[Finding]:
    """Checks that ImageNet's two archives are there, their sizes and, with `hashes`, MD5s."""
    return [
        _archive(Path(in_folder).expanduser() / name, known, hashes)
        for name, known in ARCHIVES.items()
    ]


def _archive(path, known, hashes):
    if not path.is_file():
        return Finding(False, f"{path} is missing; TFDS would build ImageNet without {known.split}")
    size = path.stat().st_size
    if size != known.size:
        return Finding(False, f"{path} has {size:,} bytes, not {known.size:,}: copy it again")
    if not hashes:
        return Finding(True, f"{path} has all of its {size:,} bytes")
    try:
        found = _md5(path)
    except OSError as error:
        return Finding(False, f"{path} cannot be read: {error.strerror}")
    if found != known.md5:
        return Finding(False, f"{path} has the MD5 {found}, not {known.md5}: copy it again")
    return Finding(True, f"{path} has its size and its MD5 {found}")


def _md5(path):
    digest = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def class_folders(
    data_dir: str | os.PathLike | None,
    *,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks DATA_DIR/train/CLASS/, DATA_DIR/val/CLASS/ and, if it is there, DATA_DIR/test/CLASS/.

    Args:
        data_dir, expected, decode, limit: as for `findings`.

    Raises:
        InputError: there is no such folder.
    """
    if data_dir is None or not Path(data_dir).expanduser().is_dir():
        folder.split_folder(data_dir, "train")  # raises
    # Of people's own images; a copy of a known data set without val is not whole.
    may_lack_val = expected is None and folder.has_train_only(data_dir)
    listings = {}
    for split in ("train", "val", "test"):
        try:
            listings[split] = list_split(folder.split_folder(data_dir, split))
        except InputError as error:
            if split != "test":
                yield Finding(may_lack_val and split == "val", str(error))
    for split, listing in listings.items():
        yield from contents(split, listing)
        if expected is not None and split in expected.images:
            yield from as_expected(split, listing, expected)
    yield from same_classes(listings)
    for split, listing in listings.items():
        paths = [path for paths in listing.classes.values() for path in paths]
        yield from images(split, paths, decode=decode, limit=limit)


def list_split(split_folder: Path) -> Listing:
    """Lists a split's class folders and what is in them; hidden files are left out."""
    inside = entries_in(split_folder)
    classes, ignored, unreadable = {}, [], []
    for path in inside.folders:
        try:
            entries = entries_in(path)
            classes[os.path.basename(path)] = entries.images
            ignored += entries.others
        except InputError as error:
            unreadable.append(str(error))
    loose = sorted({*inside.images, *inside.others}.difference(inside.folders))
    return Listing(split_folder, classes, loose, ignored, unreadable)


def contents(split: str, listing: Listing) -> list[Finding]:
    """Checks that there are class folders, with images and nothing else in them."""
    problems = list(listing.unreadable)
    loose = [path for path in listing.loose if path.lower().endswith(SUFFIXES)]
    if not listing.classes:
        return [Finding(False, text) for text in [*problems, _no_classes(listing, loose)]]
    if loose:
        problems.append(f"{split}: {_listed(loose, 'image', 'outside the class folders')}")
    empty = [name for name, images in listing.classes.items() if not images]
    if empty:
        problems.append(f"{split}: {_listed(empty, 'class folder', 'without images')}")
    if listing.others:
        problems.append(f"{split}: {_listed(listing.others, 'file', 'with no name of an image')}")
    return [_images_per_class(split, listing), *(Finding(False, text) for text in problems)]


def _no_classes(listing, loose):
    """What to do about a split's folder without class folders, such as official ImageNet's."""
    tars = sum(path.endswith(".tar") for path in listing.loose)
    if loose:
        return (
            f"{listing.folder} holds {len(loose):,} images and no class folders: move each image "
            f"into the folder of its class, {listing.folder}/CLASS/ (ImageNet's validation images, "
            "sorted by name, have the classes that line by line stand in "
            "tensorflow_datasets/datasets/imagenet2012/validation_labels.txt)"
        )
    if tars:
        return (
            f"{listing.folder} holds {tars:,} .tar files and no class folders: extract each CLASS"
            f".tar into {listing.folder}/CLASS/"
        )
    return f"{listing.folder} holds no class folders: images belong in {listing.folder}/CLASS/"


def _images_per_class(split, listing):
    counts = {name: len(images) for name, images in listing.classes.items()}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    return Finding(
        True,
        f"{split}: {sum(counts.values()):,} images in {_many(len(counts), 'class')}: at least "
        f"{counts[least]:,} ({least}), at most {counts[most]:,} ({most})",
    )


def as_expected(split: str, listing: Listing, expected: Expected) -> list[Finding]:
    """Checks a split's classes and numbers of images against what they must be."""
    if not listing.classes:
        return []  # `contents` told already
    names, problems = list(listing.classes), []
    if len(names) != expected.classes:
        problems.append(f"{_many(len(names), 'class')}, not {expected.classes:,}")
    for which, name, known in (
        ("first", names[0], expected.first),
        ("last", names[-1], expected.last),
    ):
        if name != known:
            problems.append(f"the {which} class is {name}, not {known}")
    total = sum(map(len, listing.classes.values()))
    if total != expected.images[split]:
        problems.append(f"{total:,} images, not {expected.images[split]:,}")
    least, most = expected.per_class[split]
    outside = [
        f"{name} ({len(images)})"
        for name, images in listing.classes.items()
        if not least <= len(images) <= most
    ]
    if outside:
        numbers = f"{least} to {most}" if least < most else f"{least}"
        problems.append(_listed(outside, "class", f"without {numbers} images"))
    if problems:
        return [Finding(False, f"{split} is not {expected.name}'s: {text}") for text in problems]
    return [Finding(True, f"{split}: classes and numbers of images are {expected.name}'s")]


def same_classes(listings: dict[str, Listing]) -> list[Finding]:
    """Compares the class folders of the splits with train's.

    Labels are the numbers of the class folders in the order of their names, so one folder too many
    or too few shifts the labels of all that come after it.
    """
    train = listings.get("train")
    if train is None or not train.classes:
        return []
    found = []
    for split, listing in listings.items():
        if split == "train" or not listing.classes:
            continue
        ours, theirs = train.classes, listing.classes
        if ours.keys() == theirs.keys():
            found.append(Finding(True, f"train and {split} have the same class folders"))
        found += _only_in("train", ours, split, theirs) + _only_in(split, theirs, "train", ours)
    return found


def _only_in(split, classes, other, others):
    only = sorted(set(classes) - set(others))
    if not only:
        return []
    text = _listed(only, "class folder", f"in {split} and not in {other}")
    after = min((name for name in others if name > only[0]), default=None)
    if after is not None:
        many = "one" if len(only) == 1 else "one or more"
        text += f"; numbered by name, labels are off by {many} from class {after} on"
    return [Finding(False, text)]


def images(
    split: str, paths: Sequence[str], *, decode: bool = True, limit: int = 0
) -> list[Finding]:
    """Checks that image files have content, and that it is an image's.

    Args:
        split: their split's name.
        paths: of the files.
        decode, limit: as for `findings`; empty files are found among all.
    """
    empty = [path for path in paths if _is_empty(path)]
    found = [Finding(False, f"{split}: {_listed(empty, 'file', 'of 0 bytes')}")] if empty else []
    full = sorted(set(paths) - set(empty))
    if full:
        source = folder.from_files(full, [0] * len(full), ())._replace(exif_orientation=True)
        found += _examine(split, source, decode, limit).findings
    return found


def _is_empty(path):
    try:
        return os.path.getsize(path) == 0
    except OSError:
        return False  # reading it will fail, and say so


def prepared(
    name: str,
    data_dir: str | None,
    *,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks a data set that TFDS has prepared on disk.

    Args:
        name: TFDS's name of it.
        data_dir, expected, decode, limit: as for `findings`.

    Raises:
        InputError: TFDS does not know it, or it is not made of images with one label each.
    """
    builder: Any = _builder(name, data_dir)
    if not _is_prepared(builder):
        yield _not_prepared(name, builder)
        return
    builder = records.prepare(name, data_dir)  # which is there, so that nothing is downloaded
    classes = builder.info.features["label"].num_classes
    splits = builder.info.splits
    yield Finding(True, f"{builder.data_path} is prepared, with {_many(classes, 'class')}")
    if expected is not None:
        yield from _expected_splits(splits, classes, expected)
    for split, info in splits.items():
        missing = [path.name for path in info.filepaths if not path.exists()]
        if missing:
            yield Finding(False, f"{split}: {_listed(missing, 'record file', 'missing')}")
        elif not info.num_examples:
            yield Finding(False, f"{split} is empty")
        else:
            yield from _split(name, data_dir, split, builder, decode, limit)


def _builder(name, data_dir):
    """TFDS's builder; its constructor downloads nothing."""
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=expanded(data_dir))
    except Exception as error:  # TFDS lets through what protobuf and the disk raise
        raise records.cannot_load(name, data_dir, error) from error


def _is_prepared(builder):
    # Not builder.is_prepared(), which logs a warning where the answer is no.
    return (builder.data_path / "dataset_info.json").exists()


def _not_prepared(name, builder):
    if builder.data_path.exists():
        return Finding(
            False, f"{builder.data_path} is there without a dataset_info.json: copy it again"
        )
    # With the archives in place that is how it should be before a build.
    told = f"{name} is not prepared in {builder.data_path}"
    if name == IMAGENET2012:
        return Finding(True, f"{told}: TFDS will build it there from the archives on first use")
    return Finding(False, f"{told}: TFDS will download and build it there on first use")


def _expected_splits(splits, classes, expected):
    if classes != expected.classes:
        yield Finding(False, f"{_many(classes, 'class')}, not {expected.name}'s {expected.classes}")
    for split, images in expected.images.items():
        names = records.NAMES.get(split, (split,))
        found = next((splits[name] for name in names if name in splits), None)
        if found is None:
            yield Finding(
                False,
                f"there is no split {names[0]}: TFDS leaves out, with no more than a warning, what "
                "it has no archive for; build again with the archive in place",
            )
        elif found.num_examples != images:
            yield Finding(
                False,
                f"{found.name} has {_many(found.num_examples, 'example')}, not {expected.name}'s "
                f"{images:,}",
            )
        else:
            yield Finding(True, f"{found.name} has {expected.name}'s {images:,} examples")


def _split(name, data_dir, split, builder, decode, limit):
    info, label = builder.info.splits[split], builder.info.features["label"]
    source = records.open_split(name, data_dir, split)._replace(num_examples=info.num_examples)
    seen = _examine(split, source, decode, limit)
    wanted = min(limit or info.num_examples, info.num_examples)
    if seen.error is not None or len(seen.labels) != wanted:
        stop = f"{split}: reading stops after {len(seen.labels):,} of {wanted:,} records"
        yield Finding(False, f"{stop} ({seen.error or 'there are no more'})")
        yield from _record_files(split, builder)
    if len(seen.labels):
        yield from seen.findings
        yield labels(split, seen.labels, label.names, complete=wanted == info.num_examples)


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
    return [Finding(False, f"{split}: {_listed(broken, 'record file', 'cut short')}")]


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
        return Finding(False, f"{split}: {_listed(names, 'class', 'without an example')}")
    every = ", and every class has examples" if not absent else ""
    return Finding(True, f"{split}: labels lie in 0 to {last}{every}")


class _Seen(NamedTuple):
    findings: list[Finding]
    labels: np.ndarray
    error: str | None


def _examine(split, source: Source, decode: bool, limit: int) -> _Seen:
    """Reads a split's examples, and decodes their images or parses their headers."""
    size_of = _decoded_size if decode else _header_size

    def look(key):
        contents = source.read(key)
        with tf.control_dependencies([size_of(contents)]):
            return exif.orientation(contents)

    def check(keys, some, names):
        good, orientations = attempt(look, (keys,), tf.TensorSpec([], tf.int32))
        is_good = tf.scatter_nd(good[:, None], tf.ones_like(good), tf.shape(names)) > 0
        turned = tf.math.count_nonzero(orientations > 1)
        return some, tf.boolean_mask(names, ~is_good), turned

    examples = source.ordered().take(limit or -1).batch(stream.CHUNK)
    checked = examples.map(check, num_parallel_calls=os.cpu_count(), deterministic=True)
    found: list[np.ndarray] = [np.zeros([0], np.int32)]
    broken: list[str] = []
    turned = 0
    error = None
    try:
        for some, names, number in stream.prefetch(checked, None).as_numpy_iterator():
            found.append(some)
            broken += [os.fsdecode(name) for name in names]
            turned += int(number)
    except tf.errors.OpError as failure:
        error = _plainly(failure)
    every = np.concatenate(found)
    findings = [_readable(split, len(every), source, broken, decode)]
    if turned:
        findings.append(_turned(split, turned, source.exif_orientation))
    return _Seen(findings, every, error)


def _turned(split, count, heeded):
    does = "carries" if count == 1 else "carry"
    turned = "but with exif_orientation=False" if heeded else "with exif_orientation=True"
    return Finding(
        True, f"{split}: {_many(count, 'image')} {does} an EXIF orientation: turned by it, {turned}"
    )


def _decoded_size(contents):
    return tf.shape(pixels_of(contents))[:2]


def _header_size(contents):
    """The size that a JPEG's header tells; TensorFlow can only decode the others."""
    return tf.cond(
        is_jpeg(contents),
        lambda: tf.io.extract_jpeg_shape(contents)[:2],
        lambda: _decoded_size(contents),
    )


def _readable(split, count, source, broken, decode):
    if broken:
        cannot = "that cannot be decoded" if decode else "without a valid header"
        return Finding(False, f"{split}: {_listed(broken, 'image', f'of {count:,} {cannot}')}")
    can = "can be decoded" if decode else "have valid headers"
    which = "all" if count == source.num_examples else "the first"
    return Finding(True, f"{split}: {which} {count:,} images {can}")


def _plainly(error: Any) -> str:
    """TensorFlow's message without the names of its nodes."""
    kept = re.sub(r"\{\{.*?\}\}|\[Op:.*|\[\[.*", "", str(error), flags=re.DOTALL)
    return " ".join(kept.split())


def _many(count, noun):
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def _listed(names: Sequence[str], noun: str, what: str) -> str:
    """ "3 files WHAT: a, b, c", or the first of them and how many more."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"{_many(len(names), noun)} {what}: {', '.join(names[:LISTED])}{more}"
