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
from .pipelines import SPLITS

FLAGS = cli.new_flags()
MIB = 2**20


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

    def items(name, default, help):
        flags.DEFINE_list(name, default, help, flag_values=FLAGS)

    text("recipe", None, f"Packaged recipe to start from: {', '.join(zoo.recipes.names())}.")
    text("workdir", None, "Folder of the run. Without it, a new one below runs/.")
    cli.define_model_flags(FLAGS, "resnet20")
    text("freeze", None, "Last stage that is not trained, conv1 to conv5 (with --weights).")
    choice("shortcut", None, ["A", "B", "C"], "Shortcut option; the network's default without.")
    switch("stride_in_1x1", None, "Where bottleneck blocks stride; --nostride_in_1x1 is v1.5.")
    cli.define_data_flags(FLAGS, "cifar10")
    choice("train_split", None, list(SPLITS), "Without, trainval, or train of photographs.")
    choice("eval_split", None, list(SPLITS), "Without, test, or val of photographs.")
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
    items("boundaries", [], "Iterations at which the step schedule acts.")
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
    number("label_smoothing", 0, "Share of each label that is spread over all classes.", 0, 1)
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

    # Encoded images only: ImageNet, folders, other data sets of TFDS.
    cli.define_view_flags(FLAGS)
    whole(
        "max_corrupt",
        100,
        "Images that cannot be decoded and are replaced, at most; each service counts its own.",
        0,
    )
    whole("eval_resize", None, "Shorter side before the centre crop; 256/224 of it without.", 1)
    choice("interpolation", "bilinear", ["bilinear", "bicubic"], "Of --eval_resize.")
    items("services", [], "Hosts that make the training batches, as grpc://HOST:PORT.")
    whole("threads", None, "Of a pool of its own for the data pipelines.", 1)
    whole("ram_budget", None, "MiB for prefetched batches; four batches without.", 1)


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return cli.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    boundaries = cli.whole_numbers("boundaries", FLAGS.boundaries)
    network, file = zoo.weights.find(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    if file is not None and FLAGS.normalization != "channel":
        raise InputError("--normalization is for new networks: weights have their own.")
    if file is None and FLAGS.freeze:
        raise InputError("--freeze is for networks with --weights.")
    cli.start_tensorflow()
    _choose_splits()

    import keras

    from . import distribution

    strategy = distribution.strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    distribution.check(strategy, batch_size=FLAGS.batch_size, jit_compile=FLAGS.jit_compile)
    options = model_options(
        FLAGS.dataset,
        FLAGS.train_split,
        normalization=FLAGS.normalization,
        shortcut=FLAGS.shortcut,
        stride_in_1x1=FLAGS.stride_in_1x1,
        image_size=FLAGS.image_size,
        data_dir=FLAGS.data_dir,
    )
    if file is not None:
        del options["mean"], options["std"]
        options["include_top"] = True  # new, where the weights have none
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = zoo.build(
            network, file, dtype=FLAGS.dtype, synchronized=FLAGS.sync_batch_norm, **options
        )
        if FLAGS.freeze:
            zoo.freeze(model, FLAGS.freeze)
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
        compile_classifier(
            model,
            optimizer,
            label_smoothing=FLAGS.label_smoothing,
            jit_compile=FLAGS.jit_compile,
        )
        train, test = _datasets(strategy.num_replicas_in_sync)

    workdir = new_run_folder(FLAGS.workdir, FLAGS.recipe or _default_name())
    write_atomically(workdir / "run.flags", run_flags())
    print(
        f"{FLAGS.model} on {FLAGS.dataset}/{FLAGS.train_split}: {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {strategy.num_replicas_in_sync} replica(s) on "
        f"{distribution.device_kind()}, {FLAGS.dtype}; "
        f"writing to {workdir}",
        flush=True,
    )
    started = time.monotonic()
    history = _fit(model, train, test, rules, workdir)
    # The training loss: in its first steps ResNet-1202 overflows under moving statistics only.
    if not math.isfinite(history["cross_entropy"][-1]):
        raise InputError(
            f"The loss is not finite after {FLAGS.train_steps} steps: no weights were written; "
            "lower --learning_rate or lengthen the warm-up."
        )
    weights = workdir / "weights.safetensors"
    training = {"recipe": FLAGS.recipe, "seed": FLAGS.seed, "steps": FLAGS.train_steps}
    if file is not None:
        training["weights"] = FLAGS.weights or FLAGS.model
    zoo.weights.save(
        weights,
        model,
        name=network.name,
        options={**(file.defaults | file.options if file else {}), **options},
        training=training,
        preprocessing=_preprocessing(model.input_shape[1]),
        class_names=_class_names(),
    )
    print(
        f"{FLAGS.eval_split} error {100 * history['val_top1_error'][-1]:.2f} % (top-1) after "
        f"{FLAGS.train_steps} steps in {time.monotonic() - started:.0f} s; weights.safetensors, "
        f"metrics.csv, run.flags"
        f"{' and TensorBoard events' if FLAGS.tensorboard else ''} are in {workdir}"
    )


def _choose_splits() -> None:
    in_memory = pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    FLAGS.train_split = FLAGS.train_split or ("trainval" if in_memory else "train")
    FLAGS.eval_split = FLAGS.eval_split or ("test" if in_memory else "val")


def _datasets(replicas: int):
    """The training stream and the evaluation that the flags ask for."""
    shared: dict[str, Any] = {
        "image_size": FLAGS.image_size,
        "data_dir": FLAGS.data_dir,
        "threads": FLAGS.threads,
        "ram_budget": FLAGS.ram_budget and FLAGS.ram_budget * MIB,
    }
    in_memory = pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    view = cli.view_of(FLAGS, in_memory=in_memory)
    if in_memory and FLAGS.eval_resize:
        raise InputError(f"{FLAGS.dataset} is evaluated as it is, without --eval_resize.")
    train = pipelines.training(
        FLAGS.dataset,
        FLAGS.train_split,
        FLAGS.batch_size,
        seed=FLAGS.seed,
        max_corrupt=FLAGS.max_corrupt,
        services=FLAGS.services,
        view=view,
        **shared,
    )
    protocol: dict[str, Any] = {} if in_memory else {"interpolation": FLAGS.interpolation}
    if FLAGS.eval_resize:
        protocol["resize"] = FLAGS.eval_resize
    test = pipelines.evaluation(
        FLAGS.dataset,
        FLAGS.eval_split,
        FLAGS.eval_batch_size,
        replicas=replicas,
        **protocol,
        **shared,
    )
    return train, test


def _preprocessing(size: int) -> zoo.Preprocessing:
    """How the evaluation of this run sees images, for whoever uses its weights."""
    if pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory:
        return zoo.Preprocessing(size, size)
    resize = FLAGS.eval_resize or pipelines.view.test_side(size)
    return zoo.Preprocessing(size, resize, FLAGS.interpolation)


def _class_names() -> tuple[str, ...] | None:
    known = zoo.entries.class_names(FLAGS.dataset)
    if known or pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory:
        return known
    opened = pipelines.open_split(FLAGS.dataset, FLAGS.eval_split, data_dir=FLAGS.data_dir)
    return opened.class_names


def _fit(model, train, test, rules, workdir: Path) -> dict[str, list[float]]:
    """Trains, and returns what was measured at each evaluation."""
    from . import callbacks

    watchers = [
        callbacks.StopAfter(FLAGS.train_steps),
        callbacks.Progress(FLAGS.train_steps, FLAGS.batch_size, FLAGS.eval_split),
        callbacks.MetricsCsv(workdir / "metrics.csv", FLAGS.batch_size),
    ]
    if FLAGS.tensorboard:
        watchers.append(callbacks.TensorBoardScalars(workdir / "tensorboard"))
    return model.fit(
        train,
        epochs=-(-FLAGS.train_steps // FLAGS.eval_every),
        steps_per_epoch=FLAGS.eval_every,
        validation_data=test,
        callbacks=[*rules, *watchers],
        shuffle=False,  # the stream is shuffled
        verbose=0,
    ).history


def _default_name() -> str:
    return f"{Path(FLAGS.model).name}_{FLAGS.dataset.replace('/', '_')}"


def model_options(
    dataset: str,
    split: str,
    *,
    normalization: str = "channel",
    shortcut: str | None = None,
    stride_in_1x1: bool | None = None,
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
        stride_in_1x1: of bottleneck blocks, or None for the network's default.
    """
    facts = pipelines.info(dataset, data_dir)
    size = image_size or facts.image_size
    options: dict[str, Any] = {"num_classes": facts.num_classes, "input_shape": (size, size, 3)}
    if shortcut is not None:
        options["shortcut"] = shortcut
    if stride_in_1x1 is not None:
        options["stride_in_1x1"] = stride_in_1x1
    if normalization == "channel":
        return {**options, "mean": facts.mean, "std": facts.std}
    if not facts.in_memory:
        raise InputError(
            f"A mean per pixel needs images of one size in memory, not {dataset}: take "
            "--normalization=channel."
        )
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


def compile_classifier(
    model, optimizer, *, label_smoothing: float = 0.0, jit_compile: bool = False
) -> None:
    """Compiles with softmax cross-entropy on logits, and top-1 and top-5 error as metrics.

    Labels may be int or, from mixup and cutmix, shares of each class. The metrics heed the weights
    of `pipelines.evaluation(replicas=...)`; Keras's own `val_loss` would count the examples that
    weigh nothing, so cross-entropy is a metric as well.
    """
    from .metrics import CrossEntropy, cross_entropy, top1_error, top5_error

    model.compile(
        optimizer,
        loss=CrossEntropy(label_smoothing),
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


if __name__ == "__main__":
    sys.exit(main())
