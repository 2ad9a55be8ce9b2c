"""The ResNets that followed with other blocks, stems or shortcuts: ResNeXt, wide, C, D and SE.

Wide ResNets for CIFAR are pre-activation networks, and not among these.
"""

import re
from typing import Any

from resnet_keras.errors import InputError
from resnet_keras.facts import (
    CIFAR_OUTPUT_STRIDES,
    IMAGENET_MEAN,
    IMAGENET_OUTPUT_STRIDES,
    IMAGENET_STD,
)

from .. import publishers
from ..entry import Preprocessing, Published, WeightsEntry
from ..network import INNER, WIDTH, WIDTHS, Family, Network

_FILES = "resnet_keras.zoo.weights.variants"
_IMAGENET = {"output_stride": IMAGENET_OUTPUT_STRIDES}
_CIFAR = {"output_stride": CIFAR_OUTPUT_STRIDES}
_SHORTCUTS = {"shortcut": ("A", "B", "C")}
_BUILDERS = "resnet_keras.networks"
_LACKS = {
    WIDTH: "the channels of its blocks are in its name, groups x channels of each as in "
    "resnext29_8x16d, or how many times wider as in wide_resnet50_2",
    INNER: "its channels belong together in groups, or are wide by its name",
}
_RESNEXT = Family(f"{_BUILDERS}.resnext:resnext", {**_SHORTCUTS, **_IMAGENET}, _FILES, lacks=_LACKS)
_CIFAR_RESNEXT = Family(
    f"{_BUILDERS}.resnext:cifar_resnext", {**_SHORTCUTS, **_CIFAR}, _FILES, lacks=_LACKS
)
_RESNET_D = Family(f"{_BUILDERS}.resnet_d:resnet_d", _IMAGENET, _FILES)
_CIFAR_RESNET_D = Family(f"{_BUILDERS}.resnet_d:cifar_resnet_d", _CIFAR, _FILES)
_SERESNET = Family(f"{_BUILDERS}.senet:seresnet", _IMAGENET, _FILES)
_SERESNEXT = _SERESNET._replace(lacks=_LACKS)
_CIFAR_SERESNET = Family(f"{_BUILDERS}.senet:cifar_seresnet", _CIFAR, _FILES)

# What their papers and authors print, of one crop of 224.
_XIE = "of one crop (the authors' repository, facebookresearch/ResNeXt)"
_RESULTS = {
    "resnext50_32x4d": f"22.2 % top-1 error {_XIE}",
    "resnext101_32x4d": f"21.2 % top-1 error {_XIE}",
    "resnext101_64x4d": f"20.4 % top-1 error {_XIE}",
    "wide_resnet50_2": "21.9 % top-1 error of one crop (the authors' repository, "
    "szagoruyko/wide-residual-networks)",
}


def _row(name, family, arguments, dataset, **options):
    stride = 32 if dataset == "imagenet" else 4
    late = {} if family.lacks else WIDTHS
    return Network(
        name=name,
        family=family,
        arguments=arguments,
        options={**options, **late, "output_stride": stride},
        free=("output_stride",),
        late=tuple(late),
        dataset=dataset,
        paper_result=_RESULTS.get(name),
    )


def _grouped(depth, cardinality, base_width):
    return {"depth": depth, "cardinality": cardinality, "base_width": base_width}


def _resnext(depth, cardinality, base_width):
    name = f"resnext{depth}_{cardinality}x{base_width}d"
    arguments = _grouped(depth, cardinality, base_width)
    return _row(name, _RESNEXT, arguments, "imagenet", shortcut="B")


def _wide(depth, times):
    arguments = _grouped(depth, 1, 64 * times)
    return _row(f"wide_resnet{depth}_{times}", _RESNEXT, arguments, "imagenet", shortcut="B")


def _cifar_resnext(depth, cardinality, base_width):
    name = f"resnext{depth}_{cardinality}x{base_width}d"
    arguments = _grouped(depth, cardinality, base_width)
    return _row(name, _CIFAR_RESNEXT, arguments, "cifar10", shortcut="B")


def _resnet_d(depth, pooled=True):
    name = f"resnet{depth}{'d' if pooled else 'c'}"
    return _row(name, _RESNET_D, {"depth": depth, "pooled": pooled}, "imagenet")


def _seresnet(depth, legacy=False):
    name = f"{'legacy_' if legacy else ''}seresnet{depth}"
    return _row(name, _SERESNET, {**_grouped(depth, 1, 64), "legacy": legacy}, "imagenet")


def _seresnext(depth, cardinality, base_width, legacy=False):
    name = f"{'legacy_' if legacy else ''}seresnext{depth}_{cardinality}x{base_width}d"
    arguments = {**_grouped(depth, cardinality, base_width), "legacy": legacy}
    return _row(name, _SERESNEXT, arguments, "imagenet")


