"""Runs an experiment of arXiv 1512.03385, and puts the paper's numbers beside what it measures.

    python -m resnet_keras.reproduce degradation
    python -m resnet_keras.reproduce shortcuts --dataset=cifar10 --scale=quick
    python -m resnet_keras.reproduce depth --dataset=cifar10 --depths=20,56,1202 --seeds=0,1,2,3,4
    python -m resnet_keras.reproduce imagenet --data_dir=/data/tensorflow_datasets --trained=runs

degradation trains plain and residual networks of several depths (Fig. 6), shortcuts options A, B and
C (Table 3), depth residual networks of 20 to 110 layers (Table 6); responses measures how strongly
the layers of such networks respond (Fig. 7). Experiments share the runs they have in common.
imagenet trains nothing: it evaluates networks trained here and public weights (Tables 2 to 5).

The runs are made one after another, or over --workers; the same command goes on where it was
stopped or killed. What stands after -- are further flags of every run: `train`'s, or `evaluate`'s
for imagenet. At the end OUT.png, OUT.md and OUT.json are written; what was not run is so called.
"""

import json
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from . import (
    __version__,
    cli,
    experiments,
    figures,
    imagenet_tables,
    pipelines,
    processes,
    runs,
    zoo,
)
from .errors import InputError, unknown
from .files import make_folder, write_atomically
from .runs import readable
from .tables import Table, markdown

FLAGS = cli.new_flags()
TASKS = (*experiments.EXPERIMENTS, "imagenet")
FAILED = 1


def _define_flags() -> None:
    def text(name, default, help):
        flags.DEFINE_string(name, default, help, flag_values=FLAGS)

    def items(name, default, help):
        flags.DEFINE_list(name, default, help, flag_values=FLAGS)

    text("dataset", None, "digits (without) or cifar10; imagenet: imagenet2012 (without), folder.")
    flags.DEFINE_enum(
        "scale",
        "paper",
        list(experiments.SCALES),
        "paper makes every run of the experiment at full length (on digits, by this package's "
        "recipes); quick fewer and shorter ones, or single crops, to see it work.",
        flag_values=FLAGS,
    )
    items("depths", [], "Layers of the networks; the experiment's own without.")
    items("seeds", [], "A run of each network for each; 0,1,2 without, or 0 for quick.")
    text("folder", "reproduced", "Where the runs are made, and kept for other experiments.")
    text("out", None, "Path without suffix of what is written; below --folder without.")
    flags.DEFINE_integer("workers", 1, "Runs at a time on this machine.", 1, flag_values=FLAGS)
    flags.DEFINE_integer(
        "gpus_per_worker",
        0,
        "GPUs that each run has for itself. With 0, one worker has all there are, and several "
        "have none.",
        0,
        flag_values=FLAGS,
    )
    flags.DEFINE_bool(
        "run", True, "--norun runs nothing, and tells of what is there.", flag_values=FLAGS
    )
    text("data_dir", None, "As of train and evaluate.")
    items("trained", [], "imagenet: runs of train, or folders of them, to evaluate.")
    items(
        "weights",
        None,
        "imagenet: registered weights to evaluate; imagenet without, or none beside --trained.",
    )
    text("weights_dir", None, "imagenet: folder with files of registered weights.")


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    own, rest = cli.split_rest(argv)
    task, own = cli.split_task(own)
    return cli.run(lambda: _main(task, rest, argv), FLAGS, own, __doc__)


def _main(task, rest, argv) -> int:
    if task not in TASKS:
        raise (
            unknown("experiment", task, TASKS)
            if task
            else InputError(f"Name an experiment before the flags: {', '.join(TASKS)}.")
        )
    known = imagenet_tables.DATASETS if task == "imagenet" else experiments.DATASETS
    dataset = FLAGS.dataset or known[0]
    if dataset not in known:
        raise unknown(f"data set of {task}:", dataset, known)
    out = Path(FLAGS.out or _default_out(task, dataset))
    if not out.name or out.suffix in (".png", ".md", ".json"):
        raise InputError(
            f"--out is a path without suffix such as results/{task}, not {str(out)!r}."
        )
    figures.check()  # not after hours of training
    folder = make_folder(Path(FLAGS.folder) / f"{dataset}_{FLAGS.scale}" / "runs")
    made = _imagenet if task == "imagenet" else _trained
    status, result = made(task, dataset, folder, rest)
    if result is None:
        return status
    tables, picture, more = result
    _write(out, task, dataset, tables, picture, {"command": _command(argv), **more})
    return status


