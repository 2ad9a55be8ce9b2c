"""Trains a network of the paper with Keras's `compile` and `fit`.

    python -m resnet_keras.train --recipe=resnet20_digits
    python -m resnet_keras.train --flagfile=my.flags --workdir=runs/mine

A recipe is a flagfile; flags after it win. The run's folder receives run.flags, metrics.csv,
TensorBoard events, checkpoints and, at the end, weights.safetensors. The same command with the same
--workdir goes on where a run was stopped or killed, and ends in the same bits. A run that SIGTERM
stopped exits with status 75.
"""

import functools
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from . import __version__, pipelines, zoo
from .classification.classifier import (
    COLUMNS,
    MONITOR,
    compile_classifier,
    make_optimizer,
    model_options,
)
from .commands import shared_flags, shell
from .errors import InputError, told
from .facts import INTERPOLATIONS
from .pipelines import splits
from .reproduction import runs
from .training import run_folder

FLAGS = shared_flags.new_flags()
MIB = 2**20
BEST = f"{run_folder.BEST}.safetensors"
# Flags that decide nothing: a run goes on with other values.
_FREE = {
    "checkpoint_every",
    "data_dir",
    "keep_checkpoints",
    "profile",
    "ram_budget",
    "services",
    "tensorboard",
    "threads",
    "weights_dir",
}
# Flags that, left out, are found out when a run begins, and written down for it.
_FOUND_OUT = {"train_split", "eval_split", "deterministic", "exif_orientation"}
_UNSAVED = {"help", "flagfile", "recipe", "workdir"}


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
    shared_flags.define_path(
        FLAGS, "workdir", "Folder of the run. Without it, a new one below runs/."
    )
    shared_flags.define_model_flags(FLAGS, "resnet20")
    text("freeze", None, "Last stage that is not trained, conv1 to conv5 (with --weights).")
    choice("shortcut", None, ["A", "B", "C"], "Shortcut option; the network's default without.")
    switch("stride_in_1x1", None, "Where bottleneck blocks stride; --nostride_in_1x1 is v1.5.")
    shared_flags.define_data_flags(FLAGS, "cifar10")
    shared_flags.define_split_flag(
        FLAGS, "train_split", "Without, trainval, or train of photographs."
    )
    shared_flags.define_split_flag(FLAGS, "eval_split", "Without, test, or val of photographs.")
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
    number("clip_norm", None, "Shorten the gradient to this global norm.", 0)
    number("label_smoothing", 0, "Share of each label that is spread over all classes.", 0, 1)
    number(
        "stochastic_depth",
        0,
        "Rate at which the last block drops its residual branch; earlier ones in proportion.",
        0,
        1,
    )
    number("dropout", 0, "Rate at which features are dropped before the logits.", 0, 1)
    number(
        "ema",
        0,
        "Decay of a moving average of the weights, such as 0.9999, which is what is evaluated and "
        "saved. 0 turns it off.",
        0,
        1,
    )
    choice(
        "dtype",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "Precision of the layers; weights, statistics and logits stay float32. float16 comes with "
        "loss scaling.",
    )
    switch("jit_compile", False, "Compile the training step with XLA (needs one device).")
    switch(
        "deterministic",
        None,
        "Only operations that give the same bits each time. Without the flag, on GPUs; on CPUs "
        "runs were measured to repeat without.",
    )
    whole(
        "accumulate_steps",
        1,
        "Split each batch into so many that are computed one after the other and make one update.",
        1,
    )
    whole(
        "steps_per_execution",
        1,
        "Iterations that Keras makes in its graph between two looks at the run; for small networks. "
        "How long they wait for input is not seen then.",
        1,
    )
    switch("remat", False, "Compute each block again for its gradient, to save memory.")
    choice(
        "strategy",
        "mirrored",
        ["mirrored", "one_device", "multi_worker"],
        "How replicas are made; multi_worker is mirrored on the machines of TF_CONFIG.",
    )
    whole(
        "logical_cpus",
        1,
        "Without a GPU, split the CPU into so many devices, each with a replica of its own.",
        1,
        64,
    )
    switch("sync_batch_norm", False, "Take batch statistics over all replicas, not over each.")
    whole("checkpoint_every", None, "Iterations between checkpoints; --eval_every without.", 1)
    whole("keep_checkpoints", 3, "Keep the last so many.", 1)
    switch("tensorboard", True, "Write TensorBoard events.")
    switch("profile", False, "Write a TensorBoard profile of 10 executions, from the third on.")

    # Encoded images only: ImageNet, folders, other data sets of TFDS.
    shared_flags.define_view_flags(FLAGS)
    whole(
        "max_corrupt",
        100,
        "Images that cannot be decoded and are replaced, at most; each service counts its own, and "
        "each start of a run counts anew.",
        0,
    )
    whole("eval_resize", None, "Shorter side before the centre crop; 256/224 of it without.", 1)
    choice("interpolation", "bilinear", list(INTERPOLATIONS), "Of --eval_resize.")
    items("services", [], "Hosts that make the training batches, as grpc://HOST:PORT.")
    whole("threads", None, "Of a pool of its own for the data pipelines.", 1)
    whole("ram_budget", None, "MiB for prefetched batches; four batches without.", 1)


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> int:
    network, file = zoo.weights.find(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    _check_flags(file)
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))
    _choose_splits()

    from .training import replicas
    from .training.signals import Preempted, Signals

    try:
        with Signals() as signals:
            return _run(network, file, signals)
    except Preempted as stopped:
        print(f"{stopped}: the same command goes on from there, with its --workdir")
        return shell.INTERRUPTED if stopped.signum == signal.SIGINT else shell.PREEMPTED
    except replicas.WORKER_LOST as error:
        if FLAGS.strategy != "multi_worker" or told(error):
            raise
        print(
            "error: another worker has failed or is out of reach, so this one stops; start all "
            f"again, and they go on from the last checkpoint ({str(error).splitlines()[0]})",
            file=sys.stderr,
        )
        return shell.PREEMPTED


