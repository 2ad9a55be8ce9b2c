"""A segmenter's run that breaks off, in training or in evaluation, ends in the same bits."""

import contextlib
import csv
import sys

import keras
import numpy as np
import pytest

from resnet_keras import optimizers, training
from resnet_keras.pipelines import masks
from resnet_keras.segmentation import metrics, recipe


class Broken(Exception):
    pass


class Break(keras.callbacks.Callback):
    """Breaks off in a step, or in the so-many-th batch of the second evaluation."""

    def __init__(self, step=None, test_batch=None):
        super().__init__()
        self.step, self.test_batch, self.tests = step, test_batch, 0

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            raise Broken

    def on_test_begin(self, logs=None):
        self.tests += 1

    def on_test_batch_end(self, batch, logs=None):
        if self.tests == 2 and batch == self.test_batch:
            raise Broken


@pytest.fixture(scope="module")
def source():
    return masks.open_split("shapes", "train[:12]")


def compiled(classes, auxiliary):
    keras.utils.set_random_seed(0)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(classes, 3, padding="same")(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear", name="logits")(x)
    output = {"logits": x, "auxiliary": keras.layers.Identity(name="auxiliary")(x)}
    model = keras.Model(pixels, output if auxiliary else x)
    return recipe.compiled(model, optimizers.SGD(0.1, 0.9), classes)


def run(source, folder, callbacks=(), auxiliary=False, strategy=None):
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = compiled(len(source.class_names), auxiliary)

    def train(start_step):
        batches = masks.training_of(
            source, 4, seed=1, start_step=start_step, crop_size=(32, 32), device=None
        )
        return recipe.targets_for(model, batches)

    test = masks.evaluation_of(source, 4, device=None, replicas=2 if strategy else None)
    training.fit(
        model,
        train,
        recipe.targets_for(model, test),
        workdir=folder,
        steps=6,
        eval_every=3,
        checkpoint_every=2,
        monitor=recipe.MONITOR,
        columns=recipe.COLUMNS,
        callbacks=list(callbacks),
        strategy=strategy,
        progress=False,
        tensorboard=False,
    )
    with open(folder / "metrics.csv", newline="") as file:
        rows = [{n: row[n] for n in recipe.COLUMNS} for row in csv.DictReader(file)]
    return model.get_weights(), rows


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    weights, rows = run(source, tmp_path_factory.mktemp("runs") / "whole")
    assert len(rows) == 2
    assert all(float(row[name]) > 0 for row in rows for name in recipe.COLUMNS)
    return weights, rows


@pytest.mark.parametrize(
    "where", [{"step": 5}, pytest.param({"test_batch": 1}, marks=pytest.mark.slow)]
)
def test_a_run_that_breaks_off_ends_in_the_same_bits(source, undisturbed, tmp_path, where):
    with pytest.raises(Broken):
        run(source, tmp_path / "run", [Break(**where)])
    weights, rows = run(source, tmp_path / "run")
    for one, other in zip(weights, undisturbed[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert rows == undisturbed[1]


@pytest.mark.slow
def test_the_matrix_of_an_epoch_is_in_its_checkpoint(source, tmp_path):
    """At step 5 the counts are those of steps 4 and 5, of which the checkpoint holds the first."""
    seen = {}

    class Watch(Break):
        def on_train_batch_end(self, batch, logs=None):
            step = int(self.model.optimizer.iterations)
            (metric,) = (
                m for m in everything(self.model) if isinstance(m, metrics.ConfusionMatrix)
            )
            seen[step] = int(np.asarray(metric.matrix).sum())
            super().on_train_batch_end(batch, logs)

    with pytest.raises(Broken):
        run(source, tmp_path / "run", [Watch(step=5)])
    before = dict(seen)
    assert before[5] > before[4] > 0
    run(source, tmp_path / "run", [Watch()])
    assert seen == {**before, 6: seen[6]}
    assert seen[6] > seen[5]


def everything(model):
    return [part for metric in model.metrics for part in getattr(metric, "metrics", [metric])]


@pytest.mark.slow
def test_two_replicas_and_a_second_output_learn_as_one_does(
    source, undisturbed, tmp_path, mirrored
):
    weights, rows = run(source, tmp_path / "two", strategy=mirrored)
    for one, other in zip(weights, undisturbed[0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    for one, other in zip(rows, undisturbed[1], strict=True):
        for name in recipe.COLUMNS:
            assert float(one[name]) == pytest.approx(float(other[name]), abs=1e-3)
    _, rows = run(source, tmp_path / "auxiliary", auxiliary=True)
    # The same logits twice: the loss of the first step is 1.4 times that of one.
    assert set(rows[0]) == set(recipe.COLUMNS)
    assert float(rows[0]["loss"]) > float(undisturbed[1][0]["loss"])


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
