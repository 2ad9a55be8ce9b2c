"""The per-class RPN and R-CNN as Keras models: what they learn, answer and refuse."""

import keras
import localizers
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import errors, optimizers
from resnet_keras.localization import RCNN, Localizer, heads, loading, measuring, testing
from resnet_keras.localization import rcnn as second_stage


@pytest.fixture(scope="module")
def model():
    return localizers.localizer()


@pytest.fixture(scope="module")
def answers(model):
    return model.predict_on_batch(localizers.images())


@pytest.fixture(scope="module")
def rcnn(model):
    network = RCNN(model, side=32, proposals=6, rois=2)
    kernel = network.per_class.kernel
    kernel.assign(np.random.default_rng(1).normal(0, 0.1, kernel.shape))
    return network


def test_head_is_a_linear_layer_of_the_class_asked_for():
    layer = heads.PerClass(3, 2)
    features = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    classes = np.array([[2, 0], [1, -1]])
    logits, deltas = layer(features, classes)
    assert logits.shape == (2, 2, 10)
    assert deltas.shape == (2, 2, 10, 4)
    layer.bias.assign(np.arange(30).reshape(3, 10))
    logits, deltas = (np.asarray(x) for x in layer(features, classes))
    expected = features[0] @ np.asarray(layer.kernel)[2] + np.asarray(layer.bias)[2]
    np.testing.assert_allclose(logits[0, 0].reshape(5, 2), expected[:, :2], rtol=1e-5)
    np.testing.assert_allclose(deltas[0, 0].reshape(5, 8), expected[:, 2:], rtol=1e-5)
    assert not logits[1, 1].any()
    assert not deltas[1, 1].any()


def test_predictors_are_float32_where_the_network_is_not():
    mixed = localizers.localizer(dtype="mixed_bfloat16")
    assert mixed.rpn.compute_dtype == "bfloat16"
    for part in (mixed, RCNN(mixed)):
        assert part.per_class.compute_dtype == "float32"
    seen = mixed.look(tf.constant(localizers.images()), tf.constant([[64, 96]] * 2))
    logits, _ = mixed.per_class(seen.features, tf.constant([[0], [1]]))
    assert (np.asarray(logits) != np.asarray(tf.cast(tf.cast(logits, "bfloat16"), "float32"))).any()


def test_answer_is_the_best_anchor_of_each_class(model, answers):
    images = localizers.images()
    assert answers["boxes"].shape == (2, 3, 4)
    sizes = tf.constant([[64, 96]] * 2)
    seen = model.look(tf.constant(images), sizes)
    boxes, scores = (np.asarray(x) for x in model.candidates(seen, answers["labels"]))
    for image in range(2):
        for place in range(3):
            best = scores[image, place].argmax()
            np.testing.assert_allclose(
                answers["boxes"][image, place], boxes[image, place, best], atol=1e-3
            )
    assert (np.diff(answers["scores"], axis=1) <= 0).all()
    np.testing.assert_allclose(answers["scores"].sum(1), 1, rtol=1e-5)
    assert (answers["boxes"][..., :2] >= 0).all()
    assert (answers["boxes"][..., 2:] <= (96, 64)).all()


def test_classes_of_another_network_are_answered(model, answers):
    classes = np.array([[2, 0], [1, 2]], "int32")
    inputs = {"image": localizers.images(), "classes": classes, "label": np.array([1, 0])}
    found = model.predict_on_batch(inputs)
    np.testing.assert_array_equal(found["labels"], classes)
    for image in range(2):
        own = list(answers["labels"][image])
        for place in range(2):
            expected = answers["boxes"][image, own.index(classes[image, place])]
            np.testing.assert_allclose(found["boxes"][image, place], expected, atol=1e-3)
        expected = answers["boxes"][image, own.index(inputs["label"][image])]
        np.testing.assert_allclose(found["true_boxes"][image], expected, atol=1e-3)


def test_padding_changes_nothing(model, answers):
    padded = np.zeros((2, 128, 128, 3), "uint8")
    padded[:, :64, :96] = localizers.images()
    found = model.predict_on_batch({"image": padded, "size": np.array([[64, 96]] * 2, "int32")})
    np.testing.assert_array_equal(found["labels"], answers["labels"])
    np.testing.assert_allclose(found["scores"], answers["scores"], atol=1e-4)
    np.testing.assert_allclose(found["boxes"], answers["boxes"], atol=1e-2)


def test_only_the_own_class_learns_boxes():
    model = localizers.localizer()
    images, targets = localizers.batch(3)
    targets = {**targets, "label": np.array([1, 1, -1], "int32")}
    with tf.GradientTape() as tape:
        losses = model(images, targets=targets, training=True)
        total = tf.add_n([tf.reduce_sum(loss) for loss in losses.values()])
    gradient = np.asarray(tape.gradient(total, model.per_class.kernel.value))
    assert [bool(gradient[label].any()) for label in range(3)] == [False, True, False]
    for loss in losses.values():
        assert loss[0] > 0
        assert loss[2] == 0  # an image without objects teaches nothing


