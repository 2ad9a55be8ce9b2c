"""What is added to the paper's view, by Keras's layers with draws from keys."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import modern, stream

CLASSES = 5
LABELS = np.arange(16, dtype="int32") % CLASSES


def greys(values, side=32):
    """Images of one grey each."""
    return np.broadcast_to(
        np.asarray(values, "uint8")[:, None, None, None], (16, side, side, 3)
    ).copy()


def applied(images, labels=LABELS, steps=1, **strengths):
    """The images and labels of some keys, one after the other."""
    finish = tf.function(
        modern.layers(pipelines.View(image_size=images.shape[1], **strengths), CLASSES)
    )
    keys = [stream.draw_seed(0, tf.constant(step, tf.int64)) for step in range(steps)]
    made = [finish(tf.constant(images), tf.constant(labels), key) for key in keys]
    return [np.concatenate(column) for column in zip(*made, strict=True)]


PICTURES = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
EVERYTHING = {"rand_augment": 0.5, "random_erasing": 0.5, "mixup": 0.4, "cutmix": 1.0}


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_changes_images_by_the_key_only(name):
    strength = {name: EVERYTHING[name]}
    images, labels = applied(PICTURES, steps=2, **strength)
    again = applied(PICTURES, steps=2, **strength)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(labels, again[1])
    assert images.dtype == np.uint8
    one, other = images.reshape(2, *PICTURES.shape)
    assert (one != PICTURES).any()
    assert (one != other).any()
    assert labels.dtype == ("float32" if name in ("mixup", "cutmix") else "int32")


def test_none_changes_nothing():
    images, labels = applied(PICTURES)
    np.testing.assert_array_equal(images, PICTURES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.slow
def test_the_programs_seed_and_the_models_precision_change_nothing():
    expected = applied(PICTURES, **EVERYTHING)
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for found, other in zip(applied(PICTURES, **EVERYTHING), expected, strict=True):
            np.testing.assert_array_equal(found, other)
    finally:
        tf.random.set_seed(None)
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_random_erasing_changes_a_rectangle_of_that_share_of_images(share):
    """Not of all, for a rectangle may be less than a pixel."""
    images, labels = applied(greys(range(100, 116)), steps=30, random_erasing=share)
    np.testing.assert_array_equal(labels, np.tile(LABELS, 30))
    changed = (images != np.tile(greys(range(100, 116)), (30, 1, 1, 1))).any(3)
    assert changed.any((1, 2)).mean() == pytest.approx(share, abs=0.08)
    for mask in changed[changed.any((1, 2))]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert inside.mean() > 0.9  # noise may be the grey itself


def test_mixup_mixes_images_as_it_mixes_labels():
    """Image n has the grey 15 * n and, as one of 16 classes, the label n."""
    finish = tf.function(modern.layers(pipelines.View(image_size=32, mixup=1.0), 16))
    key = stream.draw_seed(0, tf.constant(0, tf.int64))
    images, labels = finish(greys(15 * np.arange(16)), np.arange(16, dtype="int32"), key)
    images, labels = images.numpy(), labels.numpy()
    assert (images == images[:, :1, :1, :1]).all()
    np.testing.assert_allclose(images[:, 0, 0, 0], labels @ (15.0 * np.arange(16)), atol=0.51)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    assert ((labels > 0).sum(1) <= 2).all()
    assert ((labels > 0.05).sum(1) == 2).sum() > 4
    assert (labels.diagonal() > 0).all()


def test_shares_of_mixup_are_drawn_from_beta():
    """Beta(0.4, 0.4) has the mean 1/2 and the variance 1 / (4 * 1.8)."""
    _, labels = applied(greys([0] * 16), np.zeros(16, "int32"), steps=1, mixup=0.4)
    np.testing.assert_allclose(labels[:, 0], 1, atol=1e-6)
    finish = tf.function(modern.layers(pipelines.View(image_size=8, mixup=0.4), 2))
    shares = []
    for step in range(60):
        key = stream.draw_seed(1, tf.constant(step, tf.int64))
        numbers = np.arange(16, dtype="int32") % 2
        _, labels = finish(greys([0] * 16, 8), numbers, key)
        own = labels.numpy()[np.arange(16), numbers]
        shares.append(own[own < 1])
    # With a partner of its own class, an image keeps the whole of its label.
    shares = np.concatenate(shares)
    assert shares.mean() == pytest.approx(0.5, abs=0.06)
    assert shares.var() == pytest.approx(1 / 7.2, abs=0.02)


def test_cutmix_pastes_a_rectangle_of_the_labels_share():
    finish = tf.function(modern.layers(pipelines.View(image_size=32, cutmix=1.0), 16))
    key = stream.draw_seed(0, tf.constant(0, tf.int64))
    images, labels = finish(greys(15 * np.arange(16)), np.arange(16, dtype="int32"), key)
    images, labels = images.numpy(), labels.numpy()
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    pasted = 0
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        assert (image == image[..., :1]).all()
        values = set(np.unique(image) // 15)
        assert values <= set(np.flatnonzero(label)) | {number}
        mask = image[..., 0] != 15 * number
        # The box ends within pixels, which count whole: up to one row and one column.
        assert mask.mean() == pytest.approx(1 - label[number], abs=2 * 32 / 32**2 + 0.001)
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            pasted += 1
    assert pasted > 8


def test_of_mixup_and_cutmix_each_chunk_takes_one():
    """Mixed greys are new ones, pasted greys are those of the images."""
    kinds = set()
    finish = tf.function(
        modern.layers(pipelines.View(image_size=32, mixup=1.0, cutmix=1.0), CLASSES)
    )
    for step in range(10):
        images, _ = finish(
            greys([0, 255] * 8), LABELS, stream.draw_seed(0, tf.constant(step, tf.int64))
        )
        kinds.add(np.isin(images.numpy(), [0, 255]).all().item())
    assert kinds == {False, True}


@pytest.mark.parametrize("rand_augment", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_streams_are_byte_identical_from_any_step(photographs, rand_augment):
    strengths = {**EVERYTHING, "rand_augment": rand_augment}
    view = pipelines.View(image_size=32, scales=(36, 60), **strengths)

    def batches(count, start):
        made = pipelines.training(
            "folder", "train", 16, seed=0, data_dir=photographs, view=view, start_step=start
        )
        return list(made.take(count).as_numpy_iterator())

    reached = batches(4, 0)
    ((images, labels),) = batches(1, 3)
    np.testing.assert_array_equal(images, reached[3][0])
    np.testing.assert_array_equal(labels, reached[3][1])
    assert (images.dtype, labels.dtype) == (np.uint8, np.float32)
    assert labels.shape == (16, 2)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rand_augment", -0.1),
        ("rand_augment", 1.1),
        ("random_erasing", 2),
        ("mixup", -1),
        ("cutmix", -1),
        ("cutmix", 2),
    ],
)
def test_strengths_that_cannot_be(name, value):
    with pytest.raises(InputError, match=name):
        pipelines.View(**{name: value}).check()


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
