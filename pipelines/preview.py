"""A contact sheet of what the network sees: images as the pipelines make them, with labels."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnet_keras import drawing
from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, write_atomically

from . import encoded, maps, masks, objects, png, scenes, stream
from .batches import training
from .catalog import arrays, check_images, check_no_exif, info, open_split
from .view import View, test_side

_DPI = 100  # at which matplotlib's points become pixels
_FONT, _LINE, _LETTER = 9, 17, 8  # size in points; line height and a letter's width in pixels
_NARROWEST = 600  # pixels that a caption needs
_GAP = 8  # pixels between images
_MARGIN = 2  # pixels of ground around the name of an object
_SMALLEST, _HIGHEST = 128, 1280  # narrower images are enlarged, to no more than this height
_OBJECTS_SCALE = (240, 400)  # of images with boxes
_MASKS_SCALE, _MASKS_CROP = (240, 400), (240, 240)  # of images with masks

Outline = tuple[np.ndarray, int, str, bool]  # xyxy, label, class, whether it is a crowd region


def write(
    path: str | os.PathLike,
    dataset: str,
    split: str,
    count: int,
    *,
    seed: int,
    view: View | None = None,
    image_size: int | None = None,
    augmented: bool = True,
    data_dir: str | None = None,
    exif_orientation: bool | None = None,
    **small: Any,
) -> str:
    """Writes a PNG of the first images of the training stream, those of `examples`, to `path`.

    The folder of the picture is made; the other arguments are those of `examples`.

    Returns:
        One line that says what was written.

    Raises:
        InputError: not the name of a PNG, a folder that cannot be written to, or what `examples`
            raises.
        MissingExtraError: matplotlib is not installed.
    """
    path = _prepared(path)
    images, labels, names = examples(
        dataset,
        split,
        count,
        seed=seed,
        view=view,
        image_size=image_size,
        augmented=augmented,
        data_dir=data_dir,
        exif_orientation=exif_orientation,
        **small,
    )
    seen = f"as augmented with seed {seed}" if augmented else "as in evaluation"
    caption = f"{dataset}, {split}: the first {count} images of an epoch, {seen}"
    write_atomically(path, draw(images, titles(labels, names), caption))
    size = " x ".join(map(str, images.shape[1:3]))
    return f"{path}: {count} images of {size} pixels from {dataset}/{split}, {seen}"


def write_objects(
    path: str | os.PathLike,
    dataset: str,
    split: str,
    count: int,
    *,
    seed: int,
    augmented: bool = True,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    exif_orientation: bool = False,
) -> str:
    """Writes a PNG of a first batch of images with boxes, each with its class, to `path`.

    Images are smaller than in training, at the scale `_OBJECTS_SCALE`. Crowd regions are dashed.

    Args:
        path: of the picture, whose folder is made.
        dataset: as for `objects.training`, like all that is not told here.
        split: see there.
        count: how many images.
        seed: of the order and of what is drawn for each image.
        augmented: whether half the images are mirrored.
        data_dir: see there.
        annotations: see there.
        exif_orientation: see there.

    Returns:
        One line that says what was written.

    Raises:
        InputError: not the name of a PNG, a folder that cannot be written to, or what
            `objects.training` raises.
        MissingExtraError: matplotlib is not installed.
    """
    path = _prepared(path)
    source = objects.open_split(
        dataset,
        split,
        data_dir=data_dir,
        annotations=annotations,
        exif_orientation=exif_orientation,
    )
    scale = min(source.scale, _OBJECTS_SCALE)
    share = scenes.Share(count)
    batches = scenes.training(source, share, seed=seed, scales=(scale,), flip=augmented)
    features, targets = next(batches.take(1).as_numpy_iterator())
    outlines = [
        [
            (box, int(label), source.class_names[label], bool(crowd))
            for box, label, crowd in zip(*columns, strict=True)
            if label >= 0
        ]
        for columns in zip(targets["boxes"], targets["labels"], targets["crowd"], strict=True)
    ]
    numbers = [f"{len(boxes)} objects" if len(boxes) != 1 else "1 object" for boxes in outlines]
    seen = f"with seed {seed}" + ("" if augmented else ", not mirrored")
    caption = f"{dataset}, {split}: a batch of {count} images {seen}"
    write_atomically(path, draw(features["image"], numbers, caption, outlines))
    return f"{path}: {count} images with boxes from {dataset}/{split}, {seen}"


def write_masks(
    path: str | os.PathLike,
    dataset: str,
    split: str,
    count: int,
    *,
    seed: int,
    augmented: bool = True,
    data_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    exif_orientation: bool = False,
) -> str:
    """Writes a PNG of the first images with masks, these laid over the images, to `path`.

    Args:
        path: of the picture, whose folder is made.
        dataset: as for `masks.training`, like all that is not told here.
        split: see there.
        count: how many images.
        seed: of the order and of what is drawn for each image.
        augmented: whether images are resized, cut and mirrored at random; else the window at their
            top and left is shown.
        data_dir: see there.
        annotations: see there.
        exif_orientation: see there.

    Returns:
        One line that says what was written.

    Raises:
        InputError: not the name of a PNG, a folder that cannot be written to, or what
            `masks.training` raises.
        MissingExtraError: matplotlib is not installed.
    """
    path = _prepared(path)
    source = masks.open_split(
        dataset,
        split,
        data_dir=data_dir,
        annotations=annotations,
        exif_orientation=exif_orientation,
    )
    changed = {} if augmented else {"scales": (1.0, 1.0), "flip": False}
    crop = min(source.crop_size, _MASKS_CROP)
    scale = None if crop == source.crop_size else _MASKS_SCALE
    batches = maps.training(
        source, scenes.Share(count), seed=seed, crop_size=crop, scale=scale, **changed
    )
    images, labels = next(batches.take(1).as_numpy_iterator())
    names = source.class_names
    texts = [
        ", ".join(names[n] for n in np.unique(mask) if n != masks.IGNORED) or "nothing"
        for mask in labels
    ]
    seen = f"as augmented with seed {seed}" if augmented else "not augmented"
    caption = f"{dataset}, {split}: the first {count} images of an epoch, {seen}"
    ground = png.ground(names)
    overlays = np.stack(
        [png.overlay(*pair, ground=ground) for pair in zip(images, labels, strict=True)]
    )
    write_atomically(path, draw(overlays, texts, caption))
    return f"{path}: {count} images with masks from {dataset}/{split}, {seen}"


def _prepared(path):
    """The path of a PNG in a folder that is there now."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"The picture is a PNG: name it {path.with_suffix('.png')}, not {path}.")
    make_folder(path.parent)
    drawing.check()  # before a data set is opened
    return path


