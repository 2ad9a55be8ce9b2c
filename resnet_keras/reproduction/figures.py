"""Figures of runs and experiments, as PNG files; needs matplotlib (the extra `plot`)."""

import colorsys
import math
import re
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras import drawing
from resnet_keras.errors import InputError, require

from .monitor import TEST, TRAINING, Monitor
from .runs import Run, common_monitor, curve, eval_split, final, has_training, state

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Fig. 6
DASHED = {"linestyle": "--", "linewidth": 1.2, "markerfacecolor": "white"}
BOLD = {"linestyle": "-", "linewidth": 2.5}
LINES = {TRAINING: DASHED, TEST: BOLD}
INCHES, DPI = (9, 5), 200
# Okabe and Ito's, which colour-blind readers tell apart; without the yellow, too pale for a line.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def colours(count: int) -> list[str]:
    """Returns as many colours as #rrggbb, which differ."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shares = (colorsys.hls_to_rgb(n / count, (0.35, 0.5)[n % 2], 0.75) for n in range(count))
    return ["#" + "".join(f"{round(255 * share):02x}" for share in rgb) for rgb in shares]


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


def curves(runs: Sequence[Run], title: str, max_error: float | None = None) -> "Figure":
    """Draws what runs are judged by: of training dashed, of evaluation bold, a colour for each run.

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
    figure, (axes,) = _panels(1, INCHES)
    for run, colour in zip(runs, colours(len(runs)), strict=True):
        for column, style in _lines(run):
            points = curve(run, column)
            steps = [step for step, _ in points]
            values = [100 * value if monitor.is_error else value for _, value in points]
            marker = "o" if len(points) == 1 else ""  # one point makes no line
            axes.plot(steps, values, color=colour, marker=marker, **style)
    last = max((row["step"] for run in runs for row in run.rows), default=1)
    axes.set_xlim(0, 1.02 * last)
    if monitor.is_error:
        axes.set_ylim(0, max_error or top_of_axis(runs))
    else:
        axes.set_ylim(range_of_axis(runs))
    unit = " (%)" if monitor.is_error else ""
    _style(axes, textwrap.fill(title, 70), "iterations", f"{monitor.name}{unit}")
    _count_iterations(axes)
    _legend(axes, runs, monitor)
    return figure


def _legend(axes, runs, monitor: Monitor):
    line = require("matplotlib.lines", extra=drawing.EXTRA).Line2D
    names = [textwrap.fill(run.name, 26) for run in runs]
    for place, run in enumerate(runs):
        if not run.finished:
            names[place] += f"\n({re.split(' at |,', state(run))[0]})"
    entries = [(f"training {monitor.name}", DASHED)] if has_training(runs) else []
    entries.append((monitor.named(eval_split(runs)), BOLD))
    texts = [*(text for text, _ in entries), *names]
    styles = [{"color": "0.3", **style} for _, style in entries]
    styles += [{"color": colour, **BOLD} for colour in colours(len(runs))]
    legend = axes.legend(
        [line([], [], **style) for style in styles],
        [" "] * len(texts),  # as a label, "_name" would be left out
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=min(11, 200 / "\n".join(texts).count("\n")),  # points, so that all fit
    )
    for label, text in zip(legend.get_texts(), texts, strict=True):
        label.set(text=text, parse_math=False)


