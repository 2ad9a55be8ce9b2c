"""The detector as a user has it: compile, fit, predict, save, load."""

import subprocess
import sys
import textwrap

import detectors
import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import errors, optimizers, zoo
from resnet_keras.detection import FasterRCNN, MaskRCNN, backbones, statistics
from resnet_keras.errors import InputError

FIT = {"batch_size": 2, "shuffle": False, "sample_weight": np.array([1.0, 0.5], "float32")}
LOSSES = ("rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss")


@pytest.fixture(scope="module")
def model():
    return detectors.detector()


@pytest.fixture(scope="module")
def trained():
    """A detector after 20 steps of `fit`, its history, and its weights before."""
    model = detectors.detector()
    before = {weight.path: np.array(weight) for weight in model.weights}
    model.compile(optimizers.SGD(0.001, momentum=0.9))
    history = model.fit(*detectors.batch(), **FIT, epochs=20, verbose=0).history
    return model, history, before


def gradients(model, x, targets):
    with tf.GradientTape() as tape:
        losses = model(x, targets=targets, training=True)
        total = tf.add_n([tf.reduce_sum(loss) for loss in losses.values()])
    found = tape.gradient(total, model.trainable_variables)
    return losses, [g for g in found if g is not None]


def assert_same(found, expected, entry=0, pixels=1e-3):
    """Each of `expected`'s detections of its only image is one of `found`'s of `entry`."""
    count = int(expected["count"][0])
    assert count > 3
    assert int(found["count"][entry]) == count
    boxes, scores = np.asarray(found["boxes"][entry]), np.asarray(found["scores"][entry])
    for place in range(count):
        distance = np.abs(boxes - np.asarray(expected["boxes"][0, place])).max(-1)
        same = (distance < pixels) & (found["labels"][entry] == expected["labels"][0, place])
        same &= np.abs(scores - expected["scores"][0, place]) < 1e-4
        assert np.any(same), (place, distance.min())


def test_fit_reports_the_four_losses(trained):
    _, history, _ = trained
    assert set(history) == {"loss", *LOSSES}
    assert np.allclose(history["loss"], sum(np.array(history[name]) for name in LOSSES), rtol=1e-5)
    assert history["loss"][-1] < history["loss"][0]


def test_weights_of_images():
    model = detectors.detector()
    model.compile("sgd")
    x, targets = detectors.batch()
    losses = model(x, targets=targets)
    weights = tf.constant([1.0, 0.25])
    found = model.test_step((x, targets, weights))
    expected = (losses["class_loss"][0] + 0.25 * losses["class_loss"][1]) / 1.25
    np.testing.assert_allclose(found["class_loss"], expected, rtol=1e-4)
    total = sum(np.array(losses[name]) for name in LOSSES)
    np.testing.assert_allclose(
        model._mean_loss(losses, weights), (total[0] + 0.25 * total[1]) / 2, rtol=1e-4
    )


def test_what_is_frozen_stays(trained):
    """Scales and offsets do not move in 20 steps, and all that is trained does."""
    model, _, before = trained
    fixed = {weight.path for weight in model.backbone.non_trainable_variables}
    assert len(fixed) > 20
    for weight in model.weights:
        if weight.path in fixed:
            np.testing.assert_array_equal(weight, before[weight.path])
    for weight in model.trainable_variables:
        assert np.any(weight != before[weight.path]), weight.path


def test_the_same_key_draws_the_same_samples_in_any_batch(model):
    x, targets = detectors.batch()
    both = model(x, targets=targets)
    second = model(x[1:], targets={name: value[1:] for name, value in targets.items()})
    for name in LOSSES:
        np.testing.assert_allclose(both[name][1], second[name][0], rtol=1e-4, atol=1e-6)


def test_a_batch_without_objects(model):
    x, targets = detectors.batch()
    empty = {
        "boxes": np.zeros_like(targets["boxes"]),
        "labels": np.full_like(targets["labels"], -1),
        "key": targets["key"],
    }
    losses, found = gradients(model, x, empty)
    for name in LOSSES:
        assert np.all(np.isfinite(losses[name]))
    np.testing.assert_array_equal(losses["rpn_box_loss"], 0)
    np.testing.assert_array_equal(losses["box_loss"], 0)
    assert np.all(losses["rpn_class_loss"] > 0)
    assert np.all(losses["class_loss"] > 0)
    assert all(np.all(np.isfinite(tf.convert_to_tensor(gradient))) for gradient in found)
    none = {"boxes": np.zeros((2, 0, 4), "float32"), "labels": np.zeros((2, 0), "int32")}
    again = model(x, targets={**none, "key": targets["key"]}, training=True)
    for name in LOSSES:
        np.testing.assert_allclose(again[name], losses[name], rtol=1e-5)


