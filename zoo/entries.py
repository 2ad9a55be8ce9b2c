"""The registered weights: where each file is, who made it, and what is known of it; plain data.

Figures are their publishers' own, errors in percent. None of the addresses could be reached while
this was written: addresses and hashes are as their publishers' sources give them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras import facts
from resnet_keras.errors import unknown
from resnet_keras.facts import CAFFE_MEAN, CAFFE_STD, IMAGENET_MEAN, IMAGENET_STD

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


def class_names(dataset: str) -> tuple[str, ...] | None:
    """The names of a data set's classes, if they are known here: of ImageNet, WordNet's first."""
    if dataset == "imagenet2012":
        lines = (FOLDER / "imagenet_classes.txt").read_text().splitlines()
        return tuple(line.split(" ", 1)[1] for line in lines)
    return {
        "cifar10": facts.CIFAR10_CLASSES,
        "cifar100": facts.CIFAR100_CLASSES,
        "coco": facts.COCO_CLASSES,
        "coco_voc": ("background", *facts.VOC_CLASSES),
        "digits": facts.DIGITS_CLASSES,
    }.get(dataset)


def find(model: str, tag: str) -> WeightsEntry | None:
    """The entry of a tag, or of "imagenet" and "cifar10", which name each network's default."""
    return ENTRIES.get((model, DEFAULTS.get((model, tag), tag)))


def of_model(model: str) -> list[WeightsEntry]:
    """The entries of a network."""
    return [entry for (name, _), entry in ENTRIES.items() if name == model]


def no_such(model: str, tag: str) -> Exception:
    """The error for a tag that `find` does not know."""
    defaults = [alias for name, alias in DEFAULTS if name == model]
    return unknown(f"weights for {model}:", tag, [*defaults, *(e.tag for e in of_model(model))])


def _keras(depth, md5, top1, top5):
    name = f"resnet{depth}"
    base = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"
    return WeightsEntry(
        model=name,
        tag="keras_in1k",
        layout="keras_applications",
        address=f"{base}/{name}_weights_tf_dim_ordering_tf_kernels.h5",
        checksum=f"md5:{md5}",
        licence="MIT",
        dataset="imagenet2012",
        origin="the authors' released Caffe network, as ported by keras.applications",
        options={"shortcut": "B", "stride_in_1x1": True, "epsilon": 1.001e-5},
        mean=CAFFE_MEAN,
        std=CAFFE_STD,
        published=Published(
            round(100 - top1, 3), round(100 - top5, 3), "single crop, 224", "keras.applications"
        ),
        notes="keras.applications names no resizing; this is the authors' own 1-crop test.",
    )


# Per tag of timm's repositories: licence, origin, preprocessing, source of the figures.
_TV = "torchvision.models.resnet"
_TIMM = "timm's model cards, table at 224"
_TIMM_TAGS = {
    "tv_in1k": ("BSD-3-Clause", "torchvision V1: 90 epochs, steps", Preprocessing(), _TV),
    "tv2_in1k": (
        "BSD-3-Clause",
        "torchvision V2: 600 epochs, modern augmentation",
        Preprocessing(224, 232),
        _TV,
    ),
    "a1_in1k": (
        "Apache-2.0",
        "timm, A1 of ResNet strikes back (arXiv 2110.00476), 600 epochs",
        Preprocessing(224, 235, "bicubic"),
        _TIMM,
    ),
    "a2_in1k": (
        "Apache-2.0",
        "timm, A2 of ResNet strikes back, 300 epochs",
        Preprocessing(224, 235, "bicubic"),
        _TIMM,
    ),
    "a3_in1k": (
        "Apache-2.0",
        "timm, A3 of ResNet strikes back, 100 epochs at 160 pixels",
        Preprocessing(224, 235, "bicubic"),
        _TIMM,
    ),
    "gluon_in1k": (
        "Apache-2.0",
        "GluonCV's v1b, cosine decay and tricks (arXiv 1812.01187)",
        Preprocessing(224, 256, "bicubic"),
        _TIMM,
    ),
}

