"""The folder that a run writes: taken by one process, with what the run was begun with.

Imports no TensorFlow.
"""

import contextlib
import csv
import itertools
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.files import PART, make_folder, move_into, remove_parts, write_atomically

FLAGS, METRICS, ENVIRONMENT = "run.flags", "metrics.csv", "environment.json"
CHECKPOINTS, EVENTS = "checkpoints", "tensorboard"
# Names without ending of the files with weights. Those at the end are written last: with them a run
# is finished.
LAST, BEST = "weights", "best"
WHOLE = ".keras"  # ends the names of files that hold models as a whole
STEPS = "steps"  # what an identity calls the steps until the end


def text_of(identity: str | Mapping[str, Any]) -> str:
    """What a run must agree with when it is started again, as a flagfile.

    Args:
        identity: a flagfile whose second line names the versions, or values by name, which JSON
            can hold.

    Raises:
        InputError: JSON cannot hold a value.
    """
    if isinstance(identity, str):
        return identity
    wrong = [name for name in identity if not re.fullmatch(r"[\w.-]+", name)]
    if wrong:
        raise InputError(
            f"identity has names of letters, digits, '_', '-' and '.', not {wrong[0]!r}."
        )
    try:
        lines = [f"--{name}={json.dumps(value)}" for name, value in sorted(identity.items())]
    except (TypeError, ValueError) as error:
        raise InputError(f"identity is of values that JSON can hold: {error}.") from error
    return "\n".join([*lines, ""])


def finished(
    workdir: str | os.PathLike,
    identity: str | Mapping[str, Any],
    free: Collection[str] = (),
    steps_name: str = STEPS,
) -> bool:
    """Whether a folder holds this run, and it came to its end.

    Raises:
        InputError: it holds a run with another identity; more steps are none, see `take`.
    """
    folder, text = Path(workdir).expanduser(), text_of(identity)
    _check_same(folder, text, free, steps_name)
    return last_weights(folder) is not None and not fewer_steps(folder, text, steps_name)


def fewer_steps(folder: Path, text: str, steps_name: str = STEPS) -> int:
    """The steps with which the run in a folder was begun, if a flagfile has more; else 0."""
    there, here = (steps_of(values, steps_name) for values in (read_text(folder / FLAGS), text))
    return there if 0 < there < here else 0


def lengthen(folder: Path, text: str) -> None:
    """Makes a run that may be finished one of more steps, which is yet to come to its end."""
    for path in folder.glob(f"{LAST}.*"):
        path.unlink()  # first: its last checkpoint has them, and a finished run has these flags
    write_atomically(folder / FLAGS, text)


def steps_of(text: str, name: str = STEPS) -> int:
    """The steps until the end in a flagfile; 0 where it does not tell them."""
    value = flags_of(text).get(name, "")
    return int(value) if value.isdecimal() else 0


def last_weights(folder: Path) -> Path | None:
    """The file with the weights of a run that came to its end; None before."""
    return next(iter(sorted(folder.glob(f"{LAST}.*"))), None)


