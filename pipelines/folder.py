"""A data set that is a folder of class folders, see `class_folders`."""

import os
import warnings

import tensorflow as tf

from resnet_keras.errors import InputError

from . import class_folders, splits, stream
from .source import Source


def open_split(data_dir: str | os.PathLike | None, split: str) -> Source:
    """Lists the images of a split; classes are numbered in the order of their names.

    Args:
        data_dir: folder that has one folder for each split, with one for each class in it; or the
            class folders themselves, of each of which "train" is 80 % and "val" the other 20 %.
        split: "train", "val" (or a folder "validation"), "test" or the name of another folder,
            or a share of one, see `splits`. All splits have train's classes, where there is a
            train.

    Raises:
        InputError: a folder is missing or has no images, or a split has a class that train lacks.
    """
    wanted = splits.parse(split)
    listing = class_folders.list_split(data_dir, wanted.name)
    if listing.problems:
        raise InputError(f"{'; '.join(listing.problems)}.")
    for remark in listing.remarks:
        warnings.warn(f"{remark}.", stacklevel=2)
    classes = class_folders.class_names(data_dir, wanted.name)
    paths = [path for images in listing.classes.values() for path in images]
    labels = [classes.index(name) for name, images in listing.classes.items() for _ in images]
    if wanted.is_whole:
        return from_files(paths, labels, classes)
    names = [os.fsencode(path.removeprefix(f"{listing.folder}/")) for path in paths]
    chosen = splits.share(wanted, labels, names)
    return from_files([paths[n] for n in chosen], [labels[n] for n in chosen], classes)


def from_files(paths: list[str], labels: list[int], classes: tuple[str, ...]) -> Source:
    """A source of image files; any step is reached at no cost."""
    # Tensors made here are captured by reference; arrays would be copied into the graph.
    all_paths = tf.constant([os.fsencode(path) for path in paths])  # names need not be UTF-8
    all_labels = tf.constant(labels, tf.int32)

    def training(seed, chunks):
        def look_up(number):
            positions = number * stream.CHUNK + tf.range(stream.CHUNK, dtype=tf.int64)
            chosen = stream.shuffled(positions, len(paths), seed)
            names = tf.gather(all_paths, chosen)
            return number, names, tf.gather(all_labels, chosen), names

        return chunks.numbers().map(look_up)

    def ordered():
        examples = tf.data.Dataset.range(len(paths))
        return examples.map(lambda i: (all_paths[i], all_labels[i], all_paths[i]))

    return Source(len(paths), classes, training, ordered, tf.io.read_file)
