"""Which files of a folder are images: one answer for training, `check` and `predict`.

Hidden files and folders, whose names begin with a dot, are left out; symbolic links are followed;
names are sorted. Imports no TensorFlow.
"""

import os
from pathlib import Path
from typing import NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.files import check_local

SUFFIXES = (".jpg", ".jpeg", ".png")  # of image files


class Entries(NamedTuple):
    """Paths of what lies in a folder, each in the order of the names.

    `images` are files with the name of an image, `others` all other files and the folders, and
    `folders` the folders alone.
    """

    images: list[str]
    others: list[str]
    folders: list[str]


def entries_in(folder: str | os.PathLike) -> Entries:
    """Lists a folder, without what lies in folders below it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        inside = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    before = "" if str(folder) == "." else os.path.join(folder, "")
    entries = Entries([], [], [])
    for entry in inside:
        if entry.name.startswith("."):
            continue
        path = f"{before}{entry.name}"
        # Not DirEntry.is_dir of a link, which fails where links go round in a circle.
        if os.path.isdir(entry) if entry.is_symlink() else entry.is_dir():
            entries.folders.append(path)
            entries.others.append(path)
        else:
            (entries.images if _is_image(entry.name) else entries.others).append(path)
    return entries


def check_root(data_dir: str | os.PathLike | None) -> Path:
    """Returns the folder of a data set of class folders; `InputError` where there is none."""
    if data_dir is None:
        raise InputError("Give data_dir=FOLDER, which holds train/CLASS/ and val/CLASS/.")
    check_local(data_dir)
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    return root


def holds_images(folder: str | os.PathLike) -> bool:
    """Whether at least one image file lies in a folder itself."""
    with os.scandir(folder) as entries:
        return any(_is_image(entry.name) and not entry.is_dir() for entry in entries)


def images_below(folder: str | os.PathLike) -> list[str]:
    """Returns the image files in a folder and in all folders below it, in the order of their paths.

    A link to a folder around it, which would go round in a circle, is not followed.

    Raises:
        InputError: a folder cannot be read.
    """
    return _below(str(Path(folder)), ())


def _below(folder, around):
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in around:
        return []
    entries = entries_in(folder)
    paths: list[str] = []
    images = ((path, False) for path in entries.images)
    folders = ((path, True) for path in entries.folders)
    for path, is_folder in sorted([*images, *folders]):
        paths += _below(path, (*around, here)) if is_folder else [path]
    return paths


def _is_image(name):
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
