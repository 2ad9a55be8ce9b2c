"""Shares of splits, of folders, TFDS's sets and sets in memory."""

import shlex
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import evaluate, pipelines, train
from resnet_keras.errors import InputError
from resnet_keras.pipelines import __main__ as command
from resnet_keras.pipelines import splits

EXAMPLES = 50
RUN = (
    *("--model=resnet8", "--image_size=16", "--scales=18,24", "--batch_size=16"),
    *("--train_steps=2", "--eval_every=2", "--notensorboard"),
)
HELD_OUT = ["cats/16.png", "cats/18.png", "cats/26.png", "cats/32.png", "cats/44.png"]  # of 25 cats
FOREVER = [0, 1, 12, 19]  # of 20 examples in two classes, "train[80%:]"


@pytest.fixture(scope="module")
def only_train(tmp_path_factory):
    """Two data sets of two classes that have a train split only: flags by the kind of set."""
    root = tmp_path_factory.mktemp("only_train")

    def row(number):
        return {
            "image": tf.fill([20, 24, 3], tf.constant(number, tf.uint8)),
            "label": tf.constant(number % 2, tf.int64),
        }

    rows = [row(number) for number in range(EXAMPLES)]
    for number in range(EXAMPLES):
        folder = root / "images" / "train" / ("cats", "dogs")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        png = tf.io.encode_png(rows[number]["image"]).numpy()
        (folder / f"{number:02}.png").write_bytes(png)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="pets",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=["cats", "dogs"]),
            }
        ),
        split_datasets={
            "train": tf.data.Dataset.from_generator(
                lambda: iter(rows),
                output_signature={
                    "image": tf.TensorSpec([None, None, 3], tf.uint8),
                    "label": tf.TensorSpec([], tf.int64),
                },
            )
        },
        data_dir=root / "tfds",
        download_config=tfds.download.DownloadConfig(num_shards=3),
    )
    return {"folder": root / "images", "tfds/pets": root / "tfds"}


def listed(source):
    """(name, label) of each example, in order."""
    return [(name, int(label)) for _, label, name in source.ordered().as_numpy_iterator()]


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["folder", "tfds/pets"])
@pytest.mark.parametrize("bound", ["90%", "10", "-12.5%"])
def test_two_shares_are_disjoint_and_complete(dataset, bound, only_train):
    def opened(split):
        return pipelines.open_split(dataset, split, data_dir=only_train[dataset])

    whole = listed(opened("train"))
    first, second = opened(f"train[:{bound}]"), opened(f"train[{bound}:]")
    assert first.num_examples + second.num_examples == EXAMPLES
    assert sorted(listed(first) + listed(second)) == sorted(whole)
    assert first.class_names == second.class_names == ("cats", "dogs")
    if bound == "90%":
        assert (first.num_examples, second.num_examples) == (45, 5)
    for share in (first, second):
        if dataset == "folder" and share.num_examples > 1:
            counts = np.bincount([label for _, label in listed(share)], minlength=2)
            assert abs(counts[0] - counts[1]) <= 2
    evaluated = pipelines.evaluation(
        dataset, f"train[{bound}:]", 8, data_dir=only_train[dataset], image_size=16
    )
    # Each image has a grey of its own.
    greys = [image[0, 0, 0] for images, _ in evaluated.as_numpy_iterator() for image in images]
    assert len(set(greys)) == len(greys) == second.num_examples
    streamed = pipelines.training(
        dataset,
        f"train[:{bound}]",
        16,
        seed=0,
        data_dir=only_train[dataset],
        view=pipelines.View(16, scales=(18, 20), pca_noise=0),
    )
    trained = {
        image[0, 0, 0] for images, _ in streamed.take(9).as_numpy_iterator() for image in images
    }
    assert trained.isdisjoint(greys)
    assert len(trained) == first.num_examples


def test_a_share_is_the_same_on_every_machine(only_train, tmp_path):
    """Wherever the images lie, in whatever order they are listed: the numbers are for ever."""
    names = [f"{'ab'[n % 2]}/{n}".encode() for n in range(20)]
    labels = [n % 2 for n in range(20)]
    chosen = splits.share(splits.parse("train[80%:]"), labels, names)
    assert chosen.tolist() == FOREVER
    order = np.random.default_rng(0).permutation(20)
    again = splits.share(
        splits.parse("train[80%:]"), [labels[n] for n in order], [names[n] for n in order]
    )
    assert sorted(order[again]) == FOREVER
    moved = shutil.copytree(only_train["folder"], tmp_path / "moved")
    shares = [
        [
            name.split(b"train/")[1]
            for name, _ in listed(pipelines.open_split("folder", "train[90%:]", data_dir=root))
        ]
        for root in (moved, only_train["folder"])
    ]
    assert shares[0] == shares[1]


