"""What makes a network a classifier in training: options for a data set, optimizer, loss, metrics.

model = zoo.get("resnet20", **model_options("digits", "trainval"))
optimizer, rules = make_optimizer(schedule="cosine", learning_rate=0.1, train_steps=1000)
compile_classifier(model, optimizer)
"""

from collections.abc import Sequence
from typing import Any

from resnet_keras import pipelines, zoo
from resnet_keras.errors import InputError

# Columns of metrics.csv: what Keras's logs call them. The loss is the cross-entropy, without weight
# decay. Keras's own val_loss would count the examples that weigh nothing.
COLUMNS = {
    "loss": "cross_entropy",
    "top1_error": "top1_error",
    "top5_error": "top5_error",
    "val_loss": "val_cross_entropy",
    "val_top1_error": "val_top1_error",
    "val_top5_error": "val_top5_error",
}
MONITOR = ("val_top1_error", "min")


def model_options(
    dataset: str,
    split: str,
    *,
    normalization: str = "channel",
    shortcut: str | None = None,
    projections: float | None = None,
    stride_in_1x1: bool | None = None,
    width: float | None = None,
    maxout: int | None = None,
    z_normalization: bool | None = None,
    image_size: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Returns what a network must be built with for a data set, as arguments of `zoo.get`.

    Args:
        dataset: of `pipelines`.
        split: whose images `normalization="pixel"` averages.
        normalization: "channel" takes the data set's mean and deviation per channel; "pixel" the
            training images' mean per pixel and no deviation (Sec. 4.2).
        shortcut: "A", "B", "C", or None for the network's default.
        projections: share of the first blocks that have projections; None for the default.
        stride_in_1x1: of bottleneck blocks, or None for the network's default.
        width: times the channels, or channels of the first stage; None for the network's default.
        maxout: linear maps of which a maximum is taken before the logits; None for no such layer.
        z_normalization: of networks for series, or None for the network's default.
        image_size: side of the images in pixels; the data set's own without.
        data_dir: where the data set is, see `pipelines.arrays`.
    """
    facts = pipelines.info(dataset, data_dir)
    shape = facts.input_shape(image_size)
    of_networks = {
        "shortcut": shortcut,
        "projections": projections,
        "stride_in_1x1": stride_in_1x1,
        "width": width,
        "maxout": maxout,
        "z_normalization": z_normalization,
    }
    options: dict[str, Any] = {"num_classes": facts.num_classes, "input_shape": shape}
    options |= {name: value for name, value in of_networks.items() if value is not None}
    if normalization == "channel":
        return {**options, "mean": facts.mean, "std": facts.std}
    check_normalization(dataset, normalization)
    images, _ = pipelines.arrays(dataset, split, image_size=image_size, data_dir=data_dir)
    mean = images.mean(axis=0, dtype="float64")
    return {**options, "mean": mean, "std": (1.0, 1.0, 1.0)}


def check_normalization(dataset: str, normalization: str) -> None:
    """Raises `InputError` for a mean per pixel of what is not in memory, or of series."""
    if normalization != "channel":
        pipelines.check_images(dataset, f'normalization="{normalization}"')
    if normalization != "channel" and not pipelines.is_in_memory(dataset):
        raise InputError(
            f"A mean per pixel needs images of one size in memory, not {dataset}: take "
            'normalization="channel".'
        )


def check_inputs(takes_series: bool, model: str, dataset: str) -> None:
    """Raises `InputError` for a model for images and a data set of series, or the reverse.

    Args:
        takes_series: whether the model does.
        model: what errors call it.
        dataset: of `pipelines`.
    """
    series = pipelines.is_series(dataset)
    if series == takes_series:
        return
    kind, other = ("images", "series") if series else ("series", "images")
    ways = {
        "images": "another data set, such as digits, or the network resnet1d",
        "series": "another data set, digits_series or ucr, or a network such as resnet20",
    }
    raise InputError(
        f"{model} takes {kind}, and {dataset} is a data set of {other}: take {ways[kind]}."
    )


def class_names(dataset: str, split: str, data_dir: str | None = None) -> tuple[str, ...] | None:
    """What the classes of a data set are called, in the order of the labels; None without names.

    Args:
        dataset: of `pipelines`.
        split: one that is there; it is opened where only the files tell.
        data_dir: where the data set is, see `pipelines.info`.
    """
    known = zoo.entry.class_names(dataset)
    if known:
        return known
    facts = pipelines.info(dataset, data_dir)
    if facts.in_memory:
        return facts.class_names
    return pipelines.open_split(dataset, split, data_dir=data_dir).class_names


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
    nesterov: bool = False,
    weight_decay: float = 1e-4,
    decayed: str = "kernels",
    accumulate_steps: int = 1,
    clip_norm: float | None = None,
    loss_scaling: bool = False,
    ema: float = 0.0,
):
    """Returns the optimizer of a recipe and the callbacks that steer its learning rate.

    Args:
        schedule: "step" multiplies the learning rate by `decay_factor` at `boundaries`, "plateau"
            when `patience` evaluations in a row brought no better error; "cosine" lets it fall to 0
            at `train_steps`.
        learning_rate: after warm-up.
        train_steps: where the run ends.
        boundaries: steps in increasing order.
        decay_factor: see `schedule`.
        patience: see `schedule`.
        warmup_steps: of linear warm-up.
        warmup_until_error: training error, in [0, 1], below which the warm-up of ResNet-110 ends
            (Sec. 4.2); 0 for none.
        warmup_scale: what the learning rate is multiplied by until then.
        momentum, nesterov, weight_decay, decayed, accumulate_steps, clip_norm, loss_scaling, ema:
            as for `optimizers.SGD`.

    Raises:
        InputError: the arguments contradict each other.
    """
    from resnet_keras.training import limits, optimizers, schedules

    limits.check_schedule(
        schedule,
        train_steps=train_steps,
        boundaries=boundaries,
        warmup_steps=warmup_steps,
        warmup_until_error=warmup_until_error,
    )
    rate = schedules.make(
        schedule,
        learning_rate,
        train_steps=train_steps,
        boundaries=boundaries,
        decay_factor=decay_factor,
        warmup_steps=warmup_steps,
    )
    rules = []
    if schedule == "plateau":
        rules.append(schedules.DivideOnPlateau(factor=decay_factor, patience=patience))
    if warmup_until_error:
        rule = schedules.WarmUpUntilBelow(
            warmup_scale, warmup_until_error, batches=100 * accumulate_steps
        )
        rules.append(rule)
    optimizer = optimizers.SGD(
        rate,
        momentum,
        weight_decay,
        decayed,
        accumulate_steps=accumulate_steps,
        clip_norm=clip_norm,
        loss_scaling=loss_scaling,
        ema=ema,
        nesterov=nesterov,
    )
    return optimizer, rules


def compile_classifier(
    model,
    optimizer,
    *,
    label_smoothing: float = 0.0,
    jit_compile: bool | None = None,
    steps_per_execution: int = 1,
) -> None:
    """Compiles with softmax cross-entropy on logits, and top-1 and top-5 error as metrics.

    Builds the optimizer, one of `optimizers.SGD`.

    `jit_compile` is by default off on TensorFlow, whose own kernels were measured to be faster on
    CPUs, and on on JAX, where Keras would otherwise run every operation by itself.

    Labels may be int or, from mixup and cutmix, shares of each class. The metrics heed the weights
    of `pipelines.evaluation(replicas=...)`; Keras's own `val_loss` would count the examples that
    weigh nothing, so cross-entropy is a metric as well.

    A model of `distilled` learns from its teacher, too; the measures are its student's.
    """
    import keras

    from .distillation import Distilled
    from .metrics import CrossEntropy, cross_entropy, top1_error, top5_error

    if jit_compile is None:
        jit_compile = keras.backend.backend() == "jax"
    loss, measures = CrossEntropy(label_smoothing), [cross_entropy, top1_error, top5_error]
    if isinstance(model, Distilled):
        loss, measures = model.loss_of(label_smoothing), model.measures()
    model.compile(
        optimizer,
        loss=loss,
        weighted_metrics=measures,
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
        auto_scale_loss=False,  # the optimizer does
    )
    optimizer.build(model.trainable_variables)
