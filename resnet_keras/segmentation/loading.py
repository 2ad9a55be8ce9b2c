"""Segmenters from files and from the folders of runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError
from resnet_keras.training import run_folder

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
    import keras

    from resnet_keras.detection import statistics  # noqa: F401  # classes in the file
    from resnet_keras.training import optimizers, schedules  # noqa: F401

    from . import building, losses, metrics  # noqa: F401

    file = find(path, which)
    try:
        model: Any = keras.models.load_model(file)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} cannot be loaded: {error}") from error
    try:
        names = building.class_names(model)
    except (AttributeError, InputError) as error:
        raise InputError(f"{file} holds a {type(model).__name__}, which is no {NOUN}.") from error
    model = building.without_auxiliary(model)
    return model, names or tuple(map(str, range(model.output_shape[-1])))