def test_every_class_is_in_every_share():
    labels = [0] * 300 + [1] * 30 + [2] * 10
    names = [str(n).encode() for n in range(340)]
    for text, counts in (("x[:90%]", [270, 27, 9]), ("x[90%:]", [30, 3, 1])):
        chosen = splits.share(splits.parse(text), labels, names)
        np.testing.assert_allclose(np.bincount(np.take(labels, chosen)), counts, atol=1)


@pytest.mark.parametrize("split", ["trainval", "test"])
def test_shares_of_sets_in_memory(split):
    whole, labels = pipelines.arrays("digits", split, image_size=8)
    parts = [pipelines.arrays("digits", f"{split}{s}", image_size=8) for s in ("[:75%]", "[75%:]")]
    assert [len(part[1]) for part in parts] == [
        round(len(labels) * 0.75),
        len(labels) - round(len(labels) * 0.75),
    ]

    def rows(images, labels):
        return sorted(
            (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
        )

    assert sorted(rows(*parts[0]) + rows(*parts[1])) == rows(whole, labels)
    assert np.bincount(parts[1][1]).min() > 0.15 * np.bincount(labels).min()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train[:90]%", "is no split"),
        ("train[90%]", "is no split"),
        ("train+val", "is no split"),
        ("", "is no split"),
        ("train[:0%]", "no share of the 50 examples"),
        ("train[50:60]", "no share of the 50 examples"),
        ("train[60:]", "no share of the 50 examples"),
        ("train[70%:30%]", "no share of the 50 examples"),
        ("train[:120%]", "no share of the 50 examples"),
        ("trian[:90%]", "Did you mean 'train'"),
    ],
)
@pytest.mark.parametrize("dataset", ["folder", "tfds/pets"])
def test_what_is_no_share_is_told(text, words, dataset, only_train):
    (only_train["folder"] / "more").mkdir(exist_ok=True)
    try:
        with pytest.raises(InputError, match=words):
            pipelines.open_split(dataset, text, data_dir=only_train[dataset])
    except AssertionError:
        assert (dataset, text) == ("tfds/pets", "trian[:90%]")  # whose one split is named anyway
    finally:
        (only_train["folder"] / "more").rmdir()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("train", "train", True),
        ("train", "val", False),
        ("trainval", "test", False),
        ("trainval", "val", True),
        ("train[:90%]", "train[90%:]", False),
        ("train[:90%]", "train[80%:]", True),
        ("train[:90%]", "train[-10%:]", False),
        ("train[:90%]", "train", True),
        ("train[:100]", "train[100:]", False),
        ("train[:100]", "train[99:]", True),
        ("train[-500:]", "train[-1000:]", True),
        ("train[:-500]", "train[-1000:]", True),
        ("train[:-500]", "train[-500:]", False),
        ("train[:5000]", "train[-500:]", False),
        ("train[:100]", "train[90%:]", False),  # not known without the number of examples
    ],
)
def test_overlap(one, other, expected):
    assert splits.overlap(one, other) == splits.overlap(other, one) == expected


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["folder", "tfds/pets"])
def test_the_advice_for_a_set_without_val_is_followed(dataset, only_train, tmp_path, capsys):
    data = (f"--dataset={dataset}", f"--data_dir={only_train[dataset]}")
    run = (*RUN, "--strategy=one_device", f"--workdir={tmp_path / 'run'}")
    arguments = ["train", *run, *data]
    assert train.main(arguments) == 2
    said = capsys.readouterr().err
    advised = [word for word in shlex.split(said.replace("(", " ")) if "_split=" in word]
    assert len(advised) == 2
    assert train.main([*arguments, *advised]) == 0, capsys.readouterr().err
    told = capsys.readouterr()
    assert "train[90%:] error" in told.out
    assert told.err == ""
    assert train.main([*arguments, *advised]) == 0  # its flags are those of the run
    assert "holds a finished run" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    if dataset == "folder":
        found = tmp_path / "run" / "weights.safetensors"
        evaluated_as_advised([f"--weights={found}", *data], capsys)


def evaluated_as_advised(arguments, capsys):
    again = ["evaluate", "--model=resnet8", *arguments]
    assert evaluate.main(again) == 2
    said = capsys.readouterr().err
    (split,) = (word for word in shlex.split(said.replace(")", " ")) if word.startswith("--split"))
    assert evaluate.main([*again, split]) == 0
    assert "/train[90%:]: top-1 error" in (told := capsys.readouterr().out)
    assert "(5 examples" in told


def test_training_and_evaluating_on_the_same_images_is_told(only_train, tmp_path, capsys):
    shares = ("--train_split=train[:90%]", "--eval_split=train")
    data = ("--dataset=folder", f"--data_dir={only_train['folder']}")
    # It stops here, before it trains.
    stop = ("--jit_compile", "--logical_cpus=2", f"--workdir={tmp_path}")
    assert train.main(["train", *RUN, *data, *shares, *stop]) == 2
    warning, _ = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: --eval_split=train has images of --train_split=train[:90%]")


