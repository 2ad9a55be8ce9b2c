"""Detectors with detectron2's layouts answer as its arithmetic, written out in torch, does.

What that shows and what not is said in detectron2_parity.py, which recorded the answers.
"""

import json
import sys

import detectron2_parity
import numpy as np
import pytest
from detectron2_parity import C4, FPN
from safetensors.numpy import save_file
from test_detector_parity import difference

from resnet_keras import detection
from resnet_keras.detection import boxes as geometry
from resnet_keras.errors import InputError

FACTORS = json.loads(detectron2_parity.FACTORS.read_text())["factors"]
ANSWERS = np.load(detectron2_parity.ANSWERS)
# What some releases write beside the weights.
CONSTANTS = {
    "pixel_mean": np.float32(detectron2_parity.MEAN).reshape(3, 1, 1),
    "pixel_std": np.ones((3, 1, 1), "float32"),
    "proposal_generator.anchor_generator.cell_anchors.0": np.zeros((15, 4), "float32"),
}


def tensors(neck, depth=50, classes=80, factors=None):
    shapes = detectron2_parity.shapes(neck, depth, classes)
    return {k: detectron2_parity.weights(k, s, factors or {}) for k, s in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "neck"), [(C4, "c4"), (FPN, "fpn")])
def test_answers(name, neck, tmp_path):
    """Features, RPN, decoded and chosen proposals, head for given boxes, and final boxes."""
    path = tmp_path / f"{name}.safetensors"
    save_file(tensors(neck, factors=FACTORS[name]) | CONSTANTS, path)
    model = detection.get(name, weights=path, proposals=detectron2_parity.PROPOSALS)
    path.unlink()
    expected = {k.split()[1]: v for k, v in ANSWERS.items() if k.startswith(f"{name} ")}

    image = detectron2_parity.detector_parity.image(detectron2_parity.SIZE)[None]
    images, sizes = detection.faster_rcnn.unpack(image)
    maps, levels = model.look(images, sizes)
    differences = {}
    for place, key in enumerate(("p2", "p3", "p4", "p5", "p6") if neck == "fpn" else ("conv4",)):
        given = maps[place][0, ..., detectron2_parity.CHANNELS[name]]
        rows, columns = expected[key].shape[:2]  # detectron2 does not pad for C4
        differences[key] = difference(given[:rows, :columns], expected[key])

    def of_cells(values):
        """Of the anchors that detectron2 has, in its order."""
        present = np.concatenate([np.asarray(level.present[0]) for level in levels])
        return np.concatenate([np.asarray(v) for v in values])[present]

    differences["anchors"] = difference(of_cells(x.anchors for x in levels), expected["anchors"])
    for key in ("objectness", "deltas"):
        found = of_cells(getattr(level, key)[0] for level in levels)
        differences[key] = difference(found, expected[key])
    found = of_cells(geometry.decode(x.deltas[0], x.anchors) for x in levels)
    differences["decoded"] = difference(found, expected["decoded"])
    proposals, is_box = detection.proposals.propose(levels, sizes, model.settings, training=False)
    assert np.all(is_box)
    differences["proposals"] = difference(proposals[0], expected["proposals"])
    rois = detectron2_parity.ROIS[name]
    logits, deltas = model.classify(model.features(maps, rois[None]))
    differences["logits"] = difference(logits[0], expected["logits"])
    deltas = np.reshape(deltas[0], (len(rois), -1))
    differences["box_deltas"] = difference(deltas, expected["box_deltas"])
    found = model(image)
    count = int(found["count"][0])
    assert count == len(expected["found_boxes"]) > 50
    np.testing.assert_array_equal(found["labels"][0, :count], expected["found_labels"])
    for key in ("boxes", "scores"):
        differences[key] = difference(found[key][0, :count], expected[f"found_{key}"])
    assert max(differences.values()) < 1e-4, differences


@pytest.mark.slow
def test_deeper_networks_and_other_classes(tmp_path):
    path = tmp_path / "own.safetensors"
    save_file({f"model.{k}": v for k, v in tensors("fpn", 101, 3).items()}, path)
    model = detection.get("fasterrcnn_resnet101_fpn_detectron2", weights=path)
    assert model.num_classes == 3
    name = "roi_heads.box_predictor.bbox_pred.weight"
    kernel = detectron2_parity.weights(name, (12, 1024), {})
    np.testing.assert_array_equal(model.predictor.get_layer("box_deltas").kernel, kernel.T)
    with pytest.raises(InputError, match="weights of resnet101, not of resnet50"):
        detection.get(FPN, weights=path)


def empty(names, path):
    """A file of tensors of one value: names are looked at first."""
    content = {name: np.ones(1, "float32") for name in names}
    for name in names:
        if name.endswith("cls_score.weight"):
            content[name] = np.ones((81, 1), "float32")
    save_file(content, path)
    return path


