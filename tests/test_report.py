"""The command that draws the errors of runs and tells of them on a page."""

import base64
import html.parser
import io
import json
import re
import struct
import sys

import numpy as np
import pytest
import run_folders
from run_folders import COLUMNS, ROWS

from resnet_keras import report
from resnet_keras.reproduction import curves, runs


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


def test_folders_without_runs_are_left_out_and_named(make_run, run, tmp_path):
    make_run("runs/plain20", model="plain20")
    (tmp_path / "runs" / "figures").mkdir()
    (tmp_path / "runs" / ".cache").mkdir()
    status, out, err, _ = run(tmp_path / "runs")
    assert (status, err.count("\n")) == (0, 1)
    assert re.fullmatch(r"1 folder without a run is left out: \S*runs/figures\n", err)
    assert out.startswith("plain20: finished")
    for number in range(7):
        (tmp_path / f"empty{number}").mkdir()
    status, _, err, _ = run(tmp_path / "runs/plain20", *sorted(tmp_path.glob("empty*")))
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("7 folders without runs are left out: ")
    assert err.endswith("empty4 and 2 more\n")
    status, _, err, _ = run(tmp_path / "empty0", tmp_path / "empty1")
    assert status == 2
    assert "empty0 and " in err
    assert "hold no run" in err


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
        seen = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(255, 255, 255), (0x00, 0x72, 0xB2)} <= seen
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
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("1 folder without a run is left out: ")
    assert err.endswith("/runs/notes\n")
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
    (axes,) = curves.draw(runs.read([folder]), "").axes
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


def fit_segmenter(folder, monitor=("val_mean_io_u", "max"), steps=60, **options):
    """Trains a tiny network by `training.fit` to tell pixels above a threshold."""
    import keras
    import tensorflow as tf

    from resnet_keras import training

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Conv2D(2, 1)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    model.compile(
        keras.optimizers.Adam(3e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanIoU(2, sparse_y_pred=False, name="mean_io_u")],
    )

    def example(number):
        image = tf.random.stateless_normal((8, 8, 3), tf.stack([number, 0]))
        return image, tf.cast(tf.reduce_sum(image, -1) > 0, tf.int32)

    def train(start):
        numbers = tf.data.Dataset.range(8 * start, np.iinfo(np.int64).max)
        return numbers.map(example).batch(8, drop_remainder=True)

    return training.fit(
        model,
        train,
        tf.data.Dataset.range(-16, 0).map(example).batch(8),
        workdir=folder,
        steps=steps,
        eval_every=20,
        monitor=monitor,
        progress=False,
        tensorboard=False,
        **options,
    )


def test_a_segmenters_run_is_told_by_what_it_monitors(run, tmp_path):
    result = fit_segmenter(tmp_path / "segmenter", identity={"dataset": "thresholds"})
    overlaps = [row["val_mean_io_u"] for row in result.rows]
    assert max(overlaps) > min(overlaps)
    status, out, err, page = run(tmp_path / "segmenter")
    assert (status, err) == (0, "")
    last = result.rows[-1]
    place = overlaps.index(max(overlaps))
    assert out.splitlines()[0].startswith(
        f"segmenter: finished, test mean_io_u {overlaps[-1]:.4g}, best {max(overlaps):.4g}, "
        f"at step {20 * (place + 1)}, training mean_io_u {last['mean_io_u']:.4g}, "
    )
    head, first, *_ = rows_of(page)
    cells = dict(zip(head, first, strict=True))
    assert cells["best"] == f"{max(overlaps):.4g}"
    assert list(cells)[2:6] == ["test mean_io_u", "best", "at step", "training mean_io_u"]
    seen, _ = texts(page)
    assert "Training on thresholds" in seen
    assert any(text.startswith("mean_io_u. Bold: test. Dashed: training") for text in seen)
    assert not any("error" in text.lower() for text in seen)
    assert '<img alt="mean_io_u against iterations"' in page
    (axes,) = curves.draw(runs.read([tmp_path / "segmenter"]), "").axes
    assert axes.get_ylabel() == "mean_io_u"
    training, test = axes.get_lines()
    assert list(test.get_xdata()) == [20, 40, 60]
    assert list(test.get_ydata()) == pytest.approx(overlaps)
    assert list(training.get_ydata()) == pytest.approx([r["mean_io_u"] for r in result.rows])
    low, high = axes.get_ylim()
    assert 0 <= low < min(overlaps)
    assert max(overlaps) < high < 1.1
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["training mean_io_u", "test mean_io_u", "segmenter"]


def test_a_run_judged_by_an_evaluation_alone_has_one_curve(run, tmp_path):
    """What `evaluate` measures has no counterpart in training; column names may be one's own."""
    fit_segmenter(
        tmp_path / "own",
        monitor=("worst", "min"),
        steps=20,
        evaluate=lambda model: {"worst": 2.5},
        columns={"loss": "loss", "distance": "worst"},
    )
    status, out, err, page = run(tmp_path / "own")
    assert (status, err) == (0, "")
    assert out.startswith("own: finished, distance 2.5, best 2.5, at step 20, images/s")
    assert "<figcaption>distance.</figcaption>" in page
    (axes,) = curves.draw(runs.read([tmp_path / "own"]), "").axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[2.5]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["distance", "own"]


def test_runs_judged_by_different_measures_are_refused(make_run, run, tmp_path):
    make_run("runs/a")
    make_run("runs/b", environment={"monitor": "val_top1_error", "direction": "min"})
    columns = "step,loss,val_loss,mean_io_u,val_mean_io_u"
    given = {"monitor": "val_mean_io_u", "direction": "max"}
    segmenter = make_run("runs/c", f"{columns}\n10,1,1,0.5,0.4\n", environment=given)
    status, out, err, page = run(tmp_path / "runs")
    assert (status, out, page) == (2, "", None)
    assert err == (
        "error: One figure cannot compare runs judged by different measures, a, b by the least "
        "val_top1_error and c by the largest val_mean_io_u: name those of one measure at a time.\n"
    )
    status, _, err, _ = run("--max_error=20", segmenter)
    assert (status, err) == (
        2,
        "error: --max_error is for runs judged by an error, and not by val_mean_io_u.\n",
    )
    begun = make_run("begun", None, weights=False)  # does not say yet what it is judged by
    status, out, err, page = run(begun, segmenter)
    assert (status, err) == (0, "")
    assert out.splitlines()[:2] == [
        "begun: not started",
        "c: finished, test mean_io_u 0.4, best 0.4, at step 10, training mean_io_u 0.5",
    ]
    head, *rows = rows_of(page)[:3]
    assert head[2:6] == ["test mean_io_u", "best", "at step", "training mean_io_u"]
    assert [row[2] for row in rows] == ["-", "0.4"]


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
        (("empty",), "empty holds no run"),
        (("one", "--out=figure.png"), "path without suffix"),
        (("one", "--out="), "path without suffix"),
        (("one", "--out=/proc/nowhere/report"), "/proc/nowhere"),
        (("one", "--out=taken"), "Cannot write to taken.png"),
        (("one", "--max_error=0"), "max_error"),
        (("columns",), "columns/metrics.csv has no column val_top1_error"),
        (("other",), "other/metrics.csv has no column val_iou, by which environment.json"),
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
    make_run("other", "step,loss\n", environment={"monitor": "val_iou", "direction": "max"})
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
