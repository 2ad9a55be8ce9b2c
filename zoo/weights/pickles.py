"""Files of torch.save: what is in them, and the way out where torch.load refuses them.

Nothing is unpickled here: a pickle's operations are listed and not executed.
"""

import pickletools
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError

_MAX_PICKLE = 2**22  # bytes; ResNet-1202's has 0.6 MB
_MAX_DEPTH = 8  # of dicts in dicts
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def flatten(checkpoint: Mapping, is_tensor: Callable[[Any], bool]) -> dict[str, Any]:
    """Returns the tensors of a dict of dicts by dotted names: `state_dict.conv1.weight`.

    Raises:
        InputError: two tensors come to one name.
    """
    flat, seen, waiting = {}, set(), [("", checkpoint, 0)]
    while waiting:
        prefix, values, depth = waiting.pop(0)
        if id(values) in seen or depth > _MAX_DEPTH:  # a pickled dict may hold itself
            continue
        seen.add(id(values))
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                waiting.append((f"{name}.", value, depth + 1))
            elif is_tensor(value):
                if name in flat:
                    raise InputError(f"There are two tensors for {name}.")
                flat[name] = value
    return flat


def conversion(path: str | Path, *, trusted: bool = False) -> str:
    """The Python code that turns one of torch's files into safetensors, wrappers and all.

    Args:
        path: of the file.
        trusted: lets torch run what is pickled, and takes the weights out of modules.
    """
    load = f"torch.load({str(path)!r}, map_location='cpu', weights_only={not trusted})"
    return _save(path, load, modules=trusted)


def _save(path, load, *, modules):
    """Code that saves the tensors of nested dicts, or of a module, or of modules in dicts."""
    target = str(Path(path).with_suffix(".safetensors"))
    state = f'{{"model": {load}}}' if modules else load
    allowed = "torch.serialization.add_safe_globals([__import__('argparse').Namespace]); "
    return (
        f"import torch, safetensors.torch; {'' if modules else allowed}"
        'flat = lambda d, p="": {n: t for k, v in d.items() '
        'for v in [v.state_dict() if hasattr(v, "state_dict") else v] '
        'for n, t in (flat(v, f"{p}{k}.") if isinstance(v, dict) else {f"{p}{k}": v}).items()}; '
        f"state = {state}; "
        "safetensors.torch.save_file({n: t.contiguous().clone() for n, t in flat(state).items() "
        f"if torch.is_tensor(t)}}, {target!r})"
    )


def shortened(names: Iterable[object], most: int = 5) -> str:
    """The first of some names from a file, in words: none of them long, all of them printable."""
    names = [re.sub(r"[^\x20-\x7e]", "?", str(name)) for name in names]
    short = [name if len(name) <= 60 else f"{name[:57]}..." for name in names[:most]]
    return ", ".join(short) + (", ..." if len(names) > most else "")


def archive_problem(path: Path, names: list[str]) -> str | None:
    """Says what a zip archive of these members is, if it is no file of torch.save's."""
    if any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in names):
        program = f"torch.jit.load({str(path)!r}, map_location='cpu')"
        return (
            f"{path} is a TorchScript archive, a program with its weights, which "
            "torch.load(weights_only=True) does not read: if you trust the file, convert it where "
            f"torch is installed: {_save(path, program, modules=True)}"
        )
    if not any(name.endswith("data.pkl") for name in names):
        inside = shortened(names) or "nothing"
        return f"{path} is a zip archive of neither Keras's nor torch's: it holds {inside}."
    return None


def problem(path: Path, error: Exception) -> str:
    """Says what torch's refusal of a file means, and what to do.

    Args:
        error: of `torch.load` with weights_only=True.
    """
    said = _ESCAPE.sub("", str(error) or repr(error))
    unsupported = re.search(
        r"Unsupported (?:global|class|operand)\S*:? *GLOBAL (\S+) was not", said
    )
    if not unsupported:
        return (
            f"{path} is not a file of tensors that torch can load with weights_only=True: "
            f"{_sentence(said)}"
        )
    return _objects(path, unsupported[1], whole=whole_model(path) is not None)


def without_torch(path: Path) -> str:
    """Says what to do with a file of torch.save's where torch is not installed."""
    name = whole_model(path)
    if name is not None and not name.startswith("torch._"):  # those build tensors
        return _objects(path, name, whole=True)
    return (
        f"{path} is a pickle of PyTorch's, which only torch reads: pip install "
        f"'resnet_keras[torch]', or convert it where torch is installed: {conversion(path)}"
    )


def _objects(path, name, *, whole):
    what = "is a whole pickled model" if whole else "holds other objects beside its weights"
    return (
        f"{path} {what} ({name}), which torch.load(weights_only=True) does not read, as such may "
        f"run code: if you trust the file, convert it where {name.split('.')[0]} can be imported: "
        f"{conversion(path, trusted=True)}"
    )


def _sentence(text):
    """The first sentence of a text; of torch's, that which names the cause."""
    text = text.rpartition("WeightsUnpickler error:")[2] or text
    text = " ".join(text.split())
    return re.split(r"(?<=[.!?]) ", text)[0]


def whole_model(path: Path) -> str | None:
    """The class of what was pickled; None for a dict, and where it cannot be told."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (member,) = (m for m in archive.infolist() if m.filename.endswith("/data.pkl"))
                with archive.open(member) as file:
                    return _first_class(file.read(_MAX_PICKLE))
        with open(path, "rb") as file:
            for _ in range(3):  # before the object: a magic number, a version, the system
                for _ in pickletools.genops(file):
                    pass
            return _first_class(file)
    except Exception:  # of a broken pickle, many kinds
        return None


def _first_class(content):
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("EMPTY_DICT", "EMPTY_LIST"):
            return None
        if operation.name == "GLOBAL":
            name = str(argument).replace(" ", ".")
            return None if name == "collections.OrderedDict" else name
    return None
