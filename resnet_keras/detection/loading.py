"""Detectors from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError
from resnet_keras.training import run_folder

if TYPE_CHECKING:
    import keras


def find(path: str | os.PathLike, which: str = "best") -> Path:
    """The file of a detector; see `run_folder.model_file`."""
    return run_folder.model_file(path, which, "detector")


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
