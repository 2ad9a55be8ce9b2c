"""Trains a network of the paper with Keras's `compile` and `fit`.

    python -m resnet_keras.train --recipe=resnet20_digits
    python -m resnet_keras.train --flagfile=my.flags --workdir=runs/mine

A recipe is a flagfile; flags after it win. The run's folder receives run.flags, metrics.csv,
TensorBoard events, checkpoints and, at the end, weights.safetensors. The same command with the same
--workdir goes on where a run was stopped or killed, and ends in the same bits. A run that SIGTERM
stopped exits with status 75.
"""

import functools
import sys
from collections.abc import Sequence

from . import processes, zoo
from .classification import recipe, teachers
from .classification.classifier import (
    COLUMNS,
    MONITOR,
    class_names,
    compile_classifier,
    make_optimizer,
)
from .commands import runs, shell, train_arguments, train_flags, train_messages, train_teachers
from .commands import shared_flags as shared_flags
from .commands.train_arguments import given
from .training import cluster, run_folder

FLAGS = train_flags.FLAGS
check, differences = train_arguments.check, train_arguments.differences


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> int:
    train_arguments.check()
    network, file = zoo.weights.find(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    train_arguments.check_network(network, file)
    teacher = train_teachers.find()
    train_arguments.check_longer()
    shell.announce(train_messages.what())
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))
    if FLAGS.cluster == "slurm":
        cluster.use_slurm()

    return runs.until_stopped(functools.partial(_run, network, file, teacher), FLAGS.strategy)


def _run(network, file, teacher, signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    import tensorflow as tf

    from . import training
    from .classification.distillation import student_of
    from .training import replicas

    strategy = replicas.make_strategy(FLAGS.strategy, **given("logical_cpus"))
    signals.listen()
    replicas.check(strategy, **given("batch_size", "jit_compile", "accumulate_steps"))
    train_arguments.choose_deterministic(replicas.device_kind())
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    identity = runs.flagfile(FLAGS, "train")
    if FLAGS.workdir and run_folder.finished(
        FLAGS.workdir, identity, train_arguments.FREE, runs.STEPS
    ):
        print(train_messages.finished_line())
        return 0
    data = recipe.Data(**given(*recipe.Data._fields))
    train, test = recipe.streams(data, strategy, **train_arguments.streams(data))
    options = recipe.options_for(file, train_arguments.model())
    if teacher is not None:
        teachers.check(teacher, options["num_classes"], options["input_shape"])
    model, rules = _compiled(network, file, teacher, options, strategy)
    student = student_of(model)
    is_chief = replicas.workers(strategy).is_chief
    facts = {
        "training": train_arguments.provenance(file),
        "preprocessing": recipe.preprocessing(
            data, model.input_shape[1], **given("eval_resize", "interpolation")
        ),
        # Once, for it opens a split.
        "class_names": class_names(data.dataset, data.eval_split, data.data_dir)
        if is_chief or teacher is not None  # whose classes every worker checks
        else None,
    }
    if teacher is not None:
        teachers.check_names(teacher, facts["class_names"])
    workdir = FLAGS.workdir or run_folder.new_folder(train_arguments.folder_name())
    print(train_messages.first_line(strategy, workdir, student), flush=True)
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
        columns={**COLUMNS, **(teachers.COLUMNS if teacher else {})},
        keep=FLAGS.keep_checkpoints,
        free=train_arguments.FREE,
        steps_name=runs.STEPS,
        test_name=FLAGS.eval_split,
        handle_signals=signals,
        **given("eval_every", "checkpoint_every", "tensorboard", "profile"),
    )
    if is_chief:
        print(train_messages.last_line(result))
    return 0


def _compiled(network, file, teacher, options, strategy):
    """The compiled model, and the rules of its learning rate."""
    import keras

    rates = ("stochastic_depth", "dropout", "block_dropout")
    numerics = ("dtype", "norm_layer", "sync_batch_norm", *rates, "freeze", "remat")
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = recipe.build(network, file, options, **given(*numerics))
        if teacher is not None:
            model = recipe.taught(model, teacher, **given("dtype", "distill", "temperature"))
        optimizer, rules = make_optimizer(**train_arguments.optimizer())
        compile_classifier(
            model,
            optimizer,
            steps_per_execution=FLAGS.steps_per_execution * FLAGS.accumulate_steps,
            **given("label_smoothing", "jit_compile"),
        )
    return model, rules


if __name__ == "__main__":
    processes.leave(main())
