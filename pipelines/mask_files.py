"""Folders of images and masks: Pascal VOC's, and people's own.

"voc": DATA_DIR, or its one folder VOC* or VOCdevkit/VOC*, holds JPEGImages/NAME.jpg,
SegmentationClass/NAME.png and ImageSets/Segmentation/SPLIT.txt, the names of a split. Where the
former has no mask, it may be in SegmentationClassAug/, as those of the Berkeley annotations are.

"folder": DATA_DIR/images/ and DATA_DIR/masks/ hold files of the same names, but for their endings,
in train/ and val/, if there are such folders; DATA_DIR/train/images/ and so on are as good.
Without, "train" is a share of 80 % of all images, mixed the same on every machine, "val" the
others, and "trainval" all.

DATA_DIR/classes.txt names the classes of the labels 0, 1, ..., one a line. Imports no TensorFlow.
"""

import os
from pathlib import Path
from typing import NamedTuple

from resnet_keras import facts
from resnet_keras.errors import InputError, hint

from . import listing, splits
from .voc import HELD_OUT, read_list

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"
VOC_CLASSES = ("background", *facts.VOC_CLASSES)
LISTS = "ImageSets/Segmentation"
_VOC_MASKS = ("SegmentationClass", "SegmentationClassAug")


class Pairs(NamedTuple):
    """Paths of the images of a split and of their masks.

    `class_names` are in the order of the labels; None where nothing names them. `all_masks` are
    those of the whole data set.
    """

    class_names: tuple[str, ...] | None
    images: list[str]
    masks: list[str]
    all_masks: list[str]


def voc(data_dir: str | os.PathLike | None, split: str) -> tuple[Pairs, list[str]]:
    """Lists a split of a folder in VOC's format, or a share of one such as "train[:90%]".

    Returns:
        The pairs, and a sentence for each name of the split without an image or a mask.

    Raises:
        InputError: no such folder or split.
    """
    wanted = splits.parse(split)
    root = voc_root(data_dir)
    path = root / LISTS / f"{wanted.name}.txt"
    if not path.is_file():
        there = sorted(file.stem for file in (root / LISTS).glob("*.txt"))
        has = f"; it has {', '.join(there)}" if there else ""
        text = f"{root} has no {LISTS}/{wanted.name}.txt{has}."
        raise InputError(f"{text}{hint(wanted.name, there)}")
    names = read_list(path)
    images = _by_stem(root / "JPEGImages")
    masks = {}
    for folder in reversed(_VOC_MASKS):
        if (root / folder).is_dir():
            masks.update(_by_stem(root / folder))
    problems, pairs = [], []
    for name in names:
        if name not in images:
            expected = root / "JPEGImages" / f"{name}.jpg"
            problems.append(f"{path}: the image of {name} is missing: there is no file {expected}.")
        elif name not in masks:
            expected = root / _VOC_MASKS[0] / f"{name}.png"
            problems.append(f"{path}: the mask of {name} is missing: there is no file {expected}.")
        else:
            pairs.append((images[name], masks[name]))
    classes = _class_names(root) or VOC_CLASSES
    return _share(wanted, pairs, classes, sorted(masks.values())), problems


def folder(data_dir: str | os.PathLike | None, split: str) -> tuple[Pairs, list[str]]:
    """Lists a split of people's own images and masks, or a share of one such as "train[:90%]".

    Returns:
        The pairs, and a sentence for each image without a mask and each mask without an image.

    Raises:
        InputError: no such folder or split.
    """
    wanted = splits.parse(split)
    root = _root(data_dir, f"{IMAGES}/ and {MASKS}/")
    there = split_folders(root)
    classes = _class_names(root)
    masks = sorted(path for _, below in there.values() for path in _by_stem(below).values())
    if not there:
        raise InputError(
            f"{root} holds no folders {IMAGES}/ and {MASKS}/, nor train/{IMAGES}/ and "
            f"train/{MASKS}/."
        )
    share = wanted
    if "" in there:  # one folder of all
        if wanted.name not in HELD_OUT:
            raise InputError(
                f"{root} has no {IMAGES}/{wanted.name}/; without such folders the splits are "
                f"{', '.join(HELD_OUT)}."
            )
        if wanted.is_whole:
            share = splits.parse(HELD_OUT[wanted.name])
        elif wanted.name != "trainval":
            raise InputError(
                f"{root} has no {IMAGES}/{wanted.name}/: take shares of trainval, which is all "
                f"images, and not {wanted}."
            )
        below = there[""]
    elif wanted.name in there:
        below = there[wanted.name]
    else:
        text = f"{root} has no split {wanted.name!r}; it has {', '.join(there)}."
        also = f" {splits.HOLD_OUT}" if [*there] == ["train"] else hint(wanted.name, there)
        raise InputError(f"{text}{also}")
    pairs, problems = _paired(*below)
    return _share(share, pairs, classes, masks), problems


