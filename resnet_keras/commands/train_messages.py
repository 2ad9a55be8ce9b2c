"""What `resnet_keras.train` prints before and after a run."""

from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.training import run_folder

from . import train_arguments, train_teachers
from .train_flags import FLAGS

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from resnet_keras.training.fitting import Result


def what() -> str:
    """The network, the data set and the recipe."""
    recipe = f", recipe {FLAGS.recipe}" if FLAGS.recipe else ""
    return f"{FLAGS.model} on {FLAGS.dataset}{recipe}{train_teachers.words()}"


def first_line(strategy: "tf.distribute.Strategy", workdir: object, model: "keras.Model") -> str:
    """What is trained, how and where."""
    from resnet_keras.networks.layers import BatchNormalization, FrozenBatchNormalization
    from resnet_keras.training import replicas

    workers, count = replicas.workers(strategy), strategy.num_replicas_in_sync
    examples = train_arguments.examples()
    of_a_batch = [
        layer
        for layer in model.layers
        if isinstance(layer, BatchNormalization) and not isinstance(layer, FrozenBatchNormalization)
    ]
    alone = count > 1 and any(not layer.synchronized for layer in of_a_batch)
    return (
        f"{FLAGS.model} on {FLAGS.dataset}/{FLAGS.train_split}: {FLAGS.train_steps} steps of "
        f"{FLAGS.batch_size} {examples}{train_teachers.words()}, "
        f"{count} replica(s) on {replicas.device_kind()}"
        f"{', each with batch statistics of its own' if alone else ''}, {FLAGS.dtype}; "
        f"{f'workdir {workdir}' if workers.is_chief else f'worker {workers.place}'}"
    )


def last_line(result: "Result") -> str:
    """What came of it, and where it lies."""
    from resnet_keras.training.callbacks import duration

    error = 100 * result.rows[-1]["val_top1_error"]
    return (
        f"{FLAGS.eval_split} error {error:.2f} % (top-1) after {FLAGS.train_steps} steps and "
        f"{duration(result.seconds)} of training, {result.verdict}; "
        f"{run_folder.LAST}.safetensors, {run_folder.BEST}.safetensors, metrics.csv, run.flags"
        f"{' and TensorBoard events' if FLAGS.tensorboard else ''} are in {result.workdir}"
    )


def finished_line() -> str:
    """What is said of a run that has come to its end, and how it can be taken further."""
    from resnet_keras.training import lengthening

    folder = Path(FLAGS.workdir)
    weights = run_folder.last_weights(folder)
    fixed = FLAGS.schedule == "cosine" or lengthening.obstacle(
        folder, FLAGS.train_steps, FLAGS.eval_every
    )
    longer = "" if fixed else ", --train_steps=MORE goes on with it"
    return (
        f"{FLAGS.workdir} holds a finished run: {weights}{longer}; --weights={weights} begins "
        "another one from its weights, in another --workdir"
    )
