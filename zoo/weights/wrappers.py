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
from typing import NamedTuple

from resnet_keras.errors import InputError

from .formats import Tensor
from .pickles import shortened

FOREIGN_HEAD = "logits/"  # before the names of a head that is not one linear layer

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
LINEAR = re.compile(r"(fc|linear|classifier|head|head\.fc|last_linear)(\.[01])?")
_TRANSFORMERS_STEM = "embedder.embedder.convolution.weight"
_TRANSFORMERS = re.compile(
    r"embedder\.embedder\.(?P<stem>convolution|normalization)"
    r"|encoder\.stages\.(?P<stage>\d)\.layers\.(?P<block>\d+)\."
    r"(?:layer\.(?P<number>\d)|shortcut)\.(?P<kind>convolution|normalization)"
)


class Names(NamedTuple):
    """How a kind of network is told from what stands beside it in a file of torch's.

    Attributes:
        stem: a tensor that every such network has.
        block: another one, where other networks have a tensor called as the stem, too.
        body: begins the names of its tensors before the head; None: all that are not called as
            those of a head.
        linear: the name of a linear layer, if there is one alone, that gives the logits.
    """

    stem: str
    block: str | None = None
    body: re.Pattern | None = None
    linear: re.Pattern = LINEAR

    def is_head(self, name: str) -> bool:
        """Whether a tensor of the network is of its head."""
        return not self.body.match(name) if self.body else _HEAD.match(name) is not None


RESNET = Names("conv1.weight", block="layer1.0.conv1.weight")


def of_transformers(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are a ResNet's of the library transformers."""
    return any(name.endswith(_TRANSFORMERS_STEM) for name in tensors)


def bare(
    path: Path, tensors: dict[str, Tensor], kinds: Sequence[Names] = (RESNET,)
) -> dict[str, Tensor]:
    """Takes the wrappings off the weights of a network with torch's names.

    Of weights and their average (EMA) the average is taken, as timm does, and a warning says so.
    A head of one linear layer comes out as `fc.weight` and `fc.bias`; the tensors of any other
    get `FOREIGN_HEAD` before their names. The names of transformers' ResNet become torchvision's.
    Tensors in which no such network is found are returned as they are.

    Args:
        path: of the file, for messages.
        tensors: of the file.
        kinds: of networks, of which the first that is found is taken.

    Raises:
        InputError: there are several networks.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(_COUNTERS):
            _put(named, _TRANSFORMERS.sub(_torchvision_name, _ANYWHERE.sub("", name)), tensor)
    found = ((kind, _prefixes(named, kind)) for kind in kinds)
    kind, prefixes = next((pair for pair in found if pair[1]), (RESNET, []))
    if not prefixes:
        return tensors
    chosen = _choose(path, prefixes, stacklevel=7)
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
    head = {name: tensor for name, tensor in inside.items() if kind.is_head(name)}
    network = {name: tensor for name, tensor in inside.items() if name not in head}
    # Layers beside the network may stand before a head beside it, but not before its own.
    direct = not others or not any(map(_HEAD.match, beside))
    for name, tensor in beside.items():
        if name not in others:
            _put(head, name, tensor)
    return network | _logits(head, kind.linear if direct else None)


def under(path: Path, tensors: Mapping[str, Tensor], stem: str) -> dict[str, Tensor]:
    """The tensors of the one network with a tensor called `stem`, without what wraps them.

    Of weights and their average (EMA) the average is taken, as `bare` does. What is of a training
    beside it, such as its optimizer's, is left out. Tensors among which there is no such network
    are returned as they are, but for what torch wraps modules in.

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
    chosen = _choose(path, prefixes, stacklevel=5)
    inside: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if name.startswith(chosen):
            _put(inside, name.removeprefix(chosen), tensor)
    for name, tensor in _beside(named, prefixes, chosen).items():
        _put(inside, name, tensor)
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


def _prefixes(tensors, kind):
    """What stands before the names of each network's tensors."""
    found = [name.removesuffix(kind.stem) for name in tensors if name.endswith(kind.stem)]
    return [prefix for prefix in found if _is_prefix(prefix, tensors, kind.block)]


def _is_prefix(prefix, tensors, block):
    if prefix and not prefix.endswith("."):
        return False  # a longer name, such as `myconv1.weight`
    if block is None or f"{prefix}{block}" in tensors:
        return True
    return set(prefix.split(".")) <= _WRAPPERS


def _choose(path, prefixes, *, stacklevel):
    """The prefix of the network that is taken, with the warning's place if there are two."""
    if len(prefixes) == 1:
        return prefixes[0]
    averaged = [prefix for prefix in prefixes if "ema" in re.split(r"[._]", prefix)]
    if len(prefixes) == 2 and len(averaged) == 1:
        (other,) = set(prefixes) - set(averaged)
        warnings.warn(
            f"Of the two sets of weights in {path} the averaged ones, {averaged[0]}*, are taken, "
            f"as timm does, and not {f'{other}*' if other else 'those without a prefix'}: save "
            "these alone to load them.",
            stacklevel=stacklevel,
        )
        return averaged[0]
    each = [f"{prefix}*" if prefix else "one without a prefix" for prefix in prefixes]
    raise InputError(
        f"{path} holds several networks, {shortened(each)}: save the weights of one alone."
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


def _logits(head, linear):
    """A head as `bare` returns it; `linear` as of `Names`, None where something is before it."""
    places = {name.rpartition(".")[0] for name in head}
    leaves = {name.rpartition(".")[2]: tensor for name, tensor in head.items()}
    if (
        linear is None
        or len(places) != 1
        or not {"weight"} <= leaves.keys() <= {"weight", "bias"}
        or linear.fullmatch(*places) is None
    ):
        return _foreign(head)
    weight = leaves["weight"]
    if places <= {"head.fc"} and weight.shape[2:] == (1, 1):  # timm's 1x1 convolution
        weight = Tensor(weight.shape[:2], lambda: leaves["weight"].read()[:, :, 0, 0])
    if len(weight.shape) != 2:
        return _foreign(head)
    classes = weight.shape[0]
    bias = leaves.get("bias", Tensor((classes,), lambda: _zeros(classes)))
    return {"fc.weight": weight, "fc.bias": bias}


def _foreign(head):
    return {f"{FOREIGN_HEAD}{name}": tensor for name, tensor in head.items()}


def _zeros(count):
    import numpy as np

    return np.zeros(count, "float32")
