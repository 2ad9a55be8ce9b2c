"""Trains a segmenter, FCN or DeepLabV3, on images with masks: your own, or a packaged recipe's.

    python -m resnet_keras.segmentation.train --recipe=fcn_resnet10_shapes
    python -m resnet_keras.segmentation.train --weights=imagenet --dataset=folder --data_dir=my_data

The run's folder receives the segmenter (weights.keras and best.keras), run.flags, metrics.csv,
checkpoints and TensorBoard events. The same command goes on with a run that was stopped.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_keras import processes
from resnet_keras.commands import runs, shell
from resnet_keras.pipelines import masks
from resnet_keras.training import run_folder

from . import flags, recipe

FLAGS = flags.train_flags()
given = functools.partial(runs.given, FLAGS)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> int:
    flags.check_train(FLAGS)
    flags.find_backbone(FLAGS)
    named = f", recipe {FLAGS.recipe}" if FLAGS.recipe else ""
    shell.announce(f"{FLAGS.head} on {FLAGS.model}, {FLAGS.dataset}{named}")
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))

    return runs.until_stopped(_run, FLAGS.strategy)


def _run(signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    import keras

    from resnet_keras import training
    from resnet_keras.training import replicas

    strategy = replicas.make_strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    signals.listen()
    replicas.check(strategy, **given("batch_size", "jit_compile"))
    count = strategy.num_replicas_in_sync
    flags.check_pooling(FLAGS, count)
    identity = runs.flagfile(FLAGS, "segmentation.train")
    if FLAGS.workdir and run_folder.finished(FLAGS.workdir, identity, flags.FREE, runs.STEPS):
        print(
            f"{FLAGS.workdir} holds a finished run: {run_folder.last_weights(Path(FLAGS.workdir))}"
        )
        return 0
    source, tested = flags.data_of(FLAGS).open()
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = _model(source.class_names)
    train = functools.cache(functools.partial(_batches, model, source))
    train(0)  # what is wrong with the data shows before anything is written
    test = masks.evaluation_of(
        tested,
        FLAGS.eval_batch_size,
        scale=flags.scale_of(FLAGS),
        replicas=count if count > 1 else None,
        device=None,
    )
    alone = count > 1 and not FLAGS.sync_batch_norm
    workdir = FLAGS.workdir or run_folder.new_folder(FLAGS.recipe or f"{FLAGS.head}_{FLAGS.model}")
    print(
        f"{FLAGS.head} on {FLAGS.model}, {FLAGS.dataset}/{FLAGS.train_split} "
        f"({source.num_examples} images, {len(source.class_names)} classes): {FLAGS.train_steps} "
        f"steps of {FLAGS.batch_size} images, {count} replica(s) on {replicas.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"workdir {workdir}",
        flush=True,
    )
    if note := flags.filled_up(FLAGS, count):
        print(f"note: {note}", flush=True)
    result = training.fit(
        model,
        train,
        recipe.targets_for(model, test),
        workdir=workdir,
        steps=FLAGS.train_steps,
        identity=identity,
        monitor=recipe.MONITOR,
        save=lambda path: model.save(f"{path}.keras"),
        strategy=strategy,
        columns=recipe.COLUMNS,
        keep=FLAGS.keep_checkpoints,
        free=flags.FREE,
        steps_name=runs.STEPS,
        test_name=FLAGS.eval_split,
        handle_signals=signals,
        **given("eval_every", "checkpoint_every", "tensorboard"),
    )
    last = result.rows[-1]
    print(
        f"{FLAGS.eval_split}: mean IoU {last['val_miou']:.3f}, pixel accuracy "
        f"{last['val_pixel_accuracy']:.3f} after {FLAGS.train_steps} steps; "
        f"{run_folder.LAST}.keras, {run_folder.BEST}.keras, metrics.csv and run.flags are in "
        f"{result.workdir}"
    )
    return 0


def _batches(model, source, start_step):
    batches = masks.training_of(
        source,
        FLAGS.batch_size,
        start_step=start_step,
        device=None,
        **flags.view(FLAGS),
        **given("seed", "max_corrupt"),
    )
    return recipe.targets_for(model, batches)


def _model(class_names):
    from resnet_keras.training import optimizers

    model = recipe.build(
        FLAGS.model,
        FLAGS.weights,
        class_names=class_names,
        synchronized=FLAGS.sync_batch_norm,
        **given("weights_dir", "output_stride", "dtype", "frozen_statistics", "freeze"),
        skip=FLAGS.skip if FLAGS.skip not in ("", "None") else None,  # to undo a recipe's
        **given("head", "auxiliary", "dropout"),
    )
    return recipe.compiled(
        model,
        optimizers.scheduled(**_optimizer()),
        len(class_names),
        **given("auxiliary_weight", "jit_compile"),
    )


def _optimizer() -> dict[str, Any]:
    names = ("schedule", "learning_rate", "train_steps", "decay_factor", "warmup_steps", "power")
    return {
        "boundaries": flags.whole_numbers("boundaries", FLAGS.boundaries),
        **given(*names, "momentum", "weight_decay", "clip_norm"),
    }


if __name__ == "__main__":
    processes.leave(main())
