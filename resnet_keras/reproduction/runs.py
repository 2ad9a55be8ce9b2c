"""Reads the folders that `training.fit` writes, called by `train` or a user; no TensorFlow here."""

import csv
import datetime
import math
import os
import re
import statistics
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from resnet_keras.errors import InputError
from resnet_keras.files import readable
from resnet_keras.training.run_folder import (
    ENVIRONMENT,
    FLAGS,
    LAST,
    METRICS,
    flags_of,
    last_weights,
    read_environment,
    read_text,
)

from .monitor import TEST, Monitor, monitor_of

WEIGHTS = f"{LAST}.safetensors"  # of `train`
NAMED = 5  # folders in a line
MISSING = "-"  # in place of what was not measured


class Named(Protocol):
    """Whatever a run's folder is named by."""

    @property
    def name(self) -> str: ...


Member = TypeVar("Member", bound=Named)


class Run(NamedTuple):
    """What the folder of a run holds.

    Attributes:
        name: tells it from the other runs.
        flags: with which it was begun.
        columns: metrics.csv's, none before there are any.
        rows: its lines: numbers, None for what is left empty, errors as shares in [0, 1].
        environment: where it ran, and what it is judged by.
        weights: the file that is written last, with which it is finished; None before.
        failed: whether the command that reads it has seen it fail; no file says that.
    """

    name: str
    flags: dict[str, str]
    columns: list[str]
    rows: list[dict[str, Any]]
    environment: dict[str, str]
    weights: Path | None
    failed: bool = False

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.weights is not None

    @property
    def monitor(self) -> Monitor:
        """By what it is judged; runs of earlier versions, which do not say it, by the error."""
        return monitor_of(self.environment)


def find(arguments: Sequence[str]) -> list[Path]:
    """Lists the runs that are given, and those in folders of runs by name, each once.

    Folders without runs are left out, and named on stderr.

    Raises:
        InputError: nothing is given, or something is no folder, or none holds a run.
    """
    folders: dict[Path, None] = {}
    empty: list[str] = []
    for argument in arguments:
        folder = Path(os.path.abspath(argument))
        if not os.path.isdir(folder):
            raise InputError(f"There is no folder {argument}.")
        runs = [path.parent for path in (*folder.glob(FLAGS), *folder.glob(f"*/{FLAGS}"))]
        if folder in runs:
            folders[folder] = None
            continue
        others = {p for p in folder.glob("[!.]*") if p.is_dir()} - {*runs}
        below = [os.path.join(argument, path.name) for path in sorted(others, key=_order)]
        empty += below if runs else [argument]
        folders.update(dict.fromkeys(sorted(runs, key=_order)))
    if empty and folders:
        print(_left_out(empty), file=sys.stderr)
    elif empty:
        raise InputError(
            f"{' and '.join(empty)} hold{'s' * (len(empty) == 1)} no run: there is no {FLAGS}, nor "
            "in a folder below."
        )
    if not folders:
        raise InputError("Name folders of runs after the flags, or a folder of them such as runs.")
    return list(folders)


def _left_out(folders):
    names = ", ".join(folders[:NAMED])
    more = f" and {len(folders) - NAMED} more" if len(folders) > NAMED else ""
    what = (
        "1 folder without a run is"
        if len(folders) == 1
        else f"{len(folders)} folders without runs are"
    )
    return readable(f"{what} left out: {names}{more}")


