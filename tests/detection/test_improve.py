"""The improvements of the paper's Table 9, each against its literal form."""

import types

import detectors
import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import detections, improve
from resnet_keras.detection.faster_rcnn import FasterRCNN
from resnet_keras.detection.proposals import propose
from resnet_keras.errors import InputError

# Features of another size are other features: boxes differ by rounding, in hundredths of a pixel.
CLOSE = {"boxes": 1e-2, "scores": 1e-4, "labels": 0, "count": 0}


@pytest.fixture(scope="module")
def models():
    return [detectors.detector(), detectors.detector(seed=1)]


def assert_close(found, expected):
    assert set(found) == set(expected) == set(CLOSE)
    for name, tolerance in CLOSE.items():
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance, err_msg=name)


def resized(image, scale):
    sides = np.round(np.array(image.shape[1:3]) * scale).astype("int32")
    return tf.image.resize(image, sides, antialias=True), sides[None]


def proposals(model, image, size):
    maps, levels = model.look(image, size)
    return maps, *propose(levels, size, model.settings, training=False)


def test_box_refinement_answers_twice(models):
    model = models[0]
    image, size = detectors.images(1), np.array([[64, 96]], "int32")
    refined = FasterRCNN(model.backbone, detectors.CLASSES, **detectors.SMALL, refine=True)
    refined.set_weights(model.get_weights())
    maps, rois, is_roi = proposals(model, image, size)

    def answer(rois):
        logits, deltas = model.classify(model.features(maps, rois))
        return detections.of_rois(logits, deltas, rois, size, model.settings.box_weights)

    expected = detections.detect(answer, rois, is_roi, model.settings, refine=True)
    found, without = refined(image), model(image)
    assert_close(found, expected)
    assert np.max(np.abs(found["boxes"] - without["boxes"])) > 1


def test_context_stands_beside_each_roi():
    model = detectors.detector(context=True)
    image, size = detectors.images(1), np.array([[64, 96]], "int32")
    np.testing.assert_array_equal(model.whole_image(size), [[[0, 0, 96, 64]]])
    maps, _ = model.look(image, size)
    rois = np.array([[[5, 5, 40, 30], [20, 10, 80, 60]]], "float32")
    features = model.features(maps, tf.concat([rois, model.whole_image(size)], 1))
    logits, deltas = model.classify(features)
    assert deltas.shape == (1, 2, detectors.CLASSES, 4)
    kernel = np.array(model.predictor.get_layer("class_logits").kernel)
    for place in range(2):
        both = np.concatenate([features[0, place], features[0, 2]])
        np.testing.assert_allclose(logits[0, place], both @ kernel, rtol=1e-3, atol=1e-4)


def test_context_is_trained():
    model = detectors.detector(context=True)
    x, targets = detectors.batch()
    kernel = model.predictor.get_layer("class_logits").kernel
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, targets=targets, training=True)["class_loss"])
    own, whole = np.split(np.array(tape.gradient(loss, kernel.value)), 2)
    assert np.any(own != 0)
    assert np.any(whole != 0)
    assert own.shape == whole.shape


def test_adjacent_scales():
    factors = np.array([0.5, 1, 2, 4])[:, None].repeat(4, 1).astype("float32")
    sides = np.array([1, 56, 80, 112, 113, 224, 225, 448, 449, 5000], "float32")
    boxes = np.stack([np.zeros(10), np.zeros(10), sides, sides], 1).astype("float32")
    # 100 pixels have 224 between factors 2 and 4, 200 between 1 and 2.
    expected = [2, 2, 2, 2, 1, 1, 0, 0, 0, 0]
    np.testing.assert_array_equal(improve.adjacent(boxes, factors), expected)
    np.testing.assert_array_equal(improve.adjacent(boxes, factors, 1e6), 2)


def test_maxout_of_two_scales():
    """Features that are constant at each scale: of scales 1 and 2, 2 and 3, the larger remain."""
    constants = [[1.0, 9.0], [5.0, 3.0], [4.0, 4.0]]
    views = [
        improve.View([constant], [], None, tf.fill([4], factor))  # pyright: ignore
        for constant, factor in zip(constants, (1.0, 2.0, 4.0), strict=True)
    ]
    seen = []

    def features(maps, rois):
        seen.append(np.array(rois))
        return tf.tile(tf.constant(maps)[None], [1, rois.shape[1], 1])

    head = types.SimpleNamespace(output=types.SimpleNamespace(shape=(None, 2), dtype="float32"))
    member = types.SimpleNamespace(features=features, box_head=head)
    rois = tf.constant([[[0, 0, 200, 200], [10, 0, 80, 70], [0, 0, 300, 400]]], tf.float32)
    merged = improve._maxout(member, views, rois, 224)
    np.testing.assert_array_equal(merged, [[[5, 9], [5, 4], [5, 9]]])
    # Each RoI is looked at twice, in pixels of the scale.
    assert [len(x[0]) for x in seen] == [2, 3, 1]
    np.testing.assert_array_equal(seen[2], [[[40, 0, 320, 280]]])


