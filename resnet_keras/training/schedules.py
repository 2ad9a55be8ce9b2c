"""The learning-rate rules of the paper's recipes.

A learning rate is a schedule, a pure function of the step, times the optimizer's
`learning_rate_scale`, which the two data-dependent rules set: `DivideOnPlateau` and
`WarmUpUntilBelow`. The scale is an optimizer variable, so it is saved and restored with the rest.
"""

import collections
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from resnet_keras.errors import InputError

from . import limits


def described(instance: object, first: object, **settings: Any) -> str:
    """How an object is made, as its `repr`: its class, its first argument, and the others."""
    texts = [repr(first), *(f"{name}={value!r}" for name, value in settings.items())]
    return f"{type(instance).__name__}({', '.join(texts)})"


def _warmed_up(rate, step, warmup_steps):
    """Linear warm-up: the first step runs at rate / warmup_steps."""
    if not warmup_steps:
        return rate
    return rate * ops.minimum((ops.cast(step, "float32") + 1.0) / warmup_steps, 1.0)


@keras.saving.register_keras_serializable(package="resnet_keras")
class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`base` times `factor` for every boundary passed; constant without boundaries.

    Boundary 32000 acts from the 32,001st step on, so that 32,000 steps run before it (Sec. 4.2).
    Keras's `PiecewiseConstantDecay` changes one step later.

    Args:
        base: the learning rate after warm-up.
        boundaries: steps in increasing order.
        factor: multiplies the rate at each boundary.
        warmup_steps: length of a linear warm-up.
    """

    def __init__(
        self,
        base: float,
        boundaries: Sequence[int] = (),
        factor: float = 0.1,
        warmup_steps: int = 0,
    ) -> None:
        limits.check_boundaries(boundaries)
        self.base = base
        self.boundaries = list(boundaries)
        self.factor = factor
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        step = ops.cast(step, "int32")
        # One constant per piece: repeated multiplication would round differently at each depth.
        rate = ops.convert_to_tensor(self.base, "float32")
        for passed, boundary in enumerate(self.boundaries, start=1):
            rate = ops.where(step >= boundary, self.base * self.factor**passed, rate)
        return _warmed_up(rate, step, self.warmup_steps)

    def get_config(self):
        """The arguments that make this schedule."""
        return dict(vars(self))

    def __repr__(self) -> str:
        settings = self.get_config()
        return described(self, settings.pop("base"), **settings)


@keras.saving.register_keras_serializable(package="resnet_keras")
class CosineDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from `base` to 0 at `total_steps`, after a linear warm-up inside them."""

    def __init__(self, base: float, total_steps: int, warmup_steps: int = 0) -> None:
        limits.check_cosine(total_steps, warmup_steps)
        self.base = base
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        done = ops.cast(step, "float32") - self.warmup_steps
        share = ops.clip(done / (self.total_steps - self.warmup_steps), 0.0, 1.0)
        rate = 0.5 * self.base * (1.0 + ops.cos(math.pi * share))
        return _warmed_up(rate, step, self.warmup_steps)

    def get_config(self):
        """The arguments that make this schedule."""
        return dict(vars(self))

    def __repr__(self) -> str:
        settings = self.get_config()
        return described(self, settings.pop("base"), **settings)


