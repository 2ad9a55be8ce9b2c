"""Times a network beside its peers, each in a process of its own; imports no TensorFlow."""

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resnet_keras import deployment, tuning
from resnet_keras.deployment import classifier, exported
from resnet_keras.errors import InputError, unknown

from . import exporter
from .clocks import Timing
from .contestants import process
from .peers import (
    COMPILED,
    ENGINES,
    IN_KERAS_APPLICATIONS,
    IN_TORCHVISION,
    KERAS_APPLICATIONS,
    LITERT,
    ONNXRUNTIME,
    OPENVINO,
    OURS,
    TORCH,
    UNTUNED,
    WHOLE,
    Spec,
)
from .rounds import medians, ratio, take_turns

BESIDE = ("first_answer", "bytes")  # facts of a contestant that stand beside its times
MODEL_TASKS = ("train", "predict", "build", "load")
# The contestants behind the name of a peer.
PEERS = {
    KERAS_APPLICATIONS: (KERAS_APPLICATIONS,),
    TORCH: (TORCH, COMPILED),
    ONNXRUNTIME: (ONNXRUNTIME,),
    OPENVINO: (OPENVINO,),
    LITERT: (LITERT,),
    UNTUNED: (UNTUNED,),
}
_TASKS = {
    KERAS_APPLICATIONS: MODEL_TASKS,
    TORCH: ("train", "predict"),
    ONNXRUNTIME: ("predict",),
    OPENVINO: ("predict",),
    LITERT: ("predict",),
    UNTUNED: MODEL_TASKS,
}
_PRECISIONS = {
    TORCH: ("float32", "mixed_bfloat16"),
    ONNXRUNTIME: ("float32",),
    LITERT: ("float32",),
}
_LABELS = {UNTUNED: "resnet_keras without tuning", TORCH: "torch eager"}


def check(task: str, peers: Sequence[str], image_size: int, dtype: str) -> None:
    """Raises `InputError` for a peer that does not do what is asked."""
    for peer in peers:
        if peer not in PEERS and exported.is_export(peer):
            _check_exported(peer, task, image_size)
            continue
        if peer not in PEERS:
            raise unknown("peer", peer, [*PEERS, "none"])
        if task not in _TASKS[peer]:
            raise InputError(f"{peer} is not timed at {task}, but at {', '.join(_TASKS[peer])}.")
        if dtype not in _PRECISIONS.get(peer, (dtype,)):
            raise InputError(
                f"{peer} is timed in {' and '.join(_PRECISIONS[peer])} here, not in {dtype}."
            )
        if peer == KERAS_APPLICATIONS and image_size < 32:
            raise InputError(f"{peer} takes images of side 32 or more, not {image_size}.")


def _check_exported(folder, task, image_size):
    if task != "predict":
        raise InputError(
            f"{folder} is an exported model, which is timed at predict, not at {task}."
        )
    found = deployment.read(folder)
    classifier.check(found)
    if found.takes_series:
        raise InputError(f"{folder} takes series, and what is timed are images.")
    if any(side not in (None, image_size) for side in found.image_shape):
        raise InputError(
            f"{folder} takes images of {' x '.join(map(str, found.image_shape))} pixels, and "
            f"image_size is {image_size}."
        )


def without(model: str, peers: Sequence[str]) -> list[str]:
    """Those of the peers that have no such network."""
    ours = dict.fromkeys((UNTUNED, *ENGINES), (model,))
    known = {KERAS_APPLICATIONS: tuple(IN_KERAS_APPLICATIONS), **ours}
    return [peer for peer in peers if model not in known.get(peer, IN_TORCHVISION)]


