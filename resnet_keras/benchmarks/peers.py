"""One contestant of the network benchmark, in a process of its own that makes rounds when asked.

`networks` starts `python -m resnet_keras.benchmarks.peers SPEC`, with a `Spec` as JSON; see
`contestants`. Only `resnet_keras` itself makes the settings of `tuning`: all others run as their
users run them, on all cores; Keras and torch on a GPU where they find one. The networks of torch
are torchvision's, with the paper's stride, so that all compute the same. ONNX Runtime, OpenVINO and
LiteRT run this package's network, as `exporter` wrote it for them.
"""

import functools
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from resnet_keras import deployment, tuning, zoo
from resnet_keras.commands import shell
from resnet_keras.deployment import engines
from resnet_keras.errors import require

from . import clocks, contestants
from .clocks import Timing, between, now, timed

OURS, UNTUNED = "resnet_keras", "untuned"
KERAS_APPLICATIONS, TORCH, COMPILED = "keras.applications", "torch", "torch compiled"
ONNXRUNTIME, OPENVINO, LITERT = "onnxruntime", "openvino", "litert"
# What runs exported models, and their format.
ENGINES = {name: engines.FORMATS[name] for name in (ONNXRUNTIME, OPENVINO, LITERT)}
# The networks of the paper that each project has too.
IN_KERAS_APPLICATIONS = {"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"}
IN_TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
WHOLE = ("build", "load")  # tasks whose round is one model
MATRIX = 4096  # side of the matrices whose product shows the machine's limit


class Spec(NamedTuple):
    """What a contestant is to do; the fields are the arguments of `networks.compare`.

    `exported` is the folder with the model of one of `ENGINES`, or the contestant itself.
    """

    contestant: str
    task: str
    model: str
    batch_size: int
    image_size: int
    dtype: str
    steps: int
    jit_compile: bool | str = "auto"
    remat: bool = False
    exported: str | None = None


def main(argv: Sequence[str] = sys.argv) -> int:
    """Answers to lines on stdin until it ends."""
    spec = Spec(**json.loads(argv[1]))
    limit = functools.partial(_limit, spec.dtype)
    return contestants.serve(functools.partial(make, spec), {"limit": limit})


def make(spec: Spec) -> tuple[Callable[[], Timing], dict[str, Any]]:
    """Builds a contestant: a function that makes a round, and facts for the record.

    Raises:
        InputError: its packages are not installed, or it has no such network or precision.
    """
    if spec.contestant in (OURS, UNTUNED, KERAS_APPLICATIONS):
        if spec.contestant != OURS:
            os.environ[tuning.SWITCH] = "0"
        settings = tuning.tune_cpu()
        shell.start_keras()
        import keras

        from resnet_keras.backends import device

        facts = {"backend": keras.backend.backend(), "keras": keras.__version__, **settings}
        run, told = _keras_round(spec)
        return run, {**facts, "device": device(), **told}
    if spec.exported is not None:
        return _exported_round(spec)
    torch = require("torch", "torch")
    torch.set_num_threads(tuning.cores())
    if spec.task == "train":
        return _torch_training(spec, torch), _torch_facts(torch)
    predict, size = _torch_predictor(spec, torch, compiled=spec.contestant == COMPILED)
    run, first = _predictions(predict, _torch_batches(spec, torch))
    return run, {**_torch_facts(torch), **first, "bytes": size}


def _predictions(
    predict: Callable[[Any], Any], batches: Sequence[Any]
) -> tuple[Callable[[], Timing], dict[str, Any]]:
    """A function that makes a round, and what it took from the process's start to an answer."""
    predict(batches[0])
    first = {"wall": clocks.age(), "cpu": time.process_time()}
    return lambda: timed(lambda: [predict(batch) for batch in batches]), {"first_answer": first}


