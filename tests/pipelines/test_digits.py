"""scikit-learn's digits as a data set."""

import sys

import numpy as np
import pytest

from resnet_keras import pipelines
from resnet_keras.errors import MissingExtraError


def test_splits_are_fixed_and_complete():
    sizes = {split: len(pipelines.arrays("digits", split)[1]) for split in pipelines.SPLITS}
    assert sizes == {"train": 1293, "val": 144, "trainval": 1437, "test": 360}
    from sklearn.datasets import load_digits

    together = np.concatenate([pipelines.arrays("digits", s)[1] for s in ("train", "val", "test")])
    np.testing.assert_array_equal(together, load_digits().target)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_images_are_grey_rgb_pixels_of_the_asked_size(size):
    images, labels = pipelines.arrays("digits", "test", image_size=size)
    assert images.shape == (360, size, size, 3)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert images.max() == 255
    assert (images[..., 0] == images[..., 2]).all()
    if size == 8:
        from sklearn.datasets import load_digits

        ink = load_digits().images[-360:]
        np.testing.assert_allclose(images[..., 0] / 255 * 16, ink, atol=0.04)


def test_registered_statistics_are_measured():
    images, _ = pipelines.arrays("digits", "trainval", image_size=8)
    facts = pipelines.info("digits")
    assert images.mean() == pytest.approx(facts.mean[0], abs=0.5)
    assert images.std() == pytest.approx(facts.std[0], abs=0.5)


def test_training_stream_varies_the_digits():
    stream = pipelines.training("digits", "trainval", 32, seed=0, image_size=16)
    images, labels = next(stream.as_numpy_iterator())
    assert images.shape == (32, 16, 16, 3)
    known = {image.tobytes() for image in pipelines.arrays("digits", "trainval", image_size=16)[0]}
    assert sum(image.tobytes() in known for image in images) < 3
    assert set(labels) <= set(range(10))


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'resnet_keras\[digits\]'"):
        pipelines.arrays("digits", "test")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
