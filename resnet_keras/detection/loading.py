"""Detectors from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.training import run_folder, whole_models

if TYPE_CHECKING:
    import keras

NOUN = "detector"


def find(path: str | os.PathLike, which: str = "best") -> Path:
    """The file of a detector; see `run_folder.model_file`."""
    return run_folder.model_file(path, which, NOUN)


def load(path: str | os.PathLike, which: str = "best") -> "keras.Model":
    """Loads a detector; arguments as for `find`.

    Raises:
        InputError: there is none, or the file holds another model.
    """
    from . import faster_rcnn, improve, mask_rcnn, statistics  # noqa: F401  # classes in the file

    kinds = faster_rcnn.FasterRCNN | improve.Combination
    return whole_models.load(path, which, NOUN, lambda model: isinstance(model, kinds))
