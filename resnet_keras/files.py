"""Results are never partly overwritten: write aside, sync, rename."""

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import InputError

PART = ".part"  # ends the names of files that are being written


def check_local(path: str | os.PathLike) -> None:
    """Raises `InputError` for an address such as gs://bucket/run, which is not on this machine.

    `Path` makes gs:/bucket/run of it, which would be a folder gs: here.
    """
    match = re.match(r"([a-z][a-z0-9+.-]+):/", str(path), re.IGNORECASE)
    if match is None:
        return
    way_out = "give a folder of this machine, or one that is mounted"
    if match[1].lower() == "file":
        way_out = "write it without file://"
    raise InputError(f"{path} is no local path, where files can be locked and renamed: {way_out}.")


def readable(text: str | os.PathLike) -> str:
    """Names of files, which need not be UTF-8, as text that can be printed."""
    return os.fsencode(text).decode(errors="replace")


def write_atomically(path: str | os.PathLike, content: bytes | str) -> None:
    """Replaces `path` by a file with this content, or leaves it as it was.

    Raises:
        InputError: the folder cannot be written to.
    """
    check_local(path)
    path = Path(path).expanduser()
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, aside = tempfile.mkstemp(PART, f".{path.name}.", path.parent)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~umask())  # mkstemp makes files for the owner only
        os.replace(aside, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if os.path.exists(aside):
            os.unlink(aside)


def expanded(path: str | os.PathLike | None) -> str | None:
    """The path with the user's own folder for ~; None stays None."""
    return None if path is None else os.path.expanduser(path)


def remove_parts(folder: str | os.PathLike) -> None:
    """Removes what killed processes had not finished writing; none may be writing there now."""
    for part in Path(folder).glob(f".*{PART}"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def move_into(folder: str | os.PathLike, path: str | os.PathLike) -> None:
    """Moves a file that is whole into a folder of the same disk, in place of one of its name.

    Raises:
        InputError: the folder cannot be written to.
    """
    target = Path(folder) / Path(path).name
    try:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        os.replace(path, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise unwritable(target, error) from error


def make_folder(path: str | os.PathLike) -> Path:
    """Creates a folder that can be written to, or raises `InputError` with the reason."""
    check_local(path)
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def digest_of_all(paths: Iterable[str | os.PathLike], kind: str = "sha256") -> str:
    """The hash of files, one behind the other; arguments and errors as of `digest`."""
    hashed = hashlib.new(kind)
    for path in paths:
        try:
            with open(path, "rb") as file:
                hashlib.file_digest(file, lambda: hashed)
        except OSError as error:
            raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    return hashed.hexdigest()


def digest(path: str | os.PathLike, kind: str = "sha256") -> str:
    """The hash of a file's content as hexadecimal digits.

    Args:
        kind: as `hashlib` names it, such as "sha256" or "md5".

    Raises:
        InputError: the file cannot be read.
    """
    return digest_of_all([path], kind)


@contextlib.contextmanager
def locked(path: Path, waiting: str | None = None) -> Iterator[None]:
    """Has other processes that ask for the same path wait until this one is done.

    Args:
        path: beside which there is a file PATH.lock then.
        waiting: what is printed where another process has it.

    Raises:
        InputError: the folder cannot be written to.
    """
    import filelock

    lock = filelock.FileLock(f"{path}.lock")
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            if waiting:
                print(waiting, file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise unwritable(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _sync_folder(folder):
    """Makes a renaming outlast a loss of power, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def unwritable(path: str | os.PathLike, error: OSError) -> InputError:
    """The error for a place that cannot be written to."""
    return InputError(
        f"Cannot write to {path}: {error.strerror or error}; choose another place or free this one."
    )


def umask() -> int:
    """What this process takes from the permissions of files that it makes."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
