"""Kills a training run at random moments, spoils its files and its disk, and compares the bits.

    python tests/torture.py --folder=/tmp/torture --kills=25

Trains once undisturbed. Then trains the same with SIGKILL at random moments, bytes flipped in and
cut off the last checkpoint between the starts, SIGTERM, a full disk, and folders and a disk that
cannot be written to (as root, to mount a small tmpfs; --nodisk leaves it out). At the end all
weights must be the same bytes, and metrics.csv the same but for its times.
"""

import contextlib
import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 25, "How often the run is killed.", 1)
flags.DEFINE_integer("seed", 0, "Of the moments.")
flags.DEFINE_string("folder", None, "Where the runs are made; a new folder.", required=True)
flags.DEFINE_bool("disk", True, "Fill the disk and make it read-only, too (as root).")

ROOT = Path(__file__).parent.parent
# All that has state: two replicas, accumulation, averages, dropped branches and features, a rule.
RUN = (
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
TIMES = ("seconds", "images_per_second", "input_wait")
PREEMPTED = 75


def start(folder: Path, arguments=RUN, log: Path | None = None) -> subprocess.Popen:
    """Starts the run, or starts it again; its output goes to log.txt in `log` or beside it."""
    with open((log or folder.parent) / "log.txt", "a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "resnet_keras.train", *arguments, f"--workdir={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        )


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoints/step-*"))


def kill_somewhere(
    folder: Path, moments: random.Random, arguments=RUN, number=signal.SIGKILL, hurried=0.2
) -> int:
    """Starts the run and kills it within seconds of its next checkpoint; returns its status.

    The run may end before. A share `hurried` of the kills come while it starts.
    """
    process = start(folder, arguments)
    before, began = checkpoints(folder), time.monotonic()
    hurry = moments.random() < hurried
    limit = moments.uniform(0, 5) if hurry else 300
    while process.poll() is None and time.monotonic() - began < limit:
        if checkpoints(folder) != before:
            time.sleep(moments.expovariate(4))
            break
        time.sleep(0.002)
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
    wrong = [
        name
        for name in ("weights.safetensors", "best.safetensors")
        if (one / name).read_bytes() != (two / name).read_bytes()
    ]
    kept = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in rows(run)]
        for run in (one, two)
    ]
    return wrong if kept[0] == kept[1] else [*wrong, "metrics.csv"]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def curve(folder: Path) -> list[list[float]]:
    """What `metrics.csv` tells of learning, a row per evaluation."""
    columns = ("loss", "top1_error", "val_loss", "val_top1_error", "learning_rate")
    return [[float(row[name]) for name in columns] for row in rows(folder)]


def assert_near(one: Path, other: Path) -> None:
    """Two runs of a ResNet-8 that differ in the order of sums only, over a few steps."""
    import numpy as np

    from resnet_keras import zoo

    np.testing.assert_allclose(curve(other), curve(one), rtol=1e-3)
    expected, found = (
        zoo.weights.find("resnet8", run / "weights.safetensors")[1].tensors for run in (one, other)
    )
    for name, tensor in expected.items():
        values = found[name].read()
        np.testing.assert_allclose(values, tensor.read(), rtol=0.02, atol=2e-4, err_msg=name)


def run_to_end(folder: Path, arguments=RUN) -> None:
    status = start(folder, arguments).wait()
    if status:
        raise SystemExit(f"training ended with status {status}: see {folder.parent / 'log.txt'}")


def mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)


def expect_refusal(folder: Path, spoil: Callable[[], object], cure: Callable[[], object]) -> None:
    """The run must end with status 2 once `spoil` has acted on its disk; `cure` undoes that."""
    process, before = start(folder), checkpoints(folder)
    while process.poll() is None and checkpoints(folder) == before:
        time.sleep(0.01)
    spoil()
    status = process.wait()
    cure()
    if status != 2:
        raise SystemExit(f"a spoilt disk ended the run with status {status}, not 2")


def disk_trouble(place: Path, reference: Path) -> None:
    """A full disk, then a read-only one, under a run that goes on after each."""
    place.mkdir()
    mount(place, "size=10m")
    try:
        folder, ballast = place / "run", place / "ballast"

        def fill():
            with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

        expect_refusal(folder, fill, ballast.unlink)
        print("disk full: refused, and freed")
        mount(place, "remount,size=64m")

        def lock(sign):
            for each in (folder, folder / "checkpoints"):
                subprocess.run(["chattr", f"{sign}i", each], check=True)

        # A disk cannot be mounted read-only while files are open in it; folders can be locked.
        expect_refusal(folder, lambda: lock("+"), lambda: lock("-"))
        print("folder read-only under a run: refused, and made writable")
        mount(place, "remount,ro")
        if start(folder, log=place.parent).wait() != 2:
            raise SystemExit("a run was not refused on a read-only disk")
        mount(place, "remount,rw")
        print("disk read-only before a run: refused, and made writable")
        run_to_end(folder)
        report("after a full and a read-only disk", differences(reference, folder))
    finally:
        subprocess.run(["umount", place], check=False)


def report(what: str, wrong: list[str]) -> None:
    if wrong:
        raise SystemExit(f"{what}: {', '.join(wrong)} differ")
    print(f"{what}: the same bytes")


def main(argv) -> None:
    del argv
    folder = Path(FLAGS.folder).absolute()
    folder.mkdir(parents=True)
    moments = random.Random(FLAGS.seed)
    reference, victim = folder / "undisturbed", folder / "killed"
    run_to_end(reference)
    run_to_end(folder / "again")
    report("undisturbed, twice", differences(reference, folder / "again"))
    kills = spoilt = finished = 0
    while kills < FLAGS.kills:
        status = kill_somewhere(victim, moments)
        if status == -signal.SIGKILL:
            kills += 1
        elif status:
            raise SystemExit(f"training ended with status {status}: see {folder / 'log.txt'}")
        else:  # it came to its end; another victim for the other kills
            report(f"after {kills} kills", differences(reference, victim))
            finished += 1
            victim = folder / f"killed-{finished}"
        if moments.random() < 0.25:
            spoil_last_checkpoint(victim, moments)
            spoilt += 1
    run_to_end(victim)
    report(f"after {kills} kills, {spoilt} spoilt checkpoints", differences(reference, victim))
    status = kill_somewhere(folder / "preempted", moments, number=signal.SIGTERM, hurried=0)
    run_to_end(folder / "preempted")
    if status != PREEMPTED:
        raise SystemExit(f"SIGTERM ended the run with status {status}, not {PREEMPTED}")
    report("after SIGTERM", differences(reference, folder / "preempted"))
    if FLAGS.disk:
        disk_trouble(folder / "disk", reference)


if __name__ == "__main__":
    app.run(main)
