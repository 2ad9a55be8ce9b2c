"""CIFAR-10 and CIFAR-100 through TensorFlow Datasets' mock data."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import cifar


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_splits(name):
    with tfds.testing.mock_data(num_examples=50):
        found = {split: pipelines.arrays(name, split) for split in pipelines.SPLITS}
    assert {k: len(y) for k, (_, y) in found.items()} == {
        "train": 45,
        "val": 5,
        "trainval": 50,
        "test": 50,
    }
    both = np.concatenate([found["train"][0], found["val"][0]])
    np.testing.assert_array_equal(both, found["trainval"][0])
    images, labels = found["test"]
    assert images.shape == (50, 32, 32, 3)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert labels.max() < pipelines.info(name).num_classes


def test_training_pads_with_the_mean_colour_and_crops():
    with tfds.testing.mock_data(num_examples=20):
        originals, _ = pipelines.arrays("cifar10", "trainval")
        stream = pipelines.training("cifar10", "trainval", 64, seed=0)
        images, labels = next(stream.as_numpy_iterator())
    assert images.shape == (64, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    padded = np.empty((20, 40, 40, 3), "uint8")
    padded[:] = (125, 123, 114)
    padded[:, 4:36, 4:36] = originals
    windows = {
        view.tobytes()
        for image in padded
        for top in range(9)
        for left in range(9)
        for view in _with_mirror(image[top : top + 32, left : left + 32])
    }
    assert all(image.tobytes() in windows for image in images)


def _with_mirror(image):
    return image, image[:, ::-1]


def test_data_that_cannot_be_had_is_one_sentence(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds, "load", no_network)
    with pytest.raises(InputError, match="give data_dir=FOLDER") as error:
        cifar.load("cifar10", "test", image_size=32, data_dir=str(tmp_path))
    assert "no route to host" in str(error.value)
    assert "\n" not in str(error.value)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
