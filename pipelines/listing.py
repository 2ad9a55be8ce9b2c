"""Which files of a folder are images: one answer for training, `check` and `predict`.

Hidden files and folders, whose names begin with a dot, are left out; symbolic links are followed;
names are sorted. Imports no TensorFlow.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.files import check_local

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # of image files
FORMATS = "JPEG, PNG or WebP"
# An image of more pixels is taken for a broken one, before memory is set aside for it.
MAX_PIXELS = 128 * 2**20
_SHOWN = 3  # names of files that are left out


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
            (entries.images if is_image(entry.name) else entries.others).append(path)
    return entries


def check_root(data_dir: str | os.PathLike | None) -> Path:
    """Returns the folder of a data set of class folders; `InputError` where there is none."""
    if data_dir is None:
        raise InputError(
            "Give data_dir=FOLDER, which holds train/CLASS/ and val/CLASS/, or just CLASS/."
        )
    check_local(data_dir)
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    return root


def holds_images(folder: str | os.PathLike) -> bool:
    """Whether at least one image file lies in a folder itself; not where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return any(is_image(entry.name) and not entry.is_dir() for entry in entries)
    except OSError:
        return False


def files_below(folder: str | os.PathLike) -> tuple[list[str], list[str]]:
    """Lists the files in a folder and in all folders below it, in the order of their paths.

    A link to a folder around it, which would go round in a circle, is not followed.

    Returns:
        The image files, and the other files.

    Raises:
        InputError: a folder cannot be read.
    """
    images: list[str] = []
    others: list[str] = []
    for path in _below(str(Path(folder)), ()):
        (images if is_image(os.path.basename(path)) else others).append(path)
    return images, others


def _below(folder, around):
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in around:
        return []
    entries = entries_in(folder)
    folders = {*entries.folders}
    paths: list[str] = []
    for path in sorted({*entries.images, *entries.others}):
        paths += _below(path, (*around, here)) if path in folders else [path]
    return paths


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image, and not hidden."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def left_out(
    paths: Sequence[str],
    folder: str | os.PathLike,
    why: str = f"not {FORMATS} by name",
    noun: str = "file",
) -> str:
    """Counts and names what is left out of a folder, in one sentence without a full stop.

    Args:
        paths: of what is left out, one or more.
        folder: below which it lies.
        why: the reason.
        noun: what it is.
    """
    before = "" if str(folder) == "." else os.path.join(folder, "")
    names = ", ".join(path.removeprefix(before) for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    one = len(paths) == 1
    count = f"{len(paths):,} {noun}{'' if one else 's'}"
    return f"{count} in {folder} {'is' if one else 'are'} left out ({why}): {names}{more}"
