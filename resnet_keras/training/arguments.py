"""Checks of what `fit` is given, before anything is read or written."""

from collections.abc import Sequence

import keras

from resnet_keras.errors import InputError

from .callbacks import own_optimizer

DIRECTIONS = ("min", "max")
# They decide how training goes on, and have forgotten what they saw when a run goes on.
_BEGIN_ANEW = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.LearningRateScheduler,
)


def check(
    model: keras.Model,
    *,
    steps: int,
    eval_every: int,
    checkpoint_every: int | None,
    keep: int,
    monitor: tuple[str, str],
    callbacks: Sequence[keras.callbacks.Callback],
    evaluated: bool,
) -> None:
    """Checks arguments of `fit`.

    Args:
        model: compiled.
        steps: see `fit`, as for the following.
        eval_every: steps between evaluations.
        checkpoint_every: steps between checkpoints, or None.
        keep: how many checkpoints are kept.
        monitor: a measure, and "min" or "max".
        callbacks: the user's.
        evaluated: whether the run is evaluated.

    Raises:
        InputError: they cannot be, or do not fit one another.
    """
    if getattr(model, "optimizer", None) is None:
        raise InputError("The model is not compiled: call model.compile(optimizer, loss) first.")
    intervals = {"steps": steps, "eval_every": eval_every}
    if checkpoint_every is not None:
        intervals["checkpoint_every"] = checkpoint_every
    for name, value in {**intervals, "keep": keep}.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a positive whole number, not {value!r}.")
    if len(monitor) != 2 or monitor[1] not in DIRECTIONS:
        raise InputError(f"monitor is a measure and 'min' or 'max', not {monitor!r}.")
    if not evaluated and monitor[0].startswith("val_"):
        raise InputError(
            f"{monitor[0]} is measured by an evaluation: give test or evaluate, or name a measure "
            "of training as monitor, such as ('loss', 'min')."
        )
    _check_executions(model, intervals)
    for callback in callbacks:
        if isinstance(callback, _BEGIN_ANEW):
            raise InputError(
                f"Keras's {type(callback).__name__} begins anew whenever a run goes on, which "
                "would then end otherwise: take a LearningRateSchedule of the optimizer, "
                "optimizers.DivideOnPlateau, or a callback of your own with get_state and "
                "set_state."
            )


def _check_executions(model, intervals):
    """Between two executions of Keras's graph nobody looks at the run."""
    batches = batches_per_step(model)
    if model.steps_per_execution % batches:
        raise InputError(
            f"A step is accumulate_steps={batches} batches: compile with steps_per_execution="
            f"{batches} or a multiple, not {model.steps_per_execution}."
        )
    per_call = steps_per_call(model)
    for name, value in intervals.items():
        if value % per_call:
            raise InputError(
                f"{name}={value} must be a multiple of steps_per_execution={per_call}: the run is "
                "looked at only so often."
            )


def batches_per_step(model: keras.Model) -> int:
    """How many batches the optimizer makes one update of."""
    return getattr(own_optimizer(model), "accumulate_steps", 1)


def steps_per_call(model: keras.Model) -> int:
    """Updates between two times that callbacks see the run."""
    return max(model.steps_per_execution // batches_per_step(model), 1)
