"""Two settings of a CPU process that TensorFlow leaves at slow values, made before it is imported.

- oneDNN: TensorFlow turns these kernels on by itself only on processors with AVX-512 VNNI or newer
  instructions; on others (AVX2) they trained ResNet-50 1.6 times, small networks 3 times as fast.
- malloc: glibc gives freed memory back to the system at once, and faults it in again at each step.
  It is told to keep it, in blocks of up to 32 MiB (`mallopt`); with larger ones, too, ResNet-50
  held a quarter more memory and was no faster.

Both change how fast a process is, and oneDNN the rounding of its results. The command lines make
them; nothing happens on import. What the user's environment says of either goes first, and
RESNET_KERAS_TUNING=0 leaves both alone. Importing this module imports neither TensorFlow nor Keras.
"""

import ctypes
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

SWITCH = "RESNET_KERAS_TUNING"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
DEFAULT, KEPT, GIVEN_BACK = "default", "kept", "given back"

# Parameters of mallopt, and their values: mmap for the largest blocks only (glibc takes no higher
# threshold), and no memory given back. M_TOP_PAD beside them held 15 % more memory in `predict`.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MALLOC = (
    (_M_MMAP_THRESHOLD, 32 * 2**20),
    (_M_TRIM_THRESHOLD, 2**31 - 1),
)
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")

_malloc_is_set = False
_repeats = False  # whether oneDNN is as an earlier process had it, which later calls leave alone


def tune_cpu(recorded: Mapping[str, str] | None = None) -> dict[str, str]:
    """Makes the settings; to be called before TensorFlow is imported. A second call does nothing.

    Args:
        recorded: what an earlier call returned, for a process that is to compute the same bits;
            it goes before the environment.

    Returns:
        What is on, for the record: {"onednn": "1", "0" or "default" (TensorFlow's own choice),
        "malloc": "kept" or "given back"}.
    """
    global _malloc_is_set, _repeats
    if recorded is not None:
        _repeat_onednn(recorded.get("onednn", DEFAULT))
        _repeats = True
    elif not _repeats and _wanted() and ONEDNN not in os.environ and _is_x86():
        if "tensorflow" in sys.modules:
            warnings.warn(
                "TensorFlow was imported before tune_cpu() was called, so oneDNN stays as it is: "
                "call it first.",
                stacklevel=2,
            )
        else:
            os.environ[ONEDNN] = "1"
    if _wanted() and not _malloc_is_set:
        _malloc_is_set = _set_malloc()
    return settings()


def settings() -> dict[str, str]:
    """What is on, as `tune_cpu` returns it."""
    return {
        "onednn": os.environ.get(ONEDNN, DEFAULT),
        "malloc": KEPT if _malloc_is_set else GIVEN_BACK,
    }


def processor() -> dict[str, object]:
    """The processor's name, its features that matter to networks, and the cores of this process."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = facts.get("flags", facts.get("Features", "")).split()
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = f"family {facts['cpu family']} model {facts['model']}" if "cpu family" in facts else ""
    return {
        "name": f"{name} ({family})" if family else name,
        "features": [feature for feature in _FEATURES if feature in flags],
        "cores": cores(),
    }


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _wanted():
    return os.environ.get(SWITCH, "1").lower() not in ("0", "false", "off", "no")


def _is_x86():
    return platform.machine().lower() in ("x86_64", "amd64")


def _repeat_onednn(value):
    """Has oneDNN as an earlier process had it, whatever the environment says now."""
    given = os.environ.get(ONEDNN)
    if value == DEFAULT:
        os.environ.pop(ONEDNN, None)
    else:
        os.environ[ONEDNN] = value
    if given not in (None, value):
        warnings.warn(
            f"{ONEDNN}={given} is not heeded: the run was begun with {value}, on which its bits "
            "depend.",
            stacklevel=3,
        )


def _set_malloc() -> bool:
    """Whether glibc's allocator is there and took all settings."""
    theirs = any(name.startswith("MALLOC_") for name in os.environ)
    if theirs or "GLIBC_TUNABLES" in os.environ or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    taken = [mallopt(parameter, value) for parameter, value in _MALLOC]  # all are tried
    return all(taken)
