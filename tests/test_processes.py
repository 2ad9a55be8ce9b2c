"""Commands run side by side, and stopped together."""

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from resnet_keras import processes
from resnet_keras.errors import InputError
from resnet_keras.processes import Interrupted, Job

ROOT = Path(__file__).parent.parent


def job(name, code):
    return Job(name, [sys.executable, "-c", textwrap.dedent(code)])


def test_all_are_run_in_order_and_a_failure_keeps_no_other(capfd):
    jobs = [job("a", "print('one')"), job("b", "raise SystemExit(3)"), job("c", "print('last')")]
    assert processes.run_all(jobs, [{}]) == ({"a": 0, "b": 3, "c": 0}, 0)
    assert capfd.readouterr().out == "[a] one\n[c] last\n"


def test_what_a_job_prints_is_kept_in_its_log(tmp_path, capfd):
    code = "import sys; print('grüße'); print('no data', file=sys.stderr); raise SystemExit(2)"
    told = job("a", code)._replace(log=tmp_path / "a.log")
    untold = job("b", "print('b')")._replace(log=tmp_path / "missing" / "b.log")
    environment = {"PYTHONIOENCODING": "utf-8"}
    for _ in range(2):  # a later try is added
        assert processes.run_all([told, untold], [environment])[0] == {"a": 2, "b": 0}
    lines = told.log.read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(["grüße", "no data"] * 2)
    said = capfd.readouterr()
    assert said.out.count("[b] b\n") == 2  # which cannot be kept: it is printed all the same
    assert "b.log cannot be written: No such file or directory" in said.err


@pytest.mark.parametrize(("status", "said"), [(0, "[a] told\n"), (3, "[a] told\n[a] E0000 held\n")])
def test_lines_are_held_and_shown_where_a_process_fails(status, said, capfd):
    code = f"print('E0000 held', flush=True); print('told', flush=True); raise SystemExit({status})"
    _, reader = processes.start(job("a", code), {}, re.compile("E0000"))
    reader.join(timeout=60)
    assert capfd.readouterr().out == said


def test_as_many_at_a_time_as_there_are_environments(tmp_path):
    """Two, which meet, and no two in one environment."""
    code = """
        import os, pathlib, time
        mine = pathlib.Path(os.environ["WHERE"])
        mine.mkdir()  # fails if another one has this share
        limit = time.monotonic() + 20
        while len(list(mine.parent.iterdir())) < 2 and time.monotonic() < limit:
            time.sleep(0.01)
        met = time.monotonic() < limit
        time.sleep(0.5)
        mine.rmdir()
        raise SystemExit(not met)
        """
    shares = [{"WHERE": str(tmp_path / name)} for name in ("x", "y")]
    ended, _ = processes.run_all([job(str(n), code) for n in range(4)], shares)
    assert ended == {str(n): 0 for n in range(4)}


