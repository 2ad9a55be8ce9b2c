"""Tables 7 and 9 in small: which runs and measurements there are, and what is told of them."""

import json
import sys

import pytest
import run_folders

from resnet_keras.commands import shared_flags
from resnet_keras.detection import train
from resnet_keras.errors import InputError
from resnet_keras.reproduction import detection, detectors, improvements, results
from resnet_keras.reproduction.detection import PLAIN, RESIDUAL, Member
from resnet_keras.zoo import pages, paper

COLUMNS = "step,seconds,loss,val_ap,val_ap50"
# AP of each measurement by run, refinement and scales; the second seed has .02 more.
MEASURED = {
    (RESIDUAL, False, False): 0.5,
    (PLAIN, False, False): 0.4,
    (f"{RESIDUAL}-2500", False, False): 0.8,
    (f"{RESIDUAL}-context", False, False): 0.51,
    (RESIDUAL, True, False): 0.55,
    (f"{RESIDUAL}-context", True, False): 0.56,
    (f"{RESIDUAL}-context", True, True): 0.57,
}
ENSEMBLE = 0.7


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_every_member_has_flags_that_train_takes(scale):
    for member in detection.members(scale, ()):
        shared_flags.parse(train.FLAGS, ["train", *detection.arguments(member, scale)])
        train.check()
        flags = train.FLAGS
        assert (flags.model, flags.seed, flags.context) == member[:3]
        assert not flags.refine
        assert flags.train_steps % flags.eval_every == 0
        if member.steps:
            assert flags.train_steps * flags.batch_size == 20 * 1000  # 20 epochs


def test_a_line_has_what_those_above_have():
    members = detection.members("paper", (0, 1))
    assert [m.name for m in members[:4]] == [
        *(f"{RESIDUAL}-seed0", f"{PLAIN}-seed0"),
        *(f"{RESIDUAL}-context-seed0", f"{RESIDUAL}-2500-seed0"),
    ]
    lines = [detection.of_step(step, members) for step in detection.STEPS]
    assert [
        ([m.name for m in one[0].members], one[0].refine, one[0].multi_scale) for one in lines
    ] == [
        ([f"{RESIDUAL}-seed0"], False, False),
        ([f"{RESIDUAL}-seed0"], True, False),
        ([f"{RESIDUAL}-context-seed0"], True, False),
        ([f"{RESIDUAL}-context-seed0"], True, True),
        ([f"{RESIDUAL}-context-seed0", f"{RESIDUAL}-context-seed1"], True, True),
    ]
    assert [len(one) for one in lines] == [2, 2, 2, 2, 1]
    assert len(detection.measurements(members)) == len(members) + 3 * 2 + 1
    assert detection.of_step(detection.STEPS[-1], detection.members("quick", (0,))) == []


def test_the_papers_numbers_are_those_of_its_tables():
    assert [(s.paper.ap50, s.paper.ap) for s in (detection.STEPS[0], detection.STEPS[-1])] == [
        ("48.4", "27.2"),
        ("59.0", "37.4"),
    ]
    baselines = [row for row in paper.DETECTION if row.system == "baseline"]
    for network, voc, coco in detectors.PAPER_BACKBONES.values():
        theirs = {r.tested: r for r in baselines if r.network == network}
        assert voc == f"{theirs['VOC 07 test'].ap50} / {theirs['VOC 12 test'].ap50}"
        assert coco == f"{theirs['COCO val'].ap50} / {theirs['COCO val'].ap}"


@pytest.fixture
def folder(tmp_path):
    """Two seeds of everything: runs, and the measurements of finished ones."""
    for member in detection.members("paper", (0, 1)):
        steps = member.steps or 1000
        lines = [f"{steps // 2},10,2.0,0.2,0.5", f"{steps},120,1.0,0.5,0.9"]
        finished = member != Member(PLAIN, 1)
        run_folders.write(
            tmp_path / member.name,
            "\r\n".join([COLUMNS, *(lines if finished else lines[:1]), ""]),
            False,
            {"monitor": "val_ap", "direction": "max"},
            dataset="shapes",
            eval_split="val",
            train_steps=steps,
        )
        if finished:
            (tmp_path / member.name / "weights.keras").write_text(member.name)
    return tmp_path


def measure(folder, begun, members):
    """Writes what a measurement would."""
    for measurement in detection.measurements(members):
        facts = detection.facts(measurement, begun)
        if facts is None:
            continue
        first = measurement.members[0]
        ap = MEASURED[first.group, *measurement[1:]] + 0.02 * first.seed
        if len(measurement.members) > 1:
            ap = ENSEMBLE
        row = {
            **facts,
            **{"images": 200, "ap": ap, "ap50": ap + 0.2, "ap75": ap, "voc_07": ap, "voc_area": ap},
            **{"parameters": 305792, "multiply_adds": 6_000_000, "versions": {"keras": "3"}},
        }
        detection.place(folder, facts).write_text(json.dumps(row))


@pytest.fixture
def read(folder):
    members = detection.members("paper", (0, 1))
    begun = detection.read(folder, members)
    measure(folder, begun, members)
    rows = detection.measured(folder, detection.measurements(members), begun)
    return members, begun, rows


