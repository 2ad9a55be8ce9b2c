"""Exported models where commands take --model: which there are, and what does not fit them."""

from absl import flags

from resnet_keras import deployment, tuning, zoo
from resnet_keras.deployment import Classifier, Exported
from resnet_keras.errors import InputError


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
    threads = None if found.format == "savedmodel" else tuning.cores()  # TensorFlow has its own
    return Classifier(found, threads=threads)


def precision(found: Exported) -> str:
    """What measurements record where they have a network's dtype."""
    return "float32" if found.quantize == "none" else found.quantize


def _refuse(values, model, flag, reason):
    if flag in values and values[flag].present:
        raise InputError(f"{model} is an exported model: leave --{flag} out, for {reason}.")
