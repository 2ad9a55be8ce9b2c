"""Axes of figures: what all have in common, and what stands where nothing can be drawn."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras import drawing
from resnet_keras.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Fig. 6
DASHED = {"linestyle": "--", "linewidth": 1.2, "markerfacecolor": "white"}
BOLD = {"linestyle": "-", "linewidth": 2.5}
INCHES, DPI = (9, 5), 200
GREY = "0.4"  # of texts in place of what is missing
# Okabe and Ito's, which colour-blind readers tell apart; without the yellow, too pale for a line.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def colours(count: int) -> list[str]:
    """Returns as many colours as #rrggbb, which differ."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shares = (colorsys.hls_to_rgb(n / count, (0.35, 0.5)[n % 2], 0.75) for n in range(count))
    return ["#" + "".join(f"{round(255 * share):02x}" for share in rgb) for rgb in shares]


def row(count: int, inches: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    """Returns a figure of so many inches, and the axes in it, side by side.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = drawing.new_figure(inches, DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # inches
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def style(axes: "Axes", title: str, across: str, up: str) -> None:
    """Gives axes a title, names for both directions, and a quiet look."""
    axes.set_xlabel(across, size=12)
    axes.set_ylabel(up, size=12)
    axes.set_title(title, size=14, loc="left", pad=12, parse_math=False)
    axes.tick_params(labelsize=11, color="0.6")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def count_iterations(axes: "Axes", last: float, labels: int = 8) -> None:
    """Has whole iterations from 0 to the last one along the axis, so many of them with labels."""
    axes.set_xlim(0, 1.02 * last)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=labels)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.get_major_locator().set_params(nbins=8, steps=(1, 2, 5, 10))


def range_of_errors(axes: "Axes", top: float) -> None:
    """Has errors in % from 0 to `top`, and room for a line at 0, and at 100, to be seen."""
    axes.set_ylim(-0.01 * top, top if top < 100 else 101)


def name_places(axes: "Axes", names: Sequence[str]) -> None:
    """Has a place for each name along the axis, at 0, 1 and so on; one alone in the middle."""
    margin = max(0.05 * (len(names) - 1), 0.2) if len(names) > 1 else 0.5
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-margin, len(names) - 1 + margin)


def note(figure: "Figure", text: str) -> None:
    """Puts a line below all axes."""
    figure.supxlabel(text, x=0.01, ha="left", size=10, color=GREY)


def key(
    axes: "Axes", entries: Sequence[tuple[Mapping[str, Any], str]], notes: Sequence[str] = ()
) -> None:
    """Puts a legend where it hides the least.

    Args:
        axes: in which.
        entries: how a line looks, and what it is.
        notes: lines of text below these, of what is not to be seen in the axes.
    """
    if not (entries or notes):
        return
    line = require("matplotlib.lines", extra=drawing.EXTRA).Line2D
    handles = [line([], [], **look) for look, _ in entries]
    handles += [line([], [], linestyle="") for _ in notes]
    texts = [*(text for _, text in entries), *notes]
    legend = axes.legend(
        handles, texts, fontsize=11, frameon=True, framealpha=0.8, edgecolor="none", facecolor="w"
    )
    for label in legend.get_texts()[len(entries) :]:
        label.set_color(GREY)


def say(axes: "Axes", text: str) -> None:
    """Puts a text in the middle of axes."""
    middle = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, text, size=14, color=GREY, **middle).set_in_layout(False)


def say_empty(axes: "Axes", text: str) -> None:
    """Puts a text in the middle of axes that nothing is drawn in, and takes their ticks away."""
    axes.set(xticks=[], yticks=[])
    say(axes, text)


def say_at(axes: "Axes", place: float, text: str) -> None:
    """Puts a text above a place along the axis for which nothing is drawn."""
    below = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
    lines = text.replace(" ", "\n")
    axes.text(place, 0.02, lines, size=11, color=GREY, **below).set_in_layout(False)
