"""The command that draws the errors of runs and tells of them on a page."""

import base64
import html.parser
import io
import json
import re
import struct
import sys

import pytest
import run_folders
from run_folders import COLUMNS, ROWS

from resnet_keras import report
from resnet_keras.reproduction import figures, runs


@pytest.fixture
def make_run(tmp_path):
    return lambda name, *args, **flags: run_folders.write(tmp_path / name, *args, **flags)


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command; returns its status, output, error, and the page if there is one."""

    def run(*arguments):
        status = report.main(["report", f"--out={tmp_path / 'out'}", *map(str, arguments)])
        said, page = capsys.readouterr(), tmp_path / "out.html"
        return status, said.out, said.err, page.read_text() if page.exists() else None

    return run


def texts(page):
    """Returns what a reader sees, piece by piece, and what the page would load."""
    seen, loaded = [], []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "iframe", "base"), tag
            loaded.extend(value for name, value in attrs if name in ("src", "href", "srcset"))

        def handle_data(self, data):
            seen.append(data)

    Reader().feed(page)
    return seen, loaded


def rows_of(page):
    """Returns the tables' rows as lists of texts."""
    rows = re.findall(r"<tr.*?>(.*?)</tr>", page)
    return [[html.unescape(t) for t in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)] for row in rows]


def test_a_finished_run(make_run, run, tmp_path):
    folder = make_run("plain20", model="plain20")
    (folder / "environment.json").write_text(json.dumps({"keras": "3.15.1", "cpus": 16}))
    status, out, err, page = run(folder)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "plain20: finished, test error 30.00 %, best 25.00 %, at step 2,000, "
        "training error 10.00 %, images/s 1,280, time 0:05:00, input wait 25.0 %",
        f"{tmp_path / 'out'}.png and {tmp_path / 'out'}.html are written.",
    ]
    head, first, *measured = rows_of(page)
    assert dict(zip(head, first, strict=True)) == {
        "run": "plain20",
        "state": "finished",
        "test error": "30.00 %",
        "best": "25.00 %",
        "at step": "2,000",
        "training error": "10.00 %",
        "images/s": "1,280",
        "time": "0:05:00",
        "input wait": "25.0 %",
    }
    assert measured[0] == COLUMNS.split(",")
    assert [row[0] for row in measured[1:]] == ["1000", "2000", "3000"]
    seen, _ = texts(page)
    for text in ("model=plain20", "jit_compile=false", "flip=true", "keras=3.15.1", "cpus=16"):
        assert text in seen
    assert "Training on cifar10" in seen
    assert "<mark>" not in page  # nothing to differ from
    assert "<details>" in page


def test_the_picture_is_a_png_that_the_page_holds(make_run, run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    status, _, err, page = run(make_run("one"))
    assert (status, err) == (0, "")
    content = (tmp_path / "out.png").read_bytes()
    assert struct.unpack(">II", content[16:24]) == (1800, 1000)
    with image.open(io.BytesIO(content)) as picture:
        assert picture.size == (1800, 1000)
        found = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(255, 255, 255), (0x00, 0x72, 0xB2)} <= found
    _, loaded = texts(page)
    assert loaded == ["data:image/png;base64," + base64.b64encode(content).decode()]
    assert not re.search(r"https?:|url\(|@import", page)


def test_equal_runs_give_equal_files(make_run, run, tmp_path):
    folder = make_run("one")
    first = run(folder), (tmp_path / "out.png").read_bytes()
    assert (run(folder), (tmp_path / "out.png").read_bytes()) == first


def test_runs_are_compared(make_run, run, tmp_path):
    for name, learning_rate in (("resnet110", 0.01), ("resnet20", 0.1), ("resnet56", 0.1)):
        make_run(f"runs/{name}", learning_rate=learning_rate)
    (tmp_path / "runs" / "resnet56" / "run.flags").open("a").write("--weights=imagenet\n")
    (tmp_path / "runs" / "notes").mkdir()
    status, out, err, page = run(tmp_path / "runs", tmp_path / "runs" / "resnet20")
    assert (status, err) == (0, "")
    names = ["resnet20", "resnet56", "resnet110"]  # by depth, each once
    assert [text.split(":")[0] for text in out.splitlines()[:-1]] == names
    assert [row[0] for row in rows_of(page)[1:4]] == names
    marked = re.findall("<mark>(.*?)</mark>", page)
    assert marked == [
        *("learning_rate=0.1", "weights=(none)"),
        *("learning_rate=0.1", "weights=imagenet"),
        *("learning_rate=0.01", "weights=(none)"),
    ]


def test_runs_of_one_name_are_told_apart(make_run, run):
    status, out, _, page = run(make_run("a/x/run"), make_run("b/x/run"), make_run("b/other"))
    assert status == 0
    names = [text.split(":")[0] for text in out.splitlines()[:-1]]
    assert names == ["a/x/run", "b/x/run", "other"]
    assert [row[0] for row in rows_of(page)[1:4]] == names


