"""Files that hold what was measured: a JSON list of measurements, a CSV table of classes."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_keras import __version__, pipelines
from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically

from .protocols import Protocol
from .scores import Errors, Scores, has_top5, wrong

# Data sets that only their folder tells apart.
OWN = (pipelines.FOLDER, pipelines.ARRAYS, pipelines.UCR)


def write_per_class(path: Path, scores: Scores, names: Sequence[str]) -> None:
    """Writes a CSV with a row per class: number, name, examples, top-1 and top-5 error.

    The top-5 error is left out where there are five classes or fewer.
    """
    measures = {"top1_error": wrong(scores, 1)}
    if has_top5(scores):
        measures["top5_error"] = wrong(scores, 5)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("class", "name", "examples", *measures))
    for label, name in enumerate(names):
        own = scores.labels == label
        errors = [f"{missed[own].mean():.6f}" if own.any() else "" for missed in measures.values()]
        rows.writerow((label, name, int(own.sum()), *errors))
    write_atomically(path, text.getvalue())


def key(
    members: Sequence[tuple[str, str | None]],
    shown: Sequence[Protocol],
    *,
    dataset: str,
    data_dir: str | None,
    split: str,
    dtype: str,
    exif_orientation: bool | None,
) -> dict[str, Any]:
    """Returns what tells a measurement from others: what was measured, and how.

    Args:
        members: (model, weights) of each network; several are an ensemble.
        shown: how each of them was shown the images.
        dataset, data_dir, split, exif_orientation: as for `pipelines.evaluation`.
        dtype: the policy of the layers.
    """
    facts = [protocol.facts() for protocol in shown]
    alike = all(recorded == facts[0] for recorded in facts)
    told = {
        "model": "+".join(name for name, _ in members),
        "weights": "+".join(str(weights or "its own") for _, weights in members),
        "dataset": dataset,
        **({"data_dir": data_dir} if dataset in OWN else {}),
        "split": split,
        **(facts[0] if alike else {"protocol": shown[0].name, "members": facts}),
        "dtype": dtype,
    }
    if exif_orientation is not None:
        told["exif_orientation"] = exif_orientation
    return told


def in_words(errors: Errors) -> str:
    """Errors in percent."""
    top5 = "" if errors.top5 is None else f", top-5 error {100 * errors.top5:.2f} %"
    return f"top-1 error {100 * errors.top1:.2f} %{top5}"


def record(
    path: Path,
    key: dict[str, Any],
    errors: Errors,
    *,
    training: Any,
    exported: dict[str, Any] | None = None,
) -> None:
    """Puts a measurement into a JSON list, in place of the one with the same `key`.

    Args:
        path: of the list, made if it is not there.
        key: what was measured and how.
        errors: the figures.
        training: how the weights were made.
        exported: of an exported model, what it is of and how it was exported.

    Raises:
        InputError: the file is there and is no such list, or cannot be written.
    """
    row = {
        "examples": errors.examples,
        "top1_error": round(errors.top1, 6),
        "top5_error": None if errors.top5 is None else round(errors.top5, 6),
        "training": training,
        **({} if exported is None else {"exported": exported}),
    }
    put(path, key, row)


def put(path: Path, key: dict[str, Any], row: dict[str, Any]) -> None:
    """Puts a row into a JSON list, in place of the one with the same `key`, with the versions.

    Args:
        path: of the list, made if it is not there.
        key: the first entries of the row, by which it is told from others.
        row: the other ones.

    Raises:
        InputError: the file is there and is no such list, or cannot be written.
    """
    others = [other for other in rows(path) if any(other.get(k) != v for k, v in key.items())]
    written = [*others, {**key, **row, "versions": versions()}]
    write_atomically(path, json.dumps(written, indent=2) + "\n")


def versions() -> dict[str, str]:
    """What measures here, as results record it."""
    import keras
    import tensorflow as tf

    return {
        "resnet_keras": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list; none where there is no such file.

    Raises:
        InputError: it is no list of results.
    """
    try:
        content = json.loads(path.read_text()) if path.exists() else []
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is not a JSON list of results ({error}).") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise InputError(f"{path} is not a JSON list of results.")
    return content
