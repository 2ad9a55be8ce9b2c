"""Made images of coloured shapes, with boxes and per-pixel masks: a data set that is always there.

Each image is a function of (seed, number): up to four circles, squares and triangles, which may
overlap, on a noisy ground. One image in twenty-five has none. Of `main_shapes`, for localization,
one shape is the main object, and up to three are much smaller; these are of 64x64 pixels, a quarter
of the 256 from which the paper takes crops of 224.
"""

from typing import NamedTuple

import numpy as np

from resnet_keras.errors import unknown

from . import instances, splits
from .annotations import Annotations, of_objects

CLASSES = ("circle", "square", "triangle")
SIDE = 128
MAIN_SIDE = 64
NUMBERS = {"train": range(1000), "val": range(1000, 1200), "test": range(1200, 1400)}
SHAPES, MAIN_SHAPES = "shapes", "main_shapes"
SIDES = {SHAPES: SIDE, MAIN_SHAPES: MAIN_SIDE}
_MOST, _EMPTY = 4, 0.04
_SIZES = (24, 56)  # pixels, from side to side
_MAIN, _SMALL = (24, 44), (7, 13)
_MAIN_KEY = 2**32  # added to numbers, so that both kinds share no draws
_VISIBLE = 0.6  # of each shape, at least
_CONTRAST = 60.0  # between a shape and the ground, at least
_NOISE = 24.0
_TRIES = 20  # at a place where no other shape is hidden


class Example(NamedTuple):
    """One image and what is seen in it.

    Attributes:
        image: uint8 (side, side, 3).
        boxes: int32 (objects, 4), around the pixels that are seen; xyxy, half-open.
        labels: int32 (objects,).
        areas: int32 (objects,), pixels that are seen.
        mask: uint8 (side, side), 0 for the ground and label + 1 for a shape.
        instances: uint8 (side, side), 0 for the ground and the object's number + 1 for a shape.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    mask: np.ndarray
    instances: np.ndarray


def example(seed: int, number: int) -> Example:
    """Draws an image of `shapes`."""
    uniform, ground, pixels = _ground(seed, number, SIDE)
    count = 0 if uniform() < _EMPTY else 1 + int(_MOST * uniform())
    return _drawn(uniform, ground, pixels, [_SIZES] * count)


def main_example(seed: int, number: int) -> Example:
    """Draws an image of `main_shapes`; the main object comes first."""
    uniform, ground, pixels = _ground(seed, number + _MAIN_KEY, MAIN_SIDE)
    return _drawn(uniform, ground, pixels, [_MAIN, *[_SMALL] * int(_MOST * uniform())])


def _ground(seed, number, side):
    """What draws, the ground's colour, and its pixels, float64 (side, side, 3)."""
    # Of NumPy's draws only these doubles stay the same from version to version.
    uniform = np.random.Generator(np.random.Philox(key=[seed, number])).random
    ground = 255 * uniform(3)
    slope = 60 * (uniform((2, 3)) - 0.5)
    places = (np.arange(side) + 0.5) / side - 0.5
    pixels = (ground + 0.5 + places[:, None, None] * slope[0]) + places[None, :, None] * slope[1]
    return uniform, ground, pixels


def _drawn(uniform, ground, pixels, ranges):
    """Draws shapes with sizes in these ranges, in place."""
    side = len(pixels)
    instances = np.zeros([side, side], np.uint8)
    labels: list[int] = []
    for sizes in ranges:
        label = int(len(CLASSES) * uniform())
        shape = _place(uniform, label, sizes, instances, len(labels))
        if shape is None:
            continue
        labels.append(label)
        instances[shape] = len(labels)
        pixels[shape] = _colour(uniform, ground)
    pixels += _NOISE * (uniform((side, side, 1)) - 0.5)
    of_instance = np.array([0, *(label + 1 for label in labels)], np.uint8)
    seen = [instances == n + 1 for n in range(len(labels))]
    return Example(
        np.clip(pixels, 0, 255, out=pixels).astype(np.uint8),
        np.array([_box(shape) for shape in seen], np.int32).reshape([-1, 4]),
        np.array(labels, np.int32),
        np.array([shape.sum() for shape in seen], np.int32),
        of_instance[instances],
        instances,
    )


def _place(uniform, label, sizes, instances, count):
    """Pixels of a shape that leaves enough to be seen of those before; None if none is found."""
    side = len(instances)
    areas = np.bincount(instances.ravel(), minlength=count + 1)
    for _ in range(_TRIES):
        size = sizes[0] + (sizes[1] - sizes[0]) * uniform()
        top, left = (side - size) * uniform(2)
        shape = _SHAPES[label](side, top, left, size)
        hidden = np.bincount(instances[shape], minlength=count + 1)
        if (hidden[1:] <= (1 - _VISIBLE) * areas[1:]).all():
            return shape
    return None


def _circle(side, top, left, size):
    rows, columns = _grid(side, top, left, size)
    return rows**2 + columns**2 <= 0.25


def _square(side, top, left, size):
    rows, columns = _grid(side, top, left, size)
    half = 0.5 * 0.9  # about as large as a circle to the eye
    return (abs(rows) <= half) & (abs(columns) <= half)


def _triangle(side, top, left, size):
    rows, columns = _grid(side, top, left, size)
    return (abs(rows) <= 0.5) & (2 * abs(columns) <= rows + 0.5)


_SHAPES = (_circle, _square, _triangle)


def _grid(side, top, left, size):
    """Rows (side, 1) and columns (1, side) from the middle of a shape, -0.5 to 0.5 within it."""
    places = np.arange(side) + 0.5
    return ((places - top) / size - 0.5)[:, None], ((places - left) / size - 0.5)[None]


def _colour(uniform, ground):
    colour = 255 * uniform(3)
    while np.abs(colour - ground).max() < _CONTRAST:
        colour = 255 * uniform(3)
    return colour


def _box(shape):
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def numbers(split: str) -> np.ndarray:
    """Which images are a split's, or a share's such as "train[:10%]"; no two splits share one.

    Raises:
        InputError: no such split.
    """
    wanted = splits.parse(split)
    if wanted.name not in NUMBERS:
        raise unknown("split", wanted.name, NUMBERS)
    everything = np.asarray(NUMBERS[wanted.name])
    return everything[slice(*wanted.limits(len(everything)))]


def examples(split: str, *, seed: int = 0, name: str = SHAPES) -> list[Example]:
    """Draws a split of "shapes" or "main_shapes"; about a millisecond for an image."""
    draw = {SHAPES: example, MAIN_SHAPES: main_example}[name]
    return [draw(seed, number) for number in numbers(split).tolist()]


def annotations(
    split: str, drawn: list[Example], name: str = SHAPES, *, outlined: bool = False
) -> Annotations:
    """The boxes of a split's `examples`, and with `outlined` the run lengths of their masks.

    The key of image number n is "NAME/n".
    """
    names = [f"{name}/{number}" for number in numbers(split).tolist()]
    objects = [
        (image, tuple(box), label, False, False, area, f"{names[image]}: object {number}")
        for image, one in enumerate(drawn)
        for number, (box, label, area) in enumerate(
            zip(one.boxes, one.labels, one.areas, strict=True)
        )
    ]
    sizes, ids = [(SIDES[name], SIDES[name])] * len(names), range(len(names))
    content = of_objects(CLASSES, range(len(CLASSES)), names, ids, sizes, objects, str)
    if not outlined:
        return content
    masks = (one.instances == n + 1 for one in drawn for n in range(len(one.labels)))
    return content._replace(outlines=instances.encode(masks))
