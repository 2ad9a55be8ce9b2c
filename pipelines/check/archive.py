"""ImageNet's two archives, from which TFDS builds its records."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from .finding import Finding


class Archive(NamedTuple):
    """What an archive is known to be, and TFDS's name of the split it holds."""

    split: str
    size: int
    md5: str


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
        with open(path, "rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        return Finding(False, f"{path} cannot be read: {error.strerror}")
    if md5 != known.md5:
        return Finding(False, f"{path} has the MD5 {md5}, not {known.md5}: copy it again")
    return Finding(True, f"{path} has its size and its MD5 {md5}")
