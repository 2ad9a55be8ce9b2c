"""The paper's networks and those that followed beside each other: error, cost, speed and memory.

All are trained alike, by the recipe of ResNet-20, whatever their own papers do. Speed and memory
are measured by `benchmarks.networks` and kept beside the runs, a file for each network. Imports no
TensorFlow.
"""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_keras.benchmarks import networks
from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically
from resnet_keras.tables import NOT_RUN, Table, spread

from . import panels, runs
from .monitor import TEST, TRAINING
from .runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERIMENT = "families"
RECIPE = "resnet20"  # whose recipe all have: those of the paper's other networks are like it
# By depth of the residual network, those that cost nearly as much.
BY_DEPTH = {
    20: (
        *("plain20", "resnet20", "resnet20d", "seresnet20", "preact_resnet20", "wrn16_1"),
        *("resnext20_4x4d", "densenet22_12"),
    ),
    56: (
        *("plain56", "resnet56", "resnet56d", "seresnet56", "preact_resnet56", "wrn16_2"),
        "densenet40_12",
    ),
}
_PAPER = re.compile(r"(plain|resnet)\d+")
FOLLOWING = frozenset(n for some in BY_DEPTH.values() for n in some if not _PAPER.fullmatch(n))
BATCH = 64  # of the recipe on digits
_SIDES = {"digits": 16, "cifar10": 32, "fashion_mnist": 28}
_ROUNDS, _STEPS = 5, 20


def beside(depth: int) -> tuple[str, ...]:
    """The networks beside a residual network, itself among them.

    Raises:
        InputError: none are of that depth.
    """
    if depth not in BY_DEPTH:
        known = " and ".join(map(str, BY_DEPTH))
        raise InputError(f"{EXPERIMENT} has the depths {known}, not {depth}.")
    return BY_DEPTH[depth]


def time(folder: Path, groups: Iterable[str], dataset: str) -> None:
    """Measures the networks that were not, one after the other, each in a process of its own.

    Args:
        folder: that receives NETWORK-speed.json.
        groups: names of networks.
        dataset: whose images' size they see.
    """
    for network in dict.fromkeys(groups):
        path = _place(folder, network)
        if path.exists():
            continue
        measured = {
            task: networks.compare(
                task,
                network,
                peers=(),
                batch_size=BATCH,
                image_size=_SIDES[dataset],
                dtype="float32",
                steps=_STEPS,
                rounds=_ROUNDS,
            )
            for task in ("train", "predict")
        }
        write_atomically(path, json.dumps(measured, indent=1) + "\n")
        images = BATCH / _ours(measured["train"])["wall"]
        print(f"[{network}] {images:,.0f} images/s in training", flush=True)


def read(folder: Path, network: str) -> dict[str, Any] | None:
    """What `time` wrote of a network; None before.

    Raises:
        InputError: it is not what `time` writes.
    """
    path = _place(folder, network)
    if not path.exists():
        return None
    try:
        measured = json.loads(path.read_text())
        train, predict = _ours(measured["train"]), _ours(measured["predict"])
        gflop = measured["predict"]["contestants"][networks.OURS]["gflop"]
        return {
            "processor": measured["train"]["processor"],
            "multiply_adds": round(gflop * 1e9 / 2 / measured["predict"]["batch_size"]),
            "train_images_per_second": BATCH / train["wall"],
            "predict_images_per_second": BATCH / predict["wall"],
            "train_cpu_seconds_per_image": train["cpu"] / BATCH,
            "predict_cpu_seconds_per_image": predict["cpu"] / BATCH,
            "train_memory_gib": train["peak_memory_gib"],
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what reproduce {EXPERIMENT} writes: remove it.") from error


def _place(folder, network):
    return folder / f"{network}-speed.json"


def _ours(result):
    return result["timings"][networks.OURS]


def tables(
    grouped: Mapping[str, Sequence[Run]], measured: Mapping[str, Mapping[str, Any] | None]
) -> list[Table]:
    """Error, cost, speed and memory of each network, those of one size together.

    Args:
        grouped: runs by the name of their network.
        measured: of `read`, by network.
    """
    head = (
        *("network", "parameters", "multiply-adds", "training error", "test error"),
        *("test error of each run", "images/s, training", "images/s, prediction"),
        "memory of training, GiB",
    )
    return [
        Table(
            f"Networks beside ResNet-{depth}: error in %",
            head,
            [_row(group, grouped[group], measured.get(group)) for group in some],
        )
        for depth, names in BY_DEPTH.items()
        if (some := [group for group in names if group in grouped])
    ]


def _row(network, some, measured):
    test = runs.final(some, TEST)
    known = {run.environment["parameters"] for run in some if "parameters" in run.environment}
    speeds = [NOT_RUN] * 3
    if measured:
        memory = measured["train_memory_gib"]
        speeds = [
            f"{measured['train_images_per_second']:,.0f}",
            f"{measured['predict_images_per_second']:,.0f}",
            "not measured" if memory is None else f"{memory:.2f}",
        ]
    return (
        network,
        "/".join(f"{int(count):,}" for count in sorted(known)) or NOT_RUN,
        f"{measured['multiply_adds']:,}" if measured else NOT_RUN,
        spread(runs.final(some, TRAINING)),
        spread(test),
        ", ".join(f"{100 * error:.2f}" for error in test) or NOT_RUN,
        *speeds,
    )


def draw(
    grouped: Mapping[str, Sequence[Run]],
    measured: Mapping[str, Mapping[str, Any] | None],
    title: str,
) -> "Figure":
    """Draws each network's test errors, runs as dots and their mean as a line, by its cost.

    Args:
        grouped: runs by the name of their network.
        measured: of `read`, by network.
        title: of the figure.
    """
    drawn = [names for names in BY_DEPTH.values() if any(name in grouped for name in names)]
    figure, axes = panels.row(len(drawn), (7.5 * len(drawn), 5))
    for panel, names in zip(axes, drawn, strict=True):
        shown = [name for name in names if name in grouped]
        panels.style(panel, title if panel is axes[0] else "", "", "test error (%)")
        for place, name in enumerate(shown):
            ends = runs.final_percent(grouped[name], TEST)
            colour = panels.COLOURS[0] if name.startswith("resnet") else "0.35"
            if ends:
                panel.plot([place] * len(ends), ends, "o", color=colour, alpha=0.5, clip_on=False)
                mean = statistics.fmean(ends)
                panel.plot(place, mean, "_", color=colour, markersize=26, mew=2.5)
            else:
                panels.say_at(panel, place, runs.missing(grouped[name]))
        panels.name_places(panel, [_label(name, measured.get(name)) for name in shown])
        panel.tick_params(axis="x", labelrotation=30)
        for label in panel.get_xticklabels():
            label.set_ha("right")
        if panel.lines:
            panel.set_yscale("symlog", linthresh=1)
            panel.set_ylim(bottom=0)
            panel.set_yticks([0, 0.5, 1, 2, 5, 10, 20, 50, 100], minor=False)
            panel.yaxis.set_major_formatter("{x:g}")
    return figure


def _label(name, measured):
    return f"{name}\n{measured['multiply_adds'] / 1e6:.0f}M" if measured else name
