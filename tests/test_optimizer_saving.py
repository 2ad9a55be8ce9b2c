"""Training that goes on from a saved file equals training that was not interrupted."""

import keras
import numpy as np
import pytest

from resnet_keras import optimizers, zoo
from resnet_keras.classifier import compile_classifier, make_optimizer
from resnet_keras.errors import InputError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (64, 8, 8, 3)).astype("uint8")
Y = GENERATOR.integers(0, 3, 64)
OPTIONS = {
    "defaults": {},
    "no_momentum": {"momentum": 0.0},
    "nesterov": {"nesterov": True},
    "decayed": {"decayed": "all", "weight_decay": 0.03},
    "accumulate_steps": {"accumulate_steps": 3},
    "clip_norm": {"clip_norm": 0.1},
    "loss_scaling": {"loss_scaling": True},
    "ema": {"ema": 0.6},
}
OPTIONS["all"] = {name: value for options in list(OPTIONS.values())[2:] for name, value in options.items()}


def network():
    keras.utils.set_random_seed(3)
    return zoo.get("resnet8", num_classes=3, input_shape=(8, 8, 3))


def train(model, first, last):
    """Updates from batches `first` to `last` - 1, of 8 examples each."""
    for index in range(first, last):
        batch = slice(8 * (index % 8), 8 * (index % 8) + 8)
        model.train_on_batch(X[batch], Y[batch])


def state(model):
    """Weights, statistics, the optimizer's variables, and the averages of the first two."""
    optimizer = model.optimizer
    arrays = [*model.get_weights(), *map(keras.ops.convert_to_numpy, optimizer.variables)]
    with optimizer.averaged():
        return [*arrays, *model.get_weights()]


def assert_same(one, other):
    for a, b in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def compiled(options, how):
    model = network()
    rate = optimizers.StepDecay(0.05, [6], warmup_steps=2)
    optimizer = optimizers.SGD(rate, **options)
    if how == "compile_classifier":
        compile_classifier(model, optimizer)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, auto_scale_loss=False, jit_compile=False)
    return model


@pytest.mark.parametrize("how", ["compile_classifier", "compile"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_resumed_equals_uninterrupted(options, how, tmp_path):
    model = compiled(options, how)
    train(model, 0, 5)
    model.optimizer.learning_rate_scale.assign(0.5)
    files = [tmp_path / "model.keras", tmp_path / "model.h5"]
    for file in files:
        model.save(file)
    train(model, 5, 10)
    for file in files:
        again = keras.models.load_model(file)
        assert int(keras.ops.convert_to_numpy(again.optimizer._iterations)) == 5
        assert float(again.optimizer.learning_rate_scale) == 0.5
        again.jit_compile = False  # `.h5` does not say, and compiling takes long
        train(again, 5, 10)
        assert_same(model, again)