NAMES = {neck: list(detectron2_parity.shapes(neck)) for neck in ("c4", "fpn")}
DC5 = [name.replace("roi_heads.res5", "backbone.res5") for name in NAMES["c4"]]
MASK = "roi_heads.mask_head.deconv.weight"


@pytest.mark.parametrize(
    ("name", "names", "message"),
    [
        (FPN, NAMES["c4"], 'a detector with neck="c4"'),
        (C4, NAMES["fpn"], 'a detector with neck="fpn"'),
        (C4, DC5, "neither a pyramid"),
        (C4, [*NAMES["c4"], MASK], "a Mask or Keypoint R-CNN"),
        (FPN, [*NAMES["fpn"], "roi_heads.box_head.0.fc1.weight"], "a Cascade R-CNN"),
        ("fasterrcnn_resnet50_fpn", NAMES["fpn"], f"of detectron2's: ask for .*{FPN}"),
        (FPN, ["backbone.body.conv1.weight"], "of torchvision's: ask for fasterrcnn_resnet50_fpn"),
        (FPN, [n for n in NAMES["fpn"] if "cls_score" not in n], "lacks .*cls_score.weight"),
    ],
)
def test_files_of_other_networks(name, names, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        detection.get(name, weights=empty(names, tmp_path / "detector.safetensors"))
    assert str(tmp_path) in str(caught.value)


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "model_final_280758.pkl"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"is a pickle, .* make a \.safetensors"):
        detection.get(FPN, weights=path)
    with pytest.raises(InputError, match=r"make .*model_final_280758\.safetensors of it"):
        detection.get(FPN, weights="coco", weights_dir=tmp_path)


def test_the_lines_that_make_a_file_of_a_pickle(tmp_path, monkeypatch):
    """Those of the module, on a pickle that is laid out as detectron2's."""
    import pickle
    import textwrap

    content = {"model": {"a": np.arange(6.0).reshape(2, 3).T}, "__author__": "Model Zoo"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_final_280758.pkl").write_bytes(pickle.dumps(content))
    lines = detection.detectron2.__doc__.partition("of its own:\n\n")[2]
    exec(textwrap.dedent(lines), {})
    from safetensors.numpy import load_file

    found = load_file(tmp_path / "model_final_280758.safetensors")
    np.testing.assert_array_equal(found["a"], content["model"]["a"])


def test_names_and_pixels():
    """Every name has a counterpart; of C4's here, the pyramid's and torchvision's elsewhere."""
    from resnet_keras.zoo import networks
    from resnet_keras.zoo import weights as files

    Tensor = files.formats.Tensor
    given = {
        name: Tensor(shape, lambda shape=shape: np.ones(shape, "float32"))
        for name, shape in detectron2_parity.shapes("c4", 101).items()
    }
    found = detection.layout.translate(given, networks.find("resnet101"))
    assert len(found) == len(given)
    assert {"conv5_block3_3_bn/gamma", "rpn_deltas/kernel", "class_logits/bias"} <= set(found)
    assert all("/" in name for name in found)
    assert found["box_deltas/kernel"].shape == (2048, 320)
    given["pixel_std"] = Tensor((3, 1, 1), lambda: np.float32([57.4, 57.1, 58.4]))
    with pytest.raises(InputError, match=r"pixel_std is 57\.4, .* only networks with"):
        detection.layout.translate(given, networks.find("resnet101"))


def test_pixels_of_ones_own_backbone():
    """Without it, `load` would fill a network that divides by a deviation."""
    from resnet_keras import zoo

    options = {"input_shape": (None, None, 3)}
    assert detection.backbones
    with pytest.raises(InputError, match=r"mean=\(123\.675, 116\.28, 103\.53\), std=\(1\.0"):
        detection.weights._check_pixels(zoo.backbone("resnet10_shapes", **options), "a file")
    entry = detection.detectors.DETECTORS[FPN].entry
    right = zoo.backbone("resnet10_shapes", mean=entry.mean, std=entry.std, **options)
    detection.weights._check_pixels(right, "a file")


def test_registered():
    rows = {n: d for n, d in detection.detectors.DETECTORS.items() if d.preset == "detectron2"}
    published = {name.removesuffix("_detectron2"): row.box_ap for name, row in rows.items()}
    assert published == {
        "fasterrcnn_resnet50_c4": 38.4,
        "fasterrcnn_resnet50_fpn": 40.2,
        "fasterrcnn_resnet101_c4": 41.1,
        "fasterrcnn_resnet101_fpn": 42.0,
    }
    for row in rows.values():
        assert row.entry.licence == "CC-BY-SA-3.0"
        assert row.entry.file_name.split("_")[-1].startswith(row.entry.checksum[4:])
        assert len(row.class_names) == 80


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
