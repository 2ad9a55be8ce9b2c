"""Localizers from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.errors import InputError
from resnet_keras.training import run_folder

if TYPE_CHECKING:
    from .model import LocalizationModel


def find(path: str | os.PathLike, which: str = "best") -> Path:
    """The file of a localizer; see `run_folder.model_file`."""
    return run_folder.model_file(path, which, "localizer")


def load(
    path: str | os.PathLike, which: str = "best", *, compile: bool = True
) -> "LocalizationModel":
    """Loads a `Localizer` or an `RCNN`.

    Args:
        path: as for `find`.
        which: as for `find`.
        compile: whether it is compiled as the one that was saved, with its optimizer.

    Raises:
        InputError: there is none, or the file holds another model.
    """
    import keras

    from resnet_keras.training import optimizers, schedules  # noqa: F401  # classes in the file

    from . import localizer as localizer  # classes in the file
    from . import rcnn as rcnn
    from .model import LocalizationModel

    file = find(path, which)
    try:
        model = keras.models.load_model(file, compile=compile)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} cannot be loaded: {error}") from error
    if not isinstance(model, LocalizationModel):
        raise InputError(f"{file} holds a {type(model).__name__}, which is no localizer.")
    return model
