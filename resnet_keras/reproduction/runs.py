"""Reads the folders that `train` writes. Imports no TensorFlow."""

import csv
import datetime
import os
import re
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.training.run_folder import (
    ENVIRONMENT,
    FLAGS,
    LAST,
    METRICS,
    flags_of,
    read_environment,
    read_text,
)

WEIGHTS = f"{LAST}.safetensors"  # of `train`
TRAINING, TEST = "top1_error", "val_top1_error"  # columns of metrics.csv
MISSING = "-"  # in place of what was not measured


class Run(NamedTuple):
    """What the folder of a run holds.

    `name` tells it from the other runs; `columns` are metrics.csv's, none before there are any;
    `rows` are its lines: numbers, None for what is left empty, errors as shares in [0, 1].
    """

    name: str
    flags: dict[str, str]
    columns: list[str]
    rows: list[dict[str, Any]]
    environment: dict[str, str]
    finished: bool


def find(arguments: Sequence[str]) -> list[Path]:
    """Lists the runs that are given, and those in folders of runs by name, each once.

    Raises:
        InputError: nothing is given, or something is no folder, or it holds no runs.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        folder = Path(os.path.abspath(argument))
        if not os.path.isdir(folder):
            raise InputError(f"There is no folder {argument}.")
        runs = [path.parent for path in (*folder.glob(FLAGS), *folder.glob(f"*/{FLAGS}"))]
        if not runs:
            raise InputError(
                f"The folder {argument} holds no run: it has no {FLAGS}, nor has a folder in it."
            )
        found.update(dict.fromkeys([folder] if folder in runs else sorted(runs, key=_order)))
    if not found:
        raise InputError("Name folders of runs after the flags, or a folder of them such as runs.")
    return list(found)


def _order(folder):
    """Sorts resnet56 before resnet110."""
    parts = re.split(r"(\d+)", folder.name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def read(folders: Sequence[Path]) -> list[Run]:
    """Reads runs, which may be in progress: files that are not there yet count as empty.

    Raises:
        InputError: a file cannot be read or is not what `train` writes.
    """
    return [
        Run(
            name,
            flags_of(read_text(folder / FLAGS)),
            *_metrics(folder / METRICS),
            read_environment(folder / ENVIRONMENT),
            os.path.exists(folder / WEIGHTS),
        )
        for folder, name in zip(folders, _names(folders), strict=True)
    ]


def _names(folders):
    """Names of folders, after as many of their parents as tell equal ones apart."""
    names = []
    for folder in folders:
        depth, others = 1, [other for other in folders if other != folder]
        while folder.parts[-depth:] in [other.parts[-depth:] for other in others]:
            depth += 1
        names.append(readable(os.path.join(*folder.parts[-depth:])))
    return names


def _metrics(path):
    text = read_text(path)
    whole = text[: text.rfind("\n") + 1]  # of a run in progress, the last line may be half written
    columns, *lines = [*csv.reader(whole.splitlines())] or [[]]
    missing = {"step", TRAINING, TEST}.difference(columns)
    if columns and missing:
        raise InputError(f"{path} has no column {min(missing)}: it is not what train writes.")
    return columns, [_row(path, columns, fields) for fields in lines if fields]


def _row(path, columns, fields):
    try:
        values = [float(field) if field else None for field in fields]
        row = dict(zip(columns, values, strict=True))
        return row | {"step": int(row["step"])}
    except (TypeError, ValueError, OverflowError) as error:
        line = textwrap.shorten(",".join(fields), 80)
        raise InputError(
            f"A line of {path} does not fit its header: {line!r}; remove it, or leave out the run."
        ) from error


def readable(text: str) -> str:
    """Names of files, which need not be UTF-8, as text that can be printed."""
    return os.fsencode(text).decode(errors="replace")


def state(run: Run) -> str:
    """Says how far a run is; its weights are what `train` writes last."""
    if run.finished:
        return "finished"
    if not run.rows:
        return "in progress, not evaluated yet" if run.columns else "not started"
    total = run.flags.get("train_steps", "?")
    of = f"{int(total):,}" if total.isdecimal() else total
    return f"in progress at step {run.rows[-1]['step']:,} of {of}"


def summary(run: Run, split: str) -> dict[str, str]:
    """Returns what runs are compared by, with units: `MISSING` for what was not measured.

    Errors and time are those of the last row; images per second are the median of the rows, and
    input wait is their mean.

    Args:
        run: whose figures to tell.
        split: what to call the examples on which it was evaluated.
    """
    last = run.rows[-1] if run.rows else {}
    step, best = min(curve(run, TEST), key=lambda point: point[1], default=(None, None))
    return {
        f"{split} error": shown(last.get(TEST), "{:.2%}"),
        "best": shown(best, "{:.2%}"),
        "at step": shown(step, "{:,}"),
        "training error": shown(last.get(TRAINING), "{:.2%}"),
        "images/s": shown(_average(run, "images_per_second", statistics.median), "{:,.0f}"),
        "time": _time(last.get("seconds")),
        "input wait": shown(_average(run, "input_wait", statistics.fmean), "{:.1%}"),
    }


def curve(run: Run, column: str) -> list[tuple[float, float]]:
    """Returns a run's (step, error in [0, 1]), without what is no number."""
    points = [(row["step"], row[column]) for row in run.rows]
    return [(step, error) for step, error in points if error is not None and error == error]


def final(some: Sequence[Run], column: str) -> list[float]:
    """Returns a column's last value of each run that is finished."""
    return [run.rows[-1][column] for run in some if run.finished and run.rows]


def _average(run, column, average):
    values = [row[column] for row in run.rows if row.get(column) is not None]
    return average(values) if values else None


def shown(value: float | None, form: str) -> str:
    """A number in a form such as {:.1%}, or `MISSING`."""
    return MISSING if value is None else form.format(value).replace("%", " %")


def _time(seconds):
    return MISSING if seconds is None else str(datetime.timedelta(seconds=round(seconds)))


def switch(value: str | None) -> bool | None:
    """A boolean flag's value in `Run.flags`; None where it has none."""
    return None if value is None else value == "true"


def eval_split(runs: Sequence[Run]) -> str:
    """Names what the runs were evaluated on, such as test."""
    return "/".join(sorted({run.flags.get("eval_split", "test") for run in runs}))
