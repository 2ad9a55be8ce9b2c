"""What a network was built with: recorded on it, and told by its layers.

Its name and the options of its family are the configuration of its first layer, so that `.keras`
files, clones and networks that were cut from it have them. Where there is no such record, as in
networks of the builders' own and in older files, the layers tell what it is. What all
networks have (pixels, head, epsilon, drops) the layers always tell, as they may have been changed.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError
from resnet_keras.facts import GROUP, LAYER

from .. import networks
from ..network import FREE, MAXOUT, NORMALIZATION, OF_WEIGHTS, Network
from ..networks import canonical
from . import densenets, preacts, resnets, vggs

if TYPE_CHECKING:
    import keras

_GROUPED = "GroupNormalization"
_NORMALIZATIONS = ("BatchNormalization", "FrozenBatchNormalization", _GROUPED)
_POOLINGS = {"avg_pool": "avg", "max_pool": "max"}


def write(model: "keras.Model", network: Network, options: Mapping[str, Any]) -> None:
    """Records on a model what it was built with.

    Args:
        model: begins with a `PixelNormalization` called "normalization".
        network: that it is.
        options: that the builder was given; the rest are its defaults.

    Raises:
        InputError: the model begins otherwise.
    """
    from resnet_keras.networks.layers import PixelNormalization

    layer = next((layer for layer in model.layers if layer.name == "normalization"), None)
    if not isinstance(layer, PixelNormalization):
        raise InputError(
            f"The builder of {network.name} returns a model without the first layer of all "
            "networks, a PixelNormalization called 'normalization': build it with "
            "networks.network.network."
        )
    own = {name: options.get(name, default) for name, default in network.options.items()}
    sparse = {*network.free, *network.late}
    own = {n: v for n, v in own.items() if n not in sparse or v != network.options[n]}
    layer.network = {
        "model": network.name,
        "arguments": dict(network.arguments),
        "options": own,
    }


def of(model: "keras.Model") -> tuple[Network, dict[str, Any]]:
    """A model's network in the zoo and its options, dtype among them but not mean and std.

    Raises:
        InputError: the network is not registered in this process, or another is by its name.
        KeyError, ValueError, AttributeError: it is none of the zoo's.
    """
    layers = {layer.name: (type(layer).__name__, layer.get_config()) for layer in model.layers}
    name, arguments, own = _own(layers)
    network = networks.find(name)
    check_arguments(network, arguments)
    policy = model.get_layer("normalization").dtype_policy.name
    return network, {**_unrecorded(network), **own, **_shared(layers), "dtype": policy}


def of_config(config: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """The options of a `.keras` file of a network, by its configuration; neither dtype nor mean.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is of another, or none of the zoo's.
    """
    layers = {
        # In Keras's old format, classes stand behind the name of their package.
        layer["config"]["name"]: (layer["class_name"].rpartition(">")[2], layer["config"])
        for layer in config["config"]["layers"]
    }
    name, arguments, own = _own(layers)
    if name != network.name:
        raise ValueError(f"it is configured as {name}")
    check_arguments(network, arguments)
    return {**_unrecorded(network), **own, **_shared(layers)}


def _unrecorded(network):
    """The defaults of options that are recorded only where they are others."""
    return {name: network.options[name] for name in (*network.free, *network.late)}


def name_in(config: Mapping[str, Any]) -> str | None:
    """The name that is recorded in a `.keras` file's configuration, if one is."""
    try:
        for layer in config["config"]["layers"]:
            record = layer["config"].get("network")
            if layer["config"]["name"] == "normalization" and record:
                return record["model"] if networks.can_be_name(record["model"]) else None
    except (KeyError, TypeError, AttributeError):
        pass  # `of_config` will tell
    return None


def check_arguments(network: Network, arguments: Mapping[str, Any]) -> None:
    """Raises `ValueError` where a network was made with other arguments than that of its name."""
    own = {name: canonical(name, value) for name, value in network.arguments.items()}
    if arguments and own != {name: canonical(name, value) for name, value in arguments.items()}:
        raise InputError(
            f"{network.name} was built with {dict(arguments)}, and the network that has this name "
            f"now is built with {own}."
        )


def stored(network: Network, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of a network's options, those that a file of its weights keeps."""
    kept = {*FREE, *OF_WEIGHTS, NORMALIZATION, MAXOUT, *network.settled}
    kept -= {"mean", "std", *network.late}
    kept -= {"pooling"} if options.get("include_top", True) else {"num_classes"}
    sparse = (*network.free, *network.late)
    changed = {key for key in sparse if options.get(key) != network.options[key]}
    changed -= {*network.training}
    return {key: value for key, value in options.items() if key in kept | changed}


def _own(layers):
    """A network's name, the arguments that make it that, and the options of its family."""
    _, config = layers["normalization"]
    record = config.get("network")
    if record is None:
        family = vggs if "conv1_block1_conv" in layers else resnets
        family = preacts if "conv2_block1_preact_bn" in layers else family
        family = densenets if "conv2_pool_conv" in layers else family
        name, options = family.described(layers)
        return name, {}, options
    if not networks.can_be_name(record["model"]):
        raise ValueError(f"network {record['model']!r}")
    options = {name: canonical(name, value) for name, value in record["options"].items()}
    return record["model"], dict(record["arguments"]), options


def _shared(layers):
    """The arguments of every network, by the layers that `networks.network` makes."""
    (shape,) = [c["batch_shape"] for kind, c in layers.values() if kind == "InputLayer"]
    options: dict[str, Any] = {"input_shape": tuple(shape[1:]), "include_top": "logits" in layers}
    if options["include_top"]:
        options["num_classes"] = layers["logits"][1]["units"]
    else:
        options["pooling"] = next((p for name, p in _POOLINGS.items() if name in layers), None)
    norms = [(kind, c) for kind, c in layers.values() if kind in _NORMALIZATIONS]
    epsilons = {c["epsilon"] for _, c in norms}
    if len(epsilons) > 1:
        raise ValueError(f"normalizations of several epsilons: {sorted(epsilons)}")
    if epsilons:
        options["epsilon"] = epsilons.pop()
    groups = [c["groups"] for kind, c in norms if kind == _GROUPED]
    if groups:
        options[NORMALIZATION] = GROUP if max(groups) > 1 else LAYER
    rates = [c["rate"] for name, (_, c) in layers.items() if re.fullmatch(r"conv\d_.*_drop", name)]
    if rates:
        options["stochastic_depth"] = max(rates)  # the last block's
    if MAXOUT in layers and options["include_top"]:
        options[MAXOUT] = layers[MAXOUT][1]["pieces"]
    if "dropout" in layers:
        options["dropout"] = layers["dropout"][1]["rate"]
    return options
