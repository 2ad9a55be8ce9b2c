"""The network benchmark's contestants, its table and its JSON; never its speed."""

import contextlib
import json
import sys

import numpy as np
import pytest

from resnet_keras import benchmark, tuning
from resnet_keras.benchmarks import clocks, detection, files, networks, segmentation

TINY = ("--model=resnet50", "--batch_size=2", "--image_size=32", "--steps=2", "--rounds=2")
FIGURES = ("wall", "cpu", "system", "faults", "peak_memory_gib")


@pytest.mark.slow
@pytest.mark.parametrize("task", networks.MODEL_TASKS)
def test_times_all_in_turns(task, capsys):
    arguments = (task, *TINY, "--peer=keras.applications,untuned", "--json")
    assert benchmark.main(["benchmark", *arguments]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    names = ["resnet_keras", "keras.applications", "resnet_keras without tuning"]
    assert list(result["timings"]) == list(result["contestants"]) == names
    beside = networks.BESIDE if task == "predict" else ()
    for timing in result["timings"].values():
        assert timing["wall"] > 0
        assert timing["cpu"] > 0
        assert timing.keys() == {*FIGURES, *beside}
    assert list(result["ratio"]) == names[1:]
    # Only this package makes the settings; its peers run as their users run them.
    malloc = [facts["malloc"] for facts in result["contestants"].values()]
    if tuning.tune_cpu()["malloc"] == tuning.KEPT:
        assert malloc == [tuning.KEPT, tuning.GIVEN_BACK, tuning.GIVEN_BACK]
    assert (result["gflops"] is None) == (task in ("build", "load"))
    table = networks.report(result)
    assert table.count("x CPU)") == 2
    assert result["processor"]["name"] in table
    steps = task in ("predict", "train")
    assert ("GFLOP/s, of which resnet_keras makes" in table) == steps
    # ResNet-50 has 4.1e9 multiply-adds at 224x224.
    gflop = result["contestants"]["resnet_keras"]["gflop"]
    passes = {"train": 3, "predict": 1}.get(task)
    assert gflop == (
        pytest.approx(passes * 2 * 3.9 * 2 * 32**2 / 224**2, rel=0.1) if steps else None
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "peer"),
    [
        ("float32", "keras.applications"),
        ("mixed_float16", "untuned"),
    ],
)
def test_rematerialized_training_tells_its_peak_memory(dtype, peer, capsys):
    arguments = ("--model=resnet8", f"--peer={peer}", "--batch_size=2", "--image_size=16")
    arguments = (*arguments, "--steps=1", "--rounds=1", "--remat", f"--dtype={dtype}", "--json")
    assert benchmark.main(["benchmark", "train", *arguments]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    others = ["resnet_keras without tuning"] if peer == "untuned" else []
    assert list(result["timings"]) == ["resnet_keras", *others]
    assert list(result["ratio"]) == others
    assert result["remat"] is True
    table = networks.report(result)
    assert table.startswith(f"train resnet8, rematerialized, {dtype}")
    alone = "keras.applications has no resnet8: timed without it"
    assert (alone in table) == (peer == "keras.applications")
    if clocks.CLEAR_REFS.exists():
        peak = result["timings"]["resnet_keras"]["peak_memory_gib"]
        assert 0.1 < peak < 64
        assert f"{peak:.2f}" in table


@pytest.mark.slow
def test_peak_memory_follows_what_is_held():
    if not clocks.reset_peak_memory():
        pytest.skip("peak memory is read from Linux's /proc")
    before = clocks.peak_memory_gib()
    assert before is not None
    # 2 GiB: of less, what the process had freed before may be taken again.
    held = np.ones(2**28)
    del held
    peak = clocks.peak_memory_gib()
    assert peak is not None
    assert 1 < peak - before < 2.1


def test_peak_memory_is_not_measured_without_linux(monkeypatch, tmp_path):
    monkeypatch.setattr(clocks, "CLEAR_REFS", tmp_path / "no" / "clear_refs")
    monkeypatch.setattr(clocks, "STATUS", tmp_path / "status")
    assert not clocks.reset_peak_memory()
    assert clocks.peak_memory_gib() is None


@pytest.mark.slow
def test_engines_predict_with_the_exported_network(capsys):
    engines = ["onnxruntime", "openvino", "litert"]
    for package in ("onnxruntime", "openvino", "ai_edge_litert", "tf2onnx"):
        pytest.importorskip(package)
    arguments = ("predict", "--model=resnet8", "--image_size=16", *TINY[1:2], *TINY[3:])
    assert benchmark.main(["benchmark", *arguments, f"--peer={','.join(engines)}", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["timings"]) == ["resnet_keras", *engines]
    ours = result["timings"]["resnet_keras"]["bytes"]
    for timing in result["timings"].values():
        assert timing["first_answer"]["cpu"] > timing["cpu"] > 0
        assert ours / 2 < timing["bytes"] < 2 * ours
    lines = networks.report(result).splitlines()
    assert lines[1].endswith("MB")
    assert len({len(line) for line in lines[1:6]}) == 1


@pytest.mark.slow
def test_labels_of_files_are_timed_by_each_engine(capsys):
    pytest.importorskip("openvino")
    arguments = ("files", "--model=resnet8", "--image_size=16", "--jpegs=5", "--batch_size=2")
    arguments = (*arguments, "--engines=keras,openvino", "--peer=openvino", "--rounds=2", "--json")
    assert benchmark.main(["benchmark", *arguments]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    names = ["resnet_keras keras", "resnet_keras openvino", "openvino"]
    assert list(result["timings"]) == list(result["times"]) == names
    assert result["engine"] == "openvino"
    for name in names:
        assert result["timings"][name]["cpu"] > 0
        assert result["timings"][name]["first_answer"]["cpu"] > 0
        assert result["times"][name].keys() == {"engine"}
    assert result["times"]["openvino"]["engine"] == {"wall": 1, "cpu": 1}
    lines = files.report(result).splitlines()
    assert "openvino alone x" in lines[1]
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    "package",
    [
        "torch",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("openvino", "onnxruntime")),
    ],
)
def test_a_peer_that_is_not_installed_is_named(package, monkeypatch, tmp_path, capsys):
    # In the contestant's process, which inherits this path.
    for stub in ("torch", "torchvision", "onnxruntime", "openvino"):
        text = "set_num_threads = int" if stub != package else "raise ModuleNotFoundError(name="
        (tmp_path / f"{stub}.py").write_text(text + (f"{stub!r})" if stub == package else ""))
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ("predict", "--model=resnet18", f"--peer={package}", *TINY[1:])
    assert benchmark.main(["benchmark", *arguments]) == 2
    said = capsys.readouterr().err
    assert f"needs the package {package!r}" in said
    assert "pip install" in said
    assert said.count("\n") == 1


def test_a_contestant_that_fails_shows_what_it_said(monkeypatch, tmp_path, capfd):
    (tmp_path / "absl.py").write_text("raise SystemError('broken installation')")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    with pytest.raises(RuntimeError, match="ended with status 1"):
        benchmark.main(["benchmark", "build", *TINY, "--peer=none"])
    assert "broken installation" in capfd.readouterr().err


@pytest.mark.slow
def test_runs_without_a_peer_and_on_jax(command):
    pytest.importorskip("jax")
    arguments = ("--model=resnet8", "--peer=none", *TINY[1:], "--dtype=mixed_bfloat16", "--json")
    done = command("benchmark", "train", *arguments, env={"KERAS_BACKEND": "jax"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["backend"] == "jax"
    assert result["contestants"]["resnet_keras"]["backend"] == "jax"
    assert result["ratio"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "neck"), [("inference", "fpn"), ("training", "c4")])
def test_detectors_are_timed_whole_and_on_their_dense_parts(step, neck, capsys):
    peer = "none"
    with contextlib.suppress(ImportError):
        import torch  # pyright: ignore

        peer = torch and "torchvision"
    arguments = (f"--step={step}", f"--neck={neck}", f"--peer={peer}", "--height=64", "--width=96")
    arguments = (*arguments, "--rois=8", "--steps=2", "--rounds=2", "--json")
    assert benchmark.main(["benchmark", "detection", *arguments]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    contestants = ["resnet_keras", "resnet_keras dense"]
    contestants += [f"{peer} dense"] if peer != "none" else []
    assert list(result["timings"]) == contestants
    for timing in result["timings"].values():
        assert timing["cpu"] > 0
        assert timing.keys() == set(FIGURES)
    if peer != "none":
        assert list(result["ratio"][peer]) == contestants[:2]
    assert detection.report(result).count("beside torchvision") == 2 * (peer != "none")


@pytest.mark.slow
@pytest.mark.parametrize(("step", "head"), [("inference", "deeplabv3"), ("training", "fcn")])
def test_segmenters_are_timed(step, head, capsys):
    peer = "none"
    with contextlib.suppress(ImportError):
        import torch  # pyright: ignore

        peer = torch and "torchvision"
    arguments = (f"--step={step}", f"--head={head}", f"--peer={peer}", "--height=64", "--width=96")
    arguments = (*arguments, "--batch_size=2", "--steps=2", "--rounds=2", "--json")
    assert benchmark.main(["benchmark", "segmentation", *arguments]) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    assert list(result["timings"]) == ["resnet_keras", *([peer] if peer != "none" else [])]
    for timing in result["timings"].values():
        assert timing["cpu"] > 0
        assert timing.keys() == set(FIGURES)
    assert segmentation.report(result).count("beside torchvision") == (peer != "none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "train, predict, build, load, files, input, detection, segmentation"),
        (["trian"], "Unknown task 'trian'. Did you mean 'train'?"),
        (["train", "--peer=toch"], "Did you mean 'torch'?"),
        (["train", "--peer=openvino"], "not timed at train, but at predict"),
        (["build", "--peer=torch"], "not timed at build"),
        (["train", "--peer=torch", "--dtype=mixed_float16"], "torch is timed in float32 and"),
        (["predict", "--peer=onnxruntime", "--dtype=mixed_bfloat16"], "is timed in float32 here"),
        (["train", "--peer=litert"], "not timed at train, but at predict"),
        (["train", "--rounds=0"], "rounds"),
        (["train", "--image_size=16"], "32 or more"),
        (["train", "--model=resnet51"], "Unknown model"),
        (["files", "--peer=torch"], "Unknown peer 'torch'"),
        (["files", "--engines=auto"], "not auto"),
        (["files", "--model=resnet18"], "leave it out of the peers"),
        (["files", "--steps=2"], "leave --steps out"),
        (["files", "--dtype=mixed_float16"], "in float32 and mixed_bfloat16"),
        (["files", "--engines=litert", "--dtype=mixed_bfloat16"], "computes in float32 here"),
        (["predict", "--remat"], "--remat is no flag of predict"),
        (["input", "--model=resnet50"], "--model is no flag of input"),
        (["detection", "--dtype=float32"], "--dtype is no flag of detection"),
        (["detection", "--peer=torchvison"], "Did you mean 'torchvision'?"),
        (["detection", "--model=resnet18"], "with resnet50, resnet101, resnet152, not with"),
        (["train", "--neck=c4"], "--neck is no flag of train"),
        (["segmentation", "--neck=c4"], "--neck is no flag of segmentation"),
        (["segmentation", "--output_stride=16"], "at output stride 8; --peer=none times ours"),
        (["segmentation", "--model=vgg16", "--peer=none"], "vgg16 has no --output_stride"),
        (["detection", "--head=fcn"], "--head is no flag of detection"),
        (["segmentation", "--step=training", "--batch_size=1"], "take --batch_size=2"),
        (["input", "--peers=open_cv"], "Did you mean 'opencv'?"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, capsys):
    assert benchmark.main(["benchmark", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
