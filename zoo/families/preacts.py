"""Pre-activation networks and wide ones of CIFAR: their names, and their public weights."""

import re

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    BOTTLENECK_DEPTHS,
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_OUTPUT_STRIDES,
    INCEPTION_MEAN,
    INCEPTION_STD,
)

from .. import publishers
from ..entry import Preprocessing, Published
from ..network import INNER, PRUNED, WIDTH, WIDTHS, Family, Network

_BUILDERS, _FILES = "resnet_keras.networks.preact", "resnet_keras.zoo.weights.preacts"
_PREACT = Family(f"{_BUILDERS}:preact_resnet", {"output_stride": IMAGENET_OUTPUT_STRIDES}, _FILES)
_KERAS = Family(
    f"{_BUILDERS}:keras_preact_resnet",
    files=_FILES,
    lacks={
        WIDTH: "it is as keras.applications has it; resnetv2_50 and deeper have other widths",
        INNER: "it is as keras.applications has it; resnetv2_50 and deeper can be",
    },
)
_CIFAR_PREACT = Family(
    f"{_BUILDERS}:cifar_preact_resnet", {"output_stride": CIFAR_OUTPUT_STRIDES}, _FILES
)
_WIDE = Family(
    f"{_BUILDERS}:wide_resnet",
    {"output_stride": CIFAR_OUTPUT_STRIDES},
    _FILES,
    lacks={WIDTH: "how many times wider it is stands in its name, as in wrn16_4"},
)

# Of arXiv 1603.05027, Tables 3 and 4, and of arXiv 1605.07146, Table 5, each the median of 5 runs:
# error on CIFAR-10, and on CIFAR-100 where it is given; and the parameters of Tables 4 and 5.
_PREACT_PAPER, _WIDE_PAPER = "arXiv 1603.05027", "arXiv 1605.07146"
_PAPER = {
    "preact_resnet110": ("6.37", None, f"{_PREACT_PAPER}, Table 3", None),
    "preact_resnet164": ("5.46", "24.33", f"{_PREACT_PAPER}, Table 4", "1.7M"),
    "preact_resnet1001": ("4.92", "22.71", f"{_PREACT_PAPER}, Table 4", "10.2M"),
    "wrn40_4": ("4.53", "21.18", f"{_WIDE_PAPER}, Table 5", "8.9M"),
    "wrn16_8": ("4.27", "20.43", f"{_WIDE_PAPER}, Table 5", "11.0M"),
    "wrn28_10": ("4.00", "19.25", f"{_WIDE_PAPER}, Table 5", "36.5M"),
}


def _imagenet(depth):
    return Network(
        name=f"resnetv2_{depth}",
        family=_PREACT,
        arguments={"depth": depth},
        options={"width": 64, **PRUNED, "output_stride": 32},
        free=("output_stride",),
        late=tuple(PRUNED),
        dataset="imagenet",
    )


def _keras_imagenet(depth):
    return Network(
        name=f"resnet{depth}v2",
        family=_KERAS,
        arguments={"depth": depth},
        options={},
        dataset="imagenet",
    )


def _cifar(depth):
    name = f"preact_resnet{depth}"
    return Network(
        name=name,
        family=_CIFAR_PREACT,
        arguments={"depth": depth},
        options={**WIDTHS, "output_stride": 4},
        free=("output_stride",),
        late=tuple(WIDTHS),
        dataset="cifar10",
        **_figures(name),
    )


def _wide(depth, width):
    name = f"wrn{depth}_{width}"
    return Network(
        name=name,
        family=_WIDE,
        arguments={"depth": depth, "width": width},
        options={"block_dropout": 0.0, **PRUNED, "output_stride": 4},
        training=("block_dropout",),
        free=("output_stride",),
        late=tuple(PRUNED),
        dataset="cifar10",
        **_figures(name),
    )


def _figures(name):
    if name not in _PAPER:
        return {}
    cifar10, cifar100, place, parameters = _PAPER[name]
    more = f", CIFAR-100 {cifar100} %" if cifar100 else ""
    return {
        "paper_parameters": parameters,
        "paper_result": f"{cifar10} % test error{more} ({place})",
    }


