"""Tables 2 to 5 of the paper on ImageNet: what is evaluated by which protocol, and what is told.

An `Evaluation` is a run of `evaluate`, whose --results it writes. Weights are those of finished runs
of `train`, or registered ones. Imports no TensorFlow.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import runs, zoo
from .errors import InputError
from .tables import NOT_RUN, Table, percent
from .zoo import paper

DATASETS = ("imagenet2012", "folder")
PROTOCOLS = {
    "paper": (paper.TEN_CROP, paper.MULTI_SCALE),
    "quick": ("single_crop",),
}
TITLES = {
    paper.TEN_CROP: "10-crop (Tables 2 and 3)",
    paper.MULTI_SCALE: "Fully convolutional, several scales (Table 4)",
    "single_crop": "Single crop (not in the paper)",
}
ENSEMBLE = "ensemble"
# The networks of Tables 2 to 4, and ResNet-18 with option B, of which public weights are.
NETWORKS = (
    ("plain18", None),
    ("plain34", None),
    ("resnet18", "A"),
    ("resnet18", "B"),
    ("resnet34", "A"),
    ("resnet34", "B"),
    ("resnet34", "C"),
    ("resnet50", "B"),
    ("resnet101", "B"),
    ("resnet152", "B"),
)


class Weights(NamedTuple):
    """Trained weights of a network: `source` says whose, `value` is what --weights takes."""

    network: str
    shortcut: str | None
    source: str
    value: str


class Evaluation(NamedTuple):
    """A measurement of one network, or of several as an ensemble, by a protocol."""

    weights: tuple[Weights, ...]
    protocol: str

    @property
    def is_ensemble(self) -> bool:
        return len(self.weights) > 1

    @property
    def name(self) -> str:
        """Of its folder."""
        if self.is_ensemble:
            return f"{ENSEMBLE}-{self.protocol}"
        one = self.weights[0]
        option = f"-{one.shortcut}" if one.shortcut else ""
        return f"{one.network}{option}-{one.source.replace('/', '_')}-{self.protocol}"


def trained(folders: Sequence[str]) -> list[Weights]:
    """The weights of the finished runs in folders, by what their flags say of the network.

    Raises:
        InputError: there is no run, or none is finished.
    """
    if not folders:
        return []
    found = []
    paths = runs.find(folders)
    for path, run in zip(paths, runs.read(paths), strict=True):
        network = zoo.networks.find(run.flags.get("model", ""))
        shortcut = run.flags.get("shortcut", network.shortcut)
        if run.finished and (network.name, shortcut) in NETWORKS:
            found.append(Weights(network.name, shortcut, run.name, str(path / runs.WEIGHTS)))
    if not found:
        raise InputError(f"--trained: no finished run of a network of Tables 2 to 5 in {folders}.")
    return found


def registered(tags: Sequence[str]) -> list[Weights]:
    """The registered weights of the networks, such as of the tag "imagenet".

    Raises:
        InputError: no network of Tables 2 to 5 has weights of a tag.
    """
    found = []
    for tag in tags:
        own = []
        for network, shortcut in NETWORKS:
            entry = zoo.entries.find(network, tag)
            if entry is not None and entry.options.get("shortcut") == shortcut:
                own.append(Weights(network, shortcut, entry.tag, entry.tag))
        if not own:
            raise InputError(f"--weights: no network of Tables 2 to 5 has weights {tag!r}.")
        found += own
    return found


def evaluations(weights: Sequence[Weights], scale: str) -> list[Evaluation]:
    """Lists what is measured: each network by each protocol, the residual ones as an ensemble."""
    each = [Evaluation((one,), protocol) for protocol in PROTOCOLS[scale] for one in weights]
    residual = tuple(one for one in weights if one.shortcut)
    if len(residual) > 1:
        each.append(Evaluation(residual, PROTOCOLS[scale][-1]))
    return each


def arguments(evaluation: Evaluation) -> list[str]:
    """The flags with which `evaluate` makes a measurement."""
    if evaluation.is_ensemble:
        members = ",".join(f"{one.network}={one.value}" for one in evaluation.weights)
        which = [f"--ensemble={members}"]
    else:
        one = evaluation.weights[0]
        which = [f"--model={one.network}", f"--weights={one.value}"]
    return [*which, f"--protocol={evaluation.protocol}"]


def read(path: Path, evaluation: Evaluation) -> dict[str, Any] | None:
    """Reads what was measured; None if nothing was, or the weights are newer.

    Raises:
        InputError: the file is none of `evaluate`'s.
    """
    files = [Path(one.value) for one in evaluation.weights]
    newest = max((file.stat().st_mtime for file in files if file.is_file()), default=0)
    if not path.exists() or path.stat().st_mtime < newest:
        return None
    try:
        (row,) = json.loads(path.read_text())
        return {**row, "top1_error": float(row["top1_error"])}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is not what evaluate writes: remove it ({error}).") from error


def tables(found: Mapping[Evaluation, dict[str, Any]], scale: str) -> list[Table]:
    """The tables, with the paper's errors; a line for each network and each of its weights."""
    head = ("network", "option", "paper: top-1", "top-5", "measured: top-1", "top-5", "weights")
    made = []
    for protocol in PROTOCOLS[scale]:
        rows = [
            (
                *(network, shortcut or "none"),
                *(theirs[3:5] if theirs else (None, None)),
                *_errors(row),
                source or NOT_RUN,
            )
            for network, shortcut, theirs, source, row in _lines(found, protocol)
        ]
        made.append(Table(f"{TITLES[protocol]}: error in %", head, rows))
    return [*made, _ensemble(found)]


def points(found: Mapping[Evaluation, dict[str, Any]], scale: str) -> dict[str, list]:
    """What `figures.protocols` draws: the lines of the tables."""
    return {
        TITLES[protocol]: [
            (
                " ".join(filter(None, (network, shortcut, source))),
                float(theirs.top1) if theirs else None,
                100 * row["top1_error"] if row else None,
            )
            for network, shortcut, theirs, source, row in _lines(found, protocol)
        ]
        for protocol in PROTOCOLS[scale]
    }


def _lines(found, protocol):
    """(network, shortcut, the paper's errors, whose weights, what was measured), or None in each."""
    for network, shortcut in NETWORKS:
        theirs = paper.errors(network, shortcut, protocol)
        measured = [
            (evaluation.weights[0].source, row)
            for evaluation, row in found.items()
            if evaluation.protocol == protocol
            and [one[:2] for one in evaluation.weights] == [(network, shortcut)]
        ]
        told = theirs or protocol not in PROTOCOLS["paper"]
        for source, row in measured or ([(None, None)] if told else []):
            yield network, shortcut, theirs, source, row


def _ensemble(found):
    measured = [(e, row) for e, row in found.items() if e.is_ensemble]
    evaluation, row = measured[0] if measured else (None, None)
    told = "none"
    if evaluation is not None:
        told = " + ".join(f"{one.network} {one.source}" for one in evaluation.weights)
    rows = [
        ("the paper's six networks, test server", None, paper.ENSEMBLE_TOP5),
        (f"measured here on the validation set: {told}", *_errors(row)),
    ]
    return Table("Ensemble (Table 5): error in %", ("networks", "top-1", "top-5"), rows)


def _errors(row):
    return [percent(row and row["top1_error"]), percent(row and row["top5_error"])]
