"""Densely connected networks: their names, and their public weights."""

import re

from resnet_keras.errors import InputError
from resnet_keras.facts import DENSENET_BLOCKS

from .. import publishers
from ..entry import Preprocessing
from ..network import INNER, WIDTH, Family, Network

_BUILDERS, _FILES = "resnet_keras.networks.densenet", "resnet_keras.zoo.weights.densenets"
_LACKS = {
    WIDTH: "growth_rate tells how many channels its blocks add, of CIFAR's networks in their "
    "names, as in densenet40_12",
    INNER: "all later blocks see what a block adds",
}
_DENSENET = Family(f"{_BUILDERS}:densenet", files=_FILES, residual=False, lacks=_LACKS)
_CIFAR_DENSENET = _DENSENET._replace(builder=f"{_BUILDERS}:cifar_densenet")

# Of arXiv 1608.06993, Table 2: parameters, and errors on CIFAR-10 and CIFAR-100 with augmentation.
_CIFAR = {
    "densenet40_12": ("1.0M", "5.24", "24.42"),
    "densenet_bc100_12": ("0.8M", "4.51", "22.27"),
    "densenet_bc190_40": ("25.6M", "3.46", "17.18"),
}


def _imagenet(depth):
    wider = {"growth_rate": 48} if depth == 161 else {}
    return Network(
        name=f"densenet{depth}",
        family=_DENSENET,
        arguments={"depth": depth, **wider},
        options={**({} if wider else {"growth_rate": 32}), "block_dropout": 0.0},
        training=("block_dropout",),
        dataset="imagenet",
    )


def _cifar(depth, growth_rate, bottleneck=False):
    name = f"densenet{'_bc' if bottleneck else ''}{depth}_{growth_rate}"
    parameters, cifar10, cifar100 = _CIFAR.get(name, (None,) * 3)
    return Network(
        name=name,
        family=_CIFAR_DENSENET,
        arguments={"depth": depth, "growth_rate": growth_rate, "bottleneck": bottleneck},
        options={"block_dropout": 0.0},
        training=("block_dropout",),
        dataset="cifar10",
        paper_parameters=parameters,
        paper_result=cifar10
        and f"{cifar10} % test error, CIFAR-100 {cifar100} % (arXiv 1608.06993, Table 2)",
    )


ROWS = (
    *(_imagenet(depth) for depth in DENSENET_BLOCKS),
    _cifar(40, 12),
    _cifar(100, 12, bottleneck=True),
    _cifar(190, 40, bottleneck=True),
)


def _cifar_of(match):
    """The CIFAR network of a depth and a growth rate that are not listed."""
    bottleneck, depth, growth_rate = bool(match[1]), int(match[2]), int(match[3])
    step = 6 if bottleneck else 3
    if depth in DENSENET_BLOCKS and not bottleneck:
        raise InputError(
            f"Unknown model {match[0]!r}: of ImageNet's ask for densenet{depth}, of a growth rate "
            f"of {'48' if depth == 161 else '32 or, as an option, another'}."
        )
    if growth_rate < 1 or depth < step + 4 or (depth - 4) % step:
        raise InputError(
            f"Unknown model {match[0]!r}: DenseNets of CIFAR are densenetL_k with 3n+4 layers "
            "(densenet40_12, densenet100_24, ...) and densenet_bcL_k with 6n+4 "
            "(densenet_bc100_12, densenet_bc250_24, ...), of a growth rate of 1 or more."
        )
    return _cifar(depth, growth_rate, bottleneck)


PATTERNS = ((re.compile(r"densenet(_bc)?(\d{1,4})_(\d{1,3})"), _cifar_of),)


_TORCHVISION = "torchvision.models.densenet"
_PORTED = "the authors' released network, as ported from LuaTorch by torchvision"


def _options(depth, epsilon=1e-5):
    return {**({} if depth == 161 else {"growth_rate": 32}), "epsilon": epsilon}


def _torch(depth, sha256, top1, top5):
    return publishers.torchvision(
        f"densenet{depth}",
        "torchvision_in1k",
        sha256,
        origin=_PORTED,
        options=_options(depth),
        published=publishers.errors(top1, top5, _TORCHVISION),
    )


def _timm_torch(depth, sha256, top1, top5):
    """timm's copy, which needs no torch to be read; shown and scored as torchvision does it."""
    return publishers.hub(
        f"densenet{depth}",
        "tv_in1k",
        licence="BSD-3-Clause",
        origin=f"{_PORTED}, timm's copy",
        options=_options(depth),
        published=publishers.errors(top1, top5, _TORCHVISION),
    )


def _keras(depth, md5, top1, top5):
    return publishers.keras_applications(
        f"densenet{depth}",
        "densenet",
        md5,
        licence="BSD-3-Clause",
        origin="the authors' released network, as ported by keras.applications",
        options=_options(depth, 1.001e-5),
        published=publishers.errors(top1, top5, "keras.applications"),
        notes="keras.applications names no resizing; this is the usual 1-crop test. The licence is "
        "the networks' authors'.",
    )


_TORCH_FILES = (
    (121, "a639ec97", 74.434, 91.972),
    (161, "8d451a50", 77.138, 93.560),
    (169, "b2777c0a", 75.600, 92.806),
    (201, "c1103571", 76.896, 93.370),
)

WEIGHTS = (
    *(_timm_torch(*row) for row in _TORCH_FILES),
    *(_torch(*row) for row in _TORCH_FILES),
    _keras(121, "9d60b8095a5708f2dcce2bca79d332c7", 75.0, 92.3),
    _keras(169, "d699b8f76981ab1b30698df4c175e90b", 76.2, 93.2),
    _keras(201, "1ceb130c1ea1b78c3bf6114dbdfd8807", 77.3, 93.6),
    publishers.hub(
        "densenet121",
        "ra_in1k",
        licence="Apache-2.0",
        origin="timm, RandAugment",
        options=_options(121),
        preprocessing=Preprocessing(224, 256, "bicubic"),
        published=publishers.errors(75.57, None, "timm's results-imagenet.csv, at 224"),
    ),
)

# The authors' own networks; their figures are of a protocol that is told.
DEFAULTS = {(f"densenet{depth}", "imagenet"): "tv_in1k" for depth in DENSENET_BLOCKS}
