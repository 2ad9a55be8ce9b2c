"""Folders such as `train` leaves behind, written in no time."""

import json
from pathlib import Path

COLUMNS = (
    "step,seconds,images_per_second,learning_rate,loss,top1_error,top5_error,"
    "val_loss,val_top1_error,val_top5_error,input_wait"
)


def line(step, training, test):
    return f"{step},{step / 10},1280.0,0.1,1.5,{training},0.01,1.7,{test},0.02,0.25"


ROWS = (line(1000, 0.6, 0.7), line(2000, 0.2, 0.25), line(3000, 0.1, 0.3))
METRICS = "\r\n".join([COLUMNS, *ROWS, ""])


def write(
    folder: Path, metrics: str | None = METRICS, weights=True, environment=None, **flags
) -> Path:
    """Makes the folder of a run: finished, if it has weights; `metrics` is metrics.csv's text."""
    folder.mkdir(parents=True)
    flags = {"dataset": "cifar10", "eval_split": "test", "train_steps": 3000, **flags}
    lines = ["# resnet_keras 0.1.0", *(f"--{key}={value}" for key, value in flags.items())]
    (folder / "run.flags").write_text("\n".join([*lines, "--nojit_compile", "--flip", ""]))
    if metrics is not None:
        (folder / "metrics.csv").write_bytes(metrics.encode())
    if environment is not None:
        (folder / "environment.json").write_text(json.dumps(environment))
    if weights:
        (folder / "weights.safetensors").write_bytes(b"")
    return folder