_DEPTHS = (18, 34, 50, 101, 152)
ROWS = (
    _resnext(50, 32, 4),
    _resnext(101, 32, 4),
    _resnext(101, 32, 8),
    _resnext(101, 64, 4),
    _cifar_resnext(29, 8, 64),
    _cifar_resnext(29, 16, 64),
    _wide(50, 2),
    _wide(101, 2),
    _resnet_d(50, pooled=False),
    *(_resnet_d(depth) for depth in _DEPTHS),
    *(_seresnet(depth) for depth in _DEPTHS),
    _seresnext(50, 32, 4),
    _seresnext(101, 32, 4),
    _seresnext(101, 32, 8),
    _seresnext(101, 64, 4),
    *(_seresnet(depth, legacy=True) for depth in _DEPTHS),
    _seresnext(50, 32, 4, legacy=True),
    _seresnext(101, 32, 4, legacy=True),
)


def _cifar_resnext_of(match):
    depth, cardinality, base_width = map(int, match.groups())
    if depth in _DEPTHS:
        listed = ", ".join(row.name for row in ROWS if row.name.startswith("resnext"))
        raise InputError(
            f"Unknown model {match[0]!r}: there are {listed}, and others of 9n+2 layers for small "
            "images (resnext20_8x16d, ...)."
        )
    return _cifar_resnext(depth, cardinality, base_width)


def _cifar_of(match):
    """SE networks and those with D's shortcuts for small images, of 6n+2 layers."""
    name, depth = match[0], int(match["depth"])
    of_others = depth in (26, 200) and not match["se"]  # timm's, for ImageNet
    if depth in _DEPTHS or of_others or depth < 8 or (depth - 2) % 6:
        imagenet = ", ".join(str(known) for known in _DEPTHS)
        raise InputError(
            f"Unknown model {name!r}: for ImageNet this network has {imagenet} layers, and for "
            "small images 6n+2 (8, 14, 20, 26, ...)."
        )
    if match["se"]:
        return _row(name, _CIFAR_SERESNET, {"depth": depth}, "cifar10")
    return _row(name, _CIFAR_RESNET_D, {"depth": depth}, "cifar10")


PATTERNS = (
    (re.compile(r"resnext(\d{1,4})_(\d{1,3})x(\d{1,4})d"), _cifar_resnext_of),
    (re.compile(r"(?P<se>se)?resnet(?P<depth>\d{1,5})(?(se)|d)"), _cifar_of),
)

_TV = {
    # Tag and what torchvision says of it.
    "tv_in1k": ("torchvision V1: 90 epochs, steps", Preprocessing()),
    "tv2_in1k": ("torchvision V2: 600 epochs, modern augmentation", Preprocessing(224, 232)),
}


def _torchvision(name, tag, sha256, top1_error):
    origin, preprocessing = _TV[tag]
    return publishers.torchvision(
        name,
        tag,
        sha256,
        origin=origin,
        options={"shortcut": "B", "epsilon": 1e-5},
        preprocessing=preprocessing,
        published=Published(top1_error, None, "single crop, 224", "torchvision.models.resnet"),
    )


_GLUON = (
    "GluonCV's, cosine decay and tricks (arXiv 1812.01187)",
    Preprocessing(224, 256, "bicubic"),
)
_STRIKES_BACK = "timm, {} of ResNet strikes back (arXiv 2110.00476)"
_RA = Preprocessing(224, 256, "bicubic")
_CROP_95 = Preprocessing(224, 235, "bicubic")
# Tags of timm's repositories: origin, and how images are shown at the published error.
_TIMM: dict[str, tuple[str, Preprocessing]] = {
    "gluon_in1k": _GLUON,
    "a1_in1k": (f"{_STRIKES_BACK.format('A1')}, 600 epochs", _CROP_95),
    "a2_in1k": (f"{_STRIKES_BACK.format('A2')}, 300 epochs", _CROP_95),
    "ra2_in1k": ("timm, RandAugment", _RA),
    "racm_in1k": ("timm, RandAugment and CutMix", _RA),
    "ra4_e3600_r224_in1k": ("timm, RandAugment, 3,600 epochs", _CROP_95),
    "ah_in1k": ("timm, AugMix and heavier augmentation", _CROP_95),
}
# Of the authors' Caffe networks, as timm keeps them: a file, the start of its SHA-256, top-1 error.
_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"
_LEGACY = {
    "legacy_seresnet50": ("v0.1-cadene/se_resnet50", "ce0d4300", 22.35),
    "legacy_seresnext50_32x4d": ("v0.1-weights/legacy_se_resnext50_32x4d", "f3651bad", 20.92),
    "legacy_seresnext101_32x4d": ("v0.1-weights/legacy_se_resnext101_32x4d", "37725eac", 19.73),
}


