"""Trains a network of the paper with Keras's `compile` and `fit`.

    python -m resnet_keras.train --recipe=resnet20_digits
    python -m resnet_keras.train --flagfile=my.flags --workdir=runs/mine

A recipe is a flagfile; flags after it win. The run's folder receives run.flags, metrics.csv,
TensorBoard events, checkpoints and, at the end, weights.safetensors. The same command with the same
--workdir goes on where a run was stopped or killed, and ends in the same bits. A run that SIGTERM
stopped exits with status 75.
"""

import contextlib
import functools
import json
import os
import platform
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from . import __version__, cli, pipelines, runs, tuning, zoo
from .classifier import compile_classifier, make_optimizer, model_options
from .errors import InputError, told
from .files import make_folder, write_atomically
from .pipelines import splits

FLAGS = cli.new_flags()
MIB = 2**20
BEST = "best.safetensors"
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
    cli.define_path(FLAGS, "workdir", "Folder of the run. Without it, a new one below runs/.")
    cli.define_model_flags(FLAGS, "resnet20")
    text("freeze", None, "Last stage that is not trained, conv1 to conv5 (with --weights).")
    choice("shortcut", None, ["A", "B", "C"], "Shortcut option; the network's default without.")
    switch("stride_in_1x1", None, "Where bottleneck blocks stride; --nostride_in_1x1 is v1.5.")
    cli.define_data_flags(FLAGS, "cifar10")
    cli.define_split_flag(FLAGS, "train_split", "Without, trainval, or train of photographs.")
    cli.define_split_flag(FLAGS, "eval_split", "Without, test, or val of photographs.")
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
    cli.define_view_flags(FLAGS)
    whole(
        "max_corrupt",
        100,
        "Images that cannot be decoded and are replaced, at most; each service counts its own, and "
        "each start of a run counts anew.",
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


def _main() -> int:
    network, file = zoo.weights.find(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    _check_flags(file)
    cli.start_tensorflow(runs.settings(FLAGS.workdir))
    _choose_splits()

    from . import distribution, resume

    try:
        with resume.Signals() as signals:
            return _run(network, file, signals)
    except resume.Preempted as stopped:
        print(f"{stopped}: the same command goes on from there, with its --workdir")
        return cli.INTERRUPTED if stopped.signum == signal.SIGINT else cli.PREEMPTED
    except distribution.WORKER_LOST as error:
        if FLAGS.strategy != "multi_worker" or told(error):
            raise
        print(
            "error: another worker has failed or is out of reach, so this one stops; start all "
            f"again, and they go on from the last checkpoint ({str(error).splitlines()[0]})",
            file=sys.stderr,
        )
        return cli.PREEMPTED


def _run(network, file, signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    from . import distribution

    used = distribution.strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    signals.listen()
    distribution.check(
        used,
        batch_size=FLAGS.batch_size,
        jit_compile=FLAGS.jit_compile,
        accumulate_steps=FLAGS.accumulate_steps,
    )
    _make_deterministic(distribution.device_kind())
    model, rules, options = _build(network, file, used)
    feeds = _feeds(used)
    workers = distribution.workers(used)
    name = FLAGS.recipe or _default_name()
    with runs.take(
        FLAGS.workdir, name, run_flags(), free=_FREE, is_chief=workers.is_chief
    ) as workdir:
        if (workdir / runs.WEIGHTS).exists():
            print(f"{workdir} holds a finished run: {workdir / runs.WEIGHTS}")
            return 0
        if workers.is_chief and not (workdir / runs.ENVIRONMENT).exists():
            _write_environment(workdir, used, model)
        print(_told(used, workdir), flush=True)
        class_names = _class_names() if workers.is_chief else None  # once: it opens a split

        def save(path, step):
            if workers.is_chief:
                with _averaged(model.optimizer):
                    _save(path, step, model, network, file, options, class_names)

        signals.hold()
        counter, metrics = _train(model, rules, used, feeds, workdir, save, signals)
        save(workdir / runs.WEIGHTS, counter.step)
        if workers.is_chief:
            print(_result(counter, metrics, workdir))
    return 0


def _told(used, workdir) -> str:
    """The first line of a run."""
    from . import distribution

    workers, replicas = distribution.workers(used), used.num_replicas_in_sync
    alone = replicas > 1 and not FLAGS.sync_batch_norm
    return (
        f"{FLAGS.model} on {FLAGS.dataset}/{FLAGS.train_split}: {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {replicas} replica(s) on {distribution.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"{f'writing to {workdir}' if workers.is_chief else f'worker {workers.place}'}"
    )


def _result(counter, metrics, workdir) -> str:
    """The last line of a run."""
    from . import callbacks

    error = 100 * float(metrics.rows[-1]["val_top1_error"])
    return (
        f"{FLAGS.eval_split} error {error:.2f} % (top-1) after {FLAGS.train_steps} steps and "
        f"{callbacks.duration(counter.seconds)} of training, {callbacks.verdict(counter)}; "
        f"{runs.WEIGHTS}, {BEST}, metrics.csv, run.flags"
        f"{' and TensorBoard events' if FLAGS.tensorboard else ''} are in {workdir}"
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


def _build(network, file, used):
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
    with used.scope():
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
            from . import remat

            model = remat.rematerialize(model)
        optimizer, rules = make_optimizer(
            schedule=FLAGS.schedule,
            learning_rate=FLAGS.learning_rate,
            train_steps=FLAGS.train_steps,
            boundaries=cli.whole_numbers("boundaries", FLAGS.boundaries),
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


def _train(model, rules, used, feeds, workdir, save, signals):
    """Trains from the last checkpoint on; returns the counter of steps and the metrics."""
    import keras

    from . import callbacks, distribution, resume

    counter = callbacks.Counter(FLAGS.steps_per_execution)
    metrics = callbacks.Metrics(counter, FLAGS.batch_size)
    best = callbacks.Best(lambda: save(workdir / BEST, counter.step))
    guard = callbacks.Guard(
        counter, "lower --learning_rate or lengthen the warm-up, in another --workdir."
    )
    stateful = {"counter": counter, "metrics": metrics, "best": best}
    is_chief = distribution.workers(used).is_chief
    keeper = resume.Checkpoints(
        make_folder(workdir / runs.CHECKPOINTS) if is_chief else None,
        used,
        counter,
        stateful | {type(rule).__name__: rule for rule in rules},
        every=FLAGS.checkpoint_every or FLAGS.eval_every,
        eval_every=FLAGS.eval_every,
        total_steps=FLAGS.train_steps,
        keep=FLAGS.keep_checkpoints,
        guard=guard,
        signals=signals,
    )
    _resume(model, used, keeper, counter, workdir)
    averages = [callbacks.AveragedWeights()] if FLAGS.ema else []
    watching = _watching(counter, metrics, workdir) if is_chief else []
    # The rules come after what tells the learning rate that made the steps.
    every = [counter, guard, *averages, metrics, best, *watching, *rules, keeper]
    try:
        _fit(
            model,
            feeds,
            keras.callbacks.CallbackList(every, add_history=True, model=model),
            counter,
        )
    finally:
        for profile in (c for c in watching if isinstance(c, callbacks.Profile)):
            profile.stop()
    return counter, metrics


def _resume(model, used, keeper, counter, workdir) -> None:
    """Puts the run where its last checkpoint left it."""
    from . import checkpoint, distribution

    keeper.set_model(model)
    found = checkpoint.latest(workdir / runs.CHECKPOINTS)
    if found is not None:
        keeper.resume(found)
        print(f"going on from the checkpoint of step {found.step}", flush=True)
    distribution.agree(used, counter.step)


def _watching(counter, metrics, workdir) -> list:
    """What tells how the run is going, in the one process that does."""
    from . import callbacks

    metrics.write(workdir / runs.METRICS)
    watching: list[Any] = [
        callbacks.Progress(counter, FLAGS.train_steps, FLAGS.batch_size, FLAGS.eval_split)
    ]
    if FLAGS.tensorboard:
        watching.append(callbacks.TensorBoardScalars(workdir / "tensorboard", metrics))
    if FLAGS.profile:
        watching.append(callbacks.Profile(workdir / "tensorboard"))
    return watching


def _fit(model, feeds, watching, counter) -> None:
    """Trains and evaluates by `fit`, from wherever the run is to its end."""
    from . import resume

    train, test = feeds
    at_rest = counter.step % FLAGS.eval_every == 0 or counter.step == FLAGS.train_steps
    if counter.step and at_rest:
        resume.finish_epoch(model, test.batches(), watching)
    for epochs, steps in resume.stretches(counter.step, FLAGS.train_steps, FLAGS.eval_every):
        counter.feed = train(counter.step)
        model.fit(
            counter.feed.batches(),
            epochs=epochs,
            steps_per_epoch=steps * FLAGS.accumulate_steps,
            validation_data=test.batches(),
            callbacks=watching,
            shuffle=False,  # the stream is shuffled
            verbose=0,
        )


def _averaged(optimizer):
    return optimizer.averaged() if FLAGS.ema else contextlib.nullcontext()


def _save(path, step, model, network, file, options, class_names) -> None:
    training = {"recipe": FLAGS.recipe, "seed": FLAGS.seed, "steps": step}
    if file is not None:
        training["weights"] = FLAGS.weights or FLAGS.model
    zoo.weights.save(
        path,
        model,
        name=network.name,
        options={**(file.defaults | file.options if file else {}), **options},
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


def _feeds(used):
    """A function from the first step to the training batches, and the evaluation's batches."""
    from . import distribution

    shared: dict[str, Any] = {
        "image_size": FLAGS.image_size,
        "data_dir": FLAGS.data_dir,
        "exif_orientation": FLAGS.exif_orientation,
        "shard": tuple(distribution.workers(used)),
        "device": None,  # the strategy brings batches to the devices
        "threads": FLAGS.threads,
        "ram_budget": FLAGS.ram_budget and FLAGS.ram_budget * MIB,
    }
    # Several workers fail in Keras's loop; theirs is in Python.
    in_graph = FLAGS.steps_per_execution > 1 and distribution.workers(used).total == 1
    in_memory = pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    view = cli.view_of(FLAGS, in_memory=in_memory)
    if in_memory and FLAGS.eval_resize:
        raise InputError(f"{FLAGS.dataset} is evaluated as it is, without --eval_resize.")

    @functools.cache  # a new run's first batches are those that were tried below
    def train(start_step):
        batches = pipelines.training(
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
        return distribution.Feed(used, batches, in_graph=in_graph)

    train(0)  # what is wrong with the data shows before anything is written
    protocol: dict[str, Any] = {} if in_memory else {"interpolation": FLAGS.interpolation}
    if FLAGS.eval_resize:
        protocol["resize"] = FLAGS.eval_resize
    test = pipelines.evaluation(
        FLAGS.dataset,
        FLAGS.eval_split,
        FLAGS.eval_batch_size,
        replicas=used.num_replicas_in_sync,
        **protocol,
        **shared,
    )
    return train, distribution.Feed(used, test, in_graph=in_graph)


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


def _write_environment(folder: Path, used, model) -> None:
    """What a reader of the results wants to know, and no flag tells."""
    import keras
    import tensorflow as tf

    from . import distribution, resnet

    processor = tuning.processor()
    facts = {
        "resnet_keras": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "processor": processor["name"],
        "features": " ".join(processor["features"]),
        **tuning.tune_cpu(),  # done already: tells what is on
        "device": distribution.device_kind(),
        "replicas": used.num_replicas_in_sync,
        "workers": distribution.workers(used).total,
        "parameters": resnet.count_parameters(model),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    write_atomically(folder / runs.ENVIRONMENT, json.dumps(facts, indent=2) + "\n")


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
    lines = [flag.serialize() for flag in cli.all_flags(FLAGS) if flag.name not in _UNSAVED]
    return "".join(f"{line}\n" for line in lines if line)  # empty for a flag without a value


def differences(workdir: Path, arguments: Sequence[str]) -> list[str]:
    """Tells how a run that has begun differs from what these arguments would make of it.

    Needs no TensorFlow, so what a run finds out for itself is not compared.

    Raises:
        InputError, absl.flags.Error: the arguments are none of this command's.
    """
    cli.parse(FLAGS, ["train", *arguments])
    if not (workdir / runs.FLAGS).exists():
        return []
    found_out = {name for name in _FOUND_OUT if FLAGS[name].value is None}
    return runs.differences(workdir, _flag_lines(), _FREE | found_out)


if __name__ == "__main__":
    sys.exit(main())
