"""Weights of torch's networks in the wrappings that people save them in.

A checkpoint is a dict around the weights, every wrapper of a module puts a prefix before their
names, and the network stands beside a head of the user's own. Here the dicts and prefixes are taken
off, and the head is told from the network. Nothing here needs torch.
"""

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from resnet_keras.errors import InputError

from .formats import Tensor
from .pickles import shortened

FOREIGN_HEAD = "logits/"  # before the names of a head that is not one linear layer

STEM, _BLOCK = "conv1.weight", "layer1.0.conv1.weight"
_WRAPPERS = {
    *("", "module", "model", "backbone", "net", "network", "encoder", "state_dict", "ema"),
    *("model_state_dict", "model_state", "model_ema", "state_dict_ema", "ema_model", "weights"),
}
# torch.compile's, FSDP's and checkpoint_wrapper's stand before any module's name.
_ANYWHERE = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.",
)
_COUNTERS = ("num_batches_tracked", "n_averaged")
_TRAINING = re.compile(r"(optim|sched|lr_sched|scaler|amp|loss|criterion|metric|callback|loops)")
_HEAD = re.compile(
    r"(fc|lin|cls|classif|heads?\b|logits|last_lin|out|dense|mlp|proj|predict|aux|prototype)"
)
# One linear layer here is the logits'; in a Sequential, behind at most one layer without weights.
_LINEAR = re.compile(r"(fc|linear|classifier|head|head\.fc|last_linear)(\.[01])?")
_TRANSFORMERS_STEM = "embedder.embedder.convolution.weight"
_TRANSFORMERS = re.compile(
    r"embedder\.embedder\.(?P<stem>convolution|normalization)"
    r"|encoder\.stages\.(?P<stage>\d)\.layers\.(?P<block>\d+)\."
    r"(?:layer\.(?P<number>\d)|shortcut)\.(?P<kind>convolution|normalization)"
)


