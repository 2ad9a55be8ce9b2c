"""Mistakes in arguments and flagfiles get a sentence that begins with what was meant."""

import json

import pytest
import run_folders

from resnet_keras import evaluate, predict, train, zoo
from resnet_keras.commands import runs, train_arguments, train_messages
from resnet_keras.errors import InputError
from resnet_keras.training import run_folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lr=0.1"], "Unknown flag --lr. Did you mean --learning_rate?"),
        (["--epochs=9"], "Unknown flag --epochs. Did you mean --train_steps? Time is counted in"),
        (["--warmup_epochs=9"], "Did you mean --warmup_steps? Time is counted in steps"),
        (["--batch=9"], "Did you mean --batch_size?"),
        (["--color_jitter=0.4"], "Did you mean --colour_jitter?"),
        (["--learning-rate=0.1"], "Did you mean --learning_rate?"),
        (["--nojit_compil"], "Did you mean --nojit_compile?"),
        (["--wd", "0.1"], "Did you mean --weight_decay?"),
        (["--output_dir=x"], "Did you mean --workdir?"),
        (["--qqqq=1"], "Unknown flag --qqqq. --help lists those that there are."),
        (["--schedule=cosin"], "Did you mean 'cosine'? Choose one of step, cosine, plateau."),
        (["--dtype=bf16"], "Did you mean 'mixed_bfloat16'?"),
        (["--batch_size=many"], "--batch_size takes a positive whole number, not 'many'."),
        (["--learning_rate=-1"], "--learning_rate takes a non-negative number, not '-1'."),
        (["--momentum=1.5"], "--momentum takes a number in the range [0, 1], not '1.5'."),
        (["--jit_compile=perhaps"], "--jit_compile takes no value (write --jit_compile or --nojit"),
        (["--train_split=train[1"], "--train_split: 'train[1' is no split: write its name"),
        (["--workdir=gs://bucket/run"], "--workdir: gs://bucket/run is no local path"),
        (["--workdir=file:///tmp/run"], "write it without file://"),
        (["resnet20_digits"], "Did you mean --recipe=resnet20_digits?"),
        (["--recipe=resnet20"], "Unknown recipe 'resnet20'. Did you mean 'resnet20_"),
        (["--flagfile=nowhere.flags"], "Cannot read the flagfile nowhere.flags: No such file"),
        (["--flagfile=typo.flags"], "Unknown flag --lr in typo.flags, line 2. Did you mean --lea"),
        (["--flagfile=outer.flags"], "Unknown flag --lr in typo.flags, line 2. Did you mean --lea"),
        (["--flagfile=value.flags"], "--seed in value.flags, line 1 takes a whole number in the"),
        (["--flagfile=choice.flags"], "--schedule in choice.flags, line 1: 'cosin'. Did you mean"),
        (["--flagfile=value.flags", "--seed=z"], "--seed takes a whole number"),
    ],
)
def test_train(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "typo.flags").write_text("--batch_size=8\n--lr=0.1\n")
    (tmp_path / "outer.flags").write_text("# more\n--flagfile=typo.flags\n")
    (tmp_path / "value.flags").write_text("--seed=x\n")
    (tmp_path / "choice.flags").write_text("--schedule=cosin\n")
    assert train.main(["train", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
    assert len(list(tmp_path.iterdir())) == 4  # such as a folder gs:


def test_other_commands(capsys):
    assert evaluate.main(["evaluate", "--results=s3://bucket/r.json"]) == 2
    assert "--results: s3://bucket/r.json is no local path" in capsys.readouterr().err
    assert predict.main(["predict", "--img_size=32", "x.jpg"]) == 2
    assert "Did you mean --image_size?" in capsys.readouterr().err


def test_warnings_name_flags(capsys):
    train.shared_flags.parse(train.FLAGS, ["train"])
    from resnet_keras.commands import shell

    def main():
        import warnings

        warnings.warn("train_steps=3 are few", stacklevel=1)

    assert shell.run(main, train.FLAGS, ["train"], None) == 0
    assert capsys.readouterr().err == "warning: --train_steps=3 are few\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--train_steps=100", "--boundaries=32000,48000 lie beyond --train_steps=100"),
        ("--warmup_steps=64001", "--warmup_steps=64001 are more than --train_steps=64000"),
    ],
)
def test_a_rule_that_never_acts_is_a_warning(more, words):
    train.shared_flags.parse(train.FLAGS, ["train", "--recipe=resnet20_cifar10", more])
    with pytest.warns(UserWarning, match=words):
        train_arguments.check()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--patience=3"], "--patience has no effect: it belongs to --schedule=plateau"),
        (["--schedule=cosine", "--decay_factor=0.5"], "--decay_factor has no effect"),
        (["--interpolation=bicubic"], "--interpolation has no effect: it is for photographs"),
        (["--warmup_scale=0.5"], "it belongs to --warmup_until_error"),
        (
            ["--dataset=imagenet2012", "--min_area=0.1", "--scales=256,480"],
            "--scales has no effect",
        ),
    ],
)
def test_a_flag_without_effect_is_a_warning(arguments, words):
    train.shared_flags.parse(train.FLAGS, ["train", *arguments])
    with pytest.warns(UserWarning, match=words):
        train_arguments.check()


