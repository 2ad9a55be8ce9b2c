"""What a network was built with: its name and options, recorded on it and told by it.

The record is the configuration of the network's first layer, so that `.keras` files, clones and
networks that were cut from it have it. Where there is none, as in networks of the builders' own
and in older files, the layers of a ResNet tell what it is.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError

from .. import networks
from ..networks import Network
from . import resnets

if TYPE_CHECKING:
    import keras


def write(model: "keras.Model", network: Network, options: Mapping[str, Any]) -> None:
    """Records on a model what it was built with.

    Args:
        model: begins with a `PixelNormalization` called "normalization".
        network: that it is.
        options: that the builder was given; the rest are its defaults.

    Raises:
        InputError: the model begins otherwise, or an option is nothing that JSON can hold.
    """
    from resnet_keras.networks.network import parameters, record

    defaults = {name: p.default for name, p in parameters(network.builder).items()}
    # The normalization is among the tensors, and the dtype is that of the layers.
    kept = [n for n in network.accepted if n not in ("mean", "std", "dtype")]
    every = {**defaults, **options}
    record(model, network.name, {name: _plain(network, name, every[name]) for name in kept})


def _plain(network, name, value):
    """An option as JSON gives it back: lists for tuples, Python's numbers for NumPy's."""
    try:
        return json.loads(json.dumps(value, default=lambda one: one.item()))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} of {network.name} is a {type(value).__name__}: a network is rebuilt from its "
            "options, which must be numbers, texts, True, False, None, or lists of these."
        ) from error


def of(model: "keras.Model") -> tuple[str, dict[str, Any]]:
    """A model's name in the zoo and its options, dtype among them but not mean and std.

    Raises:
        KeyError, ValueError, AttributeError: it is none of the zoo's.
    """
    from resnet_keras.networks.network import recorded

    written = recorded(model)
    if written:
        name, options = written["model"], from_json(written["options"])
    else:
        layers = {layer.name: (type(layer).__name__, layer.get_config()) for layer in model.layers}
        name, options = resnets.described(layers)
    options["dtype"] = model.get_layer("normalization").dtype_policy.name
    # A clone may have been given pixels of another size.
    options["input_shape"] = tuple(model.input_shape[1:])
    return name, options


def of_config(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same of a `.keras` file, by its configuration.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is none of the zoo's.
    """
    layers = config["config"]["layers"]
    written = _in_layers(layers)
    if written:
        return written["model"], from_json(written["options"])
    named = {layer["config"]["name"]: (layer["class_name"], layer["config"]) for layer in layers}
    return resnets.described(named)


def name_in(config: Mapping[str, Any]) -> str | None:
    """The name that is recorded in a `.keras` file's configuration, if one is."""
    try:
        written = _in_layers(config["config"]["layers"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # `of_config` will tell
    return written["model"] if written else None


def _in_layers(layers):
    for layer in layers:
        # In Keras's old format, behind the name of the package.
        if layer["class_name"].rpartition(">")[2] == "PixelNormalization":
            written = layer["config"].get("network")
            if written is None:
                return None
            if not networks.can_be_name(written["model"]):
                raise ValueError(f"network {written['model']!r}")
            return {"model": written["model"], "options": dict(written["options"])}
    return None


def from_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with tuples for JSON's lists."""

    def tuples(value):
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    return {name: tuples(value) for name, value in options.items()}


def stored(network: Network, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of a network's options, those that a file of its weights keeps."""
    kept = {*networks.FREE, "epsilon", *network.settled}
    kept -= {"pooling"} if options.get("include_top", True) else {"num_classes"}
    return {key: value for key, value in options.items() if key in kept}
