"""CIFAR-10 and CIFAR-100 from TensorFlow Datasets."""

import numpy as np

from resnet_keras.errors import InputError
from resnet_keras.files import expanded

from .records import cannot_load, check_hosts


def load(dataset: str, split: str, *, image_size: int, data_dir: str | None):
    """As `pipelines.arrays`. TensorFlow Datasets downloads the data set on first use (170 MB).

    "train" is the first 45,000 of TFDS's fixed order, "val" the last 5,000 (Sec. 4.2).

    Raises:
        InputError: the data set is not on disk and cannot be downloaded.
    """
    del image_size
    import tensorflow_datasets as tfds

    source = "test" if split == "test" else "train"
    try:
        check_hosts(tfds.builder(dataset, data_dir=expanded(data_dir)))
        loaded = tfds.load(dataset, split=source, data_dir=expanded(data_dir))
        # Not batch_size=-1, which aborts the process where TFDS does not know the split's size.
        batches = list(tfds.as_numpy(loaded.batch(1000)))
    except InputError:
        raise
    except Exception as error:  # TFDS lets through what protobuf, urllib3 and the disk raise
        raise cannot_load(dataset, data_dir, error) from error
    images = np.concatenate([batch["image"] for batch in batches])
    labels = np.concatenate([batch["label"] for batch in batches]).astype(np.int32)
    train = len(images) * 9 // 10
    chosen = {"train": slice(0, train), "val": slice(train, None)}.get(split, slice(None))
    return images[chosen], labels[chosen]
