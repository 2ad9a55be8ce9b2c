"""ONNX files, for onnxruntime and whatever else reads them. tf2onnx and onnxruntime."""

import contextlib
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError, require
from resnet_keras.files import write_atomically

from .calibration import batches
from .formats import FLOAT16, INT8, NONE
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
        quantize: "float16" stores weights so, and computes in float32; "int8" quantizes weights and
            activations, as pairs of QuantizeLinear and DequantizeLinear, and takes uint8 pixels.
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
        if quantize == INT8:
            model = _static(model, path, calibration, traced, reduce_range)
            _take_uint8(model, traced.spec.name)
            _number_tensors(model)
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
    # tf2onnx leaves what it does not know as it is.
    has = require("onnx", "onnx").defs.has
    unknown = {n.op_type for n in model.graph.node if not has(n.op_type, n.domain)}
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


def _static(model, path, images, traced, reduce_range):
    quantization = require("onnxruntime.quantization", "onnx")
    size = traced.spec.shape[0] or CALIBRATED_AT_ONCE

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = batches(images, size)

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {traced.spec.name: batch}

    with _written(path) as aside:
        try:
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
        except OSError:  # a full disk
            raise
        except Exception as error:  # onnxruntime's own have nothing narrower in common
            raise InputError(
                f"onnxruntime cannot quantize this network: {_reason(error)}."
            ) from error
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
    """Lets a quantized model take uint8 pixels as they are.

    The networks' first operations, which normalize pixels, stay in float32.

    Raises:
        InputError: the quantizer rounds the pixels themselves.
    """
    onnx = require("onnx", "onnx")
    graph = model.graph
    readers = [node for node in graph.node if name in node.input]
    if any(node.op_type == "QuantizeLinear" for node in readers):
        raise InputError(
            "onnxruntime would quantize the pixels themselves, which are uint8 already: this "
            "network does not begin with its normalization."
        )
    as_float = f"{name}_float"
    for node in readers:
        for place, given in enumerate(node.input):
            if given == name:
                node.input[place] = as_float
    cast = onnx.helper.make_node("Cast", [name], [as_float], to=onnx.TensorProto.FLOAT)
    graph.node.insert(0, cast)
    (pixels,) = [given for given in graph.input if given.name == name]
    pixels.type.tensor_type.elem_type = onnx.TensorProto.UINT8


def _number_tensors(model):
    """Gives tensors numbers for names, which were a sixth of ResNet-20's file.

    Inputs, outputs and the layers' nodes keep theirs.
    """
    graph = model.graph
    numbers = {port.name: port.name for port in (*graph.input, *graph.output)}
    numbers[""] = ""  # an input that is left out

    def number(name):
        return numbers.setdefault(name, str(len(numbers)))

    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        node.input[:] = [number(name) for name in node.input]
        node.output[:] = [number(name) for name in node.output]
    for tensor in (*graph.initializer, *graph.value_info):
        tensor.name = number(tensor.name)


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