def _panels(count: int, inches: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    figure = drawing.new_figure(inches, DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # inches
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _style(axes, title, across, up):
    axes.set_xlabel(across, size=12)
    axes.set_ylabel(up, size=12)
    axes.set_title(title, size=14, loc="left", pad=12, parse_math=False)
    axes.tick_params(labelsize=11, color="0.6")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _count_iterations(axes, labels=8):
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=labels)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.get_major_locator().set_params(nbins=8, steps=(1, 2, 5, 10))


def degradation(grouped: Mapping[str, Sequence[Run]], title: str) -> "Figure":
    """Draws the curves of plain and of residual networks, and where they end, by depth (Fig. 6).

    A curve is the mean over seeds, with a band from the smallest to the largest.

    Args:
        grouped: runs by the name of their network.
        title: of the figure.
    """
    figure, panels = _panels(3, (15, 5))
    kinds = (("plain", "plain networks"), ("resnet", "residual networks"))
    last = max(
        (row["step"] for some in grouped.values() for r in some for row in r.rows), default=1
    )
    # As in Fig. 6: a network with a higher error than 60 % at its end is not made room for.
    learning = [run for some in grouped.values() for run in some if _has_learned(run)]
    depths = sorted({_depth(group) for group in grouped})
    colour_of = dict(zip(depths, colours(len(depths)), strict=True))
    for axes, (kind, name) in zip(panels, kinds, strict=False):
        for group, some in grouped.items():
            if group.startswith(kind):
                for column, style in LINES.items():
                    _band(axes, some, column, colour_of[_depth(group)], style)
        axes.set(xlim=(0, 1.02 * last), ylim=(0, top_of_axis(learning)))
        _style(axes, f"{title}: {name}" if kind == "plain" else name, "iterations", "error (%)")
        _count_iterations(axes, 5)
    handles = [({"color": "0.3", **DASHED}, "training error")]
    handles += [({"color": "0.3", **BOLD}, "test error")]
    handles += [({"color": c, **BOLD}, f"{d} layers") for d, c in colour_of.items()]
    _key(panels[1], handles)
    _final_errors(panels[2], grouped, depths)
    return figure


def _has_learned(run):
    return bool(run.rows) and (run.rows[-1][TEST] or 1) <= 0.6


def _final_errors(axes, grouped, depths):
    """Training and test error of every run at the end, by depth, on a logarithmic axis."""
    floor = 0.01  # in %: what is smaller, and no error at all, is drawn there
    kinds = {"plain": ("plain", "0.6", -0.7), "resnet": ("residual", "black", 0.7)}
    for kind, (_, grey, aside) in kinds.items():
        for column, style in LINES.items():
            means = []
            for depth in depths:
                ends = _ends(grouped.get(f"{kind}{depth}", ()), column)
                face = grey if column == TEST else "white"
                places = [depth + aside] * len(ends)
                drawn = [max(end, floor) for end in ends]
                axes.plot(places, drawn, "o", color=grey, mfc=face, ms=5, zorder=3, alpha=0.7)
                means += [(depth + aside, max(statistics.fmean(ends), floor))] if ends else []
            if means:
                axes.plot(*zip(*means, strict=True), color=grey, **style)
    axes.set_yscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_yticks([floor, 0.1, 1, 10, 100], ["≤ 0.01", "0.1", "1", "10", "100"])
    _style(axes, "the end of every run (open: training)", "layers", "error (%)")
    _key(axes, [({"color": grey, **BOLD}, name) for name, grey, _ in kinds.values()])


def _ends(some, column):
    return [100 * error for error in final(some, column)]


def _depth(group):
    return int(re.sub(r"\D", "", group.split("-")[0]))


def _band(axes, some, column, colour, style):
    """The mean over runs at each step, and its range: of the finished ones, if there are any."""
    shown = [run for run in some if run.finished] or some
    curves = [points for run in shown if (points := dict(curve(run, column)))]
    if not curves:
        return
    steps = sorted(set.intersection(*(set(points) for points in curves)))
    errors = [[100 * points[step] for points in curves] for step in steps]
    axes.plot(steps, [statistics.fmean(e) for e in errors], color=colour, **style)
    if column == TEST:
        low, high = [min(e) for e in errors], [max(e) for e in errors]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _key(axes, entries):
    line = require("matplotlib.lines", extra=drawing.EXTRA).Line2D
    handles = [line([], [], **style) for style, _ in entries]
    axes.legend(handles, [text for _, text in entries], frameon=False, fontsize=11)


def shortcuts(grouped: Mapping[str, Sequence[Run]], title: str, theirs: Mapping[str, float]):
    """Draws the test error of each option's runs, and the paper's (Table 3).

    Args:
        grouped: runs by network and option, such as "resnet56" (A) and "resnet56-B".
        title: of the figure.
        theirs: the paper's error in %, by option.
    """
    figure, (left, right) = _panels(2, (11, 5))
    networks = list(dict.fromkeys(group.split("-")[0] for group in grouped))
    options = list(theirs)
    for network, colour in zip(networks, colours(len(networks)), strict=True):
        for place, option in enumerate(options):
            ends = _ends(grouped.get(_optional(network, option), ()), TEST)
            places = [place + 0.06 * (n - (len(ends) - 1) / 2) for n in range(len(ends))]
            left.plot(places, ends, "o", color=colour, label="" if place else network)
            if ends:
                left.plot(place, statistics.fmean(ends), "_", color=colour, markersize=40)
    right.plot(range(len(options)), list(theirs.values()), "o", color="0.3")
    left.set_ylim(bottom=0)
    height, middle = left.get_ylim()[1], statistics.fmean(theirs.values())
    right.set_ylim(middle - height / 2, middle + height / 2)  # as many points as on the left
    for axes, name in ((left, title), (right, "paper: ResNet-34 on ImageNet, 10-crop")):
        axes.set_xticks(range(len(options)), options)
        axes.set_xlim(-0.5, len(options) - 0.5)
        _style(axes, name, "shortcut option", "test error (%)")
    left.legend(frameon=False, fontsize=11)
    right.set_ylabel("top-1 error (%)", size=12)
    return figure


def _optional(network, option):
    return network if option == "A" else f"{network}-{option}"


def responses(deviations: Mapping[str, Sequence[Sequence[float]]], title: str) -> "Figure":
    """Draws the deviations of the layers' responses, in their order and sorted (Fig. 7).

    Args:
        deviations: by network, for each of its runs those of its layers; the mean over runs is
            drawn, with a band from the smallest to the largest.
        title: of the figure.
    """
    figure, panels = _panels(2, (14, 5))
    depths = sorted({_depth(group) for group in deviations})
    colour_of = dict(zip(depths, colours(len(depths)), strict=True))
    for group, runs in deviations.items():
        style = {"linestyle": "--" if group.startswith("plain") else "-", "linewidth": 2}
        colour = colour_of[_depth(group)]
        in_order = [sorted(run, reverse=True) for run in runs]
        for axes, lines in zip(panels, (runs, in_order), strict=True):
            layers = range(1, len(runs[0]) + 1)
            columns = list(zip(*lines, strict=True))
            low, high = [min(c) for c in columns], [max(c) for c in columns]
            mean = [statistics.fmean(c) for c in columns]
            axes.plot(layers, mean, color=colour, label=group, **style)
            axes.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
    texts = ((title, "layer"), ("sorted", "layer, by standard deviation"))
    for axes, (name, across) in zip(panels, texts, strict=True):
        _style(axes, name, across, "standard deviation")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
    if deviations:
        panels[1].legend(frameon=False, fontsize=11)
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
    figure, (axes,) = _panels(1, INCHES)
    measured = {_depth(group): _ends(some, TEST) for group, some in grouped.items()}
    known = set(measured).union(*others.values())
    places = {depth: place for place, depth in enumerate(sorted(known))}
    for depth, ends in measured.items():
        axes.plot([places[depth]] * len(ends), ends, "o", color=COLOURS[0], alpha=0.4)
    means = {d: statistics.fmean(ends) for d, ends in measured.items() if ends}
    series: dict[str, tuple[Mapping[int, float], dict[str, Any]]] = {
        "measured, mean of runs": (means, {"color": COLOURS[0], "linewidth": 2.5})
    }
    for (name, errors), colour in zip(others.items(), COLOURS[1:], strict=False):
        series[name] = (errors, {"color": colour, "linestyle": "--", "marker": "s"})
    for name, (errors, style) in series.items():
        if errors:
            points = sorted((places[depth], error) for depth, error in errors.items())
            axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.set_xticks(range(len(places)), [str(depth) for depth in places])
    axes.set_ylim(bottom=0)
    _style(axes, title, "layers", "test error (%)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=11)
    return figure


def protocols(panels: Mapping[str, Sequence[tuple[str, float | None, float | None]]]) -> "Figure":
    """Draws measured top-1 errors beside the paper's, a panel for each protocol.

    Args:
        panels: by title, (network, the paper's error in % or None, the measured one or None).
    """
    figure, drawn = _panels(len(panels), (7 * len(panels), 5))
    for axes, (title, rows) in zip(drawn, panels.items(), strict=True):
        for place, (_, theirs, ours) in enumerate(rows):
            if theirs is not None:
                axes.plot(theirs, place, "o", color="0.3", fillstyle="none", markersize=10)
            if ours is not None:
                axes.plot(ours, place, "o", color=COLOURS[0], markersize=6)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        _style(axes, title, "top-1 error (%)", "")
        axes.grid(axis="x", color="0.9", linewidth=0.8)
        ring = {"marker": "o", "linestyle": "", "color": "0.3", "fillstyle": "none"}
        dot = {"marker": "o", "linestyle": "", "color": COLOURS[0]}
        _key(axes, [(ring, "paper"), (dot, "measured")])
    return figure
