"""Pictures by matplotlib, the extra `plot`, which is imported only where something is drawn."""

import io
from typing import TYPE_CHECKING, Any

from .errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTRA = "plot"


def check() -> None:
    """Raises `MissingExtraError` where nothing can be drawn, for lack of matplotlib."""
    require("matplotlib.figure", extra=EXTRA)


def new_figure(inches: tuple[float, float], dpi: float, **options: Any) -> "Figure":
    """Returns an empty white figure that belongs to no window.

    Args:
        inches: width and height.
        dpi: pixels for each inch.
        **options: of `matplotlib.figure.Figure`, such as `layout`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra=EXTRA).Figure(
        inches, dpi=dpi, facecolor="white", **options
    )
    _canvas(figure)  # whose renderer measures texts, which is slow without
    return figure


def png(figure: "Figure") -> bytes:
    """Returns a figure as the content of a PNG file, in its own dots per inch."""
    content = io.BytesIO()
    _canvas(figure).print_png(content)
    return content.getvalue()


def colour(number: int) -> tuple[float, float, float]:
    """Red, green and blue from 0 to 1 of matplotlib's number-th colour, of which there are ten."""
    return require("matplotlib.colors", extra=EXTRA).to_rgb(f"C{number % 10}")


def _canvas(figure):
    return require("matplotlib.backends.backend_agg", extra=EXTRA).FigureCanvasAgg(figure)
