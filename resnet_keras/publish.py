"""Makes of a run a folder that others load: weights, their description, and a model card.

    python -m resnet_keras.publish runs/resnet20_digits my_resnet20
    python -m resnet_keras.publish --which=best --licence=MIT runs/mine my_network

The folder receives model.safetensors, config.json and README.md, which tells the run's error, its
recipe and its flags. Then `zoo.get("my_network")` builds the network, and predict and evaluate
take --model=my_network.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import zoo
from .commands import shell, train_arguments
from .commands.definitions import Group, new_flags
from .errors import InputError
from .training import run_folder

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.choice(
    "which",
    "last",
    ["last", "best"],
    "Which weights are taken: last or best. last are those of the run's end, best those of its "
    "best evaluation.",
)
_run.text("licence", None, "Licence of the weights, an SPDX name such as MIT.")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        raise InputError("Name the folder of a run, and a new one to publish it in: RUN FOLDER.")
    run, folder = map(Path, arguments)
    path = _weights(run, FLAGS.which)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and not empty: name a new folder.")
    lines = _flag_lines(run)
    values = run_folder.flags_of("\n".join(lines))
    measured = _measured(run, FLAGS.which)
    data = zoo.weights.own.description_in(path).get("training", {}).get("data")
    accuracy = _in_words(measured, values, data)
    recipe = "\n".join(f"    {line}" for line in lines)
    zoo.weights.publish.of_file(
        path,
        folder,
        training={"weights_of": FLAGS.which, **measured, "flags": values},
        accuracy=accuracy,
        licence=FLAGS.licence,
        appendix=f"\n## Training\n\nThe flags of the run:\n\n{recipe}\n",
    )
    name = f"./{folder}" if zoo.networks.is_name(str(folder)) else str(folder)
    print(f"{folder}: the {FLAGS.which} weights of {run}, {accuracy}; zoo.get({name!r})")


def _weights(run: Path, which: str) -> Path:
    """The file of a run's last or best weights."""
    if not run.is_dir():
        raise InputError(f"There is no folder {run}.")
    if not (run / run_folder.FLAGS).is_file():
        raise InputError(f"{run} is not the folder of a run: it has no {run_folder.FLAGS}.")
    names = {"last": run_folder.LAST, "best": run_folder.BEST}
    path = run / f"{names[which]}.safetensors"
    if path.is_file():
        return path
    others = sorted(run.glob(f"{names[which]}.*"))
    if others:
        raise InputError(
            f"{others[0]} is not of `train`, which writes {path.name}: load it as weights of its "
            "network, and publish that with zoo.save."
        )
    if (run / f"{run_folder.BEST}.safetensors").is_file():
        raise InputError(
            f"The run in {run} has not ended: go on with it, or publish the best weights so far "
            "with --which=best."
        )
    raise InputError(f"{run} has no {path.name}: train on until the run has been evaluated.")


def _flag_lines(run: Path) -> list[str]:
    """The flags that decide the run, without those of the machine, such as where its data is."""
    lines = run_folder.read_text(run / run_folder.FLAGS).splitlines()
    flags = [line for line in lines if line.startswith("--")]
    return [line for line in flags if not {*run_folder.flags_of(line)} & train_arguments.FREE]


def _measured(run: Path, which: str) -> dict[str, Any]:
    """The evaluation that belongs to the weights, by metrics.csv's columns; nothing without it."""
    rows = [row for row in run_folder.read_rows(run) if row.get("val_top1_error")]
    if not rows:
        return {}
    row = min(rows, key=lambda row: float(row["val_top1_error"])) if which == "best" else rows[-1]
    columns = ("val_top1_error", "val_top5_error")
    errors = {name: float(row[name]) for name in columns if row.get(name)}
    return {"step": int(row["step"]), "evaluations": len(rows), **errors}


def _in_words(measured: dict[str, Any], flags: dict[str, str], data: str | None) -> str:
    """The accuracy; `data` is the name of series that a user brought."""
    if not measured:
        return "not measured"
    dataset = f"{flags.get('dataset', 'its data')}{f' {data}' if data else ''}"
    where = f"{dataset}/{flags.get('eval_split', 'test')}"
    chosen = (
        f", the best of {measured['evaluations']} evaluations on these images"
        if FLAGS.which == "best"
        else ""
    )
    return (
        f"{100 * measured['val_top1_error']:.2f} % top-1 error on {where} after "
        f"{measured['step']} steps{chosen}"
    )


if __name__ == "__main__":
    sys.exit(main())
