"""torchvision's and detectron2's detectors by name, and their public weights; plain data.

What their publishers say of them: addresses, figures and licences are as their sources have them,
and no address could be reached while this was written.
"""

from typing import NamedTuple

from resnet_keras.facts import CAFFE_STD, COCO_CLASSES, IMAGENET_MEAN, IMAGENET_STD
from resnet_keras.zoo import WeightsEntry

EPSILON = 1e-5  # of torch's batch normalization
COCO = "coco"
_V1, _V2 = "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"
_MASKS_V1, _MASKS_V2 = "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"


class Detector(NamedTuple):
    """A detector of another project.

    Attributes:
        preset, neck, box_head, rpn_convolutions: arguments of `FasterRCNN`.
        network: of the backbone, in the zoo.
        class_names: of the labels of its public weights.
        frozen: whether the backbone's batch normalization is constant, as soon as it has weights.
        parameters: that its publisher counts, without frozen batch normalization; of torchvision's
            with the background's deltas and mask, 4 * 1025 and 257, which nothing looks at and
            `FasterRCNN` and `MaskRCNN` have not. None where it gives no number.
        entry: its public weights.
        box_ap: of these, in percent on COCO val2017, its publisher's own figure. None was measured
            with this package.
        mask_ap: the same of masks, of a `MaskRCNN`; None for a `FasterRCNN`.
    """

    frozen: bool
    parameters: int | None
    entry: WeightsEntry
    box_ap: float
    mask_ap: float | None = None
    box_head: str = "two_mlp"
    rpn_convolutions: int = 1
    network: str = "resnet50"
    neck: str = "fpn"
    preset: str = "torchvision"
    class_names: tuple[str, ...] = COCO_CLASSES


_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/"


def _detectron2(network, neck, address, box_ap):
    """A row of detectron2's MODEL_ZOO.md, whose file names end with their MD5's first digits."""
    entry = WeightsEntry(
        model=f"fasterrcnn_{network}_{neck}_detectron2",
        tag=COCO,
        layout="detectron2",
        address=f"{_DETECTRON2}{address}",
        checksum=f"md5:{address.removesuffix('.pkl').rpartition('_')[2]}",
        licence="CC-BY-SA-3.0",
        dataset=COCO,
        origin="detectron2, 3x schedule on COCO train2017",
        options={"epsilon": EPSILON},
        mean=IMAGENET_MEAN,
        std=CAFFE_STD,
        notes="A pickle, which is not read: see `detectron2` for the lines that make a file of it "
        "that is. Its MD5 begins so; its SHA-256 is not known.",
    )
    return Detector(
        frozen=True,
        parameters=None,
        entry=entry,
        box_ap=box_ap,
        network=network,
        neck=neck,
        preset="detectron2",
        class_names=tuple(name for name in COCO_CLASSES if name != "N/A"),
    )


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
        "0.28 has them. The licence is torchvision's own.",
    )


DETECTORS = {
    _V1: Detector(
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
    _MASKS_V1: Detector(
        frozen=True,
        parameters=44_401_393,
        entry=_coco(_MASKS_V1, "bf2d0c1e", "torchvision, a recipe like that of the paper", 0.0),
        box_ap=37.9,
        mask_ap=34.6,
    ),
    _MASKS_V2: Detector(
        box_head="convolutions",
        rpn_convolutions=2,
        frozen=False,
        parameters=46_359_409,
        entry=_coco(_MASKS_V2, "73cbd019", "torchvision, arXiv 2111.11429's recipe", EPSILON),
        box_ap=47.4,
        mask_ap=41.8,
    ),
    **{
        detector.entry.model: detector
        for detector in (
            _detectron2(
                "resnet50",
                "c4",
                "faster_rcnn_R_50_C4_3x/137849393/model_final_f97cb7.pkl",
                38.4,
            ),
            _detectron2(
                "resnet50",
                "fpn",
                "faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl",
                40.2,
            ),
            _detectron2(
                "resnet101",
                "c4",
                "faster_rcnn_R_101_C4_3x/138204752/model_final_298dad.pkl",
                41.1,
            ),
            _detectron2(
                "resnet101",
                "fpn",
                "faster_rcnn_R_101_FPN_3x/137851257/model_final_f6e8b1.pkl",
                42.0,
            ),
        )
    },
}
