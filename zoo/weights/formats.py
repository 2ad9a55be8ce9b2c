"""Opens weight files of every format, without running anything that is in them.

A file is opened as a set of tensors whose shapes are known and whose values are read one by one
when they are asked for. What a file declares is held against its size before memory is set aside.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError

from . import hdf5, pickles

if TYPE_CHECKING:
    import numpy as np

# ResNet-1202's header has 0.7 MB; its parser takes about ten times that.
MAX_HEADER = 16 * 2**20
# Since 2.6 weights_only refuses what it should (CVE-2025-32434).
TORCH_VERSION = (2, 6)

_MAPPED = 2**24  # bytes to read of a file before it is opened anew
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_WEIGHTS_MEMBER, _CONFIG_MEMBER = "model.weights.h5", "config.json"


class Tensor(NamedTuple):
    """A tensor of a file: its shape, and a function that reads it as float32."""

    shape: tuple[int, ...]
    read: Callable[[], "np.ndarray"]


class Opened(NamedTuple):
    """An opened file.

    Attributes:
        format: "safetensors", "hdf5", "keras" or "torch".
        tensors: by name.
        metadata: of safetensors, or the configuration of a `.keras` archive.
        layers: of Keras's files the names of layers by their paths, see `hdf5.layer`.
    """

    format: str
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    layers: Mapping[str, str] = {}


def open_file(path: str | os.PathLike) -> Opened:
    """Opens a weights file; its format is told by its content.

    Raises:
        InputError: not readable, none of the formats, broken, or larger by its own account than it
            is.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    size = path.stat().st_size
    if start.startswith(_HDF5):
        return Opened("hdf5", *_hdf5(path, path))
    if start.startswith(_ZIP):
        with _unzipped(path) as archive:
            members = archive.namelist()
        if _WEIGHTS_MEMBER in members:
            return _archive(path, size)
        problem = pickles.archive_problem(path, members)
        if problem:
            raise InputError(problem)
        return _torch(path, size)
    header = int.from_bytes(start[:8], "little")
    # torch.save's old format is a bare pickle, of protocol 2 or later.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and header > size:
        return _torch(path, size)
    if len(start) < 9 or start[8:9] != b"{":
        raise InputError(
            f"{path} is no weights file: not safetensors, HDF5 (.h5), .keras, or PyTorch's .pth."
        )
    return _safetensors(path, path)


def _safetensors(path, file):
    """Opens `file`, which messages call `path`."""
    from safetensors import SafetensorError, safe_open

    def broken(why):
        return InputError(f"{path} is not a readable safetensors file: {why}.")

    with open(file, "rb") as content:
        header = int.from_bytes(content.read(8), "little")
    if header > min(MAX_HEADER, os.path.getsize(file)):
        raise broken(f"its header claims {header:,} bytes")
    try:
        opened = safe_open(file, framework="numpy")
        keys = opened.keys()
        shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in keys}
        metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise broken(error) from error
    seen = 0

    def reader(key):
        def read():
            nonlocal opened, seen
            seen += 4 * math.prod(shapes[key])
            if seen > _MAPPED:
                # What was read of a mapped file stays in memory until it is closed.
                opened, seen = None, 0
            try:
                opened = opened or safe_open(file, framework="numpy")
                values = opened.get_tensor(key)
            except Exception as error:  # of types that NumPy lacks, many kinds
                raise broken(f"{key}: {error}") from error
            return _float32(path, key, values)

        return read

    return Opened(
        "safetensors", {key: Tensor(shape, reader(key)) for key, shape in shapes.items()}, metadata
    )


