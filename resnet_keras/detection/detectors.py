"""torchvision's detectors by name: what they are made of, and their public weights; plain data."""

from typing import NamedTuple

from resnet_keras.facts import IMAGENET_MEAN, IMAGENET_STD
from resnet_keras.zoo import WeightsEntry

EPSILON = 1e-5  # of torch's batch normalization
COCO = "coco"
_V1, _V2 = "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"


class Detector(NamedTuple):
    """A detector of torchvision's.

    Attributes:
        box_head, rpn_convolutions: arguments of `FasterRCNN`.
        frozen: whether the backbone's batch normalization is constant, as soon as it has weights.
        parameters: that its publisher counts: without frozen batch normalization, and with the
            background's deltas, 4 * 1025, which nothing looks at and `FasterRCNN` has not.
        entry: its public weights.
        box_ap: of these, in percent on COCO val2017, its publisher's own figure. None was measured
            with this package.
    """

    box_head: str
    rpn_convolutions: int
    frozen: bool
    parameters: int
    entry: WeightsEntry
    box_ap: float


def _coco(model, sha256, origin, epsilon):
    name = f"{model}_coco-{sha256}.pth"
    return WeightsEntry(
        model=model,
        tag=COCO,
        layout="torchvision",
        address=f"https://download.pytorch.org/models/{name}",
        checksum=f"sha256:{sha256}",
        licence="BSD-3-Clause",
        dataset=COCO,
        origin=origin,
        options={"epsilon": epsilon},
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        notes="The address, which begins the file's SHA-256, and the figures are as torchvision "
        "0.28 has them; the address could not be reached while this was written. The licence is "
        "torchvision's own.",
    )


DETECTORS = {
    _V1: Detector(
        box_head="two_mlp",
        rpn_convolutions=1,
        frozen=True,
        parameters=41_755_286,
        # Its frozen batch normalization had no epsilon when it was trained.
        entry=_coco(_V1, "258fb6c6", "torchvision, a recipe like that of the paper", 0.0),
        box_ap=37.0,
    ),
    _V2: Detector(
        box_head="convolutions",
        rpn_convolutions=2,
        frozen=False,
        parameters=43_712_278,
        entry=_coco(_V2, "dd69338a", "torchvision, arXiv 2111.11429's recipe", EPSILON),
        box_ap=46.7,
    ),
}
