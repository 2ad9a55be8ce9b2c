"""What is done to a network that is built: its endpoints are named, its stages frozen."""

import re

import keras

from resnet_keras.errors import InputError, unknown


def endpoints(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the output of each stage, `{"conv2": tensor, ...}`, shallowest first.

    A VGG network with its head has "fc7" as well, the last hidden layer's output with its dropout.
    """
    found = {}
    for layer in model.layers:
        match = re.fullmatch(r"(conv\d)_block\d+_out|(fc7)", layer.name)
        if match:
            found[match.group(1) or match.group(2)] = layer.output
        elif layer.name == "dropout" and "fc7" in found:
            found["fc7"] = layer.output
    return found


def freeze(model: keras.Model, through: str | None) -> None:
    """Freezes the stages of a network up to one, and lets the later ones be trained.

    A frozen batch normalization uses its moving statistics and keeps them, in training too. Call
    this before `compile`: Keras reads `trainable` there.

    Args:
        model: a network or backbone of the zoo.
        through: "conv1" (the stem) to "conv5" ("conv4" in CIFAR networks, "conv3" in networks
            for series), the last stage to be frozen, or None to freeze nothing.

    Raises:
        InputError: the model has no such stage.
    """
    stages = {}
    for layer in model.layers:
        match = re.match(r"(conv\d)_", layer.name)
        if match:
            stages.setdefault(match.group(1), []).append(layer)
    if not stages:
        raise InputError(
            f"{model.name} has no stages of its own: freeze the network inside it, before."
        )
    if through is not None and through not in stages:
        raise unknown(f"stage of {model.name}:", through, stages)
    for stage, members in stages.items():
        for layer in members:
            layer.trainable = through is None or stage > through
