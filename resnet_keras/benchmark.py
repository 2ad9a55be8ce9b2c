"""Times a network, or the input pipeline, against named peers, side by side in one run.

    python -m resnet_keras.benchmark train --model=resnet50 --batch_size=32 --dtype=mixed_bfloat16
    python -m resnet_keras.benchmark train --model=resnet1202 --image_size=32 --peer=none --remat
    python -m resnet_keras.benchmark load --model=resnet50
    python -m resnet_keras.benchmark input

`train` times training steps, `predict` inference, `build` the construction of the model, `load`
that and the loading of its weights from a local file (ours safetensors, the peer's .weights.h5).
`input` times the input pipeline of training on one thread, on JPEGs that it makes itself. The
contestants take turns, round by round, so that a machine whose speed drifts treats all alike; the
figures are medians over rounds, in wall time and in CPU time, and the ratio is the median of the
rounds' ratios. `train` without a peer tells the process's peak resident memory too. Works on every
Keras backend, but for `input` and --remat, which are TensorFlow's.
"""

import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from . import cli, zoo
from .errors import InputError

FLAGS = cli.new_flags()
MODEL_TASKS = ("train", "predict", "build", "load")
_WHOLE = ("build", "load")  # tasks whose round is one model
TASKS = (*MODEL_TASKS, "input")
PEERS = ("keras.applications", "none")
# Only networks of the paper count as peers: keras.applications has no other ResNets of v1.
KERAS_APPLICATIONS = {"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"}
# Linux: "5" written to the one resets the high-water mark that the other shows.
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

