"""A picture of precision over recall, by matplotlib (the extra `plot`)."""

from collections.abc import Sequence

import numpy as np

from resnet_keras import drawing

from .scores import CURVE_IOUS, CocoScores

MOST_COLOURED = 10  # classes; of more, the best and the worst have a colour and the others are grey
_ENDS = 4
_DPI = 120
_LETTERS = 24


def draw(scores: CocoScores, class_names: Sequence[str], title: str) -> bytes:
    """Draws COCO's curves of each class and their mean, at the IoUs of `scores.CURVE_IOUS`.

    Args:
        scores: of `scores.coco`.
        class_names: in the order of the labels.
        title: of the picture.

    Returns:
        The content of a PNG file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    known = np.flatnonzero(scores.ap50 > -1)
    coloured = _coloured(scores.ap50, known)
    rows = -(-(len(coloured) + 2) // 2)
    figure = drawing.new_figure((10, 5 + 0.2 * rows), _DPI, layout="constrained")
    figure.suptitle(_with_missing(title, len(class_names) - len(known)), size=11, parse_math=False)
    for place, (iou, precision) in enumerate(zip(CURVE_IOUS, scores.precision, strict=True)):
        axes = figure.add_subplot(1, len(CURVE_IOUS), place + 1)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.set_title(f"IoU {iou:g}", size=10)
        axes.grid(color="0.9")
        if not len(known):
            axes.text(0.5, 0.5, "no objects", ha="center")
            continue
        for label in known:
            if label not in coloured:
                axes.plot(scores.recall, precision[label], color="0.75", linewidth=0.6, zorder=2)
        for number, label in enumerate(coloured):
            name = f"{_shortened(class_names[label])} {precision[label].mean():.3f}"
            axes.plot(
                scores.recall, precision[label], color=f"C{number}", linewidth=1.4, label=name
            )
        if len(known) > 1:
            mean = precision[known].mean(axis=0)
            name = f"mean of {len(known)} classes {mean.mean():.3f}"
            axes.plot(scores.recall, mean, color="black", linewidth=2.4, label=name)
        if len(coloured) < len(known):
            axes.plot([], [], color="0.75", label=f"{len(known) - len(coloured)} other classes")
        key = axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize=8, frameon=False
        )
        for text in key.get_texts():
            text.set_parse_math(False)
    return drawing.png(figure)


def _coloured(ap50, known):
    """The classes with a colour of their own: all, or the best and the worst, the best first."""
    order = known[np.argsort(-ap50[known], kind="stable")]
    if len(order) <= MOST_COLOURED:
        return sorted(order.tolist())
    return [*order[:_ENDS].tolist(), *order[-_ENDS:].tolist()]


def _with_missing(title, count):
    return f"{title} ({count} class{'es' * (count > 1)} without objects)" if count else title


def _shortened(name):
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
