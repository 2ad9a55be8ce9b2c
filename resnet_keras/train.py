"""Trains a network of the paper with Keras's `compile` and `fit`.

    python -m resnet_keras.train --recipe=resnet20_digits
    python -m resnet_keras.train --flagfile=my.flags --workdir=runs/mine

A recipe is a flagfile; flags after it win. The run's folder receives run.flags, metrics.csv,
TensorBoard events, checkpoints and, at the end, weights.safetensors. The same command with the same
--workdir goes on where a run was stopped or killed, and ends in the same bits. A run that SIGTERM
stopped exits with status 75.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import zoo
from .classification import recipe
from .classification.classifier import (
    COLUMNS,
    MONITOR,
    class_names,
    compile_classifier,
    make_optimizer,
    model_options,
)
from .commands import decoders, shared_flags, shell, train_flags
from .errors import told
from .training import run_folder

FLAGS = train_flags.FLAGS
differences = train_flags.differences


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> int:
    network, file = zoo.weights.find(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    train_flags.check(file)
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))
    train_flags.choose_splits()

    from .training import replicas
    from .training.signals import Preempted, Signals

    try:
        with Signals() as signals, decoders.quiet():
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
    import tensorflow as tf

    from . import training
    from .training import replicas

    strategy = replicas.make_strategy(FLAGS.strategy, **_given("logical_cpus"))
    signals.listen()
    replicas.check(strategy, **_given("batch_size", "jit_compile", "accumulate_steps"))
    train_flags.choose_deterministic(replicas.device_kind())
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    identity = train_flags.run_flags()
    if FLAGS.workdir and run_folder.finished(FLAGS.workdir, identity, train_flags.FREE):
        folder = Path(FLAGS.workdir)
        print(f"{folder} holds a finished run: {run_folder.last_weights(folder)}")
        return 0
    data = recipe.Data(**_given(*recipe.Data._fields))
    train, test = recipe.streams(data, strategy, **_stream_arguments(data))
    options = recipe.options_for(file, _model_options())
    model, rules = _compiled(network, file, options, strategy)
    is_chief = replicas.workers(strategy).is_chief
    facts = {
        "training": _provenance(file),
        "preprocessing": recipe.preprocessing(
            data, model.input_shape[1], **_given("eval_resize", "interpolation")
        ),
        # Once, for it opens a split.
        "class_names": class_names(data.dataset, data.eval_split, data.data_dir)
        if is_chief
        else None,
    }
    workdir = FLAGS.workdir or run_folder.new_folder(FLAGS.recipe or _default_name())
    print(_first_line(strategy, workdir), flush=True)
    result = training.fit(
        model,
        train,
        test,
        workdir=workdir,
        steps=FLAGS.train_steps,
        identity=identity,
        monitor=MONITOR,
        callbacks=rules,
        save=lambda path: recipe.save(path, model, **facts),
        strategy=strategy,
        columns=COLUMNS,
        keep=FLAGS.keep_checkpoints,
        free=train_flags.FREE,
        test_name=FLAGS.eval_split,
        handle_signals=signals,
        **_given("eval_every", "checkpoint_every", "tensorboard", "profile"),
    )
    if is_chief:
        print(_last_line(result))
    return 0


def _given(*names: str) -> dict[str, Any]:
    """Flags as the arguments of the same names."""
    return {name: FLAGS[name].value for name in names}


def _stream_arguments(data: recipe.Data) -> dict[str, Any]:
    names = ("batch_size", "eval_batch_size", "accumulate_steps", "seed", "max_corrupt", "services")
    evaluated = ("eval_resize", "interpolation")
    view = shared_flags.view_of(FLAGS, in_memory=data.in_memory)
    return {"view": view, **_given(*names, *evaluated, "threads", "ram_budget")}


def _model_options() -> dict[str, Any]:
    names = ("normalization", "shortcut", "stride_in_1x1", "image_size", "data_dir")
    return model_options(FLAGS.dataset, FLAGS.train_split, **_given(*names))


def _compiled(network, file, options, strategy):
    """The compiled model, and the rules of its learning rate."""
    import keras

    numerics = ("dtype", "sync_batch_norm", "stochastic_depth", "dropout", "freeze", "remat")
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = recipe.build(network, file, options, **_given(*numerics))
        optimizer, rules = make_optimizer(**_optimizer_arguments())
        compile_classifier(
            model,
            optimizer,
            steps_per_execution=FLAGS.steps_per_execution * FLAGS.accumulate_steps,
            **_given("label_smoothing", "jit_compile"),
        )
    return model, rules


def _optimizer_arguments() -> dict[str, Any]:
    rate = ("schedule", "learning_rate", "train_steps", "decay_factor", "patience")
    warm_up = ("warmup_steps", "warmup_until_error", "warmup_scale")
    update = ("momentum", "weight_decay", "decayed", "accumulate_steps", "clip_norm", "ema")
    return {
        "boundaries": shared_flags.whole_numbers("boundaries", FLAGS.boundaries),
        "loss_scaling": FLAGS.dtype == "mixed_float16",
        **_given(*rate, *warm_up, *update),
    }


def _provenance(file) -> dict[str, Any]:
    """How the weights come to be, for their file."""
    began = {} if file is None else {"weights": FLAGS.weights or FLAGS.model}
    return {**_given("recipe", "seed"), **began}


def _default_name() -> str:
    return f"{Path(FLAGS.model).name}_{FLAGS.dataset.replace('/', '_')}"


def _first_line(strategy, workdir) -> str:
    from .training import replicas

    workers, count = replicas.workers(strategy), strategy.num_replicas_in_sync
    alone = count > 1 and not FLAGS.sync_batch_norm
    return (
        f"{FLAGS.model} on {FLAGS.dataset}/{FLAGS.train_split}: {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {count} replica(s) on {replicas.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"{f'workdir {workdir}' if workers.is_chief else f'worker {workers.place}'}"
    )


def _last_line(result) -> str:
    from .training.callbacks import duration

    error = 100 * result.rows[-1]["val_top1_error"]
    return (
        f"{FLAGS.eval_split} error {error:.2f} % (top-1) after {FLAGS.train_steps} steps and "
        f"{duration(result.seconds)} of training, {result.verdict}; "
        f"{run_folder.LAST}.safetensors, {run_folder.BEST}.safetensors, metrics.csv, run.flags"
        f"{' and TensorBoard events' if FLAGS.tensorboard else ''} are in {result.workdir}"
    )


if __name__ == "__main__":
    sys.exit(main())
