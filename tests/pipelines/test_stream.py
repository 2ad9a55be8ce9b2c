"""Order and randomness are a pure function of (seed, step)."""

import time

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import facts, pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import augment, stream

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), "uint8")
LABELS = np.arange(50, dtype="int32")


def batches(count, **kwargs):
    kwargs = {"seed": 1, "augment": augment.padded_crop(32, facts.CIFAR10_MEAN, 4, True), **kwargs}
    dataset = stream.prefetch(stream.training(IMAGES, LABELS, 16, **kwargs))
    return list(dataset.take(count).as_numpy_iterator())


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_step_is_byte_identical_when_started_there():
    reached = batches(12)
    for step in (0, 3, 7, 11):
        assert_same(reached[step], batches(1, start_step=step)[0])
    assert reached[0][0].dtype == np.uint8
    assert reached[0][1].dtype == np.int32


def test_a_far_step_costs_nothing():
    start = time.process_time()
    assert len(batches(1, start_step=10**12)) == 1
    assert time.process_time() - start < 5


def test_seed_and_step_change_order_and_draws():
    first, second = batches(2)
    other = batches(1, seed=2)[0]
    assert not np.array_equal(first[1], second[1])
    assert not np.array_equal(first[1], other[1])


def test_every_epoch_is_another_permutation():
    order = stream.indices(1000, 48, seed=5)
    drawn = np.concatenate([i for _, i in order.take(125).as_numpy_iterator()])
    epochs = drawn.reshape(6, 1000)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(1000))
    assert len({tuple(epoch[:10]) for epoch in epochs}) == 6
    # A permutation without structure: neighbours are not correlated, nothing stays in place.
    assert abs(np.corrcoef(epochs[0][:-1], epochs[0][1:])[0, 1]) < 0.1
    assert (epochs[0] == np.arange(1000)).mean() < 0.01


def test_a_batch_larger_than_the_data_set_spans_epochs():
    (_, drawn) = next(stream.indices(5, 12, seed=0).as_numpy_iterator())
    np.testing.assert_array_equal(np.sort(drawn[:5]), np.arange(5))
    np.testing.assert_array_equal(np.sort(drawn[5:10]), np.arange(5))


def test_evaluation_visits_every_example_once_in_order():
    found = list(stream.prefetch(stream.evaluation(IMAGES, LABELS, 16)).as_numpy_iterator())
    assert [len(labels) for _, labels in found] == [16, 16, 16, 2]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), LABELS)


def test_weighted_batches_are_filled_up_with_weightless_examples():
    batches = stream.weighted(stream.evaluation(IMAGES, LABELS, 16), 16)
    assert [spec.shape[0] for spec in tf.nest.flatten(batches.element_spec)] == [16] * 3
    found = list(batches.as_numpy_iterator())
    assert [len(labels) for _, labels, _ in found] == [16] * 4
    weights = np.concatenate([w for _, _, w in found])
    labels = np.concatenate([y for _, y, _ in found])
    np.testing.assert_array_equal(labels[weights == 1], LABELS)
    assert weights.sum() == 50
    assert weights.dtype == np.float32


def numbers_of(chunks, count):
    return chunks.numbers().take(count).as_numpy_iterator()


@pytest.mark.parametrize(("batch", "start"), [(16, 3), (10, 3), (40, 7), (1, 100)])
def test_chunks_begin_with_the_one_that_holds_the_first_position(batch, start):
    chunks = stream.Chunks(batch, start)
    first = batch * start // stream.CHUNK
    assert list(numbers_of(chunks, 3)) == [first, first + 1, first + 2]
    assert first * stream.CHUNK + chunks.before_start == batch * start


def test_shares_of_steps_and_batches_hold_every_chunk_once():
    whole = stream.Chunks(96, start_step=5)
    shares = [
        stream.Chunks(96, 5 + turn, shard, shards=3, stride=2)
        for turn in range(2)
        for shard in range(3)
    ]
    assert {share.batch_size for share in shares} == {32}
    parts = [list(numbers_of(share, 8)) for share in shares]  # 4 steps of 2 chunks
    assert sorted(np.concatenate(parts)) == list(numbers_of(whole, 48))
    # The third part of each batch of steps 5, 7, 9, 11, of 6 chunks each.
    assert parts[2] == [34, 35, 46, 47, 58, 59, 70, 71]


@pytest.mark.parametrize(
    "chunks",
    [
        stream.Chunks(10, 3),
        stream.Chunks(96, 5),
        stream.Chunks(96, 5, 1, 3),
        stream.Chunks(96, 6, 2, 3, 2),
        stream.Chunks(32, 1, stride=3),
    ],
)
def test_wanted_chunks_are_those_in_numbers(chunks):
    last = chunks.first + 100
    found = [n for n in range(last) if chunks.wanted(tf.constant(n, tf.int64))]
    assert found == [n for n in numbers_of(chunks, 100) if n < last]


def test_the_same_batches_on_two_replicas(mirrored):
    dataset = stream.prefetch(stream.training(IMAGES, LABELS, 16, seed=1))
    alone = list(dataset.take(4).as_numpy_iterator())
    distributed = iter(mirrored.experimental_distribute_dataset(dataset))
    for images, labels in alone:
        shares = next(distributed)
        for whole, parts in zip((images, labels), shares, strict=True):
            values = mirrored.experimental_local_results(parts)
            assert [len(v) for v in values] == [8, 8]
            np.testing.assert_array_equal(np.concatenate(values), whole)


def test_prefetches_to_a_device():
    """Stands for a GPU: the second logical CPU."""
    device = tf.config.list_logical_devices("CPU")[1].name
    dataset = stream.prefetch(stream.training(IMAGES, LABELS, 16, seed=1), device)
    images, labels = next(iter(dataset))
    assert images.device.endswith("CPU:1")
    assert_same((images, labels), next(iter(stream.training(IMAGES, LABELS, 16, seed=1))))


def test_closing_an_iterator_does_not_wait_for_a_tuner():
    dataset = stream.prefetch(stream.training(IMAGES, LABELS, 16, seed=1))
    assert not dataset.options().autotune.enabled


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: stream.indices(0, 4, seed=0), "empty"),
        (lambda: stream.indices(5, 0, seed=0), "batch size"),
        (lambda: stream.indices(5, 4, seed=0, start_step=-1), "start_step"),
        (lambda: stream.evaluation(IMAGES, LABELS, 0), "batch size"),
        (lambda: stream.Chunks(0).check(), "batch size"),
        (lambda: stream.Chunks(16, -1).check(), "start_step"),
        (lambda: stream.Chunks(32, 0, 2, 2).check(), "shard 2 of 2"),
        (lambda: stream.Chunks(40, 0, 0, 2).check(), "multiple of 32"),
        (lambda: stream.Chunks(40, stride=2).check(), "multiple of 16"),
        (lambda: pipelines.info("nist"), "cifar10"),
        (lambda: pipelines.arrays("digits", "validation"), "val"),
        (lambda: pipelines.arrays("digits", "test", image_size=0), "image_size"),
        (lambda: pipelines.arrays("cifar10", "test", image_size=64), "32"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_ram_budget_counts_batches_whose_size_the_shapes_do_not_tell():
    batches = tf.data.Dataset.range(100).map(lambda i: tf.zeros([1000], tf.uint8)).batch(10)
    assert stream._batches_in(50_000, batches, 10) == 5
    assert stream._batches_in(1, batches, 10) == 1


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
