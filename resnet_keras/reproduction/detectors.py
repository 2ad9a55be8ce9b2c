"""What is told of the detectors of `detection`: tables in percent, the paper's numbers beside."""

from collections.abc import Mapping, Sequence

from resnet_keras.tables import NOT_RUN, Table, percent, spread

from . import runs
from .detection import (
    AP,
    AP50,
    MEASURES,
    PLAIN,
    RESIDUAL,
    STEPS,
    Measurement,
    Member,
    Rows,
    of_step,
)
from .runs import Run

# mAP in percent. Tables 7 and 8, VGG-16 and ResNet-101: VOC 07 / 12 test; COCO val, at IoU .5 and
# at .5 to .95.
PAPER_BACKBONES = {
    PLAIN: ("VGG-16", "73.2 / 70.4", "41.5 / 21.2"),
    RESIDUAL: ("ResNet-101", "76.4 / 73.8", "48.4 / 27.2"),
}
_COUNTS = ("parameters", "multiply_adds")  # of a backbone, in a measurement


def tables(members: Sequence[Member], rows: Rows) -> list[Table]:
    """Tables 7 and 9 in small, and the same detector trained for longer, in percent.

    Args:
        members: all runs.
        rows: what was measured.
    """
    told = f"AP in %, {images(rows)}"
    made = [_backbones(members, rows, told), _improvements(members, rows, told)]
    longer = [member for member in members if member.steps]
    return [*made, _longer(members, rows, told)] if longer else made


def images(rows: Rows) -> str:
    """On what was measured, in words."""
    known = sorted({f"{row['images']} images of {row['split']}" for row in rows.values()})
    return " / ".join(known) or "not measured"


def _backbones(members, rows, told):
    lines = []
    for network in (PLAIN, RESIDUAL):
        own = _of(rows, [m for m in members if m == Member(network, m.seed)])
        counts = [f"{own[0][name]:,}" if own else NOT_RUN for name in _COUNTS]
        lines.append((network, *counts, *PAPER_BACKBONES[network], *_measures(own)))
    head = ("backbone", "parameters", "multiply-adds")
    theirs = ("paper: backbone", "paper: VOC 07 / 12, mAP", "paper: COCO val, AP50 / AP")
    title = f"Plain and residual backbone, from scratch (Tables 7 and 8 in small): {told}"
    return Table(title, (*head, *theirs, *_HEAD), lines)


def _improvements(members, rows, told):
    lines = []
    for step in STEPS:
        own = [rows[m] for m in of_step(step, members) if m in rows]
        theirs = step.paper
        lines.append((step.name, f"{theirs.ap50} / {theirs.ap} ({step.row[1]})", *_measures(own)))
    title = f"Improvements, each line with those above (Table 9 in small): {told}"
    return Table(title, ("detector", "paper: COCO, AP50 / AP", *_HEAD), lines)


def _longer(members, rows, told):
    lengths = dict.fromkeys(m.steps for m in members)
    lines = [
        (
            "the recipe's" if steps is None else f"{steps:,} (20 epochs)",
            *_measures(
                _of(rows, [m for m in members if m == Member(RESIDUAL, m.seed, False, steps)])
            ),
        )
        for steps in lengths
    ]
    return Table(f"{RESIDUAL}, trained for longer: {told}", ("steps", *_HEAD), lines)


_HEAD = ("runs", *MEASURES.values(), "AP of each run")


def _of(rows, members):
    """What was measured of runs as they are."""
    return [rows[m] for m in (Measurement((member,)) for member in members) if m in rows]


def _measures(own):
    """The texts of `_HEAD`."""
    means = [spread([row[name] for row in own]) for name in MEASURES]
    single = ", ".join(percent(row["ap"]) for row in own) or NOT_RUN
    together = [len(row["runs"]) for row in own if len(row["runs"]) > 1]
    count = f"{together[0]} together" if together else str(len(own))
    return count, *means, single


def all_runs(members: Sequence[Member], begun: Mapping[Member, Run]) -> Table:
    """Every run, whatever came of it."""
    rows = []
    for member in members:
        run = begun.get(member)
        figures = [NOT_RUN] * 4
        if run and run.rows:
            last = run.rows[-1]
            minutes = f"{last['seconds'] / 60:.1f}"
            figures = [f"{last['step']:,}", percent(last[AP]), percent(last[AP50]), minutes]
        rows.append((member.name, runs.state(run) if run else NOT_RUN, *figures))
    return Table("All runs", ("run", "state", "steps", "AP", "AP50", "minutes of training"), rows)


def curves(begun: Mapping[Member, Run]) -> dict[str, dict[str, list[float]]]:
    """AP and AP50 at each evaluation of each run."""
    columns = {"steps": "step", "ap": AP, "ap50": AP50}
    return {
        member.name: {name: [row[column] for row in run.rows] for name, column in columns.items()}
        for member, run in begun.items()
    }


def by_step(members: Sequence[Member], rows: Rows) -> dict[str, dict[str, float]]:
    """AP in percent for each line of Table 9, by the seeds of its runs."""
    return {
        step.name: {
            "+".join(str(member.seed) for member in m.members): 100 * rows[m]["ap"]
            for m in of_step(step, members)
            if m in rows
        }
        for step in STEPS
    }
