"""Which formats there are, what each can be quantized to, and what it needs. Data."""

import importlib.metadata
from typing import NamedTuple

from resnet_keras.errors import InputError, check_installed, unknown

NONE, FLOAT16, DYNAMIC, INT8 = "none", "float16", "dynamic", "int8"
QUANTIZATIONS = (NONE, FLOAT16, DYNAMIC, INT8)


class Format(NamedTuple):
    """What a model can be exported to.

    Attributes:
        title: what its makers call it.
        quantizations: that it can have.
        others: why it has no others, as the end of a sentence.
        packages: that write and run it.
        extra: that brings them; None where the package's own dependencies do.
        free: whether the number and the size of images may be free.
    """

    title: str
    quantizations: tuple[str, ...]
    others: str = ""
    packages: tuple[str, ...] = ()
    extra: str | None = None
    free: bool = True


FORMATS = {
    "savedmodel": Format(
        "SavedModel", (NONE,), "is TensorFlow's own network in float32: take format=litert"
    ),
    "litert": Format("LiteRT", QUANTIZATIONS, "", ("ai_edge_litert",), "litert", free=False),
    "onnx": Format(
        "ONNX",
        (NONE, FLOAT16, INT8),
        # ResNet-20: 0.58 ms for an image, 0.22 in float32 (CPU time, one thread, with VNNI).
        "would be computed 2.6 times as slowly as float32 by onnxruntime: take format=litert, or "
        "quantize=int8 for images",
        ("onnx", "onnxruntime", "tf2onnx"),
        "onnx",
    ),
    "openvino": Format(
        "OpenVINO",
        (NONE, FLOAT16),
        "is quantized by a package of its own, nncf, which is not used here: take format=onnx for "
        "images, which OpenVINO reads",
        ("openvino",),
        "openvino",
    ),
}


def check(format: str, quantize: str) -> Format:
    """Returns a format that can be written here, quantized so.

    Raises:
        InputError: there is none of that name, or it has no such quantization.
        MissingExtraError: a package that it needs is not installed.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if quantize not in QUANTIZATIONS:
        raise unknown("quantize:", quantize, QUANTIZATIONS)
    found = FORMATS[format]
    if quantize not in found.quantizations:
        raise InputError(f"There is no quantize={quantize} of {found.title}, which {found.others}.")
    for package in found.packages:
        check_installed(package, found.extra)
    return found


def check_series(quantize: str) -> None:
    """Raises `InputError` for a quantization that a network for series cannot have."""
    if quantize == INT8:
        raise InputError(
            "quantize=int8 makes a file that takes uint8 pixels, and no series: take "
            "quantize=float16 or quantize=dynamic of litert."
        )


def versions(format: str) -> dict[str, str]:
    """The versions of the packages that write a format."""
    names = ("resnet_keras", "keras", "tensorflow", *FORMATS[format].packages)
    distributions = (name.replace("_", "-") for name in names)
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
            found[name] = "not installed"
    return found
