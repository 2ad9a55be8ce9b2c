"""What came of an experiment: tables, a figure and facts, read from its runs, written as files."""

import functools
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras import drawing
from resnet_keras.files import make_folder, readable, write_atomically
from resnet_keras.tables import Table, markdown

from . import (
    degradation,
    detection,
    detectors,
    experiments,
    families,
    figures,
    gradients,
    imagenet,
    landscape,
    lesion,
    lesions,
    panels,
    precision,
    responses,
    settings,
    shattering,
    studies,
    surfaces,
)
from .experiments import Member
from .imagenet import Evaluation
from .runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Results(NamedTuple):
    """What came of an experiment.

    Attributes:
        tables: the paper's numbers beside those measured.
        figure: of the same.
        runs: one by one; None where the tables have each.
        versions: what they were made with.
        more: what only the JSON has, ready for it.
    """

    tables: Sequence[Table]
    figure: "Figure"
    runs: Table | None
    versions: Mapping[str, str]
    more: Mapping[str, Any]


def of_members(
    experiment: str,
    dataset: str,
    scale: str,
    folder: Path,
    members: Sequence[Member],
    failed: Collection[str] = (),
) -> Results:
    """Reads what came of the runs of an experiment that trains.

    Args:
        experiment: one of `experiments.EXPERIMENTS`.
        dataset: one of `experiments.DATASETS`.
        scale: one of `experiments.SCALES`.
        folder: of the members' folders.
        members: the runs, of which some may not have begun.
        failed: names of those that were just seen to fail.

    Raises:
        InputError: a file is not what `train` or `reproduce` writes.
    """
    begun = experiments.read(folder, members, failed)
    grouped = experiments.groups(members, begun)
    title = _title(dataset, scale)
    tables, figure, more = _OF[experiment](grouped, title, dataset, folder)
    panels.note(figure, _note(experiment, dataset, begun))
    return Results(
        tables,
        figure,
        experiments.all_runs(members, begun),
        experiments.versions(begun.values()),
        {**more, "curves": experiments.curves(begun)},
    )


def of_detectors(
    members: Sequence[detection.Member],
    begun: Mapping[detection.Member, Run],
    rows: detection.Rows,
    dataset: str,
    scale: str,
) -> Results:
    """Puts together what came of the runs of `detection`, of which some may not have begun.

    Args:
        members: all runs.
        begun: those that have.
        rows: of `detection.measured`.
        dataset: one of `detection.DATASETS`.
        scale: one of `experiments.SCALES`.
    """
    figure = precision.draw(
        experiments.groups(members, begun),
        detection.AP,
        detectors.by_step(members, rows),
        {step.name: float(step.paper.ap or "nan") for step in detection.STEPS},
        _title(dataset, scale),
        detectors.images(rows),
    )
    return Results(
        detectors.tables(members, rows),
        figure,
        detectors.all_runs(members, begun),
        experiments.versions(begun.values()),
        {"curves": detectors.curves(begun), "measurements": list(rows.values())},
    )


def _note(experiment, dataset, begun):
    """What is in a figure: seeds, images, and what its bands are."""
    seeds = ", ".join(map(str, sorted({member.seed for member in begun}))) or "none"
    images = experiments.images(dataset, [*begun.values()]) if begun else ""
    if experiment == studies.LANDSCAPE:  # of losses in training
        decays = {
            run.flags["weight_decay"] for run in begun.values() if "weight_decay" in run.flags
        }
        images = f"Weight decay: {'/'.join(sorted(decays))}." if decays else ""
    return " ".join(filter(None, (f"Seeds: {seeds}.", images, _SPREAD.get(experiment))))


_BANDS = "Bands: from the least to the largest of the seeds."
_DEVIATIONS = "mean and sample standard deviation."
_DOTS = "Dots: runs; lines: their means."
_SPREAD = {
    **dict.fromkeys(("shortcuts", "depth"), _DOTS),
    "families": f"{_DOTS} Below the names: multiply-adds. Blue: ResNets.",
    **dict.fromkeys(("degradation", "responses", "lesion"), _BANDS),
    **dict.fromkeys((studies.SHORTCUT_RATIO, studies.REGULARIZATION), f"Bars: {_DEVIATIONS}"),
    studies.NORMALIZATION: f"Bars and bands: {_DEVIATIONS}",
}


def _title(dataset, scale):
    return dataset if scale == "paper" else f"{dataset}, {scale} runs"


def of_gradients(
    listed: Sequence[gradients.Start], folder: Path, dataset: str, scale: str
) -> Results:
    """Puts together the gradients of networks, of which some may not have been measured.

    Raises:
        InputError: a file is not what `gradients` writes.
    """
    read = {start: gradients.read(folder, start) for start in listed}
    measured = {start: result for start, result in read.items() if result is not None}
    names = list(dict.fromkeys(start.network for start in listed))
    grouped = gradients.by_network(measured)
    return Results(
        shattering.tables(names, grouped),
        shattering.draw(names, grouped, f"{_title(dataset, scale)}: of pixels, before training"),
        None,
        experiments.joined([result.get("versions", {}) for result in measured.values()]),
        {"gradients": list(measured.values())},
    )


