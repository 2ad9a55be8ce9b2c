"""The training command, as users run it."""

import io
import json
import re
import shutil

import numpy as np
import pytest
import run_folders
import safetensors.numpy
import tensorflow as tf
import torture
from torture import rows

from resnet_keras import tuning, zoo

SMALL = (
    "--model=resnet8",
    "--dataset=digits",
    "--image_size=8",
    "--batch_size=32",
    "--train_steps=10",
    "--eval_every=4",
    "--learning_rate=0.05",
)


def opened(model, folder):
    """The weights that a run left."""
    return zoo.weights.find(model, folder / "weights.safetensors")[1]


@pytest.fixture
def train_here(tmp_path, monkeypatch, capsys):
    """Runs `train` in this process, in a folder of the test; returns what it printed."""
    from resnet_keras import train

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        status = train.main(["train", *arguments])
        said = capsys.readouterr()
        assert status == 0, said.err
        return said

    return run


def test_a_run_leaves_everything_it_promises(command, tmp_path, capsys):
    from resnet_keras import evaluate

    done = command("train", *SMALL, "--workdir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # TensorFlow's noise does not reach the user
    folder = tmp_path / "run"
    assert [row["step"] for row in rows(folder)] == ["4", "8", "10"]
    first, begun, *lines, last = done.stdout.splitlines()
    assert first == "resnet_keras: resnet8 on digits; starting TensorFlow ..."
    assert begun.startswith("resnet8 on digits/trainval: 10 steps")
    error = 100 * float(rows(folder)[-1]["val_top1_error"])
    assert last.startswith(f"test error {error:.2f} % (top-1) after 10 steps")
    assert re.search(r"bounded by (input|compute): waited [\d.]+ of [\d.]+ s for input", last)
    assert last.endswith("are in run")
    for line in lines:
        assert re.search(r"step +\d+/10 \| loss .* top1_error .* lr 0.05 .* images/s .* left", line)
    # The weights are those that were evaluated last.
    weights = f"--weights={folder / 'weights.safetensors'}"
    assert evaluate.main(["evaluate", "--model=resnet8", weights, "--dataset=digits"]) == 0
    again = capsys.readouterr().out
    assert f"top-1 error {error:.2f} %" in again
    assert "(360 examples, single view)" in again
    # TensorBoard's events hold the rows of metrics.csv.
    (events,) = (folder / "tensorboard").glob("events*")
    losses = {
        event.step: float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "val_loss"
    }
    assert losses == pytest.approx({int(r["step"]): float(r["val_loss"]) for r in rows(folder)})
    # run.flags repeats the run to the bit.
    repeated = command("train", "--flagfile=run/run.flags", "--workdir=again", cwd=tmp_path)
    assert repeated.returncode == 0, repeated.stderr
    one, two = (opened("resnet8", tmp_path / name) for name in ("run", "again"))
    for key, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor.read(), two.tensors[key].read())
    settings = json.loads((folder / "environment.json").read_text())
    assert {key: settings[key] for key in ("onednn", "malloc")} == tuning.tune_cpu()
    assert settings["processor"] == tuning.processor()["name"]
    assert one.class_names == tuple("0123456789")
    assert one.preprocessing == zoo.Preprocessing(8, 8)
    assert (folder / "run.flags").read_text() == (tmp_path / "again" / "run.flags").read_text()


ONE_BY_ONE = (
    *(*SMALL, "--eval_every=1", "--train_steps=6", "--learning_rate=0.01", "--notensorboard"),
    *("--dropout=0.3", "--stochastic_depth=0.3"),
    "--eval_split=trainval",  # 1,437 examples in batches of 500, the last shared unequally
)


