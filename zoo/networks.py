"""The networks the zoo knows; plain data, no Keras."""

import re
from typing import NamedTuple

from resnet_keras.errors import InputError, unknown

from . import paper

IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
BOTTLENECK_DEPTHS = (50, 101, 152)


class Network(NamedTuple):
    """A network of the paper, or of its CIFAR family."""

    name: str
    depth: int
    plain: bool

    @property
    def dataset(self) -> str:
        """The data set of the paper's network: "imagenet" or "cifar10"."""
        return "imagenet" if self.depth in IMAGENET_DEPTHS else "cifar10"

    @property
    def shortcut(self) -> str | None:
        """The default option: the paper's for CIFAR (Sec. 4.2), and B for ImageNet."""
        if self.plain:
            return None
        return "B" if self.dataset == "imagenet" else "A"

    @property
    def paper_parameters(self) -> str | None:
        """What the paper gives (Table 6), such as "0.27M"."""
        return paper.PARAMETERS.get(self.depth)

    @property
    def paper_multiply_adds(self) -> str | None:
        """What the paper gives (Table 1), such as "1.8e9"."""
        return paper.MULTIPLY_ADDS.get(self.depth)

    @property
    def paper_error(self) -> str | None:
        """What the paper gives for the default option, or else for another one, in words."""
        ten_crop = self.dataset == "imagenet"
        protocol = paper.TEN_CROP if ten_crop else paper.SINGLE_VIEW
        for shortcut in (self.shortcut, *paper.OPTIONS):
            found = paper.errors(self.name, shortcut, protocol)
            if found:
                kind = "top-1 error, 10-crop" if ten_crop else "test error"
                option = f", option {shortcut}" if ten_crop and shortcut else ""
                note = f", {found.note}" if found.note else ""
                return f"{found.top1} % {kind}{option}{note} ({found.place})"
        return None


_NAMES = (
    *(f"resnet{depth}" for depth in IMAGENET_DEPTHS),
    *("plain18", "plain34"),
    *(f"resnet{depth}" for depth in paper.PARAMETERS),
    *(f"plain{depth}" for depth in (20, 32, 44, 56, 110)),
)
_NAME = re.compile(r"(resnet|plain)(\d{1,5})")


def _network(name):
    return Network(name, int(_NAME.fullmatch(name)[2]), name.startswith("plain"))


NETWORKS = {name: _network(name) for name in _NAMES}


def is_name(name: object) -> bool:
    """Whether a text is the name of a network, of whatever depth; a `Path` is none."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def find(name: str) -> Network:
    """Returns a network by name; besides the paper's, resnetN and plainN of any N = 6n+2."""
    if isinstance(name, str) and name in NETWORKS:
        return NETWORKS[name]
    match = _NAME.fullmatch(str(name))
    if not match:
        raise unknown("model", name, NETWORKS)
    depth = int(match.group(2))
    if depth in IMAGENET_DEPTHS:
        raise InputError(f"Plain ImageNet networks are plain18 and plain34; there is no {name}.")
    if depth < 8 or (depth - 2) % 6:
        imagenet = ", ".join(f"resnet{known}" for known in IMAGENET_DEPTHS)
        raise InputError(
            f"Unknown model {name!r}: ImageNet networks are {imagenet}, plain18 and plain34; "
            "CIFAR networks have 6n+2 layers (resnet8, resnet14, resnet20, resnet26, ...)."
        )
    return _network(name)
