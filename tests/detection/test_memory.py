"""Training on images of many shapes: the memory that it takes, and how often it is traced."""

import detectors
import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.pipelines import annotations, buckets, objects, scenes

SCALES = ((48, 80), (64, 96))
WARM_UP, STEPS = 50, 200
GROWTH = 64  # MiB


@pytest.fixture(scope="module")
def batches():
    """Of images of twelve shapes, each with one object."""
    generator = np.random.default_rng(0)
    sizes = generator.integers(40, 120, (12, 2))
    rows = [(n, (5, 6, 30, 35), n % detectors.CLASSES, False, False, 725.0, n) for n in range(12)]
    content = annotations.of_objects(
        "abc", range(3), [f"{n}" for n in range(12)], range(12), sizes, rows, str
    )

    def pixels(key, size, wanted):
        del wanted
        shade = tf.strings.to_hash_bucket_fast(key, 256)
        return tf.fill(tf.concat([size, [3]], 0), tf.cast(shade, tf.uint8))

    source = scenes.in_memory(content, pixels, SCALES[0])
    return objects.training_of(source, 2, seed=0, scales=SCALES, device=None)


class Watch(keras.callbacks.Callback):
    """Resident memory in MiB after the warm-up and at the end."""

    def __init__(self):
        super().__init__()
        self.resident = {}

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 in (WARM_UP, STEPS):
            with open("/proc/self/status") as lines:
                line = next(line for line in lines if line.startswith("VmRSS:"))
            self.resident[batch + 1] = int(line.split()[1]) / 1024


@pytest.mark.slow
def test_training_on_mixed_shapes_does_not_grow(batches, monkeypatch, peak_memory):
    del peak_memory  # which skips the test where memory cannot be read
    model = detectors.detector()
    shapes, traces, step = set(), [], model.train_step
    monkeypatch.setattr(model, "train_step", lambda batch: (traces.append(0), step(batch))[1])
    for features, _ in batches.take(STEPS):
        shapes.add(tuple(features["image"].shape))
    assert 3 < len(shapes) <= len(buckets.buckets(SCALES))
    model.compile(keras.optimizers.SGD(1e-3))
    watch = Watch()
    history = model.fit(batches, steps_per_epoch=STEPS, callbacks=[watch], verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert len(traces) <= len(shapes)
    assert watch.resident[STEPS] - watch.resident[WARM_UP] < GROWTH


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
