"""Localizers from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.training import run_folder, whole_models

if TYPE_CHECKING:
    from .model import LocalizationModel

NOUN = "localizer"


def find(path: str | os.PathLike, which: str = "best") -> Path:
    """The file of a localizer; see `run_folder.model_file`."""
    return run_folder.model_file(path, which, NOUN)


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
    from . import localizer, rcnn  # noqa: F401  # classes in the file
    from .model import LocalizationModel

    return whole_models.load(
        path, which, NOUN, lambda model: isinstance(model, LocalizationModel), compile=compile
    )
