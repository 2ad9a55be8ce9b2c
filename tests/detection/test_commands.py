"""The commands of detection, from training to pictures, on images that are made."""

import functools
import json
import re
import shutil
import sys

import numpy as np
import object_files
import pytest

from resnet_keras import export, zoo
from resnet_keras.detection import evaluate, loading, predict, train
from resnet_keras.pipelines import shapes

# As little as shows everything: a few steps, and samples for tens of RoIs.
SMALL = [
    "--recipe=fasterrcnn_shapes",
    "--strategy=one_device",
    "--train_split=train[:32]",
    "--eval_split=val[:8]",
    "--batch_size=4",
    "--eval_batch_size=4",
    "--settings=proposals=32/16,proposals_before=64/32,roi_samples=8,rpn_samples=16",
    "--schedule=step",
    "--warmup_steps=0",
    "--eval_every=2",
    "--notensorboard",
]


def run(workdir, *more):
    return train.main(["train", *SMALL, f"--workdir={workdir}", *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector") / "run"
    assert run(folder, "--train_steps=4") == 0
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    import tensorflow as tf

    path = tmp_path_factory.mktemp("images") / "scene.png"
    example = next(iter(shapes.examples("test")))
    path.write_bytes(tf.io.encode_png(example.image).numpy())
    return path


def test_a_run_leaves_a_detector_and_its_measures(trained):
    rows = (trained / "metrics.csv").read_text().splitlines()
    assert len(rows) == 3
    assert {"val_ap", "val_ap50", "rpn_class_loss", "box_loss"} <= set(rows[0].split(","))
    model = loading.load(trained)
    assert model.class_names == ("circle", "square", "triangle")
    assert model.scale == (128, 128)


@pytest.mark.slow
def test_a_longer_run_is_the_same_as_one_begun_so(trained, tmp_path):
    assert run(tmp_path / "whole", "--train_steps=6") == 0
    shutil.copytree(trained, tmp_path / "longer")
    assert run(tmp_path / "longer", "--train_steps=6") == 0
    for one, other in zip(
        loading.load(tmp_path / "longer", "last").weights,
        loading.load(tmp_path / "whole", "last").weights,
        strict=True,
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_a_folder_is_one_runs(trained, capsys):
    before = (trained / "metrics.csv").read_bytes()
    assert run(trained, "--train_steps=4") == 0
    assert "holds a finished run" in capsys.readouterr().out
    assert run(trained, "--train_steps=4", "--learning_rate=0.5") == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    assert "--learning_rate=0.5" in line
    assert (trained / "metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_evaluations_that_do_not_divide_a_run(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(folder, "--train_steps=3") == 0
    rows = (folder / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["2", "3"]
    assert run(folder, "--train_steps=6") == 2
    assert "no evaluation at step 3" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cosine_is_as_long_as_it_was_begun(tmp_path, capsys):
    arguments = ["--schedule=cosine", f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *SMALL, *arguments, "--train_steps=2"]) == 0
    assert train.main(["train", *SMALL, *arguments, "--train_steps=4"]) == 2
    error = capsys.readouterr().err
    assert "cannot be made longer" in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_stages_are_frozen(tmp_path, capsys):
    model = zoo.get("resnet10_shapes", num_classes=3)
    file = tmp_path / "backbone.safetensors"
    zoo.weights.save(file, model)
    given = [f"--weights={file}", "--train_steps=2"]
    assert run(tmp_path / "other", *given, "--freeze=conv9") == 2
    assert "Unknown stage" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert run(tmp_path / "run", *given, "--freeze=conv3") == 0
    after = {v.path.split("/", 1)[-1]: v for v in loading.load(tmp_path / "run").backbone.weights}
    for variable in model.weights:
        name = variable.path.split("/", 1)[-1]
        if name.endswith("kernel") and not name.startswith("logits"):
            same = np.array_equal(variable, after[name])
            assert same == (name < "conv4"), name


def test_a_run_is_evaluated(trained, capsys):
    arguments = [f"--model={trained}", "--dataset=shapes", "--split=val[:8]", "--per_class"]
    assert evaluate.main(["evaluate", *arguments]) == 0
    said = capsys.readouterr().out
    assert "COCO: ap 0." in said
    assert "11 points (07)" in said
    assert "| triangle |" in said


def test_objects_are_found_and_drawn(trained, image, tmp_path, capsys):
    out = tmp_path / "drawn"
    arguments = [f"--model={trained}", "--json", "--threshold=0", f"--out={out}", str(image)]
    assert predict.main(["predict", *arguments]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    objects = json.loads(line)["objects"]
    assert objects
    for found in objects:
        x1, y1, x2, y2 = found["box"]
        assert 0 <= x1 < x2 <= 128
        assert 0 <= y1 < y2 <= 128
        assert found["class"] in ("circle", "square", "triangle")
    assert (out / "scene.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_new_process_asks_the_detector(trained, image, command):
    arguments = (f"--model={trained}", "--json", "--threshold=0", str(image))
    done = command("detection.predict", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["objects"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset=shape"], "Did you mean 'shapes'?"),
        (["--dataset=imagenet2012"], "data set of images with boxes"),
        (["--recipe=fasterrcnn_shape"], "Did you mean 'fasterrcnn_shapes'?"),
        (["--settings=roi_sample=3"], "Did you mean 'roi_samples'?"),
        (["--settings=roi_samples=few"], "NAME=NUMBER"),
        (["--anchor_sizes=a,b"], "--anchor_sizes are numbers"),
        (["--scale=600"], "--scale is the shorter side"),
        (["--boundaries=5", "--schedule=cosine"], "--schedule=step"),
        (["--box_head=convolutions"], "--box_head is for --neck=fpn"),
        (["--strategy=multi_worker"], "TF_CONFIG"),
        (["--cluster=slurm"], "--cluster=slurm is for --strategy=multi_worker"),
        (["--logical_cpus=3", "--batch_size=4"], "split equally among 3 replicas"),
        (["--jit_compile"], "take --strategy=one_device"),
        (["--freeze=conv2"], "--freeze is for backbones with --weights"),
        (["--model=resnet5"], "resnet5"),
        (["--dataset=coco"], "data_dir"),
        (["--neck=fpn", "--anchor_sizes=32,64", "--model=resnet18"], "5 level(s)"),
    ],
)
def test_mistakes_in_training_are_told_in_one_sentence(arguments, words, tmp_path, capsys):
    assert train.main(["train", f"--workdir={tmp_path / 'run'}", *arguments]) == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error: "))
    assert words in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_faults_of_the_data_are_told_in_one_sentence(form, tmp_path, capsys):
    root = getattr(object_files, f"write_{form}")(tmp_path / "mine")
    if form == "coco":
        content = object_files.coco_content()
        content["annotations"][0].update(bbox=[10, 10, -5, 5])
        object_files.rewrite_coco(root, content)
        told = r"instances_train.json: annotation 100: the box .* is inverted"
    else:
        (root / "Annotations" / "a.xml").write_text("<annotation><object>")
        told = r"a\.xml"
    arguments = [f"--dataset={form}", f"--data_dir={root}", f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    (line,) = (x for x in error.splitlines() if x.startswith("error: "))
    assert re.search(told, line)
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_other_mistakes_are_told_in_one_sentence(trained, image, tmp_path, capsys):
    def told(command, *arguments):
        assert command.main(["command", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "There is no detector" in told(predict, "--model=nothing", image)
    assert "no folder of a detector's run" in told(predict, f"--model={tmp_path}", image)
    assert "Give --model=RUN" in told(predict, image)
    assert "no .keras file" in told(evaluate, f"--model={image}", "--dataset=shapes")
    other = tmp_path / image.name
    other.write_bytes(image.read_bytes())
    out = tmp_path / "drawn"
    both = told(predict, f"--model={trained}", f"--out={out}", image, other)
    assert "would be drawn into one file" in both
    assert "would overwrite" in told(predict, f"--model={trained}", f"--out={tmp_path}", other)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The run as a file of another runtime, by its format."""

    @functools.cache
    def written(format):
        folder = tmp_path_factory.mktemp("exported") / format
        sides = () if format == "savedmodel" else ("--sides=128,128",)
        assert (
            export.main(["export", str(trained), f"--format={format}", f"--out={folder}", *sides])
            == 0
        )
        return folder

    return written


@pytest.mark.parametrize(
    "format",
    ["savedmodel", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("litert", "onnx"))],
)
def test_an_exported_detector_in_place_of_the_run(
    format, exported, trained, image, tmp_path, capsys
):
    """Of images of that size, which need no padding, all answers are the network's."""
    measured, told = [], []
    for model in (trained, exported(format)):
        capsys.readouterr()
        results = tmp_path / f"{len(measured)}.json"
        data = ("--dataset=shapes", "--split=val[:8]", f"--results={results}")
        assert evaluate.main(["evaluate", f"--model={model}", *data]) == 0, capsys.readouterr().err
        (row,) = json.loads(results.read_text())
        measured.append({name: row[name] for name in ("scale", "coco", "voc07", "per_class")})
        capsys.readouterr()
        asked = ("--json", "--threshold=0.05", str(image))
        assert predict.main(["predict", f"--model={model}", *asked]) == 0
        told.append(json.loads(capsys.readouterr().out)["objects"])
    assert measured[0]["scale"] == [128, 128]
    assert measured[0] == measured[1]
    assert len(told[0]) == len(told[1]) > 0
    for one, other in zip(*told, strict=True):
        assert one["class"] == other["class"]
        np.testing.assert_allclose(one["box"], other["box"], atol=0.2)


@pytest.mark.slow
def test_images_too_large_for_an_exported_detector_are_told(exported, image, tmp_path, capsys):
    folder = exported("onnx")
    larger = ("--scale=192,192",)
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:200])
    assert predict.main(["predict", f"--model={folder}", *larger, str(broken), str(image)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {image}: {folder} takes images of 128 x 128 pixels, and one is")
    assert f"1 of 2 images cannot be decoded as JPEG, PNG or WebP: {broken}." in said
    assert "at 192 x 192: give a smaller --scale," in said
    smaller = ("--scale=96,96", "--json", "--threshold=0.05")
    assert predict.main(["predict", f"--model={folder}", *smaller, str(image)]) == 0
    data = ("--dataset=shapes", "--split=val[:2]", *larger)
    assert evaluate.main(["evaluate", f"--model={folder}", *data]) == 2
    assert "takes images of 128 x 128 pixels" in capsys.readouterr().err


def test_what_an_exported_detector_is_not_asked(exported, trained, image, tmp_path, capsys):
    folder = exported("savedmodel")
    data = ("--dataset=shapes", "--split=val[:4]")
    for flag in ("--refine", "--protocol=paper_multi_scale", "--score_threshold=0.1"):
        assert evaluate.main(["evaluate", f"--model={folder}", *data, flag]) == 2
        assert f"leave {flag.split('=')[0]} out" in capsys.readouterr().err
    assert evaluate.main(["evaluate", f"--ensemble={trained},{folder}", *data]) == 2
    assert "leave --ensemble out" in capsys.readouterr().err
    assert (
        export.main(
            [
                "export",
                "resnet20",
                "--weights=digits",
                "--format=savedmodel",
                f"--out={tmp_path / 'x'}",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert predict.main(["predict", f"--model={tmp_path / 'x'}", str(image)]) == 2
    assert "is an exported model for classification, and detects nothing" in capsys.readouterr().err


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
