"""Training that goes on from a saved file equals training that was not interrupted."""

import keras
import numpy as np
import pytest
from optimizer_options import ALL, OPTIONS

from resnet_keras import optimizers, zoo
from resnet_keras.classification.classifier import compile_classifier
from resnet_keras.errors import InputError
from resnet_keras.networks import layers

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(64, 8, 8, 3)).astype("float32")
Y = GENERATOR.integers(0, 3, 64)


def small_network():
    """Batch normalization with and without scale, and a frozen one."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.BatchNormalization(trainable=False),
            keras.layers.Conv2D(4, 3, strides=2, use_bias=False),
            layers.BatchNormalization(scale=False),
            keras.layers.ReLU(),
            keras.layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def residual_network():
    keras.utils.set_random_seed(3)
    return zoo.get("resnet8", num_classes=3, input_shape=(8, 8, 3))


def plain_compile(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, auto_scale_loss=False, jit_compile=False)


def compiled(options, compiles=compile_classifier, network=small_network):
    model = network()
    rate = optimizers.StepDecay(0.02, [4], warmup_steps=2)
    compiles(model, optimizers.SGD(rate, **options))
    return model


def train(model, first, last, graph=False):
    """Calls on the batches `first` to `last` - 1, of 8 examples each; traced, or quick to begin."""
    model.jit_compile, model.run_eagerly = False, not graph  # an `.h5` file does not say
    for index in range(first, last):
        batch = slice(8 * index, 8 * index + 8)
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


def resumes(model, folder, graph=False):
    """Saves in both formats after 5 calls, and compares what goes on with what never stopped."""
    train(model, 0, 5, graph)
    model.optimizer.learning_rate_scale.assign(0.5)
    files = [folder / "model.keras", folder / "model.h5"]
    for file in files:
        model.save(file)
    train(model, 5, 8, graph)
    for file in files:
        again = keras.models.load_model(file)
        assert int(again.optimizer._iterations) == 5
        assert float(again.optimizer.learning_rate_scale) == 0.5
        train(again, 5, 8, graph)
        assert_same(model, again)


STATELESS = ("nesterov", "decayed", "clip_norm", "no_momentum")  # nothing more is saved of these


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=pytest.mark.slow if name in STATELESS else ())
        for name, options in OPTIONS.items()
    ],
)
def test_resumed_equals_uninterrupted(options, tmp_path):
    resumes(compiled(options), tmp_path)


@pytest.mark.slow
def test_a_residual_network_resumes(tmp_path):
    resumes(compiled(ALL, plain_compile, residual_network), tmp_path, graph=True)


def test_statistics_are_averaged_however_the_network_is_compiled():
    """The average of each weight and statistic that is trained, and of no other."""
    for compiles in (compile_classifier, plain_compile):
        model = compiled({"ema": 0.6}, compiles)
        expected = model.get_weights()
        for update in range(5):
            train(model, update, update + 1, graph=True)
            decay = min(0.6, (1 + update) / (10 + update))
            pairs = zip(expected, model.get_weights(), strict=True)
            expected = [decay * old + (1 - decay) * new for old, new in pairs]
        last = model.get_weights()
        with model.optimizer.averaged():
            averaged = model.get_weights()
        for value, right, variable in zip(averaged, expected, model.weights, strict=True):
            np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-6, err_msg=variable.path)
        moved = [np.abs(a - b).max() > 1e-4 for a, b in zip(averaged, last, strict=True)]
        assert moved == [False] * 4 + [True] * (len(moved) - 4)  # the frozen layer has the first 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "compiles"),
    [
        ("model.keras", compile_classifier),
        ("model.keras", plain_compile),
        ("model.h5", plain_compile),
    ],
)
def test_saved_before_training_it_begins_alike(name, compiles, tmp_path):
    model = compiled(ALL, compiles)
    model.layers[1].set_weights([w + 0.5 for w in model.layers[1].get_weights()])
    if compiles is compile_classifier:  # whose optimizer was built before
        model.optimizer._begin_averages()
    model.save(tmp_path / name)
    again = keras.models.load_model(tmp_path / name)
    train(model, 0, 3, graph=True)
    train(again, 0, 3, graph=True)
    assert_same(model, again)


def test_an_h5_file_that_is_loaded_and_saved_again_loses_nothing(tmp_path):
    model = compiled(ALL)
    train(model, 0, 5)
    model.save(tmp_path / "1.h5")
    keras.models.load_model(tmp_path / "1.h5").save(tmp_path / "2.h5")
    keras.models.load_model(tmp_path / "2.h5").save(tmp_path / "3.keras")
    again = keras.models.load_model(tmp_path / "3.keras")
    assert_same(model, again)


def test_averages_of_an_h5_file_wait_for_the_weights(tmp_path):
    model = compiled({"ema": 0.6})
    train(model, 0, 3)
    model.save(tmp_path / "model.h5")
    again = keras.models.load_model(tmp_path / "model.h5")
    with pytest.raises(InputError, match=r"model\.optimizer\.build\(model\.trainable_variables\)"):
        again.optimizer.swap_averages()
    again.optimizer.build(again.trainable_variables)
    assert_same(model, again)


def test_the_state_of_another_optimizer_is_refused(tmp_path):
    model = compiled({"ema": 0.6})
    train(model, 0, 1)
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="it has 23 variables and this one 12"):
        compiled({}).load_weights(tmp_path / "model.weights.h5")
    unbuilt = compiled({}, plain_compile)
    unbuilt.load_weights(tmp_path / "model.weights.h5")
    for _ in range(2):  # it does not go on without
        with pytest.raises(InputError, match="it has 23 variables and this one 12"):
            train(unbuilt, 0, 1)
    weights = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    weights[-1] = weights[-1][:1]
    with pytest.raises(InputError, match=r"shape \(1,\) where this one has \(8,\), .*average"):
        model.optimizer.set_weights(weights)
    # What the message advises:
    again = small_network()
    again.load_weights(tmp_path / "model.weights.h5")
    compile_classifier(again, optimizers.SGD())
    train(again, 0, 1)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    compile_classifier(again, optimizers.SGD())
    train(again, 0, 1)


def test_weights_without_an_optimizer_are_loaded(tmp_path):
    small_network().save_weights(tmp_path / "model.weights.h5")
    model = compiled({})
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        model.load_weights(tmp_path / "model.weights.h5")


def test_norms_that_were_not_measured_are_not_reported():
    model = compiled({})
    train(model, 0, 2)
    model.optimizer._iterations.assign(5)
    train(model, 2, 3)
    norms = model.optimizer.gradient_norms()
    assert list(norms) == [1, 2, 6]
    assert np.isfinite(list(norms.values())).all()
    saved = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    assert all(np.isfinite(values).all() for values in saved)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
