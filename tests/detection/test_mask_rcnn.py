"""Mask R-CNN: what it learns, finds and keeps, and its commands."""

import json
import re

import detectors
import numpy as np
import object_files
import pytest
import tensorflow as tf
import test_commands
from pycocotools import mask

from resnet_keras import drawing
from resnet_keras.detection import evaluate, faster_rcnn, loading, predict, prediction, train
from resnet_keras.errors import InputError
from resnet_keras.pipelines import shapes
from resnet_keras.training import optimizers


def batch():
    images, targets = detectors.batch()
    return images, {**targets, "masks": detectors.masks(targets["labels"])}


@pytest.fixture(scope="module", params=["c4", "fpn"])
def model(request):
    return detectors.detector(masks=True, neck=request.param)


@pytest.mark.slow
def test_masks_of_what_is_found(model):
    found = model.predict(detectors.images(), verbose=0)
    side = 14 if model.neck is None else 28
    assert found["masks"].shape == (2, 10, side, side)
    assert found["masks"].dtype == np.float32
    for place, count in enumerate(found["count"]):
        assert count > 0
        assert not found["masks"][place, count:].any()
        # Each is that of its own box and class.
        maps, _ = model.look(*faster_rcnn.unpack(detectors.images()))
        own = model.mask_logits(maps, found["boxes"], np.maximum(found["labels"], 0))
        expected = tf.sigmoid(own[place, :count])
        np.testing.assert_allclose(found["masks"][place, :count], expected, atol=1e-4)


def test_a_step_teaches_the_mask_of_the_own_class_only(model):
    """Of classes without objects, the last convolution has no gradient; boxes have none, either."""
    images, targets = batch()
    with tf.GradientTape() as tape:
        losses = model(images, targets=targets, training=True)
        loss = tf.reduce_sum(losses["mask_loss"])
    assert set(losses) == {*model.loss_names}
    kernel = model.mask_head.get_layer("mask_logits").kernel.value
    rpn = model.rpn.get_layer("rpn_deltas").kernel.value
    of_logits, of_deltas = tape.gradient(loss, [kernel, rpn])
    taught = np.abs(of_logits).max((0, 1, 2)) > 0
    np.testing.assert_array_equal(taught, [False, True, True])  # labels 1 and 2
    assert of_deltas is None or not np.any(of_deltas)


@pytest.mark.slow
def test_masks_are_learnt(model):
    model.compile(optimizers.SGD(0.02, momentum=0.9, clip_norm=10.0))
    images, targets = batch()
    data = tf.data.Dataset.from_tensors((images, targets)).repeat()
    history = model.fit(data, steps_per_epoch=8, epochs=2, verbose=0).history
    assert history["mask_loss"][1] < history["mask_loss"][0]
    total = sum(np.array(history[name]) for name in model.loss_names)
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)


