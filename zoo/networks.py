"""The networks the zoo knows, with the paper's own figures; plain data, no Keras."""

import re
from typing import NamedTuple

from resnet_keras.errors import InputError, unknown

IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
BOTTLENECK_DEPTHS = (50, 101, 152)


class Network(NamedTuple):
    """A network of the paper. Figures are None where the paper gives none."""

    name: str
    depth: int
    plain: bool
    paper_parameters: str | None = None  # Table 6
    paper_multiply_adds: str | None = None  # Table 1
    paper_error: str | None = None

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


def _imagenet(name, depth, billions, error):
    return Network(name, depth, name.startswith("plain"), None, f"{billions}e9", error)


def _cifar(name, depth, millions, error):
    return Network(name, depth, name.startswith("plain"), f"{millions}M", None, error)


_TEN_CROP = "% top-1 error, 10-crop"
_TEST = "% test error"

NETWORKS = {
    network.name: network
    for network in (
        _imagenet("resnet18", 18, 1.8, f"27.88 {_TEN_CROP}, option A (Table 2)"),
        _imagenet("resnet34", 34, 3.6, f"24.52 {_TEN_CROP}, option B (Table 3)"),
        _imagenet("resnet50", 50, 3.8, f"22.85 {_TEN_CROP} (Table 3)"),
        _imagenet("resnet101", 101, 7.6, f"21.75 {_TEN_CROP} (Table 3)"),
        _imagenet("resnet152", 152, 11.3, f"21.43 {_TEN_CROP} (Table 3)"),
        _imagenet("plain18", 18, 1.8, f"27.94 {_TEN_CROP} (Table 2)"),
        _imagenet("plain34", 34, 3.6, f"28.54 {_TEN_CROP} (Table 2)"),
        _cifar("resnet20", 20, 0.27, f"8.75 {_TEST} (Table 6)"),
        _cifar("resnet32", 32, 0.46, f"7.51 {_TEST} (Table 6)"),
        _cifar("resnet44", 44, 0.66, f"7.17 {_TEST} (Table 6)"),
        _cifar("resnet56", 56, 0.85, f"6.97 {_TEST} (Table 6)"),
        _cifar("resnet110", 110, 1.7, f"6.43 {_TEST}, best of 5; 6.61 +- 0.16 (Table 6)"),
        _cifar("resnet1202", 1202, 19.4, f"7.93 {_TEST} (Table 6)"),
        _cifar("plain20", 20, 0.27, f"about 9 {_TEST} (Fig. 6)"),
        _cifar("plain32", 32, 0.46, None),
        _cifar("plain44", 44, 0.66, None),
        _cifar("plain56", 56, 0.85, f"about 13 {_TEST} (Fig. 6)"),
        _cifar("plain110", 110, 1.7, f"above 60 {_TEST} (Sec. 4.2)"),
    )
}


_NAME = re.compile(r"(resnet|plain)(\d{1,5})")


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
    return Network(name, depth, match.group(1) == "plain")
