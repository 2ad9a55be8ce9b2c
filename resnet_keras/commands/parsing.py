"""A command's arguments as values of its flags, and what is wrong with them in one sentence."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from absl import flags

from resnet_keras import zoo
from resnet_keras.errors import InputError, hint, unknown

from .definitions import RUN, all_flags, group_of

HOLD_OUT = (
    "Without one, hold out a share of train, in quotes for the shell: "
    "'--train_split=train[:90%]' '--eval_split=train[90%:]' (of evaluate and preview "
    "'--split=train[90%:]')."
)
_STEPS = (
    " Time is counted in steps, each of one batch: an epoch is as many as the data set has images, "
    "divided by --batch_size."
)
# An argument in a message of the library: name=value.
_ARGUMENT = re.compile(
    r"(?<![^\s(])(?P<name>[a-z]\w+)="
    r"""(?P<value>"[^"]*"|'[^']*'|\[[\d, ]*\]|\([\d, ]*\)|\d+\.\d+(?:e-?\d+)?|\w++)"""
    r"(?![-/\\]|\.\w)"
)
# Or its name alone: in backticks, or not to be taken for a word of English.
_NAME = re.compile(r"`(?P<quoted>[a-z]\w+)`|(?<![^\s(])(?P<bare>[a-z]+_\w+)(?![-/\\=\w]|\.\w)")


def parse(
    values: flags.FlagValues,
    argv: Sequence[str],
    positional: bool = False,
    after: tuple[str, flags.FlagValues] | None = None,
) -> list[str]:
    """Sets the flags from a command's arguments, its name first; returns those that are no flags.

    Args:
        values: the command's flags.
        argv: its arguments, up to --.
        positional: whether there may be arguments that are no flags.
        after: what the flags after -- are for, and those that there are.

    Raises:
        InputError, flags.Error: they cannot be understood.
    """
    for flag in all_flags(values):
        flag.unparse()  # a second call in one process starts from the defaults again
    recipes = list(_values_of("recipe", argv)) if "recipe" in values else []
    # The packaged files come before the other flags, which win. absl reads --flagfile itself.
    files = [f"--flagfile={zoo.recipes.path(name, _task(values))}" for name in recipes]
    try:
        rest = values([argv[0], *files, *argv[1:]])[1:]
    except UnicodeDecodeError as error:
        raise InputError(f"The flagfile is no text: {error}.") from error
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        if after is not None and name.replace("-", "_") in after[1]:
            raise InputError(f"--{name} is for the {after[0]}: write it after --.") from error
        raise _unknown_flag(values, name, argv) from error
    except flags.IllegalFlagValueError as error:
        raise _wrong_value(values, error, argv) from error
    except flags.CantOpenFlagFileError as error:
        cause = error.__context__
        reason = f"{cause.filename}: {cause.strerror}" if isinstance(cause, OSError) else error
        raise InputError(f"Cannot read the flagfile {reason}.") from error
    if rest and not positional:
        raise _unexpected(values, rest[0])
    if "recipe" in values and values["recipe"].value not in (None, *recipes):
        raise InputError("--recipe is for the command line; in a flagfile write --flagfile=PATH.")
    return [os.path.expanduser(argument) for argument in rest]


def check_groups(values: flags.FlagValues, task: str, groups: Collection[str]) -> None:
    """Refuses flags that a task has no use for.

    Args:
        values: the command's flags, of which some are given.
        task: which the command was asked for.
        groups: of the flags that it has.

    Raises:
        InputError: another one is given.
    """
    for flag in all_flags(values):
        if flag.present and group_of(flag) not in (None, RUN, *groups):
            raise InputError(f"--{flag.name} is no flag of {task}: leave it out.")


def _task(values):
    """Of whose recipes the command takes one."""
    return values["recipe"].task