ROWS = (
    *(_imagenet(depth) for depth in BOTTLENECK_DEPTHS),
    *(_keras_imagenet(depth) for depth in BOTTLENECK_DEPTHS),
    *(_cifar(depth) for depth in (110, 164, 1001)),
    *(_wide(*numbers) for numbers in ((16, 8), (28, 10), (40, 4))),
)


def _cifar_of(match):
    """The CIFAR network of a depth that is not listed; of which blocks, the builder says."""
    depth = int(match[1])
    if depth in BOTTLENECK_DEPTHS:
        raise InputError(
            f"There is no {match[0]}: of ImageNet ask for resnetv2_{depth} or resnet{depth}v2; "
            "preact_resnet is of CIFAR (preact_resnet110, preact_resnet164, ...)."
        )
    if depth < 8 or (depth % 6 != 2 and depth % 9 != 2):
        raise InputError(
            f"Unknown model {match[0]!r}: pre-activation networks of CIFAR have 6n+2 layers (basic "
            "blocks: preact_resnet8, 14, 20, ..., 110) or 9n+2 (bottlenecks: preact_resnet11, 29, "
            "47, ..., 164, 1001); those of ImageNet are resnetv2_50, resnetv2_101, resnetv2_152 "
            "and, as keras.applications has them, resnet50v2, resnet101v2 and resnet152v2."
        )
    return _cifar(depth)


def _wide_of(match):
    """The wide network of a depth and a width that are not listed."""
    depth, width = int(match[1]), int(match[2])
    if depth < 10 or depth % 6 != 4 or width < 1:
        raise InputError(
            f"Unknown model {match[0]!r}: wide networks of CIFAR have 6n+4 layers and a width of 1 "
            "or more (wrn16_8, wrn28_10, wrn40_4, wrn16_1, ...)."
        )
    return _wide(depth, width)


PATTERNS = (
    (re.compile(r"preact_resnet(\d{1,5})"), _cifar_of),
    (re.compile(r"wrn(\d{1,4})_(\d{1,3})"), _wide_of),
)


def _timm(depth, top1_error):
    return publishers.hub(
        f"resnetv2_{depth}",
        "a1h_in1k",
        licence="Apache-2.0",
        origin="timm, A1 of ResNet strikes back (arXiv 2110.00476) with changes of its own",
        options={"width": 64, "epsilon": 1e-5},
        mean=INCEPTION_MEAN,
        std=INCEPTION_STD,
        preprocessing=Preprocessing(224, 235, "bicubic"),
        published=Published(
            top1_error, None, "single crop, 224", "timm's results/results-imagenet.csv"
        ),
        notes="timm itself tests it at 288 pixels, uncropped.",
    )


def _keras(depth, md5, top1, top5):
    return publishers.keras_applications(
        f"resnet{depth}v2",
        "resnet",
        md5,
        licence="Apache-2.0",
        origin="keras.applications, which refers to TF-Slim's resnet_v2 and fb.resnet.torch's "
        "preresnet",
        options={"epsilon": 1.001e-5, "input_shape": (299, 299, 3)},
        mean=INCEPTION_MEAN,
        std=INCEPTION_STD,
        preprocessing=Preprocessing(299, 342),
        published=publishers.errors(top1, top5, "keras-applications", 299),
        notes="keras.applications names neither a resizing, which here is the usual one before a "
        "crop, nor a licence of these weights, which here is Keras's own and TF-Slim's.",
    )


WEIGHTS = (
    _timm(50, 19.59),
    _timm(101, 17.96),
    _keras(50, "3ef43a0b657b3be2300d5770ece849e0", 75.960, 93.034),
    _keras(101, "6343647c601c52e1368623803854d971", 77.234, 93.816),
    _keras(152, "a49b44d1979771252814e80f8ec446f9", 78.032, 94.162),
)
DEFAULTS = {(entry.model, "imagenet"): entry.tag for entry in WEIGHTS}
