"""Segmenters from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.errors import InputError
from resnet_keras.training import run_folder, whole_models

if TYPE_CHECKING:
    import keras

NOUN = "segmenter"


def find(path: str | os.PathLike, which: str = "best") -> Path:
    """The file of a segmenter; see `run_folder.model_file`."""
    return run_folder.model_file(path, which, NOUN)


def load(path: str | os.PathLike, which: str = "best") -> "tuple[keras.Model, tuple[str, ...]]":
    """Loads a segmenter; arguments as for `find`.

    Returns:
        The model, with its logits as its one output, and the names of its classes; "0", "1", ...
        where it was not told them.

    Raises:
        InputError: there is none, or the file holds another model.
    """
    from resnet_keras.detection import statistics  # noqa: F401  # classes in the file

    from . import building, losses, metrics  # noqa: F401

    model = whole_models.load(path, which, NOUN, _is_segmenter)
    names = building.class_names(model)
    model = building.without_auxiliary(model)
    return model, names or tuple(map(str, range(model.output_shape[-1])))


def _is_segmenter(model):
    from . import building

    try:
        building.class_names(model)
    except (AttributeError, InputError):
        return False
    return True
