"""Several processes train together, over loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torture

SMALL = (
    "--model=resnet8",
    "--dataset=digits",
    "--image_size=8",
    "--batch_size=32",
    "--learning_rate=0.01",
    "--sync_batch_norm",
    "--notensorboard",
    "--train_steps=9",
    "--eval_every=5",
    "--dropout=0.3",
    "--accumulate_steps=2",
)
LONG = (
    *SMALL,
    "--train_steps=60",
    "--eval_every=30",
    "--checkpoint_every=10",
    "--steps_per_execution=2",
)


def launch(folder: Path, arguments, *own) -> subprocess.Popen:
    given = ["--workers=2", *own, "--", *arguments, f"--workdir={folder}"]
    return subprocess.Popen(
        [sys.executable, "-m", "resnet_keras.launch", *given],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(torture.ROOT)},
        start_new_session=True,
    )


def finished(process: subprocess.Popen, timeout=240) -> str:
    output, _ = process.communicate(timeout=timeout)
    return output


@pytest.mark.slow
def test_two_workers_train_as_one_process(tmp_path):
    process = launch(tmp_path / "two", SMALL)
    output = finished(process)
    assert process.returncode == 0, output
    torture.run_to_end(tmp_path / "one", torture.Run("train", SMALL))
    torture.assert_near(tmp_path / "one", tmp_path / "two")
    # The chief alone tells of the run.
    assert re.search(r"^\[0\] step 9/9 ", output, re.MULTILINE)
    assert not re.search(r"^\[1\] step", output, re.MULTILINE)


@pytest.mark.slow
def test_a_lost_worker_ends_the_others_and_the_restarted_job_ends_in_the_same_bits(tmp_path):
    process = launch(tmp_path / "whole", LONG)
    output = finished(process)
    assert process.returncode == 0, output
    process = launch(tmp_path / "broken", LONG, "--grace=120")
    while not torture.checkpoints(tmp_path / "broken"):
        assert process.poll() is None, finished(process)
        time.sleep(0.05)
    os.kill(worker_of(process, 1), signal.SIGKILL)
    began = time.monotonic()
    output = finished(process)
    assert time.monotonic() - began < 110  # it did not wait for the end of its grace
    assert process.returncode == 128 + signal.SIGKILL
    assert "[0] error: another worker has failed or is out of reach" in output
    assert "Traceback" not in output
    process = launch(tmp_path / "broken", LONG)
    while len(torture.checkpoints(tmp_path / "broken")) < 3:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)  # to the launcher and, twice so, to its workers
    output = finished(process)
    assert process.returncode == torture.PREEMPTED, output
    assert output.count("stopped at step") == 2
    process = launch(tmp_path / "broken", LONG)
    output = finished(process)
    assert process.returncode == 0, output
    assert torture.differences(tmp_path / "whole", tmp_path / "broken") == []


def worker_of(process, index):
    """The process id of a launched worker, by its environment."""
    for folder in Path("/proc").iterdir():
        try:
            parent = re.search(r"PPid:\s+(\d+)", (folder / "status").read_text())
            place = f'"index": {index}'.encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if parent and int(parent[1]) == process.pid and place:
            return int(folder.name)
    raise AssertionError(f"no worker {index}")


@pytest.mark.slow
def test_a_refused_chief_ends_the_others_without_a_traceback(tmp_path):
    import filelock

    (tmp_path / "run").mkdir()
    with filelock.FileLock(tmp_path / "run" / ".lock"):
        process = launch(tmp_path / "run", SMALL, "--grace=120")
        output = finished(process)
    assert process.returncode == 2
    assert "[0] error: Another process trains in" in output
    assert "[1] error: another worker has failed or is out of reach" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_workers_that_would_begin_at_different_steps_are_refused():
    code = (
        "import sys; from resnet_keras.training import replicas as d\n"
        "u = d.make_strategy('multi_worker')\n"
        "try: d.agree(u, d.workers(u).place)\n"
        "except ValueError as e: sys.exit(str(e))"
    )
    output = both(code)
    assert all("all workers see" in said for said in output)


def both(code):
    """What two workers that run some code say."""
    import json

    from resnet_keras.launch import _free_ports

    addresses = [f"localhost:{port}" for port in _free_ports(2)]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        env = {**os.environ, "PYTHONPATH": str(torture.ROOT), "TF_CONFIG": json.dumps(task)}
        arguments = [sys.executable, "-c", code]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes.append(subprocess.Popen(arguments, env=env, text=True, **pipes))
    return [finished(process) for process in processes]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "after --"), (["--workers=0", "--", "--model=x"], "workers"), (["stray"], "stray")],
)
def test_mistakes(arguments, words, capsys):
    from resnet_keras import launch

    assert launch.main(["launch", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_status_of_a_failed_worker_is_passed_on(tmp_path):
    process = launch(tmp_path / "run", ("--model=resnet51",))
    output = finished(process)
    assert process.returncode == 2
    assert output.count("error: ") == 2


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
