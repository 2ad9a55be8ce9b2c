"""The table and the figure of `gradients` (Balduzzi et al. 2017; Sec. 4.1 of the paper)."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras.tables import NOT_RUN, Table

from . import gradients, panels
from .experiments import layers_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Grouped = Mapping[str, Sequence[Mapping[str, Any]]]  # of `gradients.by_network`
_LAGS = (1, 4)


def tables(names: Sequence[str], grouped: Grouped) -> list[Table]:
    """Autocorrelations, and the norms of the first and the last convolution's gradient, by network.

    Before training, and once more after some steps of it.

    Args:
        names: of all networks, measured or not.
        grouped: what was measured.
    """
    head = ("network", "seeds", *(f"autocorrelation, lag {lag}" for lag in _LAGS))
    norms = ("gradient of the first kernel", "of the last 3x3 kernel", "first / last")
    before = [(name, *_row(grouped.get(name, ()))) for name in names]
    after = []
    for name in names:
        some = [one["trained"] for one in grouped.get(name, ())]
        after.append((name, *_row(some), _geometric([one["loss"] for one in some])))
    return [
        Table("Gradients before training", (*head, *norms), before),
        Table(f"Gradients after {gradients.STEPS} steps", (*head, *norms, "training loss"), after),
    ]


def _row(some):
    lags = [_spread([one["autocorrelation"][lag] for one in some]) for lag in _LAGS]
    first = [_convolutions(one)[0] for one in some]
    last = [_convolutions(one)[-1] for one in some]
    ratios = [a / b for a, b in zip(first, last, strict=True) if b]
    cells = [_geometric(numbers) for numbers in (first, last, ratios)]
    return f"{len(some)}" if some else NOT_RUN, *lags, *cells


def _convolutions(one):
    return [norm for name, norm in one["norms"].items() if name.endswith("_conv")]


def _spread(numbers):
    if len(numbers) < 2:
        return f"{numbers[0]:.2f}" if numbers else NOT_RUN
    return f"{statistics.fmean(numbers):.2f} ± {statistics.stdev(numbers):.2f}"


def _geometric(numbers):
    """The geometric mean, for norms that differ by orders of magnitude."""
    positive = [number for number in numbers if number > 0]
    if not positive:
        return NOT_RUN
    mean = float(f"{statistics.geometric_mean(positive):.2g}")
    return f"{mean:,.0f}" if mean >= 10 else f"{mean:g}"


def draw(names: Sequence[str], grouped: Grouped, title: str) -> "Figure":
    """Draws autocorrelations by lag, and norms of kernels' gradients by layer, before and after.

    Means over seeds, of norms geometric ones, with bands from the smallest to the largest; plain
    networks dashed.

    Args:
        names: of all networks, measured or not.
        grouped: what was measured.
        title: of the figure.
    """
    figure, (left, middle, right) = panels.row(3, (19, 5))
    depths = sorted({layers_of(name) for name in names})
    colour_of = dict(zip(depths, panels.colours(len(depths)), strict=True))
    entries = []
    for name in names:
        some = grouped.get(name)
        if not some:
            continue
        dashed = name.startswith("plain")
        look = {"color": colour_of[layers_of(name)], "linestyle": "--" if dashed else "-"}
        entries.append(({**look, "linewidth": 2}, f"{name}, {len(some)} seed(s)"))
        lags = range(len(some[0]["autocorrelation"]))
        _band(left, lags, [one["autocorrelation"] for one in some], statistics.fmean, look)
        _draw_norms(middle, some, look)
        _draw_norms(right, [one["trained"] for one in some], look)
    notes = [f"{name}: not run" for name in names if name not in grouped]
    points = "lag (64ths of the way from one image to another)"
    panels.style(left, title, points, "autocorrelation of pixels' gradients")
    across = "convolution, from first (0) to last (1)"
    panels.style(middle, "of kernels, before training", across, "norm of the gradient")
    panels.style(
        right, f"of kernels, after {gradients.STEPS} steps", across, "norm of the gradient"
    )
    if not entries:
        panels.say_empty(left, "not run")
        panels.say_empty(middle, "")
        panels.say_empty(right, "")
        return figure
    left.set_ylim(-0.2, 1.05)
    for axes in (middle, right):
        axes.set_yscale("log")
    panels.key(middle, entries, notes)
    lines = f"{gradients.BATCH} training images, {gradients.LINES} lines between two of them."
    panels.note(figure, f"{lines} Bands: from the least to the largest of the seeds.")
    return figure


def _draw_norms(axes, some, look):
    norms = [[max(norm, 1e-30) for norm in _convolutions(one)] for one in some]
    places = [place / max(len(norms[0]) - 1, 1) for place in range(len(norms[0]))]
    _band(axes, places, norms, statistics.geometric_mean, look)


def _band(axes, places, lines, mean, look):
    columns = [*zip(*lines, strict=True)]
    axes.plot(places, [mean(own) for own in columns], linewidth=2, **look)
    low, high = [min(own) for own in columns], [max(own) for own in columns]
    if all(map(math.isfinite, [*low, *high])):
        axes.fill_between(places, low, high, color=look["color"], alpha=0.15, linewidth=0)