def _default_out(task, dataset):
    quick = "" if FLAGS.scale == "paper" else f"_{FLAGS.scale}"
    return Path(FLAGS.folder) / f"{task}_{dataset}{quick}"


def _trained(task, dataset, folder, rest):
    """Trains the members of an experiment; returns the status and what is to be told."""
    depths = cli.whole_numbers("depths", FLAGS.depths) or experiments.depths(task, FLAGS.scale)
    seeds = cli.whole_numbers("seeds", FLAGS.seeds) or experiments.seeds(FLAGS.scale)
    members = experiments.members(task, depths, seeds)
    jobs = _training_jobs(members, dataset, folder, rest)
    status = _run(jobs, len(members))
    if status in (cli.PREEMPTED, cli.INTERRUPTED):
        return status, None
    found = experiments.read(folder, members)
    grouped = experiments.groups(members, found)
    title = f"{dataset}{'' if FLAGS.scale == 'paper' else f', {FLAGS.scale} runs'}"
    more: dict[str, Any] = {}
    if task == "degradation":
        tables, figure = experiments.degradation(grouped), figures.degradation(grouped, title)
    elif task == "shortcuts":
        tables = experiments.shortcuts(grouped)
        figure = figures.shortcuts(grouped, title, experiments.paper_shortcuts())
    elif task == "depth":
        tables = experiments.depth(grouped, dataset)
        figure = figures.depth(grouped, title, experiments.others(dataset))
    else:
        more["deviations"] = deviations = _deviations(members, found, dataset, folder)
        tables = experiments.responses(grouped, deviations)
        drawn = {group: [list(run.values()) for run in each] for group, each in deviations.items()}
        figure = figures.responses(drawn, title)
    tables = [*tables, experiments.all_runs(members, found)]
    return status, (tables, figures.png(figure), more | experiments.facts(members, found))


def _training_jobs(members, dataset, folder, rest):
    """A job for each member that is not finished.

    Raises:
        InputError: a flag is none of train's, or a run that is there was made with other flags.
    """
    from . import train

    jobs = []
    for member in members:
        arguments = [*experiments.arguments(member, dataset, FLAGS.scale), *rest]
        workdir = folder / member.name
        differing = train.differences(workdir, arguments)
        if differing:
            raise InputError(
                f"{workdir} holds a run with other flags: {'; '.join(differing)}. Choose another "
                "--folder."
            )
        if not (workdir / runs.WEIGHTS).exists():
            data_dir = [f"--data_dir={FLAGS.data_dir}"] if FLAGS.data_dir else []
            command = [sys.executable, "-m", "resnet_keras.train", *arguments, *data_dir]
            jobs.append(processes.Job(member.name, [*command, f"--workdir={workdir}"]))
    return jobs


def _run(jobs, total) -> int:
    """Runs jobs, unless --norun; returns the exit status of the command."""
    print(f"{total} run(s), {total - len(jobs)} of them finished before", flush=True)
    if not jobs or not FLAGS.run:
        return 0
    shares = processes.shares(FLAGS.workers, FLAGS.gpus_per_worker)
    ended, signum = processes.run_all(jobs, shares)
    if signum:
        print(f"stopped by {signal.Signals(signum).name}: the same command goes on from there")
        return cli.INTERRUPTED if signum == signal.SIGINT else cli.PREEMPTED
    failed = [name for name, status in ended.items() if status]
    if failed:
        print(
            f"error: {len(failed)} run(s) failed, for the reasons they gave above: "
            f"{', '.join(failed)}; the same command tries them again.",
            file=sys.stderr,
        )
    return FAILED if failed else 0


