"""Stochastic gradient descent as in the paper.

The learning rate is a schedule times the optimizer's `learning_rate_scale`, see `schedules`.
"""

import contextlib
import types
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from resnet_keras import backends
from resnet_keras.errors import InputError

from . import limits, schedules

NORMS = 64  # updates whose gradient norm is remembered
UNSET = -1.0  # no norm: the norm of a bad gradient is NaN
INITIAL_LOSS_SCALE = 2.0**15
GROW_AFTER = 2000  # updates without overflow that double the loss scale
# Keras's own arguments for what this optimizer does itself.
_OWN = {
    "clipnorm": "clip_norm",
    "clipvalue": "clip_norm",
    "global_clipnorm": "clip_norm",
    "use_ema": "ema",
    "loss_scale_factor": "loss_scaling",
    "gradient_accumulation_steps": "accumulate_steps",
}
_KERAS_ARGUMENTS = {*_OWN, "ema_momentum", "ema_overwrite_frequency"}


@keras.saving.register_keras_serializable(package="resnet_keras")
class SGD(keras.optimizers.SGD):
    """SGD with momentum and coupled weight decay (Sec. 3.4: momentum 0.9, decay 1e-4).

    `weight_decay` is a gradient term: `weight_decay * w` is added to the gradient and passes
    through the momentum, as in Caffe and torch and as an `L2(weight_decay / 2)` regularizer does.
    Keras's own `weight_decay` is decoupled and, at the paper's settings, about ten times weaker.

    Accumulation, clipping, loss scaling and the norm act on gradients that are already summed over
    all replicas. Keras's own versions do not: under a strategy they raise (accumulation), clip each
    replica's share, or look for overflow on the first replica only; so their arguments are refused.
    Where an update may have to be left out, it is computed and not selected, without a branch:
    under mirrored replicas TensorFlow takes no branch around an update.

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: in [0, 1]; the learning rate stays inside the velocity (Caffe's form).
        weight_decay: not negative.
        decayed: "kernels" decays the kernels of convolutions and dense layers; "all" every
            trainable variable, as fb.resnet.torch and torchvision do.
        accumulate_steps: calls whose gradients are averaged for one update. `iterations`, which
            schedules see, counts updates.
        clip_norm: the gradient is shortened to this global norm, before weight decay is added.
        loss_scaling: for float16: losses are multiplied by a scale that is halved by an overflow,
            which leaves the update out, and doubled after 2,000 updates without. Compile with
            `auto_scale_loss=False`: Keras would wrap the optimizer in one of its own.
        ema: decay of an exponential moving average of the weights, such as 0.9999, or 0 for none;
            it begins as min(ema, (1 + updates) / (10 + updates)), so that the initial weights are
            forgotten. The statistics of `layers.BatchNormalization` are averaged with its weights,
            which is for TensorFlow: on JAX, Keras shows an optimizer the weights only. Weights and
            statistics that are not trained stay as they are. See `averaged`.
        nesterov, name: as for `keras.optimizers.SGD`.

    All state is made by `build`, so that `load_model` finds what was saved, `.keras` or `.h5`.
    State that does not fit is an `InputError`, where Keras warns and begins anew.

    Raises:
        InputError: an argument is out of range, or Keras's version of one that is above.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        decayed: str = "kernels",
        *,
        accumulate_steps: int = 1,
        clip_norm: float | None = None,
        loss_scaling: bool = False,
        ema: float = 0.0,
        **kwargs: Any,
    ) -> None:
        limits.check_sgd(
            decayed=decayed,
            weight_decay=weight_decay,
            accumulate_steps=accumulate_steps,
            clip_norm=clip_norm,
            ema=ema,
        )
        for theirs, ours in _OWN.items():
            if kwargs.get(theirs):
                raise InputError(f"{theirs} is wrong under several replicas: give {ours} instead.")
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.coupled_weight_decay = weight_decay
        self.decayed = decayed
        self.accumulate_steps = accumulate_steps
        self.clip_norm = clip_norm
        self.loss_scaling = loss_scaling
        self.ema = ema
        self._scales_losses = False  # whether it was asked to
        self.learning_rate_scale = self._state("learning_rate_scale", 1.0)
        self.loss_scale = self._state("loss_scale", INITIAL_LOSS_SCALE if loss_scaling else 1.0)
        self._without_overflow = self._state("without_overflow", 0.0)
        self._norms = self._state("norms", UNSET, (NORMS,))
        self._unbuilt = len(self.variables)  # variables that are there before `build`
        # Hidden from Keras, which takes variables in a list or dict for the optimizer's own.
        self._averages = types.SimpleNamespace(pairs={}, statistics=[])

    def _state(self, name, value, shape=()):
        """A variable that every replica has and sets alike."""
        return self.add_variable(
            shape,
            keras.initializers.Constant(value),
            "float32",
            aggregation="only_first_replica",
            name=name,
        )

    def build(self, variables):
        """Makes all state.

        With no variables it waits for a later call: that is what Keras's reader of `.h5` files
        gives for every functional model, before it sets the weights.
        """
        if not self.built and variables:
            with (
                backends.eagerly()
            ):  # `fit` may call this in its graph, where values are not assigned
                self._build(variables)

    def _build(self, variables):
        held = self.variables[self._unbuilt :]  # by `set_weights`
        self._decayed_keys = {
            self._var_key(v) for v in variables if self.decayed == "all" or _is_kernel(v)
        }
        super().build(variables)  # momenta
        self._sums = []
        if self.accumulate_steps > 1:
            self._sums = self.add_optimizer_variables(variables, "gradient_sum")
        if self.ema:
            self._add_averages(variables)
        if held:
            self._take_over(held)

    def _take_over(self, held):
        """Puts values that came before `build` where they belong."""
        before, own = self.variables[: self._unbuilt], self.variables[self._unbuilt + len(held) :]
        error = _misfit([*before, *own], [*before, *held])
        for variable in own if error else held:
            self._tracker.untrack(variable)
        if error:
            self.built = False  # so that nothing goes on without the state that was loaded
            raise error
        for variable, value in zip(own, held, strict=True):
            variable.assign(value)

    def set_weights(self, weights):
        """Assigns all variables; before `build`, holds what it is to assign.

        Raises:
            InputError: they are not as many, or not of the shapes, as this optimizer's.
        """
        weights = list(weights)
        if not self.built:
            for variable in self.variables[self._unbuilt :]:
                self._tracker.untrack(variable)
            for index, value in enumerate(weights[self._unbuilt :]):
                self.add_variable(value.shape, "zeros", str(value.dtype), name=f"loaded_{index}")
        if error := _misfit(self.variables, weights):
            raise error
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def load_own_variables(self, store):
        """Reads what a file of Keras's holds, or keeps it until there are variables."""
        values = [store[str(index)] for index in range(len(store.keys()))]
        if not values:  # a file of weights only, of which Keras warns
            super().load_own_variables(store)
        elif self.built and len(values) == self._unbuilt:  # saved before the first update
            values += [ops.convert_to_numpy(v) for v in self.variables[self._unbuilt :]]
            self.set_weights(values)
            self._begin_averages()
        else:
            self.set_weights(values)

    def _add_averages(self, variables):
        # Keras gives an optimizer what is trained; batch normalization ties its statistics to that.
        statistics = [s for v in variables for s in getattr(v, "moving_statistics", ())]
        for variable in [*variables, *statistics]:
            name = f"{variable.path.replace('/', '_')}_average"
            average = self._state(name, 0.0, variable.shape)
            self._averages.pairs[self._var_key(variable)] = (variable, average)
        self._averages.statistics += [self._var_key(v) for v in statistics]
        self._begin_averages()

    def _begin_averages(self):
        for variable, average in self._averages.pairs.values():
            average.assign(_copied(variable))

    @contextlib.contextmanager
    def averaged(self):
        """The weights are their averages inside the `with` block, and trained on after it."""
        self.swap_averages()
        try:
            yield
        finally:
            self.swap_averages()

    def swap_averages(self):
        """Exchanges the weights and their averages.

        Raises:
            InputError: the optimizer is not built, as after `load_model` of an `.h5` file.
        """
        if self.ema and not self.built:
            raise InputError(
                "The optimizer does not know the model's weights yet: call "
                "model.optimizer.build(model.trainable_variables)."
            )
        if self.ema and not int(ops.convert_to_numpy(self.iterations)):
            self._begin_averages()  # the weights may have been loaded since `build`
        for variable, average in self._averages.pairs.values():
            value = _copied(variable)
            variable.assign(_copied(average))
            average.assign(value)

    @property
    def iterations(self):
        """Updates that were made or, after an overflow, left out."""
        if self.accumulate_steps == 1:
            return self._iterations
        return ops.floor_divide(self._iterations, self.accumulate_steps)

    def gradient_norms(self):
        """The gradient's global norm at each of the last updates.

        Returns:
            {update: norm}, updates counted from 1, oldest first, at most `NORMS`; before clipping
            and weight decay. Updates that were counted and not made here are left out.
        """
        last = int(ops.convert_to_numpy(self.iterations))
        norms = ops.convert_to_numpy(self._norms)
        steps = range(max(1, last - NORMS + 1), last + 1)
        return {step: float(norms[step % NORMS]) for step in steps if norms[step % NORMS] != UNSET}

    def learning_rate_at(self, update):
        """The learning rate of an update, counted from 1, at the present `learning_rate_scale`."""
        return float(ops.convert_to_numpy(self._rate(update - 1)))

    def scale_loss(self, loss):
        """Multiplies the loss, against underflow of its gradients."""
        self._scales_losses = True
        return loss * self.loss_scale if self.loss_scaling else loss

    def _all_reduce_sum_gradients(self, grads_and_vars):
        reduced = super()._all_reduce_sum_gradients(grads_and_vars)  # TensorFlow's optimizer only
        return list(zip(*self._prepare(*zip(*reduced, strict=True)), strict=True))

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if keras.backend.backend() != "tensorflow":
            grads, trainable_variables = self._prepare(grads, trainable_variables)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _prepare(self, gradients, variables):
        """Adds up gradients, and decides by what they are multiplied and whether they are used."""
        if self.loss_scaling and not self._scales_losses:
            raise InputError(
                "Keras scales the loss in this optimizer's place, which has loss_scaling=True: "
                "give compile(auto_scale_loss=False) beside it, or leave loss_scaling out."
            )
        if self._sums:
            own = [self._sums[self._get_variable_index(v)] for v in variables]
            gradients = [ops.add(s, g) for s, g in zip(own, gradients, strict=True)]
        self._due = None  # whether this call ends in an update; None: always
        if self.accumulate_steps > 1:
            self._due = ops.equal(
                (self._iterations + 1) % self.accumulate_steps,
                ops.zeros((), self._iterations.dtype),
            )
        divisor = self.loss_scale * float(self.accumulate_steps)
        norm = _global_norm(gradients) / divisor
        self._remember(norm)
        self._used = self._due
        if self.loss_scaling:
            finite = ops.isfinite(norm)
            self._used = finite if self._due is None else ops.logical_and(self._due, finite)
            self._rescale(finite)
        self._factor = None  # of the summed gradients; None: 1
        if self.accumulate_steps > 1 or self.loss_scaling:
            self._factor = 1.0 / divisor
        if self.clip_norm is not None:
            shortened = ops.minimum(1.0, self.clip_norm / ops.maximum(norm, 1e-12))
            self._factor = shortened if self._factor is None else self._factor * shortened
        if self._averages.statistics and keras.backend.backend() == "jax":
            # They would be what they were when the step was compiled.
            raise InputError(
                "On JAX, ema cannot average the statistics of batch normalization: leave ema out, "
                "set layer.trainable = False for those layers, or set KERAS_BACKEND=tensorflow."
            )
        if self.ema:
            updates = ops.cast(self.iterations, "float32")
            self._average_decay = ops.minimum(self.ema, (1.0 + updates) / (10.0 + updates))
        for key in self._averages.statistics:
            self._follow(*self._averages.pairs[key])
        return gradients, variables

    def _remember(self, norm):
        place = ops.cast((self.iterations + 1) % NORMS, "int32")
        here = ops.equal(ops.arange(NORMS, dtype="int32"), place)
        self._norms.assign(ops.where(here, norm, ops.convert_to_tensor(self._norms)))

    def _rescale(self, finite):
        """Halves the loss scale after an overflow, doubles it after `GROW_AFTER` good updates."""
        due = True if self._due is None else self._due
        # As tensors: on JAX, `where` takes no variables.
        now, before = map(ops.convert_to_tensor, (self.loss_scale, self._without_overflow))
        count = ops.where(finite, before + 1.0, 0.0)
        grown = ops.where(count >= GROW_AFTER, now * 2.0, now)
        scale = ops.where(finite, grown, ops.maximum(now * 0.5, 1.0))
        count = ops.where(count >= GROW_AFTER, 0.0, count)
        self._without_overflow.assign(ops.where(due, count, before))
        self.loss_scale.assign(ops.where(due, scale, now))

    def _follow(self, variable, average):
        decay = ops.cast(self._average_decay, variable.dtype)
        value = average * decay + variable * (1.0 - decay)
        self.assign(average, self._if_used(value, average))

    def _if_used(self, value, otherwise):
        if self._used is None:
            return value
        return ops.where(self._used, value, ops.convert_to_tensor(otherwise, value.dtype))

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, as Keras asks for each."""
        key, index = self._var_key(variable), self._get_variable_index(variable)
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        if self._sums:
            self.assign(self._sums[index], ops.where(self._due, ops.zeros_like(gradient), gradient))
        if self._factor is not None:
            gradient = gradient * ops.cast(self._factor, dtype)
        if key in self._decayed_keys:
            decay = ops.cast(self.coupled_weight_decay, dtype)
            gradient = ops.add(gradient, ops.multiply(decay, variable))
        self._step(gradient, variable, learning_rate, index)
        if key in self._averages.pairs:
            self._follow(variable, self._averages.pairs[key][1])

    def _step(self, gradient, variable, learning_rate, index):
        """What Keras's `update_step` computes, selected where the update is used."""
        learning_rate = ops.cast(learning_rate, variable.dtype)
        change = ops.multiply(gradient, learning_rate)
        if self.momentum == 0:
            self.assign_sub(variable, self._if_used(change, 0.0))
            return
        velocity, momentum = self.momentums[index], ops.cast(self.momentum, variable.dtype)
        new = ops.subtract(ops.multiply(velocity, momentum), change)
        step = ops.subtract(ops.multiply(new, momentum), change) if self.nesterov else new
        self.assign(velocity, self._if_used(new, velocity))
        self.assign_add(variable, self._if_used(step, 0.0))

    def _get_current_learning_rate(self):
        return self._rate(self.iterations)  # Keras's schedules see calls, and not updates

    def _rate(self, updates):
        """The learning rate after so many updates."""
        rate = self._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = rate(updates)
        else:
            rate = super()._get_current_learning_rate()
        return ops.multiply(rate, self.learning_rate_scale)

    def get_config(self):
        """The arguments that make this optimizer."""
        config = super().get_config()
        config = {key: value for key, value in config.items() if key not in _KERAS_ARGUMENTS}
        own = ("decayed", "accumulate_steps", "clip_norm", "loss_scaling", "ema")
        config.update({name: getattr(self, name) for name in own})
        return {**config, "weight_decay": self.coupled_weight_decay}

    def __repr__(self) -> str:
        rate = self._learning_rate
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            with contextlib.suppress(Exception):  # a compiled step has no number for it
                rate = float(f"{float(ops.convert_to_numpy(rate)):.7g}")  # float32's digits
        settings = {"momentum": self.momentum, "weight_decay": self.coupled_weight_decay}
        names = ("decayed", "accumulate_steps", "clip_norm", "loss_scaling", "ema", "nesterov")
        settings.update({name: getattr(self, name) for name in names})
        return schedules.described(self, rate, **settings)