def _exported_round(spec) -> tuple[Callable[[], Timing], dict[str, Any]]:
    """The same of an exported model."""
    found = deployment.read(spec.exported)
    model = deployment.Classifier(found, threads=tuning.cores(), dtype=spec.dtype)
    run, first = _predictions(model.predict_on_batch, list(_images(spec).astype("uint8")))
    facts = {"device": "cpu", "bytes": sum(found.sizes.values())}
    return run, {**dict(found.versions), **facts, **first}


def _images(spec):
    """Random pixels, float32 (steps, batch, height, width, 3)."""
    import numpy as np

    shape = (spec.steps, spec.batch_size, spec.image_size, spec.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, "uint8").astype("float32")


# Keras: this package and keras.applications


def _keras_round(spec) -> tuple[Callable[[], Timing], dict[str, Any]]:
    """A function that makes a round, and facts.

    Among them are billions of operations of a step, None where a round is one model.
    """
    import numpy as np

    from resnet_keras.networks.counts import count_multiply_adds

    build = _applications(spec) if spec.contestant == KERAS_APPLICATIONS else _ours(spec)
    if spec.task == "build":
        return lambda: timed(build), {"gflop": None}
    if spec.task == "load":
        return _loading(spec, build), {"gflop": None}
    model = build()
    passes = {"predict": 1, "train": 3}[spec.task]
    gflop = 2e-9 * count_multiply_adds(model) * spec.batch_size * passes
    images = _images(spec).astype("uint8")  # all that crosses to the network
    if spec.task == "predict":
        model.compile(jit_compile=spec.jit_compile)
        run, first = _predictions(model.predict_on_batch, list(images))
        return run, {"gflop": gflop, "bytes": 4 * model.count_params(), **first}
    images = images.reshape(-1, *images.shape[2:])
    labels = np.random.default_rng(1).integers(0, model.output_shape[-1], len(images), "int32")
    return _keras_training(spec, model, images, labels), {"gflop": gflop}


def _ours(spec):
    def build():
        shape = (spec.image_size, spec.image_size, 3)
        network = zoo.get(spec.model, input_shape=shape, dtype=spec.dtype)
        if not spec.remat:
            return network
        from resnet_keras.networks.rematerialize import rematerialize  # not above: it imports Keras

        return rematerialize(network)

    return build


def _applications(spec):
    import keras

    build = getattr(keras.applications, IN_KERAS_APPLICATIONS[spec.model])
    shape = (spec.image_size, spec.image_size, 3)

    def make():
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(spec.dtype)
        try:
            return build(weights=None, input_shape=shape, classifier_activation=None)
        finally:
            keras.config.set_dtype_policy(previous)

    return make


def _loading(spec, build):
    """Builds a model and loads its weights: ours from safetensors, the peer's from .weights.h5."""
    folder = tempfile.TemporaryDirectory()  # removed with the function that holds it
    if spec.contestant == KERAS_APPLICATIONS:
        path = os.path.join(folder.name, "peer.weights.h5")
        build().save_weights(path)
        return lambda folder=folder: timed(lambda: build().load_weights(path))
    path = os.path.join(folder.name, "ours.safetensors")
    zoo.weights.save(path, build())
    return lambda folder=folder: timed(lambda: zoo.get(spec.model, weights=path, dtype=spec.dtype))


def _keras_training(spec, model, images, labels):
    """One `fit` over the images; timed inside it, from the first step's begin to the last's end.

    What `fit` does before and after is left out: it makes and closes a data set, and closing one
    waits for tf.data's tuning thread.
    """
    import keras

    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    if spec.dtype == "mixed_float16":
        # Keras would add it to the peer only, by the policy that a model is made under.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=spec.jit_compile)
    marks: dict[str, Timing] = {}
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: marks.update(begin=now()),
        # Reading the loss waits for the last step on a device that runs behind.
        on_epoch_end=lambda epoch, logs: (float(logs["loss"]), marks.update(end=now())),
    )

    def run():
        model.fit(images, labels, spec.batch_size, shuffle=False, verbose=0, callbacks=[clock])
        return between(marks["begin"], marks["end"])

    return run


# torch


