"""Localizers from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.detection.loading import find as find
from resnet_keras.errors import InputError

if TYPE_CHECKING:
    from .model import LocalizationModel


def load(path: str | os.PathLike, which: str = "best") -> "LocalizationModel":
    """Loads a `Localizer` or an `RCNN`.

    Args:
        path: of a .keras file, or of a run's folder.
        which: of a run's folder, the "best" or the "last" weights.

    Raises:
        InputError: there is none, or the file holds another model.
    """
    import keras

    from resnet_keras.training import optimizers, schedules  # noqa: F401  # classes in the file

    from . import localizer as localizer  # classes in the file
    from . import rcnn as rcnn
    from .model import LocalizationModel

    file: Path = find(path, which)
    try:
        model = keras.models.load_model(file)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} cannot be loaded: {error}") from error
    if not isinstance(model, LocalizationModel):
        raise InputError(f"{file} holds a {type(model).__name__}, which is no localizer.")
    return model