def model_file(path: str | os.PathLike, which: str, noun: str) -> Path:
    """The file of a model that was saved as a whole; needs no Keras.

    Args:
        path: of a .keras file, or of a run's folder.
        which: of a run's folder, the "best" or the "last" weights.
        noun: what the model is, for messages, such as "detector".

    Raises:
        InputError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        file = path / f"{BEST if which == 'best' else LAST}{WHOLE}"
        if not file.exists():
            raise InputError(f"{path} is no folder of a {noun}'s run: it has no {file.name}.")
        return file
    if not path.exists():
        raise InputError(f"There is no {noun} {path}: name a {WHOLE} file, or a run's folder.")
    if path.suffix != WHOLE:
        raise InputError(f"{path} is no {WHOLE} file, in which {noun}s are kept.")
    return path


def save_weights(folder: Path, name: str, save: Callable[[Path], object]) -> None:
    """Has `save` write NAME.*, which then replaces what the folder has of that name, as a whole.

    Args:
        folder: of the run.
        name: `LAST` or `BEST`.
        save: takes the path without an ending, and adds one.

    Raises:
        InputError: it wrote no file of that name, or several.
    """
    with tempfile.TemporaryDirectory(PART, f".{name}.", folder) as aside:
        save(Path(aside) / name)
        written = sorted(Path(aside).glob(f"{name}.*"))
        if not written:
            raise InputError(
                f"save wrote no file {name}.*: it is given the path without an ending."
            )
        if len(written) > 1 or not written[0].is_file():
            raise InputError(
                "save must write one file, which takes the place of the last one as a whole, and "
                f"not {', '.join(path.name for path in written)}."
            )
        move_into(folder, written[0])


@contextlib.contextmanager
def take(
    workdir: str | os.PathLike,
    identity: str | Mapping[str, Any],
    *,
    free: Collection[str] = (),
    steps_name: str = STEPS,
    is_chief: bool = True,
) -> Iterator[Path]:
    """Gives a run's folder, and keeps other processes out of it.

    Args:
        workdir: a new folder, or one with a run of the same identity, or with fewer steps than
            that: it may go on after `lengthen`.
        identity: see `text_of`.
        free: names with whose values a run goes on though they differ.
        steps_name: what the identity calls the steps until the end.
        is_chief: whether this process may write; others only look at what is there.

    Raises:
        InputError: the folder holds a run with another identity, is in use, or cannot be written
            to.
    """
    from filelock import FileLock, Timeout

    text = text_of(identity)
    if not is_chief:
        _check_same(Path(workdir).expanduser(), text, free, steps_name)
        yield Path(workdir).expanduser()
        return
    folder = make_folder(workdir)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"Another process trains in {folder}: wait for it, or choose another workdir."
        ) from error
    try:
        _check_same(folder, text, free, steps_name)
        for place in (folder, folder / CHECKPOINTS):
            remove_parts(place)
        if not (folder / FLAGS).exists():
            write_atomically(folder / FLAGS, text)
        yield folder
    finally:
        lock.release()


def settings(workdir: str | None) -> dict[str, str] | None:
    """What `tuning.tune_cpu` returned when the run in a folder began; None where none has begun."""
    path = Path(workdir or "") / ENVIRONMENT
    if workdir is None or not path.exists():
        return None
    recorded = read_environment(path)
    return {key: recorded[key] for key in ("onednn", "malloc") if key in recorded}


def new_folder(name: str) -> Path:
    """Makes runs/NAME, or runs/NAME-2, ... where there is one."""
    taken = {path.name for path in Path("runs").glob("*")}
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    free = next(n for n in itertools.chain([name], numbered) if n not in taken)
    return make_folder(Path("runs") / free)


def _check_same(folder, flags, free, steps_name):
    """Refuses a run of other flags, and warns of one that other versions began."""
    if not (folder / FLAGS).exists():
        return
    shown = differences(folder, flags, {*free, steps_name})
    if shown:
        raise InputError(
            f"{folder} holds a run with other flags: {'; '.join(shown)}. Choose another workdir."
        )
    if differences(folder, flags, free) and not fewer_steps(folder, flags, steps_name):
        raise InputError(
            f"{folder} holds a run with other flags: "
            f"{'; '.join(differences(folder, flags, free))}. A run can be made longer, and not "
            "shorter: choose another workdir."
        )
    versions = next(
        (x for x in read_text(folder / FLAGS).splitlines()[1:2] if x.startswith("#")), ""
    )
    if versions not in flags:
        warnings.warn(
            f"the run in {folder} was begun with {versions[2:]}: its bits may differ", stacklevel=2
        )


def differences(folder: Path, flags: str, free: Collection[str] = ()) -> list[str]:
    """Tells how the flags of the run in a folder differ from those of a flagfile.

    Args:
        folder: of a run that has begun.
        flags: the flagfile.
        free: flags that may differ.
    """
    there, here = flags_of(read_text(folder / FLAGS)), flags_of(flags)
    return [
        f"{_flag(name, there)} there, {_flag(name, here)} here"
        for name in sorted({*there, *here})
        if not _same(there.get(name), here.get(name)) and name not in free
    ]


def _same(one, other):
    """Whether two values of a flag, or None, mean the same; ~ may stand for the user's folder."""
    if one is None or other is None:
        return one == other
    return os.path.expanduser(one) == os.path.expanduser(other)


def _flag(name, values):
    return f"--{name}={values[name]}" if name in values else f"no --{name}"


def flags_of(text: str) -> dict[str, str]:
    """The values in a flagfile, by name; "true" and "false" of booleans."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("--").partition("=")
        if line.startswith("--") and equals:
            values[name] = value
        elif line.startswith("--"):  # booleans
            values[name.removeprefix("no")] = "false" if name.startswith("no") else "true"
    return values


def read_environment(path: Path) -> dict[str, str]:
    """What a run recorded of where it ran, as text; nothing where the file is not there."""
    try:
        values = json.loads(read_text(path) or "{}")
        return {name: str(value) for name, value in values.items()}
    except (json.JSONDecodeError, AttributeError) as error:
        raise InputError(f"{path} is no JSON object: remove it, or leave out the run.") from error


def read_rows(folder: Path) -> list[dict[str, str]]:
    """metrics.csv's lines as text by column; none where it is not there."""
    return list(csv.DictReader(read_text(folder / METRICS).splitlines()))


def read_text(path: Path) -> str:
    """A file as text; empty where it is not there."""
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}; leave out the run.") from error
