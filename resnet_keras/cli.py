"""What the command lines share: flags, recipes, quiet start-up, and errors as one sentence.

Each command keeps its flags in an `absl.flags.FlagValues` of its own, so that importing two
commands into one process does not collide, and `--help` needs no TensorFlow.
"""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from absl import flags

from . import zoo
from .errors import InputError

USER_ERROR = 2


def run(
    main: Callable[[], None], values: flags.FlagValues, argv: Sequence[str], doc: str | None
) -> int:
    """Parses `argv` into `values` and calls `main`; --help prints `doc` and the flags.

    Returns:
        The process's exit status: 0, or 2 after a user's mistake, told in one sentence.
    """
    try:
        _parse(values, argv)
        if values["help"].value:
            print(_help(values, doc or ""))
        else:
            main()
    except (InputError, flags.Error) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def new_flags() -> flags.FlagValues:
    """Returns an empty set of flags with --help and --flagfile."""
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    flags.DEFINE_string(
        "flagfile", None, "Read flags from this file; later flags win.", flag_values=values
    )
    return values


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> None:
    for flag in all_flags(values):
        flag.unparse()  # a second call in one process starts from the defaults again
    recipes = _named_recipes(argv)
    # The packaged files come before the other flags, which win. absl reads --flagfile itself.
    files = [f"--flagfile={zoo.recipes.path(name)}" for name in recipes]
    try:
        rest = values([argv[0], *files, *argv[1:]])
    except UnicodeDecodeError as error:
        raise InputError(f"The flagfile is no text: {error}.") from error
    if len(rest) > 1:
        raise InputError(f"Unexpected argument {rest[1]!r}: flags are written --name=value.")
    if "recipe" in values and values["recipe"].value not in (None, *recipes):
        raise InputError("--recipe is for the command line; in a flagfile write --flagfile=PATH.")


def _named_recipes(argv: Sequence[str]) -> list[str]:
    """The values of --recipe=NAME and --recipe NAME."""
    names = []
    for position, argument in enumerate(argv):
        if argument in ("--recipe", "-recipe"):
            names += argv[position + 1 : position + 2]
        elif argument.startswith(("--recipe=", "-recipe=")):
            names.append(argument.split("=", 1)[1])
    return names


def all_flags(values: flags.FlagValues) -> list[flags.Flag]:
    """Returns each flag once, by name."""
    unique = {values[name].name: values[name] for name in values}  # short names come up twice
    return [unique[name] for name in sorted(unique)]


def _help(values: flags.FlagValues, doc: str) -> str:
    lines = [doc.strip(), "", "Flags:"]
    for flag in all_flags(values):
        default = "" if flag.default is None else f" (default: {flag.default_as_str})"
        lines += [f"  --{flag.name}{default}", f"      {flag.help}"]
    return "\n".join(lines)


def start_keras() -> None:
    """Imports Keras, on whatever backend, without start-up noise reaching the user."""
    _lower_log_levels()
    with captured_stderr():
        import keras

        # The first use of a device complains about the GPU that a CPU machine has not.
        keras.ops.zeros(())


def start_tensorflow() -> None:
    """Starts Keras on the TensorFlow backend.

    Raises:
        InputError: Keras is set to another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise InputError(
            f"This command needs Keras's TensorFlow backend, but KERAS_BACKEND is {backend!r}: "
            "set KERAS_BACKEND=tensorflow."
        )
    _lower_log_levels()
    with captured_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # logical devices must not exist yet: see distribution
        import keras  # noqa: F401


def _lower_log_levels() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, from C++
    logging.getLogger("tensorflow").setLevel("ERROR")


@contextlib.contextmanager
def captured_stderr() -> Iterator[None]:
    """Holds back what is written to stderr, by C++ too, and shows it only after an exception.

    TensorFlow 2.21 logs before its log level acts, so TF_CPP_MIN_LOG_LEVEL alone is not enough.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
