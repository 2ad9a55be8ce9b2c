"""What is known of a file of weights by its name, its hash, and what lies beside it."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.facts import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS
from resnet_keras.files import digest

from .. import entries
from ..entry import HUB_FILE, MAX_SIDE, Preprocessing, WeightsEntry
from ..network import Network
from . import layouts

# Why a preprocessing is a guess; goes on after a file's name.
UNSAID = "does not say how images were shown to it"

TIMM_CONFIG = "config.json"
_TIMM_FILES = (HUB_FILE, "pytorch_model.bin")
# torchvision's own files, whose weights timm's repositories have as well. The last part of a name
# is the start of the file's SHA-256.
_TORCHVISION = {
    "resnet18-f37072fd": ("resnet18", "tv_in1k"),
    "resnet34-b627a593": ("resnet34", "tv_in1k"),
    "resnet50-0676ba61": ("resnet50", "tv_in1k"),
    "resnet101-63fe2227": ("resnet101", "tv_in1k"),
    "resnet152-394f9c45": ("resnet152", "tv_in1k"),
    "resnet50-11ad3fa6": ("resnet50", "tv2_in1k"),
    "resnet101-cd907fc2": ("resnet101", "tv2_in1k"),
    "resnet152-f82ba261": ("resnet152", "tv2_in1k"),
}


class TimmConfig(NamedTuple):
    """What timm's config.json says of images; `assumed` as in `weights.WeightsFile`."""

    preprocessing: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] | None
    assumed: str


def registered(path: Path, layout: str, network: Network) -> WeightsEntry | None:
    """The registered entry that a file is of by its name or by the hash of its content.

    A file of this package's own layout goes by its hash only: it says of itself what it is, and
    its name is its user's.
    """
    candidates = [e for e in entries.of_model(network.name) if e.layout == layout]
    if layout != layouts.OWN:
        for entry in candidates:
            if _names(path) & _names_of(entry):
                return entry
    return _by_hash(path, candidates)


def _names(path):
    """Names that may tell what a file is: its own without the ending, or its hub repository's."""
    if path.name not in _TIMM_FILES:
        return {path.stem.removesuffix("_notop")}
    folders = [path.parent.name]
    if path.parent.parent.name == "snapshots":  # of the hub's cache: models--OWNER--NAME
        folders.append(path.parents[2].name.split("--")[-1])
    return set(folders)


def _names_of(entry):
    names = {Path(entry.file_name).stem, f"{entry.model}.{entry.tag}"}
    return names | {name for name, key in _TORCHVISION.items() if key == (entry.model, entry.tag)}


def _by_hash(path, candidates):
    """The entry whose SHA-256 or MD5, or the part of it that is known, is the file's."""
    known: list[tuple[str, str, WeightsEntry]] = []
    for entry in candidates:
        if entry.checksum != "hub":
            kind, digits = entry.checksum.split(":")
            known.append((kind, digits, entry))
        for name, key in _TORCHVISION.items():
            if key == (entry.model, entry.tag):
                known.append(("sha256", name.split("-")[1], entry))
    found = {kind: digest(path, kind) for kind in {kind for kind, _, _ in known}}
    for kind, digits, entry in known:
        if found[kind].startswith(digits):
            return entry
    return None


def timm_config(path: Path, num_classes: Any) -> TimmConfig | None:
    """What timm's config.json beside its model.safetensors says; None where there is none.

    Args:
        path: of the weights.
        num_classes: that their head has.

    Raises:
        InputError: the configuration is timm's and cannot be used.
    """
    place = path.with_name(TIMM_CONFIG)
    if path.name not in _TIMM_FILES or not place.is_file():
        return None
    try:
        config = json.loads(place.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{place}, beside {path.name}, cannot be read ({error!r}): mend it or move it away."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg"), dict):
        return None  # of some other project
    try:
        return _timm_config(config, num_classes)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{place} has a pretrained_cfg that cannot be used ({error!r}): mend it or move it "
            "away."
        ) from error


def _timm_config(config, num_classes):
    shown = config["pretrained_cfg"]
    _, height, width = shown.get("input_size", (3, 224, 224))
    crop_pct = shown.get("crop_pct", 0.875)  # timm's own defaults
    crop_mode = shown.get("crop_mode", "center")
    interpolation = shown.get("interpolation", "bicubic")
    _require(is_whole(height) and height > 0 and is_whole(width) and width > 0, "input_size", shown)
    side = min(height, width)
    least = side / MAX_SIDE
    _require(_number(crop_pct) and 0 < least <= crop_pct <= 1, "crop_pct", shown)
    mean = _colours(shown, "mean", IMAGENET_MEAN)
    std = _colours(shown, "std", IMAGENET_STD)
    unknown = [
        *([f"input_size {height} x {width}"] if height != width else []),
        *([f"crop_mode {crop_mode!r}"] if crop_mode not in _CROP_MODES else []),
        *([f"interpolation {interpolation!r}"] if interpolation not in INTERPOLATIONS else []),
    ]
    return TimmConfig(
        preprocessing=Preprocessing(
            side,
            math.floor(side / crop_pct),
            interpolation if interpolation in INTERPOLATIONS else "bicubic",
            crop_mode=_CROP_MODES.get(crop_mode, "centre"),
        ),
        mean=mean,
        std=std,
        class_names=_label_names(config, num_classes),
        assumed=(
            f"has {' and '.join(unknown)} in its {TIMM_CONFIG}, which cannot be had here"
            if unknown
            else ""
        ),
    )


_CROP_MODES = {"center": "centre", "squash": "stretch"}


def _label_names(config, num_classes):
    """timm writes them on the first level for networks of its users."""
    names = config.get("label_names", config["pretrained_cfg"].get("label_names"))
    if not isinstance(names, list) or len(names) != num_classes:
        return None
    return tuple(map(str, names))


def _colours(shown, key, default):
    """Units of 0 to 1 in timm's, of 0 to 255 here."""
    if key not in shown:
        return default
    values = shown[key]
    least = 0.0 if key == "mean" else 1e-6
    _require(len(values) == 3 and all(_number(v) and least <= v <= 1 for v in values), key, shown)
    return tuple(round(255.0 * value, 6) for value in values)


def _require(condition, key, shown):
    if not condition:
        raise ValueError(f"{key} {shown[key]!r}")


def is_whole(value: Any) -> bool:
    """Whether it is an int; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