def test_a_batch_of_crowds_is_background_elsewhere(model):
    x, targets = detectors.batch()
    crowd = {**targets, "crowd": targets["labels"] >= 0}
    losses = model(x, targets=crowd)
    np.testing.assert_array_equal(losses["box_loss"], 0)
    assert np.all(losses["class_loss"] > 0)


def test_a_box_of_one_pixel_and_300_boxes(model):
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 60, (2, 300, 2))
    boxes = np.concatenate([corners, corners + generator.integers(1, 5, (2, 300, 2))], -1)
    boxes[:, 0] = [95, 63, 96, 64]
    labels = generator.integers(0, detectors.CLASSES, (2, 300))
    x, targets = detectors.batch()
    targets = {"boxes": boxes.astype("float32"), "labels": labels, "key": targets["key"]}
    losses, found = gradients(model, x, targets)
    assert all(np.all(np.isfinite(losses[name])) for name in LOSSES)
    assert np.all(losses["box_loss"] > 0)
    assert all(np.all(np.isfinite(tf.convert_to_tensor(gradient))) for gradient in found)


OUTSIDE = "the box leaves its image; clip it or correct it."


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ([np.nan, 0, 20, 20], "a corner is not a number; remove the box or correct it."),
        pytest.param([10, 10, 300, 30], OUTSIDE, marks=pytest.mark.slow),
    ],
)
def test_fit_names_the_entry_of_a_faulty_box(trained, box, sentence):
    x, targets = detectors.batch()
    targets["boxes"][0, 1] = box
    before = trained[0].get_weights()
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        trained[0].fit(x, targets, **FIT, verbose=0)
    told = str(errors.told(error.value))
    assert told.startswith("Batch entry 0, box 1, [")
    assert told.endswith(sentence)
    for weight, earlier in zip(trained[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, earlier)


def test_eager_calls_name_it_too(model):
    x, targets = detectors.batch()
    targets["labels"][1, 0] = detectors.CLASSES
    with pytest.raises(InputError, match=r"Batch entry 1, box 0, .* none of the classes 0 to 2"):
        model(x, targets=targets)


DETECTORS = {
    "c4": {},
    "max_pool": {"roi": "max_pool"},
    "refine_context": {"refine": True, "context": True},
    "fpn": {"neck": "fpn"},
    "torchvision": {"neck": "fpn", "preset": "torchvision", "masked": True},
    "detectron2": {"preset": "detectron2", "masked": True},
    "plain": {"network": "plain10_shapes"},
}


SLOW = set(DETECTORS) - {"fpn"}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] if k in SLOW else []) for k in DETECTORS]
)
def test_detections_do_not_depend_on_the_batch_or_padding(kind):
    model = detectors.detector(**DETECTORS[kind])
    image = detectors.images(1)[:, :40, :72]
    alone = model(image)
    # Sides that are no multiple of 32 are padded by the model itself.
    assert np.all(alone["boxes"][0, :, 2] <= 72)
    assert np.all(alone["boxes"][0, :, 3] <= 40)
    crowded = np.concatenate([detectors.images(1, 128, 160, seed=1), np.zeros((1, 128, 160, 3))])
    crowded[1, :40, :72] = image[0]
    found = model({"image": crowded.astype("uint8"), "size": np.array([[128, 160], [40, 72]])})
    assert_same(found, alone, entry=1)
    full = detectors.images(1)  # of multiples of 32: alone, there is no padding at all
    padded = np.pad(full, [(0, 0), (0, 32), (0, 64), (0, 0)])
    assert_same(model({"image": padded, "size": np.array([[64, 96]])}), model(full))


def test_without_masks_padding_changes_detections():
    model = detectors.detector(masked=False)
    full = detectors.images(1)
    padded = np.pad(full, [(0, 0), (0, 32), (0, 64), (0, 0)])
    with pytest.raises(AssertionError):
        assert_same(model({"image": padded, "size": np.array([[64, 96]])}), model(full))


def test_predict_pads_its_answers(trained, model):
    found = trained[0].predict(detectors.images(1), verbose=0)
    assert {name: value.shape for name, value in found.items()} == {
        "boxes": (1, 10, 4),
        "scores": (1, 10),
        "labels": (1, 10),
        "count": (1,),
    }
    assert found["count"][0] == 10
    fourth = float(model(detectors.images(1))["scores"][0, 3])
    few = detectors.detector(score_threshold=fourth + 1e-3)(detectors.images(1))
    count = int(few["count"][0])
    assert 0 < count < 4
    assert np.all(np.diff(few["scores"][0, :count]) <= 0)
    assert np.all(few["labels"][0, :count] >= 0)
    np.testing.assert_array_equal(few["boxes"][0, count:], 0)
    np.testing.assert_array_equal(few["scores"][0, count:], 0)
    np.testing.assert_array_equal(few["labels"][0, count:], -1)


