"""Image files as the single-crop test sees them, one by one, for whoever labels them.

Where Pillow is installed it decodes and resizes JPEGs, in threads and in a quarter of the CPU
time of TensorFlow's operations, to the same pixels: those of `encoded.images`, which is asked for
all other files and wherever something is unusual.
"""

import importlib.metadata
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from . import listing
from .view import check_shown

AHEAD = 2  # batches that are read beside the one that is used
_EXACT = 13  # version of Pillow that resizes as `augment.resize` does
_ORIENTATION, _SHORT = 0x0112, 3  # a tag of EXIF, and its type of two bytes
_TURNS = {
    **{2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"},
    **{6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"},
}
_MODES = ("RGB", "L")  # of JPEGs; CMYK is converted otherwise here


def batches(
    paths: Sequence[str],
    batch_size: int,
    *,
    image_size: int,
    resize: int,
    interpolation: str = "bilinear",
    crop_mode: str = "centre",
    antialias: bool = True,
    exif_orientation: bool = True,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads image files, in order.

    Args:
        paths: of files.
        batch_size: images at once.
        image_size, resize, interpolation, crop_mode, antialias, exif_orientation: as of
            `encoded.images`.

    Yields:
        uint8 images (batch, size, size, 3), black where a file cannot be decoded, and whether it
        could, bool (batch,).

    Raises:
        InputError: there is no such view.
    """
    shown = {
        "image_size": image_size,
        "resize": resize,
        "interpolation": interpolation,
        "crop_mode": crop_mode,
        "antialias": antialias,
        "exif_orientation": exif_orientation,
    }
    check_shown(image_size, resize, interpolation, crop_mode)
    if not _pillow_applies(antialias):
        yield from _by_tensorflow(paths, batch_size, shown)
        return
    # What cannot be read of it counts as upright, and is no concern of whoever asks for a view.
    warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning, "PIL")
    waiting: deque[tuple[Sequence[str], list[Any]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for start in range(0, len(paths), batch_size):
                some = paths[start : start + batch_size]
                waiting.append((some, [pool.submit(_view, path, shown) for path in some]))
                if len(waiting) > AHEAD:
                    yield _finished(*waiting.popleft(), shown)
            while waiting:
                yield _finished(*waiting.popleft(), shown)
        finally:  # where nobody asks for the rest
            pool.shutdown(cancel_futures=True)


def _pillow_applies(antialias):
    if not antialias:  # what Keras's loader does is made of TensorFlow's operations
        return False
    try:
        version = importlib.metadata.version("pillow")
    except importlib.metadata.PackageNotFoundError:
        return False
    return int(version.split(".")[0]) >= _EXACT


def _by_tensorflow(paths, batch_size, shown):
    from . import encoded, stream

    files = encoded.images(paths, **shown).batch(batch_size)
    for images, readable in stream.prefetch(files, None):
        yield np.asarray(images), np.asarray(readable)


def _finished(paths, jobs, shown):
    """A batch, with what Pillow did not take from TensorFlow."""
    views = [job.result() for job in jobs]
    good = np.ones(len(views), bool)
    left = [place for place, view in enumerate(views) if view is None]
    if left:
        others = _by_tensorflow([paths[place] for place in left], len(left), shown)
        ((images, readable),) = others
        for place, image, is_good in zip(left, images, readable, strict=True):
            views[place], good[place] = image, is_good
    return np.stack(views), good


def _view(path, shown):
    """A JPEG's view, uint8 (size, size, 3); None for a file that Pillow is not asked for."""
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        # Not Image.open, which takes other formats, and warns of images that are large.
        with JpegImageFile(path) as image:
            if image.mode not in _MODES or image.width * image.height > listing.MAX_PIXELS:
                return None
            turned = _upright(image) if shown["exif_orientation"] else image
            return _centre(turned.convert("RGB"), shown)
    except Exception:  # it has many for broken files, which TensorFlow's decoder judges
        return None


def _upright(image):
    """As `exif.upright`. `ImageOps.exif_transpose` heeds XMP and numbers of other types, too."""
    from PIL import Image

    turn = _TURNS.get(_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0")))
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _orientation(directory):
    """As `exif.orientation`, of what stands in the segment of EXIF."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(directory[:4])
    if order is None:
        return 1
    place = int.from_bytes(directory[4:8], order)
    count = int.from_bytes(directory[place : place + 2], order)
    end = min(place + 2 + 12 * count, len(directory) - 11)
    for start in range(place + 2, end, 12):
        tag, kind, value = (
            int.from_bytes(directory[start + at : start + at + 2], order) for at in (0, 2, 8)
        )
        if tag == _ORIENTATION and kind == _SHORT and 1 <= value <= 8:
            return value
    return 1


def _centre(image, shown):
    """As `encoded.centre_view`, of a PIL image; None for one that is nearly a line."""
    from PIL import Image

    size, resize = shown["image_size"], shown["resize"]
    shorter = min(image.size)
    stretch = shown["crop_mode"] == "stretch"
    width, height = (resize if stretch else side * resize // shorter for side in image.size)
    if width * height > listing.MAX_PIXELS:
        return None
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    resized = image.resize((width, height), filters[shown["interpolation"]])
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)))
