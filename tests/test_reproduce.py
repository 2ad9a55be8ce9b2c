"""The command that runs an experiment and puts the paper's numbers beside what it measures."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch_names
import torture

from resnet_keras import reproduce, train, zoo
from resnet_keras import responses as moved
from resnet_keras.reproduction import experiments
from resnet_keras.zoo import pages

TINY = (
    *("--train_steps=4", "--eval_every=2", "--checkpoint_every=1", "--warmup_steps=0"),
    *("--batch_size=8", "--image_size=8", "--notensorboard"),
)
ONE = ("--depths=20", "--seeds=0")
NAMED = "_depths20_seeds0"


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs the command in a folder of the test; returns status, output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = reproduce.main(["reproduce", *map(str, arguments)])
        return status, *capfd.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name an experiment before the flags: degradation, shortcuts"),
        (("degradatoin",), "Did you mean 'degradation'?"),
        (("depth", "--dataset=cifar"), "Did you mean 'cifar10'?"),
        (("imagenet", "--dataset=digits"), "Choose one of imagenet2012, folder"),
        (("depth", "--depths=20,x"), "--depths is a list of whole numbers"),
        (("depth", "--depths=21"), "6n+2"),
        (("depth", "--depths=50"), "resnet50 is a network for ImageNet"),
        (("depth", "--depths=26"), "no recipe for resnet26 on digits"),
        (("depth", "--out=table.md"), "--out is a path without suffix"),
        (("depth", "--out=.."), "--out is a path without suffix"),
        (("depth", "--depths=1202"), "no recipe for resnet1202 on digits: it has 20, 32, 44, 56"),
        (("depth", "--norun", "--", "--model_size=3"), "Unknown flag --model_size"),
        (("depth", "--norun", "--", "--seed=5"), "--seed after -- would make other runs"),
        (("depth", "--norun", "--", "--recipe=resnet20_digits"), "--recipe after -- would make"),
        (("depth", "--norun", "--", "--help"), "--help after -- would make"),
        (("depth", "--", "--train_steps=40"), "not --train_steps=40 with --warmup_steps=45"),
        (("depth", "--trained=runs"), "--trained is no flag of depth"),
        (("imagenet", "--seeds=1"), "--seeds is no flag of imagenet"),
        (("imagenet", "--norun", "--", "--protocol=ten_crop"), "--protocol after -- would make"),
        (("imagenet", "--norun", "--weights=digits"), "No network of Tables 2 to 5 has weights"),
        (("imagenet", "--norun", "--trained=nowhere"), "There is no folder nowhere"),
        (("detection", "--depths=20"), "--depths is no flag of detection"),
        (("detection", "--dataset=digits"), "Unknown data set of detection: 'digits'"),
        (("detection", "--norun", "--", "--refine"), "--refine after -- would make other runs"),
        (("detection", "--norun", "--", "--shortcut=A"), "Unknown flag --shortcut"),
        (("detection", "--", "--train_steps=10"), "--warmup_steps=20"),
        (("responses", "nowhere"), "There is no folder nowhere"),
        (("responses", "nowhere", "--seeds=1"), "responses RUN... takes no flag but --data_dir"),
        (("responses", "nowhere", "--", "--seed=1"), "takes no flag but --data_dir"),
        (("gradients", "--depths=18"), "plain18 is a network for ImageNet: depths are 8, 14, 20"),
        (("gradients", "--norun", "--", "--seed=1"), "trains nothing: no flags stand after --"),
        (("gradients", "--workers=2"), "--workers is no flag of gradients"),
        (("depth", "nowhere"), "Unexpected argument 'nowhere'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_the_scales_of_the_flag_are_the_experiments():
    assert tuple(reproduce.FLAGS["scale"].parser.enum_values) == experiments.SCALES


def test_the_former_name_of_responses_says_where_it_went(capsys):
    assert moved.main(["responses", "runs/a b", "--data_dir=x"]) == 2
    said = capsys.readouterr()
    command = "python -m resnet_keras.reproduce responses 'runs/a b' --data_dir=x"
    assert (said.out, said.err) == ("", f"error: This command is now {command}\n")


# A few steps, and samples for tens of RoIs.
TINY_DETECTOR = (
    *("--train_steps=4", "--eval_every=2", "--warmup_steps=0", "--batch_size=4"),
    *("--eval_batch_size=4", "--train_split=train[:32]", "--eval_split=val[:8]"),
    "--settings=proposals=32/16,proposals_before=64/32,roi_samples=8,rpn_samples=16",
    "--notensorboard",
)


@pytest.mark.slow
def test_detectors_are_trained_and_measured_once(run, tmp_path):
    """Two seeds of everything for a few steps, to the ensemble and the figure."""
    arguments = ("detection", "--scale=quick", "--seeds=0,1", "--", *TINY_DETECTOR)
    status, out, err = run(*arguments)
    assert status == 0, err
    assert "6 run(s), 0 of them finished before" in out
    folder = tmp_path / "reproduced"
    result = json.loads((folder / "detection_shapes_quick_seeds0-1.json").read_text())
    assert (folder / "detection_shapes_quick_seeds0-1.png").read_bytes()[1:4] == b"PNG"
    rows = result["measurements"]
    assert len(rows) == 6 + 3 * 2 + 1  # runs, three improvements of each seed, the ensemble
    assert {row["images"] for row in rows} == {8}
    assert {(row["parameters"], row["multiply_adds"]) for row in rows} == {
        (307_536, 64_684_032),
        (296_336, 63_111_168),
    }
    # The last evaluation of the training sees what is measured without improvements.
    for row in rows[:6]:
        last = torture.rows(folder / "shapes_quick" / "runs" / row["runs"][0])[-1]
        assert row["ap"] == pytest.approx(float(last["val_ap"]), abs=1e-4)
    *_, ensemble = rows
    assert [len(ensemble["runs"]), ensemble["refine"], len(ensemble["scales"])] == [2, True, 5]
    assert result["command"].startswith(
        "python -m resnet_keras.reproduce detection --scale=quick --seeds=0,1 -- "
    )

    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "6 run(s), 6 of them finished before" in out
    assert "measurement(s)" not in out  # nor trained: nothing starts TensorFlow
    again = json.loads((folder / "detection_shapes_quick_seeds0-1.json").read_text())
    assert again == result


def test_what_was_not_run_is_told_beside_the_paper(run, tmp_path):
    for task in ("degradation", "shortcuts", "responses", "families", "lesion", "depth"):
        status, out, err = run(task, "--dataset=cifar10", "--norun")
        assert (status, err) == (0, "")
        assert " | not run |" in out
        assert (tmp_path / "reproduced" / f"{task}_cifar10.png").read_bytes()[1:4] == b"PNG"
    assert "| resnet110 | 1.7M | 6.43 (best of 5; 6.61 +- 0.16) | 6.32 | not run |" in out
    status, out, err = run("detection", "--norun")
    assert (status, err) == (0, "")
    assert "| plain10_shapes | not run | not run | VGG-16 | 73.2 / 70.4 | 41.5 / 21.2 |" in out
    assert "| + context | 51.1 / 30.0 (val) | 0 | not run |" in out
    assert "| resnet10_shapes-2500-seed2 | not run |" in out
    status, out, err = run("detection", "--norun", "--", "--train_steps=2000")
    assert (status, err) == (0, "")
    assert "9 run(s), 0 of them finished before" in out  # all are as long
    status, out, err = run("imagenet", "--norun", "--out=tables/imagenet")
    assert (status, err) == (0, "")
    assert "| resnet50 | B | 20.74 | 5.25 | not run | not run | keras_in1k |" in out
    assert "| resnet34 | C | 21.53 | 5.60 | not run | not run | not run |" in out
    assert "| the paper's six networks, test server | not given | 3.57 |" in out
    assert (tmp_path / "tables" / "imagenet.md").read_text().startswith("# imagenet, imagenet2012")
    title, picture, *rest = pages.experiment(tmp_path / "tables" / "imagenet.json")
    assert title == "### Imagenet on imagenet2012"
    assert picture == "![imagenet on imagenet2012](zoo/experiments/imagenet.png)"
    assert any("| resnet50 | B | 20.74 | 5.25 | not run" in part for part in rest)
    assert "    python -m resnet_keras.reproduce imagenet" in rest


def test_an_experiment_trains_what_it_needs_once(run, tmp_path):
    """ResNet-20 for a few steps: really trained, told of, and used again."""
    status, out, err = run("depth", *ONE, "--", *TINY)
    assert (status, err) == (0, "")
    assert "[resnet20-seed0] test error " in out
    folder = tmp_path / "reproduced"
    (row,) = torture.rows(folder / "digits_paper" / "runs" / "resnet20-seed0")[-1:]
    shown = f" {100 * float(row['val_top1_error']):.2f} |"
    assert shown in (folder / f"depth_digits{NAMED}.md").read_text()

    status, out, err = run("depth", *ONE, "--", *TINY)
    assert (status, err) == (0, "")
    assert "1 run(s), 1 of them finished before" in out

    status, out, err = run("depth", *ONE, "--", *TINY, "--learning_rate=0.2")
    assert status == 2
    assert "--learning_rate=0.1 there, --learning_rate=0.2 here. Choose another folder." in err
    status, out, err = run("depth", *ONE, "--norun", "--", *TINY, "--eval_split=val")
    assert status == 2
    assert "--eval_split=test there, --eval_split=val here" in err


@pytest.mark.slow
def test_experiments_share_what_they_train(run, tmp_path):
    """Plain-20 and ResNet-20 for a few steps: really trained, told of, and used again."""
    folder = tmp_path / "reproduced" / "digits_paper" / "runs"
    status, out, err = run("responses", *ONE, "--workers=2", "--", *TINY)
    assert (status, err) == (0, "")
    for member in ("plain20-seed0", "resnet20-seed0"):
        assert f"[{member}] test error " in out
        assert (folder / member / "weights.safetensors").exists()
    result = json.loads((tmp_path / "reproduced" / f"responses_digits{NAMED}.json").read_text())
    deviations = result["deviations"]
    assert {group: len(run) for group, (run,) in deviations.items()} == {
        "plain20": 19,
        "resnet20": 19,
    }
    assert all(value > 0 for (run,) in deviations.values() for value in run.values())
    assert result["command"] == (
        "python -m resnet_keras.reproduce responses --depths=20 --seeds=0 --workers=2 -- "
        + " ".join(TINY)
    )
    assert result["versions"]["keras"]

    status, out, err = run("responses", *ONE, "--norun", "--", *TINY)
    assert (status, err) == (0, "")
    again = json.loads((tmp_path / "reproduced" / f"responses_digits{NAMED}.json").read_text())
    assert again["deviations"] == deviations

    status, out, err = run("degradation", "--depths=20,20", "--seeds=0,0", "--", *TINY)
    assert (status, err) == (0, "")
    assert "2 run(s), 2 of them finished before" in out
    last = torture.rows(folder / "plain20-seed0")[-1]
    table = (tmp_path / "reproduced" / f"degradation_digits{NAMED}.md").read_text()
    training, test = (100 * float(last[name]) for name in ("top1_error", "val_top1_error"))
    assert f"| plain20 | about 9 | {training:.2f} | {test:.2f} | {test:.2f} |" in table

    (path,) = (tmp_path / "reproduced").glob("degradation_*.json")
    title, *_, runs, command, versions = pages.experiment(path)
    assert title == f"### Degradation on digits, {' '.join(TINY)}"
    assert "| resnet20-seed0 | finished | 4 |" in runs
    assert command.endswith(f" -- {' '.join(TINY)}")
    assert re.match(r"With resnet_keras \d.*, tensorflow \d", versions)


@pytest.mark.slow
def test_a_stopped_experiment_goes_on_to_the_same_bits(tmp_path):
    arguments = ["shortcuts", "--seeds=0", "--depths=20", "--", *TINY, "--train_steps=60"]
    arguments += ["--eval_every=30", "--checkpoint_every=10"]
    command = [sys.executable, "-m", "resnet_keras.reproduce", *arguments]
    env = {**torture.os.environ, "PYTHONPATH": str(torture.ROOT)}

    def start(cwd):
        cwd.mkdir(exist_ok=True)
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    stopped = start(tmp_path / "stopped")
    runs = tmp_path / "stopped" / "reproduced" / "digits_paper" / "runs"
    while stopped.poll() is None and not torture.checkpoints(runs / "resnet20-B-seed0"):
        time.sleep(0.01)
    stopped.send_signal(signal.SIGTERM)
    out, _ = stopped.communicate(timeout=120)
    assert stopped.returncode == 75, out
    assert "stopped by SIGTERM" in out
    assert not (runs / "resnet20-C-seed0").exists()
    assert not (
        tmp_path / "stopped" / "reproduced" / "shortcuts_digits_depths20_seeds0.png"
    ).exists()
    again = start(tmp_path / "stopped")
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0, out
    assert "3 run(s), 1 of them finished before" in out
    assert "[resnet20-B-seed0] going on from the checkpoint of step" in out
    flags = arguments[arguments.index("--") + 1 :]
    straight = ("--recipe=resnet20_digits", "--shortcut=B", "--seed=0", *flags)
    torture.run_to_end(tmp_path / "straight", torture.Run("train", straight))
    assert torture.differences(tmp_path / "straight", runs / "resnet20-B-seed0") == []


@pytest.mark.slow
def test_quick_runs_show_degradation(run, tmp_path):
    """Plain-56 trains far worse than plain-20 in 300 iterations, ResNet-56 as ResNet-20 does."""
    status, out, err = run("degradation", "--scale=quick", "--workers=2")
    assert (status, err) == (0, "")
    result = json.loads((tmp_path / "reproduced" / "degradation_digits_quick.json").read_text())
    ends = {name: curve["training"][-1] for name, curve in result["curves"].items()}
    assert ends["plain56-seed0"] > ends["plain20-seed0"] + 0.3
    assert ends["resnet56-seed0"] < ends["resnet20-seed0"] + 0.05
    assert "| plain56 | about 13 |" in out


@pytest.mark.slow
def test_a_run_that_fails_is_told_and_the_others_are_made(run, tmp_path):
    """A weight decay like this one ends in weights that are no numbers."""
    flags = ("--weight_decay=1e30", "--learning_rate=1e30")
    status, out, err = run("depth", "--depths=20", "--seeds=0,1", "--", *TINY, *flags)
    assert status == 1
    assert "error: 2 run(s) failed" in err
    assert "resnet20-seed0 (status 2), resnet20-seed1 (status 2)" in err
    log = "reproduced/digits_paper/runs/resnet20-seed0.log"
    assert f"what they printed is in {log}, " in err
    assert "error: " in (tmp_path / log).read_text()
    assert "| resnet20-seed0 | failed " in out
    assert "| resnet20 | 0.27M | 8.75 | not run |" in out
    assert (tmp_path / "reproduced" / "depth_digits_depths20_seeds0-1.png").exists()


def photograph_weights(folder, photographs, name, model, *more):
    """Trains a network on the photographs for a step, as `train` does."""
    arguments = [
        *(f"--model={model}", "--dataset=folder", f"--data_dir={photographs}", "--image_size=32"),
        *("--batch_size=4", "--train_steps=1", "--eval_every=1", "--eval_batch_size=12", *more),
        *("--notensorboard", "--strategy=one_device", f"--workdir={folder / name}"),
    ]
    assert train.main(["train", *arguments]) == 0


def results(folder, name):
    (path,) = folder.glob(f"reproduced/folder_*/runs/{name}-*.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_imagenet_measures_trained_networks(run, tmp_path, photographs):
    photograph_weights(tmp_path / "own", photographs, "a", "resnet18", "--shortcut=A")
    arguments = (
        *("imagenet", "--dataset=folder", f"--data_dir={photographs}", "--trained=own"),
        "--scale=quick",
    )
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert re.search(r"\[resnet18-A-single_crop-\w{8}\] resnet18 with weights", out)
    (line,) = (line for line in out.splitlines() if line.startswith("| resnet18 | A |"))
    cells = line.strip("| ").split(" | ")
    assert cells[2:4] == ["not given", "not given"]
    assert cells[-1] == "a"
    (row,) = results(tmp_path, "resnet18-A-single_crop")
    assert (row["protocol"], row["examples"]) == ("single_crop", 12)
    assert cells[4:6] == [f"{100 * row['top1_error']:.2f}", "not given"]  # of two classes
    status, out, _ = run(*arguments)
    assert (status, out.splitlines()[0]) == (0, "1 run(s), 1 of them finished before")
    status, out, _ = run(*arguments, "--norun", "--", "--resize=40")
    assert (status, out.splitlines()[0]) == (0, "1 run(s), 0 of them finished before")
    assert "| resnet18 | A | not given | not given | not run | not run | a |" in out


@pytest.mark.slow
def test_imagenet_by_the_papers_protocols(run, tmp_path, photographs):
    for name, model, shortcut in (("a", "resnet18", "B"), ("b", "resnet34", "C")):
        photograph_weights(tmp_path / "own", photographs, name, model, f"--shortcut={shortcut}")
    status, out, err = run(
        *("imagenet", "--dataset=folder", f"--data_dir={photographs}", "--trained=own/a,own/b"),
        *("--workers=2", "--", "--scales=32,48"),
    )
    assert (status, err) == (0, "")
    assert "5 run(s), 0 of them finished before" in out
    lines = [line.strip("| ").split(" | ") for line in out.splitlines()]
    measured = [cells for cells in lines if cells[:2] == ["resnet34", "C"]]
    assert [cells[2:4] for cells in measured] == [["24.19", "7.40"], ["21.53", "5.60"]]
    for cells, protocol in zip(measured, ("ten_crop", "multi_scale"), strict=True):
        (row,) = results(tmp_path, f"resnet34-C-{protocol}")
        assert row["protocol"] == protocol
        assert cells[4:6] == [f"{100 * row['top1_error']:.2f}", "not given"]  # of two classes
    (row,) = results(tmp_path, "ensemble-multi_scale")
    (ensemble,) = [cells for cells in lines if cells[0].startswith("here, on")]
    assert ensemble[0].endswith("resnet18 a + resnet34 b")
    assert ensemble[1] == f"{100 * row['top1_error']:.2f}"


@pytest.mark.slow
def test_imagenet_measures_public_weights(run, tmp_path):
    """ResNet-18 in torchvision's layout, on a folder of 1,000 classes with an image each."""
    import tensorflow as tf
    from safetensors.numpy import save_file

    generator = np.random.default_rng(0)
    tensors = {
        name: generator.normal(0.5, 0.1, shape).astype("float32")
        for layer in zoo.get("resnet18").layers
        for name, shape in torch_names.tensors(layer)
    }
    save_file(tensors, tmp_path / "resnet18.tv_in1k.safetensors")
    for number in range(1000):
        place = tmp_path / "images" / "val" / f"class{number:04}"
        place.mkdir(parents=True)
        pixels = generator.integers(0, 256, (40, 40, 3), "uint8")
        (place / "image.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    status, out, err = run(
        *("imagenet", "--dataset=folder", "--data_dir=images", "--weights=imagenet"),
        *("--weights_dir=.", "--scale=quick", "--", "--image_size=32"),
    )
    assert status == 1  # the other weights are not in the folder
    assert "error: 5 run(s) failed" in err  # of four networks, and the ensemble
    assert "resnet34.tv_in1k.safetensors" in out
    (row,) = results(tmp_path, "resnet18-B-single_crop")
    assert (row["weights"], row["examples"]) == ("tv_in1k", 1000)
    assert f"| {100 * row['top1_error']:.2f} | {100 * row['top5_error']:.2f} | tv_in1k |" in out
    assert "| resnet34 | B | not given | not given | not run | not run | tv_in1k |" in out


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
