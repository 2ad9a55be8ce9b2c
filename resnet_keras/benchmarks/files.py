"""Times predictions from image files to labels; imports no TensorFlow.

Ours are what `predict` does, by each engine. Their peers are the loop that everyone writes around
keras.applications, and the engines alone with the same exported network, behind Pillow. All name
the five likeliest classes of the same JPEG files.
"""

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from resnet_keras import tuning
from resnet_keras.deployment import engines
from resnet_keras.errors import InputError, check_installed, unknown

from . import races
from .contestants import process
from .labellers import KERAS_APPLICATIONS, MAKER, Spec
from .peers import ENGINES, IN_KERAS_APPLICATIONS, OURS

PRECISIONS = ("float32", "mixed_bfloat16")
PEERS = (KERAS_APPLICATIONS, *ENGINES)


def check(model: str, ours: Sequence[str], peers: Sequence[str], dtype: str) -> None:
    """Raises `InputError` for a contestant that there is not, or that does not do what is asked."""
    if dtype not in PRECISIONS:
        raise InputError(f"files are timed in {' and '.join(PRECISIONS)}, not in {dtype}.")
    for engine in ours:
        if engine == engines.AUTO:
            raise InputError("Name the engines that are to be timed, not auto.")
        engines.choose(engine, dtype)
    for peer in peers:
        if peer not in PEERS:
            raise unknown("peer", peer, [*PEERS, "none"])
        if peer in ENGINES:
            engines.choose(peer, dtype)
        check_installed("PIL", "benchmark")
    if KERAS_APPLICATIONS in peers and model not in IN_KERAS_APPLICATIONS:
        raise InputError(
            f"{KERAS_APPLICATIONS} has {', '.join(IN_KERAS_APPLICATIONS)} here, not {model}: leave "
            f"it out of the peers."
        )


def compare(
    model: str,
    *,
    ours: Sequence[str],
    peers: Sequence[str],
    files: int,
    batch_size: int,
    image_size: int,
    dtype: str,
    rounds: int,
) -> dict[str, Any]:
    """Times `predict` by its engines, and its peers, in turns.

    Args:
        model: a network of the zoo; its weights are random, which takes as long.
        ours: engines of `predict`.
        peers: of `PEERS`.
        files: JPEGs of 500x375 pixels that each labels in a round.
        batch_size: images at once.
        image_size: side of the crops in pixels.
        dtype: "float32" or "mixed_bfloat16", of all that have a choice.
        rounds: of each.

    Returns:
        A dict with the settings and the processor; under "timings" for each contestant what
        `races.Race` tells of a round, and the wall and CPU seconds from its process's start to the
        labels of the first batch ("first_answer"); under "times" for each contestant and each of
        "keras.applications" and "engine", where they ran, how many times as fast it was as the
        loop and as the fastest engine alone, in wall and in CPU time: medians of the rounds'
        ratios. "engine" names that.

    Raises:
        InputError: a contestant is not installed, or does not do what is asked.
    """
    check(model, ours, peers, dtype)
    names = {**{f"{OURS} {engine}": engine for engine in ours}, **{peer: peer for peer in peers}}
    with tempfile.TemporaryDirectory() as folder:
        shared = (model, folder, files, batch_size, image_size, dtype)
        wanted = sorted({name for name in names.values() if name in ENGINES})
        with process("labellers", Spec(MAKER, False, *shared, wanted)) as (_, made):
            folders = made["folders"]
        specs = {
            name: Spec(what, name not in peers, *shared, (), folders.get(what))
            for name, what in names.items()
        }
        race = races.race("labellers", specs, rounds=rounds, steps=1)
    timings = {
        name: {**race.timings[name], "first_answer": race.facts[name]["first_answer"]}
        for name in names
    }
    alone = [peer for peer in peers if peer in ENGINES]
    fastest = min(alone, key=lambda name: timings[name]["wall"], default=None)
    against = {KERAS_APPLICATIONS: KERAS_APPLICATIONS if KERAS_APPLICATIONS in peers else None}
    against["engine"] = fastest
    return {
        "task": "files",
        "model": model,
        "processor": tuning.processor(),
        "files": files,
        "batch_size": batch_size,
        "image_size": image_size,
        "dtype": dtype,
        "rounds": rounds,
        "contestants": race.facts,
        "timings": timings,
        "engine": fastest,
        "times": {
            name: {key: race.ratio(other, name) for key, other in against.items() if other}
            for name in names
        },
    }


def report(result: Mapping[str, Any]) -> str:
    """The result as a table for people."""
    engine, loop = result["engine"], KERAS_APPLICATIONS
    beside = [key for key in (loop, "engine") if any(key in t for t in result["times"].values())]
    titles = {loop: "keras.applications x", "engine": f"{engine} alone x"}
    heads = "".join(f"{titles[key]:>23}{'(CPU)':>8}" for key in beside)
    lines = [
        f"{result['files']} JPEGs to labels by {result['model']}, {result['dtype']}, batch "
        f"{result['batch_size']}, {result['image_size']}x{result['image_size']}, "
        f"{races.machine(result['processor'])}, median of {result['rounds']} rounds",
        f"  {'':<26}{'wall s':>8}{'CPU s':>8}{'images/s':>10}{'GiB':>6}{'first answer s':>16}"
        f"{'(CPU)':>8}{heads}",
    ]
    for name, timing in result["timings"].items():
        peak, first = timing["peak_memory_gib"], timing["first_answer"]
        begun = "?" if first["wall"] is None else f"{first['wall']:.1f}"
        times = "".join(
            f"{ratio['wall']:>23.2f}{ratio['cpu']:>8.2f}"
            for ratio in (result["times"][name][key] for key in beside)
        )
        lines.append(
            f"  {name:<26}{timing['wall']:>8.1f}{timing['cpu']:>8.1f}"
            f"{result['files'] / timing['wall']:>10.1f}{'?' if peak is None else f'{peak:.2f}':>6}"
            f"{begun:>16}{first['cpu']:>8.1f}{times}"
        )
    return "\n".join(lines)
