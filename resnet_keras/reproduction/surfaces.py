"""The table and the figure of `landscape` (Li et al. 2018)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras.tables import NOT_RUN, Table, spread

from . import landscape, panels, runs
from .monitor import TEST, TRAINING
from .runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURED = Sequence[Mapping[str, Any]]  # of `landscape.of_run`, of each run of a network
_SHOWN = (0.01, 1e3)  # losses: what is outside has the colours of the ends


def table(grouped: Mapping[str, Sequence[Run]], measured: Mapping[str, MEASURED]) -> Table:
    """The loss at the weights that training found, and around them.

    Args:
        grouped: runs by the name of their network and setting.
        measured: of their networks.
    """
    rows = []
    for group, some in grouped.items():
        own = [dict(one) for one in measured.get(group, ())]
        rows.append(
            (
                group.partition("-")[0],
                spread(runs.final(some, TRAINING)),
                spread(runs.final(some, TEST)),
                _numbers([landscape.at_centre(one) for one in own]),
                _numbers([landscape.at_distance(one, 0.5) for one in own]),
                _numbers([landscape.at_distance(one, 1) for one in own]),
                ", ".join(str(landscape.minima(one)) for one in own) or NOT_RUN,
            )
        )
    head = ("network", "training error", "test error", "loss at the centre")
    title = "The loss around trained networks, cross entropy of training images"
    return Table(title, (*head, "0.5 away", "1 away", "local minima seen"), rows)


def _numbers(values):
    return ", ".join(f"{value:.3g}" for value in values) or NOT_RUN


def draw(
    grouped: Mapping[str, Sequence[Run]], measured: Mapping[str, MEASURED], title: str
) -> "Figure":
    """Draws contours of the loss on a logarithmic scale, a panel for each network's first run.

    Args:
        grouped: runs by the name of their network and setting.
        measured: of their networks.
        title: of the figure.
    """
    figure, drawn = panels.row(len(grouped), (3.8 * len(grouped) + 1, 4.4))
    low, high = (math.log10(loss) for loss in _SHOWN)
    levels = [low + step * (high - low) / 20 for step in range(21)]
    filled = None
    for place, (axes, group) in enumerate(zip(drawn, grouped, strict=True)):
        network, own = group.partition("-")[0], measured.get(group)
        panels.style(axes, network if place else f"{title}: {network}", "first direction", "")
        if not own:
            panels.say_empty(axes, "not measured")
            continue
        one = dict(own[0])
        logs = [[math.log10(max(loss, 1e-12)) for loss in row] for row in one["loss"]]
        across = [
            [*column] for column in zip(*logs, strict=True)
        ]  # the first direction to the right
        distances = one["distances"]
        filled = axes.contourf(distances, distances, across, levels, extend="both")
        look = {"colors": "w", "linewidths": 0.4, "linestyles": "solid"}
        axes.contour(distances, distances, across, levels, **look)
        axes.plot(0, 0, "+", color="w", markersize=10)
        axes.set_aspect("equal")
        axes.grid(visible=False)
        axes.set_xlabel(
            f"first direction (norms of each filter)\nloss {landscape.at_centre(one):.3g} at +, "
            f"{one['images']} images, run 1 of {len(own)}"
        )
    drawn[0].set_ylabel("second direction")
    if filled is not None:
        ticks = range(round(low), round(high) + 1)
        bar = figure.colorbar(filled, ax=drawn, ticks=list(ticks))
        bar.ax.set_yticklabels([f"{10.0**tick:g}" for tick in ticks])
        bar.set_label("training loss (cross entropy)")
    return figure
