"""Tables 2 to 5 of the paper on ImageNet: what is evaluated by which protocol, and what is told.

An `Evaluation` is a run of `evaluate`, whose --results it writes. Weights are those of finished
runs of `train`, or registered ones. Imports no TensorFlow.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.files import digest
from resnet_keras.tables import NOT_RUN, Table, percent
from resnet_keras.zoo import paper

from . import runs

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
# The networks of Tables 2 to 4, and ResNet-18 with option B, for which there are public weights.
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
    """A measurement of one network, or of several as an ensemble, by a protocol.

    `path` is the file with what `evaluate` measures; it is another one where the flags, the weights
    or their bytes are others.
    """

    weights: tuple[Weights, ...]
    protocol: str
    arguments: tuple[str, ...]
    path: Path

    @property
    def name(self) -> str:
        """Of its file, without ending."""
        return self.path.stem

    @property
    def is_ensemble(self) -> bool:
        """Whether several networks answer together."""
        return len(self.weights) > 1


def trained(folders: Sequence[str], dataset: str) -> list[Weights]:
    """The weights of the finished runs in folders, by what their flags say of the network.

    Raises:
        InputError: there is no run, or none that is finished, on the data set, of such a network.
    """
    if not folders:
        return []
    weights = []
    for run in runs.read(runs.find(folders)):
        name = run.flags.get("model", "")
        if not (
            run.finished and run.flags.get("dataset") == dataset and zoo.networks.is_name(name)
        ):
            continue
        shortcut = run.flags.get("shortcut", zoo.networks.find(name).shortcut)
        if (name, shortcut) in NETWORKS:
            weights.append(Weights(name, shortcut, run.name, str(run.weights)))
    if not weights:
        raise InputError(
            f"There is no finished run on {dataset} of a network of Tables 2 to 5 in "
            f"{', '.join(folders)}."
        )
    return weights


def registered(tags: Sequence[str]) -> list[Weights]:
    """The registered weights of the networks, such as of the tag "imagenet".

    Raises:
        InputError: no network of Tables 2 to 5 has weights of a tag.
    """
    weights: dict[Weights, None] = {}
    for tag in tags:
        entries = [(*kind, zoo.entries.find(kind[0], tag)) for kind in NETWORKS]
        own = [
            Weights(network, shortcut, entry.tag, entry.tag)
            for network, shortcut, entry in entries
            if entry is not None and entry.options.get("shortcut") == shortcut
        ]
        if not own:
            raise InputError(f"No network of Tables 2 to 5 has weights {tag!r}.")
        weights.update(dict.fromkeys(own))
    return list(weights)


def evaluations(
    weights: Sequence[Weights],
    scale: str,
    folder: Path,
    flags: Sequence[str],
    weights_dir: str | None = None,
) -> list[Evaluation]:
    """Lists what is measured: each network by each protocol, the residual ones as an ensemble.

    Args:
        weights: to measure.
        scale: "paper" or "quick".
        folder: below which the results are kept.
        flags: of `evaluate`, for every measurement.
        weights_dir: a folder with files of registered weights.
    """
    identities = {one: _identity(one, weights_dir) for one in weights}
    residual = tuple(one for one in weights if one.shortcut)
    sets = [((one,), protocol) for protocol in PROTOCOLS[scale] for one in weights]
    if len(residual) > 1:
        sets.append((residual, PROTOCOLS[scale][-1]))
    listed = []
    for some, protocol in sets:
        arguments = (*_which(some), f"--protocol={protocol}", *flags)
        facts = [[(one.network, identities[one]) for one in some], protocol, list(flags)]
        digits = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
        own = [some[0].network, some[0].shortcut] if len(some) == 1 else ["ensemble"]
        name = "-".join(filter(None, [*own, protocol, digits]))
        listed.append(Evaluation(some, protocol, arguments, folder / f"{name}.json"))
    return listed


def _identity(weights, weights_dir):
    """What tells these bytes from others."""
    entry = zoo.ENTRIES.get((weights.network, weights.value))
    if entry is None:
        return digest(Path(weights.value))
    file = Path(weights_dir or "", entry.file_name)
    return digest(file) if weights_dir and file.exists() else entry.address


def _which(some):
    if len(some) == 1:
        return f"--model={some[0].network}", f"--weights={some[0].value}"
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([f"{one.network}={one.value}" for one in some])
    return (f"--ensemble={text.getvalue()}",)  # a path may have commas


def read(path: Path) -> dict[str, Any] | None:
    """Reads what was measured; None if nothing was.

    Raises:
        InputError: the file is none of `evaluate`'s.
    """
    try:
        row = json.loads(path.read_text())[-1]
        top5 = row["top5_error"]  # None of five classes or fewer
        top5 = None if top5 is None else float(top5)
        return {**row, "top1_error": float(row["top1_error"]), "top5_error": top5}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError, OSError) as error:
        raise InputError(f"{path} is not what evaluate writes: remove it ({error}).") from error


def tables(rows: Mapping[Evaluation, dict[str, Any] | None], scale: str) -> list[Table]:
    """The tables, with the paper's errors; a line for each network and each of its weights.

    Args:
        rows: what was measured of each evaluation that was asked for, or None.
        scale: "paper" or "quick".
    """
    head = ("network", "option", "paper: top-1", "top-5", "measured: top-1", "top-5", "weights")
    by_protocol = []
    for protocol in PROTOCOLS[scale]:
        lines = [
            (
                *(network, shortcut or "none"),
                *(theirs[3:5] if theirs else (None, None)),
                *_errors(row),
                source or NOT_RUN,
            )
            for network, shortcut, theirs, source, row in _lines(rows, protocol)
        ]
        by_protocol.append(Table(f"{TITLES[protocol]}: error in %", head, lines))
    return [*by_protocol, _ensemble(rows)]


def points(rows: Mapping[Evaluation, dict[str, Any] | None], scale: str) -> dict[str, list]:
    """What `figures.protocols` draws: the lines of the tables."""
    return {
        TITLES[protocol]: [
            (
                " ".join(filter(None, (network, shortcut, source))),
                float(theirs.top1) if theirs else None,
                100 * row["top1_error"] if row else None,
            )
            for network, shortcut, theirs, source, row in _lines(rows, protocol)
        ]
        for protocol in PROTOCOLS[scale]
    }


def _lines(rows, protocol):
    """(network, shortcut, the paper's errors, whose weights, what was measured), each or None."""
    for network, shortcut in NETWORKS:
        theirs = paper.errors(network, shortcut, protocol)
        asked = [
            (evaluation.weights[0].source, row)
            for evaluation, row in rows.items()
            if evaluation.protocol == protocol
            and [one[:2] for one in evaluation.weights] == [(network, shortcut)]
        ]
        belongs = theirs or protocol not in PROTOCOLS["paper"]
        for source, row in asked or ([(None, None)] if belongs else []):
            yield network, shortcut, theirs, source, row


def _ensemble(rows):
    asked = [(e, row) for e, row in rows.items() if e.is_ensemble]
    evaluation, row = asked[0] if asked else (None, None)
    members = "none"
    if evaluation is not None:
        members = " + ".join(f"{one.network} {one.source}" for one in evaluation.weights)
    lines = [
        ("the paper's six networks, test server", None, paper.ENSEMBLE_TOP5),
        (f"here, on the validation set: {members}", *_errors(row)),
    ]
    return Table("Ensemble (Table 5): error in %", ("networks", "top-1", "top-5"), lines)


def _errors(row):
    if row is None:
        return [percent(None), percent(None)]
    top5 = row["top5_error"]
    return [percent(row["top1_error"]), None if top5 is None else percent(top5)]
