"""Times Faster R-CNN beside torchvision's dense parts; imports no TensorFlow."""

from collections.abc import Sequence
from typing import Any

from resnet_keras import tuning, zoo
from resnet_keras.errors import InputError, unknown

from . import races
from .detectors import DENSE, OURS, PRESETS, TASKS, TORCHVISION, Spec

PEERS = {"torchvision": TORCHVISION}
NETWORKS = ("resnet50", "resnet101", "resnet152")
# Of the presets: proposals of an image in inference, RoIs of one whose loss is taken in training.
ROIS = {"fpn": {"inference": 1000, "training": 512}, "c4": {"inference": 300, "training": 128}}


def check(task: str, model: str, neck: str, peers: Sequence[str]) -> None:
    """Raises `InputError` for what is not timed."""
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    if neck not in PRESETS:
        raise unknown("neck", neck, PRESETS)
    for peer in peers:
        if peer not in PEERS:
            raise unknown("peer", peer, [*PEERS, "none"])
        if model not in NETWORKS:
            raise InputError(
                f"{peer} is timed with {', '.join(NETWORKS)}, not with {model}; --peer=none times "
                "it alone."
            )
    if zoo.networks.is_name(model) and zoo.networks.find(model).family.head:
        raise InputError(f"Detectors on {model} are not timed here: choose a residual network.")


def compare(
    task: str,
    model: str,
    *,
    neck: str,
    peers: Sequence[str],
    batch_size: int,
    height: int,
    width: int,
    steps: int,
    rounds: int,
    rois: int | None = None,
) -> dict[str, Any]:
    """Times a whole detector, its dense parts and a peer's in turns.

    Args:
        task: one of `detectors.TASKS`.
        model: the backbone.
        neck: "c4" or "fpn".
        peers: whom to compare with, of `PEERS`.
        batch_size: images in a batch.
        height: of the images in pixels.
        width: of the images in pixels.
        steps: batches in a round.
        rounds: of each.
        rois: of each image that the head sees; by default as many as the preset has.

    Returns:
        A dict with the settings and the processor; under "timings" those of `races.Race`; under
        "ratio", for each peer, its wall and CPU seconds over those of our whole detector and of our
        dense parts.

    Raises:
        InputError: as `check`, or a peer is not installed.
    """
    check(task, model, neck, peers)
    rois = ROIS[neck][task] if rois is None else rois
    shared = (task, model, neck, batch_size, height, width, rois, steps)
    names = (OURS, DENSE, *(PEERS[peer] for peer in peers))
    specs = {name: Spec(name, *shared) for name in names}
    race = races.race("detectors", specs, rounds=rounds, steps=steps)
    return {
        "task": task,
        "model": model,
        "neck": neck,
        "preset": PRESETS[neck],
        "processor": tuning.processor(),
        "batch_size": batch_size,
        "size": [height, width],
        "rois": rois,
        "rounds": rounds,
        "steps": steps,
        "contestants": race.facts,
        "timings": race.timings,
        "ratio": {
            peer: {own: race.ratio(PEERS[peer], own) for own in (OURS, DENSE)} for peer in peers
        },
    }


def report(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    height, width = result["size"]
    lines = [
        f"{result['task']} of Faster R-CNN, {result['model']} {result['neck']} (preset "
        f"{result['preset']}), float32, batch {result['batch_size']}, {height}x{width}, "
        f"{result['rois']} RoIs of an image, {races.machine(result['processor'])}, median of "
        f"{result['rounds']} rounds of {result['steps']}",
        *races.lines(result["timings"]),
    ]
    for peer, ratios in result["ratio"].items():
        for own, what in ((OURS, "the whole of ours"), (DENSE, "our dense parts")):
            times = ratios[own]
            lines.append(
                f"  {what}, beside {peer}'s dense parts: {times['wall']:.2f}x the speed "
                f"({times['cpu']:.2f}x CPU)"
            )
    return "\n".join(lines)
