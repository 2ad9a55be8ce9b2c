"""Checkpoints: all that decides how a run goes on, in one file that proves itself.

A checkpoint is FOLDER/step-STEP-HASH.safetensors, where HASH begins the SHA-256 of its bytes. It
is written aside, synced and renamed; one that is cut off or has a flipped bit does not fit its
name, and the one before it is used.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnet_keras.files import write_atomically

RECORD = "record"  # the tensor that holds it, uint8
HASH_DIGITS = 16
_NAME = re.compile(rf"step-(\d{{8,}})-[0-9a-f]{{{HASH_DIGITS}}}\.safetensors")


class Checkpoint(NamedTuple):
    """The state of a run right after a training step.

    Attributes:
        step: training steps done.
        tensors: of `state.capture`.
        record: whatever else decides, as JSON holds it.
    """

    step: int
    tensors: Mapping[str, np.ndarray]
    record: Mapping[str, Any]


def write(folder: str | os.PathLike, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Writes a checkpoint, then removes all but the last `keep`.

    Raises:
        InputError: the folder cannot be written to; what is there stays as it was.
    """
    from safetensors.numpy import save

    record = np.frombuffer(json.dumps(checkpoint.record).encode(), "uint8")
    content = save({**checkpoint.tensors, RECORD: record})
    path = Path(folder) / f"step-{checkpoint.step:08}-{_hash(content)}.safetensors"
    write_atomically(path, content)
    # A later step than this one was damaged, or this would not be it.
    there = _checkpoints(folder)
    earlier = [p for step, p in there if step < checkpoint.step]
    for stale in {p for _, p in there} - {path, *earlier[: keep - 1]}:
        stale.unlink(missing_ok=True)
    return path


def latest(folder: str | os.PathLike) -> Checkpoint | None:
    """Reads the last checkpoint that is whole; warns of each damaged one. None without any."""
    for step, path in _checkpoints(folder):
        try:
            tensors = _read(path)
            return Checkpoint(step, tensors, json.loads(tensors.pop(RECORD).tobytes()))
        except (OSError, ValueError) as error:
            warnings.warn(
                f"the checkpoint of step {step} is damaged and left aside ({path}: {error})",
                stacklevel=2,
            )
    return None


def _read(path):
    from safetensors.numpy import load

    content = path.read_bytes()
    if f"-{_hash(content)}." not in path.name:
        raise ValueError("its bytes do not have the checksum in its name")
    return load(content)


def _checkpoints(folder):
    """(step, path) of each checkpoint, the last first."""
    matches = [(_NAME.fullmatch(path.name), path) for path in Path(folder).glob("step-*")]
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _hash(content):
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
