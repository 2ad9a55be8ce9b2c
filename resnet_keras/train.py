"""Trains a network of the paper with Keras's `compile` and `fit`.

    python -m resnet_keras.train --recipe=resnet20_digits
    python -m resnet_keras.train --flagfile=my.flags --workdir=runs/mine

A recipe is a flagfile; flags after it win. The run's folder receives run.flags, metrics.csv,
TensorBoard events and, at the end, weights.safetensors.
"""

import itertools
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from . import __version__, cli, pipelines, zoo
from .errors import InputError
from .files import make_folder, write_atomically
from .pipelines import DATASETS, SPLITS

FLAGS = cli.new_flags()


def _define_flags() -> None:
    def text(name, default, help, **kw):
        flags.DEFINE_string(name, default, help, flag_values=FLAGS, **kw)

    def whole(name, default, help, low, high=None):
        flags.DEFINE_integer(name, default, help, low, high, flag_values=FLAGS)

    def number(name, default, help, low, high=None):
        flags.DEFINE_float(name, default, help, low, high, flag_values=FLAGS)

    def choice(name, default, choices, help):
        flags.DEFINE_enum(name, default, choices, help, flag_values=FLAGS)

    def switch(name, default, help):
        flags.DEFINE_bool(name, default, help, flag_values=FLAGS)

    text("recipe", None, f"Packaged recipe to start from: {', '.join(zoo.recipes.names())}.")
    text("workdir", None, "Folder of the run. Without it, a new one below runs/.")
    text("model", "resnet20", "Zoo network, such as resnet50, plain20 or resnet1202.")
    choice("shortcut", None, ["A", "B", "C"], "Shortcut option; the network's default without.")
    choice("dataset", "cifar10", list(DATASETS), "Data set to train and evaluate on.")
    text("data_dir", None, "Where TensorFlow Datasets keeps its files.")
    choice("train_split", "trainval", list(SPLITS), "Examples to train on.")
    choice("eval_split", "test", list(SPLITS), "Examples to evaluate on.")
    flags.DEFINE_integer("image_size", None, "Side in pixels (digits only).", 1, flag_values=FLAGS)
    choice(
        "normalization",
        "channel",
        ["channel", "pixel"],
        "Subtract the data set's mean and divide by its deviation per channel, or subtract the "
        "training images' mean per pixel (Sec. 4.2).",
    )
    whole("batch_size", 128, "Global batch size, split among the replicas.", 1)
    whole("train_steps", 64000, "Iterations to train for.", 1)
    whole("eval_every", 1000, "Iterations between evaluations.", 1)
    whole("eval_batch_size", 500, "Examples evaluated at once.", 1)
    whole("seed", 0, "Of the initial weights, the order and the augmentation.", 0, 2**31 - 1)
    number("learning_rate", 0.1, "Learning rate after warm-up.", 0)
    choice(
        "schedule",
        "step",
        ["step", "cosine", "plateau"],
        "step multiplies the learning rate by --decay_factor at --boundaries, plateau when "
        "--patience evaluations in a row brought no better error; cosine lets it fall to 0.",
    )
    flags.DEFINE_list(
        "boundaries", [], "Iterations at which the step schedule acts.", flag_values=FLAGS
    )
    number("decay_factor", 0.1, "What the learning rate is multiplied by.", 0, 1)
    whole("patience", 5, "Evaluations without a better error that make a plateau.", 1)
    whole("warmup_steps", 0, "Iterations of linear warm-up.", 0)
    number(
        "warmup_until_error",
        0,
        "Train at --warmup_scale times the learning rate until the training error is below this "
        "(0.8 for ResNet-110, Sec. 4.2). 0 turns it off.",
        0,
        1,
    )
    number("warmup_scale", 0.1, "See --warmup_until_error.", 0, 1)
    number("momentum", 0.9, "Of SGD.", 0, 1)
    number("weight_decay", 1e-4, "Coupled weight decay: this times w joins w's gradient.", 0)
    choice(
        "decayed", "kernels", ["kernels", "all"], "Decay the kernels, or all trainable variables."
    )
    choice(
        "dtype",
        "float32",
        ["float32", "mixed_bfloat16"],
        "Precision of the layers; weights, statistics and logits stay float32.",
    )
    switch("jit_compile", False, "Compile the training step with XLA (needs one device).")
    choice("strategy", "mirrored", ["mirrored", "one_device"], "How replicas are made.")
    whole(
        "logical_cpus",
        1,
        "Without a GPU, split the CPU into so many devices, each with a replica of its own.",
        1,
        64,
    )
    switch("sync_batch_norm", False, "Take batch statistics over all replicas, not over each.")
    switch("tensorboard", True, "Write TensorBoard events.")


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return cli.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    boundaries = _whole_numbers("boundaries", FLAGS.boundaries)
    zoo.networks.find(FLAGS.model)
    cli.start_tensorflow()

    import keras

    from . import callbacks, distribution

    strategy = distribution.strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    distribution.check(strategy, batch_size=FLAGS.batch_size, jit_compile=FLAGS.jit_compile)
    data = {"image_size": FLAGS.image_size, "data_dir": FLAGS.data_dir}
    options = model_options(
        FLAGS.dataset,
        FLAGS.train_split,
        normalization=FLAGS.normalization,
        shortcut=FLAGS.shortcut,
        **data,
    )
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = zoo.get(
            FLAGS.model, dtype=FLAGS.dtype, synchronized=FLAGS.sync_batch_norm, **options
        )
        optimizer, rules = make_optimizer(
            schedule=FLAGS.schedule,
            learning_rate=FLAGS.learning_rate,
            train_steps=FLAGS.train_steps,
            boundaries=boundaries,
            decay_factor=FLAGS.decay_factor,
            patience=FLAGS.patience,
            warmup_steps=FLAGS.warmup_steps,
            warmup_until_error=FLAGS.warmup_until_error,
            warmup_scale=FLAGS.warmup_scale,
            momentum=FLAGS.momentum,
            weight_decay=FLAGS.weight_decay,
            decayed=FLAGS.decayed,
        )
        compile_classifier(model, optimizer, jit_compile=FLAGS.jit_compile)
        train = pipelines.training(
            FLAGS.dataset, FLAGS.train_split, FLAGS.batch_size, seed=FLAGS.seed, **data
        )
        test = pipelines.evaluation(
            FLAGS.dataset,
            FLAGS.eval_split,
            FLAGS.eval_batch_size,
            replicas=strategy.num_replicas_in_sync,
            **data,
        )

    workdir = new_run_folder(FLAGS.workdir, FLAGS.recipe or f"{FLAGS.model}_{FLAGS.dataset}")
    write_atomically(workdir / "run.flags", run_flags())
    print(
        f"{FLAGS.model} on {FLAGS.dataset}/{FLAGS.train_split}: {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {strategy.num_replicas_in_sync} replica(s) on "
        f"{distribution.device_kind()}, {FLAGS.dtype}; "
        f"writing to {workdir}",
        flush=True,
    )
    started = time.monotonic()
    watchers = [
        callbacks.StopAfter(FLAGS.train_steps),
        callbacks.Progress(FLAGS.train_steps, FLAGS.batch_size),
        callbacks.MetricsCsv(workdir / "metrics.csv", FLAGS.batch_size),
    ]
    if FLAGS.tensorboard:
        watchers.append(callbacks.TensorBoardScalars(workdir / "tensorboard"))
    history = model.fit(
        train,
        epochs=-(-FLAGS.train_steps // FLAGS.eval_every),
        steps_per_epoch=FLAGS.eval_every,
        validation_data=test,
        callbacks=[*rules, *watchers],
        shuffle=False,  # the stream is shuffled
        verbose=0,
    )
    # The training loss: in its first steps ResNet-1202 overflows under moving statistics only.
    if not math.isfinite(history.history["cross_entropy"][-1]):
        raise InputError(
            f"The loss is not finite after {FLAGS.train_steps} steps: no weights were written; "
            "lower --learning_rate or lengthen the warm-up."
        )
    weights = workdir / "weights.safetensors"
    training = {"recipe": FLAGS.recipe, "seed": FLAGS.seed, "steps": FLAGS.train_steps}
    zoo.weights.save(weights, model, name=FLAGS.model, options=options, training=training)
    error = history.history["val_top1_error"][-1]
    print(
        f"{FLAGS.eval_split} error {100 * error:.2f} % (top-1) after {FLAGS.train_steps} steps "
        f"in {time.monotonic() - started:.0f} s; weights.safetensors, metrics.csv, run.flags"
        f"{' and TensorBoard events' if FLAGS.tensorboard else ''} are in {workdir}"
    )


def model_options(
    dataset: str,
    split: str,
    *,
    normalization: str = "channel",
    shortcut: str | None = None,
    image_size: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Returns what a network must be built with for a data set, as arguments of `zoo.get`.

    Args:
        dataset, split, image_size, data_dir: as for `pipelines.arrays`; the split's images are
            what `normalization="pixel"` averages.
        normalization: "channel" takes the data set's mean and deviation per channel; "pixel" the
            training images' mean per pixel and no deviation (Sec. 4.2).
        shortcut: "A", "B", "C", or None for the network's default.
    """
    facts = pipelines.info(dataset)
    size = image_size or facts.image_size
    options: dict[str, Any] = {"num_classes": facts.num_classes, "input_shape": (size, size, 3)}
    if shortcut is not None:
        options["shortcut"] = shortcut
    if normalization == "channel":
        return {**options, "mean": facts.mean, "std": facts.std}
    images, _ = pipelines.arrays(dataset, split, image_size=image_size, data_dir=data_dir)
    mean = images.mean(axis=0, dtype="float64")
    return {**options, "mean": mean, "std": (1.0, 1.0, 1.0)}


def make_optimizer(
    *,
    schedule: str,
    learning_rate: float,
    train_steps: int,
    boundaries: Sequence[int] = (),
    decay_factor: float = 0.1,
    patience: int = 5,
    warmup_steps: int = 0,
    warmup_until_error: float = 0.0,
    warmup_scale: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    decayed: str = "kernels",
):
    """Returns the optimizer of a recipe and the callbacks that steer its learning rate.

    The arguments are the flags of the same names; `InputError` where they contradict each other.
    """
    from . import optimizers

    if boundaries and schedule != "step":
        raise InputError(f"--boundaries belong to --schedule=step, not to {schedule}.")
    if schedule == "plateau" and warmup_until_error:
        raise InputError("--warmup_until_error cannot be combined with --schedule=plateau.")
    if schedule == "cosine":
        rate = optimizers.CosineDecay(learning_rate, train_steps, warmup_steps)
    else:
        rate = optimizers.StepDecay(learning_rate, boundaries, decay_factor, warmup_steps)
    rules = []
    if schedule == "plateau":
        rules.append(optimizers.DivideOnPlateau(factor=decay_factor, patience=patience))
    if warmup_until_error:
        rules.append(optimizers.WarmUpUntilBelow(warmup_scale, warmup_until_error))
    return optimizers.SGD(rate, momentum, weight_decay, decayed), rules


def compile_classifier(model, optimizer, *, jit_compile: bool = False) -> None:
    """Compiles with softmax cross-entropy on logits, and top-1 and top-5 error as metrics.

    The metrics heed the weights of `pipelines.evaluation(replicas=...)`; Keras's own `val_loss`
    would count the examples that weigh nothing, so cross-entropy is a metric as well.
    """
    import keras

    from .metrics import top1_error, top5_error

    cross_entropy = keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True)
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[cross_entropy, top1_error, top5_error],
        jit_compile=jit_compile,
    )


def new_run_folder(workdir: str | None, name: str) -> Path:
    """Returns an empty run's folder: `workdir`, or runs/NAME, runs/NAME-2, ... without one."""
    if workdir is None:
        taken = {path.name for path in Path("runs").glob("*")}
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        free = next(n for n in itertools.chain([name], numbered) if n not in taken)
        return make_folder(Path("runs") / free)
    if (Path(workdir) / "run.flags").exists():
        raise InputError(f"{workdir} already holds a run: choose another --workdir.")
    return make_folder(workdir)


def run_flags() -> str:
    """The flagfile that repeats this run: every flag's value, whatever its source."""
    import keras
    import tensorflow as tf

    lines = [
        "# python -m resnet_keras.train --flagfile=run.flags",
        f"# resnet_keras {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}",
    ]
    for flag in cli.all_flags(FLAGS):
        if flag.name not in ("help", "flagfile", "recipe", "workdir"):
            lines.append(flag.serialize())  # empty for a flag without a value
    return "\n".join(filter(None, lines)) + "\n"


def _whole_numbers(flag: str, texts: Sequence[str]) -> list[int]:
    try:
        return [int(text) for text in texts]
    except ValueError:
        raise InputError(
            f"--{flag} is a list of whole numbers such as 32000,48000, not {','.join(texts)}."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
