"""Exported models run by their own runtimes, without TensorFlow but for SavedModel.

run = open_runtime(exported.read("resnet20_onnx"))
logits = run(images)
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from resnet_keras.errors import InputError, require, unknown

from .exported import CLASSIFICATION, Exported


class Runtime:
    """A model that is ready to run; one class for each runtime, see `open_runtime`."""

    def __init__(self, exported: Exported, threads: int | None = None, dtype: str = "float32"):
        self.exported = exported
        self.dtype = dtype
        self._open(threads)

    def __call__(self, images: np.ndarray, *, pad: bool = False) -> Any:
        """Runs the model.

        Args:
            images: (n, height, width, 3) RGB pixels in 0 to 255, uint8 or float. Where the model
                takes uint8, floats must be whole numbers. Of a network for series, numbers (n,
                length, channels).
            pad: whether, of a model that takes a fixed number of images at once, a last batch that
                is not full is filled with copies of the last image, whose answers are left out.

        Returns:
            float32 logits (n, classes); of a detector {"boxes", "scores", "labels", "count"}.

        Raises:
            InputError: the images are not such as the model takes.
        """
        images = self._checked(np.asarray(images))
        size = self.exported.batch_size or len(images) or 1
        missing = -len(images) % size
        if missing and not pad:
            raise InputError(
                f"{self.exported.path} takes {size} images at once, and {len(images)} are no "
                "multiple of it: give as many, or pad=True, or export it with a free batch."
            )
        full = np.concatenate([images, *[images[-1:]] * missing]) if missing else images
        batches = [full[start : start + size] for start in range(0, len(full), size)]
        answers = [self._run(np.ascontiguousarray(batch)) for batch in batches]
        outputs = [np.concatenate(parts)[: len(images)] for parts in zip(*answers, strict=True)]
        if self.exported.task == CLASSIFICATION:
            return outputs[0].astype("float32", copy=False)
        return dict(zip((out.name for out in self.exported.outputs), outputs, strict=True))

    def _checked(self, images):
        path, wanted = self.exported.path, self.exported.input
        sides = zip(images.shape[1:], wanted.shape[1:], strict=False)
        fits = images.ndim == len(wanted.shape)
        kind = "series" if self.exported.takes_series else "images"
        if not fits or not all(side in (given, None) for given, side in sides):
            shape = tuple("any" if side is None else side for side in wanted.shape[1:])
            raise InputError(
                f"{path} takes {kind} (n, {', '.join(map(str, shape))}), not {images.shape}."
            )
        if not len(images):
            raise InputError(f"There are no {kind} for {path}: the batch is empty.")
        if wanted.dtype != "uint8" or images.dtype == np.uint8:
            return images.astype(wanted.dtype, copy=False)
        pixels = np.clip(np.rint(images), 0, 255)
        if not np.array_equal(pixels, images):
            raise InputError(f"{path} takes uint8 pixels: round them to whole numbers in 0 to 255.")
        return pixels.astype("uint8")

    def _open(self, threads: int | None) -> None:
        raise NotImplementedError

    def _run(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """The outputs for one batch, in the order of `exported.outputs`."""
        raise NotImplementedError


class LiteRT(Runtime):
    """`ai_edge_litert`'s interpreter."""

    def _open(self, threads):
        litert = require("ai_edge_litert.interpreter", "litert")
        path = str(self.exported.path)
        self._interpreter = litert.Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._runner = self._interpreter.get_signature_runner()

    def _run(self, images):
        outputs = self._runner(**{self.exported.input.name: images})
        return [np.array(outputs[out.name]) for out in self.exported.outputs]


class ONNX(Runtime):
    """`onnxruntime` on the CPU."""

    def _open(self, threads):
        onnxruntime = require("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(
            str(self.exported.path), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, images):
        names = [out.name for out in self.exported.outputs]
        return self._session.run(names, {self.exported.input.name: images})


class OpenVINO(Runtime):
    """`openvino` on the CPU; in float32 as the others, if it is not told otherwise."""

    def _open(self, threads):
        openvino = require("openvino", "openvino")
        # By itself it computes in bfloat16 on processors that have it.
        options = {"INFERENCE_PRECISION_HINT": PRECISIONS[self.dtype]}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self._compiled = openvino.Core().compile_model(str(self.exported.path), "CPU", options)

    def _run(self, images):
        outputs = self._compiled({self.exported.input.name: images})
        return [np.array(outputs[out.name]) for out in self.exported.outputs]


class SavedModel(Runtime):
    """TensorFlow; its number of threads is the process's own."""

    def _open(self, threads):
        import tensorflow as tf

        if threads is not None:
            message = "threads has no effect on a SavedModel: they are TensorFlow's own."
            warnings.warn(message, stacklevel=2)
        self._model = tf.saved_model.load(str(self.exported.path))
        self._function = self._model.signatures["serving_default"]

    def _run(self, images):
        import tensorflow as tf

        outputs = self._function(**{self.exported.input.name: tf.constant(images)})
        return [outputs[out.name].numpy() for out in self.exported.outputs]


# What OpenVINO calls the precisions that it computes in.
PRECISIONS = {"float32": "f32", "mixed_bfloat16": "bf16", "mixed_float16": "f16"}
RUNTIMES = {"litert": LiteRT, "onnx": ONNX, "openvino": OpenVINO, "savedmodel": SavedModel}


def open_runtime(
    exported: Exported, *, threads: int | None = None, dtype: str = "float32"
) -> Runtime:
    """Loads an exported model into its own runtime.

    Args:
        exported: of `exported.read`.
        threads: that it may use; the runtime's own choice without.
        dtype: one of `PRECISIONS`, in which OpenVINO computes what the file has in float32; the
            others compute as the file says, and take "float32" only.

    Returns:
        A function from images to logits or boxes, see `Runtime`.

    Raises:
        MissingExtraError: the runtime is not installed.
        InputError: the runtime cannot load the model.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be positive, not {threads}.")
    if dtype not in PRECISIONS:
        raise unknown("dtype", dtype, PRECISIONS)
    if dtype != "float32" and exported.format != "openvino":
        raise InputError(
            f"{exported.path} computes in the precision that it was written in: dtype={dtype} is "
            "for OpenVINO's files."
        )
    try:
        return RUNTIMES[exported.format](exported, threads, dtype)
    except InputError:
        raise
    except Exception as error:  # of classes that the runtimes do not share
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{exported.path} cannot be loaded by its runtime ({reason[0]}): export again."
        ) from error