def of_transformers(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are a ResNet's of the library transformers."""
    return any(name.endswith(_TRANSFORMERS_STEM) for name in tensors)


def bare(
    path: Path, tensors: dict[str, Tensor], stems: Sequence[str] = (STEM,)
) -> dict[str, Tensor]:
    """Takes the wrappings off the weights of a network with torchvision's names.

    Of weights and their average (EMA) the average is taken, as timm does, and a warning says so.
    A head of one linear layer comes out as `fc.weight` and `fc.bias`; the tensors of any other
    get `FOREIGN_HEAD` before their names. The names of transformers' ResNet become torchvision's.
    Tensors in which no such network is found are returned as they are.

    Raises:
        InputError: there are several networks.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(_COUNTERS):
            _put(named, _TRANSFORMERS.sub(_torchvision_name, _ANYWHERE.sub("", name)), tensor)
    found = ((stem, _prefixes(named, stem)) for stem in stems)
    stem, prefixes = next((pair for pair in found if pair[1]), (STEM, []))
    if not prefixes:
        return tensors
    chosen = _choose(path, prefixes, stem)
    inside = {
        name.removeprefix(chosen): tensor
        for name, tensor in named.items()
        if name.startswith(chosen)
    }
    beside = _beside(named, prefixes, chosen)
    others = [name for name in beside if not _HEAD.match(name)]
    if others:
        warnings.warn(
            f"Of {path} the network {chosen}* is taken, and what stands beside it is left out: "
            f"{shortened(others)}.",
            stacklevel=6,  # of `zoo.get`
        )
    head = {name: tensor for name, tensor in inside.items() if _HEAD.match(name)}
    network = {name: tensor for name, tensor in inside.items() if name not in head}
    # Layers beside the network may stand before a head beside it, but not before its own.
    direct = not others or not any(map(_HEAD.match, beside))
    for name, tensor in beside.items():
        if name not in others:
            _put(head, name, tensor)
    return network | logits(head, direct=direct)


def under(path: Path, tensors: Mapping[str, Tensor], stem: str) -> dict[str, Tensor]:
    """The tensors of the one network with a tensor called `stem`, without what wraps them.

    What is of a training beside it, such as its optimizer's, is left out. Tensors among which
    there is no such network are returned as they are, but for what torch wraps modules in.

    Raises:
        InputError: there are several networks.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(_COUNTERS):
            _put(named, _ANYWHERE.sub("", name), tensor)
    prefixes = [name.removesuffix(stem) for name in named if name.endswith(stem)]
    if not prefixes:
        return named
    if len(prefixes) > 1:
        raise InputError(
            f"{path} holds several networks, {shortened([f'{p}*' for p in prefixes])}: save the "
            "weights of one alone."
        )
    inside: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if name.startswith(prefixes[0]) or not _TRAINING.match(name):
            _put(inside, name.removeprefix(prefixes[0]), tensor)
    return inside


def _beside(tensors, prefixes, chosen):
    """What is neither the chosen network's nor another's, nor of the training: a head, mostly."""
    beside = {}
    for name, tensor in tensors.items():
        of_another = any(_belongs(name, other, chosen) for other in prefixes if other != chosen)
        relative = _relative(name, chosen)
        if not (name.startswith(chosen) or of_another or _TRAINING.match(relative)):
            _put(beside, relative, tensor)
    return beside


def _put(tensors, name, tensor):
    if name in tensors:
        raise InputError(f"There are two tensors for {name}.")
    tensors[name] = tensor


def _torchvision_name(match):
    """`layer1.0.conv2` of transformers' `encoder.stages.0.layers.0.layer.1.convolution`."""
    if match["stem"]:
        return {"convolution": "conv1", "normalization": "bn1"}[match["stem"]]
    block = f"layer{int(match['stage']) + 1}.{match['block']}"
    convolution = match["kind"] == "convolution"
    if match["number"] is None:
        return f"{block}.downsample.{0 if convolution else 1}"
    return f"{block}.{'conv' if convolution else 'bn'}{int(match['number']) + 1}"


def _prefixes(tensors, stem):
    """What stands before the names of each network's tensors."""
    found = [name.removesuffix(stem) for name in tensors if name.endswith(stem)]
    return [prefix for prefix in found if _is_prefix(prefix, tensors)]


def _is_prefix(prefix, tensors):
    if prefix and not prefix.endswith("."):
        return False  # a longer name, such as `myconv1.weight`
    return f"{prefix}{_BLOCK}" in tensors or set(prefix.split(".")) <= _WRAPPERS


def _choose(path, prefixes, stem):
    if len(prefixes) == 1:
        return prefixes[0]
    averaged = [prefix for prefix in prefixes if "ema" in re.split(r"[._]", prefix)]
    if len(prefixes) == 2 and len(averaged) == 1:
        (other,) = set(prefixes) - set(averaged)
        warnings.warn(
            f"Of the two sets of weights in {path} the averaged ones, {averaged[0]}*, are taken, "
            f"as timm does, and not {f'{other}*' if other else 'those without a prefix'}: save "
            "these alone to load them.",
            stacklevel=7,  # of `zoo.get`
        )
        return averaged[0]
    one, other = prefixes[:2]
    raise InputError(
        f"There are two tensors for conv1_conv/kernel, {one}{stem} and {other}{stem}: save the "
        "weights of one network alone."
    )


def _belongs(name, other, chosen):
    """Whether a tensor is of the network with the prefix `other`, or stands beside that one."""
    own = ".".join(other.split(".")[: _shared(other, chosen) + 1]).rstrip(".")
    return not own or name.startswith(f"{own}.")


def _relative(name, prefix):
    """The name without what it shares with the prefix.

    That is `fc.bias` of `model.fc.bias` beside `model.backbone.`.
    """
    return ".".join(name.split(".")[_shared(name, prefix) :])


def _shared(one, other):
    """How many components two names begin with together."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def logits(head: dict[str, Tensor], *, direct: bool) -> dict[str, Tensor]:
    """A head as `bare` returns it; `direct` where nothing else stands before it."""
    places = {name.rpartition(".")[0] for name in head}
    leaves = {name.rpartition(".")[2]: tensor for name, tensor in head.items()}
    linear = (
        direct
        and len(places) == 1
        and _LINEAR.fullmatch(*places) is not None
        and {"weight"} <= leaves.keys() <= {"weight", "bias"}
        and len(leaves["weight"].shape) == 2
    )
    if not linear:
        return {f"{FOREIGN_HEAD}{name}": tensor for name, tensor in head.items()}
    classes = leaves["weight"].shape[0]
    bias = leaves.get("bias", Tensor((classes,), lambda: _zeros(classes)))
    return {"fc.weight": leaves["weight"], "fc.bias": bias}


def _zeros(count):
    import numpy as np

    return np.zeros(count, "float32")