def test_tables_stand_beside_the_paper(read):
    members, begun, rows = read
    backbones, improved, longer = detectors.tables(members, rows)
    assert backbones.title.endswith("(Tables 7 and 8 in small): AP in %, 200 images of val")
    assert [row[:9] for row in backbones.rows] == [
        (
            PLAIN,
            "305,792",
            "6,000,000",
            "VGG-16",
            "73.2 / 70.4",
            "41.5 / 21.2",
            "1",
            "40.00",
            "60.00",
        ),
        (
            *(RESIDUAL, "305,792", "6,000,000", "ResNet-101", "76.4 / 73.8", "48.4 / 27.2", "2"),
            *("51.00 ± 1.41", "71.00 ± 1.41"),
        ),
    ]
    assert [(row[0], row[1], row[2], row[3], row[-1]) for row in improved.rows] == [
        ("baseline", "48.4 / 27.2 (val)", "2", "51.00 ± 1.41", "50.00, 52.00"),
        ("+ box refinement", "49.9 / 29.9 (val)", "2", "56.00 ± 1.41", "55.00, 57.00"),
        ("+ context", "51.1 / 30.0 (val)", "2", "57.00 ± 1.41", "56.00, 58.00"),
        ("+ multi-scale testing", "53.8 / 32.5 (val)", "2", "58.00 ± 1.41", "57.00, 59.00"),
        ("ensemble", "59.0 / 37.4 (test-dev)", "2 together", "70.00", "70.00"),
    ]
    assert [row[:3] for row in longer.rows] == [
        ("the recipe's", "2", "51.00 ± 1.41"),
        ("2,500 (20 epochs)", "2", "81.00 ± 1.41"),
    ]
    every = {row[0]: row[1:] for row in detectors.all_runs(members, begun).rows}
    assert every[f"{RESIDUAL}-seed0"] == ("finished", "1,000", "50.00", "90.00", "2.0")
    assert every[f"{PLAIN}-seed1"][0] == "in progress at step 500 of 1,000"


def test_what_is_measured_belongs_to_its_weights(folder, read, monkeypatch):
    """Of the same weights nothing is measured again; of others nothing is told."""
    members, begun, rows = read
    listed = detection.measurements(members)
    monkeypatch.setattr(improvements, "_measure", lambda *given: pytest.fail("measured again"))
    improvements.measure(folder, listed, begun)
    begun[Member(RESIDUAL, 0)].weights.write_text("others")
    left = detection.measured(folder, listed, begun)
    assert {m for m in rows if m not in left} == {
        m for m in listed if m.members == (Member(RESIDUAL, 0),)
    }
    (path, *_) = (folder / f"{RESIDUAL}-seed1").glob("measured-*.json")
    path.write_text("[]")
    with pytest.raises(InputError, match="is no measurement: remove it"):
        detection.measured(folder, listed, begun)


def test_the_figure_shows_every_run_and_every_seed(read):
    members, begun, rows = read
    result = results.of_detectors(members, begun, rows, "shapes", "paper")
    over_time, ours, papers = result.figure.axes
    drawn = [(list(x.get_xdata()), list(x.get_ydata())) for x in over_time.lines]
    assert drawn.count(([500, 1000], pytest.approx([20, 50]))) == 2 + 1 + 1 + 2 + 1  # and means
    assert over_time.get_ylabel() == "AP (%)"
    named = [text.get_text() for text in over_time.get_legend().get_texts()]
    assert named[:2] == [f"{RESIDUAL}, 2 seeds", f"{PLAIN}, 2 seeds"]
    dots = [list(x.get_ydata()) for x in ours.lines if x.get_marker() == "o"]
    assert dots == [pytest.approx([50, 55, 56, 57]), pytest.approx([52, 57, 58, 59])]
    (ensemble,) = [x.get_ydata()[0] for x in ours.lines if x.get_marker() == "D"]
    assert ensemble == pytest.approx(70)
    assert "200 images of val" in ours.get_title(loc="left")
    assert list(papers.lines[0].get_ydata()) == [27.2, 29.9, 30.0, 32.5, 37.4]
    heights = [axes.get_ylim()[1] - axes.get_ylim()[0] for axes in (ours, papers)]
    assert heights[0] == pytest.approx(heights[1])


def test_where_nothing_was_run_the_figure_says_so():
    members = detection.members("quick", ())
    result = results.of_detectors(members, {}, {}, "shapes", "quick")
    over_time, ours, _ = result.figure.axes
    assert "not run" in over_time.texts[0].get_text()
    assert [text.get_text() for text in ours.texts] == ["not\nrun"] * 5
    assert all(row[-1] == "not run" for table in result.tables for row in table.rows)


def test_results_have_a_place_among_the_pages(folder, read):
    members, begun, rows = read
    result = results.of_detectors(members, begun, rows, "shapes", "paper")
    command = "python -m resnet_keras.reproduce detection"
    about = {"experiment": "detection", "dataset": "shapes", "scale": "paper", "flags": []}
    results.write(folder / "out", result, **about, command=command)
    title, picture, *parts = pages.experiment(folder / "out.json")
    assert title == "### Detection on shapes"
    assert picture == "![Detection on shapes](zoo/experiments/out.png)".replace("D", "d", 1)
    assert f"    {command}" in parts
    assert sum("| ensemble | 59.0 / 37.4" in part for part in parts) == 1
    curves = json.loads((folder / "out.json").read_text())["curves"]
    assert curves[f"{RESIDUAL}-2500-seed0"]["steps"] == [1250, 2500]


def test_a_run_of_a_classifier_is_refused(tmp_path):
    run_folders.write(tmp_path / f"{RESIDUAL}-seed0")
    with pytest.raises(InputError, match="has no val_ap in"):
        detection.read(tmp_path, [Member(RESIDUAL, 0)])


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
