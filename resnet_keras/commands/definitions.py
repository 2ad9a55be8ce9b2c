"""How flags are defined: each in the group with which --help shows it.

Each command keeps its flags in an `absl.flags.FlagValues` of its own, so that importing two
commands into one process does not collide, and `--help` needs no TensorFlow.
"""

import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from resnet_keras import files

RUN = "Run"  # the group that every task of a command has


class Group:
    """Defines flags that --help shows together.

    The first sentence of a flag's help is its line in --help, and fits a terminal; all of it is in
    --helpfull. A path may begin with ~ for the user's own folder: the shell leaves --flag=~/path as
    it is, for it expands a ~ only where a word begins.

    Args:
        values: the command's flags.
        name: the title; several groups of one name are one.
    """

    def __init__(self, values: flags.FlagValues, name: str):
        self.values = values
        self.name = name

    def _define(self, define, name, *arguments, **options):
        define(name, *arguments, flag_values=self.values, **options)
        self.values[name].group = self.name

    def text(self, name: str, default: str | None, help: str) -> None:
        """Defines a flag that takes any text."""
        self._define(flags.DEFINE_string, name, default, help)

    def whole(
        self,
        name: str,
        default: int | None,
        help: str,
        low: int | None = None,
        high: int | None = None,
    ) -> None:
        """Defines a flag that takes a whole number, from `low` to `high`."""
        self._define(flags.DEFINE_integer, name, default, help, low, high)

    def number(
        self,
        name: str,
        default: float | None,
        help: str,
        low: float | None = 0,
        high: float | None = None,
    ) -> None:
        """Defines a flag that takes a number, from `low` to `high`."""
        self._define(flags.DEFINE_float, name, default, help, low, high)

    def whole_or_share(self, name: str, default: float | None, help: str) -> None:
        """Defines a flag that takes a number above 0, which is an int where it is written as one.

        So what is a count for one network may be a factor for another.
        """
        self._parsed(_WholeOrShareParser(), name, default, help, flags.ArgumentSerializer())

    def choice(self, name: str, default: str | None, choices: Sequence[str], help: str) -> None:
        """Defines a flag that takes one of `choices`."""
        parser = flags.EnumParser(list(choices))
        self._parsed(parser, name, default, help, flags.ArgumentSerializer())

    def switch(self, name: str, default: bool | None, help: str) -> None:
        """Defines --NAME and --noNAME."""
        self._define(flags.DEFINE_bool, name, default, help)

    def items(self, name: str, default: Sequence[str] | None, help: str) -> None:
        """Defines a flag that takes a list, with commas between its items."""
        self._define(flags.DEFINE_list, name, default and list(default), help)

    def path(self, name: str, help: str, default: str | None = None, *, local: bool = True) -> None:
        """Defines a flag that takes the path of a file or folder; not gs:// and so on if local."""
        self._parsed(_PathParser(local), name, default, help, flags.ArgumentSerializer())

    def paths(self, name: str, help: str) -> None:
        """Defines a flag that takes a list of paths, or of NAME=PATH."""
        self._parsed(_PathsParser(), name, [], help, flags.CsvListSerializer(","))

    def split(self, name: str, help: str, default: str | None = None) -> None:
        """Defines a flag that takes a split of a data set, or a share of one."""
        help = f"{help} A share is 'train[:90%]' or 'train[5000:]', in quotes for the shell."
        self._parsed(_SplitParser(), name, default, help, flags.ArgumentSerializer())

    def _parsed(self, parser, name, default, help, serializer):
        flags.DEFINE(parser, name, default, help, self.values, serializer)
        self.values[name].group = self.name


def new_flags(*, recipes: str | None = None) -> flags.FlagValues:
    """Returns a set of flags with --help, --helpfull and --flagfile, and --recipe where asked for.

    Args:
        recipes: the task, see `zoo.recipes.names`, whose packaged recipes the command takes; None
            for none.
    """
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Show a line for each flag.", values, short_name="h")
    flags.DEFINE_bool("helpfull", False, "Show all that is known of them.", values)
    run = Group(values, RUN)
    if recipes is not None:
        run.text("recipe", None, "Packaged recipe to start from. Flags beside it win.")
        values["recipe"].task = recipes
    run.path("flagfile", "File of flags, one a line. Flags after it win.")
    return values


def group_of(flag: flags.Flag) -> str | None:
    """The title of the group that a flag was defined in; None for --help."""
    return getattr(flag, "group", None)


def all_flags(values: flags.FlagValues) -> list[flags.Flag]:
    """Returns each flag once, by name."""
    unique = {flag.name: flag for flag in in_order(values)}
    return [unique[name] for name in sorted(unique)]


def in_order(values: flags.FlagValues) -> list[flags.Flag]:
    """Returns each flag once, as they were defined."""
    return list({id(values[name]): values[name] for name in values}.values())  # short names too


class _PathParser(flags.ArgumentParser):
    def __init__(self, local: bool):
        self.local = local

    def parse(self, argument: Any):
        path = os.path.expanduser(argument)
        if self.local:
            files.check_local(path)
        return path


class _WholeOrShareParser(flags.ArgumentParser):
    def parse(self, argument: Any):
        try:
            number = int(argument)
        except ValueError:
            number = float(argument)
        if not 0 < number < float("inf"):
            raise ValueError(f"{number} is not a number above 0")
        return number


class _PathsParser(flags.ListParser):
    def parse(self, argument):
        return [_expanded(item) for item in super().parse(argument)]


def _expanded(item):
    name, given, path = item.partition("=")
    return f"{os.path.expanduser(name)}{given}{os.path.expanduser(path)}"


class _SplitParser(flags.ArgumentParser):
    """Refuses what is no split; whether there is such a one, the data set tells."""

    def parse(self, argument):
        from resnet_keras.pipelines import splits

        return str(splits.parse(argument))
