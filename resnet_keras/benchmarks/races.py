"""Contestants in processes of their own that take turns, and what is told of them as lines."""

import contextlib
import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .clocks import Timing
from .contestants import process
from .rounds import medians, ratio, take_turns


class Race(NamedTuple):
    """What came of a race.

    Attributes:
        facts: what each contestant told of itself.
        rounds: the timings of each contestant's rounds.
        timings: of each contestant the medians over rounds of a step's wall, CPU and system seconds
            and page faults, and the process's peak memory in GiB (None elsewhere than on Linux).
    """

    facts: dict[str, dict[str, Any]]
    rounds: dict[str, list[Timing]]
    timings: dict[str, dict[str, Any]]

    def ratio(self, name: str, other: str) -> dict[str, float]:
        """Wall and CPU seconds of one over those of another: medians of the rounds' ratios."""
        return ratio(self.rounds[name], self.rounds[other])


def race(module: str, specs: Mapping[str, NamedTuple], *, rounds: int, steps: int) -> Race:
    """Times contestants in turns, each in a process of its own.

    Args:
        module: of this folder, which makes each; see `contestants.process`.
        specs: by contestant, what it is told. The last is built first: put at the end what may not
            be installed.
        rounds: of each.
        steps: in a round.

    Raises:
        InputError: one cannot do what it is told.
    """
    with contextlib.ExitStack() as stack:
        running, facts = {}, {}
        for name in reversed(specs):
            running[name], facts[name] = stack.enter_context(process(module, specs[name]))
        contest = {name: functools.partial(p.ask, "run") for name, p in running.items()}
        answers = take_turns(contest, rounds)
    timed = {name: [Timing(**answer["timing"]) for answer in answers[name]] for name in specs}
    timings = {
        name: {
            **medians(timed[name], steps),
            "peak_memory_gib": answers[name][-1]["peak_memory_gib"],
        }
        for name in specs
    }
    return Race(facts, timed, timings)


def lines(timings: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """A table of `Race.timings`, its head first."""
    yield f"  {'':<28}{'wall s':>9}{'CPU s':>9}{'system s':>9}{'faults':>9}{'GiB':>7}"
    for name, timing in timings.items():
        peak = timing["peak_memory_gib"]
        yield (
            f"  {name:<28}{timing['wall']:>9.4f}{timing['cpu']:>9.4f}{timing['system']:>9.4f}"
            f"{timing['faults']:>9.0f}{'?' if peak is None else f'{peak:.2f}':>7}"
        )


def machine(processor: Mapping[str, Any]) -> str:
    """Processor and cores, in words."""
    features = f" with {', '.join(processor['features'])}" if processor["features"] else ""
    return f"{processor['cores']} cores of {processor['name']}{features}"
