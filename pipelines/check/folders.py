"""Whether class folders are where they belong, with images in them and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from resnet_keras.errors import InputError

from .. import folder
from ..listing import SUFFIXES, entries_in
from .examination import images
from .expected import Expected
from .finding import Finding, listed, many


class Listing(NamedTuple):
    """What lies in a split's folder: paths of images by class, in the order of the labels."""

    folder: Path
    classes: dict[str, list[str]]
    loose: list[str]
    others: list[str]
    unreadable: list[str]


def class_folders(
    data_dir: str | os.PathLike | None,
    *,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks DATA_DIR/train/CLASS/, DATA_DIR/val/CLASS/ and, if it is there, DATA_DIR/test/CLASS/.

    The arguments are those of `findings`.

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
        problems.append(f"{split}: {listed(loose, 'image', 'outside the class folders')}")
    empty = [name for name, images in listing.classes.items() if not images]
    if empty:
        problems.append(f"{split}: {listed(empty, 'class folder', 'without images')}")
    if listing.others:
        problems.append(f"{split}: {listed(listing.others, 'file', 'with no name of an image')}")
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
        f"{split}: {sum(counts.values()):,} images in {many(len(counts), 'class')}: at least "
        f"{counts[least]:,} ({least}), at most {counts[most]:,} ({most})",
    )


def as_expected(split: str, listing: Listing, expected: Expected) -> list[Finding]:
    """Checks a split's classes and numbers of images against what they must be."""
    if not listing.classes:
        return []  # `contents` says so
    problems = [
        *_unexpected_classes(list(listing.classes), expected),
        *_unexpected_numbers(split, listing, expected),
    ]
    if problems:
        return [Finding(False, f"{split} is not {expected.name}'s: {text}") for text in problems]
    return [Finding(True, f"{split}: classes and numbers of images are {expected.name}'s")]


def _unexpected_classes(names, expected):
    if len(names) != expected.classes:
        yield f"{many(len(names), 'class')}, not {expected.classes:,}"
    ends = (("first", names[0], expected.first), ("last", names[-1], expected.last))
    for which, name, known in ends:
        if name != known:
            yield f"the {which} class is {name}, not {known}"


def _unexpected_numbers(split, listing, expected):
    counts = {name: len(images) for name, images in listing.classes.items()}
    total = sum(counts.values())
    if total != expected.images[split]:
        yield f"{total:,} images, not {expected.images[split]:,}"
    least, most = expected.per_class[split]
    outside = [f"{name} ({n})" for name, n in counts.items() if not least <= n <= most]
    if outside:
        numbers = f"{least} to {most}" if least < most else f"{least}"
        yield listed(outside, "class", f"without {numbers} images")


def same_classes(listings: dict[str, Listing]) -> list[Finding]:
    """Compares the class folders of the splits with train's.

    Labels are the numbers of the class folders in the order of their names, so one folder too many
    or too few shifts the labels of all that come after it.
    """
    train = listings.get("train")
    if train is None or not train.classes:
        return []
    findings = []
    for split, listing in listings.items():
        if split == "train" or not listing.classes:
            continue
        ours, theirs = train.classes, listing.classes
        if ours.keys() == theirs.keys():
            findings.append(Finding(True, f"train and {split} have the same class folders"))
        findings += _only_in("train", ours, split, theirs) + _only_in(split, theirs, "train", ours)
    return findings


def _only_in(split, classes, other, others):
    only = sorted(set(classes) - set(others))
    if not only:
        return []
    text = listed(only, "class folder", f"in {split} and not in {other}")
    after = min((name for name in others if name > only[0]), default=None)
    if after is not None:
        by = "one" if len(only) == 1 else "one or more"
        text += f"; numbered by name, labels are off by {by} from class {after} on"
    return [Finding(False, text)]
