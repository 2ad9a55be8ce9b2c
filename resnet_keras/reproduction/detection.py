"""Tables 7 and 9 of the paper in small: which detectors are trained on `shapes`, and measured how.

Each is a run of `detection.train` by one recipe. Measurements are made of finished runs' last
weights, and kept in the folder of their first run; those of other weights or settings are others.
Imports no TensorFlow.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.files import digest
from resnet_keras.zoo import paper

from . import runs
from .runs import Run

EXPERIMENT = "detection"
DATASETS = ("shapes",)
RECIPE = "fasterrcnn_shapes"
RESIDUAL, PLAIN = "resnet10_shapes", "plain10_shapes"
LONG = 2500  # steps: 20 epochs of 1,000 images
_SEEDS = {"paper": (0, 1, 2), "quick": (0,)}
_QUICK = ("--train_steps=200", "--eval_every=100", "--eval_split=val[:50]")
# The columns of metrics.csv that are told: COCO's AP, at IoU .5 to .95 and at .5.
AP, AP50 = "val_ap", "val_ap50"

# The paper's scales, 200 to 1000, and its crops of 224, for images of 128 pixels instead of 600.
SCALES = (43, 85, 128, 171, 213)
CANONICAL_SIZE = 48


class Step(NamedTuple):
    """A line of Table 9, which has all that those above have.

    Attributes:
        name: what is added.
        context, refine, multi_scale, ensemble: what a detector has.
        row: what Table 9 calls the line that is nearest, and on which of COCO's splits it is.
    """

    name: str
    context: bool
    refine: bool
    multi_scale: bool
    ensemble: bool
    row: tuple[str, str]

    @property
    def paper(self) -> paper.Detection:
        """The row of the paper."""
        system, split = self.row
        return next(
            row
            for row in paper.DETECTION
            if row.tested == f"COCO {split}" and row.system == system and row.network != "VGG-16"
        )


STEPS = (
    Step("baseline", False, False, False, False, ("baseline", "val")),
    Step("+ box refinement", False, True, False, False, ("+ box refinement", "val")),
    Step("+ context", True, True, False, False, ("+ context", "val")),
    Step("+ multi-scale testing", True, True, True, False, ("+ multi-scale testing", "val")),
    Step("ensemble", True, True, True, True, ("all of these", "test-dev")),
)


class Member(NamedTuple):
    """A run; `steps` are another length than the recipe's."""

    network: str
    seed: int
    context: bool = False
    steps: int | None = None

    @property
    def group(self) -> str:
        """What the runs of all seeds are called."""
        more = [*(["context"] if self.context else []), *([f"{self.steps}"] if self.steps else [])]
        return "-".join([self.network, *more])

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.group}-seed{self.seed}"


class Measurement(NamedTuple):
    """What is measured of a run, or of several as an ensemble.

    Attributes:
        members: whose last weights.
        refine: whether boxes are refined.
        multi_scale: whether several scales are looked at.
    """

    members: tuple[Member, ...]
    refine: bool = False
    multi_scale: bool = False

    @property
    def name(self) -> str:
        """For people."""
        own = " + ".join(member.name for member in self.members)
        more = {"box refinement": self.refine, "multi-scale testing": self.multi_scale}
        return ", ".join([own, *(name for name, there in more.items() if there)])


def members(scale: str, seeds: Sequence[int], longer: bool = True) -> list[Member]:
    """Lists the runs, all of one seed after those of another.

    Args:
        scale: "paper" or "quick".
        seeds: none for the scale's own.
        longer: whether, at the paper's scale, there are runs of `LONG` steps.
    """
    listed = []
    for seed in seeds or _SEEDS[scale]:
        listed += [Member(RESIDUAL, seed), Member(PLAIN, seed), Member(RESIDUAL, seed, True)]
        listed += [Member(RESIDUAL, seed, steps=LONG)] if longer and scale == "paper" else []
    return listed


def arguments(member: Member, scale: str) -> list[str]:
    """The flags with which `detection.train` makes a member."""
    return [
        f"--recipe={RECIPE}",
        f"--model={member.network}",
        f"--seed={member.seed}",
        *(["--context"] if member.context else []),
        *([f"--train_steps={member.steps}"] if member.steps else []),
        *(_QUICK if scale == "quick" else ()),
    ]


def read(
    folder: Path, members: Sequence[Member], failed: Collection[str] = ()
) -> dict[Member, Run]:
    """Reads the runs of the members that have begun; arguments as of `experiments.read`.

    Raises:
        InputError: a file cannot be read, or is not what `detection.train` writes.
    """
    return runs.of_members(folder, members, failed, (AP, AP50), "detection.train")


def measurements(members: Sequence[Member]) -> list[Measurement]:
    """Lists what is measured: every run as it is, and the lines of Table 9."""
    listed = [Measurement((member,)) for member in members]
    listed += [m for step in STEPS for m in of_step(step, members)]
    return list(dict.fromkeys(listed))


def of_step(step: Step, members: Sequence[Member]) -> list[Measurement]:
    """What is measured for a line of Table 9: each seed, or once for an ensemble of several."""
    own = tuple(m for m in members if m == Member(RESIDUAL, m.seed, step.context))
    if not step.ensemble:
        return [Measurement((m,), step.refine, step.multi_scale) for m in own]
    return [Measurement(own, step.refine, step.multi_scale)] if len(own) > 1 else []


def facts(measurement: Measurement, begun: Mapping[Member, Run]) -> dict[str, Any] | None:
    """What tells a measurement from others; None while one of its runs is not finished."""
    own = [begun[member] for member in measurement.members if member in begun]
    if len(own) < len(measurement.members) or not all(run.finished for run in own):
        return None
    scales = {"scales": list(SCALES), "canonical_size": CANONICAL_SIZE}
    return {
        "runs": [member.name for member in measurement.members],
        "weights": [digest(run.weights) for run in own if run.weights],
        "network": measurement.members[0].network,
        "dataset": own[0].flags.get("dataset", DATASETS[0]),
        "split": own[0].flags.get("eval_split", "val"),
        "refine": measurement.refine,
        **(scales if measurement.multi_scale else {}),
    }


def place(folder: Path, facts: Mapping[str, Any]) -> Path:
    """The file of a measurement, in the folder of its first run."""
    digits = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
    return folder / facts["runs"][0] / f"measured-{digits}.json"


def measured(
    folder: Path, listed: Sequence[Measurement], begun: Mapping[Member, Run]
) -> dict[Measurement, dict[str, Any]]:
    """Reads what was measured, in the order of the list.

    Raises:
        InputError: a file holds no measurement.
    """
    rows = {}
    for measurement in listed:
        known = facts(measurement, begun)
        path = known and place(folder, known)
        if path and path.exists():
            rows[measurement] = _row(path)
    return rows


def _row(path):
    try:
        row = json.loads(path.read_text())
        return {**row, **{name: float(row[name]) for name in MEASURES}}
    except (ValueError, TypeError, LookupError, OSError) as error:
        raise InputError(f"{path} is no measurement: remove it ({error}).") from error


# Of a measurement, in [0, 1], and what tables call them.
MEASURES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "voc_07": "VOC mAP, 11 points",
    "voc_area": "VOC mAP, area",
}
Rows = Mapping[Measurement, Mapping[str, Any]]
