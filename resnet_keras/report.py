"""Draws training and test error of runs, in progress too, as in Fig. 4 and 6 of arXiv 1512.03385.

    python -m resnet_keras.report runs/resnet20_digits
    python -m resnet_keras.report --out=figure6 --title="CIFAR-10" --max_error=20 runs/

Arguments are folders of `train` or of `training.fit`, or folders of such folders; instead of the
error, runs may be judged by any measure that `fit` monitors. OUT.png receives the figure; OUT.html,
which needs no other file, the figure with a summary, the flags and all measurements of each run.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from . import drawing
from .commands import shell
from .commands.definitions import Group, new_flags
from .errors import InputError
from .files import check_local, make_folder, readable, write_atomically
from .reproduction import curves, page
from .reproduction.runs import MISSING, eval_split, find, read, state, summary

FLAGS = new_flags()
_figure = Group(FLAGS, "Figure")
_figure.path("out", "Path without suffix. OUT.png and OUT.html are written.", "report")
_figure.text("title", None, "Title of the figure. Without the flag, the runs' data sets.")
_figure.number(
    "max_error",
    None,
    "Top of the error axis in %. Without the flag, one under which four fifths of every curve lie.",
    0.1,
    100,
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    out = Path(FLAGS.out)
    if not out.name or out.suffix in (".png", ".html"):
        raise InputError(f"--out is a path without suffix such as runs/report, not {FLAGS.out!r}.")
    for folder in arguments:
        check_local(folder)
    drawing.check()
    runs = read(find(arguments))
    title = readable(FLAGS.title or _title(runs))
    picture = drawing.png(curves.draw(runs, title, FLAGS.max_error))
    make_folder(out.parent)
    write_atomically(f"{out}.png", picture)
    write_atomically(f"{out}.html", page.text(runs, title, picture).encode(errors="replace"))
    for run in runs:
        measured = summary(run, eval_split([run])).items()
        facts = [f"{name} {text}" for name, text in measured if text != MISSING]
        print(f"{run.name}: {', '.join([state(run), *facts])}")
    print(readable(f"{out}.png and {out}.html are written."))


def _title(runs):
    named = {run.flags.get("dataset", "an unknown data set") for run in runs}
    names = sorted(name.strip('"') for name in named)  # JSON in the identity of a user's run
    return f"Training on {', '.join(names)}"


if __name__ == "__main__":
    sys.exit(main())