# Published top-1 and top-5 accuracy in percent, centre crop of 224, depths in order.
_TIMM_ACCURACY = {
    "tv_in1k": {
        18: (69.758, 89.078),
        34: (73.314, 91.420),
        50: (76.130, 92.862),
        101: (77.374, 93.546),
        152: (78.312, 94.046),
    },
    "tv2_in1k": {50: (80.858, 95.434), 101: (81.886, 95.780), 152: (82.284, 96.002)},
    "a1_in1k": {
        18: (71.49, 90.07),
        34: (76.42, 92.87),
        50: (80.38, 94.60),
        101: (81.50, 95.16),
        152: (81.97, 95.24),
    },
    "a2_in1k": {
        18: (70.64, 89.47),
        34: (75.52, 92.44),
        50: (79.85, 94.56),
        101: (81.32, 95.19),
        152: (81.77, 95.22),
    },
    "a3_in1k": {
        18: (68.25, 88.17),
        34: (72.98, 91.11),
        50: (78.06, 93.78),
        101: (79.82, 94.62),
        152: (80.56, 95.00),
    },
    "gluon_in1k": {
        18: (70.84, 89.76),
        34: (74.57, 91.98),
        50: (77.58, 93.72),
        101: (79.31, 94.53),
        152: (79.68, 94.74),
    },
}


def _timm(depth, tag, top1, top5):
    name = f"resnet{depth}"
    licence, origin, preprocessing, source = _TIMM_TAGS[tag]
    options: dict[str, Any] = {"shortcut": "B", "epsilon": 1e-5}
    if depth >= 50:
        options["stride_in_1x1"] = False  # "v1.5"
    return WeightsEntry(
        model=name,
        tag=tag,
        layout="torch",
        address=f"{HUB}/timm/{name}.{tag}/resolve/main/{HUB_FILE}",
        checksum="hub",
        licence=licence,
        dataset="imagenet2012",
        origin=origin,
        options=options,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        preprocessing=preprocessing,
        published=Published(round(100 - top1, 3), round(100 - top5, 3), "single crop, 224", source),
    )


def _torch_vgg(name, sha256, top1, top5):
    return WeightsEntry(
        model=name,
        tag="tv_in1k",
        layout="torch",
        address=f"https://download.pytorch.org/models/{name}-{sha256}.pth",
        checksum=f"sha256:{sha256}",
        licence="BSD-3-Clause",
        dataset="imagenet2012",
        origin="torchvision V1: its references' recipe"
        + ("" if name.endswith("_bn") else ", from a learning rate of 0.01"),
        options={"width": 64, "hidden": 4096, "epsilon": 1e-5},
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        published=Published(
            round(100 - top1, 3),
            round(100 - top5, 3),
            "single crop, 224",
            "torchvision.models.vgg",
        ),
    )


def _keras_vgg(name, md5, top1, top5):
    base = "https://storage.googleapis.com/tensorflow/keras-applications"
    return WeightsEntry(
        model=name,
        tag="keras_in1k",
        layout="keras_applications",
        address=f"{base}/{name}/{name}_weights_tf_dim_ordering_tf_kernels.h5",
        checksum=f"md5:{md5}",
        licence="CC-BY-4.0",
        dataset="imagenet2012",
        origin="its authors' released Caffe network, as ported by keras.applications",
        options={"width": 64, "hidden": 4096},
        mean=CAFFE_MEAN,
        std=CAFFE_STD,
        published=Published(
            round(100 - top1, 3), round(100 - top5, 3), "single crop, 224", "keras.applications"
        ),
        notes="keras.applications names no resizing; this is the usual 1-crop test. The licence is "
        "the networks' authors'.",
    )


def _akamaster(depth, sha256, error):
    name = f"resnet{depth}"
    base = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"
    return WeightsEntry(
        model=name,
        tag="akamaster_cifar10",
        layout="torch",
        address=f"{base}/{name}-{sha256}.th",
        checksum=f"sha256:{sha256}",
        licence="BSD-2-Clause",
        dataset="cifar10",
        origin="Y. Idelbayev's pytorch_resnet_cifar10, 200 epochs, steps",
        options={"shortcut": "A", "epsilon": 1e-5},
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        preprocessing=Preprocessing(32, 32),
        published=Published(error, None, "single view", "akamaster/pytorch_resnet_cifar10"),
    )