def examples(
    dataset: str,
    split: str,
    count: int,
    *,
    seed: int,
    view: View | None = None,
    image_size: int | None = None,
    augmented: bool = True,
    data_dir: str | None = None,
    exif_orientation: bool | None = None,
    **small: Any,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Returns the first images of the training stream, augmented or as evaluation sees them.

    Args:
        dataset: as for `pipelines.training`.
        split: as for `pipelines.training`.
        count: how many images.
        seed: of the order and of the augmentation. The images are the same ones with and without
            augmentation.
        view: of photographs, see `View`.
        image_size: side in pixels, for data sets that can be resized (not CIFAR).
        augmented: False shows the centre crop that evaluation takes.
        data_dir: as for `pipelines.training`.
        exif_orientation: of photographs, see `pipelines.open_split`.
        **small: `padding` and `flip` of `pipelines.training`, of small images in memory.

    Returns:
        uint8 images (count, height, width, 3), labels int32 (count,) or float32 (count, classes),
        and the classes' names, if the data set has them.

    Raises:
        InputError: as `pipelines.training`.
    """
    check_images(dataset, "preview")
    facts = info(dataset, data_dir)
    if facts.in_memory:
        check_no_exif(dataset, exif_orientation)
        names: tuple[str, ...] = ()
        own = (view, image_size, augmented, data_dir, small)
        batches = _from_memory(dataset, split, count, seed, *own)
    else:
        source = open_split(dataset, split, data_dir=data_dir, exif_orientation=exif_orientation)
        names = source.class_names
        batches = _photographs(source, count, seed, view, image_size or facts.image_size, augmented)
    images, labels = next(batches.take(1).as_numpy_iterator())
    return images, labels, names


def _from_memory(dataset, split, count, seed, view, image_size, augmented, data_dir, small):
    if not augmented:
        images, labels = arrays(dataset, split, image_size=image_size, data_dir=data_dir)
        return stream.training(images, labels, count, seed=seed)
    return training(
        dataset,
        split,
        count,
        seed=seed,
        image_size=image_size,
        data_dir=data_dir,
        view=view,
        device=None,
        **small,
    )


def _photographs(source, count, seed, view, side, augmented):
    chunks = stream.Chunks(count)
    if augmented:
        view = (view or View())._replace(image_size=side)
        return encoded.training(source, chunks, seed=seed, view=view)

    def in_training_order():
        rows = source.training(seed, chunks)
        return rows.map(lambda number, *row: row).unbatch().take(count)

    same = source._replace(ordered=in_training_order)
    return encoded.evaluation(same, count, image_size=side, resize=test_side(side))


def titles(labels: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Labels as text: "cat", or "cat .63" and "dog .37" on two lines for mixed ones.

    Args:
        labels: int (images,) or float (images, classes).
        names: of the classes; without them, their numbers are shown.
    """
    if labels.ndim == 1:
        return [_name(label, names) for label in labels]
    return [_shares(shares, names) for shares in labels]


def _shares(shares, names):
    first, second = np.argsort(-shares, kind="stable")[:2]
    if shares[second] < 0.005:
        return _name(first, names)
    return "\n".join(f"{_name(n, names)} {_fraction(shares[n])}" for n in (first, second))


def _fraction(share):
    return f"{share:.2f}".removeprefix("0")


def _name(label, names):
    return names[label] if names else str(label)


def draw(
    images: np.ndarray,
    texts: Sequence[str],
    caption: str,
    outlines: Sequence[Sequence[Outline]] = (),
) -> bytes:
    """Draws images in a grid, each below its text, pixel by pixel or enlarged by a whole factor.

    Args:
        images: uint8 (images, height, width, 3).
        texts: of one or two lines.
        caption: for the whole grid.
        outlines: of the objects of each image.

    Returns:
        The PNG file's content.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    times = min(math.ceil(_SMALLEST / images.shape[2]), _HIGHEST // images.shape[1])
    times = max(1, times)
    high, wide = images.shape[1] * times, images.shape[2] * times
    above = _LINE * max(text.count("\n") + 1 for text in texts)
    columns = _columns(len(images), (wide + _GAP) / (high + above + _GAP))
    rows = -(-len(images) // columns)
    width = max(_NARROWEST, columns * (wide + _GAP) + _GAP)
    top = 2 * _LINE
    height = top + rows * (above + high + _GAP)
    figure = drawing.new_figure((width / _DPI, height / _DPI), _DPI)
    figure.text(
        _GAP / width, 1 - top / 2 / height, _shortened(caption, width), size=_FONT + 1, va="center"
    )
    for place, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(place, columns)
        left = _GAP + column * (wide + _GAP)
        bottom = height - top - (row + 1) * (above + high + _GAP) + _GAP
        axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        for outline in outlines[place] if outlines else ():
            _outline(axes, outline, image.shape)
        lines = "\n".join(_shortened(line, wide) for line in text.split("\n"))
        axes.set_title(lines, size=_FONT, pad=3, linespacing=1.2, parse_math=False)
    return drawing.png(figure)


def _outline(axes, outline, shape):
    (x1, y1, x2, y2), label, name, crowd = outline
    colour = f"C{label % 10}"
    # The middle of the first pixel is at 0, 0; half-open boxes begin and end between pixels.
    x, y = np.array([x1, x2, x2, x1, x1]) - 0.5, np.array([y1, y1, y2, y2, y1]) - 0.5
    axes.plot(x, y, color=colour, linewidth=1.5, linestyle="--" if crowd else "-")
    # Above the object, where there is room, which it would hide.
    side = "bottom" if y1 > shape[0] / 10 else "top"
    name = _shortened(name, int(axes.bbox.width))
    text = axes.text(x1, y1 - 1, name, size=_FONT - 2, color="white", va=side, parse_math=False)
    text.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 1})
    axes.set_xlim(-0.5, shape[1] - 0.5)  # which `plot` moves
    axes.set_ylim(shape[0] - 0.5, -0.5)
    _move_inside(axes, text)


def _move_inside(axes, text):
    """Moves a text with its ground into the axes, where the image's edge would cut it off."""
    extent, inside = text.get_window_extent().padded(_MARGIN), axes.bbox
    right = max(min(0.0, inside.x1 - extent.x1), inside.x0 - extent.x0)  # its beginning first
    up = max(min(0.0, inside.y1 - extent.y1), inside.y0 - extent.y0)
    x, y = axes.transData.transform(text.get_position())
    text.set_position(axes.transData.inverted().transform((x + right, y + up)))


def _columns(count, aspect):
    """Columns for a sheet of about 3:2 of cells whose width over height is `aspect`.

    They are chosen for full rows, if it can be.
    """
    ideal = math.sqrt(1.5 * count / aspect)
    least = min(count, max(1, math.floor(0.75 * ideal)))
    near = range(least, min(count, math.ceil(1.35 * ideal)) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - ideal)))


def _shortened(text, pixels):
    """Cuts out of the middle, for mixed labels end in their share."""
    letters = max(8, pixels // _LETTER)
    return text if len(text) <= letters else f"{text[: letters - 5]}…{text[-4:]}"
