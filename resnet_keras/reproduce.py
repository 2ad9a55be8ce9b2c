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
for imagenet. At the end OUT.png, OUT.md and OUT.json are written; what was not run is marked so.
Sums are made in another order where a run has more threads, which changes errors a little: on a
CPU, repeat a result with as many --workers.
"""

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from . import pipelines, processes
from .commands import shared_flags, shell
from .errors import InputError, unknown
from .files import make_folder, write_atomically
from .reproduction import experiments, figures, imagenet, responses, runs
from .reproduction.runs import readable
from .tables import Table, markdown

FLAGS = shared_flags.new_flags()
TASKS = (*experiments.EXPERIMENTS, "imagenet")
FAILED = 1
# Flags that say where things are, or that only look: left out of the command that is written down.
_PLACES = ("out", "data_dir", "weights_dir", "run")


def _define_flags() -> None:
    def text(name, default, help):
        flags.DEFINE_string(name, default, help, flag_values=FLAGS)

    def items(name, default, help):
        flags.DEFINE_list(name, default, help, flag_values=FLAGS)

    text("dataset", None, "digits (default) or cifar10; imagenet: imagenet2012 (default), folder.")
    flags.DEFINE_enum(
        "scale",
        "paper",
        list(experiments.SCALES),
        "paper makes every run of the experiment at full length (on digits, by this package's "
        "recipes); quick fewer and shorter ones, or single crops, to see it work.",
        flag_values=FLAGS,
    )
    items("depths", [], "Layers of the networks; by default the experiment's own.")
    items("seeds", [], "A run of each network for each; by default 0,1,2, or 0 for quick.")
    shared_flags.define_path(
        FLAGS, "folder", "Where the runs are made, and kept for other experiments.", "reproduced"
    )
    shared_flags.define_path(
        FLAGS, "out", "Path without suffix of what is written; below --folder without."
    )
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
    shared_flags.define_path(FLAGS, "data_dir", "As for train and evaluate.")
    shared_flags.define_paths(
        FLAGS, "trained", "imagenet: runs of train, or folders of them, to evaluate."
    )
    items(
        "weights",
        None,
        "imagenet: tags of registered weights; by default imagenet, or none beside --trained. The "
        "ensemble has all residual networks that are evaluated.",
    )
    shared_flags.define_path(
        FLAGS, "weights_dir", "imagenet: folder with files of registered weights."
    )


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    own, rest = shell.split_rest(argv)
    task, own = shell.split_task(own)
    return shell.run(lambda: _main(task, rest), FLAGS, own, __doc__)


def _main(task, rest) -> int:
    if task not in TASKS:
        raise (
            unknown("experiment", task, TASKS)
            if task
            else InputError(f"Name an experiment before the flags: {', '.join(TASKS)}.")
        )
    _check_flags(task)
    known = imagenet.DATASETS if task == "imagenet" else experiments.DATASETS
    dataset = FLAGS.dataset or known[0]
    if dataset not in known:
        raise unknown(f"data set of {task}:", dataset, known)
    out = Path(FLAGS.out or _default_out(task, dataset))
    if out.name in ("", "..") or out.suffix in (".png", ".md", ".json"):
        raise InputError(f"--out is a path without suffix such as results/{task}, not {FLAGS.out}.")
    figures.check()  # not after hours of training
    folder = make_folder(Path(FLAGS.folder) / f"{dataset}_{FLAGS.scale}" / "runs")
    measure = _imagenet if task == "imagenet" else _trained
    status, found = measure(task, dataset, folder, rest)
    if found is not None:
        _write(out, task, dataset, rest, found)
    return status


def _check_flags(task) -> None:
    """Refuses flags of the other experiments."""
    others = ("depths", "seeds") if task == "imagenet" else ("trained", "weights", "weights_dir")
    for name in others:
        if FLAGS[name].value:
            raise InputError(f"--{name} is no flag of {task}.")


def _check_rest(command, name, rest, own: Sequence[str]) -> None:
    """Refuses flags after -- that the command does not have, or that are the experiment's own."""
    shared_flags.parse(command.FLAGS, [name, *rest])
    for flag in own:
        if command.FLAGS[flag].present:
            raise InputError(
                f"--{flag} after -- would make other runs than the experiment's: leave it out."
            )


