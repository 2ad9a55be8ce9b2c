"""Draws training and test error of runs, in progress too, as in Fig. 4 and 6 of arXiv 1512.03385.

    python -m resnet_keras.report runs/resnet20_digits
    python -m resnet_keras.report --out=figure6 --title="CIFAR-10" --max_error=20 runs/

Arguments are folders of `train`, or folders of such folders. OUT.png receives the figure; OUT.html,
which needs no other file, the figure with a summary, the flags and all measurements of each run.
"""

import base64
import colorsys
import html
import io
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from . import __version__, cli
from .errors import InputError, require
from .files import make_folder, write_atomically
from .runs import (
    MISSING,
    TEST,
    TRAINING,
    Run,
    curve,
    eval_split,
    find,
    read,
    readable,
    shown,
    state,
    summary,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAGS = cli.new_flags()
LINES = {  # Fig. 6
    TRAINING: {"linestyle": "--", "linewidth": 1.2, "markerfacecolor": "white"},
    TEST: {"linestyle": "-", "linewidth": 2.5},
}
INCHES, DPI = (9, 5), 200
# Okabe and Ito's, which colour-blind readers tell apart; without the yellow, too pale for a line.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 0; padding-top: 1.25rem; border-top: 1px solid #ddd; }
h3 { font-size: .95rem; margin: 1rem 0 .25rem; }
p, figcaption { color: #555; margin: .25rem 0; }
figure { margin: 1.25rem 0; }
img { display: block; width: 100%; height: auto; }
figcaption, div, ul { font-size: .875rem; }
h2::before, tr[style] td:first-child::before { content: ""; display: inline-block;
  width: .7em; height: .7em; margin-right: .5em; border-radius: 2px; background: var(--colour);
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
div { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e5e5e5; text-align: right;
  white-space: nowrap; }
th { border-bottom-color: #999; }
.summary :is(th, td):nth-child(-n+2) { text-align: left; }
.summary td:nth-child(2) { white-space: normal; min-width: 10rem; }
ul { columns: 16rem; list-style: none; margin: 0; padding: 0; font-family: ui-monospace, monospace; }
mark { background: #fff1b8; font-weight: 700; }
summary { cursor: pointer; margin: 1rem 0 .25rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; }
  div { overflow: visible; } th, td { padding: .1rem .3rem; }
  figure, tr, li { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""

flags.DEFINE_string(
    "out", "report", "Path without suffix: OUT.png and OUT.html are written.", flag_values=FLAGS
)
flags.DEFINE_string("title", None, "Title; the runs' data sets without.", flag_values=FLAGS)
flags.DEFINE_float(
    "max_error",
    None,
    "Top of the error axis in %. Without, one under which four fifths of every curve lie.",
    0.1,
    100,
    flag_values=FLAGS,
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return cli.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    out = Path(FLAGS.out)
    if not out.name or out.suffix in (".png", ".html"):
        raise InputError(f"--out is a path without suffix such as runs/report, not {FLAGS.out!r}.")
    runs = read(find(arguments))
    title = readable(FLAGS.title or _title(runs))
    picture = png(draw(runs, title, FLAGS.max_error))
    make_folder(out.parent)
    write_atomically(f"{out}.png", picture)
    write_atomically(f"{out}.html", page(runs, title, picture).encode(errors="replace"))
    for run in runs:
        measured = summary(run, eval_split([run])).items()
        told = [f"{name} {text}" for name, text in measured if text != MISSING]
        print(f"{run.name}: {', '.join([state(run), *told])}")
    print(readable(f"{out}.png and {out}.html are written."))


def _title(runs):
    names = sorted({run.flags.get("dataset", "an unknown data set") for run in runs})
    return f"Training on {', '.join(names)}"


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
    tops = [0.01]
    for run in runs:
        for column in LINES:
            errors = sorted(error for _, error in curve(run, column))
            shown = len(errors) if len(errors) <= 10 else math.ceil(0.8 * len(errors))
            tops += errors[:shown][-1:]
    step = 5 if max(tops) > 0.05 else 1
    return min(100, step * math.ceil(110 * max(tops) / step))


def draw(runs: Sequence[Run], title: str, max_error: float | None = None) -> "Figure":
    """Draws for each run the training error dashed and the test error bold, in one colour.

    Args:
        runs: whose curves to draw against iterations; their names are the legend.
        title: of the figure.
        max_error: top of the error axis in %; without, `top_of_axis`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure_module = require("matplotlib.figure", extra="plot")
    figure = figure_module.Figure(INCHES, dpi=DPI, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # inches
    axes = figure.add_subplot()
    for run, colour in zip(runs, colours(len(runs)), strict=True):
        for column, style in LINES.items():
            points = curve(run, column)
            steps, errors = [step for step, _ in points], [100 * error for _, error in points]
            marker = "o" if len(points) == 1 else ""  # one point makes no line
            axes.plot(steps, errors, color=colour, marker=marker, **style)
    last = max((row["step"] for run in runs for row in run.rows), default=1)
    axes.set(xlim=(0, 1.02 * last), ylim=(0, max_error or top_of_axis(runs)))
    axes.set_xlabel("iterations", size=12)
    axes.set_ylabel("error (%)", size=12)
    axes.set_title(textwrap.fill(title, 70), size=14, loc="left", pad=12, parse_math=False)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.get_major_locator().set_params(nbins=8, steps=(1, 2, 5, 10))
    axes.tick_params(labelsize=11, color="0.6")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, runs)
    return figure


def _legend(axes, runs):
    line = require("matplotlib.lines", extra="plot").Line2D
    names = [textwrap.fill(run.name, 26) for run in runs]
    for place, run in enumerate(runs):
        if not run.finished:
            names[place] += f"\n({re.split(' at |,', state(run))[0]})"
    texts = ["training error", f"{eval_split(runs)} error", *names]
    styles = [{"color": "0.3", **style} for style in LINES.values()]
    styles += [{"color": colour, **LINES[TEST]} for colour in colours(len(runs))]
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


def png(figure: "Figure") -> bytes:
    """Returns a figure as a PNG file of `INCHES` by `DPI`."""
    agg = require("matplotlib.backends.backend_agg", extra="plot")
    content = io.BytesIO()
    agg.FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def page(runs: Sequence[Run], title: str, picture: bytes) -> str:
    """Returns a page of HTML that needs no other file.

    Args:
        runs: to tell of.
        title: of the page.
        picture: PNG file of their curves.
    """
    title, split = html.escape(title), eval_split(runs)
    head = ["run", "state", *summary(runs[0], split)]
    rows = [[run.name, state(run), *summary(run, split).values()] for run in runs]
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>",
        f"<p>{len(runs)} run(s), {sum(run.finished for run in runs)} finished; "
        f"resnet_keras {__version__}</p>",
        '<figure><img alt="Error against iterations" src="data:image/png;base64,'
        f'{base64.b64encode(picture).decode()}">',
        f"<figcaption>Top-1 error. Bold: {html.escape(split)}. Dashed: training, averaged over "
        "the batches since the evaluation before.</figcaption></figure>",
        _table(head, rows, colours(len(runs))),
        *(
            _section(run, runs, colour)
            for run, colour in zip(runs, colours(len(runs)), strict=True)
        ),
    ]
    return "\n".join(parts) + "\n"


def _section(run, runs, colour):
    names = sorted(set().union(*(other.flags for other in runs)))
    differing = {name for name in names if len({other.flags.get(name) for other in runs}) > 1}
    given = {n: run.flags.get(n, "(none)") for n in names if n in run.flags or n in differing}
    rows = [[shown(row[column], "{:.6g}") for column in run.columns] for row in run.rows]
    parts = [
        f'<h2 style="--colour: {colour}">{html.escape(run.name)}</h2>',
        f"<p>{html.escape(state(run))}</p>",
        f"<h3>Flags{', marked where the runs differ' if differing else ''}</h3>",
        _list(given, differing),
        f"<h3>Environment</h3>\n{_list(run.environment)}" if run.environment else "",
        f"<details><summary>Measurements: {len(rows)} evaluation(s)</summary>",
        f"{_table(run.columns, rows)}</details>",
    ]
    return "\n".join(parts)


def _table(head, rows, colours=None):
    def line(tag, texts, style=""):
        return f"<tr{style}>{''.join(f'<{tag}>{html.escape(t)}</{tag}>' for t in texts)}</tr>"

    styles = [f' style="--colour: {colour}"' for colour in colours or ()] or [""] * len(rows)
    body = [line("td", row, style) for row, style in zip(rows, styles, strict=True)]
    kind = ' class="summary"' if colours else ""
    return "\n".join(
        [f"<div><table{kind}>\n<thead>{line('th', head)}</thead>", *body, "</table></div>"]
    )


def _list(values, marked=()):
    texts = {name: html.escape(f"{name}={value}") for name, value in values.items()}
    items = [f"<mark>{text}</mark>" if name in marked else text for name, text in texts.items()]
    return "\n".join(["<ul>", *(f"<li>{item}</li>" for item in items), "</ul>"])


if __name__ == "__main__":
    sys.exit(main())
