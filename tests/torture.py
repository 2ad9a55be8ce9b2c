"""Kills a training run at random moments, spoils its files and its disk, and compares the bits.

    python tests/torture.py --folder=/tmp/torture --kills=25
    python tests/torture.py --folder=/tmp/torture --kills=10 detection -- --logical_cpus=2

The run is a classifier's, or a detector's; what comes after -- are more of its flags.

Trains once undisturbed. Then trains the same with SIGKILL at random moments, bytes flipped in and
cut off the last checkpoint between the starts, SIGTERM, a full disk, and folders and a disk that
cannot be written to (as root, to mount a small tmpfs; --nodisk leaves it out). At the end all
weights must be the same bytes, and metrics.csv the same but for its times.
"""

import contextlib
import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 25, "How often the run is killed.", 1)
flags.DEFINE_integer("seed", 0, "Of the moments.")
flags.DEFINE_string("folder", None, "Where the runs are made; a new folder.", required=True)
flags.DEFINE_bool("disk", True, "Fill the disk and make it read-only, too (as root).")

ROOT = Path(__file__).parent.parent


class Run(NamedTuple):
    """A command that trains, and its flags."""

    command: str
    flags: tuple[str, ...]


# All that has state: two replicas, accumulation, averages, dropped branches and features, a rule.
CLASSIFIER = (
    "--model=resnet8",
    "--dataset=digits",
    "--image_size=8",
    "--batch_size=32",
    "--train_steps=60",
    "--eval_every=20",
    "--checkpoint_every=3",
    "--learning_rate=0.05",
    "--schedule=plateau",
    "--patience=1",
    "--logical_cpus=2",
    "--accumulate_steps=2",
    "--ema=0.9",
    "--stochastic_depth=0.2",
    "--dropout=0.2",
)
# An evaluation takes about as long as the steps before it, and is killed as often.
DETECTOR = (
    "--model=resnet10_shapes",
    "--dataset=shapes",
    "--train_split=train[:40]",
    "--eval_split=val[:32]",
    "--anchor_sizes=16,32,64",
    "--settings=proposals=64/64,proposals_before=200/200,roi_samples=16,rpn_samples=32",
    "--batch_size=4",
    "--eval_batch_size=4",
    "--train_steps=36",
    "--eval_every=12",
    "--checkpoint_every=4",
    "--learning_rate=0.01",
    "--schedule=cosine",
    "--warmup_steps=4",
    "--clip_norm=10",
    "--context",
)
RUNS = {
    "classification": Run("train", CLASSIFIER),
    "detection": Run("detection.train", DETECTOR),
}
RUN = RUNS["classification"]
TIMES = ("seconds", "images_per_second", "input_wait")
PREEMPTED = 75


def start(folder: Path, run=RUN, log: Path | None = None) -> subprocess.Popen:
    """Starts the run, or starts it again; its output goes to log.txt in `log` or beside it."""
    with open((log or folder.parent) / "log.txt", "a") as file:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", f"resnet_keras.{run.command}"),
                *(*run.flags, f"--workdir={folder}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        )


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoints/step-*"))


def kill_somewhere(
    folder: Path, moments: random.Random, run=RUN, number=signal.SIGKILL, hurried=0.2
) -> int:
    """Starts the run and kills it within seconds of its next checkpoint; returns its status.

    The run may end before. A share `hurried` of the kills come while it starts.
    """
    process = start(folder, run)
    before, began = checkpoints(folder), time.monotonic()
    hurry = moments.random() < hurried
    limit = moments.uniform(0, 5) if hurry else 300
    while process.poll() is None and time.monotonic() - began < limit:
        if checkpoints(folder) != before:
            time.sleep(moments.expovariate(moments.choice((0.5, 4))))
            break
        time.sleep(0.002)
    process.send_signal(number)
    return process.wait()


def in_evaluation(folder: Path, run=RUN) -> bool:
    """Whether a run was stopped in an evaluation, which comes after a checkpoint."""
    every = int(dict(flag.split("=", 1) for flag in run.flags if "=" in flag)["--eval_every"])
    steps = [int(path.name.split("-")[1]) for path in checkpoints(folder)]
    return bool(steps) and not steps[-1] % every and len(rows(folder)) < steps[-1] // every


def kill_in_evaluation(folder: Path, run, number=signal.SIGKILL) -> int:
    """Starts the run and kills it in the evaluation after its next steps; returns its status.

    The evaluation must last for more than a second.
    """
    before, process = checkpoints(folder), start(folder, run)
    while process.poll() is None and (
        checkpoints(folder) == before or not in_evaluation(folder, run)
    ):
        time.sleep(0.01)
    time.sleep(1.0)
    process.send_signal(number)
    return process.wait()


def spoil_last_checkpoint(folder: Path, moments: random.Random) -> None:
    """Flips a bit of the last checkpoint, or cuts it off."""
    found = checkpoints(folder)
    if not found:
        return
    content = bytearray(found[-1].read_bytes())
    place = moments.randrange(len(content))
    if moments.random() < 0.5:
        content[place] ^= 1 << moments.randrange(8)
    else:
        del content[place:]
    found[-1].write_bytes(content)


def differences(one: Path, two: Path) -> list[str]:
    """What differs between two finished runs: names of files, and columns of metrics.csv."""
    names = sorted(path.name for path in (*one.glob("weights.*"), *one.glob("best.*")))
    assert len(names) == 2, names
    wrong = [name for name in names if content(one / name) != content(two / name)]
    kept = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in rows(run)]
        for run in (one, two)
    ]
    return wrong if kept[0] == kept[1] else [*wrong, "metrics.csv"]


