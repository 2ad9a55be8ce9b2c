"""Curves of runs, and what the figure says of those that it cannot show."""

import re

import pytest
import run_folders
from run_folders import COLUMNS, ROWS, line

from resnet_keras.reproduction import curves, panels, runs


def test_a_dashed_and_a_bold_line_per_run(tmp_path):
    # Names that are neither hidden nor typeset.
    folders = [run_folders.write(tmp_path / "plain20")]
    other = "\n".join([COLUMNS, *ROWS, line(3500, 0.1, 0.3), ""])
    folders.append(run_folders.write(tmp_path / "_$x$", other))
    figure = curves.draw(runs.read(folders), "Fig. 6")
    (axes,) = figure.axes
    lines = axes.get_lines()
    assert len(lines) == 4
    for training, test in (lines[:2], lines[2:]):
        assert (training.get_linestyle(), test.get_linestyle()) == ("--", "-")
        assert test.get_linewidth() >= 2 * training.get_linewidth()
        assert training.get_color() == test.get_color()
        assert list(training.get_xdata())[:3] == list(test.get_xdata())[:3] == [1000, 2000, 3000]
        assert list(training.get_ydata())[:3] == pytest.approx([60, 20, 10])
        assert list(test.get_ydata())[:3] == pytest.approx([70, 25, 30])
    assert lines[0].get_color() != lines[2].get_color()
    assert axes.get_title(loc="left") == "Fig. 6"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iterations", "error (%)")
    assert axes.get_xlim()[0] == 0
    assert 3500 < axes.get_xlim()[1] < 3600
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["training error", "test error", "plain20", "_$x$"]
    styles = [(key.get_linestyle(), key.get_linewidth()) for key in axes.get_legend().get_lines()]
    assert styles[:2] == [("--", lines[0].get_linewidth()), ("-", lines[1].get_linewidth())]


def test_the_first_errors_do_not_squash_the_curves(tmp_path):
    steps = range(1, 41)
    rows = [line(step, *((0.9, 0.9) if step < 7 else (0.05, 0.12))) for step in steps]
    long = run_folders.write(tmp_path / "long", "\n".join([COLUMNS, *rows, ""]))
    both = runs.read([long, run_folders.write(tmp_path / "short")])
    assert curves.top_of_axis(both[:1]) == 15
    assert curves.top_of_axis(both) == 80  # of few points, all are shown
    assert curves.draw(both, "", 20).axes[0].get_ylim() == (-0.2, 20)
    assert curves.top_of_axis([]) == 2


def test_the_first_values_of_other_measures_do_not_squash_the_curves(tmp_path):
    def read(name, direction, values):
        lines = [f"step,{name}", *(f"{step},{value}" for step, value in enumerate(values, 1))]
        given = {"monitor": name, "direction": direction}
        folder = run_folders.write(tmp_path / name, "\n".join([*lines, ""]), environment=given)
        return runs.read([folder])

    losses = read("val_loss", "min", [900, 80, *([2, 1] * 9)])
    assert curves.range_of_axis(losses) == pytest.approx((0.95, 2.05))
    overlaps = read("val_iou", "max", [0, 0.01, *([0.7, 0.5] * 9), "inf"])
    assert curves.range_of_axis(overlaps) == pytest.approx((0.49, 0.71))
    assert curves.draw(overlaps, "").axes[0].get_ylim() == pytest.approx((0.49, 0.71))
    (level,) = read("val_level", "max", [0.0])
    assert curves.range_of_axis([level]) == (-1, 1)
    assert curves.range_of_axis([]) is None


def test_many_runs_have_colours_of_their_own():
    assert len(set(panels.colours(40))) == 40
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in panels.colours(40))


def texts(figure):
    """What stands in the axes, and the legend's names."""
    (axes,) = figure.axes
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    return [text.get_text() for text in axes.texts], named[2:]


def test_runs_that_cannot_be_seen_are_told(tmp_path):
    write, read = run_folders.write, runs.read
    new = write(tmp_path / "new", f"{COLUMNS}\n", weights=False)
    one = write(tmp_path / "one", f"{COLUMNS}\n{line(100, 0.5, 0.6)}\n", weights=False)
    same = [write(tmp_path / name) for name in ("a", "b")]
    assert texts(curves.draw(read([new]), "")) == (
        ["not evaluated yet"],
        ["new\n(in progress)"],
    )
    figure = curves.draw(read([new, one, *same]), "", 40)
    assert texts(figure) == (
        [],
        [
            "new\n(in progress)",
            "one\n(in progress)\n(above 40 %)",
            "a",
            "b\n(the same curves as a)",
        ],
    )
    figure = curves.draw(read([one]), "", 40)
    assert texts(figure)[0] == ["all above 40 %"]
    assert figure.axes[0].get_lines()[0].get_marker() == "o"  # one point makes no line


def test_the_figure_grows_with_its_legend(tmp_path):
    folders = [run_folders.write(tmp_path / f"{'long_name_' * 4}{n}") for n in range(20)]
    figure = curves.draw(runs.read(folders), "")
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert figure.bbox.y0 <= legend.get_window_extent().y0
    assert legend.get_texts()[0].get_size() >= 7.5
    assert tuple(curves.draw(runs.read(folders[:2]), "").get_size_inches()) == panels.INCHES


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
