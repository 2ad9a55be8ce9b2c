"""Workers by Slurm's variables, as srun sets them for each task of a job step."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torture

from resnet_keras.errors import InputError
from resnet_keras.training import cluster

STEP = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURMD_NODENAME": "node08",
}


@pytest.fixture
def step(monkeypatch):
    """Sets the variables of a task; no scontrol and no nvidia-smi is there to be asked."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TF_CONFIG", "")  # what is set in its place is taken back afterwards

    def set_variables(**changes):
        for name, value in {**STEP, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return set_variables


def test_the_tasks_of_a_step_are_the_workers(step):
    step()
    assert cluster.check("slurm") == (2, 3)
    assert cluster.use_slurm() == (2, 3)
    assert json.loads(os.environ["TF_CONFIG"]) == {
        "cluster": {"worker": ["node07:8888", "node07:8889", "node08:8888"]},
        "task": {"type": "worker", "index": 2},
    }
    assert cluster.workers() == (2, 3)
    step(SLURM_PROCID="0", SLURMD_NODENAME="node07")
    assert cluster.use_slurm().is_chief


@pytest.mark.parametrize("name", list(STEP)[:4])
def test_a_missing_variable_is_named(step, name):
    step(**{name: None})
    with pytest.raises(InputError, match=f"{name} is not set: start the command with srun"):
        cluster.check("slurm")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SLURM_PROCID": "x"}, "must be numbers"),
        ({"SLURM_STEP_TASKS_PER_NODE": "two"}, "name no cluster: .*two"),
        ({"SLURM_STEP_TASKS_PER_NODE": "1,1"}, "Requested 3 tasks but only 2"),
        ({"SLURM_PROCID": "3"}, "SLURM_PROCID=3 is no task of 3"),
        ({"SLURMD_NODENAME": "node07"}, "runs on node07, .* --distribution=block"),
    ],
)
def test_what_names_no_cluster_is_one_sentence(step, changes, words):
    step(**changes)
    with pytest.raises(InputError, match=words):
        cluster.use_slurm()


@pytest.mark.slow
def test_two_tasks_train_together(tmp_path):
    """As srun --ntasks=2 starts them, on this machine."""
    for port in (8888, 8889):
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                pytest.skip(f"port {port} is in use")
    flags = [
        *("--model=resnet8", "--dataset=digits", "--image_size=8", "--batch_size=32"),
        *("--learning_rate=0.01", "--train_steps=4", "--eval_every=4", "--notensorboard"),
        *("--strategy=multi_worker", "--cluster=slurm", f"--workdir={tmp_path / 'run'}"),
    ]
    processes = []
    for place in range(2):
        variables = {
            "SLURM_PROCID": f"{place}",
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_TASKS_PER_NODE": "2",
        }
        env = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "resnet_keras.train", *flags],
                env={**env, **variables, "PYTHONPATH": str(torture.ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert all("4 steps of 32 images, 2 replica(s) on CPU" in text for text in said)
    # Not the last line: TensorFlow may tell of the worker that has left.
    assert any(line.endswith("worker 1") for line in said[1].splitlines())
    assert torture.rows(tmp_path / "run")[-1]["step"] == "4"
    assert "--cluster=slurm" in (tmp_path / "run" / "run.flags").read_text()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
