"""Fetches registered weight files: downloaded once, resumed, verified, and kept for use offline."""

import http.client
import importlib.util
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from resnet_keras import __version__, hosts
from resnet_keras.errors import InputError, require
from resnet_keras.files import digest, locked, make_folder, unwritable

from ..entry import FOLDER, HUB_FILE, WeightsEntry
from .pickles import conversion

HOME = "RESNET_KERAS_HOME"
TIMEOUT = 30.0  # seconds without a byte after which a connection is given up and resumed
TRIES = 5  # connections in a row that bring nothing
PAUSE = 1.0  # seconds before the second try; twice as long before each further one
MAX_BYTES = 2 * 2**30  # no file of a ResNet is as large

_BLOCK = 2**18


def cache_folder() -> Path:
    """RESNET_KERAS_HOME, or a folder where the platform keeps caches."""
    if os.environ.get(HOME):
        return Path(os.environ[HOME]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("resnet_keras", appauthor=False))


def fetch(entry: WeightsEntry, weights_dir: str | os.PathLike | None = None) -> Path:
    """Returns an entry's file, verified; downloads it if it is not in the cache folder.

    Args:
        entry: registered weights.
        weights_dir: a folder that holds the file; then nothing is downloaded.

    Raises:
        InputError: it cannot be had, is damaged, or is not in `weights_dir`.
        MissingExtraError: it is on the Hugging Face hub, and huggingface_hub is not installed.
    """
    if entry.packaged:
        path = FOLDER / "files" / entry.address
        verify(path, entry.checksum, "Install resnet_keras again")
        return path
    folder = cache_folder() if weights_dir is None else Path(weights_dir).expanduser()
    converted = (folder / entry.file_name).with_suffix(".safetensors")
    if entry.pickled and converted.is_file():
        return converted
    if weights_dir is not None:
        return _local(entry, folder)
    if entry.hub:
        return _from_hub(entry)
    path = folder / entry.file_name
    if entry.pickled and importlib.util.find_spec("torch") is None:
        raise InputError(
            f"{entry.address} is a pickle of PyTorch's, which only torch reads: pip install "
            "'resnet_keras[torch]', or download it where torch is installed, convert it by "
            f"`{conversion(entry.file_name)}`, and put {converted.name} into {folder}."
        )
    download(entry.address, path, entry.checksum)
    return path


def _local(entry, folder):
    names = [entry.file_name]
    if entry.hub:
        names.append(f"{entry.model}.{entry.tag}/{HUB_FILE}")
    for name in names:
        if (folder / name).is_file():
            if not entry.hub:  # whose checksum only the hub knows
                verify(folder / name, entry.checksum, f"Download {entry.address} again")
            return folder / name
    raise InputError(
        f"{folder} has no {' and no '.join(names)}: download {entry.address} and put it there."
    )


def verify(path: Path, checksum: str, remedy: str) -> None:
    """Compares a file with "sha256:" or "md5:" and the first digits of its hash, or all.

    Raises:
        InputError: it is another file, or cannot be read.
    """
    wrong = _mismatch(path, checksum)
    if wrong:
        raise InputError(f"{path} is damaged or another file: {wrong}. {remedy}.")


def _mismatch(path, checksum):
    """What is wrong with a file's hash, or None."""
    kind, expected = checksum.split(":")
    found = digest(path, kind)
    if found.startswith(expected):
        return None
    return f"its {kind.upper()} is {found}, not {expected}"


def download(url: str, path: Path, checksum: str) -> None:
    """Downloads `url` to `path`, unless it is there; another process's download is awaited.

    What a broken connection left is resumed, by this process or a later one. The file appears
    under its name only when it is whole and verified.

    Raises:
        InputError: no connection, an error of the server's, or not the file that was expected.
    """
    again = f"Delete it, and it is downloaded from {url} again"
    if path.exists():  # whole, for it is placed so; the folder may be another user's
        verify(path, checksum, again)
        return
    make_folder(path.parent)
    with locked(path, f"{path.name} is being downloaded by another process: waiting."):
        if path.exists():
            verify(path, checksum, again)
            return
        reason = hosts.unreachable(url)
        if reason:
            raise InputError(
                f"Cannot reach {reason}: download {url} on a machine with a connection, and name "
                "its folder with weights_dir (--weights_dir)."
            )
        part = path.with_name(f"{path.name}.part")
        resumed = part.exists()
        _transfer(url, part)
        wrong = _mismatch(part, checksum)
        if wrong and resumed:  # the file may have changed since its first half was downloaded
            part.unlink()
            _transfer(url, part)
            wrong = _mismatch(part, checksum)
        if wrong:
            part.unlink()
            raise InputError(
                f"{url} did not bring the file that was expected: {wrong}. Nothing was kept."
            )
        os.replace(part, path)


