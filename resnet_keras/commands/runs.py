"""What the commands that train have in common: workers, flags as a file, and an orderly stop."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from absl import flags

from resnet_keras import __version__
from resnet_keras.errors import InputError, told
from resnet_keras.processes import PREEMPTED, status_of
from resnet_keras.training import cluster, limits

from . import decoders
from .definitions import all_flags

if TYPE_CHECKING:
    from resnet_keras.training.signals import Signals

STEPS = "train_steps"  # a run may be given more of them
_UNSAVED = {"help", "helpfull", "flagfile", "recipe", "workdir"}


def given(values: flags.FlagValues, *names: str) -> dict[str, Any]:
    """Flags as the arguments of the same names."""
    return {name: values[name].value for name in names}


def lines(values: flags.FlagValues) -> str:
    """Every flag's value, whatever its source, as lines of a flagfile."""
    texts = [flag.serialize() for flag in all_flags(values) if flag.name not in _UNSAVED]
    return "".join(f"{text}\n" for text in texts if text)  # empty for a flag without a value


def flagfile(values: flags.FlagValues, command: str) -> str:
    """The flagfile that repeats a run of a command, such as "train"."""
    import keras
    import tensorflow as tf

    return (
        f"# python -m resnet_keras.{command} --flagfile=run.flags\n"
        f"# resnet_keras {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}\n"
        f"{lines(values)}"
    )


def check_workers(values: flags.FlagValues) -> int:
    """Checks the flags of the strategy and of the workers; needs no TensorFlow.

    Returns:
        How many workers there are; 1 where the strategy has no others.

    Raises:
        InputError: they contradict each other, or the environment.
    """
    strategy, kind = values["strategy"].value, values["cluster"].value
    limits.check_strategy(strategy, values["logical_cpus"].value)
    limits.check_xla(strategy, values["jit_compile"].value)
    if strategy == "multi_worker":
        if not values["workdir"].value:
            raise InputError("Workers share one folder: give --workdir, which all can read.")
        return cluster.check(kind).total
    if kind != "tf_config":
        raise InputError(
            f"--cluster={kind} is for --strategy=multi_worker: add it, or leave --cluster out."
        )
    return 1


def until_stopped(run: "Callable[[Signals], int]", strategy: str) -> int:
    """Runs what trains; a signal that stops it is told, and so is another worker's end.

    Args:
        run: takes the signals, for `training.fit`, and returns an exit status.
        strategy: name of it.

    Returns:
        Its status, or the signal's.
    """
    from resnet_keras.training.replicas import WORKER_LOST
    from resnet_keras.training.signals import Preempted, Signals

    try:
        with Signals() as signals, decoders.quiet():
            return run(signals)
    except Preempted as stopped:
        print(f"{stopped}: the same command goes on from there, with its --workdir")
        return status_of(stopped.signum)
    except WORKER_LOST as error:
        if strategy != "multi_worker" or told(error):
            raise
        print(
            "error: another worker has failed or is out of reach, so this one stops; start all "
            f"again, and they go on from the last checkpoint ({str(error).splitlines()[0]})",
            file=sys.stderr,
        )
        return PREEMPTED
