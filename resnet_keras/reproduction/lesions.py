"""The table and the figure of `lesion`: networks without some blocks (Veit et al. 2016)."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras.tables import NOT_RUN, Table, percent, spread

from . import lesion, panels
from .experiments import layers_of
from .panels import BOLD
from .runs import MISSING, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TOLD = (3, 5, 10)  # numbers of deleted blocks
MEASURED = Sequence[Mapping[str, Any]]  # of `lesion.of_run`, of each run of a network


def table(grouped: Mapping[str, Sequence[Run]], measured: Mapping[str, MEASURED]) -> Table:
    """Errors without some blocks (Veit et al. 2016).

    Args:
        grouped: runs by the name of their network.
        measured: of their networks.
    """
    rows = []
    for group in grouped:
        some = measured.get(group, ())
        single = [lesion.errors(one) for one in some]
        of_growing = [e for one in some for n, e in one["single"].items() if n in one["grows"]]
        known = [error for error in of_growing if error is not None]
        several = [
            spread([statistics.fmean(one["several"][str(n)]) for one in some])
            if some and all(str(n) in one["several"] for one in some)
            else MISSING
            for n in _TOLD
        ]
        rows.append(
            (
                group,
                f"{len(single[0])} of {len(some[0]['single'])}" if some else NOT_RUN,
                spread([one["error"] for one in some]),
                spread([statistics.median(errors) for errors in single]),
                spread([max(errors) for errors in single]),
                percent(statistics.fmean(known)) if known else MISSING,
                *several,
            )
        )
    head = ("network", "blocks that can be deleted", "error", "without one: median", "worst")
    more = ("mean of those where features grow", *(f"without {n}: mean" for n in _TOLD))
    return Table("Without some blocks: test error in %", (*head, *more), rows)


def draw(
    grouped: Mapping[str, Sequence[Run]], measured: Mapping[str, MEASURED], title: str
) -> "Figure":
    """Draws the error without each block, by its place, and by how many are deleted.

    Means over runs, with bands from the smallest to the largest; circles where features grow.

    Args:
        grouped: runs by the name of their network.
        measured: of their networks.
        title: of the figure.
    """
    figure, (left, right) = panels.row(2, (14, 5))
    colour_of = dict(zip(grouped, panels.colours(len(grouped)), strict=True))
    entries, notes = [], []
    for group in sorted(
        grouped, key=lambda group: (not group.startswith("plain"), layers_of(group))
    ):
        some = measured.get(group)
        if not some:
            notes.append(f"{group}: not measured")
            continue
        look = {"color": colour_of[group], "linestyle": "--" if group.startswith("plain") else "-"}
        entries.append(({**BOLD, **look}, f"{group}, {_runs(len(some))}"))
        _by_place(left, some, look)
        _by_count(right, some, look)
    examples = {one["examples"] for some in measured.values() for one in some}
    across = "place of the deleted block, from first (0) to last (1)"
    panels.style(left, title, across, "test error (%)")
    panels.style(right, "without several, 10 choices of each", "blocks deleted", "test error (%)")
    if not entries:
        panels.say_empty(left, "\n".join(notes) or "not run")
        panels.say_empty(right, "")
        return figure
    floor = 50 / max(examples)  # half of one example, in %
    for axes in (left, right):
        axes.set_yscale("symlog", linthresh=1, linscale=0.5)
        axes.set_ylim(0, 110)
        axes.set_yticks([0, 0.5, 1, 2, 5, 10, 20, 50, 100])
        axes.yaxis.set_major_formatter("{x:g}")
    notes.append(f"{'/'.join(map(str, sorted(examples)))} examples: one is {2 * floor:.2g} %")
    right.xaxis.get_major_locator().set_params(integer=True)
    panels.key(right, entries, notes)
    return figure


def _runs(count):
    return f"{count} run" + "s" * (count != 1)


def _by_place(axes, some, look):
    names = [name for name, error in some[0]["single"].items() if error is not None]
    places = [
        [*some[0]["single"]].index(name) / max(len(some[0]["single"]) - 1, 1) for name in names
    ]
    by_block = [[100 * one["single"][name] for one in some] for name in names]
    means = _band(axes, places, by_block, look)
    growing = [
        (place, mean)
        for name, place, mean in zip(names, places, means, strict=True)
        if name in some[0]["grows"]
    ]
    if growing:
        axes.plot(*zip(*growing, strict=True), "o", color=look["color"], ms=8, mfc="white", mew=2)


def _by_count(axes, some, look):
    counts = [count for count in some[0]["several"] if all(count in one["several"] for one in some)]
    single = [[100 * statistics.fmean(lesion.errors(one)) for one in some]]
    several = [[100 * statistics.fmean(one["several"][count]) for one in some] for count in counts]
    whole = [[100 * one["error"] for one in some]]
    _band(axes, [0, 1, *map(int, counts)], whole + single + several, {**look, "marker": "o"})


def _band(axes, places, values, look):
    """Draws means with their range over runs; returns the means."""
    means = [statistics.fmean(own) for own in values]
    axes.plot(places, means, linewidth=2, **look)
    low, high = [min(own) for own in values], [max(own) for own in values]
    axes.fill_between(places, low, high, color=look["color"], alpha=0.15, linewidth=0)
    return means