def _torch_training(spec, torch):
    network = _torchvision(spec, torch).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    forward = torch.compile(network) if spec.contestant == COMPILED else network
    batches = _torch_batches(spec, torch)
    labels = torch.randint(0, 1000, (spec.batch_size,), generator=torch.Generator().manual_seed(1))

    def step(images):
        optimizer.zero_grad(set_to_none=True)
        with _autocast(spec, torch):
            logits = forward(_on_device(images, torch))
            loss = torch.nn.functional.cross_entropy(logits, labels.to(logits.device))
        loss.backward()
        optimizer.step()
        return loss

    # Reading the last loss waits for a device that runs behind.
    return lambda: timed(lambda: float([step(batch) for batch in batches][-1].detach()))


def _torch_batches(spec, torch):
    """Pixels in host memory: on CPUs as the network takes them; bytes to be sent to a GPU."""
    images = _images(spec)
    if not torch.cuda.is_available():
        return list(torch.from_numpy(images.transpose(0, 1, 4, 2, 3).copy()))
    bytes_ = torch.from_numpy(images.astype("uint8")).pin_memory()
    return list(bytes_.permute(0, 1, 4, 2, 3))


def _on_device(images, torch):
    """A batch as the network takes it, on the network's device."""
    if not torch.cuda.is_available():
        return images
    return images.to("cuda", non_blocking=True).float()


def _torch_facts(torch):
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"torch": torch.__version__, "device": name}


def _torch_predictor(spec, torch, *, compiled):
    network = _torchvision(spec, torch).eval()
    forward = torch.compile(network) if compiled else network

    def predict(batch):
        with torch.inference_mode(), _autocast(spec, torch):
            return forward(_on_device(batch, torch)).float().cpu().numpy()

    return predict, 4 * sum(value.numel() for value in network.state_dict().values())


def _torchvision(spec, torch):
    """The network of torchvision, with the paper's stride: in a bottleneck's first 1x1."""
    network = getattr(import_torchvision(torch).models, spec.model)(weights=None)
    use_papers_stride(network)
    if torch.cuda.is_available():
        return network.to("cuda", memory_format=torch.channels_last)
    return network


def use_papers_stride(network: Any) -> None:
    """Moves strides of torchvision's bottlenecks to where the paper has them: the first 1x1."""
    for block in network.modules():
        if hasattr(block, "conv3"):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def import_torchvision(torch: Any) -> Any:
    """The package, also of a build without compiled operations.

    Raises:
        InputError: it is not installed.
    """
    operations = torch.library.Library("torchvision", "FRAGMENT")
    try:
        return require("torchvision", None)
    except RuntimeError:
        # A build without compiled operations, of which ResNets need none: it fails to import where
        # it registers fake ones for those that are not declared.
        for name in ("nms", "qnms"):
            operations.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        return require("torchvision", None)


def _autocast(spec, torch):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=spec.dtype == "mixed_bfloat16")


def _limit(dtype):
    return {"gflops": matrix_product(dtype)}


def matrix_product(dtype: str) -> float:
    """Billions of floating-point operations per second of large matrix products, the best of 3."""
    import numpy as np
    from keras import ops

    compute = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}.get(dtype, dtype)
    values = np.random.default_rng(0).normal(size=(MATRIX, MATRIX)) / math.sqrt(MATRIX)
    matrix = ops.cast(values, compute)

    def products(count):
        # Each waits for the one before; one value of the last is read, as to copy all takes time.
        product = matrix
        for _ in range(count):
            product = ops.matmul(product, matrix)
        np.asarray(ops.cast(product[0, 0], "float32"))

    products(1)
    count = 1
    while (seconds := timed(functools.partial(products, count)).wall) < 0.2 and count < 1024:
        count *= 2  # on a fast device, starting and reading would outweigh one product
    seconds = min(seconds, *(timed(functools.partial(products, count)).wall for _ in range(2)))
    return 2 * MATRIX**3 * count / seconds / 1e9


if __name__ == "__main__":
    sys.exit(main())
