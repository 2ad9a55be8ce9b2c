"""What a round takes: wall and CPU time, page faults, and the most memory that a process held."""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Linux: "5" written to the one resets the high-water mark that the other shows.
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
STAT, UPTIME = Path("/proc/self/stat"), Path("/proc/uptime")


class Timing(NamedTuple):
    """One round.

    Seconds of wall clock, of CPU time in all its threads, of that the system's share, page faults.
    """

    wall: float
    cpu: float
    system: float
    faults: float


def timed(function: Callable[[], Any]) -> Timing:
    """Runs a function and tells what that took."""
    gc.collect()
    begin = now()
    function()
    return between(begin, now())


def now() -> Timing:
    """This moment."""
    return Timing(time.perf_counter(), time.process_time(), os.times().system, _page_faults())


def age() -> float | None:
    """Seconds of wall clock since this process was started; None elsewhere than on Linux."""
    try:
        # Field 22 of proc(5), counted behind the command's name, which may hold anything.
        ticks = int(STAT.read_text().rpartition(")")[2].split()[19])
        uptime = float(UPTIME.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


def _page_faults():
    try:
        import resource
    except ImportError:  # Windows
        return 0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt + usage.ru_majflt


def between(begin: Timing, end: Timing) -> Timing:
    """What passed."""
    return Timing(*(after - before for before, after in zip(begin, end, strict=True)))


def reset_peak_memory() -> bool:
    """Whether the process's high-water mark could be reset."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def peak_memory_gib() -> float | None:
    """The most memory that the process held since the mark was reset."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) / 2**20 for x in lines if x.startswith("VmHWM:")), None)
