"""Times a segmenter beside torchvision's; imports no TensorFlow."""

from collections.abc import Sequence
from typing import Any

from resnet_keras import tuning, zoo
from resnet_keras.errors import InputError, unknown
from resnet_keras.segmentation.segmenters import HEADS

from . import races
from .detectors import TASKS
from .segmenters import OURS, TORCHVISION, Spec

NETWORKS = ("resnet50", "resnet101")  # of torchvision's segmenters
PEER_STRIDE = 8  # and their output stride


def check(
    task: str, model: str, head: str, output_stride: int, batch_size: int, peers: Sequence[str]
) -> None:
    """Raises `InputError` for what is not timed."""
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    if head not in HEADS:
        raise unknown("head", head, HEADS)
    if task == "training" and head == "deeplabv3" and batch_size < 2:
        raise InputError(
            "DeepLabV3 normalizes means over whole images in training, of which a batch needs two "
            "or more: take --batch_size=2."
        )
    options = zoo.networks.find(model).options
    if "output_stride" not in options:
        raise InputError(f"{model} has no output_stride: choose a residual or plain network.")
    for peer in peers:
        if peer != TORCHVISION:
            raise unknown("peer", peer, [TORCHVISION, "none"])
        if model not in NETWORKS or output_stride != PEER_STRIDE:
            raise InputError(
                f"{peer} is timed with {', '.join(NETWORKS)} at output stride {PEER_STRIDE}; "
                "--peer=none times ours alone."
            )


def compare(
    task: str,
    model: str,
    *,
    head: str,
    output_stride: int,
    peers: Sequence[str],
    batch_size: int,
    height: int,
    width: int,
    steps: int,
    rounds: int,
) -> dict[str, Any]:
    """Times a segmenter and a peer's in turns.

    Args:
        task: one of `detectors.TASKS`.
        model: the backbone.
        head: "fcn" or "deeplabv3".
        output_stride: of the backbone.
        peers: whom to compare with: "torchvision", or none.
        batch_size: images in a batch.
        height: of the images in pixels.
        width: of the images in pixels.
        steps: batches in a round.
        rounds: of each.

    Returns:
        A dict with the settings and the processor; under "timings" those of `races.Race`; under
        "ratio", for each peer, its wall and CPU seconds over ours.

    Raises:
        InputError: as `check`, or a peer is not installed.
    """
    check(task, model, head, output_stride, batch_size, peers)
    shared = (task, model, head, output_stride, batch_size, height, width, steps)
    specs = {name: Spec(name, *shared) for name in (OURS, *peers)}
    race = races.race("segmenters", specs, rounds=rounds, steps=steps)
    return {
        "task": task,
        "model": model,
        "head": head,
        "output_stride": output_stride,
        "processor": tuning.processor(),
        "batch_size": batch_size,
        "size": [height, width],
        "rounds": rounds,
        "steps": steps,
        "contestants": race.facts,
        "timings": race.timings,
        "ratio": {peer: race.ratio(peer, OURS) for peer in peers},
    }


def report(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    height, width = result["size"]
    lines = [
        f"{result['task']} of {result['head']} on {result['model']} at output stride "
        f"{result['output_stride']}, float32, batch {result['batch_size']}, {height}x{width}, "
        f"{races.machine(result['processor'])}, median of {result['rounds']} rounds of "
        f"{result['steps']}",
        *races.lines(result["timings"]),
    ]
    for peer, times in result["ratio"].items():
        lines.append(f"  beside {peer}: {times['wall']:.2f}x the speed ({times['cpu']:.2f}x CPU)")
    return "\n".join(lines)
