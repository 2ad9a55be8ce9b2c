"""Trains Faster R-CNN on images with boxes, or Mask R-CNN: your own, or a packaged recipe's.

    python -m resnet_keras.detection.train --recipe=fasterrcnn_shapes
    python -m resnet_keras.detection.train --weights=imagenet --dataset=coco --data_dir=my_data

The run's folder receives the detector (weights.keras and best.keras), run.flags, metrics.csv,
checkpoints and TensorBoard events. The same command goes on with a run that was stopped.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_keras import processes
from resnet_keras.commands import runs, shared_flags, shell
from resnet_keras.errors import InputError
from resnet_keras.training import cluster, run_folder

from . import flags, recipe

FLAGS = flags.train_flags()
given = functools.partial(runs.given, FLAGS)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def check() -> None:
    """Refuses flags that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    flags.check_train(FLAGS)


def differences(workdir: Path, arguments: Sequence[str]) -> list[str]:
    """Tells how a run that has begun differs from what these arguments would make of it.

    Raises:
        InputError, absl.flags.Error: the arguments are none of this command's.
    """
    shared_flags.parse(FLAGS, ["detection.train", *arguments])
    if not (workdir / run_folder.FLAGS).exists():
        return []
    return run_folder.differences(workdir, runs.lines(FLAGS), flags.FREE)


def _main() -> int:
    check()
    flags.find_backbone(FLAGS)
    named = f", recipe {FLAGS.recipe}" if FLAGS.recipe else ""
    shell.announce(f"detector on {FLAGS.model}, {FLAGS.dataset}{named}")
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))
    if FLAGS.cluster == "slurm":
        cluster.use_slurm()
    return runs.until_stopped(_run, FLAGS.strategy)


def _run(signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    import keras
    import tensorflow as tf

    from resnet_keras import training
    from resnet_keras.training import optimizers, replicas
    from resnet_keras.training.signals import Agreement

    from . import sharing

    strategy = replicas.make_strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    signals.listen()
    replicas.check(strategy, **given("batch_size", "jit_compile"))
    if FLAGS.roi_form == "crop":
        _make_crop_repeat(replicas.device_kind(), tf)
    identity = runs.flagfile(FLAGS, "detection.train")
    if FLAGS.workdir and run_folder.finished(FLAGS.workdir, identity, flags.FREE, runs.STEPS):
        print(
            f"{FLAGS.workdir} holds a finished run: {run_folder.last_weights(Path(FLAGS.workdir))}"
        )
        return 0
    data = flags.data_of(FLAGS)
    sizes = given("batch_size", "eval_batch_size", "seed", "max_corrupt")
    source, tested, train, test = recipe.streams(data, strategy, **sizes)
    stopping = Agreement(signals, strategy)
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = _model(source, data)
        model.compile(
            optimizers.scheduled(**_optimizer()),
            jit_compile=FLAGS.jit_compile,
            auto_scale_loss=False,
        )
    workers = replicas.workers(strategy)
    workdir = FLAGS.workdir or run_folder.new_folder(FLAGS.recipe or f"detector_{FLAGS.model}")
    count = strategy.num_replicas_in_sync
    alone = count > 1 and recipe.of_the_batch(model) and not FLAGS.sync_batch_norm
    print(
        f"detector on {FLAGS.model}, {FLAGS.dataset}/{FLAGS.train_split} ({source.num_examples} "
        f"images, {len(source.class_names)} classes): {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {count} replica(s) on {replicas.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"{f'workdir {workdir}' if workers.is_chief else f'worker {workers.place}'}",
        flush=True,
    )
    result = training.fit(
        model,
        train,
        workdir=workdir,
        steps=FLAGS.train_steps,
        identity=identity,
        monitor=recipe.MASK_MONITOR if FLAGS.masks else recipe.MONITOR,
        evaluate=sharing.SharedAveragePrecision(
            strategy, test, source.category_ids, stopping.heed, tested.outlines
        ),
        save=lambda path: model.save(f"{path}.keras"),
        strategy=strategy,
        columns=recipe.COLUMNS | (recipe.MASK_COLUMNS if FLAGS.masks else {}),
        keep=FLAGS.keep_checkpoints,
        free=flags.FREE,
        steps_name=runs.STEPS,
        test_name=FLAGS.eval_split,
        handle_signals=signals,
        **given("eval_every", "checkpoint_every", "tensorboard"),
    )
    if workers.is_chief:
        last = result.rows[-1]
        masks = ""
        if FLAGS.masks:
            masks = f", of masks AP {last['val_mask_ap']:.3f}, AP50 {last['val_mask_ap50']:.3f}"
        print(
            f"{FLAGS.eval_split}: AP {last['val_ap']:.3f}, AP50 {last['val_ap50']:.3f}{masks} "
            f"after {FLAGS.train_steps} steps; {run_folder.LAST}.keras, {run_folder.BEST}.keras, "
            f"metrics.csv and run.flags are in {result.workdir}"
        )
    return 0


def _make_crop_repeat(device, tf):
    """The gradient of `crop_and_resize` adds up in any order, so that a run would not repeat."""
    if device == "GPU" and FLAGS.roi != "max_pool":
        raise InputError("On GPUs runs repeat with --roi_form=matmul only: add it.")
    tf.config.experimental.enable_op_determinism()


def _model(source, data):
    return recipe.build(
        FLAGS.model,
        FLAGS.weights,
        class_names=source.class_names,
        scale=data.scale or source.scale,
        **given("weights_dir", "dtype", "frozen_statistics", "freeze", "sync_batch_norm"),
        **given("neck", "preset", "box_head", "context", "refine", "masks"),
        **flags.detector_changes(FLAGS),
    )


def _optimizer() -> dict[str, Any]:
    names = ("schedule", "learning_rate", "train_steps", "decay_factor", "warmup_steps")
    return {
        "boundaries": flags.whole_numbers("boundaries", FLAGS.boundaries),
        **given(*names, "momentum", "weight_decay", "clip_norm"),
    }


if __name__ == "__main__":
    processes.leave(main())
