"""Masks beside all else that detectors have: several scales, several detectors, export, XLA."""

import contextlib
import io
import json
import re
import sys
import warnings

import detectors
import keras
import numpy as np
import object_files
import pytest
import tensorflow as tf
import test_exporting
from pycocotools import mask as tools

from resnet_keras import detection
from resnet_keras.detection import (
    evaluate,
    improve,
    loading,
    measuring,
    sharing,
    train,
)
from resnet_keras.pipelines import objects
from resnet_keras.training import optimizers

IMAGE, SIZE = detectors.images(1), np.array([[64, 96]], "int32")


@pytest.fixture(scope="module")
def models():
    """Of masks of 14 and of 28 cells, and of none."""
    return [
        detectors.detector(masks=True),
        detectors.detector(masks=True, neck="fpn", seed=1),
        detectors.detector(seed=2),
    ]


def likely(model, maps, boxes, labels, factor=1.0):
    return tf.sigmoid(model.mask_logits(maps, boxes * factor, tf.maximum(labels, 0)))


def count_of(found):
    count = int(found["count"][0])
    assert count > 0
    return count


@pytest.mark.slow
def test_masks_of_two_scales_are_averaged(models):
    """Each is that of the final box at both scales, in the image's pixels."""
    model = models[0]
    found = improve.multi_scale(model, (64, 128))(IMAGE)
    count = count_of(found)
    large = tf.image.resize(IMAGE, (128, 192), antialias=True)
    views = [(model.look(IMAGE, SIZE)[0], 1.0), (model.look(large, 2 * SIZE)[0], 2.0)]
    expected = sum(likely(model, m, found["boxes"], found["labels"], f) for m, f in views) / 2
    np.testing.assert_allclose(found["masks"][0, :count], expected[0, :count], atol=1e-4)
    assert not np.any(found["masks"][0, count:])


@pytest.mark.slow
def test_masks_of_several_detectors_are_averaged(models):
    """Of those that find masks, and in the finest of their grids."""
    both = improve.ensemble(models)
    assert both.mask_side == 28
    found = both(IMAGE)
    count = count_of(found)
    coarse, fine = (
        likely(m, m.look(IMAGE, SIZE)[0], found["boxes"], found["labels"]) for m in models[:2]
    )
    coarse = tf.image.resize(coarse[0, ..., None], (28, 28))[..., 0]
    np.testing.assert_allclose(found["masks"][0, :count], (coarse + fine[0])[:count] / 2, atol=1e-4)
    without = improve.ensemble(models[2:])
    assert without.mask_side is None
    assert "masks" not in without(IMAGE)


