"""What shows a quantizer, and a comparison, what a network sees. As evaluation shows it."""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from resnet_keras import pipelines, zoo
from resnet_keras.errors import InputError

# Few images leave the logits of others clipped: with 200 of the digits the largest error was 11 %
# of the largest logit, with 1,437 it was 1 %.
DEFAULT, ENOUGH, LEAST = 1500, 1000, 200
COMPARED, COMPARED_IN_MEMORY = 64, 500


class Inputs(NamedTuple):
    """Images or series of a network's size.

    Attributes:
        values: uint8 (n, height, width, 3), or float32 (n, length, channels).
        origin: of which data set and split, in words.
    """

    values: np.ndarray
    origin: str


class Data(NamedTuple):
    """A data set as a network is shown it; see `pipelines.evaluation`."""

    dataset: str
    preprocessing: zoo.Preprocessing
    data_dir: str | None = None
    exif_orientation: bool | None = None

    def compared(self) -> Inputs:
        """Images that no calibration sees; errors as of `calibrating`.

        They are the first 500 test images of data held in memory, and the last 64 of the training
        split of photographs.
        """
        if self._facts().in_memory:
            self._views()  # before anything is downloaded
            return self._read(f"test[:{min(COMPARED_IN_MEMORY, self._examples('test'))}]")
        return self._read(f"train[-{min(COMPARED, self._examples('train'))}:]")

    def calibrating(self, count: int = DEFAULT) -> Inputs:
        """Training images, the same on every machine, of all classes alike.

        Args:
            count: how many; all that there are, where there are fewer. Warns of less than 1,000,
                if they were asked for.

        Raises:
            InputError: there are too few, they do not reach from 0 to 255, they are of another size
                than the network's, or what `pipelines.evaluation` raises.
        """
        check_count(count)
        split, left = ("trainval", 0) if self._facts().in_memory else ("train", COMPARED)
        asked, count = count, min(count, self._examples(split) - left)
        if count < LEAST:
            raise InputError(
                f"{self.dataset}/{split} has {count + left} images, and a calibration takes {LEAST}"
                f"{f', beside {left} to compare with' if left else ''}: take a larger data set."
            )
        if count < min(asked, ENOUGH):
            warnings.warn(
                f"{self.dataset}/{split} has {count} images to calibrate with, and {ENOUGH:,} are "
                "better: what exceeds the activations of the images seen is clipped.",
                stacklevel=2,
            )
        images = self._read(f"{split}[:{count}]")
        check_pixels(images.values)
        return images

    def _facts(self):
        pipelines.check_images(self.dataset, "an export")
        return pipelines.info(self.dataset, self.data_dir)

    def _examples(self, split):
        if self._facts().in_memory:
            return len(pipelines.arrays(self.dataset, split, data_dir=self.data_dir)[1])
        return pipelines.open_split(self.dataset, split, data_dir=self.data_dir).num_examples

    def _views(self):
        """How `pipelines.evaluation` is to show the images."""
        facts, side = self._facts(), self.preprocessing.image_size
        if not facts.in_memory:
            return {**self.preprocessing._asdict(), "crops": "centre"}
        if facts.resizable:
            return {"image_size": side}
        if facts.image_size != side:
            raise InputError(
                f"The network takes images of side {side} and {self.dataset} has "
                f"{facts.image_size}: take the data set that it was trained on."
            )
        return {}

    def _read(self, split):
        views, turned = self._views(), self.exif_orientation
        if not self._facts().in_memory and not self.preprocessing.heeds_exif and turned is None:
            turned = False
        batches = pipelines.evaluation(
            self.dataset,
            split,
            100,
            data_dir=self.data_dir,
            exif_orientation=turned,
            device=None,
            **views,
        )
        pixels = np.concatenate([np.asarray(images) for images, _ in batches])
        return Inputs(pixels, f"{self.dataset}/{split}")


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """All images in batches of one size, float32; the last is filled up with the first ones."""
    for start in range(0, len(images), size):
        places = np.arange(start, start + size) % len(images)
        yield images[places].astype("float32")


def check_count(count: int) -> None:
    """Raises `InputError` for a calibration with too few images."""
    if count < LEAST:
        raise InputError(
            f"calibration_images={count} are too few: what exceeds the activations of the images "
            f"seen is clipped, so take {LEAST} or more."
        )


def check_pixels(images: np.ndarray) -> None:
    """Raises `InputError` for images in which 0 or 255 does not occur.

    A quantizer would stretch their range to uint8, and a camera's pixels would mean others.
    """
    low, high = int(images.min()), int(images.max())
    if (low, high) != (0, 255):
        raise InputError(
            f"The pixels of the calibration images run from {low} to {high}, and must reach 0 and "
            "255, for the file's uint8 pixels to be pixels as they are: take other images."
        )


def made_up(shape: tuple[int, int], count: int = 16) -> Inputs:
    """Images of smooth colours with noise, the same each time, where there is no data set.

    Args:
        shape: height and width.
        count: how many.
    """
    generator = np.random.default_rng(0)
    height, width = shape
    rows = np.linspace(0, 1, height)[None, :, None, None]
    columns = np.linspace(0, 1, width)[None, None, :, None]
    ends = generator.uniform(0, 255, (4, count, 1, 1, 3))
    smooth = (ends[0] * rows + ends[1] * (1 - rows)) * columns
    smooth = smooth + (ends[2] * rows + ends[3] * (1 - rows)) * (1 - columns)
    noisy = smooth + generator.normal(0, 40, (count, height, width, 3))
    return Inputs(np.clip(np.rint(noisy), 0, 255).astype("uint8"), "made-up images")


def series(dataset: str, data_dir: str | None = None) -> Inputs:
    """The first 500 test series, to compare with; errors as of `pipelines.arrays`."""
    values, _ = pipelines.arrays(dataset, "test", data_dir=data_dir)
    values = values[:COMPARED_IN_MEMORY]
    return Inputs(values, f"{dataset}/test[:{len(values)}]")


def made_up_series(shape: tuple[int, int], mean: np.ndarray, std: np.ndarray) -> Inputs:
    """Sixteen random walks, the same each time, where there is no data set.

    Args:
        shape: length and channels.
        mean, std: of the series that the network was trained on, per channel or per step.
    """
    steps = np.random.default_rng(0).normal(size=(16, *shape))
    walks = steps.cumsum(axis=1)
    return Inputs((mean + std * walks / walks.std()).astype("float32"), "made-up series")