def test_a_signal_reaches_those_that_run_and_starts_no_more(tmp_path):
    script = """
        import sys, textwrap
        from resnet_keras import processes
        code = '''
        import pathlib, signal, sys, time
        def stop(number, frame):
            pathlib.Path(sys.argv[1]).write_text("stopped")
            sys.exit(75)
        signal.signal(signal.SIGTERM, stop)
        print("ready", flush=True)
        time.sleep(60)
        '''
        jobs = [processes.Job(n, [sys.executable, "-c", textwrap.dedent(code), n]) for n in "ab"]
        print(processes.run_all(jobs, [{}]))
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "[a] ready\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 20
    assert rest == f"({{'a': 75}}, {signal.SIGTERM.value})\n"
    assert (tmp_path / "a").read_text() == "stopped"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 75), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_what_takes_no_notice_of_a_signal_ends_all_the_same(number, status):
    """As C++ does that waits, or a library that goes on after any exception."""
    code = """
        import signal, time
        from resnet_keras import processes
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
        with processes.ended_by_signals():
            while True:
                try:
                    print("ready", flush=True)
                    time.sleep(60)
                except BaseException as error:
                    print(repr(error), flush=True)
        """
    process = _started(code)
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 20
    assert process.returncode == status
    said = f"stopped by {number.name}"
    assert output.splitlines() == [f"Interrupted({said!r})", "ready", said]


def _started(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_process_that_a_signal_stopped_does_not_wait_for_threads():
    code = """
        import threading, time
        from resnet_keras import processes
        threading.Thread(target=time.sleep, args=[60]).start()
        print("said", end="")
        processes.leave(75)
        """
    process = _started(code)
    began = time.monotonic()
    assert process.communicate(timeout=50)[0] == "said"
    assert time.monotonic() - began < 30
    assert process.returncode == 75


@pytest.mark.parametrize(("config", "cleans_up"), [("", False), ("{}", True)])
def test_only_workers_clean_up_after_a_signal(config, cleans_up):
    """As TensorFlow does for seconds; the others have been asked to end at once."""
    code = """
        import atexit
        from resnet_keras import processes
        atexit.register(print, "cleaned up")
        print("said")
        processes.leave(130)
        """
    process = _started(code, TF_CONFIG=config)
    said = process.communicate(timeout=50)[0]
    assert said == ("said\ncleaned up\n" if cleans_up else "said\n")
    assert process.returncode == 130


def test_a_signal_ends_what_waits_and_then_acts_as_before(monkeypatch):
    monkeypatch.setattr(processes, "UNWINDING", 60)
    before = signal.getsignal(signal.SIGTERM)

    def twice():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # as a launcher passes it on: no second one

    with pytest.raises(Interrupted, match="by SIGTERM") as stopped, processes.ended_by_signals():
        twice()
    assert processes.status_of(stopped.value.signum) == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_workers_share_the_machine(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", "")  # no nvidia-smi
    processes.gpus.cache_clear()
    assert processes.shares(1, 0) == [{}]
    one, two = processes.shares(2, 0)
    assert one == two
    assert one["CUDA_VISIBLE_DEVICES"] == "-1"
    assert 1 <= int(one["TF_NUM_INTRAOP_THREADS"]) <= max(1, (os.cpu_count() or 1) // 2)
    with pytest.raises(InputError, match="2 GPUs are asked for, and this machine shows none"):
        processes.shares(2, 1)
    with pytest.raises(InputError, match="1 GPU is asked for, and this machine shows none"):
        processes.shares(1, 1)


def test_gpus_are_those_that_are_there(monkeypatch, tmp_path):
    def shares(*counts):
        processes.gpus.cache_clear()
        return [share["CUDA_VISIBLE_DEVICES"] for share in processes.shares(*counts)]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    lister = tmp_path / "nvidia-smi"
    lister.write_text('#!/bin/sh\nfor n in 0 1 2 3; do echo "GPU $n: NVIDIA (UUID: x)"; done\n')
    lister.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert shares(2, 2) == ["0,1", "2,3"]
    assert shares(1, 1) == ["0"]
    with pytest.raises(InputError, match="6 GPUs are asked for, and this machine shows 4"):
        shares(3, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-1a,7")
    assert shares(3, 1) == ["5", "GPU-1a", "7"]
    with pytest.raises(InputError, match="4 GPUs are asked for, and this machine shows 3"):
        shares(2, 2)
    processes.gpus.cache_clear()


def test_output_that_nobody_reads_stops_nothing():
    code = """
        import sys
        from resnet_keras import processes
        loud = "for n in range(5000): print('x' * 100)"
        job = processes.Job("a", [sys.executable, "-c", loud])
        ended, _ = processes.run_all([job], [{}])
        sys.stderr.write(str(ended))
        """
    command = f"{sys.executable} -c {shlex.quote(textwrap.dedent(code))} | head -1"
    done = subprocess.run(
        command,
        shell=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "{'a': 0}" in done.stderr


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
