"""Fails when a new Keras has mended or moved what `keras_patches` replaces: look there then."""

import inspect

import pytest
from test_launch import SMALL, both

from resnet_keras.training import keras_patches


def test_keras_still_has_the_two_faults():
    averaging = inspect.getsource(keras_patches.REDUCE_PER_REPLICA)
    assert 'strategy.reduce("MEAN", v, axis=0)' in averaging
    building = inspect.getsource(keras_patches.MAYBE_SYMBOLIC_BUILD)
    assert "data_batch = self.distribute_strategy.reduce(" in building


@pytest.mark.slow
def test_truth_values_are_trained_on_by_replicas(mirrored, monkeypatch):
    """As Keras leaves it, they cannot be added up."""
    import keras
    import numpy as np
    import tensorflow as tf

    data = tf.data.Dataset.from_tensors((np.ones((4, 1), "float32"), np.ones((4, 1), bool)))
    with mirrored.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", loss=lambda y, x: (keras.ops.cast(y, x.dtype) - x) ** 2)
    trainer = keras_patches.trainer
    monkeypatch.setattr(trainer, "reduce_per_replica", keras_patches.REDUCE_PER_REPLICA)
    own = keras_patches.MAYBE_SYMBOLIC_BUILD
    monkeypatch.setattr(trainer.TensorFlowTrainer, "_maybe_symbolic_build", own)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bool"):
        model.fit(data, verbose=0)
    keras_patches.mend()
    assert np.isfinite(model.fit(data, verbose=0).history["loss"][0])


@pytest.mark.slow
@pytest.mark.parametrize("left", ["reduce_per_replica", "_maybe_symbolic_build"])
def test_each_of_them_alone_breaks_training(left, tmp_path):
    arguments = [*SMALL, "--strategy=multi_worker", f"--workdir={tmp_path / 'run'}"]
    code = f"""
import os, sys
from resnet_keras import train
from resnet_keras.commands import shell
shell.start_tensorflow()
from resnet_keras.training import keras_patches as faults
mend = faults.mend
def half():
    mend()
    if {left!r} == "reduce_per_replica":
        faults.trainer.reduce_per_replica = faults.REDUCE_PER_REPLICA
    else:
        faults.trainer.TensorFlowTrainer._maybe_symbolic_build = faults.MAYBE_SYMBOLIC_BUILD
faults.mend = half
try:
    status = train.main(["train", *{arguments!r}])
except Exception as error:
    print("broken:", type(error).__name__, flush=True)
    os._exit(1)
sys.exit(status)
"""
    assert all("broken: " in said for said in both(code))


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
