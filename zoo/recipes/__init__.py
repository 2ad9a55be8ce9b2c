"""The packaged recipes: one flagfile each, `python -m resnet_keras.train --recipe=NAME`."""

from pathlib import Path

from resnet_keras.errors import unknown

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Returns the names that --recipe takes."""
    return sorted(file.stem for file in _FOLDER.glob("*.flags"))


def path(name: str) -> Path:
    """Returns the flagfile of a recipe; `InputError` names the known ones."""
    if name not in names():
        raise unknown("recipe", name, names())
    return _FOLDER / f"{name}.flags"
