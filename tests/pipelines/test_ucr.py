"""Data sets of time series, in the forms that people have them in."""

import numpy as np
import pytest
import series_data

from resnet_keras import pipelines
from resnet_keras.classification import protocols
from resnet_keras.errors import InputError
from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import check, series_files, ucr


def ts(path, values, labels, classes=("up", "down")):
    lines = ["# a comment", "@problemName Toy", "@timestamps false", "@univariate false"]
    lines += [f"@classLabel true {' '.join(classes)}", "@data"]
    for one, label in zip(values, labels, strict=True):
        channels = (",".join(f"{value:.6g}" for value in channel) for channel in one.T)
        lines.append(":".join([*channels, label]))
    path.write_text("\n".join(lines))


def toy(tmp_path, text, test=None):
    (tmp_path / "Toy_TRAIN.tsv").write_text(text)
    (tmp_path / "Toy_TEST.tsv").write_text(text if test is None else test)
    return tmp_path


def test_tsv_of_the_ucr_archive(tmp_path):
    toy(tmp_path, "2\t1\t2.5\t-3\n-1\t4\t5\t6\n2\t7\t8\t9e-1\n", "-1.0\t0\t0\t1\n\n2.0\t1\t2\t3\n")
    values, labels = pipelines.arrays("ucr", "trainval", data_dir=str(tmp_path))
    np.testing.assert_array_equal(
        values[..., 0], np.float32([[1, 2.5, -3], [4, 5, 6], [7, 8, 0.9]])
    )
    assert (values.dtype, labels.dtype) == (np.float32, np.int32)
    assert labels.tolist() == [1, 0, 1]  # in order of the numbers: -1, 2
    values, labels = pipelines.arrays("ucr", "test", data_dir=str(tmp_path))
    assert (values.shape, labels.tolist()) == ((2, 3, 1), [0, 1])
    info = pipelines.info("ucr", tmp_path)
    assert info.class_names == ("-1", "2")
    assert (info.num_classes, info.input_shape()) == (2, (3, 1))
    assert info.mean == pytest.approx((np.mean([1, 2.5, -3, 4, 5, 6, 7, 8, 0.9]),))


def test_ts_of_the_uea_archive(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 5, 2)).astype("float32")
    labels = ["down", "up", "up"] * 2
    ts(tmp_path / "Toy_TRAIN.ts", values, labels)
    ts(tmp_path / "Toy_TEST.ts", values[:3], labels[:3])
    given, numbers = pipelines.arrays("ucr", "trainval", data_dir=str(tmp_path))
    np.testing.assert_allclose(given, values, rtol=1e-5)
    assert numbers.tolist() == [1, 0, 0] * 2  # in the header's order
    info = pipelines.info("ucr", tmp_path)
    assert info.class_names == ("up", "down")
    assert (info.input_shape(), len(info.mean)) == ((5, 2), 2)


@pytest.mark.parametrize("labels", [[3, 1, 3, 1], [3.0, 1.0, 3.0, 1.0], ["1", "3.0", "1.0", "3"]])
def test_npz(labels, tmp_path):
    values = np.arange(24).reshape(4, 6)
    split = {"x_test": values[:2, :, None], "y_test": np.asarray(labels)[:2]}
    np.savez(tmp_path / "mine.npz", x_train=values, y_train=np.asarray(labels), **split)
    given, numbers = pipelines.arrays("ucr", "trainval", data_dir=str(tmp_path))
    np.testing.assert_array_equal(given[..., 0], values)
    assert numbers.tolist() == ([0, 1, 0, 1] if labels[0] == "1" else [1, 0, 1, 0])
    assert pipelines.info("ucr", tmp_path).class_names == ("1", "3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,1,2\n5,6,7\n", "line 1 looks like names of columns"),
        (",0,1\n0,6,7\n", "line 1 looks like names of columns"),
        ("a,b\n6,7\n", "line 1 looks like names of columns"),
        ("1,1e300\n", "line 1: a value is missing, infinite or above 3e38"),
        ("1\n2\n", "line 1: it has a single value, which is no series"),
    ],
)
def test_what_is_no_series_of_a_csv(text, words, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        series_files.read(tmp_path / "a.csv")


def test_arrays_with_channels_before_steps_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 1, 20)))
    with pytest.raises(InputError, match=r"\(5, 1, 20\) must be \(examples, length, channels\)"):
        series_files.read(tmp_path / "a.npz")