@pytest.mark.slow
def test_two_replicas_with_synchronized_batch_norm_equal_one(tmp_path, capsys):
    from resnet_keras import train

    for name, more in {
        "one": ["--strategy=one_device"],
        "two": ["--logical_cpus=2", "--sync_batch_norm"],
    }.items():
        assert train.main(["train", *ONE_BY_ONE, *more, f"--workdir={tmp_path / name}"]) == 0
    said = capsys.readouterr().out
    assert "1 replica(s)" in said
    assert "2 replica(s)" in said
    torture.assert_near(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_four_replicas_equal_one(command, train_here, tmp_path):
    train_here(*ONE_BY_ONE, "--strategy=one_device", "--workdir=1")
    more = ("--logical_cpus=4", "--sync_batch_norm", "--workdir=4")
    done = command("train", *ONE_BY_ONE, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 replica(s) on CPU, float32" in done.stdout
    torture.assert_near(tmp_path / "1", tmp_path / "4")


@pytest.mark.slow
def test_replicas_with_statistics_of_their_own_do_not(train_here, tmp_path):
    for name, strategy in {"one": "--strategy=one_device", "shares": "--logical_cpus=2"}.items():
        said = train_here(*SMALL, strategy, f"--workdir={name}")
        assert ("each with batch statistics of its own" in said.out) == (name == "shares")
    shares, one = (torture.curve(tmp_path / name) for name in ("shares", "one"))
    assert not np.allclose(shares, one, rtol=1e-2)


@pytest.mark.slow
def test_how_a_run_is_computed_does_not_change_its_weights(command, train_here, tmp_path):
    """Two parts of each of four batches, on two replicas: in one graph, or blocks recomputed."""
    arguments = (*SMALL, "--train_steps=24", "--eval_every=12", "--learning_rate=0.01")
    parts = ("--logical_cpus=2", "--accumulate_steps=2")
    for name, more in {
        "plain": (),
        "graph": ("--steps_per_execution=4", "--profile"),
        "remat": ("--remat",),
    }.items():
        assert train_here(*arguments, *parts, *more, f"--workdir={name}").err == ""
    # It would hold for the tests that follow.
    more = ("--deterministic", "--workdir=deterministic")
    done = command("train", *arguments, *parts, *more, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    plain = opened("resnet8", tmp_path / "plain")
    for name in ("graph", "remat"):
        other = opened("resnet8", tmp_path / name)
        for key, tensor in plain.tensors.items():
            np.testing.assert_array_equal(other.tensors[key].read(), tensor.read())
    # Other kernels, whose rounding differs and grows.
    losses = [np.array(torture.curve(tmp_path / name))[:, 0] for name in ("plain", "deterministic")]
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert list((tmp_path / "graph").glob("tensorboard/plugins/profile/*/*.xplane.pb"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_the_digits_on_two_replicas(dtype, train_here, tmp_path):
    arguments = ("--model=resnet8", "--dataset=digits", "--image_size=12", "--batch_size=64")
    steps = ("--train_steps=90", "--eval_every=90", "--learning_rate=0.05", "--schedule=cosine")
    train_here(
        *(*arguments, *steps, "--logical_cpus=2", "--label_smoothing=0.1", "--ema=0.9"),
        f"--dtype={dtype}",
        "--workdir=run",
    )
    assert float(rows(tmp_path / "run")[-1]["val_top1_error"]) < 0.08


@pytest.mark.slow
def test_the_averaged_weights_are_evaluated_and_saved(train_here, tmp_path, capsys):
    from resnet_keras import evaluate

    arguments = (*SMALL, "--train_steps=40", "--eval_every=20", "--strategy=one_device")
    train_here(*arguments, "--ema=0.95", "--workdir=run")
    weights = "--weights=run/weights.safetensors"
    assert evaluate.main(["evaluate", "--model=resnet8", weights, "--dataset=digits"]) == 0
    error = 100 * float(rows(tmp_path / "run")[-1]["val_top1_error"])
    assert f"top-1 error {error:.2f} %" in capsys.readouterr().out
    train_here(*arguments, "--workdir=plain")
    averaged, last = (opened("resnet8", tmp_path / name) for name in ("run", "plain"))
    for name in ("conv1_conv/kernel", "conv1_bn/moving_variance"):
        assert not np.allclose(averaged.tensors[name].read(), last.tensors[name].read(), rtol=1e-2)


@pytest.mark.parametrize(("rate", "good"), [("1e30", 1), ("nan", 0)])
def test_a_diverging_run_names_the_step_and_keeps_what_is_good(rate, good, tmp_path, capsys):
    from resnet_keras import train

    # The linear warm-up reaches a rate at which this network overflows.
    steps = ("--warmup_steps=8", f"--learning_rate={rate}", "--checkpoint_every=1")
    steps = (*steps, "--strategy=one_device")
    assert train.main(["train", *SMALL, *steps, f"--workdir={tmp_path}"]) == 2
    said = capsys.readouterr().err
    message = re.search(r"error: The (loss|weights) (is|are) (.*) at step (\d+): lower", said)
    assert message, said
    assert "gradient norm" in said
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert [int(path.name[5:13]) for path in kept] == list(range(1, int(message[4])))
    assert len(kept) == good
    for path in kept:
        for name, tensor in safetensors.numpy.load_file(path).items():
            assert np.isfinite(tensor).all() or name.endswith("/norms"), name
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.slow
def test_bfloat16_jit_and_pixel_normalization(train_here, tmp_path):
    train_here(
        *SMALL,
        "--train_steps=4",  # an evaluation of one size of batches: XLA compiles each
        "--eval_batch_size=360",
        "--dtype=mixed_bfloat16",
        "--jit_compile",
        "--strategy=one_device",
        "--normalization=pixel",
        "--notensorboard",
        "--workdir=run",
    )
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert np.isfinite(float(rows(tmp_path / "run")[-1]["val_loss"]))
    assert opened("resnet8", tmp_path / "run").tensors["normalization/mean"].shape == (8, 8, 3)


@pytest.mark.slow
def test_a_run_without_workdir_gets_a_new_folder(train_here, tmp_path):
    tiny = (*SMALL, "--train_steps=1", "--eval_every=1", "--notensorboard")
    for name in ("resnet8_digits", "resnet8_digits-2"):
        train_here(*tiny, "--strategy=one_device")
        assert (tmp_path / "runs" / name / "weights.safetensors").exists()


@pytest.mark.slow
def test_plateau_and_warm_up_from_the_command_line(train_here, tmp_path):
    train_here(
        *SMALL,
        "--strategy=one_device",
        "--schedule=plateau",
        "--patience=1",
        "--eval_every=2",
        "--learning_rate=1e-6",
        "--warmup_steps=2",
        "--workdir=plateau",
    )
    # So slow a rate brings no better error: each evaluation after the first divides it.
    learning_rates = [float(row["learning_rate"]) for row in rows(tmp_path / "plateau")]
    assert learning_rates[0] == pytest.approx(1e-6)
    assert min(learning_rates) < 1e-7
    train_here(
        *SMALL,
        "--strategy=one_device",
        "--warmup_until_error=1",
        "--warmup_scale=0.01",
        "--workdir=warm",
    )
    # Ten steps are too few for the rule to judge by.
    assert float(rows(tmp_path / "warm")[-1]["learning_rate"]) == pytest.approx(0.0005)


@pytest.mark.slow
def test_photographs_in_class_folders_are_learnt_and_measured(
    train_here, photographs, tmp_path, capsys
):
    """The ImageNet recipe on small images of two kinds."""
    from resnet_keras import evaluate

    trained = train_here(
        "--strategy=one_device",
        "--recipe=resnet18_imagenet",
        "--dataset=folder",
        f"--data_dir={photographs}",
        "--image_size=48",
        "--scales=54,72",
        "--batch_size=16",
        "--train_steps=80",
        "--eval_every=40",
        "--learning_rate=0.005",
        "--schedule=cosine",
        "--workdir=run",
        "--notensorboard",
    )
    # The recipe's, which divides the learning rate on a plateau.
    idle = "warning: --patience has no effect: it belongs to --schedule=plateau"
    assert trained.err.splitlines() == [idle]
    assert float(rows(tmp_path / "run")[-1]["top1_error"]) < 0.2
    assert "| val loss" in trained.out
    weights = "--weights=run/weights.safetensors"
    data = ("--dataset=folder", f"--data_dir={photographs}", "--protocol=ten_crop")
    assert evaluate.main(["evaluate", "--model=resnet18", weights, *data]) == 0
    measured = capsys.readouterr().out
    result = re.search(r"top-1 error (\S+) % \((\d+) examples, ten_crop\)", measured)
    assert result is not None
    assert float(result[1]) < 50
    assert result[2] == "12"


@pytest.mark.slow
def test_mixed_labels_and_v15_from_the_command_line(train_here, photographs, tmp_path):
    train_here(
        "--strategy=one_device",
        "--recipe=resnet50_imagenet_modern",
        "--dataset=folder",
        f"--data_dir={photographs}",
        "--image_size=32",
        "--batch_size=16",
        "--train_steps=2",
        "--eval_every=2",
        "--warmup_steps=1",
        "--random_erasing=0.5",
        "--eval_resize=40",
        "--interpolation=bicubic",
        "--threads=2",
        "--ram_budget=64",
        "--workdir=run",
    )
    (row,) = rows(tmp_path / "run")
    assert np.isfinite(float(row["loss"]))
    file = opened("resnet50", tmp_path / "run")
    assert file.options["stride_in_1x1"] is False
    assert file.options["num_classes"] == 2
    assert file.class_names == ("discs", "stripes")
    assert file.preprocessing == zoo.Preprocessing(32, 40, "bicubic")


@pytest.mark.slow
def test_broken_images_are_replaced_up_to_a_limit(photographs, tmp_path, capfd):
    from resnet_keras import train

    copy = tmp_path / "copy"
    shutil.copytree(photographs, copy)
    for name in ("discs/a.jpg", "stripes/b.jpg"):
        (copy / "train" / name).write_bytes(b"\xff\xd8\xff no more")
    arguments = (
        "--model=resnet8",
        "--strategy=one_device",
        "--dataset=folder",
        f"--data_dir={copy}",
        "--image_size=32",
        "--batch_size=16",
        "--train_steps=4",
        "--eval_every=4",
    )
    assert train.main(["train", *arguments, f"--workdir={tmp_path / 'good'}"]) == 0
    said = capfd.readouterr().err
    assert f"cannot decode {copy}/train/discs/a.jpg" in said
    bad = tmp_path / "bad"
    assert train.main(["train", *arguments, "--max_corrupt=1", f"--workdir={bad}"]) == 2
    stopped = capfd.readouterr().err
    (last,) = (line for line in stopped.splitlines() if line.startswith("error: "))
    assert last.startswith("error: more than 1 images cannot be decoded (--max_corrupt): ")
    assert "discs/a.jpg" in last
    assert "stripes/b.jpg" in last
    assert not (bad / "weights.safetensors").exists()


FOLDER = ("--dataset=folder", "--train_split=train", "--eval_split=val", "--model=resnet18")

BAD = [
    ([*FOLDER], "--data_dir"),
    ([*FOLDER, "--data_dir=nowhere"], "nowhere"),
    ([*FOLDER, "--data_dir=hollow"], "hollow/train has 1 class folder without images: cats"),
    ([*FOLDER, "--data_dir=hollow", "--train_split=test"], "test"),
    ([*FOLDER, "--data_dir=one", "--services=grpc://localhost:1"], "No service answers"),
    ([*FOLDER, "--data_dir=one", "--scales=100"], "two whole numbers"),
    ([*FOLDER, "--data_dir=one", "--image_size=224", "--scales=100,200"], "224"),
    ([*FOLDER, "--data_dir=one", "--services=host:5050"], "grpc://"),
    ([*FOLDER, "--data_dir=one", "--normalization=pixel"], "memory"),
    (["--mixup=0.2"], "digits"),
    (["--dataset=tfds/no_such_data_set"], "no_such_data_set"),
    (["--model=resnet51"], "resnet50"),
    (["--model=resnet21"], "6n+2"),
    (["--dataset=beans"], "Did you mean 'tfds/beans'?"),
    (["--shortcut=D"], "Choose one of A, B, C"),
    (["--train_steps=-5"], "train_steps"),
    (["--batch_size=0"], "batch_size"),
    (["--boundaries=10,x"], "whole numbers"),
    (["--flagfile=binary.flags"], "no text"),
    (["--workdir=taken"], "other flags"),
    (["--steps_per_execution=3"], "multiple of --steps_per_execution"),
    (["--strategy=multi_worker"], "--workdir"),
    (["--strategy=multi_worker", "--workdir=w"], "TF_CONFIG"),
    (["--batch_size=30", "--accumulate_steps=4"], "multiple of 4, such as --batch_size=32"),
    (["--stochastic_depth=1.5"], "stochastic_depth"),
    (["--model=plain20", "--stochastic_depth=0.1"], "no residual branches"),
    (["--ema=1"], "ema"),
    (["--strategy=one_device", "--logical_cpus=2"], "mirrored"),
    (["--boundaries=20,10"], "increase"),
    (["--boundaries=20", "--schedule=cosine"], "--schedule=step"),
    (["--schedule=cosine", "--warmup_steps=500"], "warm-up"),
    (["--image_size=64", "--dataset=cifar10"], "32"),
    (["--recipe=resnet20_cifar"], "resnet20_cifar10"),
    (["--recipe"], "recipe"),
    (["--flagfile=nowhere.flags"], "nowhere.flags"),
    (["--flagfile=nested.flags"], "--flagfile=PATH"),
    (["--learning_rte=0.1"], "learning_rate"),
    (["--workdir=/proc/nothing/here"], "/proc/nothing/here"),
    (["--jit_compile"], "one_device"),
    (["--batch_size=33", "--logical_cpus=2"], "multiple of 2"),
    (["--model=plain20", "--shortcut=A"], "plain20 has no option shortcut"),
    (["stray"], "stray"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_mistakes_end_in_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    from resnet_keras import train

    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "run.flags").write_text("--batch_size=7\n")
    (tmp_path / "binary.flags").write_bytes(b"\xff\xfe\x80")
    (tmp_path / "nested.flags").write_text("--recipe=resnet20_digits\n")
    for split in ("train", "val"):
        (tmp_path / "hollow" / split / "cats").mkdir(parents=True)
        (tmp_path / "one" / split / "cats").mkdir(parents=True)
        (tmp_path / "one" / split / "cats" / "a.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert train.main(["train", *SMALL, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["--shortcut=E"], {}, "A, B, C"),
        ([], {"KERAS_BACKEND": "jax"}, "KERAS_BACKEND=tensorflow"),
    ],
)
def test_the_process_exits_with_status_2(command, arguments, env, words):
    done = command("train", *arguments, env=env)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_one_sentence(monkeypatch, capsys):
    import sys

    from resnet_keras import train

    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    assert train.main(["train", *SMALL]) == 2
    said = capsys.readouterr().err
    assert "pip install 'resnet_keras[digits]'" in said
    assert said.count("\n") == 1


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


def test_training_goes_on_from_weights_with_frozen_stages(tmp_path, capsys):
    from resnet_keras import train

    more = ("--weights=digits", "--freeze=conv3", "--dataset=digits", "--image_size=16")
    steps = ("--train_steps=3", "--eval_every=3", "--batch_size=64", "--learning_rate=0.01")
    more = (*more, "--strategy=one_device", f"--workdir={tmp_path / 'run'}")
    arguments = ["train", "--model=resnet20", *more, *steps]
    assert train.main(arguments) == 0, capsys.readouterr().err
    assert float(rows(tmp_path / "run")[-1]["val_top1_error"]) < 0.05  # it began as trained
    before = zoo.weights.find("resnet20", "digits")[1].tensors
    file = opened("resnet20", tmp_path / "run")
    assert file.training["weights"] == "digits"
    for name, tensor in file.tensors.items():
        same = np.array_equal(tensor.read(), before[name].read())
        assert same == name.startswith(("normalization", "conv1", "conv2", "conv3")), name


@pytest.mark.slow
def test_training_a_narrow_network(tmp_path, train_here, capsys):
    from resnet_keras import evaluate

    train_here(*SMALL, "--train_steps=4", "--width=0.25", "--workdir=narrow")
    assert "--width=0.25\n" in (tmp_path / "narrow" / "run.flags").read_text()
    file = opened("resnet8", tmp_path / "narrow")
    assert file.options["width"] == 0.25
    assert file.tensors["logits/kernel"].shape == (16, 10)
    assert evaluate.main(["evaluate", "--model=narrow", "--dataset=digits"]) == 0
    again = ("--train_steps=1", "--weights=narrow/weights.safetensors", "--workdir=again")
    train_here(*SMALL, *again)  # its width is the file's
    assert opened("resnet8", tmp_path / "again").options["width"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--freeze=conv3"], "--weights"),
        (["--weights=digits", "--normalization=pixel"], "--normalization"),
        (["--weights=digits", "--freeze=conv9"], "conv2, conv3, conv4"),
        (["--weights=digits", "--shortcut=B"], "belongs to the weights"),
        (["--weights=digits", "--width=0.5"], "belongs to the weights"),
        (["--width=64"], "multiplies the channels"),
        (["--width=0"], "--width"),
        (["--weights=nothing"], "digits"),
    ],
)
def test_mistakes_with_weights(arguments, words, capsys):
    from resnet_keras import train

    assert train.main(["train", "--model=resnet20", "--dataset=digits", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_cosine_is_not_made_longer_and_its_weights_are_offered(tmp_path, capsys):
    from resnet_keras import train

    folder = run_folders.write(tmp_path / "run", train_steps=40, schedule="cosine")
    arguments = ["--schedule=cosine", "--train_steps=80", f"--workdir={folder}"]
    assert train.main(["train", "--dataset=digits", *arguments]) == 2
    said = capsys.readouterr().err
    assert "whose cosine comes to 0 at --train_steps=40" in said
    assert f"from its weights, by --weights={folder}/weights.safetensors" in said


def test_progress_bar_on_a_terminal():
    from resnet_keras import pipelines
    from resnet_keras.classification import classifier
    from resnet_keras.training import callbacks

    stream, counter = Terminal(), callbacks.Counter()
    columns = {name: classifier.COLUMNS[name] for name in ("loss", "val_loss", "val_top1_error")}
    options = classifier.model_options("digits", "trainval", image_size=8)
    model = zoo.get("resnet8", **options)
    optimizer, _ = classifier.make_optimizer(schedule="step", learning_rate=0.05, train_steps=30)
    classifier.compile_classifier(model, optimizer)
    model.fit(
        pipelines.training("digits", "trainval", 32, seed=0, image_size=8),
        steps_per_epoch=15,
        epochs=2,
        validation_data=pipelines.evaluation("digits", "test", 360, image_size=8),
        callbacks=[counter, callbacks.Progress(counter, 30, columns, 32, stream=stream)],
        shuffle=False,
        verbose=0,
    )
    shown = stream.getvalue().split("\r\x1b[K")
    assert any(
        re.match(
            r"█*░+ step +\d+/30 .* [\d,]+ images/s \| input wait 0 % \| (\?|\d+:\d\d) left$", s
        )
        for s in shown
    )
    assert len([s for s in shown if s.endswith("%\n")]) == 2  # a line is kept for each evaluation


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3723, "1:02:03")]
)
def test_durations(seconds, text):
    from resnet_keras.training import callbacks

    assert callbacks.duration(seconds) == text


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