@pytest.mark.parametrize("recipe", zoo.list_recipes())
def test_recipes_have_no_flag_without_effect(recipe, recwarn):
    train.shared_flags.parse(train.FLAGS, ["train", f"--recipe={recipe}"])
    train_arguments.check()
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("split", ["", "train/"])
def test_class_folders_of_another_data_set_are_a_warning(split, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / f"{split}{name}").mkdir(parents=True)
        (tmp_path / f"{split}{name}" / "1.png").write_bytes(b"")
    train.shared_flags.parse(train.FLAGS, ["train", f"--data_dir={tmp_path}"])
    words = 'has class folders of images, and cifar10 is taken: those are dataset="folder"'
    with pytest.warns(UserWarning, match=words):
        train_arguments.check()


@pytest.mark.parametrize(
    ("steps", "checkpoint", "goes_on"),
    [(30, "step-00000030-x", True), (35, "step-00000035-x", False), (30, None, False)],
)
def test_a_finished_run_offers_more_steps_where_it_takes_them(steps, checkpoint, goes_on, tmp_path):
    folder = run_folders.write(tmp_path / "run")
    (folder / "checkpoints" / (checkpoint or ".")).mkdir(parents=True)
    arguments = [f"--workdir={folder}", f"--train_steps={steps}", "--eval_every=15"]
    train.shared_flags.parse(train.FLAGS, ["train", *arguments])
    assert ("--train_steps=MORE goes on" in train_messages.finished_line()) == goes_on


def test_photographs_that_workers_cannot_share(monkeypatch):
    workers = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    given = ["--dataset=imagenet2012", "--strategy=multi_worker", "--workdir=w", "--batch_size=96"]
    train.shared_flags.parse(train.FLAGS, ["train", *given])
    train_arguments.check()
    train.shared_flags.parse(train.FLAGS, ["train", *given, "--accumulate_steps=2"])
    with pytest.raises(InputError, match="make it a multiple of 64, such as batch_size=128"):
        train_arguments.check()


def test_a_run_that_began_without_a_flag_goes_on(tmp_path):
    """A run that was begun before --cluster was there, or with another one."""
    train.shared_flags.parse(train.FLAGS, ["train", "--dataset=digits"])
    now = runs.lines(train.FLAGS)
    assert "--cluster=tf_config\n" in now
    assert "help" not in now
    before = now.replace("--cluster=tf_config\n", "")
    (tmp_path / "run.flags").write_text(before)
    free = train_arguments.FREE
    assert run_folder.differences(tmp_path, now, free) == []
    assert train.differences(tmp_path, ["--dataset=digits", "--cluster=slurm"]) == []
    assert train.differences(tmp_path, ["--dataset=digits", "--seed=1"]) == [
        "--seed=0 there, --seed=1 here"
    ]
    # And its flagfile is still read.
    train.shared_flags.parse(train.FLAGS, ["train", f"--flagfile={tmp_path / 'run.flags'}"])
    assert runs.lines(train.FLAGS) == now


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
