"""The figure of degradation: plain and residual networks by depth (Fig. 6 of the paper)."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import panels
from .curves import top_of_axis
from .experiments import layers_of
from .monitor import TEST, TRAINING
from .panels import BOLD, DASHED
from .runs import Run, curve, final_percent, missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = {TRAINING: DASHED, TEST: BOLD}  # Fig. 6
KINDS = {"plain": "plain networks", "resnet": "residual networks"}


def draw(grouped: Mapping[str, Sequence[Run]], title: str) -> "Figure":
    """Draws the curves of plain and of residual networks, and where they end, by depth (Fig. 6).

    A curve is the mean over seeds, with a band from the smallest to the largest.

    Args:
        grouped: runs by the name of their network.
        title: of the figure.
    """
    figure, axes = panels.row(3, (15, 5))
    depths = sorted({layers_of(group) for group in grouped})
    colour_of = dict(zip(depths, panels.colours(len(depths)), strict=True))
    rows = [row for some in grouped.values() for run in some for row in run.rows]
    last = max((row["step"] for row in rows), default=1)
    top = top_of_axis(shown_whole(grouped))
    entries = [({"color": "0.3", **DASHED}, "training error")]
    entries += [({"color": "0.3", **BOLD}, "test error")]
    entries += [({"color": c, **BOLD}, f"{d} layers") for d, c in colour_of.items()]
    for panel, kind in zip(axes[1::-1], reversed(KINDS), strict=True):
        own = {layers_of(group): some for group, some in grouped.items() if group.startswith(kind)}
        name = f"{title}: {KINDS[kind]}" if kind == "plain" else KINDS[kind]
        panels.style(panel, name, "iterations", "error (%)")
        panels.range_of_errors(panel, top)
        panels.count_iterations(panel, last, 5)
        if _curves_by_depth(panel, own, colour_of, top, entries):
            entries = []  # one legend for both, where there are curves
    _final_errors(axes[2], grouped, depths)
    return figure


def _curves_by_depth(axes, own, colour_of, top, entries):
    """Draws the networks of one kind, and says what is not seen of them; whether any was drawn."""
    curves = {depth: _means(some) for depth, some in own.items()}
    for depth, by_column in curves.items():
        for column, means in by_column.items():
            _band(axes, means, colour_of[depth], column)
    notes = _notes(own, curves, top)
    if axes.lines:
        panels.key(
            axes, entries, [f"{reason}: {_listed(depths)} layers" for reason, depths in notes]
        )
        return True
    reasons = [reason for reason, _ in notes]
    panels.say_empty(axes, ", ".join(reasons) or "not run")
    return False


def shown_whole(grouped: Mapping[str, Sequence[Run]]) -> list[Run]:
    """Returns the runs that the axis has room for.

    As in Fig. 6, that are not those which end above 60 %, unless a kind of network has no others.
    """
    runs = {
        kind: [run for group, some in grouped.items() if group.startswith(kind) for run in some]
        for kind in KINDS
    }
    learned = {kind: [run for run in own if _has_learned(run)] for kind, own in runs.items()}
    return [run for kind, own in runs.items() for run in learned[kind] or own]


def _has_learned(run):
    points = curve(run, TEST)
    return bool(points) and points[-1][1] <= 0.6


def _means(some):
    """By column, (step, mean, smallest, largest) in % over runs; of finished ones, if there are."""
    shown = [run for run in some if run.finished] or some
    by_column = {}
    for column in LINES:
        curves = [points for run in shown if (points := dict(curve(run, column)))]
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        errors = [[100 * points[step] for points in curves] for step in steps]
        by_column[column] = [
            (step, statistics.fmean(e), min(e), max(e))
            for step, e in zip(steps, errors, strict=True)
        ]
    return by_column


def _band(axes, means, colour, column):
    """Draws the mean and, of the test error, its range."""
    if not means:
        return
    steps, middle, low, high = zip(*means, strict=True)
    marker = "o" if len(steps) == 1 else ""  # one point makes no line
    axes.plot(steps, middle, color=colour, marker=marker, **LINES[column])
    if column == TEST:
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _notes(runs, curves, top):
    """(why, depths) of the curves of one kind that cannot be seen, or are not whole."""
    reasons: dict[str, list[int]] = {}
    equal: dict[str, list[int]] = {}
    for depth, by_column in curves.items():
        values = [mean for means in by_column.values() for _, mean, *_ in means]
        if not any(run.finished for run in runs[depth]):
            reasons.setdefault(missing(runs[depth]), []).append(depth)
        if values and min(values) > top:
            reasons.setdefault(f"above {top:g} %", []).append(depth)
        if values:
            equal.setdefault(str(by_column), []).append(depth)
    return [*reasons.items(), *(("equal", depths) for depths in equal.values() if len(depths) > 1)]


def _listed(depths):
    return ", ".join(map(str, depths))


def _final_errors(axes, grouped, depths):
    """Training and test error of every run at the end, by depth, on a logarithmic axis."""
    floor = 0.01  # in %: what is smaller, and no error at all, is drawn there
    looks = {"plain": ("plain", "0.6", -0.06), "resnet": ("residual", "black", 0.06)}
    panels.style(axes, "the end of every run (open: training)", "layers", "error (%)")
    if not any(final_percent(some, TEST) for some in grouped.values()):
        panels.say_empty(axes, missing([run for some in grouped.values() for run in some]))
        return
    for kind, (_, grey, aside) in looks.items():
        for column, look in LINES.items():
            means = []
            for place, depth in enumerate(depths):
                ends = final_percent(grouped.get(f"{kind}{depth}", ()), column)
                face = grey if column == TEST else "white"
                drawn = [max(end, floor) for end in ends]
                places = [place + aside] * len(ends)
                axes.plot(places, drawn, "o", color=grey, mfc=face, ms=5, zorder=3, alpha=0.7)
                means += [(place + aside, max(statistics.fmean(ends), floor))] if ends else []
            if means:
                axes.plot(*zip(*means, strict=True), color=grey, **look)
    axes.set_yscale("log")
    panels.name_places(axes, [str(depth) for depth in depths])
    least = min(value for line in axes.get_lines() for value in line.get_ydata())
    if least < 5:
        axes.set_yticks([floor, 0.1, 1, 10, 100], ["≤ 0.01", "0.1", "1", "10", "100"])
        axes.set_ylim(0.8 * floor, 120)
    else:  # nothing is near 0
        axes.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        axes.set_yticks([], minor=True)
        axes.set_ylim(4, 120)
    plain, residual = (
        [
            [final_percent(grouped.get(f"{kind}{depth}", ()), column) for column in LINES]
            for depth in depths
        ]
        for kind in KINDS
    )
    entries = [({"color": grey, **BOLD}, name) for name, grey, _ in looks.values()]
    panels.key(axes, entries, ["both are equal"] if plain == residual else [])
