"""What `detection.evaluate` measures, as a user gives it, against pycocotools and `improve`."""

import contextlib
import io
import json
import shutil
import sys
import types

import detectors
import numpy as np
import object_files
import pytest

from resnet_keras.detection import (
    evaluate,
    improve,
    loading,
    prediction,
    protocols,
    testing,
)
from resnet_keras.errors import InputError

NAMES = ("fork", "cup", "plate")  # not in the order of the data set, cup, plate, fork
SCALE = (64, 96)
# Objects as large as what an untrained detector finds by chance; one leaves its image by rounding.
ROWS = {
    11: ((40, 60), [(7, [0, 0, 60.4, 40.2], 0), (3, [10.5, 5, 20, 20.25], 0)]),
    5: ((60, 40), [(90, [1, 2, 19, 48], 0), (3, [0, 10, 40, 30], 1), (3, [9, 9, 30, 40], 0)]),
    8: ((50, 50), [(7, [5, 5, 40, 40], 0), (3, [20, 20, 30, 30], 0), (90, [0, 0, 50, 50], 0)]),
    2: ((30, 90), []),
    30: ((64, 48), [(3, [8, 8, 16, 16], 0), (90, [20, 8, 20, 40], 0), (7, [0, 0, 48, 64], 0)]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two detectors in files."""
    folder = tmp_path_factory.mktemp("models")
    options = {"detections": 100, "proposals": (40, 60), "class_names": NAMES, "scale": SCALE}
    paths = [folder / "one.keras", folder / "two.keras"]
    for seed, path in enumerate(paths):
        detectors.detector(seed=seed, **options).save(path)
    return paths


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder in COCO's format, with areas of masks, which are smaller than those of boxes."""
    root = object_files.write_coco(tmp_path_factory.mktemp("coco"), ROWS, "val")
    content = object_files.coco_content(ROWS)
    for entry in content["annotations"]:
        entry["area"] = 0.7 * entry["bbox"][2] * entry["bbox"][3]
    object_files.rewrite_coco(root, content, "val")
    return root


def run(*arguments):
    return evaluate.main(["evaluate", "--dataset=coco", *map(str, arguments)])


def by_pycocotools(truth, results):
    """The twelve numbers of two files."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO(truth)
        measured = COCOeval(data, data.loadRes(str(results)), "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return measured.stats


def with_what_is_found(data, found, root):
    """The data set with objects near some of those that were found, one of them a crowd."""
    shutil.copytree(data, root)
    path = root / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    near = [
        {
            "id": 500 + number,
            "image_id": entry["image_id"],
            "category_id": entry["category_id"],
            "bbox": [round(side, 2) for side in entry["bbox"]],
            "area": 0.6 * entry["bbox"][2] * entry["bbox"][3],
            "iscrowd": int(number == 3),
        }
        for number, entry in enumerate(json.loads(found.read_text())[::6])
        if min(entry["bbox"][2:]) > 2
    ]
    content["annotations"] += near
    object_files.rewrite_coco(root, content, "val")
    return root


@pytest.mark.slow
def test_scores_are_those_of_pycocotools_on_the_same_files(models, data, tmp_path, capsys):
    found, measured, curves = tmp_path / "found.json", tmp_path / "r.json", tmp_path / "c.png"
    arguments = (f"--model={models[0]}", "--per_class", "--batch_size=3")
    assert run(*arguments, f"--data_dir={data}", f"--predictions={found}", "--metric=voc") == 0
    arguments += (f"--data_dir={with_what_is_found(data, found, tmp_path / 'data')}",)
    capsys.readouterr()
    outputs = (f"--predictions={found}", f"--results={measured}", f"--precision_recall={curves}")
    assert run(*arguments, *outputs) == 0
    printed = capsys.readouterr().out
    assert "VOC: mAP at IoU .5, 11 points (07) 0." in printed
    assert ", area 0." in printed
    (row,) = json.loads(measured.read_text())
    assert row["images"] == len(ROWS)
    assert list(row["per_class"]) == ["cup", "plate", "fork"]
    expected = by_pycocotools(tmp_path / "data/annotations/instances_val.json", found)
    assert expected[1] > 0.05
    values = [-1.0 if value is None else value for value in row["coco"].values()]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    results = json.loads(found.read_text())
    assert {result["category_id"] for result in results} == {3, 7, 90}
    assert {result["image_id"] for result in results} <= set(ROWS)
    assert curves.read_bytes().startswith(b"\x89PNG")

    # Another test is another row, and prints what it is asked.
    fewer = ("--score_threshold=0.3", "--detections=2", "--metric=voc", f"--predictions={found}")
    assert run(*arguments, *fewer, f"--results={measured}") == 0
    printed = capsys.readouterr().out
    assert "COCO" not in printed
    assert "(07)" not in printed
    assert "| class | VOC area |" in printed
    assert len(json.loads(measured.read_text())) == 2
    few = json.loads(found.read_text())
    # The first again replaces itself alone.
    assert run(*arguments, f"--results={measured}") == 0
    assert len(json.loads(measured.read_text())) == 2
    assert max(sum(r["image_id"] == key for r in few) for key in ROWS) <= 2
    assert all(result["score"] > 0.3 for result in few)


def detections(path):
    """Arrays of what a file of predictions says of each image: class, score, box."""
    rows = {}
    for entry in json.loads(path.read_text()):
        rows.setdefault(entry["image_id"], []).append(
            [entry["category_id"], entry["score"], *entry["bbox"]]
        )
    return {key: np.array(values) for key, values in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "multi_scale", "refine"),
    [
        (False, False, True),
        (True, True, True),
        (True, False, False),
        (False, True, False),
    ],
)
def test_protocols_of_several_detectors(ensemble, multi_scale, refine, models, data, tmp_path):
    """In batches with padding each image is seen as it is alone, through Python."""
    files = models if ensemble else models[:1]
    found = tmp_path / "found.json"
    assert (
        run(
            f"--ensemble={','.join(map(str, files))}" if ensemble else f"--model={files[0]}",
            f"--data_dir={data}",
            *(["--protocol=paper_multi_scale", "--scales=48,64,80"] if multi_scale else []),
            "--refine" if refine else "--norefine",
            "--batch_size=3",
            f"--predictions={found}",
        )
        == 0
    )
    members = [loading.load(file) for file in files]
    for member in members:
        member.refine = refine
    scales = {"scales": (48, 64, 80), "proposal_scales": (64,)} if multi_scale else {}
    canonical = {"canonical_size": 64 / 600 * 224} if multi_scale else {}
    model = improve.ensemble(members, **scales, **canonical)
    assert model.scale == ((80, 133) if multi_scale else SCALE)
    answers = detections(found)
    ids = {"fork": 90, "cup": 3, "plate": 7}
    for key in (11, 2):
        path = data / "val" / f"{key}.png"
        _, expected = prediction.of_file(model, path)
        got = answers[key]
        assert len(got) == len(expected["scores"])
        np.testing.assert_allclose(got[:, 1], expected["scores"], atol=1e-4)
        clear = np.abs(np.diff(expected["scores"], prepend=2, append=-1)) > 1e-3
        clear = clear[:-1] & clear[1:]  # whose order rounding cannot change
        assert clear.any()
        x1, y1, x2, y2 = expected["boxes"].T
        boxes = np.stack([x1, y1, x2 - x1, y2 - y1], 1)
        np.testing.assert_allclose(got[clear, 2:], boxes[clear], atol=0.05)
        labels = [ids[NAMES[label]] for label in expected["labels"]]
        np.testing.assert_array_equal(got[clear, 0], np.array(labels)[clear])


@pytest.mark.slow
def test_a_split_without_objects_of_one_of_the_detectors_classes(models, tmp_path, capsys):
    root = object_files.write_coco(tmp_path / "data", {7: ((40, 60), []), 3: ((33, 50), [])}, "val")
    content = json.loads((root / "annotations/instances_val.json").read_text())
    content["categories"] = [{"id": 4, "name": "plate"}]
    object_files.rewrite_coco(root, content, "val")
    outputs = {name: tmp_path / name for name in ("found.json", "rows.json", "curves.png")}
    flags = dict(zip(("predictions", "results", "precision_recall"), outputs.values(), strict=True))
    arguments = [f"--{name}={path}" for name, path in flags.items()]
    assert run(f"--model={models[0]}", f"--data_dir={root}", "--per_class", *arguments) == 0
    printed = capsys.readouterr().out
    assert "COCO: ap -, " in printed
    assert "11 points (07) -, area -" in printed
    (row,) = json.loads(outputs["rows.json"].read_text())
    assert set(row["coco"].values()) == {None}
    assert row["voc07"] is row["voc"] is None
    assert {entry["category_id"] for entry in json.loads(outputs["found.json"].read_text())} == {4}


def test_a_data_set_of_other_classes_is_refused(models, tmp_path, capsys):
    root = object_files.write_coco(tmp_path / "data", {7: ((40, 60), [])}, "val")
    content = json.loads((root / "annotations/instances_val.json").read_text())
    content["categories"] = [{"id": 4, "name": "saucer"}]
    object_files.rewrite_coco(root, content, "val")
    assert run(f"--model={models[0]}", f"--data_dir={root}") == 2
    assert "'saucer' is not once in each" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scales=100,200"], "--scales is for --protocol=paper_multi_scale"),
        (["--protocol=paper_multi_scale", "--scales=200,100"], "ascending"),
        (["--protocol=paper_multi_scale", "--scales=200"], "two or more"),
        (["--protocol=multi_scale"], "Did you mean 'paper_multi_scale'"),
        (["--ensemble=a,b"], "leave --model out"),
        (["--metric=voc12"], "Did you mean 'voc"),
        (["--metric="], "one or more of coco,voc07,voc"),
        (["--precision_recall=curve.jpg"], "curve.jpg.png"),
        (["--predictions=found"], "found.json"),
        (["--predictions=x.json", "--results=x.json"], "are one file"),
        (["--score_threshold=1.5"], "score_threshold"),
        (["--detections=0"], "detections"),
    ],
)
def test_what_contradicts_is_refused(arguments, words, models, data, monkeypatch, capsys):
    from resnet_keras.commands import shell

    monkeypatch.setattr(shell, "start_tensorflow", lambda: pytest.fail("TensorFlow is started"))
    assert run(f"--model={models[0]}", f"--data_dir={data}", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert words in line


@pytest.mark.parametrize("content", ["{}", "[1]", "no JSON", ""])
def test_a_file_that_is_no_list_of_results_stays_as_it_is(
    content, models, data, monkeypatch, tmp_path, capsys
):
    from resnet_keras.commands import shell

    monkeypatch.setattr(shell, "start_tensorflow", lambda: pytest.fail("TensorFlow is started"))
    path = tmp_path / "rows.json"
    path.write_text(content)
    assert run(f"--model={models[0]}", f"--data_dir={data}", f"--results={path}") == 2
    assert "is not a JSON list of results" in capsys.readouterr().err
    assert path.read_text() == content


def test_detectors_of_other_scales_are_not_joined():
    both = [types.SimpleNamespace(scale=scale) for scale in ([64, 96], (32, 32))]
    with pytest.raises(InputError, match="different scales, 32,32 and 64,96: say with `scale`"):
        testing.combine(both)


@pytest.mark.slow
def test_flags_say_why_detectors_are_not_joined(models, data, tmp_path, capsys):
    other = detectors.detector(class_names=NAMES, scale=(32, 32))
    other.save(tmp_path / "other.keras")
    both = f"--ensemble={models[0]},{tmp_path / 'other.keras'}"
    assert run(both, f"--data_dir={data}") == 2
    assert "different scales, 32,32 and 64,96: say with --scale" in capsys.readouterr().err
    other = detectors.detector(class_names=NAMES[::-1], scale=SCALE)
    other.save(tmp_path / "other.keras")
    assert run(both, f"--data_dir={data}") == 2
    assert "the same classes in the same order" in capsys.readouterr().err


def test_the_pyramid_is_in_proportion_to_the_scale_of_training():
    paper = protocols.pyramid(600)
    assert paper == ((200, 400, 600, 800, 1000), (600,), 224)
    small = protocols.pyramid(128)
    assert small.scales == (43, 85, 128, 171, 213)
    assert small.proposal_scales == (128,)
    assert small.canonical_size == pytest.approx(224 * 128 / 600)
    assert protocols.pyramid(128, (90, 120, 240)).proposal_scales == (120,)


def test_voc_is_measured_without_difficult_objects(models, tmp_path, capsys):
    root = object_files.write_voc(tmp_path / "voc")
    arguments = [
        f"--model={models[0]}",
        "--dataset=voc",
        f"--data_dir={root}",
        "--metric=voc07,voc",
    ]
    assert evaluate.main(["evaluate", *arguments, "--per_class"]) == 0
    rows = [line.split("|")[1:] for line in capsys.readouterr().out.splitlines() if "|" in line]
    table = {row[0].strip(): [cell.strip() for cell in row[1:-1]] for row in rows}
    # The only plate of the split is difficult.
    assert table["plate"] == ["-", "-"]
    assert "-" not in table["cup"]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