@pytest.mark.parametrize("label", ["", "?", "nan"])
def test_a_missing_class_is_no_class(label, tmp_path):
    toy(tmp_path, f"1\t1\t2\n2\t3\t4\n{label}\t3\t4\n")
    with pytest.raises(InputError, match="a series whose class is missing"):
        ucr.problem(tmp_path)


def test_labels_that_are_written_alike_are_classes_of_their_own(tmp_path):
    toy(tmp_path, "1_2\t1\t2\n12\t3\t4\n0.12345671\t3\t4\n")
    assert ucr.problem(tmp_path).class_names == ("0.12345671", "12", "1_2")


def test_weights_of_other_classes_or_another_order_are_refused(tmp_path):
    toy(tmp_path, "up\t1\t2\ndown\t3\t4\n")
    protocols.check_names(("down", "up"), "ucr", str(tmp_path))
    with pytest.raises(InputError, match=r"classes up, down, and ucr has down, up"):
        protocols.check_names(("up", "down"), "ucr", str(tmp_path))


def test_a_number_to_predict_is_no_class(tmp_path):
    (tmp_path / "a.ts").write_text("@targetlabel\ttrue\n@data\n1,2,3:4.5\n")
    with pytest.raises(InputError, match=r"@targetLabel"):
        series_files.read(tmp_path / "a.ts")


def test_changed_files_are_read_again(tmp_path):
    toy(tmp_path, "1\t1\t2\n2\t3\t4\n")
    assert len(ucr.problem(tmp_path).train) == 2
    toy(tmp_path, "1\t1\t2\n2\t3\t4\n2\t3\t4\n")
    assert len(ucr.problem(tmp_path).train) == 3


def test_val_is_a_tenth_of_each_class_and_splits_are_complete(tmp_path):
    series_data.write(tmp_path, train=60, test=10)
    folder = str(tmp_path)
    sizes, seen = {}, {}
    for split in pipelines.SPLITS:
        values, labels = pipelines.arrays("ucr", split, data_dir=folder)
        sizes[split] = np.bincount(labels).tolist()
        seen[split] = {one.tobytes() for one in values}
    assert sizes == {"train": [27, 27], "val": [3, 3], "trainval": [30, 30], "test": [5, 5]}
    assert not seen["train"] & seen["val"]
    assert seen["train"] | seen["val"] == seen["trainval"]
    share = pipelines.arrays("ucr", "trainval[:50%]", data_dir=folder)[1]
    assert np.bincount(share).tolist() == [15, 15]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\t1\t2\n2\t3\n", r"line 2: it has 1 values, and those before 2 values: UCR's archive"),
        (
            "1\t1\t2\n2\t3\tNaN\n",
            r"line 2: a value is missing, infinite or above 3e38: UCR's archive",
        ),
        ("1\t1\t2\n2\t3\t\n", r"line 2: a value is missing: UCR's archive"),
        ("1\t1\t2\n2\t3\tx\n", r"line 2: 'x' is no number"),
        ("", r"Toy_TRAIN.tsv has no series"),
        ("1\t1\t2\n1\t3\t4\n", r"Toy_TRAIN.tsv has one class only, '1'"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(text, words, tmp_path):
    with pytest.raises(InputError, match=words):
        pipelines.info("ucr", toy(tmp_path, text))


def test_training_and_test_series_must_fit(tmp_path):
    with pytest.raises(InputError, match=r"Toy_TEST.tsv has a class '3' that .*TRAIN.tsv lacks"):
        ucr.problem(toy(tmp_path, "1\t1\t2\n2\t3\t4\n", "3\t1\t2\n"))
    with pytest.raises(
        InputError, match=r"of shape \(2, 1\) .* Toy_TEST.tsv \(3, 1\)".replace(" Toy", " .*Toy")
    ):
        ucr.problem(toy(tmp_path, "1\t1\t2\n2\t3\t4\n", "1\t1\t2\t3\n"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["@timestamps true", "@classLabel true a b", "@data", "(0,1):a"], "time beside each"),
        (["@classLabel false", "@data", "1,2"], "must have classes"),
        (["@classLabel true a b", "1,2:a"], r"line 2: a .ts file has @ lines up to @data"),
        (["@classLabel true a b"], "has no @data"),
        (["@classLabel true a b", "@data", "1,2:3:a"], r"its channels have \[2, 1\] values: UCR"),
        (["@classLabel true a b", "@data", "1,?:a", "1,2:b"], r"line 3: a value is missing: UCR"),
        (["@classLabel true a b", "@data", "1,2:a", "1,2:c"], "has a class 'c' that its @classL"),
    ],
)
def test_what_is_wrong_with_a_ts_file(lines, words, tmp_path):
    for split in ("TRAIN", "TEST"):
        (tmp_path / f"Toy_{split}.ts").write_text("\n".join(lines))
    with pytest.raises(InputError, match=words):
        ucr.problem(tmp_path)


