"""Anchors: the boxes at each cell of a feature map from which the RPN regresses (Ren et al. 2015).

The sets of the three projects whose weights are public differ in rounding and order, so each has a
function. `base` is NumPy, the grid is made of Keras operations.
"""

import numpy as np
from keras import ops

from resnet_keras.errors import unknown


def base(sizes, ratios=(0.5, 1.0, 2.0), *, preset="paper"):
    """The anchors of one cell, centred at the origin.

    Args:
        sizes: square roots of the anchors' areas, in pixels.
        ratios: heights over widths.
        preset: "paper" (py-faster-rcnn), "torchvision" or "detectron2"; the first two vary the size
            faster, the last the ratio.

    Returns:
        float32 (len(sizes) * len(ratios), 4).

    Raises:
        InputError: no such preset.
    """
    if preset not in _SIDES:
        raise unknown("preset of anchors", preset, _SIDES)
    sides = _SIDES[preset](np.asarray(sizes, "float64"), np.asarray(ratios, "float64"))
    half = np.stack(sides, axis=-1).reshape(-1, 2) / 2
    if preset == "torchvision":
        half = np.round(half)
    return np.concatenate([-half, half], axis=1).astype("float32")


# The centre of the first cell's anchors, in strides. py-faster-rcnn's 0-based, inclusive corners,
# such as (-84, -40, 99, 55) at stride 16, are centred in the cell; the others at its corner.
OFFSETS = {"paper": 0.5, "torchvision": 0.0, "detectron2": 0.0}


def grid(base, stride, height, width, *, offset=0.0):
    """The anchors of a feature map, row by row, those of a cell together.

    Args:
        base: anchors of a cell, (A, 4).
        stride: pixels between two cells, one number or one for rows and one for columns.
        height: rows of the map, an int or a scalar tensor.
        width: columns of the map, likewise.
        offset: where in the first cell the anchors are centred, in strides; see `OFFSETS`.

    Returns:
        float32 (height * width * A, 4).
    """
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    y, x = (
        (ops.cast(ops.arange(cells), "float32") + offset) * ops.cast(pixels, "float32")
        for cells, pixels in zip((height, width), strides, strict=True)
    )
    y, x = (ops.reshape(axis, (-1,)) for axis in ops.meshgrid(y, x, indexing="ij"))
    shifts = ops.stack([x, y, x, y], axis=-1)
    anchors = shifts[:, None] + ops.cast(base, "float32")[None]
    return ops.reshape(anchors, (-1, 4))


def inside(anchors, size, border=0):
    """Which anchors do not cross the border of their image: only these train the RPN.

    Args:
        anchors: (N, 4).
        size: height and width of the images without their padding, (2,) or (B, 2).
        border: pixels by which they may.

    Returns:
        bool (N,) or (B, N).
    """
    anchors, size = ops.cast(anchors, "float32"), ops.cast(size, "float32")
    height, width = size[..., 0, None], size[..., 1, None]
    left, top = anchors[:, 0] >= -border, anchors[:, 1] >= -border
    return left & top & (anchors[:, 2] <= width + border) & (anchors[:, 3] <= height + border)


def _paper_sides(sizes, ratios):
    """py-faster-rcnn: sides of 16-pixel anchors are rounded, and then scaled; ratio outer."""
    widths = np.round(16 / np.sqrt(ratios))
    heights = np.round(widths * ratios)
    return np.outer(widths, sizes / 16), np.outer(heights, sizes / 16)


def _torchvision_sides(sizes, ratios):
    """Not rounded yet: torchvision rounds the corners; ratio outer."""
    return np.outer(1 / np.sqrt(ratios), sizes), np.outer(np.sqrt(ratios), sizes)


def _detectron2_sides(sizes, ratios):
    """Exact; size outer."""
    return np.outer(sizes, 1 / np.sqrt(ratios)), np.outer(sizes, np.sqrt(ratios))


_SIDES = {
    "paper": _paper_sides,
    "torchvision": _torchvision_sides,
    "detectron2": _detectron2_sides,
}
