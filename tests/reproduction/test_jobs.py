"""Processes that make runs, and what is told where one of them fails."""

import sys

import pytest

from resnet_keras.processes import Job
from resnet_keras.reproduction import jobs
from resnet_keras.reproduction.jobs import FAILED, Machine


def job(folder, name, code):
    return Job(name, [sys.executable, "-c", code], folder / f"{name}.log")


def test_failed_runs_are_named_with_their_logs(tmp_path, capsys):
    kill = "import os; os.kill(os.getpid(), 9)"
    codes = {"a": "print('why'); raise SystemExit(2)", "b": kill, "c": "print('done')"}
    listed = [job(tmp_path, name, code) for name, code in codes.items()]
    assert jobs.run(listed, Machine()) == (FAILED, {"a", "b"})
    assert capsys.readouterr().err == (
        "error: 2 run(s) failed: a (status 2), b (killed by SIGKILL); what they printed is in "
        f"{tmp_path}/a.log, {tmp_path}/b.log, and the same command tries them again.\n"
    )
    assert (tmp_path / "a.log").read_text() == "why\n"
    assert jobs.run(listed[2:], Machine()) == (0, set())
    assert jobs.run(listed, Machine(run=False)) == (0, set())


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
