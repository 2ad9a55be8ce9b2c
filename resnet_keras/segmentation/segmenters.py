"""torchvision's segmenters by name: what they are made of, and their public weights; plain data."""

from typing import NamedTuple

from resnet_keras.facts import IMAGENET_MEAN, IMAGENET_STD
from resnet_keras.zoo import WeightsEntry

COCO_VOC = "coco_voc"
HEADS = ("fcn", "deeplabv3")  # what stands on a backbone
OUTPUT_STRIDE = 8


class Segmenter(NamedTuple):
    """A segmenter of torchvision's.

    Attributes:
        network: of the zoo, that is its backbone.
        head: argument of `building.segmenter`.
        parameters: that its publisher counts, with the auxiliary head.
        entry: its public weights.
        mean_iou, pixel_accuracy: of these, in percent on the images of COCO val2017 with VOC's
            classes, its publisher's own figures. None was measured with this package.
    """

    network: str
    head: str
    parameters: int
    entry: WeightsEntry
    mean_iou: float
    pixel_accuracy: float


def _coco_voc(model, sha256):
    return WeightsEntry(
        model=model,
        tag=COCO_VOC,
        layout="torchvision",
        address=f"https://download.pytorch.org/models/{model}_coco-{sha256}.pth",
        checksum=f"sha256:{sha256}",
        licence="BSD-3-Clause",
        dataset=COCO_VOC,
        origin="torchvision, trained on the images of COCO that have classes of VOC's, as these",
        options={"epsilon": 1e-5, "stride_in_1x1": False},
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        notes="The address, which begins the file's SHA-256, and the figures are as torchvision "
        "0.28 has them; the address could not be reached while this was written. The licence is "
        "torchvision's own.",
    )


def _segmenter(head, depth, parameters, sha256, mean_iou, pixel_accuracy):
    name = f"{head}_resnet{depth}"
    entry = _coco_voc(name, sha256)
    return name, Segmenter(f"resnet{depth}", head, parameters, entry, mean_iou, pixel_accuracy)


SEGMENTERS = dict(
    (
        _segmenter("fcn", 50, 35_322_218, "1167a1af", 60.5, 91.4),
        _segmenter("fcn", 101, 54_314_346, "7ecb50ca", 63.7, 91.9),
        _segmenter("deeplabv3", 50, 42_004_074, "cd0a2569", 66.4, 92.4),
        _segmenter("deeplabv3", 101, 60_996_202, "586e9e4e", 67.4, 92.4),
    )
)
