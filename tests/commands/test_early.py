"""What flags alone tell is said before TensorFlow is imported."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DIGITS = ["train", "--recipe=resnet20_digits"]
CIFAR = ["train", "--recipe=resnet20_cifar10"]
PHOTOGRAPHS = ["train", "--recipe=resnet18_imagenet"]
TRAINED = ["evaluate", "--model=resnet20", "--weights=digits"]
# Arguments, and what is said of them.
CONTRADICTIONS = [
    (
        [*DIGITS, "--train_steps=40"],
        "--train_steps=40 with --warmup_steps=45: take --warmup_steps=4",
    ),
    (
        [*CIFAR, "--schedule=cosine"],
        "--boundaries belong to --schedule=step, not to --schedule=cos",
    ),
    ([*CIFAR, "--boundaries=20,10"], "not --boundaries=20,10: take --boundaries=10,20"),
    (
        [*CIFAR, "--boundaries=", "--schedule=plateau", "--warmup_until_error=0.8"],
        "take --warmup_until_error=0",
    ),
    ([*CIFAR, "--boundaries=x"], "--boundaries is a list of whole numbers"),
    ([*DIGITS, "--ema=1"], "--ema must be in [0, 1), not 1.0: take --ema=0.9999"),
    ([*DIGITS, "--clip_norm=0"], "leave it out to clip nothing"),
    ([*DIGITS, "--steps_per_execution=7"], "take --train_steps=1204"),
    ([*DIGITS, "--accumulate_steps=3"], "take a multiple of 3, such as --batch_size=66"),
    (
        [*DIGITS, "--logical_cpus=3"],
        "among 3 replicas: take a multiple of 3, such as --batch_size=66",
    ),
    ([*DIGITS, "--logical_cpus=2", "--strategy=one_device"], "of --strategy=mirrored"),
    ([*DIGITS, "--jit_compile"], "take --strategy=one_device, or --nojit_compile"),
    ([*DIGITS, "--strategy=multi_worker"], "give --workdir"),
    ([*DIGITS, "--strategy=multi_worker", "--workdir=w"], "environment variable TF_CONFIG"),
    (
        [*DIGITS, "--strategy=multi_worker", "--workdir=w", "--cluster=slurm"],
        "SLURM_PROCID is not set",
    ),
    ([*DIGITS, "--cluster=slurm"], "--cluster=slurm is for --strategy=multi_worker"),
    ([*DIGITS, "--freeze=conv2"], "--freeze is for networks with --weights"),
    ([*DIGITS, "--weights=digits", "--freeze=conv9"], "Choose one of conv1"),
    ([*DIGITS, "--weights=digits", "--shortcut=B"], "belongs to the weights"),
    ([*DIGITS, "--model=plain20", "--shortcut=A"], "plain20 has no option shortcut"),
    ([*DIGITS, "--model=plain20", "--stochastic_depth=0.1"], "no residual branches"),
    ([*DIGITS, "--model=densenet40_12", "--stochastic_depth=0.1"], "densenet40_12 has no residual"),
    ([*DIGITS, "--model=vgg16", "--stochastic_depth=0.1"], "leave --stochastic_depth out"),
    ([*DIGITS, "--model=vgg16", "--remat"], "vgg16 keeps as much with --remat"),
    ([*DIGITS, "--model=vgg19", "--sync_batch_norm"], "vgg19 has no batch normalization: leave"),
    ([*DIGITS, "--model=plain20", "--block_dropout=0.3"], "leave --block_dropout out"),
    ([*DIGITS, "--dataset=imagenet"], "Did you mean 'imagenet2012'?"),
    ([*DIGITS, "--dataset=beans"], "Did you mean 'tfds/beans'?"),
    ([*DIGITS, "--train_split=training"], "Did you mean 'train'?"),
    ([*DIGITS, "--mixup=0.2"], "digits has its own augmentation"),
    ([*DIGITS, "--data_sha256=0a"], "--data_sha256 is of files that you bring"),
    ([*DIGITS, "--exif_orientation"], "--exif_orientation is for photographs"),
    ([*DIGITS, "--eval_resize=20"], "digits is evaluated as it is, without --eval_resize"),
    ([*CIFAR, "--image_size=64"], "not --image_size=64: leave --image_size out"),
    ([*PHOTOGRAPHS, "--scales=100,200"], "do not fit crops of side 224: --image_size <= smallest"),
    ([*PHOTOGRAPHS, "--scales=480,256"], "such as --scales=256,480"),
    (
        [*PHOTOGRAPHS, "--batch_size=24", "--services=grpc://a:1,grpc://b:1"],
        "of --batch_size=24 cannot be shared out: make it a multiple of 16, such as --batch",
    ),
    ([*DIGITS, "--services=grpc://a:1"], "digits is held in memory: --services are for photo"),
    ([*PHOTOGRAPHS, "--eval_resize=200"], "take --eval_resize=256"),
    ([*PHOTOGRAPHS, "--normalization=pixel"], "take --normalization=channel"),
    ([*PHOTOGRAPHS, "--dataset=folder"], "Give --data_dir=FOLDER"),
    ([*PHOTOGRAPHS, "--dataset=folder", "--data_dir=nowhere"], "There is no folder nowhere"),
    (
        [*PHOTOGRAPHS, "--dataset=folder", "--data_dir=runs"],
        "runs has no folder train/; it has no folders. Images belong in train/CLASS/ and val/CL",
    ),
    ([*TRAINED, "--split=validation"], "Unknown split 'validation'"),
    ([*TRAINED, "--ensemble=resnet20=digits,resnet32=digits"], "leave --model out"),
    ([*TRAINED, "--protocol=ten_crop"], "are for photographs"),
    (
        [*TRAINED, "--dataset=imagenet2012", "--scales=x", "--protocol=multi_scale"],
        "--scales is a list",
    ),
    (["reproduce", "depth", "--train_steps=40"], "--train_steps is for the training: write it"),
    (["reproduce", "imagenet", "--dtype=float32"], "--dtype is for the evaluation: write it"),
    (["reproduce", "depth", "--", "--train_steps=40"], "take --warmup_steps=4"),
    (["report", "gs://bucket/runs"], "gs://bucket/runs is no local path"),
    (["report", "--out=s3://bucket/report", "runs"], "--out: s3://bucket/report is no local path"),
    (["launch", "--recipe=resnet20_digits"], "--recipe is for the training: write it after --"),
    (["launch", "--seed=1", "--", *DIGITS[1:]], "--seed is for the training: write it after --"),
    (["launch", "--recpie=x"], "Unknown flag --recpie"),
    (["evaluate", "--model=a.png"], "a.png is a file: give it as --weights of its network"),
    (["pipelines", "preview", "--dataset=digits", "--mixup=1", "--out=x.png"], "own augmentation"),
]
COMMANDS = (
    *("train", "evaluate", "predict", "report", "reproduce", "benchmark", "pipelines", "launch"),
)
# Arguments, the package that is not there, and its extra.
EXTRAS = [
    (DIGITS, "sklearn", "digits"),
    (TRAINED, "sklearn", "digits"),
    (["reproduce", "depth"], "sklearn", "digits"),
    (["reproduce", "depth"], "matplotlib", "plot"),
    (["reproduce", "detection"], "pycocotools", "detection"),
    (["report", "runs"], "matplotlib", "plot"),
    (["benchmark", "input"], "cv2", "benchmark"),
    (["benchmark", "input"], "PIL", "benchmark"),
    (
        ["predict", "--model=resnet20", "--weights=digits", "--plot=x.png", "a.png"],
        "matplotlib",
        "plot",
    ),
    (["pipelines", "preview", "--dataset=digits", "--out=x.png"], "matplotlib", "plot"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Status and error of each command, in one process that cannot import TensorFlow or Keras."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "a.png").write_bytes(b"")
    (folder / "runs").mkdir()
    code = """
        import contextlib, io, json, sys

        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("tensorflow", "keras"):
                    raise AssertionError(f"{name} is imported")

        sys.meta_path.insert(0, Blocked())
        from resnet_keras import __main__ as front

        def run(arguments, missing):
            before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == missing}
            for name in before:
                del sys.modules[name]
            if missing:
                sys.modules[missing] = None
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = front.main(["resnet-keras", *arguments])
            if missing:
                del sys.modules[missing]
            sys.modules.update(before)
            return status, out.getvalue(), err.getvalue()

        print(json.dumps([run(*case) for case in json.loads(sys.stdin.read())]))
        """
    cases = [(arguments, None) for arguments, _ in CONTRADICTIONS]
    cases += [(arguments, missing) for arguments, missing, _ in EXTRAS]
    cases += [([name, "--help"], None) for name in COMMANDS]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "TF_CONFIG"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        cwd=folder,
        env={**env, "PYTHONPATH": str(ROOT)},
        input=json.dumps(cases),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {path.name for path in folder.iterdir()} <= {"a.png", "runs", "reproduced"}  # no gs:
    return results


@pytest.mark.parametrize("case", range(len(CONTRADICTIONS)))
def test_contradictions(said, case):
    status, out, err = said[case]
    assert (status, out) == (2, ""), err
    assert CONTRADICTIONS[case][1] in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("case", range(len(EXTRAS)))
def test_missing_extras(said, case):
    status, out, err = said[len(CONTRADICTIONS) + case]
    _, package, extra = EXTRAS[case]
    assert (status, out) == (2, "")
    assert err == (
        f"error: This needs the package {package!r}, which is not installed: "
        f"pip install 'resnet_keras[{extra}]'.\n"
    )


def test_help(said):
    for status, out, err in said[-len(COMMANDS) :]:
        assert (status, err) == (0, "")
        assert "--flagfile" in out


def test_the_peers_of_the_input_benchmark_are_stated_as_they_are():
    from resnet_keras import benchmark
    from resnet_keras.benchmarks import input

    assert set(benchmark.INPUT_PEERS) == set(input.PEERS)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