def compare(
    task: str,
    model: str,
    *,
    peers: Sequence[str],
    batch_size: int,
    image_size: int,
    dtype: str,
    steps: int,
    rounds: int,
    jit_compile: bool | str = "auto",
    remat: bool = False,
) -> dict[str, Any]:
    """Times `model` and its peers in turns.

    Args:
        task: one of `MODEL_TASKS`.
        model: a network of the zoo.
        peers: whom to compare with, of `PEERS`, or folders of exported models, of this network or
            another, which predict in their own runtime; those that have no such network are left
            out.
        batch_size: images in a batch.
        image_size: side of the images in pixels.
        dtype: "float32", "mixed_bfloat16" or "mixed_float16".
        steps: batches in a round; where a round is one model (`peers.WHOLE`), it counts nothing.
        rounds: of each.
        jit_compile: XLA, as Keras's `compile` takes it.
        remat: whether each block of ours keeps its input only, and is computed again.

    Returns:
        A dict with the settings and the processor; under "timings" for each contestant, ours first,
        the medians over rounds of a step's wall, CPU and system seconds and page faults, and the
        process's peak memory in GiB (None elsewhere than on Linux); of `predict` the wall and CPU
        seconds from the process's start to the first batch's logits ("first_answer") and the
        "bytes" of the weights, or of an exported model's files; under "ratio" for each peer its
        wall and CPU seconds over ours, medians of the rounds' ratios; under "gflops" what the
        machine makes of a matrix product in the same precision, and under "share_of_limit" the part
        of it that our steps make, for `train` and `predict`; under "without" the peers that were
        left out. (A backward pass counts as two forward
        ones; what `remat` computes again does not count.)

    Raises:
        InputError: a peer that is not installed, or does not do what is asked.
    """
    lacking = without(model, [peer for peer in peers if peer in PEERS])
    there = [peer for peer in peers if peer not in lacking]
    check(task, there, image_size, dtype)
    contestants = [OURS, *(name for peer in there for name in PEERS.get(peer, (peer,)))]
    per_step = 1 if task in WHOLE else steps
    shared = (task, model, batch_size, image_size, dtype, per_step, jit_compile)
    formats = [ENGINES[name] for name in contestants if name in ENGINES]
    own_folders = {peer: peer for peer in there if peer not in PEERS}
    with contextlib.ExitStack() as stack:
        folders = stack.enter_context(_exported(formats, model, batch_size, image_size))
        running, facts = {}, {}
        # One after the other: building and compiling take all cores. Peers first, for they may not
        # be installed.
        for name in reversed(contestants):
            own = remat and name in (OURS, UNTUNED)
            folder = own_folders.get(name) or folders.get(ENGINES.get(name))
            spec = Spec(name, *shared, own, folder)
            running[name], facts[name] = stack.enter_context(process("peers", spec))
        contest = {name: functools.partial(p.ask, "run") for name, p in running.items()}
        answers = take_turns(contest, rounds)
        # Last, for its matrices count in the process's peak memory.
        gflops = None if task in WHOLE else running[OURS].ask("limit")["gflops"]
    timings = {name: [Timing(**a["timing"]) for a in answers[name]] for name in contestants}
    own = medians(timings[OURS], per_step)
    return {
        "task": task,
        "model": model,
        "backend": facts[OURS]["backend"],
        "keras": facts[OURS]["keras"],
        "processor": tuning.processor(),
        "batch_size": batch_size,
        "image_size": image_size,
        "dtype": dtype,
        "remat": remat,
        "rounds": rounds,
        "steps": per_step,
        "without": lacking,
        "contestants": {label(name): facts[name] for name in contestants},
        "timings": {
            label(name): {
                **medians(timings[name], per_step),
                "peak_memory_gib": answers[name][-1]["peak_memory_gib"],
                **{key: facts[name].pop(key) for key in BESIDE if key in facts[name]},
            }
            for name in contestants
        },
        "ratio": {
            label(name): ratio(timings[name], timings[OURS]) for name in contestants if name != OURS
        },
        "gflops": gflops,
        "share_of_limit": None if gflops is None else facts[OURS]["gflop"] / own["wall"] / gflops,
    }


@contextlib.contextmanager
def _exported(formats, model, batch_size, image_size) -> Iterator[Mapping[str | None, str]]:
    """The folders of the network in these formats, written by a process of its own."""
    if not formats:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        spec = exporter.Spec(model, batch_size, image_size, formats, folder)
        with process("exporter", spec) as (_, facts):
            folders = facts["folders"]
        yield folders


def label(contestant: str) -> str:
    """What a table calls a contestant."""
    return _LABELS.get(contestant, contestant)


_WIDTH = 2 + 28 + 4 * 9 + 7 + 10 + 20  # of a table's line before what `predict` adds


def report(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    processor = result["processor"]
    features = f" with {', '.join(processor['features'])}" if processor["features"] else ""
    lines = [
        f"{result['task']} {result['model']}{', rematerialized' if result['remat'] else ''}, "
        f"{result['dtype']}, batch {result['batch_size']}, "
        f"{result['image_size']}x{result['image_size']}, {result['backend']} backend (Keras "
        f"{result['keras']}), {processor['cores']} cores of {processor['name']}{features}, "
        f"median of {result['rounds']} rounds of {result['steps']}",
        f"  {'':<28}{'wall s':>9}{'CPU s':>9}{'system s':>9}{'faults':>9}{'GiB':>7}{'images/s':>10}"
        f"{'resnet_keras is':>20}",
    ]
    if result["task"] == "predict":
        lines[1] += f"{'first answer s':>17}{'CPU s':>8}{'MB':>8}"
    for name, timing in result["timings"].items():
        peak = timing["peak_memory_gib"]
        rate = f"{result['batch_size'] / timing['wall']:.2f}"
        line = (
            f"  {name:<28}{timing['wall']:>9.4f}{timing['cpu']:>9.4f}{timing['system']:>9.4f}"
            f"{timing['faults']:>9.0f}{'?' if peak is None else f'{peak:.2f}':>7}"
            f"{'' if result['task'] in WHOLE else rate:>10}"
        )
        if name in result["ratio"]:
            times = result["ratio"][name]
            line += f"{times['wall']:>7.2f}x ({times['cpu']:.2f}x CPU)"
        if "first_answer" in timing:
            first, size = timing["first_answer"], timing["bytes"] / 1e6
            begun = "?" if first["wall"] is None else f"{first['wall']:.1f}"
            line = f"{line:<{_WIDTH}}{begun:>17}{first['cpu']:>8.1f}{size:>8.1f}"
        device = result["contestants"][name]["device"]
        lines.append(line if device == "cpu" else f"{line} on {device}")
    if result["without"]:
        has, it = ("has", "it") if len(result["without"]) == 1 else ("have", "them")
        names = " and ".join(result["without"])
        lines.append(f"  {names} {has} no {result['model']}: timed without {it}")
    if result["gflops"]:
        lines.append(
            f"  the machine's limit: a matrix product at {result['gflops']:.0f} GFLOP/s, of which "
            f"resnet_keras makes {100 * result['share_of_limit']:.0f} %"
        )
    return "\n".join(lines)