@pytest.mark.slow
def test_multi_scale(models):
    model = models[0]
    image, size = detectors.images(1), np.array([[64, 96]], "int32")
    large, large_size = resized(image, 2)
    maps, rois, is_roi = proposals(model, large, large_size)
    small_maps, _ = model.look(image, size)
    rois = rois / 2

    def answer(rois):
        features = tf.maximum(model.features(maps, rois * 2), model.features(small_maps, rois))
        logits, deltas = model.classify(features)
        return detections.of_rois(logits, deltas, rois, size, model.settings.box_weights)

    expected = detections.detect(answer, rois, is_roi, model.settings)
    assert_close(improve.multi_scale(model, (64, 128))(image), expected)
    # Proposals of both scales are twice as many.
    both = improve.multi_scale(model, (64, 128), proposal_scales=(64, 128))
    count = model.settings.proposals[1]
    views = [both._views(model, image[0], size[0])]
    assert both._proposals(views)[0].shape == (1, 2 * count, 4)


def test_the_scale_of_an_image(models):
    long = detectors.images(1, 32, 96)[0]
    view = improve._view(models[0], long, np.array([32, 96]), 64)
    # Twice as large would be 192 pixels long; the limit is 64 * 5 / 3.
    np.testing.assert_array_equal(view.size, [[36, 107]])
    np.testing.assert_allclose(view.factor, [107 / 96, 36 / 32] * 2)


@pytest.mark.slow
def test_an_ensemble_of_one_is_the_model(models):
    x = detectors.images()
    single = improve.ensemble(models[:1])
    padded = np.pad(x, [(0, 0), (0, 32), (0, 0), (0, 0)])
    sizes = np.array([[64, 96], [64, 96]])
    assert_close(single({"image": padded, "size": sizes}), models[0](x))


def test_an_ensemble_of_two(models):
    image, size = detectors.images(1), np.array([[64, 96]], "int32")
    all_maps, all_rois, all_are = zip(*(proposals(m, image, size) for m in models), strict=True)

    def answer(rois):
        scores, boxes = 0, 0
        for model, maps in zip(models, all_maps, strict=True):
            logits, deltas = model.classify(model.features(maps, rois))
            weights = model.settings.box_weights
            answers = detections.of_rois(logits, deltas, rois, size, weights)
            scores, boxes = scores + answers[0] / 2, boxes + answers[1] / 2
        return scores, boxes

    rois, is_roi = tf.concat(all_rois, 1), tf.concat(all_are, 1)
    expected = detections.detect(answer, rois, is_roi, models[0].settings)
    assert_close(improve.ensemble(models)(image), expected)


@pytest.mark.slow
def test_everything_together_is_saved(tmp_path):
    kinds = {"refine": True, "context": True}
    models = [detectors.detector(seed=seed, neck="fpn", **kinds) for seed in range(2)]
    best = improve.ensemble(models, (32, 64, 96), canonical_size=48)
    x = detectors.images()
    expected = best.predict(x, verbose=0)
    assert np.all(expected["count"] > 0)
    best.save(tmp_path / "best.keras")
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    assert (loaded.scales, loaded.proposal_scales) == ((32, 64, 96), (64,))
    assert_close(loaded.predict(x, verbose=0), expected)


def test_what_cannot_be_combined(models):
    with pytest.raises(InputError, match="one or more models"):
        improve.ensemble([])
    with pytest.raises(InputError, match="one or more models"):
        improve.ensemble([models[0].backbone])
    other = FasterRCNN(models[0].backbone, 7, **detectors.SMALL)
    with pytest.raises(InputError, match=r"the same classes, not \[3, 7\] of them"):
        improve.ensemble([models[0], other])
    with pytest.raises(InputError, match="two or more ascending"):
        improve.multi_scale(models[0], (64,))
    with pytest.raises(InputError, match="two or more ascending"):
        improve.multi_scale(models[0], (128, 64))
    with pytest.raises(InputError, match="must be among scales"):
        improve.multi_scale(models[0], (64, 128), proposal_scales=(96,))
    with pytest.raises(InputError, match="which are not given"):
        improve.ensemble(models, proposal_scales=(96,))


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
