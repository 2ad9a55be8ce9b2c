"""Detectors from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError
from resnet_keras.training import run_folder

if TYPE_CHECKING:
    import keras

SUFFIX = ".keras"


def find(path: str | os.PathLike, which: str = "best") -> Path:
    """The file of a detector; needs no Keras.

    Args:
        path: of a .keras file, or of a run's folder.
        which: of a run's folder, the "best" or the "last" weights.

    Raises:
        InputError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        name = run_folder.BEST if which == "best" else run_folder.LAST
        file = path / f"{name}{SUFFIX}"
        if not file.exists():
            raise InputError(f"{path} is no folder of a detector's run: it has no {file.name}.")
        return file
    if not path.exists():
        raise InputError(f"There is no detector {path}: name a {SUFFIX} file, or a run's folder.")
    if path.suffix != SUFFIX:
        raise InputError(f"{path} is no {SUFFIX} file, in which detectors are kept.")
    return path


def load(path: str | os.PathLike, which: str = "best") -> "keras.Model":
    """Loads a detector; arguments as for `find`.

    Raises:
        InputError: there is none, or the file holds another model.
    """
    import keras

    from resnet_keras.training import optimizers, schedules  # noqa: F401  # classes in the file

    from . import faster_rcnn, improve, statistics  # noqa: F401

    file = find(path, which)
    try:
        model: Any = keras.models.load_model(file)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} cannot be loaded: {error}") from error
    if not isinstance(model, faster_rcnn.FasterRCNN | improve.Combination):
        raise InputError(f"{file} holds a {type(model).__name__}, which is no detector.")
    return model