def _deviations(members, found, dataset, folder) -> dict[str, list[dict[str, float]]]:
    """The deviations of the layers' responses to the test images, for each finished run."""
    finished = [member for member in members if member in found and found[member].finished]
    if not finished:
        return {}
    cli.start_tensorflow()
    from . import responses

    by_group: dict[str, list[dict[str, float]]] = {}
    for member in finished:
        model = zoo.get(member.network, weights=folder / member.name / runs.WEIGHTS)
        side = model.input_shape[1] if pipelines.info(dataset).resizable else None
        test = pipelines.evaluation(
            dataset, "test", 50, image_size=side, data_dir=FLAGS.data_dir, device=None
        )
        measured = responses.standard_deviations(model, (images for images, _ in test))
        by_group.setdefault(member.group, []).append(measured)
        print(f"[{member.name}] responses of {len(measured)} layers", flush=True)
    return by_group


def _imagenet(task, dataset, folder, rest):
    """Evaluates weights by the paper's protocols; returns the status and what is to be told."""
    tags = FLAGS.weights if FLAGS.weights is not None else [] if FLAGS.trained else ["imagenet"]
    weights = [*imagenet_tables.trained(FLAGS.trained), *imagenet_tables.registered(tags)]
    wanted = imagenet_tables.evaluations(weights, FLAGS.scale)
    if FLAGS.run:
        cli.start_tensorflow()
        pipelines.open_split(dataset, "val", data_dir=FLAGS.data_dir)  # or says what is missing
    paths = {evaluation: folder / evaluation.name / "results.json" for evaluation in wanted}
    given = {"dataset": dataset, "data_dir": FLAGS.data_dir}
    rest = [*(f"--{name}={value}" for name, value in given.items() if value), *rest]
    status = _run(_evaluation_jobs(paths, rest), len(wanted))
    if status in (cli.PREEMPTED, cli.INTERRUPTED):
        return status, None
    read = {
        evaluation: imagenet_tables.read(path, evaluation) for evaluation, path in paths.items()
    }
    found = {evaluation: row for evaluation, row in read.items() if row is not None}
    tables = imagenet_tables.tables(found, FLAGS.scale)
    figure = figures.protocols(imagenet_tables.points(found, FLAGS.scale))
    return status, (tables, figures.png(figure), {"measurements": list(found.values())})


def _evaluation_jobs(paths, rest):
    """A job for each evaluation that was not made.

    Raises:
        InputError: a flag is none of evaluate's, or one that was made had other flags.
    """
    from . import evaluate

    jobs = []
    for evaluation, path in paths.items():
        arguments = [*imagenet_tables.arguments(evaluation), *rest]
        cli.parse(evaluate.FLAGS, ["evaluate", *arguments])
        flagfile, text = path.with_name("evaluate.flags"), "\n".join([*arguments, ""])
        if flagfile.exists() and flagfile.read_text() != text:
            raise InputError(
                f"{path.parent} holds an evaluation with other flags, those in {flagfile.name}. "
                "Choose another --folder."
            )
        if imagenet_tables.read(path, evaluation) is None:
            if FLAGS.run:
                write_atomically(make_folder(path.parent) / flagfile.name, text)
            weights_dir = [f"--weights_dir={FLAGS.weights_dir}"] if FLAGS.weights_dir else []
            command = [sys.executable, "-m", "resnet_keras.evaluate", *arguments, *weights_dir]
            jobs.append(processes.Job(evaluation.name, [*command, f"--results={path}"]))
    return jobs


def _command(argv):
    return shlex.join(["python", "-m", "resnet_keras.reproduce", *argv[1:]])


def _write(
    out: Path, task, dataset, tables: Sequence[Table], picture: bytes, more: Mapping
) -> None:
    make_folder(out.parent)
    write_atomically(f"{out}.png", picture)
    told = "\n\n".join(f"## {table.title}\n\n{markdown(table)}" for table in tables)
    head = f"# {task}, {dataset}, {FLAGS.scale}\n\n![{task}]({out.name}.png)\n\n"
    foot = f"\n\nMade by `{more['command']}` with resnet_keras {__version__}.\n"
    write_atomically(f"{out}.md", head + told + foot)
    facts = {
        "experiment": task,
        "dataset": dataset,
        "scale": FLAGS.scale,
        **more,
        "tables": [table._asdict() for table in tables],
    }
    write_atomically(f"{out}.json", json.dumps(facts, indent=1) + "\n")
    print(f"\n{told}\n")
    print(readable(f"{out}.png, {out}.md and {out}.json are written."))


if __name__ == "__main__":
    sys.exit(main())
