"""Figures of experiments, as in the paper; needs matplotlib (the extra `plot`).

Where nothing can be drawn, the figure says why.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import panels
from .experiments import layers_of
from .monitor import TEST
from .panels import COLOURS
from .runs import Run, final_percent, missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shortcuts(
    grouped: Mapping[str, Sequence[Run]], title: str, theirs: Mapping[str, float]
) -> "Figure":
    """Draws the test error of each option's runs, and the paper's (Table 3).

    Args:
        grouped: runs by network and option, such as "resnet56" (A) and "resnet56-B".
        title: of the figure.
        theirs: the paper's error in %, by option.
    """
    figure, (left, right) = panels.row(2, (11, 5))
    networks = list(dict.fromkeys(group.split("-")[0] for group in grouped))
    options = list(theirs)
    notes = []
    for number, network in enumerate(networks):
        colour = panels.colours(len(networks))[number]
        middle = 0.7 * ((number + 0.5) / len(networks) - 0.5)  # networks side by side
        for place, option in enumerate(options):
            some = grouped.get(_optional(network, option), ())
            ends = final_percent(some, TEST)
            if ends:
                _dots(left, place + middle, ends, colour, 40 / len(networks))
            elif len(networks) == 1:
                panels.say_at(left, place, missing(some))
            else:
                notes.append(f"{missing(some)}: {network}, option {option}")
    right.plot(range(len(options)), list(theirs.values()), "o", color="0.3")
    for axes, name in ((left, title), (right, "paper: ResNet-34 on ImageNet, 10-crop")):
        axes.set_xticks(range(len(options)), options)
        axes.set_xlim(-0.5, len(options) - 0.5)
        panels.style(axes, name, "shortcut option", "test error (%)")
    right.set_ylabel("top-1 error (%)", size=12)
    if len(networks) > 1:
        left.margins(y=0.35)  # for the legend
    _align(left, right, theirs.values())
    if len(networks) > 1 or left.lines:
        dots = ({"marker": "o", "linestyle": "", "color": c} for c in panels.colours(len(networks)))
        panels.key(left, list(zip(dots, networks, strict=True)), notes)
    return figure


def _dots(axes, middle, ends, colour, width):
    """Draws the runs side by side, and their mean as a line of `width` points."""
    places = [middle + 0.06 * (n - (len(ends) - 1) / 2) for n in range(len(ends))]
    axes.plot(places, ends, "o", color=colour, clip_on=False)
    mean = statistics.fmean(ends)
    axes.plot(middle, mean, "_", color=colour, markersize=width, clip_on=False)


def _align(left, right, theirs):
    """As many points of error in both, the paper's in the middle; all that are there are seen."""
    height = max(1.2 * (max(theirs) - min(theirs)), 0.1)
    if left.lines:
        left.set_ylim(bottom=0)
        height = max(height, left.get_ylim()[1])
    else:
        left.set_yticks([])
    low = max(0, (max(theirs) + min(theirs) - height) / 2)
    right.set_ylim(low, low + height)


def _optional(network, option):
    return network if option == "A" else f"{network}-{option}"


def responses(deviations: Mapping[str, Sequence[Sequence[float]]], title: str) -> "Figure":
    """Draws the deviations of the layers' responses, in their order and sorted (Fig. 7).

    Args:
        deviations: by network, for each of its runs those of its layers; the mean over runs is
            drawn, with a band from the smallest to the largest.
        title: of the figure.
    """
    figure, axes = panels.row(2, (14, 5))
    depths = sorted({layers_of(group) for group in deviations})
    colour_of = dict(zip(depths, panels.colours(len(depths)), strict=True))
    entries, notes, first = [], [], {}
    for group, runs in deviations.items():
        runs = [run for run in runs if run and all(map(math.isfinite, run))]
        if not runs:
            notes.append(f"{group}: {'no finite numbers' if deviations[group] else 'not measured'}")
            continue
        look = {"linestyle": "--" if group.startswith("plain") else "-", "linewidth": 2}
        colour = colour_of[layers_of(group)]
        if (other := first.setdefault(str(runs), group)) != group:
            notes.append(f"{group}: equal to {other}")
        entries.append(({"color": colour, **look}, group))
        in_order = [sorted(run, reverse=True) for run in runs]
        for panel, lines in zip(axes, (runs, in_order), strict=True):
            layers = range(1, len(runs[0]) + 1)
            columns = list(zip(*lines, strict=True))
            low, high = [min(c) for c in columns], [max(c) for c in columns]
            mean = [statistics.fmean(c) for c in columns]
            panel.plot(layers, mean, color=colour, **look)
            panel.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
    texts = ((title, "layer"), ("sorted", "layer, by standard deviation"))
    for panel, (name, across) in zip(axes, texts, strict=True):
        panels.style(panel, name, across, "standard deviation of responses")
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        panel.xaxis.get_major_locator().set_params(integer=True)
        if not entries:
            panels.say_empty(panel, "\n".join(notes) or "not measured")
    if entries:
        panels.key(axes[1], entries, notes)
    return figure


