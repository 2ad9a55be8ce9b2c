"""What --help and --helpfull print."""

import textwrap
from collections.abc import Collection

from absl import flags

from .definitions import RUN, group_of, in_order

WIDTH = 80  # of a terminal
_NAMES = 27  # columns before a flag's text


def short(values: flags.FlagValues, doc: str, groups: Collection[str] | None = None) -> str:
    """One line for each flag, by groups, below what the command does and an example of it.

    Args:
        values: the command's flags.
        doc: of the command's module.
        groups: which of the flags; None for all.
    """
    paragraphs = [*doc.strip().split("\n\n")[:2]]
    for name, members in _by_group(values, groups).items():
        paragraphs.append("\n".join([f"{name}:", *map(line, members)]))
    paragraphs.append("--helpfull tells more of the command and of each flag.")
    return "\n\n".join(paragraphs)


def full(values: flags.FlagValues, doc: str, groups: Collection[str] | None = None) -> str:
    """All that is known of the command and its flags; arguments as for `short`."""
    paragraphs = [doc.strip()]
    for name, members in _by_group(values, groups).items():
        paragraphs.append("\n".join([f"{name}:", *map(_whole, members)]))
    return "\n\n".join(paragraphs)


def line(flag: flags.Flag) -> str:
    """A flag's name, the first sentence of its help and its default."""
    name = f"  --{'[no]' if flag.boolean else ''}{flag.name}"
    default = _default(flag)
    return f"{name:<{_NAMES}}{_first_sentence(flag.help)}{default and f' [{default}]'}"


def _whole(flag):
    value = f"={'|'.join(flag.parser.enum_values)}" if _is_choice(flag) else ""
    default = _default(flag)
    name = f"--{'[no]' if flag.boolean else ''}{flag.name}{value}"
    return "\n".join(
        [
            f"  {name}{default and f' (default: {default})'}",
            *textwrap.wrap(flag.help, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6),
        ]
    )


def _is_choice(flag):
    return isinstance(flag.parser, flags.EnumParser)


def _default(flag):
    """As it would be written; "" without one."""
    if flag.default in (None, []):
        return ""
    if flag.boolean:
        return "on" if flag.default else "off"
    if isinstance(flag.default, list):
        return ",".join(flag.default)
    return f"{flag.default:g}" if isinstance(flag.default, float) else f"{flag.default}"


def _first_sentence(text):
    first, _, _ = text.partition(". ")
    return first if first.endswith(".") else f"{first}."


def _by_group(values, groups):
    """Flags by the title of their group, as they were defined."""
    named: dict[str, list[flags.Flag]] = {}
    for flag in in_order(values):
        name = group_of(flag)
        if name is not None and (groups is None or name in (RUN, *groups)):
            named.setdefault(name, []).append(flag)
    return named