def _default_out(task, dataset):
    """Another name where another part of the experiment was asked for."""
    parts = [task, dataset, *([FLAGS.scale] if FLAGS.scale != "paper" else [])]
    for name in ("depths", "seeds"):
        if FLAGS[name].value:
            parts.append(f"{name}{'-'.join(map(str, _numbers(name)))}")
    return Path(FLAGS.folder) / "_".join(parts)


class Found(NamedTuple):
    """What an experiment found: tables, a figure, the runs one by one, and more for the JSON."""

    tables: list[Table]
    figure: Any
    runs: Table | None
    versions: Mapping[str, str]
    more: Mapping[str, Any]


def _trained(task, dataset, folder, rest):
    """Trains the members of an experiment; returns the status, and what was found."""
    from . import train

    own = ("recipe", "model", "dataset", "seed", "shortcut", "workdir", "data_dir", "help")
    _check_rest(train, "train", rest, own)
    depths = _numbers("depths") or experiments.depths(task, FLAGS.scale)
    seeds = _numbers("seeds") or experiments.seeds(FLAGS.scale)
    members = experiments.members(task, depths, seeds)
    jobs = _training_jobs(members, dataset, folder, rest)
    if jobs and FLAGS.run:
        _check_data(lambda: pipelines.arrays(dataset, "test", data_dir=FLAGS.data_dir))
    status = _run(
        jobs, f"{len(members)} run(s), {len(members) - len(jobs)} of them finished before"
    )
    found = experiments.read(folder, members)
    if task == "responses" and status in (0, FAILED):
        status = max(status, _run(_response_jobs(folder, found)))
    if status not in (0, FAILED):
        return status, None
    grouped = experiments.groups(members, found)
    title = f"{dataset}{'' if FLAGS.scale == 'paper' else f', {FLAGS.scale} runs'}"
    tables, figure, more = _TOLD[task](grouped, title, dataset, folder)
    told = experiments.all_runs(members, found)
    versions = experiments.versions(found.values())
    more = {**more, "curves": experiments.curves(found)}
    return status, Found(tables, figure, told, versions, more)


def _numbers(flag) -> list[int]:
    return list(dict.fromkeys(shared_flags.whole_numbers(flag, FLAGS[flag].value)))


def _check_data(open_data) -> None:
    """Has what is missing told once, and not downloaded by several runs at a time."""
    shell.start_tensorflow()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # they are the runs'
    open_data()


def _degradation(grouped, title, dataset, folder):
    return experiments.degradation(grouped), figures.degradation(grouped, title), {}


def _shortcuts(grouped, title, dataset, folder):
    theirs = experiments.paper_shortcuts()
    figure = figures.shortcuts(grouped, f"{title}: shortcut options", theirs)
    return experiments.shortcuts(grouped), figure, {}


def _depth(grouped, title, dataset, folder):
    others = experiments.others(dataset)
    figure = figures.depth(grouped, f"{title}: residual networks", others)
    return experiments.depth(grouped, dataset), figure, {}


def _responses(grouped, title, dataset, folder):
    measured = {
        group: [found for run in some if (found := responses.read(folder / run.name))]
        for group, some in grouped.items()
    }
    measured = {group: each for group, each in measured.items() if each}
    drawn = {group: [list(run.values()) for run in each] for group, each in measured.items()}
    figure = figures.responses(drawn, f"{title}: responses of the 3x3 layers")
    return experiments.responses(grouped, measured), figure, {"deviations": measured}


_TOLD = {
    "degradation": _degradation,
    "shortcuts": _shortcuts,
    "responses": _responses,
    "depth": _depth,
}


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
            command = [sys.executable, "-m", "resnet_keras.train", *arguments, *_data_dir()]
            jobs.append(processes.Job(member.name, [*command, f"--workdir={workdir}"]))
    return jobs


def _response_jobs(folder, found):
    """A job for each finished run whose responses were not measured."""
    command = [sys.executable, "-m", "resnet_keras.reproduction.responses", *_data_dir()]
    return [
        processes.Job(member.name, [*command, str(folder / member.name)])
        for member, run in found.items()
        if run.finished and responses.read(folder / member.name) is None
    ]


def _data_dir():
    return [f"--data_dir={FLAGS.data_dir}"] if FLAGS.data_dir else []


