"""Files of time series: the UCR archive's .tsv, the UEA archive's .ts, .npz and .csv.

All series of a file have one length and no missing values. The archives that have others come with
copies in which they were evened out. Imports no TensorFlow.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet_keras.errors import InputError

from . import npz

FORMATS = ".tsv, .ts, .npz and .csv"
SUFFIXES = (".tsv", ".ts", ".npz", ".csv")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_EVEN = (
    "UCR's archive has such data sets filled in and of one length in its folder "
    "Missing_value_and_variable_length_datasets_adjusted: take that copy, or fill them in"
)


class Series(NamedTuple):
    """The series of a file.

    Attributes:
        values: float32 (examples, length, channels).
        labels: the names of their classes, as they stand there; None without.
        classes: all that there are, in order, where the file lists them.
    """

    values: np.ndarray
    labels: list[str] | None
    classes: tuple[str, ...] | None = None


def read(path: str | os.PathLike) -> Series:
    """Reads a file of any of the formats.

    - .tsv, as in the UCR archive: a line for each series, its class first, tabs between all.
    - .ts, as in the UEA archive and of aeon and sktime: a header of @ lines, and after @data a
      line for each series: values with commas, colons between channels, its class last.
    - .npz of NumPy: an array x, or x_test, (examples, length) or (examples, length, channels).
    - .csv: a line for each series, commas between its values, without classes.

    Raises:
        InputError: names the file, the line and what is wrong.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"Series are read from {FORMATS} files, and {path} is none of them.")
    if path.suffix == ".npz":
        arrays = npz.read(path)
        name = next((name for name in ("x", "x_test") if name in arrays), None)
        if name is None:
            raise InputError(
                f"{path} has the arrays {', '.join(arrays) or 'none'}: name the series to predict "
                "x, or x_test."
            )
        return Series(checked(arrays[name], f"{name} of {path}"), None)
    lines = _lines(path)
    if path.suffix == ".ts":
        return _ts(path, lines)
    separator, labelled = ("\t", True) if path.suffix == ".tsv" else (",", False)
    rows = [(number, line.split(separator)) for number, line in lines]
    labels = [row[0].strip() for _, row in rows] if labelled else None
    values = [(number, [row[1:] if labelled else row]) for number, row in rows]
    if not labelled:
        _check_no_header(path, values)
    return Series(_stacked(path, values), labels)


def _check_no_header(path, values):
    """Raises `InputError` where a .csv begins with names of its columns, or their numbers."""
    number, (first,) = values[0] if values else (0, ([],))
    cells = [number_of(text) for text in first]
    counted = [*range(len(first))]
    if len(values) > 1 and (cells in (counted, [None, *counted[:-1]]) or not any(map(_is, cells))):
        raise InputError(
            f"{path}, line {number} looks like names of columns: leave it out, and a column of "
            "names or numbers of lines, too."
        )


def _is(value):
    return value is not None


def checked(array: np.ndarray, what: str) -> np.ndarray:
    """An array as float32 (examples, length, channels).

    Raises:
        InputError: it is none of series, or has values that are missing; calls it `what`.
    """
    values = np.asarray(array)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 3 and values.shape[1] == 1:
        raise InputError(
            f"{what} has series of one step: its shape {values.shape} must be (examples, length, "
            "channels), and not (examples, channels, length)."
        )
    if values.ndim != 3 or not values.size or values.dtype.kind not in "iufb":
        raise InputError(
            f"{what} must be numbers of shape (examples, length) or (examples, length, channels), "
            f"not {values.dtype} {values.shape}."
        )
    with np.errstate(over="ignore"):
        values = values.astype("float32")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
    if len(bad):
        raise InputError(
            f"{what}: series {bad[0]} has values that are missing or infinite: {_EVEN}."
        )
    return values


def _lines(path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}.") from error
    return [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]


