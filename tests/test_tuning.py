"""The two settings of a CPU process: what makes them, what goes first, and what is recorded."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_keras
from resnet_keras import train, tuning
from resnet_keras.training import run_folder

ROOT = Path(__file__).parent.parent
X86 = platform.machine().lower() in ("x86_64", "amd64")
GLIBC = platform.libc_ver()[0] == "glibc"
ON = {"onednn": "1" if X86 else "default", "malloc": "kept" if GLIBC else "given back"}


def tuned(code="", **environment):
    """What `tune_cpu` returns in a new process with these variables only, after some code."""
    program = (
        f"import json, sys, warnings; warnings.simplefilter('error'); {code}\n"
        "import resnet_keras\n"
        "settings = resnet_keras.tune_cpu()\n"
        "assert resnet_keras.tune_cpu() == settings\n"
        "assert 'keras' not in sys.modules\n"
        "print(json.dumps(settings))"
    )
    clean = {k: v for k, v in os.environ.items() if k not in (tuning.ONEDNN, tuning.SWITCH)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, ON),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, {**ON, "onednn": "0"}),
        ({"MALLOC_ARENA_MAX": "2"}, {**ON, "malloc": "given back"}),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, {**ON, "malloc": "given back"}),
        ({"RESNET_KERAS_TUNING": "0"}, {"onednn": "default", "malloc": "given back"}),
        ({"RESNET_KERAS_TUNING": "false"}, {"onednn": "default", "malloc": "given back"}),
        (
            {"RESNET_KERAS_TUNING": "0", "TF_ENABLE_ONEDNN_OPTS": "1"},
            {"onednn": "1", "malloc": "given back"},
        ),
    ],
)
def test_the_environment_goes_first(environment, settings):
    assert tuned(**environment) == settings


def test_nothing_happens_on_import():
    unset = "assert 'TF_ENABLE_ONEDNN_OPTS' not in os.environ"
    code = f"import os; import resnet_keras.commands.shell; {unset}"
    assert tuned(code) == ON


@pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")
def test_freed_memory_is_kept():
    """A block that is taken and freed again and again is faulted in once."""
    code = (
        "import resource; from resnet_keras import tuning; import os\n"
        "def faults():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n"
        "    before = faults()\n"
        "    for _ in range(20): bytearray(24 * 2**20)\n"
        "    return faults() - before\n"
        "before = work(); tuning.tune_cpu(); work(); after = work()\n"
        "assert before > 20 and after < before / 10, (before, after)"
    )
    tuned(code)


def test_what_was_recorded_outlasts_later_calls():
    code = "import resnet_keras; resnet_keras.tune_cpu({'onednn': 'default'})"
    assert tuned(code)["onednn"] == "default"


def test_late_calls_are_told(monkeypatch):
    monkeypatch.setattr(tuning, "_repeats", False)
    monkeypatch.delenv(tuning.ONEDNN, raising=False)
    monkeypatch.delenv(tuning.SWITCH, raising=False)
    if X86:  # TensorFlow is imported here
        with pytest.warns(UserWarning, match=r"TensorFlow was imported before tune_cpu"):
            assert resnet_keras.tune_cpu()["onednn"] == "default"


@pytest.mark.parametrize("value", ["0", "1", "default"])
@pytest.mark.parametrize("given", ["0", "1", None])
def test_a_run_goes_on_with_what_it_was_begun_with(value, given, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tuning, "_repeats", False)  # and again after the test
    for name in (tuning.ONEDNN, tuning.SWITCH):
        monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(tuning.ONEDNN, given)
    recorded = {"keras": "3.15.1", **({"onednn": value} if value != "default" else {})}
    (tmp_path / run_folder.ENVIRONMENT).write_text(json.dumps(recorded))
    # It ends at its data, when TensorFlow has been started.
    for split in ("train", "val"):
        (tmp_path / "images" / split / "cats").mkdir(parents=True)
        (tmp_path / "images" / split / "cats" / "a.jpg").write_bytes(b"")
    arguments = [
        "train",
        f"--workdir={tmp_path}",
        "--dataset=folder",
        f"--data_dir={tmp_path / 'images'}",
        "--services=grpc://localhost:1",
    ]
    assert train.main(arguments) == 2
    said = capsys.readouterr().err
    assert os.environ.get(tuning.ONEDNN, "default") == value
    differs = given is not None and given != value
    assert (f"the run was begun with {value}" in said) == differs
    assert "No service answers" in said


def test_the_processor_is_named():
    facts = tuning.processor()
    assert facts["name"]
    assert 1 <= facts["cores"] <= os.cpu_count()
    assert set(facts["features"]) <= set(tuning._FEATURES)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
