"""CIFAR-10 and CIFAR-100 from TensorFlow Datasets."""

from . import records


def load(dataset: str, split: str, *, image_size: int, data_dir: str | None):
    """As `pipelines.arrays`. TensorFlow Datasets downloads the data set on first use (170 MB).

    "train" is the first 45,000 of TFDS's fixed order, "val" the last 5,000 (Sec. 4.2).

    Raises:
        InputError: the data set is not on disk and cannot be downloaded.
    """
    del image_size
    images, labels = records.arrays(dataset, data_dir, "test" if split == "test" else "train")
    train = len(images) * 9 // 10
    chosen = {"train": slice(0, train), "val": slice(train, None)}.get(split, slice(None))
    return images[chosen], labels[chosen]