flags.DEFINE_integer("rounds", 5, "Rounds of each.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Images in a batch.", 1, flag_values=FLAGS)
flags.DEFINE_bool("json", False, "Print the result as JSON.", flag_values=FLAGS)
# Of the tasks but input:
flags.DEFINE_string("model", "resnet50", "Zoo network (not for input).", flag_values=FLAGS)
flags.DEFINE_enum(
    "peer",
    "keras.applications",
    list(PEERS),
    "Whom to compare with (input: see --peers).",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "image_size", 224, "Side of the images in pixels (not for input).", 1, flag_values=FLAGS
)
flags.DEFINE_enum(
    "dtype",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Precision of the layers (not for input).",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "steps",
    3,
    "Batches in a round (build and load: always one model; input: see --images).",
    1,
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "jit_compile",
    None,
    "XLA; without the flag, what Keras chooses (not for input).",
    flag_values=FLAGS,
)
# Of train:
flags.DEFINE_bool(
    "remat",
    False,
    "Keep each block's input only, and compute the block again for its gradient (train only; the "
    "peer does not).",
    flag_values=FLAGS,
)
# Of input:
flags.DEFINE_list(
    "peers",
    ["decode", "tf.data", "pillow", "opencv"],
    "Whom to compare with (input only); pillow and opencv need the extra benchmark.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("files", 64, "JPEGs that are made (input only).", 1, flag_values=FLAGS)
flags.DEFINE_integer(
    "images", 512, "Images in a round, in whole batches (input only).", 1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "memory_images",
    0,
    "Images over which our pipeline's resident memory is watched (input only); 0: it is not.",
    0,
    flag_values=FLAGS,
)


class Timing(NamedTuple):
    """Seconds of one round."""

    wall: float
    cpu: float


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    task, rest = cli.split_task(argv)
    return cli.run(lambda: _main(task), FLAGS, rest, __doc__)


def _main(task: str | None) -> None:
    if task not in TASKS:
        raise InputError(f"Name what to time first: one of {', '.join(TASKS)}.")
    if FLAGS.remat and task != "train":
        raise InputError(f"--remat changes training only, and not {task}: leave it out.")
    if task == "input":
        _input()
        return
    zoo.networks.find(FLAGS.model)
    peer = None if FLAGS.peer == "none" else FLAGS.peer
    if peer and FLAGS.model not in KERAS_APPLICATIONS:
        raise InputError(
            f"{peer} has no {FLAGS.model}: take {', '.join(KERAS_APPLICATIONS)} or --peer=none."
        )
    if peer and FLAGS.image_size < 32:
        raise InputError(f"{peer} takes images of side 32 or more, not {FLAGS.image_size}.")
    cli.start_keras()
    result = compare(
        task,
        FLAGS.model,
        peer=peer,
        batch_size=FLAGS.batch_size,
        image_size=FLAGS.image_size,
        dtype=FLAGS.dtype,
        steps=FLAGS.steps,
        rounds=FLAGS.rounds,
        jit_compile="auto" if FLAGS.jit_compile is None else FLAGS.jit_compile,
        remat=FLAGS.remat,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else report(result))


def _input() -> None:
    cli.start_tensorflow()
    from . import benchmark_input

    result = benchmark_input.compare(
        files=FLAGS.files,
        images=FLAGS.images,
        rounds=FLAGS.rounds,
        batch_size=FLAGS.batch_size,
        peers=FLAGS.peers,
        memory_images=FLAGS.memory_images,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else benchmark_input.report(result))


def compare(
    task: str,
    model: str,
    *,
    peer: str | None,
    batch_size: int,
    image_size: int,
    dtype: str,
    steps: int,
    rounds: int,
    jit_compile: bool | str = "auto",
    remat: bool = False,
) -> dict[str, Any]:
    """Times `model` and its peer in turns.

    Returns:
        A dict with the settings, and under "timings" for each contestant, ours first, the medians
        of wall and CPU seconds per step; under "ratio" the peer's seconds over ours; under
        "peak_memory_gib" what the process held at most in the rounds, the first apart, or None
        where it is not measured: other tasks than train, beside a peer, elsewhere than on Linux.

    Raises:
        InputError: `remat` on another backend than TensorFlow.
    """
    import keras

    makers = {f"resnet_keras {model}": _ours(model, image_size, dtype, remat)}
    if peer:
        makers[f"{peer} {model}"] = _keras_applications(model, image_size, dtype)
    folder = tempfile.TemporaryDirectory()
    if task == "load":
        ours, *others = makers
        path = Path(folder.name) / "ours.safetensors"
        zoo.weights.save(path, makers[ours](), name=model, options={})
        makers = {
            ours: lambda: zoo.get(model, weights=path, dtype=dtype),
            **{name: _loading(makers[name], folder.name) for name in others},
        }
    rounds_of = {
        name: _round(task, make, batch_size, image_size, steps, dtype, jit_compile)
        for name, make in makers.items()
    }
    for run in rounds_of.values():
        run()  # traces, compiles, fills caches
    watched = task == "train" and not peer and _reset_peak_memory()
    timings: dict[str, list[Timing]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, run in rounds_of.items():
            timings[name].append(run())
    peak = _peak_memory_gib() if watched else None
    folder.cleanup()
    per_step = 1 if task in _WHOLE else steps
    return {
        "task": task,
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "cpus": os.cpu_count(),
        "batch_size": batch_size,
        "image_size": image_size,
        "dtype": dtype,
        "remat": remat,
        "rounds": rounds,
        "steps": per_step,
        "timings": {name: _medians(found, per_step) for name, found in timings.items()},
        "ratio": _ratio(*timings.values()) if peer else None,
        "peak_memory_gib": peak,
    }


def report(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    head = (
        f"{result['task']}{', rematerialized' if result['remat'] else ''}, {result['dtype']}, batch {result['batch_size']}, "
        f"{result['image_size']}x{result['image_size']}, {result['backend']} backend (Keras "
        f"{result['keras']}), {result['cpus']} CPUs, median of {result['rounds']} rounds of "
        f"{result['steps']}"
    )
    lines = [head, f"  {'':<32}{'wall s':>10}{'CPU s':>10}{'images/s':>10}"]
    for name, timing in result["timings"].items():
        rate = "" if result["task"] in _WHOLE else f"{result['batch_size'] / timing['wall']:.2f}"
        lines.append(f"  {name:<32}{timing['wall']:>10.4f}{timing['cpu']:>10.4f}{rate:>10}")
    if result["ratio"]:
        ratio = result["ratio"]
        lines.append(
            f"  {'times as fast as the peer':<32}{ratio['wall']:>9.2f}x{ratio['cpu']:>9.2f}x"
        )
    if result["task"] == "train":
        peak = result["peak_memory_gib"]
        shown = "not measured" if peak is None else f"{peak:.2f} GiB"
        lines.append(f"  {'peak memory of the process':<32}{shown:>12}")
    return "\n".join(lines)


def _ours(model, image_size, dtype, remat):
    def make():
        network = zoo.get(model, input_shape=(image_size, image_size, 3), dtype=dtype)
        if not remat:
            return network
        from .remat import rematerialize  # not above: it imports Keras

        return rematerialize(network)

    return make


def _keras_applications(model, image_size, dtype):
    import keras

    build = getattr(keras.applications, KERAS_APPLICATIONS[model])

    def make():
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            return build(
                weights=None, input_shape=(image_size, image_size, 3), classifier_activation=None
            )
        finally:
            keras.config.set_dtype_policy(previous)

    return make


def _loading(make, folder):
    """Builds a model and loads its weights from a file, which is written here."""
    path = os.path.join(folder, "peer.weights.h5")
    make().save_weights(path)
    return lambda: make().load_weights(path)


def _round(task, make, batch_size, image_size, steps, dtype, jit_compile) -> Callable[[], Timing]:
    """Returns a function that times one round of a task."""
    import numpy as np

    if task in _WHOLE:
        return lambda: _timed(make)
    model = make()
    generator = np.random.default_rng(0)
    shape = (batch_size * steps, image_size, image_size, 3)
    images = generator.integers(0, 256, shape, "uint8")
    if task == "predict":
        model.compile(jit_compile=jit_compile)
        return lambda: _timed(lambda: [model.predict_on_batch(b) for b in np.split(images, steps)])
    labels = generator.integers(0, model.output_shape[-1], batch_size * steps, "int32")
    return _training_round(model, images, labels, batch_size, dtype, jit_compile)


def _training_round(model, images, labels, batch_size, dtype, jit_compile):
    """One `fit` over the images; timed inside it, from the first step's begin to the last's end.

    What `fit` does before and after is left out: it makes and closes a data set, and closing one
    waits for tf.data's tuning thread.
    """
    import keras

    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    if dtype == "mixed_float16":
        # Keras would add it to the peer only, by the policy that a model is made under.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=jit_compile)
    clock = _StepsClock()

    def run():
        model.fit(images, labels, batch_size, shuffle=False, verbose=0, callbacks=[clock.callback])
        return clock.timing()

    return run


class _StepsClock:
    def __init__(self):
        import keras

        self.callback = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self._mark("begin"),
            # Reading the loss waits for the last step on a device that runs behind.
            on_epoch_end=lambda epoch, logs: (float(logs["loss"]), self._mark("end")),
        )
        self._marks: dict[str, Timing] = {}

    def _mark(self, name):
        self._marks[name] = Timing(time.perf_counter(), time.process_time())

    def timing(self) -> Timing:
        begin, end = self._marks["begin"], self._marks["end"]
        return Timing(end.wall - begin.wall, end.cpu - begin.cpu)


def _reset_peak_memory() -> bool:
    """Whether the process's high-water mark could be reset."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _peak_memory_gib() -> float | None:
    """The most memory that the process held since the mark was reset."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) / 2**20 for x in lines if x.startswith("VmHWM:")), None)


def _timed(function: Callable[[], Any]) -> Timing:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def _medians(timings, steps):
    return {
        field: statistics.median(getattr(timing, field) for timing in timings) / steps
        for field in Timing._fields
    }


def _ratio(ours, peers):
    return {
        field: statistics.median(
            getattr(theirs, field) / getattr(our, field)
            for our, theirs in zip(ours, peers, strict=True)
        )
        for field in Timing._fields
    }


if __name__ == "__main__":
    sys.exit(main())
