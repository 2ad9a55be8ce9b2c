"""LiteRT files, for phones, small boards and microcontrollers. TensorFlow's converter.

Only LiteRT's built-in operations are used, none of Flex.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically

from .calibration import batches
from .formats import DYNAMIC, FLOAT16, INT8, NONE
from .tracing import Traced


def write(
    traced: Traced, path: Path, quantize: str = NONE, calibration: np.ndarray | None = None
) -> None:
    """Converts a model.

    Args:
        traced: for a fixed number of images of one size.
        path: of the file.
        quantize: "float16" stores weights so; "dynamic" stores them as int8 and quantizes what
            the layers take as it comes; "int8" computes all of it in int8, from uint8 pixels.
        calibration: of int8: uint8 images of the model's size.

    Raises:
        InputError: LiteRT has no operation for something in the model, finds no weights to
            quantize, or the file cannot be written.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.concrete], traced.module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize != NONE:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if quantize == INT8:
        size = traced.spec.shape[0]
        converter.representative_dataset = lambda: ([b] for b in batches(calibration, size))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    try:
        content = converter.convert()
    except Exception as error:  # of classes that TensorFlow does not name publicly
        raise InputError(f"LiteRT has no built-in {reason(error, quantize)}.") from error
    if quantize == DYNAMIC:
        _check_quantized(content)
    write_atomically(path, content)
    if quantize == INT8:
        _check_pixels(content)


def _check_quantized(content):
    """Makes sure that there are int8 weights: LiteRT leaves those of small layers as they are."""
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(model_content=content).get_tensor_details()
    if not any(tensor["dtype"] == np.int8 for tensor in tensors):
        raise InputError(
            "LiteRT quantizes no weights of this network, whose layers are too small for it: take "
            "quantize=none or quantize=float16."
        )


def _check_pixels(content):
    """Makes sure that a camera's pixels are the file's own: 0 is 0 and 255 is 255."""
    from ai_edge_litert.interpreter import Interpreter

    (details,) = Interpreter(model_content=content).get_input_details()
    scale, zero_point = details["quantization"]
    if details["dtype"] != np.uint8 or (scale, zero_point) != (1.0, 0):
        raise InputError(
            f"The file would take {np.dtype(details['dtype'])} pixels of scale {scale:g} and zero "
            f"point {zero_point}, and not uint8 ones as they are: take other calibration images."
        )


def reason(error: Exception, quantize: str = NONE) -> str:
    """What the converter says is missing, as the end of a sentence."""
    lines = str(error).splitlines()
    named = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    told = " ".join(named) or next(iter(lines), type(error).__name__)
    kind = "int8 operations" if quantize == INT8 else "operations"
    kind = "dynamic operations" if quantize == DYNAMIC else kind
    return f"{kind} for this network: {told.strip().rstrip('.')}"
