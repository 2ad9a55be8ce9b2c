"""Models that are kept as a whole, in .keras files and in the folders of runs."""

import os
from collections.abc import Callable
from typing import Any

from resnet_keras.errors import InputError

from . import run_folder


def load(
    path: str | os.PathLike,
    which: str,
    noun: str,
    is_one: Callable[[Any], bool],
    *,
    compile: bool = True,
) -> Any:
    """Loads a model; whoever calls this has imported the classes that its file names.

    Those of this package's optimizers and schedules are imported here.

    Args:
        path: as of `run_folder.model_file`.
        which: see there.
        noun: see there.
        is_one: whether a model is of that kind.
        compile: whether it is compiled as the one that was saved, with its optimizer.

    Raises:
        InputError: there is none, or the file holds another model.
    """
    import keras

    from . import optimizers, schedules  # noqa: F401  # classes in the file

    file = run_folder.model_file(path, which, noun)
    try:
        model = keras.models.load_model(file, compile=compile)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} cannot be loaded: {error}") from error
    if not is_one(model):
        raise InputError(f"{file} holds a {type(model).__name__}, which is no {noun}.")
    return model