def _hdf5(path, file):
    """Tensors, configuration and names of layers of an HDF5 file.

    A process of its own reads it, see `hdf5`.
    """
    with tempfile.TemporaryDirectory(prefix="resnet_keras_") as folder:
        target = Path(folder) / "tensors.safetensors"
        # What is in the file in float16 has twice its size afterwards.
        memory = hdf5.OWN_MEMORY + 4 * os.path.getsize(file)
        reader = [sys.executable, "-P", hdf5.__file__, os.fspath(file), str(target), str(memory)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OPENBLAS_NUM_THREADS": "1",  # each would take address space
        }
        done = subprocess.run(
            reader, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode == 1 and done.stderr:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1]
            raise InputError(f"{path} {said}.")
        if done.returncode:
            raise InputError(f"{path} is not a readable HDF5 file: the library failed on it.")
        opened = _safetensors(path, target)
        values = {name: tensor.read() for name, tensor in opened.tensors.items()}
    tensors = {name: Tensor(value.shape, lambda v=value: v) for name, value in values.items()}
    try:
        config = json.loads(opened.metadata["config"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} has a configuration that is no JSON: {error!r}.") from error
    layers = json.loads(opened.metadata["layers"])  # of our own process
    return tensors, config if isinstance(config, dict) else {}, layers


@contextlib.contextmanager
def _unzipped(path):
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and json raise many kinds
        raise InputError(f"{path} is not a readable archive: {error}.") from error


def _archive(path, size):
    """Keras's own format."""
    with _unzipped(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if sizes[_WEIGHTS_MEMBER] > 10 * size or sizes.get(_CONFIG_MEMBER, 0) > hdf5.MAX_CONFIG:
            raise InputError(f"{path} unpacks to more than a model of its size would.")
        config = json.loads(archive.read(_CONFIG_MEMBER))
        if not isinstance(config, dict):
            raise InputError(f"{path} is no .keras file: its {_CONFIG_MEMBER} is no model.")
        with tempfile.TemporaryDirectory(prefix="resnet_keras_") as folder:
            content = Path(folder) / _WEIGHTS_MEMBER
            with open(content, "wb") as file:
                shutil.copyfileobj(archive.open(_WEIGHTS_MEMBER), file)
            tensors, _, layers = _hdf5(path, content)
            return Opened("keras", tensors, config, layers)


def _torch(path, size):
    """A file of torch.save, which is a pickle: torch itself reads it, restricted to tensors."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise InputError(pickles.without_torch(path)) from None
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < TORCH_VERSION:
        raise InputError(
            f"torch {torch.__version__} may run code that is hidden in {path}: install 2.6 or "
            "later."
        )
    if zipfile.is_zipfile(path):
        with _unzipped(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > size:
                raise InputError(f"{path} unpacks to more than its size, as torch.save's do not.")
    try:
        # What most training scripts keep of their flags; a plain object that can do nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise InputError(pickles.problem(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise InputError(f"{path} holds no state dict, but a {type(checkpoint).__name__}.")
    try:
        state = pickles.flatten(checkpoint, torch.is_tensor)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not state:
        keys = pickles.shortened(checkpoint) or "nothing"
        raise InputError(f"{path} holds no tensors; at its top level are {keys}.")
    return Opened("torch", {n: _torch_tensor(torch, path, n, v) for n, v in state.items()}, {})


def _torch_tensor(torch, path, name, value):
    """A tensor of torch's.

    One that cannot be weights is refused when it is read, as a checkpoint may have it beside them.
    """

    def read():
        if not (plain and value.is_floating_point()):
            raise InputError(f"{path}: {name} is no plain tensor of floating-point numbers.")
        return _float32(path, name, value.detach().float().numpy())

    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_nested
    if plain and value.nelement() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(
            f"{path} declares {value.nelement() * value.element_size():,} bytes of {name} and has "
            f"{value.untyped_storage().nbytes():,}."
        )
    return Tensor(() if value.is_nested else tuple(value.shape), read)


def _float32(path, name, values):
    import numpy as np

    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.floating) and values.dtype.name != "bfloat16":
        raise InputError(f"{path}: {name} holds {values.dtype}, not floating-point numbers.")
    converted = np.asarray(values, "float32")
    if not np.isfinite(converted).all():
        raise InputError(f"{path}: {name} holds values that are not finite (NaN or infinite).")
    return converted