def _values_of(name: str, argv: Sequence[str]) -> Iterator[str]:
    """The values of --NAME=VALUE and --NAME VALUE, as they come."""
    for position, argument in enumerate(argv):
        if argument in (f"--{name}", f"-{name}"):
            yield from argv[position + 1 : position + 2]
        elif argument.startswith((f"--{name}=", f"-{name}=")):
            yield argument.split("=", 1)[1]


def _unknown_flag(values, name, argv):
    spelled = name.replace("-", "_")
    names = [flag.name for flag in all_flags(values)]
    near = hint(spelled, [*names, *(f"no{f.name}" for f in all_flags(values) if f.boolean)])
    near = re.sub(r"'(\w+)'", r"--\1", near) or " --help lists those that there are."
    steps = _STEPS if "epoch" in name and "_steps" in near else ""
    return InputError(f"Unknown flag --{name}{_place(name, argv)}.{near}{steps}")


def _wrong_value(values, error, argv):
    """Says what a flag takes; absl says it in Python's terms."""
    match = re.match(r"flag --(\w+)=(.*)", str(error), re.DOTALL)
    if match is None:
        return InputError(str(error))
    name, value = match[1], match[2].removesuffix(f": {error.__context__}")
    flag, place = values[name], _place(name, argv)
    if isinstance(flag.parser, flags.EnumParser):
        return unknown(f"--{name}{place}:", value, flag.parser.enum_values)
    if isinstance(error.__context__, InputError):
        return InputError(f"--{name}{place}: {error.__context__}")
    takes = f"no value (write --{name} or --no{name})" if flag.boolean else None
    takes = takes or flag.parser.syntactic_help.replace("integer", "whole number")
    takes = takes.replace("an whole", "a whole")
    return InputError(f"--{name}{place} takes {takes}, not {value!r}.")


def _place(name, argv):
    """Says in which flagfile a flag stands that is not among the arguments; "" if it is."""
    flag = re.compile(rf"\s*--?{re.escape(name)}([=\s]|$)")
    if any(flag.match(argument) for argument in argv[1:]):
        return ""
    for path in _flagfiles(argv[1:], set()):
        lines = path.read_text(errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if flag.match(line):
                return f" in {path}, line {number}"
    return ""


def _flagfiles(lines, seen):
    """The flagfiles that arguments or lines name, and those that these name."""
    for name in _values_of("flagfile", [line.strip() for line in lines]):
        path = Path(name).expanduser()
        if path not in seen and path.is_file():
            seen.add(path)
            yield path
            yield from _flagfiles(path.read_text(errors="replace").splitlines(), seen)


def _unexpected(values, argument):
    if "recipe" in values and argument in zoo.recipes.names(_task(values)):
        return InputError(f"Unexpected argument {argument!r}. Did you mean --recipe={argument}?")
    return InputError(f"Unexpected argument {argument!r}: flags are written --name=value.")


def in_flags(values: flags.FlagValues, text: str, names: Collection[str] | None = None) -> str:
    """Says with a command's flags what the library says with arguments.

    `name=value` is --name=value, and --name or --noname for True and False. A name alone is --name
    where it is in backticks or has an underscore, as no word of English has. What looks like the
    name of a file or a part of another word stays.

    Args:
        values: of the command.
        text: of the library.
        names: of the arguments that it may speak of; None for any flag of the command.
    """
    from resnet_keras.pipelines import splits

    def is_flag(name):
        return name in values and (names is None or name in names)

    def assigned(match):
        name, value = match["name"], match["value"].strip("\"'")
        if not is_flag(name) or value == "None":  # which no flag can be given
            return match[0]
        if values[name].boolean and value in ("True", "False"):
            return f"--{name}" if value == "True" else f"--no{name}"
        if value.startswith(("[", "(")):
            value = value[1:-1].replace(" ", "")
        return f"--{name}={value}"

    def named(match):
        name = match["quoted"] or match["bare"]
        return f"--{name}" if is_flag(name) else match[0]

    text = text.replace(splits.HOLD_OUT, HOLD_OUT)
    return _NAME.sub(named, _ARGUMENT.sub(assigned, text))
