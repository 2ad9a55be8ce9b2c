"""The whole check: which data set it is, what it must hold, and every finding."""

import re
from collections.abc import Iterator
from pathlib import Path

from resnet_keras.errors import InputError, unknown

from .. import class_folders as folders
from .. import objects
from ..catalog import FOLDER, TFDS, UCR
from ..mask_files import split_folders
from .archive import archives
from .boxes import boxes
from .expected import IMAGENET, Expected
from .finding import Finding
from .folders import class_folders
from .masks import label_masks
from .records import IMAGENET2012, builder_of, is_prepared, prepared
from .series import series


def dataset_in(data_dir: str | None, *, masks: bool = False) -> str:
    """Guesses a data set by what DATA_DIR holds.

    With `masks`, for segmentation, that is "coco" for annotations/instances_*.json, "folder" for
    images/ and masks/, and else "voc". Without, it is "voc" for Annotations/ and JPEGImages/,
    "coco" as before, "ucr" for files of series, "folder" for train/, val/ or class folders, and
    else "imagenet2012".
    """
    root = Path(data_dir or "").expanduser()
    if data_dir is None or not root.is_dir():
        return FOLDER if masks else IMAGENET2012
    if masks:
        is_coco = any(root.glob("annotations/instances_*.json"))
        return "coco" if is_coco else FOLDER if split_folders(root) else "voc"
    if (root / "Annotations").is_dir() and (root / "JPEGImages").is_dir():
        return "voc"
    if any(root.glob("annotations/instances_*.json")):
        return "coco"
    if any(root.glob("*_TRAIN.ts*")):
        return UCR
    if any((root / split).is_dir() for split in ("train", "val")) or folders.is_flat(root):
        return FOLDER
    return UCR if any(root.glob("*.npz")) else IMAGENET2012


def expected_in(data_dir: str | None) -> Expected | None:
    """Returns `IMAGENET` for class folders of which most are named as ImageNet's are."""
    try:
        names = folders.class_names(data_dir)
    except InputError:
        return None
    wordnet = sum(re.fullmatch(r"n\d{8}", name) is not None for name in names)
    return IMAGENET if wordnet > IMAGENET.classes // 2 else None


def findings(
    dataset: str,
    data_dir: str | None,
    *,
    masks: bool = False,
    exif_orientation: bool = False,
    annotations: str | None = None,
    archives_in: str | None = None,
    hashes: bool = False,
    expected: Expected | None = None,
    decode: bool = True,
    limit: int = 0,
) -> Iterator[Finding]:
    """Checks a data set, one finding after the other.

    Args:
        dataset: "folder", "ucr", "imagenet2012", "tfds/NAME", or one of images with boxes, see
            `objects`.
        data_dir: its folder, or TFDS's.
        masks: whether it is checked as one of images with masks, see `pipelines.masks`.
        exif_orientation: whether those masks are of images that are turned as EXIF says.
        annotations: the JSON file of "coco", where it lies elsewhere.
        archives_in: folder of ImageNet's archives, which are checked too.
        hashes: whether the archives' MD5s are taken.
        expected: what the data set must hold; imagenet2012 must hold `IMAGENET` in any case.
        decode: whether images are decoded, and not only their headers parsed.
        limit: how many examples of each split are read; 0 for all.

    Raises:
        InputError: another data set, a folder that is not there, or a data set of TFDS's that is
            unknown or not made of images with labels.
    """
    if masks:
        options = {"annotations": annotations, "decode": decode, "limit": limit}
        yield from label_masks(dataset, data_dir, exif_orientation=exif_orientation, **options)
        return
    if objects.has_objects(dataset):
        options = {"annotations": annotations, "decode": decode, "limit": limit}
        yield from boxes(dataset, data_dir, **options)
        return
    if dataset == UCR:
        yield from series(data_dir)
        return
    if dataset != FOLDER and dataset != IMAGENET2012 and not dataset.startswith(TFDS):
        known = [FOLDER, IMAGENET2012, f"{TFDS}NAME", UCR, *objects.DATASETS]
        raise unknown("dataset", dataset, known)
    if archives_in is not None:
        yield from archives(archives_in, hashes=hashes)
    if dataset == FOLDER:
        yield from class_folders(data_dir, expected=expected, decode=decode, limit=limit)
        return
    name = dataset.removeprefix(TFDS)
    builder = builder_of(name, data_dir)
    if name == IMAGENET2012:
        expected = expected or IMAGENET
        manual = builder.data_path.parents[1] / "downloads" / "manual"
        if archives_in is None and (manual.is_dir() or not is_prepared(builder)):
            yield from archives(manual, hashes=hashes)
    yield from prepared(name, data_dir, expected=expected, decode=decode, limit=limit)
