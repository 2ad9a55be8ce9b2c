"""What the detection benchmark times is the detector and all of its dense parts."""

from typing import Any

import numpy as np
import pytest

from resnet_keras.benchmarks import detectors
from resnet_keras.detection import backbones

# Large enough for anchors of 128 pixels to lie inside.
SHARED = ("resnet10_shapes", "c4", 1, 160, 192, 8, 1)
assert backbones  # registers the network


def test_inference_finds_objects_and_its_dense_parts_answer_for_all_anchors():
    found = detectors._whole_step(detectors.Spec(detectors.OURS, "inference", *SHARED))()
    assert found["boxes"].shape == (1, 100, 4)
    assert found["count"] > 0  # or suppression would have nothing to do
    dense_step = detectors._dense_step(detectors.Spec(detectors.DENSE, "inference", *SHARED))
    dense: Any = dense_step()
    anchors = 9 * 20 * 24
    assert [x.shape for x in dense] == [
        (1, anchors),
        (1, anchors, 4),
        (8, detectors.CLASSES + 1),
        (8, 4 * detectors.CLASSES),
    ]


@pytest.mark.slow
def test_training_reaches_all_weights_whole_and_dense(monkeypatch):
    models = []
    make = detectors._detector
    monkeypatch.setattr(
        detectors, "_detector", lambda spec: models.append(make(spec)) or models[-1]
    )
    for contestant, step in (
        (detectors.OURS, detectors._whole_step),
        (detectors.DENSE, detectors._dense_step),
    ):
        train = step(detectors.Spec(contestant, "training", *SHARED))
        assert np.all(np.isfinite(train()))
        model = models[-1]
        gradients = [v.numpy() for v in model.optimizer.variables if "momentum" in v.path]
        paths = [v.path for v in model.trainable_variables]
        reached = {p for p, g in zip(paths, gradients, strict=True) if np.any(g)}
        assert reached == set(paths)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