def _run(network, file, signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    from . import training
    from .training import replicas

    strategy = replicas.make_strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    signals.listen()
    replicas.check(
        strategy,
        batch_size=FLAGS.batch_size,
        jit_compile=FLAGS.jit_compile,
        accumulate_steps=FLAGS.accumulate_steps,
    )
    _make_deterministic(replicas.device_kind())
    identity = run_flags()
    if FLAGS.workdir and run_folder.finished(FLAGS.workdir, identity, _FREE):
        folder = Path(FLAGS.workdir)
        print(f"{folder} holds a finished run: {run_folder.last_weights(folder)}")
        return 0
    train, test = _streams(strategy)
    model, rules, options = _build(network, file, strategy)
    is_chief = replicas.workers(strategy).is_chief
    class_names = _class_names() if is_chief else None  # once: it opens a split
    workdir = FLAGS.workdir or run_folder.new_folder(FLAGS.recipe or _default_name())
    print(_told(strategy, workdir), flush=True)
    result = training.fit(
        model,
        train,
        test,
        workdir=workdir,
        steps=FLAGS.train_steps,
        eval_every=FLAGS.eval_every,
        identity=identity,
        monitor=MONITOR,
        callbacks=rules,
        save=lambda path: _save(path, model, network, file, options, class_names),
        strategy=strategy,
        columns=COLUMNS,
        checkpoint_every=FLAGS.checkpoint_every,
        keep=FLAGS.keep_checkpoints,
        free=_FREE,
        test_name=FLAGS.eval_split,
        tensorboard=FLAGS.tensorboard,
        profile=FLAGS.profile,
        handle_signals=signals,
    )
    if is_chief:
        print(_result(result))
    return 0


def _told(strategy, workdir) -> str:
    """The first line of a run."""
    from .training import replicas

    workers, count = replicas.workers(strategy), strategy.num_replicas_in_sync
    alone = count > 1 and not FLAGS.sync_batch_norm
    return (
        f"{FLAGS.model} on {FLAGS.dataset}/{FLAGS.train_split}: {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {count} replica(s) on {replicas.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"{f'writing to {workdir}' if workers.is_chief else f'worker {workers.place}'}"
    )


def _result(result) -> str:
    """The last line of a run."""
    from .training.callbacks import duration

    error = 100 * result.rows[-1]["val_top1_error"]
    return (
        f"{FLAGS.eval_split} error {error:.2f} % (top-1) after {FLAGS.train_steps} steps and "
        f"{duration(result.seconds)} of training, {result.verdict}; "
        f"{runs.WEIGHTS}, {BEST}, metrics.csv, run.flags"
        f"{' and TensorBoard events' if FLAGS.tensorboard else ''} are in {result.workdir}"
    )


def _check_flags(file) -> None:
    if file is not None and FLAGS.normalization != "channel":
        raise InputError("--normalization is for new networks: weights have their own.")
    if file is None and FLAGS.freeze:
        raise InputError("--freeze is for networks with --weights.")
    if FLAGS.strategy == "multi_worker" and not FLAGS.workdir:
        raise InputError("Workers share one folder: give --workdir, which all of them can read.")
    for name in ("train_steps", "eval_every", "checkpoint_every"):
        if (FLAGS[name].value or 0) % FLAGS.steps_per_execution:
            raise InputError(
                f"--{name}={FLAGS[name].value} must be a multiple of --steps_per_execution="
                f"{FLAGS.steps_per_execution}: the run is looked at only so often."
            )


def _make_deterministic(device: str) -> None:
    import tensorflow as tf

    if FLAGS.deterministic is None:
        FLAGS.deterministic = device == "GPU"
    if FLAGS.deterministic:
        if FLAGS.freeze and device == "GPU":
            raise InputError(
                "TensorFlow has no deterministic kernel for frozen batch normalization on GPUs: "
                "add --nodeterministic."
            )
        tf.config.experimental.enable_op_determinism()


def _build(network, file, strategy):
    """The compiled model, the rules of its learning rate, and the options it was built with."""
    import keras

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
    training_only = {"stochastic_depth": FLAGS.stochastic_depth, "dropout": FLAGS.dropout}
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = zoo.build(
            network,
            file,
            dtype=FLAGS.dtype,
            synchronized=FLAGS.sync_batch_norm,
            **{name: rate for name, rate in training_only.items() if rate},
            **options,
        )
        if FLAGS.freeze:
            zoo.freeze(model, FLAGS.freeze)
        if FLAGS.remat:
            from .networks import rematerialize

            model = rematerialize.rematerialize(model)
        optimizer, rules = make_optimizer(
            schedule=FLAGS.schedule,
            learning_rate=FLAGS.learning_rate,
            train_steps=FLAGS.train_steps,
            boundaries=shared_flags.whole_numbers("boundaries", FLAGS.boundaries),
            decay_factor=FLAGS.decay_factor,
            patience=FLAGS.patience,
            warmup_steps=FLAGS.warmup_steps,
            warmup_until_error=FLAGS.warmup_until_error,
            warmup_scale=FLAGS.warmup_scale,
            momentum=FLAGS.momentum,
            weight_decay=FLAGS.weight_decay,
            decayed=FLAGS.decayed,
            accumulate_steps=FLAGS.accumulate_steps,
            clip_norm=FLAGS.clip_norm,
            loss_scaling=FLAGS.dtype == "mixed_float16",
            ema=FLAGS.ema,
        )
        compile_classifier(
            model,
            optimizer,
            label_smoothing=FLAGS.label_smoothing,
            jit_compile=FLAGS.jit_compile,
            steps_per_execution=FLAGS.steps_per_execution * FLAGS.accumulate_steps,
        )
    return model, rules, options


def _save(path, model, network, file, options, class_names) -> None:
    from keras import ops

    steps = int(ops.convert_to_numpy(model.optimizer.iterations))
    training = {"recipe": FLAGS.recipe, "seed": FLAGS.seed, "steps": steps}
    if file is not None:
        training["weights"] = FLAGS.weights or FLAGS.model
    zoo.weights.save(
        f"{path}.safetensors",
        model,
        training=training,
        preprocessing=_preprocessing(model.input_shape[1]),
        class_names=class_names,
    )


def _choose_splits() -> None:
    in_memory = pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    FLAGS.train_split = FLAGS.train_split or ("trainval" if in_memory else "train")
    FLAGS.eval_split = FLAGS.eval_split or ("test" if in_memory else "val")
    if not in_memory and FLAGS.exif_orientation is None:
        FLAGS.exif_orientation = pipelines.turns_by_exif(FLAGS.dataset)
    if splits.overlap(FLAGS.train_split, FLAGS.eval_split):
        warnings.warn(
            f"--eval_split={FLAGS.eval_split} has images of --train_split={FLAGS.train_split} in "
            "it: the error does not tell of new images",
            stacklevel=2,
        )


def _streams(strategy):
    """A function from the first step to the training batches, and the evaluation's batches."""
    from .training import replicas

    shared: dict[str, Any] = {
        "image_size": FLAGS.image_size,
        "data_dir": FLAGS.data_dir,
        "exif_orientation": FLAGS.exif_orientation,
        "shard": tuple(replicas.workers(strategy)),
        "device": None,  # the strategy brings batches to the devices
        "threads": FLAGS.threads,
        "ram_budget": FLAGS.ram_budget and FLAGS.ram_budget * MIB,
    }
    in_memory = pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    view = shared_flags.view_of(FLAGS, in_memory=in_memory)
    if in_memory and FLAGS.eval_resize:
        raise InputError(f"{FLAGS.dataset} is evaluated as it is, without --eval_resize.")

    @functools.cache  # a new run's first batches are those that were tried below
    def train(start_step):
        return pipelines.training(
            FLAGS.dataset,
            FLAGS.train_split,
            FLAGS.batch_size,
            seed=FLAGS.seed,
            start_step=start_step,
            parts=FLAGS.accumulate_steps,
            max_corrupt=FLAGS.max_corrupt,
            services=FLAGS.services,
            view=view,
            **shared,
        )

    train(0)  # what is wrong with the data shows before anything is written
    protocol: dict[str, Any] = {} if in_memory else {"interpolation": FLAGS.interpolation}
    if FLAGS.eval_resize:
        protocol["resize"] = FLAGS.eval_resize
    test = pipelines.evaluation(
        FLAGS.dataset,
        FLAGS.eval_split,
        FLAGS.eval_batch_size,
        replicas=strategy.num_replicas_in_sync,
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


def _default_name() -> str:
    return f"{Path(FLAGS.model).name}_{FLAGS.dataset.replace('/', '_')}"


def run_flags() -> str:
    """The flagfile that repeats this run: every flag's value, whatever its source."""
    import keras
    import tensorflow as tf

    return (
        "# python -m resnet_keras.train --flagfile=run.flags\n"
        f"# resnet_keras {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}\n"
        f"{_flag_lines()}"
    )


def _flag_lines():
    lines = [
        flag.serialize() for flag in shared_flags.all_flags(FLAGS) if flag.name not in _UNSAVED
    ]
    return "".join(f"{line}\n" for line in lines if line)  # empty for a flag without a value


def differences(workdir: Path, arguments: Sequence[str]) -> list[str]:
    """Tells how a run that has begun differs from what these arguments would make of it.

    Needs no TensorFlow, so what a run finds out for itself is not compared.

    Raises:
        InputError, absl.flags.Error: the arguments are none of this command's.
    """
    shared_flags.parse(FLAGS, ["train", *arguments])
    if not (workdir / run_folder.FLAGS).exists():
        return []
    found_out = {name for name in _FOUND_OUT if FLAGS[name].value is None}
    return run_folder.differences(workdir, _flag_lines(), _FREE | found_out)


if __name__ == "__main__":
    sys.exit(main())
