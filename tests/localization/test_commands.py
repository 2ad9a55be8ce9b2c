"""The commands of localization, from training to pictures, on images that are made."""

import json
import re
import types

import object_files
import pytest

from resnet_keras import zoo
from resnet_keras.localization import evaluate, flags, loading, predict, recipe, train
from resnet_keras.pipelines import shapes

SMALL = [
    "--strategy=one_device",
    "--train_split=train[:16]",
    "--eval_split=val[:8]",
    "--batch_size=4",
    "--eval_batch_size=4",
    "--train_steps=2",
    "--eval_every=1",
    "--schedule=step",
    "--warmup_steps=0",
    "--notensorboard",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("localizer") / "run"
    named = "--recipe=localization_resnet10_shapes"
    assert train.main(["train", named, *SMALL, f"--workdir={folder}"]) == 0
    return folder


def told(capsys):
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    return line


def test_a_run_leaves_a_localizer_and_its_errors(trained):
    head, *rows = (trained / "metrics.csv").read_text().splitlines()
    assert len(rows) == 2
    wanted = {"class_loss", "object_loss", "val_localization_error", "val_true_class_error"}
    assert wanted <= set(head.split(","))
    model = loading.load(trained)
    assert (model.class_names, model.scale, model.crop) == (shapes.CLASSES, (64, 64), 56)


@pytest.mark.slow
def test_evaluate_prints_and_writes_the_errors(trained, tmp_path, capsys):
    arguments = ["evaluate", f"--model={trained}", "--dataset=main_shapes", "--split=val[:8]"]
    results = tmp_path / "results.json"
    assert evaluate.main([*arguments, "--top=1", f"--results={results}"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    found = re.match(r"localization error ([\d.]+) % \(top-1\), ([\d.]+) % with the true", line)
    assert found
    (row,) = json.loads(results.read_text())
    assert 100 * row["localization"] == pytest.approx(float(found[1]), abs=0.01)
    assert row["images"] <= 8
    assert row["protocol"] == "dense"


def test_predict_tells_and_draws(trained, tmp_path, capsys):
    import tensorflow as tf

    path = tmp_path / "scene.png"
    path.write_bytes(tf.io.encode_png(shapes.main_example(0, 1200).image).numpy())
    arguments = ["predict", f"--model={trained}", "--json", "--top=2", f"--out={tmp_path / 'out'}"]
    assert predict.main([*arguments, str(path)]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(row["answers"]) == 2
    assert {one["class"] for one in row["answers"]} <= set(shapes.CLASSES)
    assert (tmp_path / "out" / "scene.png").stat().st_size > 1000


@pytest.mark.slow
def test_rcnn_is_trained_on_a_run(trained, tmp_path, capsys):
    arguments = ["train", "--recipe=rcnn_resnet10_shapes", *SMALL, f"--workdir={tmp_path / 'rcnn'}"]
    more = [f"--localizer={trained}", "--side=32", "--proposals=4", "--train_steps=1"]
    assert train.main([*arguments, *more]) == 0
    assert "localization error" in capsys.readouterr().out.splitlines()[-1]
    rcnn = loading.load(tmp_path / "rcnn")
    assert (rcnn.class_names, rcnn.scale, rcnn.crop) == (shapes.CLASSES, (64, 64), 64)
    assert not rcnn.localizer.compiled
    assert "--samples" not in (tmp_path / "rcnn" / "run.flags").read_text()
    again = f"--flagfile={tmp_path / 'rcnn' / 'run.flags'}"
    assert train.main(["train", again, f"--workdir={tmp_path / 'rcnn'}"]) == 0
    assert "holds a finished run" in capsys.readouterr().out
    assert train.main([*arguments[:-1], f"--localizer={tmp_path / 'rcnn'}"]) == 2
    assert "holds an R-CNN" in told(capsys)


def test_a_copy_is_of_the_localizers_precision(trained, tmp_path, capsys):
    arguments = ["train", "--recipe=rcnn_resnet10_shapes", *SMALL, f"--workdir={tmp_path / 'rcnn'}"]
    assert train.main([*arguments, f"--localizer={trained}", "--dtype=mixed_bfloat16"]) == 2
    assert "which is of float32: give --dtype=float32, or a --model" in told(capsys)


def test_a_classifier_of_other_classes_is_told(capsys):
    import keras

    dense = keras.layers.Dense(3)
    dense.build((None, 64))
    model = types.SimpleNamespace(classifier=dense, num_classes=3)
    recipe._take_classifier(model, "resnet20", "digits", None)
    told = "The classifier of 3 classes starts anew: resnet20's weights are of 10 classes."
    assert capsys.readouterr().out.strip() == told


def test_scale_of_an_rcnn_is_the_localizers():
    train.shell.parse(train.FLAGS, ["train", "--localizer=somewhere", "--dataset=voc"])
    first = types.SimpleNamespace(scale=(64, 96))
    assert flags.scale_of(train.FLAGS, first) == (64, 96)
    train.shell.parse(train.FLAGS, ["train", "--localizer=somewhere", "--scale=32,48"])
    assert flags.scale_of(train.FLAGS, first) == (32, 48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=imagenet2012", "--model=resnet18"], "has no boxes: give --dataset=ilsvrc"),
        (["--dataset=ilsvrc", "--model=resnet18"], "Give --data_dir=FOLDER"),
        (["--model=resnet18", "--anchor_sizes=big"], "--anchor_sizes are numbers, not big"),
        ([], "Give --model=NETWORK, or --localizer=RUN"),
        (["--localizer=nowhere"], "There is no localizer nowhere"),
        (["--localizer=nowhere", "--weights=imagenet"], "--weights are of a --model"),
        (
            ["--localizer=nowhere", "--top=5", "--samples=8"],
            "--samples and --top: with --localizer",
        ),
        (["--model=resnet18", "--freeze=conv2"], "--freeze is for backbones with --weights"),
        (["--model=resnet10_shapes", "--dataset=shapes", "--eval_split=val[77:78]"], "None of the"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys, tmp_path):
    common = ["train", "--batch_size=2", "--strategy=one_device", f"--workdir={tmp_path / 'x'}"]
    assert train.main([*common, *arguments]) == 2
    assert message in told(capsys)


def test_faults_of_ilsvrcs_files_are_one_sentence(tmp_path, capsys):
    root = tmp_path / "ILSVRC"
    for part in ("train/n01/a", "val/b"):
        boxes, image = (root / top / f"CLS-LOC/{part}" for top in ("Annotations", "Data"))
        for path in (boxes, image):
            path.parent.mkdir(parents=True)
        boxes.with_suffix(".xml").write_text(
            object_files.voc_xml("a", (40, 40), [("n01", (1, 1, 9, 9), 0)])
        )
        image.with_suffix(".JPEG").write_bytes(object_files.png(0, 40, 40))
    file = root / "Annotations/CLS-LOC/val/b.xml"
    arguments = ["train", "--model=resnet10_shapes", "--dataset=ilsvrc", f"--data_dir={root}"]
    for text, message in (
        ("<annotation>", "b.xml is not valid XML"),
        (object_files.voc_xml("b", (40, 40), []), "b.xml has no object"),
        (object_files.voc_xml("b", (40, 40), [("n01", (9, 9, 1, 1), 0)]), "is inverted"),
        (None, "There is no XML file in"),
    ):
        file.unlink() if text is None else file.write_text(text)
        assert train.main([*arguments, f"--workdir={tmp_path / 'run'}"]) == 2
        assert message in told(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", zoo.recipes.names("localization"))
def test_recipes_are_whole(name):
    text = zoo.recipes.path(name, "localization").read_text()
    header = text[: text.index("\n--")]
    assert f"--recipe={name}" in header
    for word in ("Hardware", "esult" if "shapes" in name else "not measured"):
        assert word in header
    train.FLAGS.unparse_flags()
    more = ["--localizer=somewhere"] if name.startswith("rcnn") else []
    train.shell.parse(train.FLAGS, ["train", f"--recipe={name}", *more])
    flags.check_train(train.FLAGS)
    if name.endswith("imagenet"):  # what the paper says
        values = train.FLAGS
        assert (values.batch_size, values.crop, values.samples, values.top) == (256, 224, 8, 5)
        assert flags.scale_of(values) == (256, 512)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
