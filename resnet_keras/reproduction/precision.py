"""The figure of detectors: average precision over iterations, and improvement by improvement."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import panels
from .panels import BOLD
from .runs import Run, curve, missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THIN = {"linestyle": "-", "linewidth": 0.8, "marker": ".", "alpha": 0.6}
AP = "AP (%)"


def draw(
    grouped: Mapping[str, Sequence[Run]],
    column: str,
    steps: Mapping[str, Mapping[str, float]],
    theirs: Mapping[str, float],
    title: str,
    images: str,
) -> "Figure":
    """Draws every run's AP over iterations, and every seed's with each improvement (Table 9).

    Args:
        grouped: runs by the name of their group.
        column: of metrics.csv, with AP in [0, 1].
        steps: AP in % by improvement and seed.
        theirs: the paper's AP in %, by improvement.
        title: of the figure.
        images: on what was measured, in words.
    """
    figure, (over_time, ours, papers) = panels.row(3, (17, 5))
    _curves(over_time, grouped, column)
    panels.style(over_time, f"{title}: every run", "iterations (bold: mean of the seeds)", AP)
    measured = {name: list(values.values()) for name, values in steps.items()}
    _steps(ours, steps)
    panels.style(ours, f"{title}: {images}", "each with those before it", AP)
    papers.plot(range(len(theirs)), list(theirs.values()), "o", color="0.3")
    name = "paper: COCO val (ensemble: test-dev)"
    panels.style(papers, name, "each with those before it", AP)
    for axes in (ours, papers):
        names = [name.replace(" ", "\n").replace("+\n", "+ ") for name in theirs]
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.4, len(names) - 0.6)
    _align(ours, papers, [v for values in measured.values() for v in values], theirs.values())
    return figure


def _curves(axes, grouped, column):
    """A thin line for each run and a bold one for their mean, where all were evaluated."""
    entries, notes, last = [], [], 1
    for (group, some), colour in zip(grouped.items(), panels.colours(len(grouped)), strict=True):
        points = [dict(curve(run, column)) for run in some]
        points = [by_step for by_step in points if by_step]
        for by_step in points:
            axes.plot(list(by_step), [100 * ap for ap in by_step.values()], color=colour, **THIN)
        common = sorted(set.intersection(*map(set, points))) if points else []
        if not common:
            notes.append(f"{missing(some)}: {group}")
            continue
        means = [100 * statistics.fmean(by_step[step] for by_step in points) for step in common]
        axes.plot(common, means, color=colour, **BOLD)
        entries.append(({"color": colour, **BOLD}, f"{group}, {_seeds(len(points))}"))
        last = max(last, *(step for by_step in points for step in by_step))
    if not entries:
        panels.say_empty(axes, "\n".join(notes))
        return
    panels.count_iterations(axes, last, 6)
    axes.set_ylim(0, 100)
    panels.key(axes, entries, notes)


def _seeds(count):
    return f"{count} seed" + "s" * (count != 1)


def _steps(axes, steps):
    """A dot for each seed, those of one seed joined, and a line for the mean of several."""
    seeds = list(dict.fromkeys(seed for values in steps.values() for seed in values))
    single = [seed for seed in seeds if "+" not in seed]
    for seed, colour in zip(single, panels.colours(len(single)), strict=True):
        own = [
            (place + _aside(single.index(seed), len(single)), values[seed])
            for place, values in enumerate(steps.values())
            if seed in values
        ]
        axes.plot(*zip(*own, strict=True), "o-", color=colour, linewidth=0.8, clip_on=False)
    entries = [
        ({"marker": "o", "linestyle": "", "color": colour}, f"seed {seed}")
        for seed, colour in zip(single, panels.colours(len(single)), strict=True)
    ]
    mean = {"marker": "_", "linestyle": "", "color": "0.3", "markersize": 30, "markeredgewidth": 2}
    diamond = {"marker": "D", "linestyle": "", "color": "black"}
    for place, values in enumerate(steps.values()):
        if len(values) > 1:
            axes.plot(place, statistics.fmean(values.values()), **mean)
        elif not values:
            panels.say_at(axes, place, "not run")
        for seed in set(values).difference(single):
            axes.plot(place, values[seed], **diamond)
    if len(single) > 1:
        entries.append(({**mean, "markersize": 12}, f"mean of {len(single)} seeds"))
    if len(single) < len(seeds):
        entries.append((diamond, f"all {len(single)} seeds together"))
    panels.key(axes, entries)


def _aside(number, count):
    return 0.08 * (number - (count - 1) / 2)


def _align(left, right, ours, theirs):
    """As many points of AP in both, so that improvements are as high; all dots are seen."""
    theirs = list(theirs)
    span = 1.3 * max(max(theirs) - min(theirs), max(ours, default=0) - min(ours, default=0))
    for axes, values in ((left, ours), (right, theirs)):
        if values:
            middle = (max(values) + min(values)) / 2
            low = min(max(0, middle - span / 2), 100 - span)
            axes.set_ylim(low, low + span)
        else:
            axes.set_yticks([])
