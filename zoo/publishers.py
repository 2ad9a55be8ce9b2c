"""What registered files of one publisher have in common: address, checksum, layout, normalization.

All are of networks for ImageNet. A family's file adds what differs. Plain data, no Keras.
"""

from typing import Any

from resnet_keras.facts import IMAGENET_MEAN, IMAGENET_STD

from .entry import HUB, HUB_FILE, Published, WeightsEntry

_TORCHVISION = "https://download.pytorch.org/models"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_IMAGENET: dict[str, Any] = {
    "dataset": "imagenet2012",
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
}


def torchvision(model: str, tag: str, sha256: str, **differing: Any) -> WeightsEntry:
    """A file of torchvision's, whose name ends with the start of its hash.

    Args:
        model, tag: of the entry.
        sha256: as many digits as the file's name has.
        **differing: fields of `WeightsEntry`.
    """
    return WeightsEntry(
        model=model,
        tag=tag,
        layout="torch",
        address=f"{_TORCHVISION}/{model}-{sha256}.pth",
        checksum=f"sha256:{sha256}",
        licence="BSD-3-Clause",
        **{**_IMAGENET, **differing},
    )


def hub(model: str, tag: str, repository: str | None = None, **differing: Any) -> WeightsEntry:
    """The safetensors of a repository on the Hugging Face hub, by default timm's of this name."""
    return WeightsEntry(
        model=model,
        tag=tag,
        layout="torch",
        address=f"{HUB}/{repository or f'timm/{model}.{tag}'}/resolve/main/{HUB_FILE}",
        checksum="hub",
        **{**_IMAGENET, **differing},
    )


def keras_applications(model: str, folder: str, md5: str, **differing: Any) -> WeightsEntry:
    """A file of keras.applications', in the folder of the network's kind."""
    return WeightsEntry(
        model=model,
        tag="keras_in1k",
        layout="keras_applications",
        address=f"{_KERAS}/{folder}/{model}_weights_tf_dim_ordering_tf_kernels.h5",
        checksum=f"md5:{md5}",
        **{**_IMAGENET, **differing},
    )


def errors(top1: float, top5: float | None, source: str, size: int = 224) -> Published:
    """The errors of published accuracies in percent, of one central crop of `size` pixels."""
    return Published(
        round(100 - top1, 3),
        None if top5 is None else round(100 - top5, 3),
        f"single crop, {size}",
        source,
    )