def _global_norm(gradients):
    squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients]
    return ops.sqrt(ops.sum(ops.stack(squares)))


def _copied(variable):
    """Its value in memory of its own: JAX would let two variables share one array."""
    return ops.copy(variable)


def _misfit(variables, values):
    """The error if the values cannot be those of the variables, else None."""
    saved, needed = ([tuple(v.shape) for v in side] for side in (values, variables))
    if saved == needed:
        return None
    pairs = zip(saved, needed, strict=False)
    index = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    what = f"{len(saved)} variables and this one {len(needed)}"
    if index is not None:
        what = f"shape {saved[index]} where this one has {needed[index]}, {variables[index].path}"
    return InputError(
        f"The saved state is of another optimizer or network: it has {what}; load without it, by "
        "load_model(..., compile=False) or load_weights before compile, and compile then. (Keras "
        "wraps the optimizer of a float16 model: for its state, first call "
        "keras.config.set_dtype_policy('mixed_float16').)"
    )


def _is_kernel(variable):
    return variable.path.rsplit("/", 1)[-1] == "kernel"


def scheduled(
    *,
    schedule: str,
    learning_rate: float,
    train_steps: int,
    boundaries: Sequence[int] = (),
    decay_factor: float = 0.1,
    warmup_steps: int = 0,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    clip_norm: float | None = None,
    power: float = 0.9,
) -> SGD:
    """SGD with a schedule; arguments as of `schedules.make` and `SGD`."""
    rate = schedules.make(
        schedule,
        learning_rate,
        train_steps=train_steps,
        boundaries=boundaries,
        decay_factor=decay_factor,
        warmup_steps=warmup_steps,
        power=power,
    )
    return SGD(rate, momentum, weight_decay, clip_norm=clip_norm)
