"""CIFAR-10 and CIFAR-100 through TensorFlow Datasets' mock data."""

import os
import signal
import socket
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from resnet_keras import hosts, pipelines, processes
from resnet_keras.classification.classifier import class_names
from resnet_keras.errors import InputError
from resnet_keras.pipelines import cifar, records
from resnet_keras.processes import Interrupted


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


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_every_class_has_a_name(name):
    names = class_names(name, "test")
    assert names is not None
    assert len(set(names)) == pipelines.info(name).num_classes
    assert list(names) == sorted(names)  # as both data sets number theirs


def test_labels_of_cifar100_are_the_fine_ones():
    with tfds.testing.mock_data(num_examples=50):
        _, labels = pipelines.arrays("cifar100", "test")
        examples = tfds.as_numpy(tfds.load("cifar100", split="test"))
        assert [example["label"] for example in examples] == labels.tolist()
    assert labels.max() >= 20  # which is how many coarse ones there are


@pytest.mark.parametrize(
    ("name", "colour"), [("cifar10", (125, 123, 114)), ("cifar100", (129, 124, 112))]
)
def test_training_pads_with_the_mean_colour_and_crops(name, colour):
    with tfds.testing.mock_data(num_examples=20):
        originals, _ = pipelines.arrays(name, "trainval")
        stream = pipelines.training(name, "trainval", 64, seed=0)
        images, labels = next(stream.as_numpy_iterator())
    assert images.shape == (64, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    padded = np.empty((20, 40, 40, 3), "uint8")
    padded[:] = colour
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


def test_a_host_that_cannot_be_reached_is_told_before_tfds_tries_for_minutes(monkeypatch, tmp_path):
    monkeypatch.setattr(tfds, "load", None)
    monkeypatch.setattr(hosts, "unreachable", lambda url: f"{url} (no answer)")
    address = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    said = rf"Cannot reach {address} \(no answer\), where cifar10 is .* give it as data_dir=FOLDER"
    with pytest.raises(InputError, match=said):
        cifar.load("cifar10", "test", image_size=32, data_dir=str(tmp_path))
    builder = tfds.builder("cifar10", data_dir=tmp_path)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "cifar.tar.gz.INFO").write_text(f'{{"urls": ["{address}"]}}')
    records.check_hosts(builder)  # nothing is left to download


def test_a_signal_ends_the_wait_for_a_host_that_does_not_answer(monkeypatch, tmp_path):
    from tensorflow_datasets.core.download import downloader

    monkeypatch.setattr(downloader, "MAX_RETRIES", 0)  # so that its thread ends in this process
    monkeypatch.setattr(processes, "UNWINDING", 60)
    held = []

    def accept():
        held.append(proxy.accept()[0])  # of the look whether it can be reached
        held.append(proxy.accept()[0])
        held[-1].recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    with socket.create_server(("localhost", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://localhost:{proxy.getsockname()[1]}")
        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(Interrupted, match="SIGTERM"), processes.ended_by_signals():
            cifar.load("cifar10", "test", image_size=32, data_dir=str(tmp_path))
    for connection in held:
        connection.close()


def test_data_that_cannot_be_had_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(hosts, "unreachable", lambda url: None)

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
