"""VGG networks: their names, and their public weights."""

from resnet_keras.facts import CAFFE_MEAN, CAFFE_STD

from .. import paper, publishers
from ..network import INNER, MAXOUT, Family, Network

_VGG = Family(
    "resnet_keras.networks.vgg:vgg",
    files="resnet_keras.zoo.weights.vggs",
    head=("conv5", "fc7"),
    residual=False,
    lacks={
        INNER: "it has no blocks whose outputs would stay; width makes all of it narrower",
        MAXOUT: "its head is of two hidden layers, and not of pooled features",
    },
)


def _vgg(depth, batch_norm=False):
    return Network(
        name=f"vgg{depth}{'_bn' if batch_norm else ''}",
        family=_VGG,
        arguments={"depth": depth, "batch_norm": batch_norm},
        options={"width": 64, "hidden": 4096},
        dataset="imagenet",
        paper_multiply_adds=None if batch_norm else paper.VGG_MULTIPLY_ADDS[depth],
    )


ROWS = tuple(_vgg(depth, batch_norm) for depth in (16, 19) for batch_norm in (False, True))
PATTERNS = ()


def _torch_vgg(name, sha256, top1, top5):
    return publishers.torchvision(
        name,
        "tv_in1k",
        sha256,
        origin="torchvision V1: its references' recipe"
        + ("" if name.endswith("_bn") else ", from a learning rate of 0.01"),
        options={"width": 64, "hidden": 4096, "epsilon": 1e-5},
        published=publishers.errors(top1, top5, "torchvision.models.vgg"),
    )


def _keras_vgg(name, md5, top1, top5):
    return publishers.keras_applications(
        name,
        name,
        md5,
        licence="CC-BY-4.0",
        origin="its authors' released Caffe network, as ported by keras.applications",
        options={"width": 64, "hidden": 4096},
        mean=CAFFE_MEAN,
        std=CAFFE_STD,
        published=publishers.errors(top1, top5, "keras.applications"),
        notes="keras.applications names no resizing; this is the usual 1-crop test. The licence is "
        "the networks' authors'.",
    )


WEIGHTS = (
    _keras_vgg("vgg16", "64373286793e3c8b2b4e3219cbf3544b", 71.3, 90.1),
    _keras_vgg("vgg19", "cbe5617147190e668d6c5d5026f83318", 71.3, 90.0),
    _torch_vgg("vgg16", "397923af", 71.592, 90.382),
    _torch_vgg("vgg19", "dcbb9e9d", 72.376, 90.876),
    _torch_vgg("vgg16_bn", "6c64b313", 73.360, 91.516),
    _torch_vgg("vgg19_bn", "c79401a0", 74.218, 91.842),
)

# Its authors released the networks without batch normalization, from which the paper's baseline
# detector starts.
DEFAULTS = {
    **{(f"vgg{depth}", "imagenet"): "keras_in1k" for depth in (16, 19)},
    **{(f"vgg{depth}_bn", "imagenet"): "tv_in1k" for depth in (16, 19)},
}