def _order(folder):
    """Sorts resnet56 before resnet110."""
    parts = re.split(r"(\d+)", folder.name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def read(folders: Sequence[Path]) -> list[Run]:
    """Reads runs, which may be in progress: files that are not there yet count as empty.

    Raises:
        InputError: a file cannot be read or is not what `training.fit` writes.
    """
    return [_read(*named) for named in zip(folders, _names(folders), strict=True)]


def of_members(
    folder: Path,
    members: Sequence[Member],
    failed: Collection[str],
    columns: Sequence[str],
    command: str,
) -> dict[Member, Run]:
    """Reads the runs of an experiment's members that have begun.

    Args:
        folder: of the members' folders.
        members: to look for, by their `name`.
        failed: names of those that were just seen to fail, begun or not.
        columns: that metrics.csv must have, as soon as it has any.
        command: that writes them.

    Raises:
        InputError: a file cannot be read, or is not what the command writes.
    """
    begun = [m for m in members if m.name in failed or (folder / m.name / FLAGS).exists()]
    by_member = {
        member: run._replace(failed=member.name in failed)
        for member, run in zip(begun, read([folder / m.name for m in begun]), strict=True)
    }
    for member, run in by_member.items():
        for column in columns if run.columns else ():
            if column not in run.columns:
                raise InputError(
                    f"{folder / member.name} has no {column} in {METRICS}: it is no run of "
                    f"{command}."
                )
    return by_member


def _read(folder, name):
    environment = read_environment(folder / ENVIRONMENT)
    columns, rows = _metrics(folder / METRICS, monitor_of(environment).column)
    flags = flags_of(read_text(folder / FLAGS))
    return Run(name, flags, columns, rows, environment, last_weights(folder))


def _names(folders):
    """Names of folders, after as many of their parents as tell equal ones apart."""
    names = []
    for folder in folders:
        depth, others = 1, [other for other in folders if other != folder]
        while folder.parts[-depth:] in [other.parts[-depth:] for other in others]:
            depth += 1
        names.append(readable(os.path.join(*folder.parts[-depth:])))
    return names


def _metrics(path, monitored):
    text = read_text(path)
    whole = text[: text.rfind("\n") + 1]  # of a run in progress, the last line may be half written
    columns, *lines = [*csv.reader(whole.splitlines())] or [[]]
    for name in ("step", monitored) if columns else ():
        if name in columns:
            continue
        if name in ("step", TEST):
            raise InputError(f"{path} has no column {name}: it is not what train writes.")
        raise InputError(
            f"{path} has no column {name}, by which {ENVIRONMENT} beside it says the run is judged."
        )
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


def state(run: Run) -> str:
    """Says how far a run is; its weights are what is written last."""
    if run.finished:
        return "finished"
    if not run.rows:
        if run.failed:
            return "failed before an evaluation"
        return "in progress, not evaluated yet" if run.columns else "not started"
    total = run.flags.get("train_steps") or run.flags.get("steps", "?")
    of = f"{int(total):,}" if total.isdecimal() else total
    reached = f"{run.rows[-1]['step']:,} of {of}"
    return f"failed after step {reached}" if run.failed else f"in progress at step {reached}"


def common_monitor(runs: Sequence[Run]) -> Monitor:
    """By what all of some runs are judged; those that have not begun yet do not count.

    Raises:
        InputError: not all are judged by the same: they have no axis and no table in common.
    """
    names: dict[Monitor, list[str]] = {}
    for run in runs:
        if run.columns or run.environment:
            names.setdefault(run.monitor, []).append(run.name)
    if len(names) > 1:
        parts = [
            f"{', '.join(judged)} by the {monitor.best_is} {monitor.column}"
            for monitor, judged in names.items()
        ]
        raise InputError(
            f"One figure cannot compare runs judged by different measures, {' and '.join(parts)}: "
            "name those of one measure at a time."
        )
    return next(iter(names), Monitor())


def has_training(runs: Sequence[Run]) -> bool:
    """Whether training measures what runs are judged by; while none has begun, so it is hoped."""
    begun = [run for run in runs if run.columns]
    return any(
        run.monitor.is_evaluated and run.monitor.measure in run.columns for run in begun
    ) or (not begun and any(run.monitor.is_evaluated for run in runs))


def summary(run: Run, split: str, monitor: Monitor | None = None) -> dict[str, str]:
    """Returns what runs are compared by, with units: `MISSING` for what was not measured.

    What is monitored, and time, are those of the last row; images per second are the median of the
    rows, and input wait is their mean.

    Args:
        run: whose figures to tell.
        split: what to call the examples on which it was evaluated.
        monitor: by what it is judged beside others; without, its own.
    """
    last = run.rows[-1] if run.rows else {}
    monitor = monitor or run.monitor
    step, best = min(
        curve(run, monitor.column),
        key=lambda point: monitor.order(point[1]),
        default=(None, None),
    )
    training = {f"training {monitor.name}": shown(last.get(monitor.measure), monitor.form)}
    return {
        monitor.named(split): shown(last.get(monitor.column), monitor.form),
        "best": shown(best, monitor.form),
        "at step": shown(step, "{:,}"),
        **(training if monitor.is_evaluated else {}),
        "images/s": shown(_average(run, "images_per_second", statistics.median), "{:,.0f}"),
        "time": _time(last.get("seconds")),
        "input wait": shown(_average(run, "input_wait", statistics.fmean), "{:.1%}"),
    }


def curve(run: Run, column: str) -> list[tuple[float, float]]:
    """Returns a run's (step, value), without what is no number; empty without the column."""
    points = [(row["step"], row.get(column)) for row in run.rows]
    return [(step, value) for step, value in points if value is not None and math.isfinite(value)]


def final(some: Sequence[Run], column: str) -> list[float]:
    """Returns a column's last value of each run that is finished."""
    return [run.rows[-1][column] for run in some if run.finished and run.rows]


def final_percent(some: Sequence[Run], column: str) -> list[float]:
    """Returns what `final` does in %, without what is no number."""
    return [100 * value for value in final(some, column) if math.isfinite(value)]


def missing(some: Sequence[Run]) -> str:
    """Says why there is no error at the end of any run of a network."""
    if any(run.failed for run in some):
        return "failed"
    if any(run.finished for run in some):
        return "no numbers"
    return "not finished" if some else "not run"


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