@pytest.mark.slow
def test_predict_traces_few_times():
    model = detectors.detector()
    traces = []
    call = model.call
    model.call = lambda *arguments, **options: traces.append(1) or call(*arguments, **options)
    for height, width in [(64, 96), (96, 64), (64, 64), (32, 96), (96, 96), (128, 64)]:
        model.predict(detectors.images(1, height, width), verbose=0)
    assert len(traces) <= 2


def test_saved_and_loaded(tmp_path):
    """Options, settings, the optimizer and the precision of all parts come back."""
    model = detectors.detector(context=True, refine=True, nms_iou=0.4, dtype="mixed_bfloat16")
    model.compile(optimizers.SGD(0.01, momentum=0.9))
    model.save(tmp_path / "detector.keras")
    loaded = keras.saving.load_model(tmp_path / "detector.keras")
    assert (loaded.context, loaded.refine, loaded.settings) == (True, True, model.settings)
    assert loaded.jit_compile is False
    assert isinstance(loaded.optimizer, optimizers.SGD)
    assert loaded.rpn.get_layer("rpn_conv").compute_dtype == "bfloat16"
    assert loaded.box_head.output.dtype == "bfloat16"
    assert loaded.predictor.get_layer("class_logits").compute_dtype == "float32"
    x = detectors.images()
    expected, found = model(x), loaded(x)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    assert found["boxes"].dtype == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refine_context", "fpn"])
def test_loaded_in_another_process(tmp_path, kind):
    model = detectors.detector(**DETECTORS[kind])
    model.save(tmp_path / "detector.keras")
    x = detectors.images()
    np.savez(tmp_path / "expected.npz", x=x, **model.predict(x, verbose=0))
    code = """
        import sys
        import keras, numpy as np
        from resnet_keras.detection import FasterRCNN
        expected = np.load(sys.argv[2])
        found = keras.saving.load_model(sys.argv[1]).predict(expected["x"], verbose=0)
        for name in found:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
    """
    arguments = [str(tmp_path / name) for name in ("detector.keras", "expected.npz")]
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], check=True)


def test_losses_of_a_new_detector():
    keras.utils.set_random_seed(0)
    backbone = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3))
    model = FasterRCNN(statistics.frozen(backbone), 3, **detectors.SMALL)
    x, targets = detectors.batch()
    losses = model(x, targets=targets, training=True)
    # Nothing is preferred: binary and over the classes and the background.
    np.testing.assert_allclose(losses["rpn_class_loss"], np.log(2), rtol=0.02)
    np.testing.assert_allclose(losses["class_loss"], np.log(4), rtol=0.2)
    for variable in model.rpn.variables + model.predictor.variables:
        if variable.name == "bias":
            np.testing.assert_array_equal(variable, 0)


@pytest.mark.parametrize("argument", ["loss", "metrics", "weighted_metrics", "loss_weights"])
def test_compile_takes_no_losses(model, argument):
    with pytest.raises(InputError, match=f"its own losses: compile it without {argument}"):
        model.compile("sgd", **{argument: ["mse"]})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"neck": "pyramid"}, "neck"),
        ({"preset": "mmdetection"}, "preset"),
        ({"neck": "fpn", "box_head": "mlp"}, "box_head"),
        ({"neck": "fpn", "roi": "max_pool", "anchor_sizes": None}, "a pyramid takes"),
        ({"anchor_sizes": ((16,), (32,))}, "anchor_sizes must have 1 level"),
        ({"neck": "fpn", "anchor_sizes": (16,)}, "strides 2, 4, 8, 16, 32"),
    ],
)
def test_arguments_that_do_not_fit(options, sentence):
    backbone = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3))
    if options.get("anchor_sizes", 0) is None:
        del options["anchor_sizes"]
    with pytest.raises(InputError, match=sentence):
        FasterRCNN(backbone, 3, **options)


def test_backbones_that_do_not_fit():
    with pytest.raises(InputError, match=r"backbone is a network of zoo.backbone"):
        FasterRCNN(zoo.get("resnet10_shapes", num_classes=3), 3)
    fixed = zoo.backbone("resnet10_shapes", input_shape=(64, 64, 3))
    with pytest.raises(InputError, match="images of any size"):
        FasterRCNN(fixed, 3)
    single = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3), endpoints="conv4")
    with pytest.raises(InputError, match="two endpoints"):
        FasterRCNN(single, 3)
    with pytest.raises(InputError, match="num_classes"):
        FasterRCNN(single, 0)
    with pytest.raises(InputError, match='box_head is for neck="fpn"'):
        FasterRCNN(single, 3, box_head="convolutions")
    assert backbones