def content(file: Path) -> object:
    """What must be the same in two runs' weights.

    Of a .keras file all but when it was saved, and where in memory its configuration lay.
    """
    if file.suffix != ".keras":
        return file.read_bytes()
    with zipfile.ZipFile(file) as parts:
        config = re.sub(rb'"shared_object_id": \d+', b"", parts.read("config.json"))
        return config, parts.read("model.weights.h5")


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def curve(folder: Path) -> list[list[float]]:
    """What `metrics.csv` tells of learning, a row per evaluation."""
    columns = ("loss", "top1_error", "val_loss", "val_top1_error", "learning_rate")
    return [[float(row[name]) for name in columns] for row in rows(folder)]


def assert_near(one: Path, other: Path, network: str = "resnet8") -> None:
    """Two runs of a network that differ in the order of sums only, over a few steps."""
    import numpy as np

    from resnet_keras import zoo

    np.testing.assert_allclose(curve(other), curve(one), rtol=1e-3)
    expected, found = (
        zoo.weights.find(network, run / "weights.safetensors")[1].tensors for run in (one, other)
    )
    for name, tensor in expected.items():
        values = found[name].read()
        np.testing.assert_allclose(values, tensor.read(), rtol=0.02, atol=2e-4, err_msg=name)


def run_to_end(folder: Path, run=RUN) -> None:
    status = start(folder, run).wait()
    if status:
        raise SystemExit(f"training ended with status {status}: see {folder.parent / 'log.txt'}")


def mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)


def expect_refusal(
    folder: Path, run: Run, spoil: Callable[[], object], cure: Callable[[], object]
) -> None:
    """The run must end with status 2 once `spoil` has acted on its disk; `cure` undoes that."""
    process, before = start(folder, run), checkpoints(folder)
    while process.poll() is None and checkpoints(folder) == before:
        time.sleep(0.01)
    spoil()
    status = process.wait()
    cure()
    if status != 2:
        raise SystemExit(f"a spoilt disk ended the run with status {status}, not 2")


def disk_trouble(place: Path, reference: Path, run: Run) -> None:
    """A full disk, then a read-only one, under a run that goes on after each."""
    place.mkdir()
    mount(place, "size=10m")
    try:
        folder, ballast = place / "run", place / "ballast"

        def fill():
            with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

        expect_refusal(folder, run, fill, ballast.unlink)
        print("disk full: refused, and freed")
        mount(place, "remount,size=64m")

        def lock(sign):
            for each in (folder, folder / "checkpoints"):
                subprocess.run(["chattr", f"{sign}i", each], check=True)

        # A disk cannot be mounted read-only while files are open in it; folders can be locked.
        expect_refusal(folder, run, lambda: lock("+"), lambda: lock("-"))
        print("folder read-only under a run: refused, and made writable")
        mount(place, "remount,ro")
        if start(folder, run, log=place.parent).wait() != 2:
            raise SystemExit("a run was not refused on a read-only disk")
        mount(place, "remount,rw")
        print("disk read-only before a run: refused, and made writable")
        run_to_end(folder, run)
        report("after a full and a read-only disk", differences(reference, folder))
    finally:
        subprocess.run(["umount", place], check=False)


def report(what: str, wrong: list[str]) -> None:
    if wrong:
        raise SystemExit(f"{what}: {', '.join(wrong)} differ")
    print(f"{what}: the same bytes")


def main(argv) -> None:
    kind, *more = argv[1:] or ["classification"]
    run = RUNS[kind]._replace(flags=(*RUNS[kind].flags, *more))
    folder = Path(FLAGS.folder).absolute()
    folder.mkdir(parents=True)
    moments = random.Random(FLAGS.seed)
    reference, victim = folder / "undisturbed", folder / "killed"
    run_to_end(reference, run)
    run_to_end(folder / "again", run)
    report("undisturbed, twice", differences(reference, folder / "again"))
    kills = evaluating = spoilt = finished = 0
    while kills < FLAGS.kills:
        status = kill_somewhere(victim, moments, run)
        if status == -signal.SIGKILL:
            kills += 1
            evaluating += in_evaluation(victim, run)
        elif status:
            raise SystemExit(f"training ended with status {status}: see {folder / 'log.txt'}")
        else:  # it came to its end; another victim for the other kills
            report(f"after {kills} kills", differences(reference, victim))
            finished += 1
            victim = folder / f"killed-{finished}"
        if moments.random() < 0.25:
            spoil_last_checkpoint(victim, moments)
            spoilt += 1
    run_to_end(victim, run)
    report(
        f"after {kills} kills, {evaluating} of them in evaluations, {spoilt} spoilt checkpoints",
        differences(reference, victim),
    )
    status = kill_somewhere(folder / "preempted", moments, run, signal.SIGTERM, hurried=0)
    run_to_end(folder / "preempted", run)
    if status != PREEMPTED:
        raise SystemExit(f"SIGTERM ended the run with status {status}, not {PREEMPTED}")
    report("after SIGTERM", differences(reference, folder / "preempted"))
    if FLAGS.disk:
        disk_trouble(folder / "disk", reference, run)


if __name__ == "__main__":
    app.run(main)
