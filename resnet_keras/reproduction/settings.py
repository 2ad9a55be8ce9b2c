"""The figures of `studies`: test errors of networks in several settings, with each run."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from resnet_keras.networks import projections
from resnet_keras.tables import Table

from . import panels, studies
from .experiments import layers_of
from .monitor import TEST, TRAINING
from .runs import Run, final_percent
from .studies import GLOBAL_BATCH, STUDIES, Setting, mean_and_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Grouped = Mapping[str, Sequence[Run]]


def draw(study: str, dataset: str, grouped: Grouped, title: str) -> "Figure":
    """Draws what came of a study.

    Args:
        study: its name.
        dataset: on which.
        grouped: runs by network and setting, as "resnet20-group".
        title: of the figure.
    """
    if study == studies.NORMALIZATION:
        return _by_images(dataset, grouped, title)
    return _by_setting(study, dataset, grouped, title)


def _by_images(dataset, grouped, title):
    """Error by images a replica, a panel for each depth.

    What takes no statistics of a batch is a band across.
    """
    settings = STUDIES[studies.NORMALIZATION].settings_of(dataset)
    depths = sorted({layers_of(group) for group in grouped})
    figure, drawn = panels.row(len(depths), (9 * len(depths), 5))
    for axes, depth in zip(drawn, depths, strict=True):
        words = f"images a replica, of {GLOBAL_BATCH} in a step"
        panels.style(axes, f"{title}, {depth} layers", words, "test error (%)")
        _draw_by_images(axes, depth, settings, grouped)
    return figure


def _draw_by_images(axes, depth, settings, grouped):
    entries, notes = [], []
    of_batches = [s for s in settings if s.name.startswith("batch")]
    lines = [("batch", of_batches)] + [(s.words, [s]) for s in settings if s not in of_batches]
    for (words, own), colour in zip(lines, panels.colours(len(lines)), strict=True):
        ends = {s: _ends(grouped, s, TEST, depth) for s in own}
        ends = {s: errors for s, errors in ends.items() if errors}
        if not ends:
            notes.append(f"{words}: not run")
            continue
        seeds = max(map(len, ends.values()))
        places = [s.place for s in ends]
        if places == [None]:
            entries.append(({"color": colour, "linewidth": 2}, f"{words}, {seeds} seed(s)"))
            ((errors),) = ends.values()
            middle, deviation = mean_and_deviation(errors)
            axes.axhline(middle, color=colour, linewidth=2)
            axes.axhspan(middle - deviation, middle + deviation, color=colour, alpha=0.1, lw=0)
        else:
            entries.append(({"color": colour, "marker": "o"}, f"{words}, {seeds} seed(s)"))
            _points(axes, [math.log2(place) for place in places], [*ends.values()], colour)
    if not entries:
        panels.say_empty(axes, "not run")
        return
    axes.set_xticks([1, 2, 3, 5], ["2", "4", "8", "32"])
    axes.set_xlim(5.3, 0.7)
    axes.set_ylim(0, 1.5 * axes.get_ylim()[1])  # room for the key
    panels.key(axes, entries, notes)


def _ends(grouped, setting: Setting, column, depth=None):
    return [
        error
        for group, some in grouped.items()
        if group.partition("-")[2] == setting.name and depth in (None, layers_of(group))
        for error in final_percent(some, column)
    ]


def _points(axes: "Axes", places, ends, colour, joined=True):
    """Every run, and means with their sample standard deviations as bars."""
    for place, errors in zip(places, ends, strict=True):
        axes.plot([place] * len(errors), errors, "o", color=colour, alpha=0.35, markersize=5)
    pairs = [mean_and_deviation(errors) for errors in ends]
    means, deviations = [mean for mean, _ in pairs], [deviation for _, deviation in pairs]
    look = {"color": colour, "capsize": 4, "linewidth": 2, "marker": "_", "markersize": 14}
    axes.errorbar(places, means, deviations, linestyle="-" if joined else "none", **look)


def multiply_adds(depth: int, setting: Setting) -> int:
    """Of a CIFAR ResNet at 32x32 pixels with projections in some blocks (Table 6's networks).

    Args:
        depth: its layers, 6n+2.
        setting: of `shortcut_ratio`.
    """
    blocks = (depth - 2) // 6
    total, number = 3 * 16 * 9 * 32**2 + 64 * 10, 0
    wanted = projections.count(setting.place or 0, 3 * blocks)
    for stage in range(3):
        side, wide = 32 // 2**stage, 16 * 2**stage
        for block in range(blocks):
            grows = stage > 0 and block == 0
            seen = wide // 2 if grows else wide
            total += 9 * (seen + wide) * wide * side**2
            projected = number < wanted or (grows and setting.place is None)
            total += seen * wide * side**2 if projected else 0
            number += 1
    return total


def costs(dataset: str, grouped: Grouped) -> Table:
    """Multiply-adds of the networks of `shortcut_ratio`."""
    settings = {s.name: s for s in STUDIES[studies.SHORTCUT_RATIO].settings_of(dataset)}
    rows = []
    for group in grouped:
        network, _, name = group.partition("-")
        own, least = (multiply_adds(layers_of(group), settings[n]) for n in (name, "none"))
        rows.append(
            (network, settings[name].words, f"{own:,}", f"{100 * (own / least - 1):+.1f} %")
        )
    head = ("network", "projections", "multiply-adds at 32x32", "more than without")
    return Table("What projections cost", head, rows)


def _by_setting(study, dataset, grouped, title):
    """Test error in each setting, and for projections beside it by what they cost."""
    settings = STUDIES[study].settings_of(dataset)
    costs = study == studies.SHORTCUT_RATIO
    figure, drawn = panels.row(2 if costs else 1, (14 if costs else 9, 0.5 * len(settings) + 2))
    depths = sorted({layers_of(group) for group in grouped})
    entries = []
    for depth, colour, shift in zip(
        depths, panels.colours(len(depths)), _shifts(len(depths)), strict=True
    ):
        found = {place: _ends(grouped, s, TEST, depth) for place, s in enumerate(settings)}
        for place, errors in found.items():
            if errors:
                _across(drawn[0], place + shift, errors, colour)
            training = _ends(grouped, settings[place], TRAINING, depth)
            if training and not costs:
                mean = statistics.fmean(training)
                drawn[0].plot(mean, place + shift, "o", color=colour, mfc="white", ms=5)
        if costs:
            _by_cost(drawn[1], depth, settings, [*found.values()], colour)
        if seeds := max(map(len, found.values())):
            entries.append(({"color": colour, "marker": "o"}, f"{depth} layers, {seeds} seed(s)"))
    names = [setting.words for setting in settings]
    panels.style(drawn[0], title, "test error (%)", "")
    drawn[0].grid(axis="x", color="0.9", linewidth=0.8)
    drawn[0].set_yticks(range(len(names)), names)
    drawn[0].set_ylim(len(names) - 0.5, -0.5)
    if costs:
        across = "multiply-adds more than without projections (%)"
        panels.style(drawn[1], "the same by cost", across, "test error (%)")
        drawn[1].set_ylim(bottom=0)
    for axes in drawn if not entries else ():
        panels.say_empty(axes, "not run")
    if entries:
        _fit(drawn[0])
        open_dot = {"color": "0.3", "marker": "o", "mfc": "white", "linestyle": ""}
        of_training = [] if costs else [(open_dot, "training error, mean")]
        panels.key(drawn[-1], [*entries, *of_training])
    return figure


def _by_cost(axes, depth, settings, ends, colour):
    """Mean errors of one depth with their deviations by multiply-adds, the cheapest first."""
    least = min(multiply_adds(depth, setting) for setting in settings)
    points = sorted(
        (100 * (multiply_adds(depth, setting) / least - 1), *mean_and_deviation(errors))
        for setting, errors in zip(settings, ends, strict=True)
        if errors
    )
    if points:
        costs, means, deviations = zip(*points, strict=True)
        axes.errorbar(costs, means, deviations, color=colour, marker="o", capsize=3, linewidth=1.5)


def _fit(axes):
    """Errors from 0 on, on a logarithmic axis where few are far from the others; room for a key."""
    drawn = [value for line in axes.get_lines() for value in line.get_xdata()]
    most = max(*drawn, 0.1)
    if most > 10 * statistics.median(drawn):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([t for t in (0, 0.5, 1, 2, 5, 10, 20, 50, 100) if t <= 2 * most])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(0, 8 * most)
    else:
        axes.set_xlim(0, 1.5 * most)


def _shifts(count):
    return [0.24 * (n - (count - 1) / 2) for n in range(count)]


def _across(axes, place, errors, colour):
    axes.plot(errors, [place] * len(errors), "o", color=colour, alpha=0.35, markersize=5)
    middle, deviation = mean_and_deviation(errors)
    look = {"color": colour, "capsize": 3, "linewidth": 2, "marker": "|", "markersize": 12}
    # No error is below 0, where a bar ends.
    axes.errorbar(middle, place, xerr=[[min(deviation, middle)], [deviation]], **look)
