"""The commands of segmentation, from training to masks, on images that are made."""

import json
import sys

import mask_files
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import zoo
from resnet_keras.pipelines import png, shapes
from resnet_keras.segmentation import evaluate, flags, loading, predict, train

# As little as shows everything: a few steps of a few small crops.
SMALL = [
    "--recipe=fcn_resnet10_shapes",
    "--strategy=one_device",
    "--train_split=train[:16]",
    "--eval_split=val[:4]",
    "--crop_size=64",
    "--batch_size=4",
    "--eval_batch_size=4",
    "--warmup_steps=0",
    "--eval_every=2",
    "--notensorboard",
]
CLASSES = ("background", *shapes.CLASSES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter") / "run"
    arguments = [*SMALL, "--auxiliary", "--train_steps=4", f"--workdir={folder}"]
    assert train.main(["train", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "scene.png"
    path.write_bytes(tf.io.encode_png(shapes.examples("test[:1]")[0].image).numpy())
    return path


def test_a_run_leaves_a_segmenter_and_its_measures(trained):
    header, *rows = (trained / "metrics.csv").read_text().splitlines()
    assert len(rows) == 2
    assert {"loss", "miou", "val_loss", "val_miou", "val_pixel_accuracy"} <= set(header.split(","))
    model, names = loading.load(trained)
    assert names == CLASSES
    assert model.output_shape == (None, None, None, 4)  # without the auxiliary output


def test_a_run_is_evaluated(trained, command, capsys):
    arguments = [f"--model={trained}", "--dataset=shapes", "--split=val[:4]", "--per_class"]
    # In a process that has not imported what the file names.
    done = command("segmentation.evaluate", *arguments, "--batch_size=4")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "(own size)" in said
    assert "| triangle |" in said
    mean = float(said.split("mean IoU ")[1].split(",")[0])
    last = (trained / "metrics.csv").read_text().splitlines()
    best = max(float(row.split(",")[last[0].split(",").index("val_miou")]) for row in last[1:])
    assert mean == pytest.approx(best, abs=1e-3)
    looks = ["--scales=0.5,1", "--mirrored"]
    assert evaluate.main(["evaluate", *arguments[:2], "--split=val[:1]", *looks]) == 0
    assert "(scales 0.5, 1, mirrored too)" in capsys.readouterr().out


def test_masks_and_overlays_are_written(trained, image, tmp_path, capsys):
    out = tmp_path / "masks"
    arguments = [f"--model={trained}", "--json", f"--out={out}", str(image)]
    assert predict.main(["predict", *arguments]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    shares = json.loads(line)["classes"]
    assert set(shares) <= set(CLASSES)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    labels = png.labels((out / "scene.png").read_bytes(), "scene.png").numpy()
    assert labels.shape == (128, 128)
    for number, name in enumerate(CLASSES):
        assert shares.get(name, 0) == pytest.approx((labels == number).mean(), abs=1e-3)
    drawn = tf.io.decode_png((out / "scene_overlay.png").read_bytes()).numpy()
    pixels = tf.io.decode_png(image.read_bytes()).numpy()
    np.testing.assert_array_equal(drawn, png.overlay(pixels, labels))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset=shape"], "Did you mean 'shapes'?"),
        (["--dataset=imagenet2012"], "data set of images with masks"),
        (["--dataset=tfds/voc/2012"], "--dataset=voc and --data_dir=FOLDER"),
        (["--recipe=fcn_resnet10_shape"], "Did you mean 'fcn_resnet10_shapes'?"),
        (["--scale=600"], "--scale is the shorter side"),
        (["--scales=2,1"], "--scales are positive and increase"),
        (["--scales=a"], "--scales are two numbers"),
        (["--crop_size=1,2,3"], "--crop_size is a side"),
        (["--boundaries=5"], "--schedule=step"),
        (["--warmup_steps=1000"], "Polynomial decay needs more steps"),
        (["--head=fcm"], "fcn, deeplabv3"),
        (["--strategy=multi_worker"], "mirrored, one_device"),
        (["--freeze=conv2"], "--freeze is for backbones with --weights"),
        (["--model=resnet5"], "resnet5"),
        (["--dataset=folder"], "--data_dir=FOLDER"),
        (["--output_stride=5", "--model=resnet10_shapes"], "output_stride"),
        (["--skip=conv9", "--model=resnet10_shapes"], "conv9"),
    ],
)
def test_mistakes_in_training_are_told_in_one_sentence(arguments, words, tmp_path, capsys):
    assert train.main(["train", f"--workdir={tmp_path / 'run'}", *arguments]) == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    assert words in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png.encode(np.zeros([9, 9])), "is not 9 pixels wide and 9 high, as its mask"),
        (None, "the mask is missing"),
    ],
)
def test_faulty_masks_are_told_in_one_sentence(content, words, tmp_path, capsys):
    root = mask_files.write_folder(tmp_path / "own")
    path = root / "masks/a.png"
    path.unlink() if content is None else path.write_bytes(content)
    arguments = [*SMALL[1:2], *SMALL[4:7], "--recipe=fcn_resnet10_shapes", "--train_steps=2"]
    own = ["--dataset=folder", f"--data_dir={root}", "--train_split=trainval"]
    own += ["--eval_split=trainval", f"--workdir={tmp_path / 'run'}", "--warmup_steps=0"]
    assert train.main(["train", *arguments, *own]) == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    assert words in line
    assert "a.png" in line


def test_other_mistakes_are_told_in_one_sentence(trained, image, tmp_path, capsys):
    def told(command, *arguments):
        assert command.main(["command", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "There is no segmenter" in told(predict, "--model=nothing", image)
    assert "no folder of a segmenter's run" in told(predict, f"--model={tmp_path}", image)
    assert "Give --model=RUN" in told(predict, image)
    assert "no .keras file" in told(evaluate, f"--model={image}", "--dataset=shapes")
    root = mask_files.write_folder(tmp_path / "own")
    other = told(evaluate, f"--model={trained}", "--dataset=folder", f"--data_dir={root}")
    assert "tells 4 classes, and folder has 3: ground, cup, plate" in other
    (root / "classes.txt").write_text("background\ncircle\ntriangle\nsquare\n")
    other = told(evaluate, f"--model={trained}", "--dataset=folder", f"--data_dir={root}")
    assert "Label 2 is 'square' to" in other
    assert "and 'triangle' in folder" in other
    assert "positive factors" in told(predict, f"--model={trained}", "--scales=0", image)
    twin = tmp_path / image.name
    twin.write_bytes(image.read_bytes())
    both = told(predict, f"--model={trained}", f"--out={tmp_path / 'out'}", image, twin)
    assert "would write one file" in both
    assert "would overwrite" in told(predict, f"--model={trained}", f"--out={tmp_path}", twin)


@pytest.mark.parametrize("name", zoo.recipes.names("segmentation"))
def test_recipes_are_taken_and_say_what_they_are(name):
    values = flags.train_flags()
    values(["train", f"--flagfile={zoo.recipes.path(name, 'segmentation')}"])
    flags.check_train(values)
    text = zoo.recipes.path(name, "segmentation").read_text()
    for word in (f"segmentation.train --recipe={name}", "Hardware", "Time", "Result", "measured"):
        assert word in text


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
