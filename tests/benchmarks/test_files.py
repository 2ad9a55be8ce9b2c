"""The table from files to labels, of made-up rounds."""

import contextlib
import sys

import pytest

from resnet_keras.benchmarks import files, races
from resnet_keras.benchmarks.clocks import Timing


def test_ratios_are_to_the_loop_and_to_the_fastest_engine_alone(monkeypatch):
    cpu = {"resnet_keras keras": 4, "keras.applications": 8, "openvino": 2, "onnxruntime": 3}

    @contextlib.contextmanager
    def process(module, spec):
        assert spec.wanted == ["onnxruntime", "openvino"]
        yield None, {"folders": {"openvino": "a", "onnxruntime": "b"}}

    def race(module, specs, *, rounds, steps):
        assert {name: spec.exported for name, spec in specs.items()} == {
            **dict.fromkeys(cpu, None),
            "openvino": "a",
            "onnxruntime": "b",
        }
        facts = {name: {"first_answer": {"wall": None, "cpu": 1.0}} for name in specs}
        made = {name: [Timing(2 * cpu[name], cpu[name], 0, 0)] * rounds for name in specs}
        medians = {n: {**made[n][0]._asdict(), "peak_memory_gib": None} for n in specs}
        return races.Race(facts, made, medians)

    monkeypatch.setattr(files, "check", lambda *_: None)
    monkeypatch.setattr(files, "process", process)
    monkeypatch.setattr(races, "race", race)
    options = {"files": 8, "batch_size": 2, "image_size": 16, "dtype": "float32", "rounds": 2}
    result = files.compare("resnet50", ours=["keras"], peers=[*cpu][1:], **options)
    assert result["engine"] == "openvino"
    assert result["times"]["resnet_keras keras"] == {
        "keras.applications": {"wall": 2, "cpu": 2},
        "engine": {"wall": 0.5, "cpu": 0.5},
    }
    lines = files.report(result).splitlines()
    assert "openvino alone x" in lines[1]
    assert len({len(line) for line in lines[1:]}) == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