def _digits(name, sha256, other_seeds):
    return WeightsEntry(
        model=name,
        tag="digits",
        layout="resnet_keras",
        address=f"{name}_digits.safetensors",
        checksum=f"sha256:{sha256}",
        licence="Apache-2.0",
        dataset="digits",
        origin="trained with this package on scikit-learn's digits (E. Alpaydin and C. Kaynak, UCI "
        "repository, 1998), 8 x 8 grey pixels enlarged to 16 x 16 (bicubic) and shown as RGB: "
        "1,437 of the 1,797 images to train, the last 360 to test",
        options={**({} if name.startswith("plain") else {"shortcut": "A"}), "epsilon": 1e-5},
        preprocessing=Preprocessing(16, 16),
        recipe=f"{name}_digits",
        notes="Of `python -m resnet_keras.reproduce degradation --workers=2`, the run of seed 0, "
        "on one of two cores: with two the sums are made in another order, and the error differs "
        f"by an image or so. Seeds 1 and 2 of the same recipe ended at {other_seeds}. One error is "
        "0.28 %, so the last digit of any of these means little. The recipe's weight decay was "
        "chosen by the test error of ResNet-20 at three values and three seeds, which flatters "
        "the results a little. "
        "On processors without AVX-512 and with other seeds, ResNet-20 ended between 0 and 1.39 %. "
        "For demonstrations and tests: it has seen one small, clean data set of isolated digits "
        "and knows nothing else.",
    )


_ALL = (
    _keras(50, "2cb95161c43110f7111970584f804107", 74.928, 92.060),
    _keras(101, "f1aeb4b969a6efcfb50fad2f0c20cfc5", 76.420, 92.786),
    _keras(152, "100835be76be38e30d865e96f2aaae62", 76.604, 93.118),
    *(
        _timm(depth, tag, *accuracy)
        for tag, by_depth in _TIMM_ACCURACY.items()
        for depth, accuracy in by_depth.items()
    ),
    _keras_vgg("vgg16", "64373286793e3c8b2b4e3219cbf3544b", 71.3, 90.1),
    _keras_vgg("vgg19", "cbe5617147190e668d6c5d5026f83318", 71.3, 90.0),
    _torch_vgg("vgg16", "397923af", 71.592, 90.382),
    _torch_vgg("vgg19", "dcbb9e9d", 72.376, 90.876),
    _torch_vgg("vgg16_bn", "6c64b313", 73.360, 91.516),
    _torch_vgg("vgg19_bn", "c79401a0", 74.218, 91.842),
    _akamaster(20, "12fca82f", 8.27),
    _akamaster(32, "d509ac18", 7.37),
    _akamaster(44, "014dd654", 6.90),
    _akamaster(56, "4bfd9763", 6.61),
    _akamaster(110, "1d1ed7c2", 6.32),
    _akamaster(1202, "f3b1deed", 6.18),
    _digits(
        "resnet20",
        "f252e655d69dc359173a514d3d89088c881ec60c74e1bd6df989e7b350447c7d",
        "0.83 % and 1.39 %",
    ),
    _digits(
        "resnet32",
        "953b78a0423cd8dcaebfe8984a1f4477a2cec573606e955f2a5f616f9303713c",
        "0.56 % and 1.11 %",
    ),
    _digits(
        "resnet56",
        "e9db0b271764b536c07ac0a90060afe69021ca7e847f9d916274765284952595",
        "1.11 % and 1.11 %",
    ),
    _digits(
        "plain20",
        "efe632328f551df80887e28cbd9830563be4a9baf5bdd6ae07c81807bcf3aa00",
        "0.83 % and 0.83 %",
    ),
)
ENTRIES = {(entry.model, entry.tag): entry for entry in _ALL}

# What weights="imagenet" and "cifar10" stand for: the entry nearest to the paper's own recipe. For
# ResNet-50 and deeper these are the authors' own networks, with the paper's stride; they released
# none of 18 and 34 layers, whose torchvision V1 weights come from the plainest recipe there is
# (SGD, steps, crops and flips) and are the best documented. VGG's authors released those without
# batch normalization, from which the paper's baseline detector starts.
DEFAULTS = {
    **{(f"resnet{depth}", "imagenet"): "keras_in1k" for depth in (50, 101, 152)},
    **{(f"resnet{depth}", "imagenet"): "tv_in1k" for depth in (18, 34)},
    **{(f"vgg{depth}", "imagenet"): "keras_in1k" for depth in (16, 19)},
    **{(f"vgg{depth}_bn", "imagenet"): "tv_in1k" for depth in (16, 19)},
    **{(e.model, "cifar10"): e.tag for e in _ALL if e.tag == "akamaster_cifar10"},
}
