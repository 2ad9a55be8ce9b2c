"""The figure of runs' curves, of training and of evaluation, by iterations."""

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from resnet_keras import drawing
from resnet_keras.errors import InputError, require

from . import panels
from .panels import BOLD, DASHED
from .runs import Run, common_monitor, curve, eval_split, has_training, state

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def top_of_axis(runs: Iterable[Run]) -> float:
    """Returns an error in % above four fifths of every curve, for they begin too high.

    Of up to ten points, all are below it.
    """
    top = max([0.01, *_best_of_curves(runs)])
    step = 5 if top > 0.05 else 1
    return min(100, step * math.ceil(110 * top / step))


def range_of_axis(runs: Iterable[Run]) -> tuple[float, float] | None:
    """Returns the ends of an axis of what is no error, as `top_of_axis` does; None without points.

    The best fifths decide: curves that begin at a high loss, or at no overlap, are cut there.
    """
    values = _best_of_curves(runs)
    if not values:
        return None
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1
    return low - margin, high + margin


def _best_of_curves(runs):
    """The best four fifths of the values of every curve of runs; of up to ten, all."""
    values = []
    for run in runs:
        for column, _ in _lines(run):
            ordered = sorted((value for _, value in curve(run, column)), key=run.monitor.order)
            count = len(ordered) if len(ordered) <= 10 else math.ceil(0.8 * len(ordered))
            values += ordered[:count]
    return values


def _lines(run):
    """The columns of a run's curves, and how they are drawn: in training, in evaluation."""
    monitor = run.monitor
    training = [(monitor.measure, DASHED)] if monitor.is_evaluated else []
    return [*training, (monitor.column, BOLD)]


def _curves(run):
    """The points of a run's curves."""
    return [curve(run, column) for column, _ in _lines(run)]


def draw(runs: Sequence[Run], title: str, max_error: float | None = None) -> "Figure":
    """Draws what runs are judged by: of training dashed, of evaluation bold, a colour for each run.

    The legend says which runs cannot be seen, and why: not evaluated yet, outside of the axis, or
    hidden by an equal one.

    Args:
        runs: whose curves to draw against iterations; their names are the legend.
        title: of the figure.
        max_error: top of the axis in %, for runs that are judged by an error; without,
            `top_of_axis`.

    Raises:
        InputError: the runs are judged by different measures, or by no error where `max_error` is
            given.
        MissingExtraError: matplotlib is not installed.
    """
    monitor = common_monitor(runs)
    if max_error is not None and not monitor.is_error:
        raise InputError(f"max_error is for runs judged by an error, and not by {monitor.column}.")
    names = [_named(run, runs[:place], max_error) for place, run in enumerate(runs)]
    keys = [(f"training {monitor.name}", DASHED)] if has_training(runs) else []
    keys.append((monitor.named(eval_split(runs)), BOLD))
    texts = [*(text for text, _ in keys), *names]
    points = _size_of_text(texts)
    width, height = panels.INCHES
    # The figure grows with its legend, so that all of it can be read.
    needed = 0.4 + points / 72 * (1.3 * _lines_of(texts) + 0.5 * len(texts))
    figure, (axes,) = panels.row(1, (width, max(height, needed)))
    for run, colour in zip(runs, panels.colours(len(runs)), strict=True):
        for column, style in _lines(run):
            steps = [step for step, _ in curve(run, column)]
            values = [v * (100 if monitor.is_error else 1) for _, v in curve(run, column)]
            marker = "o" if len(steps) == 1 else ""  # one point makes no line
            axes.plot(steps, values, color=colour, marker=marker, **style)
    if monitor.is_error:
        panels.range_of_errors(axes, max_error or top_of_axis(runs))
    else:
        axes.set_ylim(range_of_axis(runs))
    unit = " (%)" if monitor.is_error else ""
    panels.style(axes, textwrap.fill(title, 70), "iterations", f"{monitor.name}{unit}")
    if not any(map(any, map(_curves, runs))):
        panels.say_empty(axes, "not evaluated yet")
    else:
        last = max((row["step"] for run in runs for row in run.rows), default=1)
        panels.count_iterations(axes, last)
        if all(_is_above(run, max_error) for run in runs if any(_curves(run))):
            panels.say(axes, f"all above {max_error:g} %")
    _legend(axes, runs, keys, texts)
    return figure


def _named(run, earlier, max_error):
    """A run's name in the legend, and what is to be known of its curves."""
    remarks = [] if run.finished else [re.split(" at |,", state(run))[0]]
    if _is_above(run, max_error):
        remarks.append(f"above {max_error:g} %")
    same = [other.name for other in earlier if any(_curves(run)) and _curves(other) == _curves(run)]
    if same:
        remarks.append(f"the same curves as {same[0]}")
    return "\n".join(
        [textwrap.fill(run.name, 26), *(textwrap.fill(f"({text})", 26) for text in remarks)]
    )


def _is_above(run, max_error):
    """Whether all points of a run are above the axis."""
    values = [value for points in _curves(run) for _, value in points]
    return max_error is not None and bool(values) and 100 * min(values) > max_error


def _lines_of(texts):
    return sum(text.count("\n") + 1 for text in texts)


def _size_of_text(texts):
    """Of the legend, in points."""
    return min(11, max(7.5, 200 / _lines_of(texts)))


def _legend(axes, runs, keys, texts):
    line = require("matplotlib.lines", extra=drawing.EXTRA).Line2D
    styles = [{"color": "0.3", **style} for _, style in keys]
    styles += [{"color": colour, **BOLD} for colour in panels.colours(len(runs))]
    legend = axes.legend(
        [line([], [], **style) for style in styles],
        [" "] * len(texts),  # as a label, "_name" would be left out
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=_size_of_text(texts),
    )
    for label, text in zip(legend.get_texts(), texts, strict=True):
        label.set(text=text, parse_math=False)
