"""What the commands that train have in common: their flags as a file, and an orderly stop."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from absl import flags

from resnet_keras import __version__
from resnet_keras.processes import status_of

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


def until_stopped(run: "Callable[[Signals], int]") -> int:
    """Runs what trains; a signal that stops it is told.

    Args:
        run: takes the signals, for `training.fit`, and returns an exit status.

    Returns:
        Its status, or the signal's.
    """
    from resnet_keras.training.signals import Preempted, Signals

    try:
        with Signals() as signals, decoders.quiet():
            return run(signals)
    except Preempted as stopped:
        print(f"{stopped}: the same command goes on from there, with its --workdir")
        return status_of(stopped.signum)
