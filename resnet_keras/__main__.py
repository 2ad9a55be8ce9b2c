"""The ResNets of He et al. as a Keras model zoo, from the command line.

    python -m resnet_keras train --recipe=resnet20_digits
    resnet-keras train --recipe=resnet20_digits
    resnet-keras train --help

The second is the same where the package is installed, and `python -m resnet_keras.train` is, too.
"""

import importlib
import sys
from collections.abc import Sequence

from . import processes
from .commands.shell import USER_ERROR
from .errors import InputError, unknown

# What each does, in a line.
COMMANDS = {
    "train": "train a network by a recipe, or go on with a run that was stopped",
    "evaluate": "measure the errors of a network by the paper's protocols",
    "predict": "tell the classes of images",
    "prune": "remove channels of a trained network, to make it smaller and faster",
    "export": "write a network for LiteRT, ONNX, OpenVINO or TensorFlow Serving",
    "publish": "make of a run a folder that others load",
    "report": "draw the curves of runs beside each other",
    "reproduce": "make the paper's experiments, with a figure and a table at the end",
    "benchmark": "time networks and the input pipeline beside their peers",
    "pipelines": "check a data set, look at its batches, or serve them to other machines",
    "launch": "train with several processes on this machine",
    "models": "list networks and weights, or tell of one: models resnet50",
}


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs a command by its name, or lists them; returns the process's exit status."""
    arguments = list(argv[1:])
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(_overview())
        return 0
    if name == "--version":
        from . import __version__

        print(f"resnet_keras {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"error: {unknown('command', name, COMMANDS)}", file=sys.stderr)
        return USER_ERROR
    if name == "models":
        return _models(arguments[1:])
    module = f"resnet_keras.{name}{'.__main__' if name == 'pipelines' else ''}"
    return importlib.import_module(module).main([name, *arguments[1:]])


def _overview():
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join([(__doc__ or "").strip(), "", "Commands:", *lines])


def _models(names):
    """Lists the networks that fit the patterns, or prints what is known of one."""
    from . import zoo
    from .commands import shell

    try:
        if len(names) == 1 and zoo.networks.is_name(names[0]):
            shell.announce(names[0], file=sys.stderr)
            shell.start_keras()
            print(zoo.info(names[0]))
            return 0
        for name in names:
            if name.startswith("-"):
                raise InputError(f"models takes names such as resnet50 or 'plain*', not {name}.")
            if not zoo.list_models(name):
                raise unknown("model", name, zoo.list_models())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    for name in dict.fromkeys(n for pattern in names or ["*"] for n in zoo.list_models(pattern)):
        tags = ", ".join(tag for _, tag in zoo.list_weights(name))
        print(f"{name:<12} {tags}".rstrip())
    return 0


def script() -> None:
    """The console script."""
    processes.leave(main())


if __name__ == "__main__":
    script()