@pytest.mark.slow
def test_two_replicas_learn_as_one(mirrored):
    images, targets = detectors.batch(4)
    targets = {**targets, "masks": detectors.masks(targets["labels"])}
    data = tf.data.Dataset.from_tensors((images, targets)).repeat()
    weights, losses = [], []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        with strategy.scope():
            model = detectors.detector(masks=True)
            model.compile(optimizers.SGD(0.003, momentum=0.9, clip_norm=1.0))
        before = model.mask_head.get_weights()
        # After many steps, rounding would change what is drawn.
        losses.append(model.fit(data, steps_per_epoch=4, verbose=0).history["mask_loss"])
        weights.append(model.get_weights())
        moved = zip(model.mask_head.get_weights(), before, strict=True)
        assert max(np.abs(now - then).max() for now, then in moved) > 1e-4
    np.testing.assert_allclose(*losses, rtol=1e-3)
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_saved_detector_finds_the_same(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = loading.load(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    first, second = (m.predict(detectors.images(), verbose=0) for m in (model, loaded))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_targets_without_masks(model):
    with pytest.raises(InputError, match="make the stream with masks=True"):
        model(*detectors.batch(), training=True)
    images, targets = batch()
    with pytest.raises(InputError, match=r"not of shape \(2, 2, 56\)"):
        model(images, {**targets, "masks": targets["masks"][..., 0]}, training=True)


def test_networks_without_a_last_stage():
    from resnet_keras import zoo
    from resnet_keras.detection import MaskRCNN, backbones

    ends = backbones.endpoints("vgg16_shapes", "c4")
    backbone = zoo.backbone("vgg16_shapes", input_shape=(None, None, 3), endpoints=ends)
    with pytest.raises(InputError, match="needs a backbone of stages"):
        MaskRCNN(backbone, 3, **detectors.SMALL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks") / "run"
    command = ["train", "--recipe=maskrcnn_shapes", *test_commands.SMALL[1:]]
    assert train.main([*command, "--train_steps=2", f"--workdir={folder}"]) == 0
    return folder


@pytest.mark.slow
def test_a_run_measures_masks(trained):
    names, *rows = (trained / "metrics.csv").read_text().splitlines()
    assert {"mask_loss", "val_mask_ap", "val_mask_ap50"} <= set(names.split(","))
    assert all(rows[-1].split(","))


@pytest.mark.slow
def test_evaluate(trained, tmp_path, capsys):
    file = tmp_path / "found.json"
    command = ["evaluate", f"--model={trained}", "--dataset=shapes", "--split=val[:4]"]
    more = [f"--predictions={file}", "--score_threshold=0", f"--results={tmp_path / 'rows.json'}"]
    assert evaluate.main([*command, *more]) == 0
    assert re.search(r"^COCO, masks: ap \d", capsys.readouterr().out, re.MULTILINE)
    found = json.loads(file.read_text())
    assert found
    assert all(set(row["segmentation"]) == {"size", "counts"} for row in found)
    assert '"masks"' in (tmp_path / "rows.json").read_text()


def test_predict_draws_and_tells_masks(trained, tmp_path, capsys):
    image = shapes.examples("test[:1]")[0].image
    (tmp_path / "scene.png").write_bytes(tf.io.encode_png(image).numpy())
    command = ["predict", f"--model={trained}", "--threshold=0", f"--out={tmp_path / 'drawn'}"]
    assert predict.main([*command, "--json", str(tmp_path / "scene.png")]) == 0
    assert (tmp_path / "drawn/scene.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(capsys.readouterr().out)["objects"]
    assert told
    for row in told:
        assert row["segmentation"]["size"] == [128, 128]
        x, y, width, height = mask.toBbox(row["segmentation"])
        x1, y1, x2, y2 = row["box"]
        # Half a cell around its box, and a pixel.
        reach = 1 + (x2 - x1) / 28, 1 + (y2 - y1) / 28
        if width * height:
            assert x1 - reach[0] <= x <= x + width <= x2 + reach[0]
            assert y1 - reach[1] <= y <= y + height <= y2 + reach[1]


@pytest.mark.slow
def test_masks_are_measured_where_the_data_set_has_some(trained, tmp_path, capsys):
    root = object_files.write_voc(
        tmp_path / "voc", {n: ((40, 60), [("circle", (3, 3, 30, 30), 0)]) for n in "abc"}
    )
    command = ["evaluate", f"--model={trained}", "--dataset=voc", f"--data_dir={root}"]
    assert evaluate.main(command) == 0
    printed = capsys.readouterr()
    assert "Masks are not measured: voc has none here." in printed.err
    assert "COCO, masks" not in printed.out


def test_drawn_masks_cover_their_objects():
    """With a border in the colour of the class, and half of the image's inside."""
    found = {
        "boxes": np.float32([[10, 10, 40, 30], [0, 0, 5, 5]]),
        "scores": np.float32([0.9, 0.1]),
        "labels": np.int32([1, 0]),
        "masks": np.ones([2, 28, 28], "float32"),
    }
    image = np.full([50, 60, 3], 200, "uint8")
    covered = prediction._covered(image, found["boxes"], found, 0.5)
    expected = image.copy()
    colour = np.rint(255 * np.array(drawing.colour(1)))
    expected[10:30, 10:40] = colour
    expected[11:29, 11:39] = np.rint((200 + 255 * np.array(drawing.colour(1))) / 2)
    np.testing.assert_array_equal(covered, expected)


@pytest.mark.slow
def test_a_new_process_loads_the_detector(trained, tmp_path, command):
    image = shapes.examples("test[:1]")[0].image
    (tmp_path / "scene.png").write_bytes(tf.io.encode_png(image).numpy())
    arguments = (f"--model={trained}", "--json", "--threshold=0", tmp_path / "scene.png")
    done = command("detection.predict", *arguments)
    assert done.returncode == 0, done.stderr
    assert '"segmentation"' in done.stdout


def test_masks_are_of_some_data_sets(capsys):
    assert train.main(["train", "--masks", "--dataset=voc", "--data_dir=nowhere"]) == 2
    assert "masks are read of shapes, main_shapes, coco, not of voc" in capsys.readouterr().err


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