def test_what_is_wrong_with_an_npz_file(tmp_path):
    path = tmp_path / "mine.npz"
    whole = {"x_train": np.zeros((2, 4)), "y_train": np.arange(2)}
    whole |= {"x_test": np.zeros((2, 4)), "y_test": np.arange(2)}
    for changed, words in (
        ({"x_test": np.zeros(4)}, r"x_test of .*mine.npz must be numbers of shape"),
        ({"y_train": np.arange(3)}, r"y_train of .* must be a number or text for each of 2 series"),
        ({"y_train": np.array([None, 1])}, "no .npz file of plain arrays"),
        ({"x_train": np.full((2, 4), np.inf)}, "series 0 has values that are missing or infinite"),
    ):
        np.savez(path, **{**whole, **changed})
        with pytest.raises(InputError, match=words):
            ucr.problem(tmp_path)
    np.savez(path, x_train=whole["x_train"])
    with pytest.raises(InputError, match="lacks the array y_train: it has x_train"):
        ucr.problem(tmp_path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"mine.npz is no .npz file"):
        ucr.problem(tmp_path)


def test_the_folder_must_have_one_data_set(tmp_path):
    with pytest.raises(InputError, match="ucr needs data_dir"):
        pipelines.check_names("ucr", ("train",))
    with pytest.raises(InputError, match="There is no folder"):
        pipelines.info("ucr", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no data set of series, NAME_TRAIN.tsv"):
        pipelines.info("ucr", tmp_path)
    (tmp_path / "Toy").mkdir()
    series_data.write(tmp_path / "Toy", train=4, test=4)
    with pytest.raises(InputError, match=r"name one of its folders, such as .*Toy"):
        pipelines.info("ucr", tmp_path)
    pipelines.info("ucr", tmp_path / "Toy")
    (tmp_path / "Toy" / "embeddings.npz").write_bytes(b"")  # of something else
    pipelines.info("ucr", tmp_path / "Toy")
    for split in ("TRAIN", "TEST"):
        (tmp_path / "Toy" / f"A_{split}.tsv").write_text("")
    with pytest.raises(InputError, match=r"has several data sets \(A_TRAIN.tsv, Toy_TRAIN.tsv\)"):
        pipelines.info("ucr", tmp_path / "Toy")
    (tmp_path / "A_TRAIN.ts").write_text("")
    with pytest.raises(InputError, match=r"A_TEST.ts is missing"):
        pipelines.info("ucr", tmp_path)


def test_files_to_predict(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    (tmp_path / "b.tsv").write_text("?\t1\t2\t3\n1\t4\t5\t6\n")
    np.savez(tmp_path / "c.npz", x=np.asarray([[1, 2, 3], [4, 5, 6]]))
    (tmp_path / "d.ts").write_text("@classLabel false\n@data\n1,2,3\n4,5,6\n")
    for path in sorted(tmp_path.iterdir()):
        given = series_files.read(path).values
        np.testing.assert_array_equal(given[..., 0], [[1, 2, 3], [4, 5, 6]])
    np.savez(tmp_path / "c.npz", y=np.zeros((1, 1)))
    with pytest.raises(InputError, match="has the arrays y: name the series to predict x"):
        series_files.read(tmp_path / "c.npz")
    with pytest.raises(InputError, match=r"are read from .tsv, .ts, .npz and .csv files"):
        series_files.read(tmp_path / "e.txt")
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe1,2")
    with pytest.raises(InputError, match="cannot be read as text"):
        series_files.read(tmp_path / "f.csv")


@pytest.mark.parametrize("dataset", ["ucr", "digits_series"])
def test_streams_keep_the_contract(dataset, tmp_path):
    """A batch depends on seed and step; each test example comes once, on two replicas too."""
    series_data.write(tmp_path, train=50, test=21)
    place = {"data_dir": str(tmp_path) if dataset == "ucr" else None, "device": None}
    from_start = pipelines.training(dataset, "trainval", 16, seed=3, **place)
    later = pipelines.training(dataset, "trainval", 16, seed=3, start_step=5, **place)
    whole = [batch for batch, _ in zip(from_start.as_numpy_iterator(), range(7), strict=False)]
    for one, two in zip(whole[5:], later.as_numpy_iterator(), strict=False):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    assert whole[0][0].dtype == np.float32
    shares = [
        next(
            pipelines.training(
                dataset, "trainval", 16, seed=3, shard=s, **place
            ).as_numpy_iterator()
        )
        for s in ((0, 2), (1, 2))
    ]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in shares]), whole[0][0])
    values, labels = pipelines.arrays(dataset, "test", data_dir=place["data_dir"])
    alone = [*pipelines.evaluation(dataset, "test", 8, **place).as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in alone]), values)
    np.testing.assert_array_equal(np.concatenate([y for _, y in alone]), labels)
    shared = pipelines.evaluation(dataset, "test", 8, replicas=2, **place).as_numpy_iterator()
    kept = [(x[w > 0], y[w > 0]) for x, y, w in shared]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in kept]), values)


