"""A run that is killed, stopped or spoilt ends in the bits of one that was not."""

import random
import shutil
import signal

import pytest
import torture

SMALL = torture.Run(
    "train",
    (
        *torture.CLASSIFIER,
        "--logical_cpus=1",
        "--train_steps=120",
        "--eval_every=40",
        "--checkpoint_every=4",
    ),
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    torture.run_to_end(folder, SMALL)
    return folder


@pytest.mark.slow
def test_a_kill_a_flipped_bit_and_sigterm_change_nothing(undisturbed):
    """Accumulation, averaged weights, dropped branches, the plateau rule; torture.py kills more."""
    folder, moments = undisturbed.parent / "killed", random.Random(0)
    assert torture.kill_somewhere(folder, moments, SMALL, hurried=0) == -signal.SIGKILL
    torture.spoil_last_checkpoint(folder, moments)
    status = torture.kill_somewhere(folder, moments, SMALL, signal.SIGTERM, hurried=0)
    assert status == torture.PREEMPTED
    torture.run_to_end(folder, SMALL)
    assert torture.differences(undisturbed, folder) == []
    log = (undisturbed.parent / "log.txt").read_text()
    assert "going on from the checkpoint of step" in log
    assert "is damaged and left aside" in log
    assert "stopped at step" in log
    assert "Traceback" not in log
    # Events hold each step once.
    assert steps_in_events(folder) == steps_in_events(undisturbed) == [40, 80, 120]
    assert len(list((folder / "checkpoints").iterdir())) == 3


def steps_in_events(folder):
    import tensorflow as tf

    return [
        event.step
        for path in sorted((folder / "tensorboard").glob("events*"))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "val_loss"
    ]


@pytest.mark.slow
def test_a_finished_run_stays_as_it_is(undisturbed, capsys):
    from resnet_keras import train

    files = [path for path in undisturbed.rglob("*") if path.is_file() and path.name != ".lock"]
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}
    own = [flag for flag in SMALL.flags if flag != "--logical_cpus=2"]  # the later one is the run's
    assert train.main(["train", *own, f"--workdir={undisturbed}"]) == 0
    assert "holds a finished run" in capsys.readouterr().out
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def test_other_flags_and_a_second_process_are_refused(undisturbed, tmp_path, capsys):
    import filelock

    from resnet_keras import train

    own = ["train", *SMALL.flags, f"--workdir={undisturbed}"]
    assert train.main([*own, "--batch_size=64", "--nosync_batch_norm"]) == 2
    said = capsys.readouterr().err
    assert "--batch_size=32 there, --batch_size=64 here" in said
    assert "sync" not in said
    unfinished = tmp_path / "unfinished"
    shutil.copytree(undisturbed, unfinished, ignore=shutil.ignore_patterns("weights.*"))
    with filelock.FileLock(unfinished / ".lock"):
        assert train.main(["train", *SMALL.flags, f"--workdir={unfinished}"]) == 2
    assert "Another process trains in" in capsys.readouterr().err


@pytest.mark.slow
def test_photographs_in_bfloat16_resume_too(photographs, tmp_path):
    """The other kind of stream, and a learning rate that warms up until an error."""
    arguments = (
        "--model=resnet8",
        "--dataset=folder",
        f"--data_dir={photographs}",
        "--image_size=32",
        "--colour_jitter=0.4",
        "--batch_size=12",
        "--train_steps=60",
        "--eval_every=20",
        "--checkpoint_every=3",
        "--learning_rate=0.01",
        "--warmup_until_error=0.99",
        "--dtype=mixed_bfloat16",
    )
    run = torture.Run("train", arguments)
    torture.run_to_end(tmp_path / "one", run)
    moments = random.Random(1)
    status = torture.kill_somewhere(tmp_path / "two", moments, run, hurried=0)
    assert status == -signal.SIGKILL
    torture.run_to_end(tmp_path / "two", run)
    assert torture.differences(tmp_path / "one", tmp_path / "two") == []


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
