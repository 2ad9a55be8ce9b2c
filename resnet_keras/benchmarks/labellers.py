"""One contestant of the benchmark from files to labels, in a process of its own.

`files` starts `python -m resnet_keras.benchmarks.labellers SPEC`, with a `Spec` as JSON; see
`contestants`. Only `resnet_keras` itself makes the settings of `tuning`.
"""

import functools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras import deployment, tuning, zoo
from resnet_keras.commands import shell
from resnet_keras.deployment import engines
from resnet_keras.errors import require

from . import clocks, contestants
from .clocks import Timing, timed
from .peers import IN_KERAS_APPLICATIONS, KERAS_APPLICATIONS

MAKER = "maker"  # writes files and exported models for the others
PICTURES = 64  # different ones among the files
TOP = 5
Label = Callable[[list[str]], Any]  # all of some files


class Spec(NamedTuple):
    """What a contestant is to do; most fields are the arguments of `files.compare`.

    `contestant` is an engine, ours or, without `ours`, alone; or `MAKER`, who writes for the
    engines of `wanted`; `exported` is the folder that was written for this one.
    """

    contestant: str
    ours: bool
    model: str
    folder: str
    files: int
    batch_size: int
    image_size: int
    dtype: str
    wanted: Sequence[str] = ()
    exported: str | None = None

    @property
    def weights(self) -> str:
        return os.path.join(self.folder, "weights.safetensors")

    @property
    def preprocessing(self) -> zoo.Preprocessing:
        return zoo.Preprocessing().at(self.image_size)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Answers to lines on stdin until it ends."""
    spec = Spec(**json.loads(argv[1]))
    make = _written if spec.contestant == MAKER else _contestant
    return contestants.serve(functools.partial(make, spec))


def _written(spec: Spec) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The exported folder of each engine, beside weights and JPEGs."""
    shell.start_tensorflow()
    import keras

    from .input import make_files

    images = Path(spec.folder, "images")
    images.mkdir()
    pictures = make_files(images, min(PICTURES, spec.files))
    for number in range(len(pictures), spec.files):
        shutil.copyfile(pictures[number % len(pictures)], images / f"{number:05}.jpg")
    keras.utils.set_random_seed(0)
    shape = (spec.image_size, spec.image_size, 3)
    model = zoo.get(spec.model, input_shape=shape)
    zoo.weights.save(spec.weights, model, preprocessing=spec.preprocessing)
    network, file = zoo.weights.find(spec.model, spec.weights)
    options = {"image_size": spec.image_size, "folder": Path(spec.folder, "engines")}
    folders = {
        engine: str(engines.keep(network, file, engine, **options).folder) for engine in spec.wanted
    }
    return lambda: None, {"folders": folders}


def _contestant(spec: Spec) -> tuple[Callable[[], Timing], dict[str, Any]]:
    """A function that makes a round, and facts. The first call labels as little as it may."""
    paths = sorted(map(str, Path(spec.folder, "images").iterdir()))
    if spec.ours:
        tuning.tune_cpu()
        label = _predict(spec)
    else:
        os.environ[tuning.SWITCH] = "0"
        label = _loop(spec) if spec.contestant == KERAS_APPLICATIONS else _alone(spec)
    label(paths[: spec.batch_size])
    first = {"wall": clocks.age(), "cpu": time.process_time()}
    # The first, uncounted round is of a whole batch and of the rest of one, which Keras compiles.
    few = paths[: spec.batch_size + len(paths) % spec.batch_size]
    rounds = iter([few])
    return lambda: timed(lambda: label(next(rounds, paths))), {"first_answer": first}


def _predict(spec) -> Label:
    """What `predict` does."""
    network, file = zoo.weights.find(spec.model, spec.weights)
    size, dtype = spec.image_size, {"dtype": spec.dtype}
    options = {"image_size": size, "folder": Path(spec.folder, "engines")}
    if spec.contestant == engines.KERAS:
        shell.start_tensorflow()
        model = zoo.build(network, file, input_shape=(size, size, 3), **dtype)
    else:
        if engines.is_kept(network, file, spec.contestant, **options):
            shell.start_without_tensorflow()
        else:
            shell.start_tensorflow()
        model = engines.open_engine(network, file, spec.contestant, **options, **dtype)
    shown = {"preprocessing": spec.preprocessing, "batch_size": spec.batch_size, "top": TOP}
    return lambda paths: list(zoo.prediction.of_files(model, paths, **shown))


def _loop(spec) -> Label:
    """As the documentation of keras.applications has it, in batches."""
    shell.start_keras()
    import keras
    import numpy as np

    keras.config.set_dtype_policy(spec.dtype)
    size = (spec.image_size, spec.image_size)
    build = getattr(keras.applications, IN_KERAS_APPLICATIONS[spec.model])
    model = build(weights=None, input_shape=(*size, 3))

    def label(paths):
        labels = []
        for start in range(0, len(paths), spec.batch_size):
            batch = paths[start : start + spec.batch_size]
            images = [keras.utils.load_img(path, target_size=size) for path in batch]
            pixels = np.stack([keras.utils.img_to_array(image) for image in images])
            shares = model.predict(keras.applications.resnet.preprocess_input(pixels), verbose=0)
            labels += np.argsort(-shares)[:, :TOP].tolist()
        return labels

    return label


def _alone(spec) -> Label:
    """An engine without this package, as fast as it goes: Pillow decodes ahead, on all cores."""
    import numpy as np

    image_module = require("PIL.Image", "benchmark")
    infer, shown = _engine(spec), spec.preprocessing
    pool = ThreadPoolExecutor(tuning.cores())

    def load(path):
        image = image_module.open(path).convert("RGB")
        scale = shown.resize / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        left, top = (width - shown.image_size) // 2, (height - shown.image_size) // 2
        box = (left, top, left + shown.image_size, top + shown.image_size)
        resized = image.resize((width, height), image_module.Resampling.BILINEAR)
        return np.asarray(resized.crop(box), "float32")

    def batches(paths) -> Iterator[np.ndarray]:
        waiting = []
        for start in range(0, len(paths), spec.batch_size):
            waiting.append([pool.submit(load, p) for p in paths[start : start + spec.batch_size]])
            if len(waiting) > 2:
                yield np.stack([job.result() for job in waiting.pop(0)])
        for jobs in waiting:
            yield np.stack([job.result() for job in jobs])

    def label(paths):
        return [np.argsort(-infer(batch))[:, :TOP].tolist() for batch in batches(paths)]

    return label


def _engine(spec):
    """From float32 pixels to logits, by the engine's own API."""
    found = deployment.read(spec.exported)
    if spec.contestant == "openvino":
        openvino = require("openvino", "openvino")
        # Of itself it would choose bfloat16 where the processor has it.
        precision = {"float32": "f32", "mixed_bfloat16": "bf16"}[spec.dtype]
        options = {"INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.Core().compile_model(str(found.path), "CPU", options)
        return lambda pixels: compiled(pixels)[0]
    if spec.contestant == "onnxruntime":
        onnxruntime = require("onnxruntime", "onnx")
        session = onnxruntime.InferenceSession(str(found.path), providers=["CPUExecutionProvider"])
        return lambda pixels: session.run(None, {found.input.name: pixels})[0]
    return deployment.Classifier(found, threads=tuning.cores()).predict_on_batch  # LiteRT


if __name__ == "__main__":
    sys.exit(main())
