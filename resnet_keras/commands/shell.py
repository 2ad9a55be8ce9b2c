"""What starts and ends a command: parsing, help, quiet start-up, and errors as one sentence."""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TextIO, TypeVar

from absl import flags

from resnet_keras import tuning
from resnet_keras.errors import InputError, told
from resnet_keras.processes import Interrupted, ended_by_signals, status_of

from . import help
from .parsing import check_groups, in_flags, parse

USER_ERROR = 2
BROKEN_PIPE = 141

Result = TypeVar("Result")


def run(
    main: Callable[..., int | None],
    values: flags.FlagValues,
    argv: Sequence[str],
    doc: str | None,
    *,
    positional: bool = False,
    task: str | None = None,
    groups: Collection[str] | None = None,
    after: tuple[str, flags.FlagValues] | None = None,
) -> int:
    """Parses `argv` into `values` and calls `main`; --help prints `doc` and the flags.

    Args:
        main: takes nothing, or the arguments that are no flags where `positional` allows them.
        values: the command's flags.
        argv: the command's name and its arguments.
        doc: what --help prints above the flags.
        positional: whether there may be arguments that are no flags.
        task: which of several the command was asked for.
        groups: of the flags that the task has; None for all of the command's.
        after: what the flags after -- are for, and those that there are; see `split_rest`.

    Returns:
        The process's exit status: what `main` returns, if it does, else 0; or 2 after a user's
        mistake, told in one sentence; 130 after SIGINT, 75 after SIGTERM.
    """
    status = None
    try:
        rest = parse(values, argv, positional, after)
        if values["help"].value or values["helpfull"].value:
            show = help.full if values["helpfull"].value else help.short
            print(show(values, doc or "", groups))
        else:
            if task is not None and groups is not None:
                check_groups(values, task, groups)
            with ended_by_signals(), _short_warnings(values):
                status = main(rest) if positional else main()
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        print(stopped, file=sys.stderr)
        return status_of(stopped.signum)
    except BrokenPipeError:  # nobody reads any more; nor may Python, when it ends, flush to that
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        mistake = error if isinstance(error, InputError | flags.Error) else told(error)
        if mistake is None:
            raise
        sentence = " ".join(in_flags(values, str(mistake)).split())
        print(f"error: {sentence}", file=sys.stderr)
        return USER_ERROR
    return status or 0


def split_task(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Takes the task of a command that has several out of its arguments; None where it names none.

    Returns:
        The task, and the arguments without it.
    """
    task = argv[1] if len(argv) > 1 and not argv[1].startswith("-") else None
    return task, [argv[0], *argv[2 if task else 1 :]]


def split_rest(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments before --, and those after it, which are for another command."""
    place = argv.index("--") if "--" in argv else len(argv)
    return list(argv[:place]), list(argv[place + 1 :])


@contextlib.contextmanager
def _short_warnings(values: flags.FlagValues) -> Iterator[None]:
    """Shows a warning of this package's as one line, without the line of code it comes from."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def showwarning(message, category, *where, **more):
            if category is UserWarning:
                print(f"warning: {in_flags(values, str(message))}", file=sys.stderr)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = showwarning
        yield


def announce(what: str, *, file: TextIO | None = None) -> None:
    """Prints at once what is begun, where it takes seconds until TensorFlow is imported.

    Args:
        what: the network and the data, in a few words.
        file: stderr, where stdout is for results; stdout without.
    """
    if "tensorflow" not in sys.modules:
        print(f"resnet_keras: {what}; starting TensorFlow ...", file=file, flush=True)


def start_keras() -> None:
    """Imports Keras, on whatever backend, without start-up noise reaching the user."""
    tuning.tune_cpu()
    _lower_log_levels()
    with captured_stderr():
        import keras

        # The first use of a device complains about the GPU that a CPU machine has not.
        keras.ops.zeros(())


def start_tensorflow(recorded: Mapping[str, str] | None = None) -> None:
    """Starts Keras on the TensorFlow backend.

    Args:
        recorded: the settings of the process that this one continues, see `tuning.tune_cpu`.

    Raises:
        InputError: Keras is set to another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise InputError(
            f"This command needs Keras's TensorFlow backend, but KERAS_BACKEND is {backend!r}: "
            "set KERAS_BACKEND=tensorflow."
        )
    tuning.tune_cpu(recorded)
    _lower_log_levels()
    with captured_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # logical devices must not exist yet: see distribution
        import keras  # noqa: F401


def start_without_tensorflow() -> None:
    """For commands whose work another engine does: TensorFlow is imported where it must be."""
    tuning.tune_cpu()
    _lower_log_levels()


def _lower_log_levels() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, from C++
    logging.getLogger("tensorflow").setLevel("ERROR")


@contextlib.contextmanager
def captured_stderr() -> Iterator[None]:
    """Holds back what is written to stderr, by C++ too, and shows it only after an error.

    TensorFlow 2.21 logs before its log level acts, so TF_CPP_MIN_LOG_LEVEL alone is not enough.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            sys.stderr.flush()
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def quietly(call: Callable[[], Result]) -> Result:
    """Calls a function as in `captured_stderr`, whose mistake, too, is told without the rest.

    Warnings of Python are among what is not shown.
    """
    with captured_stderr():
        try:
            return call()
        except InputError as error:
            mistake = error
    raise mistake