def depth(
    grouped: Mapping[str, Sequence[Run]], title: str, others: Mapping[str, Mapping[int, float]]
) -> "Figure":
    """Draws test error by depth: every run, their mean, and others' figures (Table 6).

    Args:
        grouped: runs by the name of their network.
        title: of the figure.
        others: error in % by depth, by who gives it.
    """
    figure, (axes,) = panels.row(1, panels.INCHES)
    measured = {layers_of(group): final_percent(some, TEST) for group, some in grouped.items()}
    known = set(measured).union(*others.values())
    places = {depth: place for place, depth in enumerate(sorted(known))}
    for group, some in grouped.items():
        place, ends = places[layers_of(group)], measured[layers_of(group)]
        if ends:
            axes.plot([place] * len(ends), ends, "o", color=COLOURS[0], alpha=0.4, clip_on=False)
        else:
            panels.say_at(axes, place, missing(some))
    means = {d: statistics.fmean(ends) for d, ends in measured.items() if ends}
    if len(means) == 1:  # one point makes no line
        axes.plot(*_placed(means, places)[0], "_", color=COLOURS[0], markersize=30, mew=2.5)
    series: dict[str, tuple[Mapping[int, float], dict[str, Any]]] = {
        "measured, mean of runs": (means, {"color": COLOURS[0], "linewidth": 2.5})
    }
    for (name, errors), colour in zip(others.items(), COLOURS[1:], strict=False):
        series[name] = (errors, {"color": colour, "linestyle": "--", "marker": "s"})
    entries = []
    for name, (errors, look) in series.items():
        if errors:
            axes.plot(*zip(*_placed(errors, places), strict=True), **look)
            entries.append((look, name))
    panels.name_places(axes, [str(depth) for depth in places])
    panels.style(axes, title, "layers", "test error (%)")
    if entries:
        axes.set_ylim(bottom=0)
    else:
        axes.set_yticks([])
    panels.key(axes, entries)
    return figure


def _placed(errors, places):
    return sorted((places[depth], error) for depth, error in errors.items())


def protocols(
    by_title: Mapping[str, Sequence[tuple[str, float | None, float | None]]],
) -> "Figure":
    """Draws measured top-1 errors beside the paper's, a panel for each protocol.

    Args:
        by_title: (network, the paper's error in % or None, the measured one or None) of each line
            of a panel.
    """
    figure, drawn = panels.row(len(by_title), (7 * len(by_title), 5))
    ring = {"marker": "o", "linestyle": "", "color": "0.3", "fillstyle": "none"}
    dot = {"marker": "o", "linestyle": "", "color": COLOURS[0]}
    for axes, (title, rows) in zip(drawn, by_title.items(), strict=True):
        panels.style(axes, title, "top-1 error (%)", "")
        for place, (_, theirs, ours) in enumerate(rows):
            if theirs is not None:
                axes.plot(theirs, place, markersize=10, **ring)
            if ours is not None:
                axes.plot(ours, place, markersize=6, **dot)
        if not axes.lines:
            panels.say_empty(axes, "not run")
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.grid(axis="x", color="0.9", linewidth=0.8)
        if axes.lines:
            missing = any(ours is None for _, _, ours in rows)
            notes = ["not run where there is no dot"] if missing else []
            panels.key(axes, [(ring, "paper"), (dot, "measured")], notes)
    return figure
