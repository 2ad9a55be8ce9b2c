"""Every error and mAP that the paper gives for its networks, and what it counts; plain data.

He, Zhang, Ren and Sun, arXiv 1512.03385. Left out are the APs of single classes (Tables 10 and 11)
and other people's networks. Errors and mAP in percent; None stands for what the paper does not
give. Values that can only be read off a figure say "about".
"""

from typing import NamedTuple

TEN_CROP = "ten_crop"
MULTI_SCALE = "multi_scale"
SINGLE_VIEW = "single view"  # of data sets in memory, whose images are what the network takes
OPTIONS = ("A", "B", "C")  # of shortcuts (Sec. 4.1)

# Table 1: multiply-adds of one image of 224x224. Plain-34 is given in Fig. 3.
MULTIPLY_ADDS = {18: "1.8e9", 34: "3.6e9", 50: "3.8e9", 101: "7.6e9", 152: "11.3e9"}
VGG_MULTIPLY_ADDS = {16: "15.3e9", 19: "19.6e9"}  # Sec. 4.1
# Table 6: parameters. Plain networks have as many, for option A adds none (Sec. 4.2).
PARAMETERS = {20: "0.27M", 32: "0.46M", 44: "0.66M", 56: "0.85M", 110: "1.7M", 1202: "19.4M"}


class Errors(NamedTuple):
    """Errors of a network in percent.

    Attributes:
        network, shortcut: in this package's words; None for a plain network.
        protocol: one of the constants above.
        top1, top5: as the paper prints them.
        place: where the paper gives them.
        note: what it says besides.
    """

    network: str
    shortcut: str | None
    protocol: str
    top1: str
    top5: str | None
    place: str
    note: str | None = None

    @property
    def told(self) -> str:
        """The top-1 error and the note."""
        return self.top1 + (f" ({self.note})" if self.note else "")


IMAGENET = (
    Errors("vgg16", None, TEN_CROP, "28.07", "9.33", "Table 3", "the authors' test"),
    Errors("plain18", None, TEN_CROP, "27.94", None, "Table 2"),
    Errors("plain34", None, TEN_CROP, "28.54", "10.02", "Tables 2, 3"),
    Errors("resnet18", "A", TEN_CROP, "27.88", None, "Table 2"),
    Errors("resnet34", "A", TEN_CROP, "25.03", "7.76", "Tables 2, 3"),
    Errors("resnet34", "B", TEN_CROP, "24.52", "7.46", "Table 3"),
    Errors("resnet34", "C", TEN_CROP, "24.19", "7.40", "Table 3"),
    Errors("resnet50", "B", TEN_CROP, "22.85", "6.71", "Table 3"),
    Errors("resnet101", "B", TEN_CROP, "21.75", "6.05", "Table 3"),
    Errors("resnet152", "B", TEN_CROP, "21.43", "5.71", "Table 3"),
    Errors("resnet34", "B", MULTI_SCALE, "21.84", "5.71", "Table 4"),
    Errors("resnet34", "C", MULTI_SCALE, "21.53", "5.60", "Table 4"),
    Errors("resnet50", "B", MULTI_SCALE, "20.74", "5.25", "Table 4"),
    Errors("resnet101", "B", MULTI_SCALE, "19.87", "4.60", "Table 4"),
    Errors("resnet152", "B", MULTI_SCALE, "19.38", "4.49", "Table 4"),
)
# Table 5: top-5 error on the test server, of six networks of different depth, two of 152 layers.
ENSEMBLE_TOP5 = "3.57"

CIFAR10 = (
    Errors("plain20", None, SINGLE_VIEW, "about 9", None, "Fig. 6"),
    Errors("plain56", None, SINGLE_VIEW, "about 13", None, "Fig. 6"),
    Errors("plain110", None, SINGLE_VIEW, "above 60", None, "Fig. 6"),
    Errors("resnet20", "A", SINGLE_VIEW, "8.75", None, "Table 6"),
    Errors("resnet32", "A", SINGLE_VIEW, "7.51", None, "Table 6"),
    Errors("resnet44", "A", SINGLE_VIEW, "7.17", None, "Table 6"),
    Errors("resnet56", "A", SINGLE_VIEW, "6.97", None, "Table 6"),
    Errors("resnet110", "A", SINGLE_VIEW, "6.43", None, "Table 6", "best of 5; 6.61 +- 0.16"),
    Errors("resnet1202", "A", SINGLE_VIEW, "7.93", None, "Table 6"),
)


class Detection(NamedTuple):
    """Average precisions of a detector in percent.

    Attributes:
        network, system: in the paper's words.
        trained, tested: data sets; "07++12" has the test images of 2007, too.
        ap50: mAP at an IoU of .5, of VOC by its own metric, as the paper prints it.
        ap: mAP over IoUs of .5 to .95, of COCO.
        place: where the paper gives them.
        recipe: of this package, for this row.
    """

    network: str
    system: str
    trained: str
    tested: str
    ap50: str
    ap: str | None
    place: str
    recipe: str | None = None


