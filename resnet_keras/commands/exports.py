"""Exported models where commands take --model: which there are, and what does not fit them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from resnet_keras import deployment, tuning, zoo
from resnet_keras.deployment import Classifier, Detector, Exported
from resnet_keras.detection import loading
from resnet_keras.errors import InputError

from . import shell

if TYPE_CHECKING:
    import keras


def find(values: flags.FlagValues) -> Exported | None:
    """The exported classifier that --model names; None where it names a network, or weights.

    Raises:
        InputError: it is damaged, is no classifier, or other flags do not fit a model as a file.
    """
    model = values["model"].value
    if model is None or zoo.networks.is_name(model) or not deployment.is_export(model):
        return None  # a network's name is no folder's: that is ./NAME
    found = deployment.read(model)
    deployment.check_classifier(found)
    _refuse(values, model, "weights", "it has its own weights")
    _refuse(values, model, "engine", f"it is run by its own runtime, of {found.format}")
    _refuse(values, model, "dtype", f"its precision is that of the file, {precision(found)}")
    return found


def opened(found: Exported) -> Classifier:
    """The model in its own runtime, on all cores of this process's."""
    return shell.quietly(lambda: Classifier(found, threads=_threads(found)))


def find_detector(path: str | os.PathLike, which: str) -> Path | Exported:
    """The file of a detector, as of `loading.find`, or an exported one.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not deployment.is_export(path):
        return loading.find(path, which)
    found = deployment.read(path)
    deployment.check_detector(found)
    return found


def path_of(found: Path | Exported) -> Path:
    """Of what `find_detector` found: the file, or the folder."""
    return found.folder if isinstance(found, Exported) else found


def check_settled(values: flags.FlagValues, found: Path | Exported, *names: str) -> None:
    """Refuses flags that would change an exported detector, which detects as it was exported."""
    if isinstance(found, Exported):
        for name in names:
            _refuse(values, found.folder, name, "it detects as it was exported")


def load_detector(found: Path | Exported) -> "keras.Model | Detector":
    """Loads what `find_detector` found; an exported one into its own runtime, on all cores."""
    if isinstance(found, Exported):
        return shell.quietly(lambda: Detector(found, threads=_threads(found)))
    return loading.load(found)


def _threads(found):
    return None if found.format == "savedmodel" else tuning.cores()  # TensorFlow has its own


def precision(found: Exported) -> str:
    """What measurements record where they have a network's dtype."""
    return "float32" if found.quantize == "none" else found.quantize


def _refuse(values, model, flag, reason):
    if flag in values and values[flag].present:
        raise InputError(f"{model} is an exported model: leave --{flag} out, for {reason}.")