def test_under_mixed_precision_boxes_and_losses_are_float32():
    model = detectors.detector(dtype="mixed_bfloat16")
    x, targets = detectors.batch()
    targets["boxes"][0, 1, 2] = 90.3  # would be 90.5 in bfloat16
    seen = []
    truth = model._truth
    model._truth = lambda *arguments: seen.append(truth(*arguments)) or seen[-1]
    losses = model(x, targets=targets, training=True)
    np.testing.assert_array_equal(seen[0].boxes[0, 1, 2], np.float32(90.3))
    for name in LOSSES:
        assert losses[name].dtype == "float32"
        assert np.all(np.isfinite(losses[name]))


def without_keys(batch):
    x, targets = batch
    return x, {name: value for name, value in targets.items() if name != "key"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["c4", "fpn"])
def test_xla_gives_the_same_losses(kind):
    values = []
    for jit_compile in (False, True):
        model = detectors.detector(**DETECTORS[kind])
        model.compile("sgd", jit_compile=jit_compile)
        model.optimizer.learning_rate = 0.01
        # Of more steps, roundings that differ choose other examples on some processors.
        history = model.fit(*detectors.batch(), batch_size=2, epochs=1, verbose=0).history
        values.append([history[name] for name in LOSSES])
    np.testing.assert_allclose(values[1], values[0], rtol=1e-3, atol=1e-4)
    x, targets = detectors.batch()
    targets["boxes"][0, 1, 0] = np.nan
    assert np.isnan(model.evaluate(x, targets, verbose=0, return_dict=True)["loss"])


@pytest.mark.slow
def test_replicas_agree(mirrored):
    """Two replicas, of which one gets only images without objects, as one device."""
    x, targets = detectors.batch(4)
    targets["boxes"][2:], targets["labels"][2:] = 0, -1
    data = tf.data.Dataset.from_tensors((x, targets)).repeat()
    weights, histories = [], []
    for strategy in (tf.distribute.OneDeviceStrategy("cpu:0"), mirrored):
        with strategy.scope():
            model = detectors.detector(neck="fpn")
            model.compile(optimizers.SGD(0.001, momentum=0.9))
        histories.append(model.fit(data, steps_per_epoch=4, verbose=0).history)
        weights.append(model.get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-4)


@pytest.mark.slow
def test_targets_without_keys_train_on_replicas(mirrored):
    with mirrored.scope():
        model = detectors.detector()
        model.compile("sgd")
    data = tf.data.Dataset.from_tensors(without_keys(detectors.batch())).repeat()
    assert np.isfinite(model.fit(data, steps_per_epoch=1, verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("resnet10_shapes", {"normalization": "group"}),
        pytest.param("resnet10_shapes", {"normalization": "layer"}, marks=pytest.mark.slow),
        pytest.param("seresnet18", {"width": 0.125}, marks=pytest.mark.slow),
    ],
)
def test_means_over_an_image_do_not_see_its_padding(network, options):
    """Of group normalization in backbone and pyramid, and of a squeeze."""
    keras.utils.set_random_seed(0)
    backbone = zoo.backbone(network, input_shape=(None, None, 3), **options)
    for variable in backbone.trainable_variables:
        if variable.name in ("gamma", "beta"):
            variable.assign(np.random.default_rng(0).uniform(0.5, 1.5, variable.shape))
    model = FasterRCNN(backbone, 3, neck="fpn", box_head="convolutions")
    image = detectors.images(1, 48, 72)
    answers = []
    for height, width in ((64, 96), (128, 160)):
        padded = np.zeros([1, height, width, 3], "uint8")
        padded[:, :48, :72] = image
        inputs = {"image": padded, "size": np.array([[48, 72]], "int32")}
        answers.append(model.predict_on_batch(inputs))
    assert answers[0]["count"] == answers[1]["count"] > 0
    for name, values in answers[0].items():
        np.testing.assert_allclose(answers[1][name], values, rtol=0, atol=2e-3, err_msg=name)


@pytest.mark.slow
def test_a_backbone_of_group_normalization_has_a_pyramid_and_heads_of_it(tmp_path):
    """For training with an image or two a replica; loaded, it answers the same."""
    backbone = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3), normalization="group")
    model = MaskRCNN(backbone, 3, neck="fpn", box_head="convolutions")
    parts = (model.neck, model.box_head, model.mask_head)
    norms = [layer for part in parts for layer in part.layers if layer.name.endswith("_bn")]
    assert len(norms) > 10
    assert {type(layer) for layer in norms} == {keras.layers.GroupNormalization}
    model.save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    expected, found = (m.predict_on_batch(detectors.images(1)) for m in (model, loaded))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
