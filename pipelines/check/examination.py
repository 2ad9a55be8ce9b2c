"""Reads the examples of a split, and decodes their images or parses their headers."""

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .. import exif, folder, stream
from ..decode import attempt, is_jpeg
from ..decode import decode as pixels_of
from ..source import Source
from .finding import Finding, listed, many


class Examination(NamedTuple):
    """What the examples of a split are: findings about images, labels, and why reading stopped."""

    findings: list[Finding]
    labels: np.ndarray
    error: str | None


def images(
    split: str, paths: Sequence[str], *, decode: bool = True, limit: int = 0
) -> list[Finding]:
    """Checks that image files have content, and that it is an image's.

    Args:
        split: their split's name.
        paths: of the files.
        decode: whether images are decoded, and not only their headers parsed.
        limit: how many are read, 0 for all; empty files are found among all.
    """
    empty = [path for path in paths if _is_empty(path)]
    findings = [Finding(False, f"{split}: {listed(empty, 'file', 'of 0 bytes')}")] if empty else []
    full = sorted(set(paths) - set(empty))
    if full:
        source = folder.from_files(full, [0] * len(full), ())._replace(exif_orientation=True)
        findings += examine(split, source, decode=decode, limit=limit).findings
    return findings


def _is_empty(path):
    try:
        return os.path.getsize(path) == 0
    except OSError:
        return False  # reading it will fail, and say so


def examine(split: str, source: Source, *, decode: bool, limit: int) -> Examination:
    """Reads a split's examples, and decodes their images or parses their headers.

    Args:
        split: its name.
        source: its examples.
        decode: see `images`.
        limit: how many are read, 0 for all.
    """
    checked = _checked(source, decode, limit)
    labels: list[np.ndarray] = [np.zeros([0], np.int32)]
    broken: list[str] = []
    turned = 0
    error = None
    try:
        for chunk, names, number in stream.prefetch(checked, None).as_numpy_iterator():
            labels.append(chunk)
            broken += [os.fsdecode(name) for name in names]
            turned += int(number)
    except tf.errors.OpError as failure:
        error = _plainly(failure)
    count = sum(map(len, labels))
    findings = [_readable(split, count, source, broken, decode)]
    if turned:
        findings.append(_turned(split, turned, source.exif_orientation))
    return Examination(findings, np.concatenate(labels), error)


def _checked(source, decode, limit):
    """For each chunk: its labels, the names of its broken images, how many EXIF turns."""
    size_of = _decoded_size if decode else header_size

    def look(key):
        contents = source.read(key)
        with tf.control_dependencies([size_of(contents)]):
            return exif.orientation(contents)

    def check(keys, labels, names):
        good, orientations = attempt(look, (keys,), tf.TensorSpec([], tf.int32))
        is_good = tf.scatter_nd(good[:, None], tf.ones_like(good), tf.shape(names)) > 0
        turned = tf.math.count_nonzero(orientations > 1)
        return labels, tf.boolean_mask(names, ~is_good), turned

    chunks = source.ordered().take(limit or -1).batch(stream.CHUNK)
    return chunks.map(check, num_parallel_calls=os.cpu_count(), deterministic=True)


def _decoded_size(contents):
    return tf.shape(pixels_of(contents))[:2]


def header_size(contents):
    """The size that a JPEG's header tells; TensorFlow can only decode the others."""
    return tf.cond(
        is_jpeg(contents),
        lambda: tf.io.extract_jpeg_shape(contents)[:2],
        lambda: _decoded_size(contents),
    )


def _readable(split, count, source, broken, decode):
    if broken:
        cannot = "that cannot be decoded" if decode else "without a valid header"
        return Finding(False, f"{split}: {listed(broken, 'image', f'of {count:,} {cannot}')}")
    can = "can be decoded" if decode else "have valid headers"
    which = "all" if count == source.num_examples else "the first"
    return Finding(True, f"{split}: {which} {count:,} images {can}")


def _turned(split, count, heeded):
    does = "carries" if count == 1 else "carry"
    turned = ", but with exif_orientation=False" if heeded else " with exif_orientation=True"
    return Finding(
        True, f"{split}: {many(count, 'image')} {does} an EXIF orientation: turned by it{turned}"
    )


def _plainly(error: Any) -> str:
    """TensorFlow's message without the names of its nodes."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*|\[\[.*", "", str(error), flags=re.DOTALL)
    return " ".join(message.split())
