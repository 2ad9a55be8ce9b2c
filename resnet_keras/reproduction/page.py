"""The page that tells of runs: one file with a figure, a summary, flags and measurements."""

import base64
import html
import re
from collections.abc import Sequence

from resnet_keras import __version__

from .panels import colours
from .runs import Run, common_monitor, eval_split, has_training, shown, state, summary

STYLE = """
:root { color-scheme: light; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
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
ul { columns: 16rem; list-style: none; margin: 0; padding: 0; \
font-family: ui-monospace, monospace; }
mark { background: #fff1b8; font-weight: 700; }
summary { cursor: pointer; margin: 1rem 0 .25rem; }
td:first-child, th:first-child { position: sticky; left: 0; background: #fff; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 2rem; } th, td { padding: .3rem .4rem; }
  h1 { font-size: 1.3rem; } figure { overflow-x: auto; } img { min-width: 36rem; } \
.summary td:nth-child(2) { min-width: 7rem; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; }
  div { overflow: visible; } th, td { padding: .1rem .3rem; }
  figure, tr, li { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


def text(runs: Sequence[Run], title: str, picture: bytes) -> str:
    """Returns a page of HTML that needs no other file.

    Args:
        runs: to tell of, all judged by the same measure.
        title: of the page.
        picture: PNG file of their curves.
    """
    title, split = html.escape(title), eval_split(runs)
    monitor = common_monitor(runs)
    measure = monitor.name.capitalize() if monitor.is_error else monitor.name
    head = ["run", "state", *summary(runs[0], split, monitor)]
    rows = [[run.name, state(run), *summary(run, split, monitor).values()] for run in runs]
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>",
        f"<p>{len(runs)} run(s), {sum(run.finished for run in runs)} finished; "
        f"resnet_keras {__version__}</p>",
        f'<figure><img alt="{html.escape(measure)} against iterations" '
        f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">',
        f"<figcaption>{html.escape(_caption(runs, split))}</figcaption></figure>",
        _table(head, rows, colours(len(runs))),
        *(
            _section(run, runs, colour)
            for run, colour in zip(runs, colours(len(runs)), strict=True)
        ),
    ]
    return "\n".join(parts) + "\n"


def _caption(runs, split):
    monitor = common_monitor(runs)
    measure = re.sub(r"^top(\d+)_", r"Top-\1 ", monitor.measure)
    parts = [f"{measure}."]
    if monitor.is_evaluated:
        parts.append(f"Bold: {split}.")
    if has_training(runs):
        over = "averaged over" if monitor.is_error else "over"  # a mean IoU is no average
        parts.append(f"Dashed: training, {over} the batches since the evaluation before.")
    return " ".join(parts)


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
