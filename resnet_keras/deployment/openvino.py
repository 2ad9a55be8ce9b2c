"""OpenVINO's files, for Intel's processors and graphics."""

import os
from pathlib import Path

from resnet_keras.errors import InputError, require
from resnet_keras.files import unwritable

from .formats import FLOAT16, NONE
from .tracing import Traced


def write(traced: Traced, path: Path, quantize: str = NONE) -> None:
    """Converts a model.

    Args:
        traced: the model.
        path: of the file .xml; the weights are beside it, in a .bin.
        quantize: "float16" stores weights so; what is computed is the runtime's choice.

    Raises:
        InputError: OpenVINO has no operation for something in the model, or the files cannot be
            written.
    """
    openvino = require("openvino", "openvino")
    try:
        model = openvino.convert_model(traced.module.serve)
    except Exception as error:  # of classes that OpenVINO does not name
        raise InputError(f"OpenVINO cannot take this network: {_reason(error)}.") from error
    model.inputs[0].get_tensor().set_names({traced.spec.name})
    for port, name in zip(model.outputs, traced.outputs, strict=True):
        port.get_tensor().set_names({name})
    try:
        openvino.save_model(model, os.fspath(path), compress_to_fp16=quantize == FLOAT16)
    except (OSError, RuntimeError) as error:
        raise unwritable(path, OSError(_reason(error))) from error


def _reason(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
