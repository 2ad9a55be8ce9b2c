"""Reads .npz files, NumPy's, of arrays that a user brings. Imports no TensorFlow."""

from pathlib import Path

import numpy as np

from resnet_keras.errors import InputError

# Training and test examples and their classes, as Keras's own data sets call them.
SPLITS = ("x_train", "y_train", "x_test", "y_test")


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; `InputError` where it is none, or has pickled objects in it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, KeyError) as error:
        raise InputError(f"{path} is no .npz file of plain arrays: {error}.") from error
    except Exception as error:  # zipfile has errors of its own
        raise InputError(f"{path} is no .npz file that can be read: {error}.") from error


def read_splits(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that has all of `SPLITS`; `InputError` where it is none."""
    arrays = read(path)
    missing = [name for name in SPLITS if name not in arrays]
    if missing:
        raise InputError(f"{path} lacks the array {missing[0]}: it has {', '.join(arrays)}.")
    return arrays