def _timm(name, tag, top1_error, *, image_size=224, **more):
    origin, preprocessing = _TIMM[tag]
    if image_size != 224:
        preprocessing = Preprocessing(image_size, int(image_size / 0.95), "bicubic")
    options: dict[str, Any] = {"epsilon": 1e-5}
    if name.startswith(("resnext", "wide")):
        options["shortcut"] = "B"
    return publishers.hub(
        name,
        tag,
        licence="Apache-2.0",
        origin=origin,
        options=options,
        preprocessing=preprocessing,
        published=Published(
            top1_error, None, f"single crop, {image_size}", "timm's results-imagenet.csv"
        ),
        **more,
    )


def _legacy(name):
    file, sha256, top1_error = _LEGACY[name]
    return WeightsEntry(
        model=name,
        tag="authors_in1k",
        layout="torch",
        address=f"{_RELEASES}/{file}-{sha256}.pth",
        checksum=f"sha256:{sha256}",
        licence="Apache-2.0",
        dataset="imagenet2012",
        origin="the authors' released Caffe network, as ported by timm",
        options={"epsilon": 1e-5},
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        published=Published(top1_error, None, "single crop, 224", "timm's results-imagenet.csv"),
    )


_HALF = (127.5, 127.5, 127.5)
WEIGHTS = (
    _torchvision("resnext50_32x4d", "tv_in1k", "7cdf4587", 22.38),
    _torchvision("resnext50_32x4d", "tv2_in1k", "1a0047aa", 18.80),
    _torchvision("resnext101_32x8d", "tv_in1k", "8ba56ff5", 20.69),
    _torchvision("resnext101_32x8d", "tv2_in1k", "110c445d", 17.17),
    _torchvision("resnext101_64x4d", "tv2_in1k", "173b62eb", 16.75),
    _torchvision("wide_resnet50_2", "tv_in1k", "95faca4d", 21.53),
    _torchvision("wide_resnet50_2", "tv2_in1k", "9ba9bcbe", 18.40),
    _torchvision("wide_resnet101_2", "tv_in1k", "32ee1156", 21.15),
    _torchvision("wide_resnet101_2", "tv2_in1k", "d733dc28", 17.49),
    _timm("resnext50_32x4d", "gluon_in1k", 20.65),
    _timm("resnext50_32x4d", "a1_in1k", 19.47),
    _timm("resnext101_32x4d", "gluon_in1k", 19.66),
    _timm("wide_resnet50_2", "racm_in1k", 18.53),
    _timm("resnet50c", "gluon_in1k", 21.98),
    _timm("resnet18d", "ra2_in1k", 27.70),
    _timm("resnet34d", "ra2_in1k", 22.89),
    _timm("resnet50d", "gluon_in1k", 20.92),
    _timm("resnet50d", "ra2_in1k", 19.45),
    _timm("resnet50d", "a1_in1k", 19.27),
    _timm("resnet50d", "a2_in1k", 19.73),
    _timm("resnet50d", "ra4_e3600_r224_in1k", 19.04, mean=_HALF, std=_HALF),
    _timm("resnet101d", "gluon_in1k", 19.53),
    _timm("resnet101d", "ra2_in1k", 17.75, image_size=256),
    _timm("resnet152d", "gluon_in1k", 19.52),
    _timm("resnet152d", "ra2_in1k", 16.84, image_size=256),
    _timm("seresnet50", "ra2_in1k", 19.74),
    _timm("seresnet50", "a1_in1k", 19.99),
    _timm("seresnet50", "a2_in1k", 19.90),
    _timm("seresnext50_32x4d", "gluon_in1k", 20.08),
    _timm("seresnext50_32x4d", "racm_in1k", 18.73),
    _timm("seresnext101_32x4d", "gluon_in1k", 19.11),
    _timm("seresnext101_64x4d", "gluon_in1k", 19.12),
    _timm("seresnext101_32x8d", "ah_in1k", 16.38),
    *map(_legacy, _LEGACY),
)

# "imagenet" stands for the plainest recipe that there is: torchvision V1's, then GluonCV's.
_BEST = ("tv_in1k", "gluon_in1k", "tv2_in1k", "ra2_in1k", "authors_in1k", "ah_in1k")
DEFAULTS = {
    (row.name, "imagenet"): min(tags, key=_BEST.index)
    for row in ROWS
    if (tags := [e.tag for e in WEIGHTS if e.model == row.name and e.tag in _BEST])
}