def _run(jobs, told: str = "") -> int:
    """Runs jobs, unless --norun; returns the exit status of the command."""
    if told:
        print(told, flush=True)
    if not jobs or not FLAGS.run:
        return 0
    shares = processes.shares(FLAGS.workers, FLAGS.gpus_per_worker)
    ended, signum = processes.run_all(jobs, shares)
    if signum:
        print(f"stopped by {signal.Signals(signum).name}: the same command goes on from there")
        return shell.INTERRUPTED if signum == signal.SIGINT else shell.PREEMPTED
    failed = [f"{name} ({_ending(status)})" for name, status in ended.items() if status]
    if failed:
        print(
            f"error: {len(failed)} run(s) failed: {', '.join(failed)}; what they printed is above, "
            "and the same command tries them again.",
            file=sys.stderr,
        )
    return FAILED if failed else 0


def _ending(status):
    return f"status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"


def _imagenet(task, dataset, folder, rest):
    """Evaluates weights by the paper's protocols; returns the status, and what was found."""
    from . import evaluate

    own = ("model", "weights", "ensemble", "dataset", "data_dir", "split", "protocol", "results")
    _check_rest(evaluate, "evaluate", rest, (*own, "weights_dir", "per_class", "help"))
    tags = FLAGS.weights if FLAGS.weights is not None else [] if FLAGS.trained else ["imagenet"]
    weights = imagenet.trained(FLAGS.trained, dataset) + imagenet.registered(tags)
    flags = [f"--dataset={dataset}", *rest]
    if dataset == pipelines.FOLDER and FLAGS.data_dir:  # TFDS's is the same anywhere
        flags.append(f"--data_dir={os.path.abspath(FLAGS.data_dir)}")
    wanted = imagenet.evaluations(weights, FLAGS.scale, folder, flags, FLAGS.weights_dir)
    jobs = _evaluation_jobs(wanted)
    if jobs and FLAGS.run:
        _check_data(lambda: pipelines.open_split(dataset, "val", data_dir=FLAGS.data_dir))
    status = _run(jobs, f"{len(wanted)} run(s), {len(wanted) - len(jobs)} of them finished before")
    if status not in (0, FAILED):
        return status, None
    rows = {evaluation: imagenet.read(evaluation.path) for evaluation in wanted}
    figure = figures.protocols(imagenet.points(rows, FLAGS.scale))
    tables = imagenet.tables(rows, FLAGS.scale)
    measured = [row for row in rows.values() if row is not None]
    versions = experiments.joined([row["versions"] for row in measured])
    return status, Found(tables, figure, None, versions, {"measurements": measured})


def _evaluation_jobs(wanted):
    """A job for each evaluation that was not made."""
    given = {"data_dir": FLAGS.data_dir, "weights_dir": FLAGS.weights_dir}
    places = [f"--{name}={value}" for name, value in given.items() if value]
    command = [sys.executable, "-m", "resnet_keras.evaluate"]
    return [
        processes.Job(each.name, [*command, *each.arguments, *places, f"--results={each.path}"])
        for each in wanted
        if imagenet.read(each.path) is None
    ]


def _command(task, rest):
    """The command that makes the same elsewhere."""
    own = [
        f.serialize() for f in shared_flags.all_flags(FLAGS) if f.present and f.name not in _PLACES
    ]
    after = ["--", *rest] if rest else []
    return readable(shlex.join(["python", "-m", "resnet_keras.reproduce", task, *own, *after]))


def _write(out: Path, task, dataset, rest, found: Found) -> None:
    command = _command(task, rest)
    tables = [*found.tables, *([found.runs] if found.runs else [])]
    told = "\n\n".join(f"## {table.title}\n\n{markdown(table)}" for table in tables)
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    page = (
        f"# {task}, {dataset}, {FLAGS.scale}\n\n![{task}]({out.name}.png)\n\n{told}\n\n"
        f"Made by `{command}`{f' with {versions}' if versions else ''}.\n"
    )
    facts = {
        "experiment": task,
        "dataset": dataset,
        "scale": FLAGS.scale,
        "flags": rest,
        "command": command,
        "versions": found.versions,
        "tables": [table._asdict() for table in found.tables],
        "runs": found.runs and found.runs._asdict(),
        **found.more,
    }
    make_folder(out.parent)
    write_atomically(f"{out}.png", figures.png(found.figure))
    write_atomically(f"{out}.md", readable(page))
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in facts.items())
    write_atomically(f"{out}.json", f"{{\n{lines}\n}}\n")
    text = f"\n{told}\n\n{out}.png, {out}.md and {out}.json are written."
    encoding = sys.stdout.encoding or "utf-8"  # which may lack the plus-minus sign
    print(readable(text).encode(encoding, errors="replace").decode(encoding))


if __name__ == "__main__":
    sys.exit(main())
