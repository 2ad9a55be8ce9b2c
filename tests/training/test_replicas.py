"""Strategies, the place among workers, and batches handed to replicas."""

import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import pipelines, zoo
from resnet_keras.classification.classifier import (
    compile_classifier,
    make_optimizer,
    model_options,
)
from resnet_keras.errors import InputError
from resnet_keras.training import callbacks, replicas
from resnet_keras.training.feed import Feed


@pytest.mark.parametrize("synchronized", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_all_state_is_the_same_on_every_replica(mirrored, synchronized):
    """So it does not matter which of them is saved, with synchronized statistics or without."""
    keras.utils.set_random_seed(0)
    options = model_options("digits", "trainval", image_size=8)
    with mirrored.scope():
        model = zoo.get(
            "resnet8", synchronized=synchronized, stochastic_depth=0.3, dropout=0.3, **options
        )
        optimizer, _ = make_optimizer(
            schedule="step", learning_rate=0.05, train_steps=4, accumulate_steps=2, ema=0.9
        )
        compile_classifier(model, optimizer, steps_per_execution=2)
    batches = pipelines.training(
        "digits", "trainval", 32, seed=0, image_size=8, parts=2, device=None
    )
    feed = Feed(mirrored, batches)
    model.fit(feed.batches(), steps_per_epoch=8, shuffle=False, verbose=0)
    for variable in [*model.variables, *optimizer.variables]:
        first, *others = (component.numpy() for component in variable.value.values)
        for other in others:
            np.testing.assert_array_equal(first, other, err_msg=variable.path)
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 4


def test_waiting_for_input_is_measured(mirrored):
    def slow(number):
        tf.numpy_function(lambda: time.sleep(0.3) or np.int64(0), [], tf.int64)
        return tf.fill([4, 2], tf.cast(number, tf.float32)), tf.zeros([4, 1])

    dataset = tf.data.Dataset.range(100).map(
        lambda n: tuple(map(tf.ensure_shape, slow(n), ([4, 2], [4, 1])))
    )
    counter = callbacks.Counter()
    with mirrored.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    counter.feed = Feed(mirrored, dataset)
    model.fit(counter.feed.batches(), steps_per_epoch=5, callbacks=[counter], verbose=0)
    assert counter.input_share() > 0.5
    assert callbacks.verdict(counter).startswith("bounded by input")


def test_replicas_take_their_shares_of_a_batch_in_order(mirrored):
    dataset = tf.data.Dataset.range(8).batch(4, drop_remainder=True).map(lambda x: (x, -x))
    feed = Feed(mirrored, dataset)
    assert feed.batches().num_batches == 2
    shares = [mirrored.experimental_local_results(batch[0]) for batch in feed]
    assert [[list(part.numpy()) for part in share] for share in shares] == [
        [[0, 1], [2, 3]],
        [[4, 5], [6, 7]],
    ]


def config(**changes):
    workers = ["a:1", "b:1"]
    whole = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 1}}
    return json.dumps({**whole, **changes})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "resnet_keras.launch"),
        ("{", "TF_CONFIG is wrong"),
        ("{}", "TF_CONFIG is wrong"),
        (config(task={"type": "worker", "index": 2}), "workers only"),
        (config(task={"type": "evaluator", "index": 0}), "workers only"),
        (config(cluster={"worker": ["a:1", "b:1"], "ps": ["c:1"]}), "workers only"),
    ],
)
def test_a_wrong_cluster_is_one_sentence(text, words, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=words):
        replicas.make_strategy("multi_worker")


def test_logical_cpus_belong_to_one_process(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config())
    with pytest.raises(InputError, match="not of multi_worker"):
        replicas.make_strategy("multi_worker", logical_cpus=2)


def test_the_place_among_workers(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config())
    assert replicas.workers() == (1, 2)
    assert not replicas.workers().is_chief
    assert replicas.workers(tf.distribute.get_strategy()) == (0, 1)


def test_parts_and_shares_make_up_the_batch():
    whole = pipelines.training("digits", "trainval", 32, seed=0, image_size=8)
    parts = [
        pipelines.training("digits", "trainval", 32, seed=0, image_size=8, shard=(n, 2))
        for n in range(2)
    ]
    images, labels = next(iter(whole))
    shares = [next(iter(part)) for part in parts]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in shares]), images)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in shares]), labels)
    both = pipelines.training("digits", "trainval", 32, seed=0, image_size=8, parts=4, shard=(1, 2))
    second = np.concatenate([images for images, _ in both.take(4)])
    expected = np.reshape(images, (4, 2, 4, 8, 8, 3))[:, 1].reshape(16, 8, 8, 3)
    np.testing.assert_array_equal(second, expected)
    with pytest.raises(InputError, match="3 equal parts"):
        pipelines.training("digits", "trainval", 32, seed=0, image_size=8, parts=3)
    with pytest.raises(InputError, match="equal ones of a batch of 32"):
        pipelines.training("digits", "trainval", 32, seed=0, image_size=8, shard=(0, 3))
    tested = [
        list(pipelines.evaluation("digits", "test", 100, image_size=8, replicas=2, shard=(n, 2)))
        for n in range(2)
    ]
    assert len(tested[0]) == len(tested[1]) == 4
    assert sum(float(tf.reduce_sum(weights)) for part in tested for *_, weights in part) == 360


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
