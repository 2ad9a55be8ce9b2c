"""Opens weight files of every format, without running anything that is in them.

A file is opened as a set of tensors whose shapes are known and whose values are read one by one
when they are asked for. What a file declares is held against its size before memory is set aside.
"""

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

from . import hdf5

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
    """An opened file: format "safetensors", "hdf5", "keras" or "torch", tensors by name, and what
    stands beside them: safetensors' metadata, or the configuration of a `.keras` archive; and of
    Keras's files the names of layers by their paths, see `hdf5.layer`."""

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
            keras = _WEIGHTS_MEMBER in archive.namelist()
        return _archive(path, size) if keras else _torch(path, size)
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
    """Tensors and configuration of an HDF5 file, read by a process of its own, see `hdf5`."""
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
        raise InputError(
            f"{path} is a pickle of PyTorch's, which only torch reads: pip install "
            f"'resnet_keras[torch]', or convert it where torch is installed: {conversion(path)}"
        ) from None
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

    tensors, declared = {}, 0
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or str(name).endswith("num_batches_tracked"):
            continue
        plain = value.layout == torch.strided and value.device.type == "cpu"
        if not plain or value.is_nested or not value.is_floating_point():
            raise InputError(f"{path}: {name} is no plain tensor of floating-point numbers.")
        declared += value.numel() * value.element_size()
        tensors[str(name)] = Tensor(tuple(value.shape), reader(name, value))
    if declared > size:
        raise InputError(f"{path} declares {declared:,} bytes of tensors and has {size:,}.")
    return Opened("torch", tensors, {})


def conversion(path: str | os.PathLike) -> str:
    """The Python code that turns one of torch's files into safetensors."""
    target = str(Path(path).with_suffix(".safetensors"))
    return (
        f"import torch, safetensors.torch; state = torch.load({str(path)!r}, weights_only=True); "
        'safetensors.torch.save_file({k: v.contiguous() for k, v in state.get("state_dict", '
        f"state).items()}}, {target!r})"
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