def test_digits_are_read_as_series_by_rows():
    from sklearn.datasets import load_digits

    values, labels = pipelines.arrays("digits_series", "test")
    digits = load_digits()
    np.testing.assert_array_equal(values[..., 0].reshape(-1, 8, 8), digits.images[-360:])
    np.testing.assert_array_equal(labels, digits.target[-360:])
    info = pipelines.info("digits_series")
    assert info.input_shape() == (64, 1)
    assert info.mean == pytest.approx((digits.data.mean(),), abs=0.01)
    assert info.std == pytest.approx((digits.data.std(),), abs=0.01)


@pytest.mark.parametrize("dataset", ["ucr", "digits_series"])
def test_what_is_for_images_is_refused(dataset, tmp_path):
    folder = str(series_data.write(tmp_path, train=4, test=4))
    words = f"{dataset} is a data set of series: image_size=32 is for images"
    with pytest.raises(InputError, match=words):
        pipelines.arrays(dataset, "test", image_size=32, data_dir=folder)
    with pytest.raises(InputError, match="exif_orientation is for photographs"):
        pipelines.check_names(dataset, ("test",), data_dir=folder, exif_orientation=True)
    with pytest.raises(InputError, match="held in memory"):
        pipelines.open_split(dataset, "test", data_dir=folder)
    with pytest.raises(InputError, match="view and services are for photographs"):
        pipelines.training(dataset, "test", 2, seed=0, data_dir=folder, view=pipelines.View())


def test_names_of_the_archives_are_hinted():
    for name in ("uea", "UCR", "series"):
        with pytest.raises(InputError, match="Did you mean 'ucr'"):
            pipelines.info(name)


def test_check_tells_what_files_hold(tmp_path, capsys):
    series_data.write(tmp_path, train=7, test=5)
    assert command.main(["pipelines", "check", f"--data_dir={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert (
        "ok: train: 7 series of 24 steps in 1 channel and 2 classes: at least 3 (2), at mo" in out
    )
    assert "ok: test: 5 series" in out
    assert "No problems were found with ucr in" in out
    toy(tmp_path, "1\t1\t2\n2\t3\n")
    assert command.main(["pipelines", "check", "--dataset=ucr", f"--data_dir={tmp_path}"]) == 1
    assert "problem: " in (out := capsys.readouterr().out)
    assert "line 2: it has 1 values" in out
    same = "1\t1\t2\n2\t3\t4\n"
    findings = [*check.findings("ucr", str(toy(tmp_path, same)))]
    assert "2 of the test series are training series too" in findings[-1].text
    assert findings[-1].kind == "warning"


def test_preview_is_of_images(capsys):
    arguments = ["--dataset=digits_series", "--out=series.png"]
    assert command.main(["pipelines", "preview", *arguments]) == 2
    assert "digits_series is a data set of series: preview is for images" in capsys.readouterr().err


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