def _transfer(url, part):
    """Brings `part` to its full length, in as many connections as it takes."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _connection(url, part, before):
                return
            why = "the connection broke off"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise InputError(f"{url} cannot be had: {error.code} {error.reason}.") from error
            why = f"{error.code} {error.reason}"
        except TimeoutError:
            why = f"nothing came for {TIMEOUT:g} seconds"
        except (OSError, http.client.HTTPException) as error:
            why = str(getattr(error, "reason", error)) or repr(error)
        progress = part.exists() and part.stat().st_size > before
        failures = 1 if progress else failures + 1
        if failures == TRIES:
            raise InputError(
                f"{url} cannot be downloaded: {why}. Try again later, or download it elsewhere and "
                "name its folder with weights_dir (--weights_dir)."
            )
        time.sleep(PAUSE * 2 ** (failures - 1))


def _connection(url, part, before):
    """Reads what one connection brings; returns whether the file is whole."""
    headers = {"User-Agent": f"resnet_keras/{__version__}"}
    if before:
        headers["Range"] = f"bytes={before}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left, or the file is shorter than what is here
            return True
        raise
    with response:
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        resuming = response.status == 206 and start and int(start.group(1)) == before
        have = before if resuming else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        if total is not None and total > MAX_BYTES:
            raise InputError(f"{url} brings {total:,} bytes, which no file of a ResNet has.")
        with _opened(part, "ab" if resuming else "wb") as file, _bar(url, have, total) as bar:
            while have <= MAX_BYTES:
                block = response.read1(_BLOCK)
                if not block:
                    _flush(file)
                    return total is None or have == total
                _write(file, block)
                have += len(block)
                bar.update(len(block))
    part.unlink()
    raise InputError(f"{url} brings more than {MAX_BYTES:,} bytes, which no file of a ResNet has.")


def _opened(path, mode):
    try:
        return open(path, mode)
    except OSError as error:
        raise unwritable(path, error) from error


def _write(file, block):
    try:
        file.write(block)
    except OSError as error:
        raise unwritable(file.name, error) from error


def _flush(file):
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(file.name, error) from error


def _bar(url, have, total):
    from tqdm import tqdm

    return tqdm(
        desc=url.split("/")[-1],
        total=total,
        initial=have,
        unit="B",
        unit_scale=True,
        disable=None,  # shown on a terminal only
        leave=False,
    )


def _from_hub(entry):
    hub = require("huggingface_hub", extra="hub")
    errors = require("huggingface_hub.errors", extra="hub")
    where = {"repo_id": entry.hub, "filename": HUB_FILE, "cache_dir": cache_folder() / "hub"}
    try:
        path = hub.hf_hub_download(**where, local_files_only=True)
    except errors.LocalEntryNotFoundError:
        make_folder(where["cache_dir"])
        try:
            path = hub.hf_hub_download(**where)
        except Exception as error:  # the hub's, its HTTP library's and the system's
            first = (str(error).strip() or repr(error)).splitlines()[0]
            raise InputError(
                f"{entry.address} cannot be downloaded: {first} Try again later, or download it "
                f"elsewhere as {entry.file_name} and name its folder with weights_dir "
                "(--weights_dir)."
            ) from error
    _verify_blob(entry, Path(path))
    return Path(path)


def _verify_blob(entry, path):
    """The hub's cache names a file's content by the SHA-256 that the hub gives for it."""
    blob = path.resolve()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return  # a system without links, where the name is not kept
    wrong = _mismatch(blob, f"sha256:{blob.name}")
    if wrong:
        shutil.rmtree(path.parents[2], ignore_errors=True)  # the repository's folder
        raise InputError(
            f"{entry.address} brought a damaged file: {wrong}. Nothing was kept: try again."
        )