def _ts(path, lines) -> Series:
    tags, rows = _header(path, lines)
    if tags.get("timestamps", "false").lower() == "true":
        raise InputError(f"{path} has a time beside each value (@timeStamps), which is not read.")
    if tags.get("targetlabel", "false").lower().startswith("true"):
        raise InputError(f"{path} has a number to predict (@targetLabel), and no classes.")
    words = tags.get("classlabel", "false").split()
    classes = tuple(words[1:]) if words and words[0].lower() == "true" else None
    channels = [(number, line.split(":")) for number, line in rows]
    labels = None
    if classes is not None:
        labels = [parts[-1].strip() for _, parts in channels]
        channels = [(number, parts[:-1]) for number, parts in channels]
    values = [(number, [part.split(",") for part in parts]) for number, parts in channels]
    return Series(_stacked(path, values), labels, classes or None)


def _header(path, lines):
    """What the @ lines say, by names in lower case; and the lines after @data."""
    tags: dict[str, str] = {}
    for place, (number, line) in enumerate(lines):
        line = line.strip()
        if line.lower() == "@data":
            data = [row for row in lines[place + 1 :] if not row[1].startswith("#")]
            return tags, data
        if line.startswith("@"):
            name, *value = line[1:].split(None, 1)
            tags[name.lower()] = "".join(value).strip()
        elif not line.startswith("#"):
            raise InputError(f"{path}, line {number}: a .ts file has @ lines up to @data.")
    raise InputError(f"{path} has no @data, after which a .ts file has its series.")


def _stacked(path, rows: Iterable[tuple[int, list[list[str]]]]) -> np.ndarray:
    """Texts of values by line and channel, as float32 (examples, length, channels)."""
    series: list[np.ndarray] = []
    first = None
    for number, channels in rows:
        lengths = [len(channel) for channel in channels]
        if first is None:
            first = lengths
        where = f"{path}, line {number}"
        if not lengths or len({*lengths}) > 1:
            raise InputError(f"{where}: its channels have {lengths or 'no'} values: {_EVEN}.")
        if lengths != first:
            raise InputError(
                f"{where}: it has {_sides(lengths)}, and those before {_sides(first)}: {_EVEN}."
            )
        series.append(_numbers(where, channels))
    if not series:
        raise InputError(f"{path} has no series in it.")
    return np.stack(series)


def _sides(lengths):
    channels = f" in {len(lengths)} channels" if len(lengths) > 1 else ""
    return f"{lengths[0]} values{channels}"


def _numbers(where, channels):
    """float32 (length, channels) of texts."""
    try:
        values = np.asarray(channels).astype("float64")
    except ValueError as error:
        texts = [text.strip() for channel in channels for text in channel]
        wrong = next(text for text in texts if number_of(text) is None)
        missing = any(text in ("", "?") for text in texts)
        reason = f"a value is missing: {_EVEN}" if missing else f"{wrong[:20]!r} is no number"
        raise InputError(f"{where}: {reason}.") from error
    with np.errstate(over="ignore"):
        values = values.T.astype("float32")
    if not np.isfinite(values).all():
        raise InputError(f"{where}: a value is missing, infinite or above 3e38: {_EVEN}.")
    if len(values) == 1:
        raise InputError(f"{where}: it has a single value, which is no series.")
    return values


def number_of(label: str) -> float | None:
    """A label as a number, if it is one."""
    try:
        return float(label)
    except ValueError:
        return None


def class_order(labels: Iterable[str]) -> dict[str, str]:
    """What labels are called, by how they are written, in the order of their classes.

    Numbers are in order of size and whole ones written so ("1.0" is "1"), texts by alphabet.
    """
    written = sorted({*labels})
    if not all(_NUMBER.fullmatch(label) for label in written):
        return {label: label for label in written}
    pairs = sorted((float(label), label) for label in written)
    return {label: str(int(v)) if v == int(v) else repr(v) for v, label in pairs}


def numbered(
    labels: Iterable[str], names: Mapping[str, str], classes: tuple[str, ...]
) -> np.ndarray:
    """int32 (examples,): the place of each label's name in `classes`."""
    places = {name: place for place, name in enumerate(classes)}
    return np.asarray([places[names[label]] for label in labels], "int32")
