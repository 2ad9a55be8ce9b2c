"""A data set that is a folder of class folders: its splits, and what is wrong with them.

Images lie in DIR/train/CLASS/ and DIR/val/CLASS/; or in DIR/CLASS/, and then a fifth of each class
is held out. Training, evaluation and `check` list and judge a split here. Imports no TensorFlow.
"""

import os
from pathlib import Path
from typing import NamedTuple

from resnet_keras.errors import InputError, hint

from . import splits
from .listing import check_root, entries_in, holds_images, is_image, left_out

_SPLITS = ("train", "val", "validation", "test")
_OF_ONE_FOLDER = ("train", "val", "trainval")  # of class folders without train/ and val/
_LISTED = 20  # names in one sentence


class Listing(NamedTuple):
    """What a split's folder holds.

    Attributes:
        folder: of the split.
        classes: paths of images by class, in the order of the classes' names.
        problems: why it cannot be trained or evaluated on, a sentence each without a full stop.
        remarks: what is left out of it, and how it came to be a split, a sentence each.
    """

    folder: Path
    classes: dict[str, list[str]]
    problems: list[str]
    remarks: list[str]


def list_split(data_dir: str | os.PathLike | None, split: str) -> Listing:
    """Lists the images of a split and judges it.

    Args:
        data_dir: folder of the data set.
        split: "train", "val" (or a folder "validation"), "test" or the name of another folder; of
            class folders without train/ and val/, "trainval" is all of them.

    Raises:
        InputError: there is no such split.
    """
    folder = split_folder(data_dir, split)
    inside = entries_in(folder)
    classes: dict[str, list[str]] = {}
    problems, others, deeper = [], [], []
    for path in inside.folders:
        try:
            entries = entries_in(path)
            classes[os.path.basename(path)] = entries.images
            others += [path for path in entries.others if path not in {*entries.folders}]
            deeper += entries.folders
        except InputError as error:
            problems.append(str(error).rstrip("."))
    loose = [path for path in inside.others if path not in {*inside.folders}]
    if not classes and not problems:
        problems.append(_no_classes(folder, inside.images, loose))
        return Listing(folder, classes, problems, [])
    empty = [name for name, images in classes.items() if not images]
    if empty:
        problems.append(f"{folder} has {_listed(empty, 'class folder', 'without images')}")
    remarks = [
        *([left_out(others, folder)] if others else []),
        *([left_out(deeper, folder, "inside a class folder", "folder")] if deeper else []),
        *([left_out(inside.images, folder, "outside the class folders")] if inside.images else []),
    ]
    listing = Listing(folder, classes, problems, remarks)
    if folder == check_root(data_dir):  # which has the class folders itself
        return _held_out(listing, split)
    return _compared(listing, split, class_names(data_dir, split))


def split_folder(data_dir: str | os.PathLike | None, split: str) -> Path:
    """Returns DIR/SPLIT, or DIR where it has the class folders; `InputError` for no such split."""
    root = check_root(data_dir)
    folder = _find(root, split)
    if folder is None:
        there = [*_OF_ONE_FOLDER] if is_flat(root) else _there(root)
        what = "splits" if is_flat(root) else "folders"
        way_out = f" {splits.HOLD_OUT}" if has_train_only(root) else hint(split, there)
        if not way_out and not is_flat(root) and not {*there} & {*_SPLITS}:
            way_out = (
                " Images belong in train/CLASS/ and val/CLASS/, or right in two folders CLASS/ or "
                "more."
            )
        listed = ", ".join(there[:8]) or f"no {what}"
        raise InputError(f"{root} has no folder {split}/; it has {listed}.{way_out}")
    return folder


def has_train_only(data_dir: str | os.PathLike) -> bool:
    """Whether there is a folder train/ and none that could be another split."""
    return _there(Path(data_dir).expanduser()) == ["train"]