def test_masks_are_those_of_refined_boxes(models):
    model = models[0]
    refined = detection.MaskRCNN(model.backbone, detectors.CLASSES, **detectors.SMALL, refine=True)
    refined.set_weights(model.get_weights())
    found = refined(IMAGE)
    count = count_of(found)
    expected = likely(model, model.look(IMAGE, SIZE)[0], found["boxes"], found["labels"])
    np.testing.assert_allclose(found["masks"][0, :count], expected[0, :count], atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"roi": "max_pool"}, pytest.param({"context": True}, marks=pytest.mark.slow)]
)
def test_options_of_detectors(options):
    """RoIs beside the objects' are no masks' with context, and max pooling has 14 bins, too."""
    model = detectors.detector(masks=True, **options)
    found = model(IMAGE)
    assert found["masks"].shape == (1, 10, 14, 14)
    maps, _ = model.look(IMAGE, SIZE)
    # Of a box twice, and beside others, a mask is the same.
    boxes = np.float32([[[5, 6, 40, 38], [50, 20, 90, 60], [5, 6, 40, 38]]])
    logits = model.mask_logits(maps, boxes, np.int32([[1, 2, 1]])).numpy()
    np.testing.assert_allclose(logits[0, 0], logits[0, 2], atol=1e-5)
    assert np.abs(logits[0, 0] - logits[0, 1]).max() > 1e-3
    images, targets = detectors.batch()
    targets = {**targets, "masks": detectors.masks(targets["labels"])}
    loss = model(images, targets=targets, training=True)["mask_loss"]
    assert np.all(np.isfinite(loss))
    assert np.all(np.asarray(loss) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("neck", ["c4", "fpn"])
@pytest.mark.parametrize("more", [{"jit_compile": True}, {"dtype": "mixed_bfloat16"}])
def test_xla_and_half_precision(neck, more):
    """Detections and losses are those of float32 without a compiler, up to rounding."""
    dtype = more.get("dtype")
    model = detectors.detector(masks=True, neck=neck)
    images, targets = detectors.batch()
    targets = {**targets, "masks": detectors.masks(targets["labels"])}
    boxes, labels = targets["boxes"], np.maximum(targets["labels"], 0)
    expected = model.mask_logits(model.look(images, np.tile(SIZE, [2, 1]))[0], boxes, labels)
    losses = model(images, targets=targets, training=True)["mask_loss"]
    if dtype:
        other = detectors.detector(masks=True, neck=neck, dtype=dtype)
        other.set_weights(model.get_weights())
    else:
        other = model
    other.compile(optimizers.SGD(0.0), jit_compile=more.get("jit_compile", False))
    found = other.predict_on_batch(images)
    assert found["masks"].dtype == np.float32
    logits = tf.function(
        lambda: other.mask_logits(other.look(images, np.tile(SIZE, [2, 1]))[0], boxes, labels),
        jit_compile=other.jit_compile,
    )()
    tolerance = 0.05 * np.abs(expected).max() if dtype else 1e-3
    np.testing.assert_allclose(logits, expected, atol=tolerance)
    told = other.train_on_batch(images, targets, return_dict=True)
    # Draws of RoIs by scores may differ in half precision.
    np.testing.assert_allclose(told["mask_loss"], np.mean(losses), rtol=0.3 if dtype else 1e-3)


def assert_same(given, expected):
    assert set(given) == set(expected) == {"boxes", "scores", "labels", "count", "masks"}
    assert expected["count"].min() > 0
    for name, values in expected.items():
        np.testing.assert_allclose(given[name], values, rtol=0, atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_a_saved_model_has_masks(models, tmp_path):
    path = detection.export(models[0], tmp_path / "exported")
    given = detectors.images(1, 48, 80)
    loaded = tf.saved_model.load(str(path))  # which holds the variables
    assert_same(loaded.serve(given), models[0].predict_on_batch(given))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [0, 1])
def test_litert_has_masks(models, kind, tmp_path):
    path = detection.export(models[kind], tmp_path / "masks.tflite", size=(64, 96))
    expected = models[kind].predict_on_batch(IMAGE)
    assert_same(test_exporting.litert(path, image=IMAGE), expected)


@pytest.mark.slow
def test_combinations_are_saved_and_exported(models, tmp_path):
    both = improve.ensemble(models[:2], (64, 128))
    expected = both.predict(IMAGE, verbose=0)
    both.save(tmp_path / "both.keras")
    assert_same(loading.load(tmp_path / "both.keras").predict(IMAGE, verbose=0), expected)
    path = detection.export(both, tmp_path / "exported")
    loaded = tf.saved_model.load(str(path))
    assert_same(loaded.serve(IMAGE), expected)


class Seer:
    """Stands for a detector that finds all that its features tell it."""

    jit_compile = False
    optimizer = keras.optimizers.SGD()

    def predict_step(self, data):
        ((features,),) = (data,)
        labels = features["labels"]
        return {
            "boxes": features["boxes"],
            "scores": tf.where(labels >= 0, 0.9, 0.0),
            "labels": labels,
            "masks": tf.cast(features["masks"], tf.float32) / 255,
            "count": tf.reduce_sum(tf.cast(labels >= 0, tf.int32), 1),
        }


@pytest.mark.parametrize("moved", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_replicas_share_the_masks_of_an_evaluation(mirrored, moved):
    """At half size, and with copies that fill up; masks that are mirrored are none."""

    def told(features, targets, weights):
        seen = targets["masks"][..., ::-1] if moved else targets["masks"]
        return {**features, **targets, "masks": seen}, targets, weights

    source = objects.open_split("shapes", "val[:6]", masks=True)
    test = objects.evaluation_of(source, 4, scale=(64, 64), replicas=2, device=None).map(told)
    shared = sharing.SharedAveragePrecision(
        mirrored, test, source.category_ids, outlines=source.outlines
    )
    measured = shared(Seer())
    assert measured["val_ap"] == 1
    assert (measured["val_mask_ap"] > 0.97) != moved


def test_a_callback_says_that_masks_are_not_measured(models):
    """And measures them, given what its advice says."""
    source = objects.open_split("shapes", "val[:2]", masks=True)
    test = objects.evaluation_of(source, 2, device=None)
    callback = measuring.AveragePrecision(test, verbose=False)
    callback.set_model(models[0])
    with pytest.warns(UserWarning, match=r"masks give outlines=source.outlines, of source = "):
        callback.on_train_begin()
    callback = measuring.AveragePrecision(test, verbose=False, outlines=source.outlines)
    callback.set_model(models[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_train_begin()
    logs = {}
    callback.on_epoch_end(0, logs)
    assert "val_mask_ap50" in logs


NAMES = ("fork", "cup", "plate")  # not in the order of the data set, cup, plate, fork


@pytest.fixture(scope="module")
def saved(models, tmp_path_factory):
    """Detectors in files, and a folder in COCO's format with objects where one finds some."""
    root = tmp_path_factory.mktemp("masks")
    options = {"class_names": NAMES, "scale": (64, 96), "masks": True}
    files = [root / "one.keras", root / "two.keras"]
    for seed, file in enumerate(files):
        detectors.detector(seed=seed, **options).save(file)
    rows = {key: object_files.COCO[key] for key in (11, 2, 30, 32)}
    folder = object_files.write_coco(root / "data", rows, "val")
    content = object_files.coco_content(rows)
    for number, entry in enumerate(content["annotations"]):
        x, y, w, h = entry["bbox"]
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        entry["area"] = w * h
        entry["segmentation"] = [corners[: 8 - 2 * (number % 2)]]  # squares and triangles
    object_files.rewrite_coco(folder, content, "val")
    found = root / "found.json"
    assert run(folder, f"--model={files[0]}", f"--predictions={found}") == 0
    near = [
        {
            "id": 500 + number,
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": tools.toBbox(row["segmentation"]).tolist(),
            "area": float(tools.area(row["segmentation"])),
            "segmentation": row["segmentation"],
            "iscrowd": 0,
        }
        for number, row in enumerate(json.loads(found.read_text())[::3])
        if tools.area(row["segmentation"]) > 20
    ]
    assert near
    content["annotations"] += near
    object_files.rewrite_coco(folder, content, "val")
    return files, folder


def run(folder, *arguments):
    return evaluate.main(
        ["evaluate", "--dataset=coco", f"--data_dir={folder}", *map(str, arguments)]
    )


def by_pycocotools(truth, results, kind):
    """AP and AP50 of two files."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = json.loads(results.read_text())
    for row in rows if kind == "segm" else ():
        del row["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO(truth)
        measured = COCOeval(data, data.loadRes(rows), kind)
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return measured.stats


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [[], ["--protocol=paper_multi_scale", "--refine"], ["--ensemble"]]
)
def test_masks_in_files_are_scored_as_pycocotools_does(saved, arguments, tmp_path, capsys):
    """Whatever the protocol is, of a detector with classes in another order than the data's."""
    files, folder = saved
    found, rows = tmp_path / "found.json", tmp_path / "rows.json"
    alone = not arguments
    if "--ensemble" in arguments:
        arguments = [f"--ensemble={','.join(map(str, files))}"]
    else:
        arguments = [f"--model={files[0]}", *arguments]
    assert run(folder, *arguments, f"--predictions={found}", f"--results={rows}") == 0
    assert re.search(r"^COCO, masks: ap \d", capsys.readouterr().out, re.MULTILINE)
    (row,) = json.loads(rows.read_text())
    truth = folder / "annotations/instances_val.json"
    for kind, values in (("bbox", row["coco"]), ("segm", row["masks"])):
        expected = by_pycocotools(truth, found, kind)
        assert expected[1] > 0 or not alone  # objects lie where one detector finds some
        values = [-1.0 if value is None else value for value in values.values()]
        np.testing.assert_allclose(values, expected, atol=1e-6)
    sizes = {11: [40, 60], 2: [30, 90], 30: [64, 48], 32: [128, 128]}
    for entry in json.loads(found.read_text()):
        assert entry["segmentation"]["size"] == sizes[entry["image_id"]]
        assert isinstance(entry["segmentation"]["counts"], str)
        x, y, w, h = tools.toBbox(entry["segmentation"])
        left, top, across, down = entry["bbox"]
        # Half a cell, of 14, and a pixel around its box.
        reach = 1 + across / 28, 1 + down / 28
        if w * h:
            assert left - reach[0] <= x <= x + w <= left + across + reach[0]
            assert top - reach[1] <= y <= y + h <= top + down + reach[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=voc", "--data_dir=here"], "read of shapes, main_shapes, coco, not of voc"),
        (["--dataset=shapes", "--eval_dataset=voc"], "masks are read of shapes, main_shapes, coco"),
        (["--model=vgg16_shapes", "--roi=max_pool"], "needs a backbone of stages"),
        (["--neck=fpn", "--roi=max_pool"], "--roi=max_pool is for --neck=c4"),
    ],
)
def test_what_has_no_masks_is_refused(arguments, message, tmp_path, capsys):
    small = ["--train_split=train[:4]", "--eval_split=val[:4]", "--anchor_sizes=16,32,64"]
    command = ["train", "--masks", f"--workdir={tmp_path / 'run'}", *small, *arguments]
    assert train.main(command) == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    assert message in line
    assert not (tmp_path / "run").exists()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
