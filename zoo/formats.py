"""Opens weight files of every format, without running anything that is in them.

A file is opened as a set of tensors whose shapes are known and whose values are read one by one when
they are asked for. What a file declares is held against its size before memory is set aside.
"""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# ResNet-1202's header has 0.7 MB; its parser takes about ten times that.
MAX_HEADER = 16 * 2**20
MAX_CONFIG = 64 * 2**20
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
    """An opened file: format "safetensors", "hdf5", "keras" or "torch", tensors by name, and what
    stands beside them: safetensors' metadata, or the configuration of a `.keras` archive."""

    format: str
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


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
    if start.startswith(_HDF5):
        return Opened("hdf5", _hdf5(path, path, path.stat().st_size), {})
    if start.startswith(_ZIP):
        return _archive(path)
    if _is_pickle(start):
        return _torch(path)
    return _safetensors(path, start)


def _is_pickle(start):
    """torch.save's old format, which begins with a pickled number; protocol 2 or later."""
    return len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5 and start[2:3] != b"\x00"


def _safetensors(path, start):
    from safetensors import SafetensorError, safe_open

    def broken(why):
        return InputError(f"{path} is not a readable safetensors file: {why}.")

    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{":
        raise InputError(
            f"{path} is no weights file: not safetensors, HDF5 (.h5), .keras, or PyTorch's .pth."
        )
    if length > min(MAX_HEADER, path.stat().st_size):
        raise broken(f"its header claims {length:,} bytes")
    try:
        file = safe_open(path, framework="numpy")
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise broken(error) from error
    seen = 0

    def reader(key):
        def read():
            nonlocal file, seen
            seen += 4 * math.prod(shapes[key])
            if seen > _MAPPED:
                # What was read of a mapped file stays in memory until it is closed.
                file, seen = None, 0
            try:
                file = file or safe_open(path, framework="numpy")
                return _float32(path, key, file.get_tensor(key))
            except (SafetensorError, TypeError) as error:
                raise broken(f"{key}: {error}") from error

        return read

    return Opened(
        "safetensors", {key: Tensor(shape, reader(key)) for key, shape in shapes.items()}, metadata
    )


def _hdf5(path, file, size):
    """Tensors of an HDF5 file; links out of the file are not followed."""
    import h5py

    tensors = {}

    def add(name, item):
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return
        if item.is_virtual or item.external:
            raise InputError(f"{path}: {name} refers to another file, which is not followed.")
        if item.dtype.kind != "f":
            return  # Keras keeps counters and names beside the weights
        if item.id.get_storage_size() != item.nbytes:
            raise InputError(f"{path}: {name} is compressed or incomplete, which is not read.")
        tensors[name] = Tensor(item.shape, lambda: _read_hdf5(path, file, name))

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(add)
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever the C library's error maps to
        raise InputError(f"{path} is not a readable HDF5 file: {error}.") from error
    declared = sum(4 * math.prod(tensor.shape) for tensor in tensors.values())
    if declared > size:
        raise InputError(f"{path} declares {declared:,} bytes of tensors and has {size:,}.")
    return tensors


def _read_hdf5(path, file, name):
    """Opened anew, so that no file stays open, and locked, for as long as its tensors are known."""
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            values = opened[name][()]
    except Exception as error:  # as above
        raise InputError(f"{path} is broken: {name} cannot be read ({error}).") from error
    return _float32(path, name, values)


def _archive(path):
    """A zip file: Keras's own, or PyTorch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if _WEIGHTS_MEMBER not in sizes:
                return _torch(path)
            size = path.stat().st_size
            if sizes[_WEIGHTS_MEMBER] > 10 * size or sizes.get(_CONFIG_MEMBER, 0) > MAX_CONFIG:
                raise InputError(f"{path} unpacks to more than a model of its size would.")
            config = json.loads(archive.read(_CONFIG_MEMBER))
            content = archive.read(_WEIGHTS_MEMBER)
    except InputError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds
        raise InputError(f"{path} is not a readable .keras file: {error}.") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a readable .keras file: its {_CONFIG_MEMBER} is no model.")
    return Opened("keras", _hdf5(path, io.BytesIO(content), len(content)), config)


def _torch(path):
    """A file of torch.save, which is a pickle: torch itself reads it, restricted to tensors."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise InputError(_convert(path)) from None
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < TORCH_VERSION:
        raise InputError(
            f"torch {torch.__version__} may run code that is hidden in {path}: install 2.6 or later."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        first = str(error).strip().splitlines() or [repr(error)]
        raise InputError(
            f"{path} is not a file of tensors that torch can load with weights_only=True: "
            f"{first[0][:200]}"
        ) from error
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no state dict, but a {type(state).__name__}.")

    def reader(name, tensor):
        return lambda: _float32(path, name, tensor.detach().float().numpy())

    found = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    return Opened("torch", {k: Tensor(tuple(v.shape), reader(k, v)) for k, v in found.items()}, {})


def _convert(path):
    target = Path(path).with_suffix(".safetensors")
    return (
        f"{path} is a pickle of PyTorch's, which only torch reads: pip install "
        "'resnet_keras[torch]', or convert it where torch and safetensors are installed: "
        f'state = torch.load("{path}", weights_only=True); '
        'safetensors.torch.save_file({k: v.contiguous() for k, v in state.get("state_dict", '
        f'state).items()}}, "{target}").'
    )


def _float32(path, name, values):
    import numpy as np

    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.floating) and values.dtype.name != "bfloat16":
        raise InputError(f"{path}: {name} holds {values.dtype}, not floating-point numbers.")
    converted = np.asarray(values, "float32")
    if not np.isfinite(converted).all():
        raise InputError(f"{path}: {name} holds values that are not finite (NaN or infinite).")
    return converted