def of_evaluations(evaluations: Sequence[Evaluation], scale: str) -> Results:
    """Reads what came of evaluations on ImageNet, of which some may not have been made.

    Raises:
        InputError: a file is not what `evaluate` writes.
    """
    rows = {evaluation: imagenet.read(evaluation.path) for evaluation in evaluations}
    measured = [row for row in rows.values() if row is not None]
    return Results(
        imagenet.tables(rows, scale),
        figures.protocols(imagenet.points(rows, scale)),
        None,
        experiments.joined([row["versions"] for row in measured]),
        {"measurements": measured},
    )


Grouped = Mapping[str, list[Run]]


def _degradation(grouped: Grouped, title, dataset, folder):
    return experiments.degradation(grouped), degradation.draw(grouped, title), {}


def _shortcuts(grouped: Grouped, title, dataset, folder):
    theirs = experiments.paper_shortcuts()
    figure = figures.shortcuts(grouped, f"{title}: shortcut options", theirs)
    return experiments.shortcuts(grouped), figure, {}


def _depth(grouped: Grouped, title, dataset, folder):
    others = experiments.others(dataset)
    figure = figures.depth(grouped, f"{title}: residual networks", others)
    return experiments.depth(grouped, dataset), figure, {}


def _measured(measure, grouped, folder):
    """What a measure says of the runs of each group that it was taken of."""
    read = {group: [measure.read(folder / run.name) for run in grouped[group]] for group in grouped}
    return {group: [one for one in some if one] for group, some in read.items() if any(some)}


def _responses(grouped: Grouped, title, dataset, folder):
    measured = _measured(responses, grouped, folder)
    drawn = {
        group: [list(deviations.values()) for deviations in measured.get(group, ())]
        for group in grouped
    }
    figure = figures.responses(drawn, f"{title}: responses of the 3x3 layers")
    return experiments.responses(grouped, measured), figure, {"deviations": measured}


def _lesion(grouped: Grouped, title, dataset, folder):
    measured = _measured(lesion, grouped, folder)
    figure = lesions.draw(grouped, measured, f"{title}: without one block")
    return [lesions.table(grouped, measured)], figure, {"lesions": measured}


def _landscape(grouped: Grouped, title, dataset, folder):
    measured = _measured(landscape, grouped, folder)
    return (
        [surfaces.table(grouped, measured)],
        surfaces.draw(grouped, measured, title),
        {"landscapes": measured},
    )


def _study(name, grouped: Grouped, title, dataset, folder):
    tables = [studies.table(name, dataset, grouped)]
    if name == studies.SHORTCUT_RATIO:
        tables.append(settings.costs(dataset, grouped))
    words = f"{title}: {name.replace('_', ' ')}"
    return tables, settings.draw(name, dataset, grouped, words), {}


def _families(grouped: Grouped, title, dataset, folder):
    measured = {group: families.read(folder, group) for group in grouped}
    figure = families.draw(grouped, measured, title)
    return families.tables(grouped, measured), figure, {"speed": measured}


_OF: dict[str, Callable[..., tuple[Sequence[Table], Any, dict[str, Any]]]] = {
    "degradation": _degradation,
    "shortcuts": _shortcuts,
    "responses": _responses,
    "depth": _depth,
    "families": _families,
    "lesion": _lesion,
    studies.LANDSCAPE: _landscape,
    **{
        name: functools.partial(_study, name)
        for name in (studies.NORMALIZATION, studies.SHORTCUT_RATIO, studies.REGULARIZATION)
    },
}


def place(
    folder: str,
    experiment: str,
    dataset: str,
    scale: str,
    depths: Sequence[int] = (),
    seeds: Sequence[int] = (),
) -> Path:
    """A path without suffix below `folder`; another one where another part is asked for."""
    parts = [experiment, dataset, *([scale] if scale != "paper" else [])]
    for name, numbers in (("depths", depths), ("seeds", seeds)):
        if numbers:
            parts.append(f"{name}{'-'.join(map(str, numbers))}")
    return Path(folder) / "_".join(parts)


def write(
    out: Path,
    results: Results,
    *,
    experiment: str,
    dataset: str,
    scale: str,
    flags: Sequence[str],
    command: str,
) -> None:
    """Writes OUT.png, OUT.md and OUT.json, and prints the tables.

    Args:
        out: a path without suffix.
        results: to tell of.
        experiment: its name.
        dataset: its data set.
        scale: "paper" or "quick".
        flags: that each run had besides the experiment's.
        command: that makes the same.

    Raises:
        InputError: the files cannot be written.
    """
    tables = [*results.tables, *([results.runs] if results.runs else [])]
    body = "\n\n".join(f"## {table.title}\n\n{markdown(table)}" for table in tables)
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    page = (
        f"# {experiment}, {dataset}, {scale}\n\n![{experiment}]({out.name}.png)\n\n{body}\n\n"
        f"Made by `{command}`{f' with {versions}' if versions else ''}.\n"
    )
    facts = {
        "experiment": experiment,
        "dataset": dataset,
        "scale": scale,
        "flags": flags,
        "command": command,
        "versions": results.versions,
        "tables": [table._asdict() for table in results.tables],
        "runs": results.runs and results.runs._asdict(),
        **results.more,
    }
    make_folder(out.parent)
    write_atomically(f"{out}.png", drawing.png(results.figure))
    write_atomically(f"{out}.md", readable(page))
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in facts.items())
    write_atomically(f"{out}.json", f"{{\n{lines}\n}}\n")
    text = f"\n{body}\n\n{out}.png, {out}.md and {out}.json are written."
    encoding = sys.stdout.encoding or "utf-8"  # which may lack the plus-minus sign
    print(readable(text).encode(encoding, errors="replace").decode(encoding))
