"""ONNX files, for onnxruntime and whatever else reads them. tf2onnx and onnxruntime."""

import contextlib
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError, require
from resnet_keras.files import write_atomically

from .formats import DYNAMIC, FLOAT16, INT8, NONE
from .tracing import Traced

OPSET = 15
CALIBRATED_AT_ONCE = 50


def write(
    traced: Traced,
    path: Path,
    quantize: str = NONE,
    calibration: np.ndarray | None = None,
    *,
    reduce_range: bool = True,
) -> None:
    """Converts a model.

    Args:
        traced: the model.
        path: of the file.
        quantize: "float16" stores weights so, and computes in float32; "dynamic" stores them as
            int8 and quantizes what the layers take as it comes; "int8" quantizes both, from uint8
            pixels, as pairs of QuantizeLinear and DequantizeLinear.
        calibration: of int8: uint8 images of the model's size.
        reduce_range: of int8: 7 bits for the weights. Processors without VNNI add products of 8
            bits in 16 and saturate.

    Raises:
        InputError: ONNX has no operation for something in the model, or the file cannot be
            written.
    """
    with _quiet():
        model = _converted(traced)
        if quantize == FLOAT16:
            _store_as_float16(model)
        if quantize == DYNAMIC:
            model = _dynamic(model, path)
        if quantize == INT8:
            model = _static(model, path, calibration, traced, reduce_range)
            _take_uint8(model, traced.spec.name)
    try:
        content = model.SerializeToString()
    except ValueError as error:  # protobuf's limit
        raise InputError(f"A file of ONNX holds 2 GB at most: {error}.") from error
    write_atomically(path, content)


def _converted(traced):
    tf2onnx = require("tf2onnx", "onnx")
    try:
        with tf.device("CPU"):
            model, _ = tf2onnx.convert.from_function(
                traced.module.serve, input_signature=[traced.spec], opset=OPSET
            )
    except Exception as error:  # of classes that tf2onnx does not name publicly
        raise InputError(f"ONNX cannot take this network: {_reason(error)}.") from error
    unknown = {node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    if unknown:
        raise InputError(f"ONNX has no operations {', '.join(sorted(unknown))} of this network.")
    return model


def _store_as_float16(model):
    """Weights as float16, each cast to float32 once, when a session is opened."""
    onnx = require("onnx", "onnx")
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.data_type != onnx.TensorProto.FLOAT or values.size < 2:
            continue
        half = values.astype("float16")
        if not np.isfinite(half).all():
            raise InputError(f"{tensor.name} has values that float16 cannot hold: take another.")
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_float16"))
        casts.append(
            onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _dynamic(model, path):
    quantization = require("onnxruntime.quantization", "onnx")
    with _written(path) as aside:
        quantization.quantize_dynamic(
            model, aside, weight_type=quantization.QuantType.QUInt8, per_channel=True
        )
        return require("onnx", "onnx").load(aside)


def _static(model, path, images, traced, reduce_range):
    quantization = require("onnxruntime.quantization", "onnx")
    size = traced.spec.shape[0] or CALIBRATED_AT_ONCE
    starts = range(0, len(images) - (traced.spec.shape[0] or 1) + 1, size)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = (images[start : start + size].astype("float32") for start in starts)

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {traced.spec.name: batch}

    with _written(path) as aside:
        quantization.quantize_static(
            model,
            aside,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return require("onnx", "onnx").load(aside)


@contextlib.contextmanager
def _written(path):
    """A name beside the file for what the quantizers write, which give no model back."""
    aside = path.with_name(f".{path.name}.whole")
    try:
        yield str(aside)
    finally:
        aside.unlink(missing_ok=True)


def _take_uint8(model, name):
    """Lets a quantized model take uint8 pixels, without the node that makes them of floats.

    Raises:
        InputError: they would not be the pixels as they are.
    """
    onnx = require("onnx", "onnx")
    graph = model.graph
    readers = [node for node in graph.node if name in node.input]
    quantizers = [node for node in readers if node.op_type == "QuantizeLinear"]
    if not quantizers or len(quantizers) != len(readers):
        raise InputError("onnxruntime left the pixels unquantized: take another format.")
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in quantizers:
        scale, zero = (onnx.numpy_helper.to_array(constants[n]).item() for n in node.input[1:3])
        if (scale, zero) != (1.0, 0):
            raise InputError(
                f"The file would take pixels of scale {scale:g} and zero point {zero}, and not "
                "uint8 ones as they are: take other calibration images."
            )
        for other in graph.node:
            for place, given in enumerate(other.input):
                if given == node.output[0]:
                    other.input[place] = name
        graph.node.remove(node)
    (pixels,) = [given for given in graph.input if given.name == name]
    pixels.type.tensor_type.elem_type = onnx.TensorProto.UINT8


@contextlib.contextmanager
def _quiet():
    """Without the advice that tf2onnx and onnxruntime log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _reason(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
