"""Thousands of damaged images: each is decoded or left out, in bounded CPU time and memory."""

import io
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet_keras.pipelines import decode

CHUNK = 64
SECONDS, MEGABYTES = 10, 500


def originals():
    """Small images of all formats and of most of their variants, encoded."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
    picture = Image.fromarray(noise).resize((41, 29), Image.Resampling.BICUBIC)
    variants = [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"subsampling": 0, "restart_marker_blocks": 2}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("P", "PNG", {}),
        ("LA", "PNG", {}),
        ("1", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("RGBA", "WEBP", {"lossless": True}),
    ]
    encoded = []
    for mode, kind, options in variants:
        file = io.BytesIO()
        picture.convert(mode).save(file, kind, **options)
        encoded.append(file.getvalue())
    return encoded


def mutated(generator, data, other):
    """Some damage: flipped bits, new bytes, a cut, a splice, or numbers of the header."""
    data = bytearray(data)
    kind = generator.integers(6)
    if kind == 0:
        for place in generator.integers(len(data), size=generator.integers(1, 9)):
            data[place] ^= 1 << generator.integers(8)
    elif kind == 1:
        for place in generator.integers(len(data), size=generator.integers(1, 30)):
            data[place] = generator.integers(256)
    elif kind == 2:
        del data[generator.integers(len(data)) :]
    elif kind == 3:
        here, there = generator.integers(len(data)), generator.integers(len(other))
        data = data[:here] + other[there:]
    elif kind == 4:
        here, length = generator.integers(len(data)), generator.integers(1, 200)
        data[here:here] = data[here : here + length] * generator.integers(1, 4)
    else:
        start = generator.integers(min(60, len(data)))
        extreme = [0, 1, 127, 128, 255][generator.integers(5)]
        data[start : start + generator.integers(1, 5)] = bytes([extreme]) * generator.integers(1, 5)
    return bytes(data)


def memory():
    """Megabytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def whole(contents, draws):
    return tf.reduce_max(tf.cast(decode.decode(contents), tf.int32))


def part(contents, draws):
    def window_of(shape):
        sides = tf.maximum(tf.cast(draws[:2] * tf.cast(shape, tf.float32), tf.int32), 1)
        corner = tf.cast(draws[2:] * tf.cast(shape - sides + 1, tf.float32), tf.int32)
        return tf.concat([tf.minimum(corner, shape - sides), sides], axis=0)

    return tf.reduce_max(tf.cast(decode.decode_window(contents, window_of, 4), tf.int32))


@pytest.mark.parametrize("examples", [3200, pytest.param(16000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("function", [whole, part])
def test_damaged_images_are_decoded_or_left_out(function, examples):
    @tf.function(input_signature=[tf.TensorSpec([CHUNK], tf.string), tf.TensorSpec([2], tf.int64)])
    def survivors(contents, key):
        draws = tf.random.stateless_uniform([CHUNK, 4], key)
        return decode.attempt(function, (contents, draws), tf.TensorSpec([], tf.int32))

    generator = np.random.default_rng(1)
    known = originals()
    rows, _ = survivors([*known, *([b""] * (CHUNK - len(known)))], np.int64([0, 0]))
    np.testing.assert_array_equal(rows, range(len(known)))
    before, good = memory(), 0
    for number in range(examples // CHUNK):
        choices = generator.integers(len(known), size=(CHUNK, 2))
        chunk = [mutated(generator, known[one], known[other]) for one, other in choices]
        start = time.process_time()
        rows, _ = survivors(chunk, np.int64([1, number]))
        assert time.process_time() - start < SECONDS
        assert memory() - before < MEGABYTES
        good += len(rows)
    # Neither is every mutant harmless nor every one refused.
    assert 0.1 * examples < good < 0.9 * examples


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