@pytest.mark.parametrize(
    ("metrics", "state", "evaluations"),
    [
        (None, "not started", 0),
        ("", "not started", 0),
        (COLUMNS[:30], "not started", 0),
        (COLUMNS + "\r\n", "in progress, not evaluated yet", 0),
        (f"{COLUMNS}\r\n{ROWS[0]}\r\n", "in progress at step 1,000 of 3,000", 1),
        (f"{COLUMNS}\r\n{ROWS[0]}\r\n{ROWS[1][:-2]}", "in progress at step 1,000 of 3,000", 1),
        (f"{COLUMNS}\r\n{ROWS[0]}\r\n{ROWS[1][:9]}", "in progress at step 1,000 of 3,000", 1),
        (f"{COLUMNS}\r\n{ROWS[0]}\r\n{ROWS[1]}", "in progress at step 1,000 of 3,000", 1),
    ],
)
def test_runs_in_progress(make_run, run, metrics, state, evaluations):
    folder = make_run("young", metrics, weights=False)
    status, out, err, page = run(folder)
    assert (status, err) == (0, "")
    assert out.startswith(f"young: {state}")
    assert rows_of(page)[1][1] == state
    assert f"{evaluations} evaluation(s)" in page
    (axes,) = figures.error_curves(runs.read([folder]), "").axes
    assert [len(drawn.get_xdata()) for drawn in axes.get_lines()] == [evaluations] * 2
    if evaluations == 1:  # a line of one point would not be seen
        assert [drawn.get_marker() for drawn in axes.get_lines()] == ["o", "o"]
    assert axes.get_legend().get_texts()[-1].get_text().startswith("young\n(")


def test_what_was_not_measured_stays_out(make_run, run):
    columns = "val_top1_error,step,top1_error,images_per_second,loss"
    metrics = f"{columns}\n0.5,100,0.25,,nan\nnan,200,0.125,,nan\n"
    status, out, err, page = run(make_run("short", metrics, weights=False, eval_split="val"))
    assert (status, err) == (0, "")
    said = "val error nan %, best 50.00 %, at step 100, training error 12.50 %"
    assert out.splitlines()[0] == f"short: in progress at step 200 of 3,000, {said}"
    assert rows_of(page)[-1] == ["nan", "200", "0.125", "-", "nan"]


def test_nothing_of_a_run_becomes_markup(make_run, run):
    nasty = "<img src=x onerror=alert(1)>&amp;\"'"
    folder = make_run(nasty, dataset=f"<b>{nasty}", note="</ul><script>alert(2)</script>")
    (folder / "environment.json").write_text('{"<i>": "</details>\\ud800"}')
    metrics = folder / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("top5_error", "<u>", 1))
    status, _, err, page = run(folder, "--title=</title><script>")
    assert (status, err) == (0, "")
    seen, loaded = texts(page)
    assert len(loaded) == 1
    for text in (nasty, "note=</ul><script>alert(2)</script>", "<i>=</details>?", "<u>"):
        assert text in seen
    assert seen.count("</title><script>") == 2
    assert not re.search("<(script|img src|b|i|u)>", page)


def test_starts_without_tensorflow(make_run, command, tmp_path):
    make_run("one")
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow is imported')")
    (tmp_path / "keras.py").write_text("raise SystemExit('keras is imported')")
    done = command("report", "--out=new/report", "one", cwd=tmp_path)  # its folder comes first
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "report.html",
        "report.png",
    ]
    assert "--max_error" in command("report", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name folders of runs"),
        (("nowhere",), "no folder nowhere"),
        (("one/run.flags",), "no folder one/run.flags"),
        (("one", "empty"), "The folder empty holds no run"),
        (("one", "--out=figure.png"), "path without suffix"),
        (("one", "--out="), "path without suffix"),
        (("one", "--out=/proc/nowhere/report"), "/proc/nowhere"),
        (("one", "--out=taken"), "Cannot write to taken.png"),
        (("one", "--max_error=0"), "max_error"),
        (("columns",), "columns/metrics.csv has no column val_top1_error"),
        (("words",), "words/metrics.csv does not fit its header: '1000,0.5,often'"),
        (("fields",), "fields/metrics.csv does not fit its header: '1000,0.5'"),
        (("json",), "json/environment.json is no JSON object"),
        (("list",), "list/environment.json is no JSON object"),
        (("folder",), "Cannot read"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "json", "list"):
        make_run(name)
    (tmp_path / "json" / "environment.json").write_text("{")
    (tmp_path / "list" / "environment.json").write_text("[1]")
    make_run("columns", "step,top1_error\n")
    make_run("words", "step,top1_error,val_top1_error\n1000,0.5,often\n2000,0.5,0.5\n")
    make_run("fields", "step,top1_error,val_top1_error\n1000,0.5\n2000,0.5,0.5\n")
    (make_run("folder", None) / "metrics.csv").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken.png").mkdir()
    assert report.main(["report", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(tmp_path.glob("report.*"))


def test_without_matplotlib_the_extra_is_named(make_run, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err, page = run(make_run("one"))
    assert (status, page) == (2, None)
    assert err == (
        "error: This needs the package 'matplotlib', which is not installed: "
        "pip install 'resnet_keras[plot]'.\n"
    )


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