def is_flat(root: Path) -> bool:
    """Whether images lie in class folders ROOT/CLASS/ themselves, at least in two of them."""
    try:
        folders = entries_in(root).folders
    except InputError:
        return False
    if {os.path.basename(path) for path in folders} & {*_SPLITS}:
        return False
    return sum(holds_images(path) for path in folders) >= 2


def class_names(data_dir: str | os.PathLike | None, split: str = "train") -> tuple[str, ...]:
    """Returns the classes, by name: train's; without a train, the split's own, or else val's.

    Raises:
        InputError: there are none.
    """
    root = check_root(data_dir)
    folder = _find(root, "train") or _find(root, split) or _find(root, "val")
    folder = folder or split_folder(data_dir, split)
    inside = entries_in(folder)
    if not inside.folders:
        raise InputError(f"{_no_classes(folder, inside.images, inside.others)}.")
    return tuple(os.path.basename(path) for path in inside.folders)


def _find(root, split):
    names = {"val": ("val", "validation")}.get(split, (split,))
    if is_flat(root):
        return root if split in _OF_ONE_FOLDER else None
    return next((root / name for name in names if (root / name).is_dir()), None)


def _there(root):
    return [os.path.basename(path) for path in entries_in(root).folders]


def _held_out(listing, split):
    """The share of class folders that is `split`; a class with one image cannot have both."""
    folder, problems = listing.folder, listing.problems
    remark = (
        f"{folder} has class folders and no train/ and val/: 80 % of each class is trained on, "
        "20 % is val"
    )
    if split == "trainval":
        return listing
    single = [name for name, images in listing.classes.items() if len(images) == 1]
    if single:
        what = "with one image only, which cannot be both trained on and held out"
        problems = [*problems, f"{folder} has {_listed(single, 'class folder', what)}"]
    classes = {}
    for name, images in listing.classes.items():
        held = splits.held_out([os.fsencode(_relative(path, folder)) for path in images])
        classes[name] = [
            path for path, is_held in zip(images, held, strict=True) if is_held == (split == "val")
        ]
    return Listing(folder, classes, problems, [remark, *listing.remarks])


def _relative(path, folder):
    return path if str(folder) == "." else path.removeprefix(os.path.join(folder, ""))


def _compared(listing, split, known):
    """The listing with what of its classes is not as train's, by which all splits are numbered."""
    more = [name for name in listing.classes if name not in known]
    fewer = [name for name in known if name not in listing.classes]
    problems, remarks = [*listing.problems], [*listing.remarks]
    if more:
        what = "that the train folder lacks"
        problems.append(f"{listing.folder} has {_listed(more, 'class folder', what)}")
    if fewer and not problems:
        what = f"of train's that {split} lacks"
        remarks.append(f"{_listed(fewer, 'class folder', what)}; no error tells of these classes")
    return listing._replace(problems=problems, remarks=remarks)


def _listed(names, noun, what):
    """Returns "2 class folders WHAT: a, b", or the first of them and how many more."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    plural = "" if len(names) == 1 else "s"
    return f"{len(names):,} {noun}{plural} {what}: {', '.join(names[:_LISTED])}{more}"


def _no_classes(folder, images, others):
    """What to do about a split's folder without class folders, such as official ImageNet's."""
    tars = sum(path.endswith(".tar") for path in others)
    images = [path for path in images if is_image(os.path.basename(path))]
    if images:
        return (
            f"{folder} holds {len(images):,} images and no class folders: move each image into the "
            f"folder of its class, {folder}/CLASS/ (ImageNet's validation images, sorted by name, "
            "have the classes that line by line stand in "
            "tensorflow_datasets/datasets/imagenet2012/validation_labels.txt)"
        )
    if tars:
        return (
            f"{folder} holds {tars:,} .tar files and no class folders: extract each CLASS.tar into "
            f"{folder}/CLASS/"
        )
    return f"{folder} holds no class folders: images belong in {folder}/CLASS/"
