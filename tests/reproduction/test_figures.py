"""What figures show is what runs and results hold."""

import struct

import pytest
import run_folders
from run_folders import COLUMNS, line

from resnet_keras import drawing
from resnet_keras.reproduction import curves, degradation, figures, runs

THEIRS = {"A": 25.03, "B": 24.52, "C": 24.19}  # by option


def write_runs(folder, ends):
    """Runs of two evaluations, by their names; `ends` are (training, test) of the last ones."""
    for name, (training, test) in ends.items():
        metrics = "\r\n".join([COLUMNS, line(100, 0.8, 0.9), line(200, training, test), ""])
        run_folders.write(folder / name, metrics)
    grouped = {}
    for name, run in zip(ends, runs.read([folder / name for name in ends]), strict=True):
        grouped.setdefault(name.rsplit("-", 1)[0], []).append(run)
    return grouped


def drawn(axes):
    """(x, y) of what is drawn in an Axes, by colour and style."""
    return [
        (curve.get_linestyle(), list(curve.get_xdata()), list(curve.get_ydata()))
        for curve in axes.get_lines()
    ]


def test_degradation_shows_means_of_curves_and_every_end(tmp_path):
    ends = {
        "plain20-seed0": (0.02, 0.04),
        "plain20-seed1": (0.04, 0.08),
        "plain56-seed0": (0.5, 0.6),
        "resnet20-seed0": (0.0, 0.01),
    }
    grouped = {**write_runs(tmp_path, ends), "resnet56": []}
    plain, residual, final = degradation.draw(grouped, "digits").axes
    assert drawn(plain)[:2] == [
        ("--", [100, 200], pytest.approx([80, 3])),
        ("-", [100, 200], pytest.approx([90, 6])),
    ]
    assert len(drawn(plain)) == 4
    (band, _) = plain.collections
    heights = {round(y, 6) for x, y in list(band.get_paths()[0].vertices) if x == 200}
    assert {4, 8} <= heights
    assert drawn(residual) == [
        ("--", [100, 200], pytest.approx([80, 0])),
        ("-", [100, 200], pytest.approx([90, 1])),
    ]
    assert final.get_yscale() == "log"
    every = [(x, y) for _, xs, ys in drawn(final) for x, y in zip(xs, ys, strict=True)]
    # Of plain networks to the left; no error is drawn as the least.
    for point in ((-0.06, 4), (-0.06, 8), (0.94, 60), (0.06, 1), (0.06, 0.01)):
        assert any(point == pytest.approx(other) for other in every), point
    assert ("-", pytest.approx([-0.06, 0.94]), pytest.approx([6, 60])) in drawn(final)
    assert plain.get_ylim() == residual.get_ylim() == (-1, 101)
    texts = [text.get_text() for text in residual.get_legend().get_texts()]
    assert texts[:4] == ["training error", "test error", "20 layers", "56 layers"]
    assert texts[4:] == ["not run: 56 layers"]


def noted(axes):
    """Lines that a legend has of what cannot be seen, and what stands in the axes."""
    legend = axes.get_legend()
    named = [text.get_text() for text in legend.get_texts()] if legend else []
    notes = [text for text in named if ":" in text or "equal" in text]
    return notes, [text.get_text() for text in axes.texts]


def test_networks_that_learn_nothing_squash_no_curves(tmp_path):
    ends = {"plain20-seed0": (0.1, 0.09), "plain110-seed0": (0.9, 0.91)}
    grouped = write_runs(tmp_path, ends)
    for some in grouped.values():  # errors begin at 80 %
        some[0].rows[0].update(top1_error=some[0].rows[1]["top1_error"], val_top1_error=0.09)
    grouped["plain110"][0].rows[0].update(top1_error=0.9, val_top1_error=0.9)
    plain, _, _ = degradation.draw(grouped, "cifar10").axes
    assert plain.get_ylim()[1] == curves.top_of_axis(grouped["plain20"]) == 15
    assert noted(plain) == (["above 15 %: 110 layers"], [])


