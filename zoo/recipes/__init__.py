"""The packaged recipes: one flagfile each, `python -m resnet_keras.train --recipe=NAME`.

Those of other tasks are in folders of their names, for `resnet_keras.detection.train` and so on.
"""

from pathlib import Path

from resnet_keras.errors import unknown

_FOLDER = Path(__file__).parent


def names(task: str = "") -> list[str]:
    """Returns the names that --recipe of a task takes.

    Args:
        task: "" for classification, or "detection" or "segmentation".
    """
    return sorted(file.stem for file in (_FOLDER / task).glob("*.flags"))


def path(name: str, task: str = "") -> Path:
    """Returns the flagfile of a recipe; `InputError` names the known ones."""
    if name not in names(task):
        raise unknown("recipe", name, names(task))
    return _FOLDER / task / f"{name}.flags"
