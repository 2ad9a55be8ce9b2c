"""The heads: shapes, parameters, and what they start from."""

import numpy as np

from resnet_keras import zoo
from resnet_keras.detection import backbones, heads


def test_region_proposal_network():
    model = heads.rpn(32, 9, channels=16)
    objectness, deltas = model(np.zeros((2, 5, 7, 32), "float32"))
    assert objectness.shape == (2, 5, 7, 9)
    assert deltas.shape == (2, 5, 7, 36)
    assert model.count_params() == (9 * 32 + 1) * 16 + (16 + 1) * 9 + (16 + 1) * 36
    two = heads.rpn(32, 9, channels=16, convolutions=2)
    assert two.count_params() - model.count_params() == (9 * 16 + 1) * 16


def test_initial_values():
    models = [heads.rpn(64, 9, channels=256), heads.predictor(1024, 20)]
    deviations = {
        "rpn_conv": 0.01,
        "rpn_objectness": 0.01,
        "rpn_deltas": 0.01,
        "class_logits": 0.01,
        "box_deltas": 0.001,
    }
    for model in models:
        for layer in model.layers[1:]:
            np.testing.assert_array_equal(layer.bias, 0)
            np.testing.assert_allclose(np.std(layer.kernel), deviations[layer.name], rtol=0.1)


def test_heads_of_the_pyramid():
    mlp = heads.two_mlp(8, width=32)
    assert mlp(np.zeros((3, 7, 7, 8), "float32")).shape == (3, 32)
    assert mlp.count_params() == (49 * 8 + 1) * 32 + 33 * 32
    convolutions = heads.convolutions(8, channels=4, count=2, width=16)
    assert convolutions(np.zeros((3, 7, 7, 8), "float32")).shape == (3, 16)


def test_the_last_stage_is_the_backbones():
    assert backbones
    backbone = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3))
    head = heads.last_stage(backbone, "conv4", "conv5")
    stage = head.get_layer("last_stage")
    assert all(backbone.get_layer(layer.name) is layer for layer in stage.layers[1:])
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    features = backbone(image)
    # On the whole map, it is what the backbone goes on with.
    expected = np.mean(features["conv5"], axis=(1, 2))
    np.testing.assert_allclose(head(features["conv4"]), expected, rtol=1e-4, atol=1e-5)


def test_predictor():
    logits, deltas = heads.predictor(16, 3)(np.zeros((5, 16), "float32"))
    assert logits.shape == (5, 4)
    assert deltas.shape == (5, 12)


if __name__ == "__main__":
    import sys

    import pytest

    sys.exit(pytest.main([__file__]))
