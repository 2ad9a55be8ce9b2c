"""Stochastic gradient descent as in the paper, and the learning-rate rules of its recipes.

A learning rate is a schedule, a pure function of the step, times the optimizer's
`learning_rate_scale`, which the two data-dependent rules set: `DivideOnPlateau` and
`WarmUpUntilBelow`. The scale is an optimizer variable, so it is saved and restored with the rest.
"""

import collections
import math

import keras
from keras import ops

from .errors import InputError

DECAYED = ("kernels", "all")


@keras.saving.register_keras_serializable(package="resnet_keras")
class SGD(keras.optimizers.SGD):
    """SGD with momentum and coupled weight decay (Sec. 3.4: momentum 0.9, decay 1e-4).

    `weight_decay` is a gradient term: `weight_decay * w` is added to the gradient and passes
    through the momentum, as in Caffe and torch and as an `L2(weight_decay / 2)` regularizer does.
    Keras's own `weight_decay` is decoupled and, at the paper's settings, about ten times weaker.
    The term is added after all-reduce and clipping.

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: in [0, 1]; the learning rate stays inside the velocity (Caffe's form).
        weight_decay: not negative.
        decayed: "kernels" decays the kernels of convolutions and dense layers; "all" every
            trainable variable, as fb.resnet.torch and torchvision do.
        **kwargs: as for `keras.optimizers.SGD`.
    """

    def __init__(
        self, learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decayed="kernels", **kwargs
    ):
        if decayed not in DECAYED:
            raise InputError(f"decayed must be 'kernels' or 'all', not {decayed!r}.")
        if not weight_decay >= 0:
            raise InputError(f"weight_decay must not be negative, but is {weight_decay!r}.")
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.coupled_weight_decay = weight_decay
        self.decayed = decayed
        self.learning_rate_scale = self.add_variable(
            (), "ones", "float32", aggregation="only_first_replica", name="learning_rate_scale"
        )

    def build(self, variables):
        if not self.built:
            self._decayed_keys = {
                self._var_key(v) for v in variables if self.decayed == "all" or _is_kernel(v)
            }
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        if self._var_key(variable) in self._decayed_keys:
            decay = ops.cast(self.coupled_weight_decay, variable.dtype)
            gradient = ops.add(ops.cast(gradient, variable.dtype), ops.multiply(decay, variable))
        super().update_step(gradient, variable, learning_rate)

    def _get_current_learning_rate(self):
        rate = super()._get_current_learning_rate()
        return ops.multiply(rate, self.learning_rate_scale)

    def get_config(self):
        config = super().get_config()
        config.update(weight_decay=self.coupled_weight_decay, decayed=self.decayed)
        return config


def _is_kernel(variable):
    return variable.path.rsplit("/", 1)[-1] == "kernel"


def _warmed_up(rate, step, warmup_steps):
    """Linear warm-up: the first step runs at rate / warmup_steps."""
    if not warmup_steps:
        return rate
    return rate * ops.minimum((ops.cast(step, "float32") + 1.0) / warmup_steps, 1.0)


@keras.saving.register_keras_serializable(package="resnet_keras")
class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`base` times `factor` for every boundary passed: boundary 32000 acts from the 32,001st
    step on, so that 32,000 steps run before it (Sec. 4.2). Keras's `PiecewiseConstantDecay`
    changes one step later. Without boundaries it is constant.

    Args:
        base: the learning rate after warm-up.
        boundaries: steps in increasing order.
        factor: multiplies the rate at each boundary.
        warmup_steps: length of a linear warm-up.
    """

    def __init__(self, base, boundaries=(), factor=0.1, warmup_steps=0):
        if list(boundaries) != sorted(set(boundaries)) or any(b < 1 for b in boundaries):
            raise InputError(f"Step boundaries must be positive and increase, not {boundaries!r}.")
        self.base = base
        self.boundaries = list(boundaries)
        self.factor = factor
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "int32")
        # One constant per piece: repeated multiplication would round differently at each depth.
        rate = ops.convert_to_tensor(self.base, "float32")
        for passed, boundary in enumerate(self.boundaries, start=1):
            rate = ops.where(step >= boundary, self.base * self.factor**passed, rate)
        return _warmed_up(rate, step, self.warmup_steps)

    def get_config(self):
        return dict(vars(self))


@keras.saving.register_keras_serializable(package="resnet_keras")
class CosineDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from `base` to 0 at `total_steps`, after a linear warm-up inside them."""

    def __init__(self, base, total_steps, warmup_steps=0):
        if not 0 <= warmup_steps < total_steps:
            raise InputError(
                f"Cosine decay needs more steps ({total_steps}) than warm-up ({warmup_steps})."
            )
        self.base = base
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        done = ops.cast(step, "float32") - self.warmup_steps
        share = ops.clip(done / (self.total_steps - self.warmup_steps), 0.0, 1.0)
        rate = 0.5 * self.base * (1.0 + ops.cos(math.pi * share))
        return _warmed_up(rate, step, self.warmup_steps)

    def get_config(self):
        return dict(vars(self))


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
        self, monitor="val_top1_error", factor=0.1, patience=5, min_delta=1e-3, min_scale=1e-4
    ):
        super().__init__()
        self.monitor = monitor
        self.factor = factor
        self.patience = patience
        self.min_delta = min_delta
        self.min_scale = min_scale
        self.best = math.inf
        self.waited = 0

    def on_epoch_end(self, epoch, logs=None):
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
            variable = self.model.optimizer.learning_rate_scale
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

    def __init__(self, scale=0.1, error=0.8, batches=100):
        super().__init__()
        self.scale = scale
        self.error = error
        self.active = True
        self._last = collections.deque(maxlen=batches)
        self._epoch_sum = 0.0

    def on_train_begin(self, logs=None):
        if self.active:
            self.model.optimizer.learning_rate_scale.assign(self.scale)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_sum = 0.0

    def on_train_batch_end(self, batch, logs=None):
        if not self.active:
            return
        if "top1_error" not in (logs or {}):
            raise InputError("The warm-up rule watches the metric top1_error: compile with it.")
        # Keras logs the mean over the epoch so far; the difference of sums is this batch's error.
        epoch_sum = float(logs["top1_error"]) * (batch + 1)
        self._last.append(epoch_sum - self._epoch_sum)
        self._epoch_sum = epoch_sum
        if len(self._last) == self._last.maxlen and sum(self._last) / len(self._last) < self.error:
            self.active = False
            self.model.optimizer.learning_rate_scale.assign(1.0)