def split_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of images and of masks of each split; of "" where there are no splits."""
    images, masks = root / IMAGES, root / MASKS
    if images.is_dir() and masks.is_dir():
        inside = [path.name for path in _folders(images) if (masks / path.name).is_dir()]
        below = {name: (images / name, masks / name) for name in inside}
        return below or {"": (images, masks)}
    below = {path.name: (path / IMAGES, path / MASKS) for path in _folders(root)}
    return {name: pair for name, pair in below.items() if all(path.is_dir() for path in pair)}


def _folders(path):
    return [Path(name) for name in listing.entries_in(path).folders]


def _root(data_dir, what):
    if data_dir is None:
        raise InputError(f"Give data_dir=FOLDER, which holds {what}.")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    return root


def voc_root(data_dir: str | os.PathLike | None) -> Path:
    """Returns the folder that holds SegmentationClass/; `InputError` where there is none."""
    root = _root(data_dir, f"JPEGImages/ and {_VOC_MASKS[0]}/")
    inside = [root, *sorted(root.glob("VOC*")), *sorted(root.glob("VOCdevkit/VOC*"))]
    there = [path for path in inside if any((path / name).is_dir() for name in _VOC_MASKS)]
    if len(there) > 1 and there[0] != root:
        raise InputError(f"{root} holds several data sets: give {', or '.join(map(str, there))}.")
    if not there:
        raise InputError(f"{root} has no folder {_VOC_MASKS[0]}/ of masks.")
    return there[0]


def _by_stem(path):
    """{name without its ending: path} of a folder's images."""
    stems: dict[str, str] = {}
    for name in listing.entries_in(path).images:
        other = stems.setdefault(Path(name).stem, name)
        if other != name:
            raise InputError(f"{other} and {name} differ in their endings alone: rename one.")
    return stems


def _paired(images, masks):
    ours, theirs = _by_stem(images), _by_stem(masks)
    problems = [
        f"{path}: the mask is missing: there is no file {masks / stem}.png."
        for stem, path in ours.items()
        if stem not in theirs
    ]
    problems += [
        f"{path}: the image is missing: there is no image {images / stem}.jpg or .png."
        for stem, path in theirs.items()
        if stem not in ours
    ]
    return [(path, theirs[stem]) for stem, path in ours.items() if stem in theirs], problems


def _share(wanted, pairs, classes, all_masks):
    if not wanted.is_whole and pairs:
        names = [os.fsencode(Path(image).stem) for image, _ in pairs]
        pairs = [pairs[n] for n in splits.share(wanted, [0] * len(names), names)]
    return Pairs(classes, [image for image, _ in pairs], [mask for _, mask in pairs], all_masks)


def _class_names(root):
    """The lines of classes.txt; None without the file."""
    path = root / CLASSES
    if not path.is_file():
        return None
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    names = tuple(line.strip() for line in lines if line.strip())
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{path} has the class {twice} twice.")
    check_count(len(names), path)
    return names


def check_count(classes: int, where: object) -> None:
    """Raises `InputError` where masks of bytes cannot tell so many classes, or none apart."""
    if not 2 <= classes <= 255:
        raise InputError(f"{where} names {classes} classes, and not 2 to 255.")
