"""Trains a localizer, or an R-CNN on the boxes of one: the paper's appendix C.

    python -m resnet_keras.localization.train --recipe=localization_resnet10_shapes
    python -m resnet_keras.localization.train --recipe=rcnn_resnet10_shapes --localizer=runs/mine

The run's folder receives the model (weights.keras and best.keras), run.flags, metrics.csv,
checkpoints and TensorBoard events. The same command goes on with a run that was stopped.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_keras import processes
from resnet_keras.commands import runs, shared_flags, shell
from resnet_keras.detection import flags as detection_flags
from resnet_keras.errors import InputError
from resnet_keras.training import cluster, run_folder

from . import flags, loading, recipe

FLAGS = flags.train_flags()
given = functools.partial(runs.given, FLAGS)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> int:
    flags.check_train(FLAGS)
    if FLAGS.localizer:
        flags.leave_out(FLAGS)
    if FLAGS.model:
        detection_flags.find_backbone(FLAGS)
    localizer = loading.find(FLAGS.localizer) if FLAGS.localizer else None
    kind = f"R-CNN on {localizer}" if localizer else f"localizer on {FLAGS.model}"
    named = f", recipe {FLAGS.recipe}" if FLAGS.recipe else ""
    shell.announce(f"{kind}, {FLAGS.dataset}{named}")
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))
    if FLAGS.cluster == "slurm":
        cluster.use_slurm()
    return runs.until_stopped(functools.partial(_run, kind, localizer), FLAGS.strategy)


def _run(kind, localizer, signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    import keras

    from resnet_keras import training
    from resnet_keras.detection import sharing
    from resnet_keras.training import optimizers, replicas
    from resnet_keras.training.signals import Agreement

    from . import measuring

    strategy = replicas.make_strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    signals.listen()
    replicas.check(strategy, **given("batch_size", "jit_compile"))
    identity = runs.flagfile(FLAGS, "localization.train")
    if FLAGS.workdir and run_folder.finished(FLAGS.workdir, identity, flags.FREE, runs.STEPS):
        print(
            f"{FLAGS.workdir} holds a finished run: {run_folder.last_weights(Path(FLAGS.workdir))}"
        )
        return 0
    keras.utils.set_random_seed(FLAGS.seed)
    first = None
    if localizer:
        with strategy.scope():
            first = _localizer(localizer)
    data = flags.data_of(FLAGS, first)
    sizes = given("batch_size", "eval_batch_size", "seed", "max_corrupt", "crop")
    source, train, test = recipe.streams(data, strategy, scales=flags.scales_of(FLAGS), **sizes)
    stopping = Agreement(signals, strategy)
    with strategy.scope():
        model = _model(source, data, first)
        model.compile(
            optimizers.scheduled(**_optimizer()),
            jit_compile=FLAGS.jit_compile,
            auto_scale_loss=False,
        )
    workers = replicas.workers(strategy)
    named = FLAGS.recipe or f"{'rcnn' if localizer else 'localizer'}_{FLAGS.model or 'copy'}"
    workdir = FLAGS.workdir or run_folder.new_folder(named)
    count = strategy.num_replicas_in_sync
    alone = count > 1 and recipe.of_the_batch(model) and not FLAGS.sync_batch_norm
    print(
        f"{kind}, {FLAGS.dataset}/{FLAGS.train_split} ({source.num_examples} "
        f"images, {len(source.class_names)} classes): {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {count} replica(s) on {replicas.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"{f'workdir {workdir}' if workers.is_chief else f'worker {workers.place}'}",
        flush=True,
    )

    def measure(answers, targets, weights):
        images = measuring.in_original_pixels(answers, targets, weights)
        return measuring.measures(*images, model.top)

    lost = set() if model.loss_names[0] == "class_loss" else {"class_loss"}
    result = training.fit(
        model,
        train,
        workdir=workdir,
        steps=FLAGS.train_steps,
        identity=identity,
        monitor=recipe.MONITOR,
        evaluate=sharing.SharedEvaluation(strategy, test, measure, stopping.heed),
        save=lambda path: model.save(f"{path}.keras"),
        strategy=strategy,
        columns={name: log for name, log in recipe.COLUMNS.items() if name not in lost},
        keep=FLAGS.keep_checkpoints,
        free=flags.FREE,
        steps_name=runs.STEPS,
        test_name=FLAGS.eval_split,
        handle_signals=signals,
        **given("eval_every", "checkpoint_every", "tensorboard"),
    )
    if workers.is_chief:
        last = result.rows[-1]
        print(
            f"{FLAGS.eval_split}: localization error {100 * last['val_localization_error']:.2f} % "
            f"(top-{model.top}), {100 * last['val_true_class_error']:.2f} % with the true class, "
            f"after {FLAGS.train_steps} steps; {run_folder.LAST}.keras, {run_folder.BEST}.keras, "
            f"metrics.csv and run.flags are in {result.workdir}"
        )
    return 0


def _localizer(file):
    """What an R-CNN is trained on; its optimizer is left in its file."""
    from .localizer import Localizer

    first = loading.load(file, compile=False)
    if not isinstance(first, Localizer):
        raise InputError(f"{file} holds an R-CNN: --localizer is a run that trained the first.")
    flags.check_copy(FLAGS, first)
    return first


def _model(source, data, first):
    shared = given("weights_dir", "dtype", "frozen_statistics", "freeze", "sync_batch_norm")
    if first is None:
        return recipe.build(
            FLAGS.model,
            FLAGS.weights,
            class_names=source.class_names,
            scale=data.scale,
            **shared,
            **flags.model_arguments(FLAGS),
        )
    from . import scores

    scores.check_classes(first.class_names, source.class_names, first.num_classes)
    return recipe.build_rcnn(
        first,
        FLAGS.model,
        FLAGS.weights,
        scale=data.scale,
        **shared,
        **given("side", "proposals", "rois", "crop"),
    )


def _optimizer() -> dict[str, Any]:
    names = ("schedule", "learning_rate", "train_steps", "decay_factor", "warmup_steps")
    return {
        "boundaries": shared_flags.whole_numbers("boundaries", FLAGS.boundaries),
        **given(*names, "momentum", "weight_decay", "clip_norm"),
    }


if __name__ == "__main__":
    processes.leave(main())