def test_keys_decide_what_is_drawn(model):
    images, targets = localizers.batch()
    losses = [model(images, targets=targets)["object_loss"] for _ in range(2)]
    np.testing.assert_array_equal(*losses)
    other = model(images, targets={**targets, "key": targets["key"] + 7})["object_loss"]
    assert (np.asarray(other) != np.asarray(losses[0])).any()


@pytest.mark.slow
def test_fit_learns_and_a_loaded_model_answers_the_same(tmp_path, capsys):
    model = localizers.localizer()
    model.compile(optimizers.SGD(0.02, momentum=0.9))
    images, targets = localizers.batch()
    data = tf.data.Dataset.from_tensors((images, targets)).repeat()
    history = model.fit(data, steps_per_epoch=8, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert set(history) == {"loss", "class_loss", "object_loss", "box_loss"}
    model.save(tmp_path / "weights.keras")
    loaded = loading.load(tmp_path, "last")
    for name, value in model.predict_on_batch(images).items():
        np.testing.assert_allclose(loaded.predict_on_batch(images)[name], value, atol=1e-4)
    assert loaded.crop == 64


@pytest.mark.slow
def test_center_crops_are_answered_in_the_whole_images_pixels(model):
    images = localizers.images()
    found = testing.Test([model], "center_crop").predict_on_batch({"image": images})
    middle = model.predict_on_batch(images[:, :, 16:80])
    np.testing.assert_array_equal(found["labels"], middle["labels"])
    np.testing.assert_allclose(found["boxes"], middle["boxes"] + [16, 0, 16, 0], atol=1e-2)


@pytest.mark.slow
def test_of_several_scales_the_best_box_is_taken(model, answers):
    images = localizers.images()
    single = testing.Test([model], "multi_scale", factors=[1.0]).predict_on_batch(images)
    np.testing.assert_allclose(single["boxes"], answers["boxes"], atol=1e-3)
    both = testing.Test([model], "multi_scale", factors=[1.0, 1.5]).predict_on_batch(images)
    larger = testing.Test([model], "multi_scale", factors=[1.5]).predict_on_batch(images)
    for image in range(2):
        for place, label in enumerate(both["labels"][image]):
            options = []
            for one in (single, larger):
                own = list(one["labels"][image]).index(label)
                options.append((one["confidences"][image, own], one["boxes"][image, own]))
            confidence, box = max(options, key=lambda option: option[0])
            np.testing.assert_allclose(both["confidences"][image, place], confidence, atol=1e-4)
            np.testing.assert_allclose(both["boxes"][image, place], box, atol=1e-2)


def test_an_ensemble_of_one_twice_is_that_one(model, rcnn):
    images = localizers.images()
    for single in (model, rcnn):
        alone, twice = (testing.Test([single] * n).answers(images) for n in (1, 2))
        np.testing.assert_array_equal(twice["labels"], alone["labels"])
        np.testing.assert_allclose(twice["boxes"], alone["boxes"], atol=1e-2)
        np.testing.assert_allclose(twice["confidences"], alone["confidences"], atol=1e-4)


def test_rcnn_moves_and_scores_the_localizers_boxes(model, rcnn):
    images = localizers.images()
    found = rcnn.predict_on_batch(images)
    np.testing.assert_array_equal(found["labels"], model.predict_on_batch(images)["labels"])
    seen = rcnn.look(tf.constant(images), tf.constant([[64, 96]] * 2))
    boxes, _ = rcnn.proposals(seen, found["labels"])
    assert boxes.shape == (2, 3, 6, 4)
    moved, again = (np.asarray(x) for x in rcnn.rescored(seen, found["labels"], boxes))
    best = again.argmax(-1)
    for image in range(2):
        for place in range(3):
            expected = moved[image, place, best[image, place]]
            np.testing.assert_allclose(found["boxes"][image, place], expected, atol=1e-2)
    # A region is warped as it is, and the same network sees it.
    box = tf.constant([[[16.0, 0.0, 80.0, 64.0]]])
    region = images[:1, :, 16:80].astype("float32")
    half = region.reshape(1, 32, 2, 32, 2, 3).mean((2, 4))  # between two pixels of each side
    direct = rcnn._parts.body(half)
    np.testing.assert_allclose(
        rcnn._features(tf.constant(images[:1], tf.float32), box, False)[0, 0],
        np.asarray(direct).mean((1, 2))[0],
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.slow
def test_rcnn_trains_and_its_localizer_does_not(model, rcnn, tmp_path):
    before = [value.numpy() for value in model.weights]
    rcnn.compile(optimizers.SGD(0.01, momentum=0.9))
    images, targets = localizers.batch()
    data = tf.data.Dataset.from_tensors((images, targets)).repeat()
    history = rcnn.fit(data, steps_per_epoch=4, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    for value, earlier in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(value, earlier)
    rcnn.save(tmp_path / "best.keras")
    loaded = loading.load(tmp_path)
    for name, value in rcnn.predict_on_batch(images).items():
        np.testing.assert_allclose(loaded.predict_on_batch(images)[name], value, atol=1e-3)


def test_a_localizer_is_not_changed_and_not_trained_by_an_rcnn():
    model = localizers.localizer()
    frozen = model.backbone.layers[1]
    frozen.trainable = False  # as --freeze does
    names = [value.path for value in model.trainable_variables]
    rcnn = RCNN(model)
    assert [value.path for value in model.trainable_variables] == names
    learned = rcnn.trainable_variables
    assert not {id(value) for value in learned} & {id(value) for value in model.variables}
    own = len(model.backbone.trainable_variables) + len(rcnn.per_class.trainable_variables)
    assert len(learned) == len(rcnn.trainable_weights) == own
    assert len(learned) + len(rcnn.non_trainable_variables) == len(rcnn.variables)
    assert len(learned) + len(rcnn.non_trainable_weights) == len(rcnn.weights)
    model.trainable = False  # the copy of a model that is frozen as a whole is trained
    again = RCNN(model)
    assert again.backbone.trainable_variables
    assert not model.trainable_variables


def test_rcnn_has_a_scale_and_crops_of_its_own(model, rcnn):
    assert (rcnn.scale, rcnn.crop) == (model.scale, model.crop) == ((64, 96), 64)
    config = RCNN(model, scale=(32, 48), crop=24).get_config()
    assert (config["scale"], config["crop"]) == ([32, 48], 24)
    other = RCNN(model, model.backbone, scale=(32, 48), crop=24)
    assert (other.scale, other.crop) == ((32, 48), 24)
    with pytest.raises(errors.InputError, match="different scales, 32,48 and 64,96: say with"):
        testing.Test([model, other])
    assert testing.Test([model, other], scale=(64, 96)).scale == (64, 96)
    with pytest.raises(errors.InputError, match="different sides, 64 and 24"):
        testing.Test([model, other], "center_crop", scale=(64, 96))


def test_boxes_of_both_kinds_are_drawn_alike():
    state = np.array([[1, 1, 0, 0, -1], [1, 1, 1, 1, 1], [0, 0, -1, -1, 0], [-1] * 5])
    state = state.repeat(200, 0)
    key = np.stack([np.arange(800), np.arange(800)], 1).astype("int32")
    drawn = tf.function(second_stage.drawn)  # image by image, which takes long otherwise
    index, weight = (np.asarray(x) for x in drawn(tf.constant(state), 1, tf.constant(key)))
    chosen = np.take_along_axis(state, index, 1)[:, 0].reshape(4, 200)
    assert 0.4 < (chosen[0] == 1).mean() < 0.6
    assert (chosen[0] >= 0).all()
    assert (chosen[1] == 1).all()
    assert (chosen[2] == 0).all()
    np.testing.assert_array_equal(weight.reshape(4, 200).min(1), [1, 1, 1, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "conv9"}, "endpoint of the backbone"),
        ({"samples": 3}, "samples is an even number"),
        ({"overlaps": (0.3, 0.7)}, "overlaps is"),
        ({"anchor_sizes": ()}, "positive numbers"),
        ({"class_names": ["a"]}, "3 classes and 1 class_names"),
    ],
)
def test_wrong_arguments_are_told(model, options, message):
    with pytest.raises(errors.InputError, match=message):
        Localizer(model.backbone, 3, **options)


def test_what_cannot_be_true_is_told(model):
    images, targets = localizers.batch()
    turned = targets["boxes"].copy()
    turned[0, 0] = (40, 38, 5, 6)
    with pytest.raises(errors.InputError, match="ends before it begins"):
        model(images, targets={**targets, "boxes": turned})
    with pytest.raises(errors.InputError, match="without loss"):
        model.compile(loss="mse")
    with pytest.raises(errors.InputError, match="Localizer"):
        RCNN(keras.Sequential())
    with pytest.raises(errors.InputError, match="same classes"):
        testing.Test([model, localizers.localizer(class_names=["a", "b", "c"])])


def test_images_without_objects_and_copies_are_not_scored():
    targets = {
        "label": np.array([1, -1, 2]),
        "image_id": np.array([5, 6, 7]),
        "original_boxes": np.array([[[1, 2, 3, 4], [0, 0, 0, 0]]] * 3, float),
        "scale": np.array([[2.0, 4.0]] * 3),
    }
    answers = {"labels": np.zeros((3, 1), int), "boxes": np.array([[[2.0, 8.0, 6.0, 16.0]]] * 3)}
    truth, found = measuring.in_original_pixels(answers, targets, np.array([1, 1, 0]))
    assert [one.image_id for one in truth] == [5]
    np.testing.assert_array_equal(truth[0].boxes, [[1, 2, 3, 4]])
    np.testing.assert_array_equal(found[0].boxes, [[1, 2, 3, 4]])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
