"""What is known of registered weights: where a file is, who made it, how images are shown to it.

Figures are their publishers' own, errors in percent.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras import facts

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
HUB = "https://huggingface.co"
HUB_FILE = "model.safetensors"

MAX_SIDE = 4096  # pixels; no network was ever trained on more
CROP_MODES = ("centre", "stretch")


class Preprocessing(NamedTuple):
    """How images are shown to a network: resized, then the centre cropped.

    The defaults are the paper's 1-crop test, 224 of 256.

    Attributes:
        image_size: side of the crop in pixels.
        resize: what is resized to so many pixels, at least `image_size`: the shorter side where
            `crop_mode` is "centre", both sides where it is "stretch".
        interpolation: "bilinear" or "bicubic".
        crop_mode: "centre" keeps the proportions of an image, "stretch" makes a square of it.
        antialias: whether an image that shrinks is smoothed, as Pillow and torchvision do it.
    """

    image_size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    crop_mode: str = "centre"
    antialias: bool = True

    @classmethod
    def stretched(cls, image_size: int, interpolation: str = "bilinear") -> "Preprocessing":
        """What `keras.utils.image_dataset_from_directory(image_size=...)` shows, as it is called.

        It stretches images to a square, without antialiasing. (With `crop_to_aspect_ratio` or
        `pad_to_aspect_ratio` it does not.) Here pixels are rounded to whole numbers afterwards,
        which that loader does not do; bicubic ones are kept within 0 to 255. JPEGs are decoded
        exactly, and there by a faster transform, which may be off by some levels before the image
        is resized; and that loader does not heed orientation tags.

        Args:
            image_size: the loader's, in pixels; both sides alike.
            interpolation: the loader's, "bilinear" or "bicubic".
        """
        return cls(image_size, image_size, interpolation, crop_mode="stretch", antialias=False)

    @property
    def heeds_exif(self) -> bool:
        """Whether images of one's own are turned as EXIF says; Keras's loader leaves them."""
        return self.crop_mode != "stretch" or self.antialias

    @property
    def crop_fraction(self) -> float:
        return self.image_size / self.resize

    def at(self, image_size: int) -> "Preprocessing":
        """The same for crops of another size: what is resized before in proportion."""
        side = round(image_size * self.resize / self.image_size)
        return self._replace(image_size=image_size, resize=side)

    def __str__(self) -> str:
        way = self.interpolation + ("" if self.antialias else ", not antialiased")
        crop = f", centre crop {self.image_size} ({self.crop_fraction:.3f} of it)"
        if self.crop_mode == "centre":
            return f"shorter side {self.resize} ({way}){crop}"
        cropped = crop if self.image_size < self.resize else ""
        return f"stretched to {self.resize} x {self.resize} ({way}){cropped}"


class Published(NamedTuple):
    """Errors in percent, as their publisher gives them."""

    top1_error: float
    top5_error: float | None
    protocol: str
    source: str


class WeightsEntry(NamedTuple):
    """A registered set of weights.

    Attributes:
        model, tag: what `zoo.get(model, weights=tag)` asks for.
        layout: whose names and shapes the file has, see `layouts`.
        address: where it is: an address, or a name below zoo/files.
        checksum: "sha256:" or "md5:" and digits, or the first of them where the publisher gives no
            more; "hub" stands for the SHA-256 that the hub gives with the file.
        licence: of the weights, an SPDX name.
        dataset: that they were trained on.
        origin: who trained them and how, in a few words.
        options: arguments of `zoo.get` that belong to the weights.
        mean, std: the normalization, RGB in units of 0 to 255; None where the file has it.
        preprocessing: of their published or measured accuracy.
        published: the publisher's figures.
        recipe: of this package, if they were trained here.
        notes: what a user should know besides.
    """

    model: str
    tag: str
    layout: str
    address: str
    checksum: str
    licence: str
    dataset: str
    origin: str
    options: Mapping[str, Any] = {}
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocessing: Preprocessing = Preprocessing()
    published: Published | None = None
    recipe: str | None = None
    notes: str = ""

    @property
    def packaged(self) -> bool:
        """Whether the file comes with the package."""
        return "://" not in self.address

    @property
    def pickled(self) -> bool:
        """Whether the file is a pickle of PyTorch's."""
        return self.address.endswith((".th", ".pth"))

    @property
    def hub(self) -> str | None:
        """The repository on the Hugging Face hub, if the file is there."""
        if not self.address.startswith(HUB):
            return None
        return self.address.removeprefix(f"{HUB}/").split("/resolve/")[0]

    @property
    def file_name(self) -> str:
        """What the file is called in a cache folder and in `weights_dir`."""
        return f"{self.model}.{self.tag}.safetensors" if self.hub else self.address.split("/")[-1]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return class_names(self.dataset)

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The rows of results.json that measure these weights; empty means not measured."""
        rows = json.loads(RESULTS.read_text())
        return [r for r in rows if (r["model"], r["weights"]) == (self.model, self.tag)]


def imagenet_name(identifier: str) -> str:
    """The name of a class that a folder has by WordNet's identifier; any other text as it is."""
    return _imagenet_names().get(identifier, identifier)


@functools.cache
def _imagenet_names():
    lines = (FOLDER / "imagenet_classes.txt").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def class_names(dataset: str) -> tuple[str, ...] | None:
    """The names of a data set's classes, if they are known here: of ImageNet, WordNet's first."""
    if dataset == "imagenet2012":
        return tuple(_imagenet_names().values())
    return {
        "cifar10": facts.CIFAR10_CLASSES,
        "cifar100": facts.CIFAR100_CLASSES,
        "coco": facts.COCO_CLASSES,
        "coco_voc": ("background", *facts.VOC_CLASSES),
        "digits": facts.DIGITS_CLASSES,
        "digits_series": facts.DIGITS_CLASSES,
        "fashion_mnist": facts.FASHION_MNIST_CLASSES,
        "mnist": facts.DIGITS_CLASSES,
        "svhn_cropped": facts.DIGITS_CLASSES,
    }.get(dataset)