@keras.saving.register_keras_serializable(package="resnet_keras")
class PolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`base` times the share of steps that are left, to a power: 0 at `total_steps`.

    DeepLab's "poly" (arXiv 1606.00915, Sec. 4.3.1). A linear warm-up is inside of the steps, and
    does not count among those of the decay. Keras's schedule of this name has no warm-up.

    Args:
        base: the learning rate after warm-up.
        total_steps: where it is 0.
        power: 1 is a straight line.
        warmup_steps: length of a linear warm-up.
    """

    def __init__(
        self, base: float, total_steps: int, power: float = 0.9, warmup_steps: int = 0
    ) -> None:
        limits.check_cosine(total_steps, warmup_steps, decay=limits.DECAYS["poly"])
        if not power > 0:
            raise InputError(f"The power of a polynomial must be positive, not power={power!r}.")
        self.base = base
        self.total_steps = total_steps
        self.power = power
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        done = ops.cast(step, "float32") - self.warmup_steps
        share = ops.clip(done / (self.total_steps - self.warmup_steps), 0.0, 1.0)
        return _warmed_up(self.base * ops.power(1.0 - share, self.power), step, self.warmup_steps)

    def get_config(self):
        """The arguments that make this schedule."""
        return dict(vars(self))

    def __repr__(self) -> str:
        settings = self.get_config()
        return described(self, settings.pop("base"), **settings)


def _own_optimizer(model):
    """The model's `SGD`, which Keras may have wrapped to scale the loss."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def make(
    schedule: str,
    learning_rate: float,
    *,
    train_steps: int,
    boundaries: Sequence[int] = (),
    decay_factor: float = 0.1,
    warmup_steps: int = 0,
    power: float = 0.9,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of a recipe by the name of its schedule.

    Args:
        schedule: "cosine" and "poly" fall to 0 at `train_steps`; "step" is multiplied by
            `decay_factor` at `boundaries`, and "plateau", which `DivideOnPlateau` steers, has none.
        learning_rate: after the warm-up.
        train_steps: where the run ends.
        boundaries: steps in increasing order.
        decay_factor: see `schedule`.
        warmup_steps: of a linear warm-up.
        power: of "poly".
    """
    if schedule == "cosine":
        return CosineDecay(learning_rate, train_steps, warmup_steps)
    if schedule == "poly":
        return PolynomialDecay(learning_rate, train_steps, power, warmup_steps)
    return StepDecay(learning_rate, boundaries, decay_factor, warmup_steps)


class DivideOnPlateau(keras.callbacks.Callback):
    """Multiplies the learning rate by `factor` when the monitored error plateaus (Sec. 3.4).

    Args:
        monitor: a logged quantity to be small, read at the end of each `fit` epoch.
        factor: in (0, 1).
        patience: evaluations without improvement that make a plateau.
        min_delta: what counts as an improvement.
        min_scale: the scale is not taken below this.

    The optimizer must be this module's `SGD`. `keras.callbacks.ReduceLROnPlateau` cannot be used
    with a schedule, and so not with a warm-up.
    """

    def __init__(
        self,
        monitor: str = "val_top1_error",
        factor: float = 0.1,
        patience: int = 5,
        min_delta: float = 1e-3,
        min_scale: float = 1e-4,
    ) -> None:
        super().__init__()
        self.monitor = monitor
        self.factor = factor
        self.patience = patience
        self.min_delta = min_delta
        self.min_scale = min_scale
        self.best = math.inf
        self.waited = 0

    def get_state(self):
        """What decides from here on, ready for JSON."""
        return {"best": self.best, "waited": self.waited}

    def set_state(self, state):
        """Goes on from the state of a checkpoint."""
        self.best, self.waited = state["best"], state["waited"]

    def on_epoch_end(self, epoch, logs=None):
        """Divides the learning rate, if this evaluation makes a plateau."""
        current = (logs or {}).get(self.monitor)
        if current is None:
            raise InputError(
                f"The plateau rule watches {self.monitor!r}, which is not among the logs: "
                f"{', '.join(logs or {})}; evaluate at the end of each epoch."
            )
        if current < self.best - self.min_delta:
            self.best, self.waited = current, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.waited = 0
            variable = _own_optimizer(self.model).learning_rate_scale
            # A relative margin: three divisions by 10 in float32 end a rounding below 1e-3.
            scale = float(ops.convert_to_numpy(variable)) * self.factor
            if scale >= self.min_scale * 0.999:
                variable.assign(scale)


class WarmUpUntilBelow(keras.callbacks.Callback):
    """The warm-up of ResNet-110 (Sec. 4.2): lr 0.01 until training error is below 80 %, then 0.1.

    Args:
        scale: of the learning rate during warm-up.
        error: training top-1 error, in [0, 1], that ends it.
        batches: the error is the mean over the last so many batches, whatever epochs they are in;
            a single batch falls below by chance.

    Needs the metric `top1_error` and this module's `SGD`.
    """

    def __init__(self, scale: float = 0.1, error: float = 0.8, batches: int = 100) -> None:
        super().__init__()
        self.scale = scale
        self.error = error
        self.active = True
        self._last: collections.deque[float] = collections.deque(maxlen=batches)
        self._seen = 0  # batches of the epoch so far,
        self._before = 0  # those of them before `fit` was resumed in the middle of the epoch,
        self._epoch_sum = 0.0  # and the sum of their errors

    def get_state(self):
        """What decides from here on, ready for JSON."""
        return {
            "active": self.active,
            "last": list(self._last),
            "seen": self._seen,
            "epoch_sum": self._epoch_sum,
        }

    def set_state(self, state):
        """Goes on from the state of a checkpoint."""
        self.active, self._seen = state["active"], state["seen"]
        self._epoch_sum = state["epoch_sum"]
        self._last.extend(state["last"])

    def on_train_begin(self, logs=None):
        """Scales the learning rate, unless the warm-up is over."""
        if self.active:
            _own_optimizer(self.model).learning_rate_scale.assign(self.scale)

    def on_epoch_begin(self, epoch, logs=None):
        """Takes note of where the epoch begins."""
        self._before = self._seen

    def on_epoch_end(self, epoch, logs=None):
        """Begins the mean of the next epoch."""
        self._seen, self._epoch_sum = 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Ends the warm-up, once the error is low enough."""
        if not self.active:
            return
        if "top1_error" not in (logs or {}):
            raise InputError("The warm-up rule watches the metric top1_error: compile with it.")
        # Keras logs the mean over the epoch so far; the difference of sums is this batch's error,
        # or that of the batches of one execution.
        seen = self._before + batch + 1
        new, epoch_sum = seen - self._seen, float(logs["top1_error"]) * seen
        self._last.extend([(epoch_sum - self._epoch_sum) / new] * new)
        self._seen, self._epoch_sum = seen, epoch_sum
        if len(self._last) == self._last.maxlen and sum(self._last) / len(self._last) < self.error:
            self.active = False
            _own_optimizer(self.model).learning_rate_scale.assign(1.0)