_VGG, _RESNET = "VGG-16", "ResNet-101"
_COCO = "COCO train"
DETECTION = (
    Detection(
        *(_VGG, "baseline", "VOC 07+12", "VOC 07 test", "73.2", None, "Tables 7, 10"),
        "fasterrcnn_vgg16_voc0712",
    ),
    Detection(
        *(_RESNET, "baseline", "VOC 07+12", "VOC 07 test", "76.4", None, "Tables 7, 10"),
        "fasterrcnn_resnet101_voc0712",
    ),
    Detection(
        *(_RESNET, "baseline+++", "COCO, VOC 07+12", "VOC 07 test", "85.6", None, "Table 10"),
    ),
    Detection(_VGG, "baseline", "VOC 07++12", "VOC 12 test", "70.4", None, "Tables 7, 11"),
    Detection(_RESNET, "baseline", "VOC 07++12", "VOC 12 test", "73.8", None, "Tables 7, 11"),
    Detection(
        *(_RESNET, "baseline+++", "COCO, VOC 07++12", "VOC 12 test", "83.8", None, "Table 11"),
    ),
    Detection(
        *(_VGG, "baseline", _COCO, "COCO val", "41.5", "21.2", "Tables 8, 9"),
        "fasterrcnn_vgg16_coco",
    ),
    Detection(
        *(_RESNET, "baseline", _COCO, "COCO val", "48.4", "27.2", "Tables 8, 9"),
        "fasterrcnn_resnet101_coco",
    ),
    Detection(_RESNET, "+ box refinement", _COCO, "COCO val", "49.9", "29.9", "Table 9"),
    Detection(_RESNET, "+ context", _COCO, "COCO val", "51.1", "30.0", "Table 9"),
    Detection(_RESNET, "+ multi-scale testing", _COCO, "COCO val", "53.8", "32.5", "Table 9"),
    Detection(
        *(_RESNET, "+ context", "COCO trainval", "COCO test-dev", "53.3", "32.2", "Table 9"),
    ),
    Detection(
        *(_RESNET, "+ multi-scale testing", "COCO trainval", "COCO test-dev"),
        *("55.7", "34.9", "Table 9"),
    ),
    Detection(
        *("ensemble of 3", "all of these", "COCO trainval", "COCO test-dev"),
        *("59.0", "37.4", "Table 9"),
    ),
)


class Localization(NamedTuple):
    """Localization errors on ImageNet in percent.

    Attributes:
        method, network: in the paper's words.
        testing: "1-crop" or "dense".
        true_class: error where the class is told, validation set.
        top5: error of the five predicted classes, validation set.
        top5_test: likewise, test server.
        place: where the paper gives them.
        recipe: of this package, for this row.
    """

    method: str
    network: str
    testing: str
    true_class: str | None
    top5: str | None
    top5_test: str | None
    place: str
    recipe: str | None = None


_LOCALIZER = "localization_resnet101_imagenet"
LOCALIZATION = (
    Localization("VGG's", _VGG, "1-crop", "33.1", None, None, "Table 13"),
    Localization("RPN", _RESNET, "1-crop", "13.3", None, None, "Table 13", _LOCALIZER),
    Localization("RPN", _RESNET, "dense", "11.7", "14.4", None, "Table 13", _LOCALIZER),
    Localization("RPN + R-CNN", _RESNET, "dense", None, "10.6", None, "Table 13"),
    Localization("RPN + R-CNN", "ensemble", "dense", None, "8.9", "9.0", "Tables 13, 14"),
)

# Title, columns, rows; None for what is not given.
PlainTable = tuple[str, tuple[str, ...], tuple[tuple[str | None, ...], ...]]

# What the paper gives besides classification.
TABLES: tuple[PlainTable, ...] = (
    (
        "Text and captions",
        ("what", "value", "place"),
        (
            ("ResNet-1202, training error on CIFAR-10", "below 0.1", "Sec. 4.2"),
            ("ResNet-110 warms up until the training error is below", "80", "Sec. 4.2"),
            ("which takes so many iterations", "about 400", "Sec. 4.2"),
            (
                "COCO, ResNet-101 over VGG-16, mAP@[.5, .95]",
                "+6.0 points, 28 % relative",
                "Sec. 4.3",
            ),
            ("responses of layers", "curves without numbers", "Fig. 7"),
        ),
    ),
    (
        "Object detection, mAP@.5 (Table 12: ImageNet DET)",
        ("network", "val2", "test"),
        (("ResNet-101", "60.5", "58.8"), ("ensemble of 3", "63.6", "62.1")),
    ),
)

# What others, and the authors' release, give for the paper's networks.
REFERENCES: PlainTable = (
    "Networks released by the authors and in fb.resnet.torch",
    ("network", "the authors, 1-crop: top-1 / top-5", "fb.resnet.torch, 1-crop: top-1", "10-crop"),
    (
        ("ResNet-18", None, "30.43", "28.22"),
        ("ResNet-34", None, "26.73", "24.76"),
        ("ResNet-50", "24.7 / 7.8", "24.01", "22.24"),
        ("ResNet-101", "23.6 / 7.1", "22.44", "21.08"),
        ("ResNet-152", "23.0 / 6.7", "22.16", "20.69"),
    ),
)


def errors(network: str, shortcut: str | None, protocol: str) -> Errors | None:
    """Returns the paper's errors of a network by a protocol, if it gives any."""
    wanted = (network, shortcut, protocol)
    return next((found for found in (*IMAGENET, *CIFAR10) if found[:3] == wanted), None)
