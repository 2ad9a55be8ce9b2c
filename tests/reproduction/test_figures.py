"""What figures show is what runs and results hold."""

import re
import struct

import pytest
import run_folders
from run_folders import COLUMNS, line

from resnet_keras import drawing
from resnet_keras.reproduction import figures, runs


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


def test_a_dashed_and_a_bold_line_per_run(tmp_path):
    # Names that are neither hidden nor typeset.
    folders = [run_folders.write(tmp_path / name) for name in ("plain20", "_$x$")]
    figure = figures.curves(runs.read(folders), "Fig. 6")
    (axes,) = figure.axes
    lines = axes.get_lines()
    assert len(lines) == 4
    for training, test in (lines[:2], lines[2:]):
        assert (training.get_linestyle(), test.get_linestyle()) == ("--", "-")
        assert test.get_linewidth() >= 2 * training.get_linewidth()
        assert training.get_color() == test.get_color()
        assert list(training.get_xdata()) == list(test.get_xdata()) == [1000, 2000, 3000]
        assert list(training.get_ydata()) == pytest.approx([60, 20, 10])
        assert list(test.get_ydata()) == pytest.approx([70, 25, 30])
    assert lines[0].get_color() != lines[2].get_color()
    assert axes.get_title(loc="left") == "Fig. 6"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iterations", "error (%)")
    assert axes.get_xlim()[0] == 0
    assert 3000 < axes.get_xlim()[1] < 3100
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["training error", "test error", "plain20", "_$x$"]
    styles = [(key.get_linestyle(), key.get_linewidth()) for key in axes.get_legend().get_lines()]
    assert styles[:2] == [("--", lines[0].get_linewidth()), ("-", lines[1].get_linewidth())]


def test_the_first_errors_do_not_squash_the_curves(tmp_path):
    steps = range(1, 41)
    rows = [line(step, *((0.9, 0.9) if step < 7 else (0.05, 0.12))) for step in steps]
    long = run_folders.write(tmp_path / "long", "\n".join([COLUMNS, *rows, ""]))
    both = runs.read([long, run_folders.write(tmp_path / "short")])
    assert figures.top_of_axis(both[:1]) == 15
    assert figures.top_of_axis(both) == 80  # of few points, all are shown
    assert figures.curves(both, "", 20).axes[0].get_ylim() == (0, 20)
    assert figures.top_of_axis([]) == 2


def test_the_first_values_of_other_measures_do_not_squash_the_curves(tmp_path):
    def read(name, direction, values):
        lines = [f"step,{name}", *(f"{step},{value}" for step, value in enumerate(values, 1))]
        given = {"monitor": name, "direction": direction}
        folder = run_folders.write(tmp_path / name, "\n".join([*lines, ""]), environment=given)
        return runs.read([folder])

    losses = read("val_loss", "min", [900, 80, *([2, 1] * 9)])
    assert figures.range_of_axis(losses) == pytest.approx((0.95, 2.05))
    overlaps = read("val_iou", "max", [0, 0.01, *([0.7, 0.5] * 9), "inf"])
    assert figures.range_of_axis(overlaps) == pytest.approx((0.49, 0.71))
    assert figures.curves(overlaps, "").axes[0].get_ylim() == pytest.approx((0.49, 0.71))
    (level,) = read("val_level", "max", [0.0])
    assert figures.range_of_axis([level]) == (-1, 1)
    assert figures.range_of_axis([]) is None


def test_many_runs_have_colours_of_their_own():
    assert len(set(figures.colours(40))) == 40
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in figures.colours(40))


def test_degradation_shows_means_of_curves_and_every_end(tmp_path):
    ends = {
        "plain20-seed0": (0.02, 0.04),
        "plain20-seed1": (0.04, 0.08),
        "plain56-seed0": (0.5, 0.6),
        "resnet20-seed0": (0.0, 0.01),
    }
    grouped = {**write_runs(tmp_path, ends), "resnet56": []}
    plain, residual, final = figures.degradation(grouped, "digits").axes
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
    for point in ((19.3, 4), (19.3, 8), (55.3, 60), (20.7, 1), (20.7, 0.01)):  # no error: below
        assert any(point == pytest.approx(other) for other in every), point
    assert ("-", pytest.approx([19.3, 55.3]), pytest.approx([6, 60])) in drawn(final)
    assert plain.get_ylim() == residual.get_ylim() == (0, 100)
    texts = [text.get_text() for text in residual.get_legend().get_texts()]
    assert texts == ["training error", "test error", "20 layers", "56 layers"]


def test_networks_that_learn_nothing_squash_no_curves(tmp_path):
    ends = {"plain20-seed0": (0.1, 0.09), "plain110-seed0": (0.9, 0.91)}
    plain, residual, _ = figures.degradation(write_runs(tmp_path, ends), "cifar10").axes
    learned = write_runs(tmp_path / "again", {"plain20-seed0": (0.1, 0.09)})
    top = figures.top_of_axis(learned["plain20"])
    assert plain.get_ylim() == residual.get_ylim() == (0, top)


def test_shortcuts_stand_beside_the_papers(tmp_path):
    ends = {
        "resnet20-seed0": (0.0, 0.03),
        "resnet20-seed1": (0.0, 0.05),
        "resnet20-B-seed0": (0.0, 0.02),
    }
    theirs = {"A": 25.03, "B": 24.52, "C": 24.19}
    left, right = figures.shortcuts(write_runs(tmp_path, ends), "digits", theirs).axes
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


@pytest.mark.parametrize(
    "figure",
    [
        lambda: figures.degradation({"plain20": [], "resnet20": []}, "digits"),
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
    plain, _, _ = figures.degradation(grouped, "digits").axes
    assert drawn(plain)[1] == ("-", [100, 200], pytest.approx([90, 4]))
    unfinished = {"plain20": runs.read([begun, young])}
    plain, _, _ = figures.degradation(unfinished, "digits").axes
    assert drawn(plain)[1] == ("-", [100], pytest.approx([50]))


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