@pytest.mark.parametrize("dataset", ["folder", pytest.param("tfds/pets", marks=pytest.mark.slow)])
def test_a_set_without_val_is_checked_and_shown(dataset, only_train, tmp_path, capsys):
    data = (f"--dataset={dataset}", f"--data_dir={only_train[dataset]}")
    assert command.main(["pipelines", "check", *data]) == 0, capsys.readouterr().out
    assert "problem" not in capsys.readouterr().out.split("No problems")[0]
    sheet = f"--out={tmp_path / 'sheet.png'}"
    shown = (*data, "--split=train[90%:]", "--count=5", "--image_size=16", sheet)
    assert command.main(["pipelines", "preview", *shown]) == 0, capsys.readouterr().err


SAID = "has class folders and no train/ and val/: 80 % of each class is trained on, 20 % is val"


@pytest.fixture(scope="module")
def flat(only_train, tmp_path_factory):
    """Class folders without train/ and val/."""
    root = tmp_path_factory.mktemp("flat") / "pets"
    shutil.copytree(only_train["folder"] / "train", root)
    (root / "notes.txt").write_text("")
    return root


def in_flat(root, split):
    """CLASS/FILE of the examples of a split of class folders."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        source = pipelines.open_split("folder", split, data_dir=root)
    return [name.decode().removeprefix(f"{root}/") for name, _ in listed(source)]


def test_a_fifth_of_each_class_is_held_out(flat, tmp_path):
    assert pipelines.info("folder", flat).num_classes == 2
    with pytest.warns(UserWarning, match=f"pets {SAID}"):
        source = pipelines.open_split("folder", "val", data_dir=flat)
    assert np.bincount([label for _, label in listed(source)]).tolist() == [5, 5]
    train, val, everything = (in_flat(flat, split) for split in ("train", "val", "trainval"))
    assert sorted(train + val) == everything
    assert len(everything) == EXAMPLES
    # For ever, and wherever the folder lies.
    assert [name for name in val if "cats" in name] == HELD_OUT
    assert in_flat(shutil.copytree(flat, tmp_path / "elsewhere"), "val") == val


def test_what_is_held_out_stays_when_images_are_added(flat, tmp_path):
    before = {*in_flat(flat, "val")}
    root = shutil.copytree(flat, tmp_path / "more")
    for number in range(4):
        shutil.copy(root / "cats" / "00.png", root / "cats" / f"new{number}.png")
    after = {*in_flat(root, "val")}
    assert len(before - after) <= 4
    assert len(after) == 11
    assert {name for name in before if "dogs" in name} <= after


def test_every_class_is_on_both_sides():
    assert [sum(splits.held_out([b"%d" % n for n in range(count)])) for count in range(9)] == [
        *(0, 0, 1, 1, 1, 1, 1, 1, 2)
    ]


@pytest.mark.slow
def test_class_folders_are_trained_evaluated_checked_and_shown(flat, tmp_path, capsys):
    data = ("--dataset=folder", f"--data_dir={flat}")
    arguments = ["train", *RUN, *data, f"--workdir={tmp_path / 'run'}"]
    assert train.main(arguments) == 0
    told = capsys.readouterr()
    assert told.err == f"warning: {flat} {SAID}.\n"
    assert "val error" in told.out
    flags = (tmp_path / "run" / "run.flags").read_text().splitlines()
    assert {"--train_split=train", "--eval_split=val"} <= {*flags}
    assert train.main(arguments) == 0
    assert "holds a finished run" in capsys.readouterr().out
    assert evaluate.main(["evaluate", f"--model={tmp_path / 'run'}", *data]) == 0
    said = capsys.readouterr().out
    # Of two classes, the first five guesses are no measure.
    assert "/val: top-1 error" in said
    assert "(10 examples, single_crop)" in said
    assert "top-5" not in said
    assert command.main(["pipelines", "check", f"--data_dir={flat}"]) == 0
    said = capsys.readouterr().out
    assert f"warning: {flat} {SAID}\n" in said
    assert "ok: train: 40 images in 2 classes" in said
    assert "ok: val: 10 images in 2 classes" in said
    assert "with folder in" in said
    sheet = tmp_path / "sheet.png"
    shown = ("--split=val", "--count=5", "--image_size=16", f"--out={sheet}")
    assert command.main(["pipelines", "preview", *data, *shown]) == 0
    assert sheet.exists()


@pytest.mark.parametrize("folders", [["a"], ["a", "hollow"], ["a", "val"]])
def test_other_folders_are_not_taken_for_classes(folders, tmp_path):
    for name in folders:
        (tmp_path / name).mkdir()
        if name != "hollow":
            (tmp_path / name / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match="no folder train/"):
        pipelines.open_split("folder", "train", data_dir=tmp_path)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
