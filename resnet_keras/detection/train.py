"""Trains Faster R-CNN on images with boxes: your own, or a packaged recipe's.

    python -m resnet_keras.detection.train --recipe=fasterrcnn_shapes
    python -m resnet_keras.detection.train --weights=imagenet --dataset=coco --data_dir=my_data

The run's folder receives the detector (weights.keras and best.keras), run.flags, metrics.csv,
checkpoints and TensorBoard events. The same command goes on with a run that was stopped.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_keras import processes
from resnet_keras.commands import decoders, shell
from resnet_keras.errors import InputError, told
from resnet_keras.training import run_folder

from . import flags, recipe

FLAGS = flags.train_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> int:
    flags.check_train(FLAGS)
    flags.find_backbone(FLAGS)
    named = f", recipe {FLAGS.recipe}" if FLAGS.recipe else ""
    shell.announce(f"detector on {FLAGS.model}, {FLAGS.dataset}{named}")
    shell.start_tensorflow(run_folder.settings(FLAGS.workdir))

    from resnet_keras.training import replicas
    from resnet_keras.training.signals import Preempted, Signals

    try:
        with Signals() as signals, decoders.quiet():
            return _run(signals)
    except Preempted as stopped:
        print(f"{stopped}: the same command goes on from there, with its --workdir")
        return processes.INTERRUPTED if stopped.signum == signal.SIGINT else processes.PREEMPTED
    except replicas.WORKER_LOST as error:
        if FLAGS.strategy != "multi_worker" or told(error):
            raise
        print(f"error: another worker is out of reach: {error}", file=sys.stderr)
        return processes.PREEMPTED


def _run(signals) -> int:
    """Builds, trains and saves; returns the exit status."""
    import keras
    import tensorflow as tf

    from resnet_keras import training
    from resnet_keras.training import replicas

    from . import measuring

    strategy = replicas.make_strategy(FLAGS.strategy, logical_cpus=FLAGS.logical_cpus)
    signals.listen()
    replicas.check(strategy, **_given("batch_size", "jit_compile"))
    if FLAGS.roi_form == "crop":
        _make_crop_repeat(replicas.device_kind(), tf)
    identity = flags.run_flags(FLAGS)
    if FLAGS.workdir and run_folder.finished(FLAGS.workdir, identity, flags.FREE, flags.STEPS):
        print(
            f"{FLAGS.workdir} holds a finished run: {run_folder.last_weights(Path(FLAGS.workdir))}"
        )
        return 0
    data = flags.data_of(FLAGS)
    train, test = data.streams(**_given("batch_size", "eval_batch_size", "seed", "max_corrupt"))
    source = data.open_split(FLAGS.train_split)
    keras.utils.set_random_seed(FLAGS.seed)
    with strategy.scope():
        model = _model(source)
        model.compile(
            recipe.optimizer(**_optimizer()), jit_compile=FLAGS.jit_compile, auto_scale_loss=False
        )
    workdir = FLAGS.workdir or run_folder.new_folder(FLAGS.recipe or f"detector_{FLAGS.model}")
    workers, count = replicas.workers(strategy), strategy.num_replicas_in_sync
    print(
        f"detector on {FLAGS.model}, {FLAGS.dataset}/{FLAGS.train_split} ({source.num_examples} "
        f"images, {len(source.class_names)} classes): {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} images, {count} replica(s) on {replicas.device_kind()}, "
        f"{FLAGS.dtype}; workdir {workdir}",
        flush=True,
    )
    result = training.fit(
        model,
        train,
        workdir=workdir,
        steps=FLAGS.train_steps,
        identity=identity,
        monitor=recipe.MONITOR,
        evaluate=lambda model: measuring.average_precision(model, test, source.category_ids),
        save=lambda path: model.save(f"{path}.keras"),
        strategy=strategy,
        columns=recipe.COLUMNS,
        keep=FLAGS.keep_checkpoints,
        free=flags.FREE,
        steps_name=flags.STEPS,
        test_name=FLAGS.eval_split,
        handle_signals=signals,
        **_given("eval_every", "checkpoint_every", "tensorboard"),
    )
    if workers.is_chief:
        last = result.rows[-1]
        print(
            f"{FLAGS.eval_split}: AP {last['val_ap']:.3f}, AP50 {last['val_ap50']:.3f} after "
            f"{FLAGS.train_steps} steps; {run_folder.LAST}.keras, {run_folder.BEST}.keras, "
            f"metrics.csv and run.flags are in {result.workdir}"
        )
    return 0


def _make_crop_repeat(device, tf):
    """The gradient of `crop_and_resize` adds up in any order, so that a run would not repeat."""
    if device == "GPU":
        raise InputError("On GPUs runs repeat with --roi_form=matmul only: add it.")
    tf.config.experimental.enable_op_determinism()


def _model(source):
    return recipe.build(
        FLAGS.model,
        FLAGS.weights,
        class_names=source.class_names,
        scale=flags.scale_of(FLAGS) or source.scale,
        **_given("weights_dir", "dtype", "frozen_statistics", "freeze"),
        **_given("neck", "preset", "box_head", "context", "refine"),
        **flags.detector_changes(FLAGS),
    )


def _optimizer() -> dict[str, Any]:
    names = ("schedule", "learning_rate", "train_steps", "decay_factor", "warmup_steps")
    return {
        "boundaries": flags.whole_numbers("boundaries", FLAGS.boundaries),
        **_given(*names, "momentum", "weight_decay", "clip_norm"),
    }


def _given(*names: str) -> dict[str, Any]:
    """Flags as the arguments of the same names."""
    return {name: FLAGS[name].value for name in names}


if __name__ == "__main__":
    processes.leave(main())
