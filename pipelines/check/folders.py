"""Whether class folders are where they belong, with images in them and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

from resnet_keras.errors import InputError

from .. import class_folders as folders
from .examination import images
from .expected import Expected
from .finding import Finding, listed, many


def class_folders(
    data_dir: str | os.PathLike | None,
    *,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks the splits train, val and, if it is there, test of class folders.

    The arguments are those of `findings`. What is a problem, and what is left out, training and
    evaluation judge in the same way: by `class_folders.list_split`.

    Raises:
        InputError: there is no such folder.
    """
    if data_dir is None or not Path(data_dir).expanduser().is_dir():
        folders.split_folder(data_dir, "train")  # raises
    # Of people's own images; a copy of a known data set without val is not whole.
    may_lack_val = expected is None and folders.has_train_only(data_dir)
    listings = {}
    for split in ("train", "val", "test"):
        try:
            listings[split] = folders.list_split(data_dir, split)
        except InputError as error:
            if split != "test":
                yield Finding(may_lack_val and split == "val", str(error))
    remarks = {text: None for listing in listings.values() for text in listing.remarks}
    problems = {text: None for listing in listings.values() for text in listing.problems}
    yield from (Finding(True, text, warns=True) for text in remarks)
    yield from (Finding(False, text) for text in problems)
    for split, listing in listings.items():
        if listing.classes:
            yield _images_per_class(split, listing)
            if expected is not None and split in expected.images:
                yield from as_expected(split, listing, expected)
    for split, listing in listings.items():
        if split != "train" and "train" in listings and _same_classes(listings["train"], listing):
            yield Finding(True, f"train and {split} have the same class folders")
    for split, listing in listings.items():
        paths = [path for paths in listing.classes.values() for path in paths]
        yield from images(split, paths, decode=decode, limit=limit)


def _same_classes(one, other):
    return bool(one.classes) and one.classes.keys() == other.classes.keys()


def _images_per_class(split, listing):
    counts = {name: len(images) for name, images in listing.classes.items()}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    return Finding(
        True,
        f"{split}: {sum(counts.values()):,} images in {many(len(counts), 'class')}: at least "
        f"{counts[least]:,} ({least}), at most {counts[most]:,} ({most})",
    )


def as_expected(split: str, listing: folders.Listing, expected: Expected) -> list[Finding]:
    """Checks a split's classes and numbers of images against what they must be."""
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
