"""Files of torch.save: what is in them, and the way out where torch.load(weights_only=True) refuses.

Nothing is unpickled here: a pickle's operations are listed and not executed.
"""

import pickletools
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_keras.errors import InputError

# Known dicts around the weights; those to keep of a checkpoint that holds other objects too.
_KEYS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "module"),
    *("state_dict_ema", "model_ema", "ema", "ema_state_dict"),
)
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


def conversion(path: str | Path) -> str:
    """The Python code that turns one of torch's files into safetensors, wrappers and all."""
    target = str(Path(path).with_suffix(".safetensors"))
    return (
        "import torch, safetensors.torch; import argparse; "
        "torch.serialization.add_safe_globals([argparse.Namespace]); "
        'flat = lambda d, p="": {n: t for k, v in d.items() for n, t in (flat(v, f"{p}{k}.") '
        'if isinstance(v, dict) else {f"{p}{k}": v}).items()}; '
        f"state = torch.load({str(path)!r}, map_location='cpu', weights_only=True); "
        "safetensors.torch.save_file({n: t.contiguous().clone() for n, t in flat(state).items() "
        f"if isinstance(t, torch.Tensor)}}, {target!r})"
    )


def shortened(names: Iterable[object], most: int = 5) -> str:
    """The first of some names, in words, none of them long."""
    names = [str(name) for name in names]
    short = [name if len(name) <= 60 else f"{name[:57]}..." for name in names[:most]]
    return ", ".join(short) + (", ..." if len(names) > most else "")


def archive_problem(path: Path, names: list[str]) -> str | None:
    """Says what a zip archive of these members is, if it is no file of torch.save's."""
    if any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in names):
        return (
            f"{path} is a TorchScript archive, a program with its weights, which "
            "torch.load(weights_only=True) does not read: if you trust it, save its weights alone: "
            f"import torch; torch.save(torch.jit.load({str(path)!r}, map_location='cpu')"
            f".state_dict(), {_target(path)!r})"
        )
    if not any(name.endswith("data.pkl") for name in names):
        inside = ", ".join(names[:5]) or "nothing"
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
    name = unsupported[1]
    load = f"import torch; c = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
    if _whole(path):
        what = f"is a whole pickled model ({name})"
        save = f"torch.save(c.state_dict(), {_target(path)!r})"
    else:
        what = f"holds other objects beside its weights ({name})"
        save = (
            "torch.save({k: getattr(c[k], 'state_dict', lambda: c[k])() for k in "
            f"c.keys() & {set(_KEYS)!r}}}, {_target(path)!r})"
        )
    return (
        f"{path} {what}, which torch.load(weights_only=True) does not read because they may run "
        f"code: if you trust the file, save its weights alone, where {name.split('.')[0]} can be "
        f"imported: {load}{save}"
    )


def _target(path):
    return str(path.with_name(f"{path.stem}_weights.pth"))


def _sentence(text):
    """The first sentence of a text; of torch's, that which names the cause."""
    text = text.rpartition("WeightsUnpickler error:")[2] or text
    text = " ".join(text.split())
    return re.split(r"(?<=[.!?]) ", text)[0]


def _whole(path):
    """Whether what was pickled is an object of a class, and no dict."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (member,) = (m for m in archive.infolist() if m.filename.endswith("/data.pkl"))
                with archive.open(member) as file:
                    content = file.read(_MAX_PICKLE)
            return _begins_with_class(content)
        with open(path, "rb") as file:
            for _ in range(3):  # before the object: a magic number, a version, the system
                for _ in pickletools.genops(file):
                    pass
            return _begins_with_class(file)
    except Exception:  # of a broken pickle, many kinds
        return False


def _begins_with_class(content):
    for operation, argument, _ in pickletools.genops(content):
        if operation.name not in ("PROTO", "FRAME"):
            return operation.name == "GLOBAL" and argument != "collections OrderedDict"
    return False