def test_where_a_kind_learns_nothing_the_axis_follows_it(tmp_path):
    ends = {
        "plain20-seed0": (0.9, 0.91),
        "plain56-seed0": (0.9, 0.91),
        "resnet20-seed0": (0.0, 0.0),
    }
    plain, residual, _ = degradation.draw(write_runs(tmp_path, ends), "digits").axes
    assert plain.get_ylim() == residual.get_ylim() == (-1, 101)
    assert noted(plain) == (["equal: 20, 56 layers"], [])
    assert noted(residual) == ([], [])


def test_a_run_without_errors_has_learned(tmp_path):
    grouped = write_runs(tmp_path, {"plain20-seed0": (0.9, 0.9), "resnet20-seed0": (0.0, 0.0)})
    assert [run.name for run in degradation.shown_whole(grouped)] == [
        "plain20-seed0",
        "resnet20-seed0",
    ]


def test_panels_say_why_they_show_nothing(tmp_path):
    grouped = write_runs(tmp_path, {"plain20-seed0": (0.1, 0.2)})
    (run,) = grouped["plain20"]
    begun = run._replace(weights=None)
    failed = begun._replace(failed=True)
    empty = failed._replace(rows=[])
    plain, residual, ends = degradation.draw({"plain20": [empty], "resnet20": []}, "").axes
    assert (noted(plain), noted(residual)) == (([], ["failed"]), ([], ["not run"]))
    assert noted(ends) == ([], ["failed"])
    plain, residual, ends = degradation.draw({"plain20": [failed], "plain56": []}, "").axes
    assert noted(plain) == (["failed: 20 layers", "not run: 56 layers"], [])
    # The legend of both stands where there are curves.
    assert "20 layers" in [text.get_text() for text in plain.get_legend().get_texts()]
    assert residual.get_legend() is None
    (axes,) = figures.depth({"resnet20": [begun], "resnet56": [failed]}, "", {}).axes
    assert noted(axes) == ([], ["not\nfinished", "failed"])
    left, _ = figures.shortcuts({"resnet20": [failed], "resnet20-B": []}, "", THEIRS).axes
    assert noted(left) == ([], ["failed", "not\nrun", "not\nrun"])
    two = {"resnet20": [failed], "resnet56": [run], "resnet56-B": [run]}
    left, _ = figures.shortcuts(two, "", {"A": 25.03, "B": 24.52}).axes
    missing = ["failed: resnet20, option A", "not run: resnet20, option B"]
    assert noted(left) == (missing, [])


def test_one_depth_stands_in_the_middle(tmp_path):
    ends = {"plain20-seed0": (0.1, 0.2), "resnet20-seed0": (0.1, 0.2)}
    *_, axes = degradation.draw(write_runs(tmp_path, ends), "").axes
    assert axes.get_xlim() == (-0.5, 0.5)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["20"]
    assert noted(axes) == (["both are equal"], [])
    (axes,) = figures.depth(
        write_runs(tmp_path / "again", {"resnet20-seed0": (0, 0.2)}), "", {}
    ).axes
    assert axes.get_xlim() == (-0.5, 0.5)
    assert [curve.get_marker() for curve in axes.get_lines()][:2] == ["o", "_"]


def test_the_papers_points_are_seen_without_ours(tmp_path):
    for end in (0.0, 0.9):
        grouped = write_runs(tmp_path / str(end), {"resnet20-seed0": (end, end)})
        for runs_of_options in ({"resnet20": []}, grouped):
            _, right = figures.shortcuts(runs_of_options, "", THEIRS).axes
            low, high = right.get_ylim()
            assert 0 <= low < 24.19
            assert high > 25.03


def test_shortcuts_stand_beside_the_papers(tmp_path):
    ends = {
        "resnet20-seed0": (0.0, 0.03),
        "resnet20-seed1": (0.0, 0.05),
        "resnet20-B-seed0": (0.0, 0.02),
    }
    left, right = figures.shortcuts(write_runs(tmp_path, ends), "digits", THEIRS).axes
    every = [(x, y) for _, xs, ys in drawn(left) for x, y in zip(xs, ys, strict=True)]
    # Each run, those of one option side by side, and the means.
    for point in ((-0.03, 3), (0.03, 5), (0, 4), (1, 2)):
        assert any(point == pytest.approx(other) for other in every), point
    assert [ys for _, _, ys in drawn(right)] == [[25.03, 24.52, 24.19]]
    heights = [axes.get_ylim()[1] - axes.get_ylim()[0] for axes in (left, right)]
    assert heights[0] == pytest.approx(heights[1])
    assert [text.get_text() for text in left.get_xticklabels()] == ["A", "B", "C"]


def test_responses_in_order_and_sorted():
    deviations = {"plain20": [[1.0, 3.0, 2.0], [3.0, 1.0, 2.0]], "resnet20": [[0.5, 0.4, 0.3]]}
    left, right = figures.responses(deviations, "digits").axes
    assert drawn(left) == [
        ("--", [1, 2, 3], [2, 2, 2]),
        ("-", [1, 2, 3], [0.5, 0.4, 0.3]),
    ]
    assert drawn(right)[0] == ("--", [1, 2, 3], [3, 2, 1])
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["plain20", "resnet20"]


def test_responses_that_cannot_be_seen_are_told():
    runs_of = {"plain20": [[1.0, 2.0]], "resnet20": [[1.0, 2.0]], "resnet56": []}
    deviations = {**runs_of, "resnet110": [[float("nan")] * 3]}
    left, right = figures.responses(deviations, "digits").axes
    assert len(drawn(left)) == 2
    assert noted(right)[0] == [
        "resnet20: equal to plain20",
        "resnet56: not measured",
        "resnet110: no finite numbers",
    ]
    left, right = figures.responses({"resnet20": []}, "digits").axes
    assert noted(left) == noted(right) == ([], ["resnet20: not measured"])


def test_depth_beside_others(tmp_path):
    ends = {"resnet20-seed0": (0.1, 0.09), "resnet20-seed1": (0.1, 0.11)}
    grouped = {**write_runs(tmp_path, ends), "resnet56": []}
    (axes,) = figures.depth(grouped, "cifar10", {"paper": {20: 8.75, 56: 6.97, 1202: 7.93}}).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["20", "56", "1202"]
    assert ("-", [0], pytest.approx([10])) in drawn(axes)
    assert ("--", [0, 1, 2], [8.75, 6.97, 7.93]) in drawn(axes)


def test_protocols_beside_the_papers():
    rows = [("plain18", 27.94, None), ("resnet50 B tv_in1k", 22.85, 22.5), ("resnet18 B", None, 30)]
    left, right = figures.protocols({"10-crop": rows, "dense": []}).axes
    assert [xs + ys for _, xs, ys in drawn(left)] == [[27.94, 0], [22.85, 1], [22.5, 1], [30, 2]]
    assert right.get_title(loc="left") == "dense"
    assert noted(right) == ([], ["not run"])
    assert left.get_legend().get_texts()[-1].get_text() == "not run where there is no dot"


@pytest.mark.parametrize(
    "figure",
    [
        lambda: degradation.draw({"plain20": [], "resnet20": []}, "digits"),
        lambda: figures.shortcuts({"resnet20": []}, "digits", {"A": 25.03}),
        lambda: figures.responses({}, "digits"),
        lambda: figures.depth({"resnet20": []}, "digits", {}),
        lambda: figures.protocols({"10-crop": [("plain18", 27.94, None)]}),
    ],
)
def test_figures_of_what_was_not_run_are_drawn_too(figure):
    content = drawing.png(figure())
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert min(width, height) == 1000


def test_a_run_that_has_only_begun_hides_no_curve(tmp_path):
    grouped = write_runs(tmp_path, {"plain20-seed0": (0.02, 0.04)})
    begun = run_folders.write(tmp_path / "plain20-seed1", f"{COLUMNS}\r\n", weights=False)
    young = run_folders.write(
        tmp_path / "plain20-seed2", f"{COLUMNS}\r\n{line(100, 0.5, 0.5)}\r\n", weights=False
    )
    grouped["plain20"] += runs.read([begun, young])
    plain, _, _ = degradation.draw(grouped, "digits").axes
    assert drawn(plain)[1] == ("-", [100, 200], pytest.approx([90, 4]))
    unfinished = {"plain20": runs.read([begun, young])}
    plain, _, _ = degradation.draw(unfinished, "digits").axes
    assert drawn(plain)[1] == ("-", [100], pytest.approx([50]))


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
