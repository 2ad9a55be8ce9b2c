"""Runs an experiment of arXiv 1512.03385, and puts the paper's numbers beside what it measures.

    python -m resnet_keras.reproduce degradation
    python -m resnet_keras.reproduce shortcuts --dataset=cifar10 --scale=quick
    python -m resnet_keras.reproduce depth --dataset=cifar10 --depths=20,56,1202 --seeds=0,1,2,3,4
    python -m resnet_keras.reproduce imagenet --data_dir=/data/tensorflow_datasets --trained=runs
    python -m resnet_keras.reproduce detection
    python -m resnet_keras.reproduce lesion
    python -m resnet_keras.reproduce gradients
    python -m resnet_keras.reproduce landscape
    python -m resnet_keras.reproduce normalization --workers=2
    python -m resnet_keras.reproduce responses runs/plain20_digits runs/resnet20_digits

degradation trains plain and residual networks of several depths (Fig. 6), shortcuts options A, B
and C (Table 3), depth residual networks of 20 to 110 layers (Table 6); responses measures how
strongly the layers of such networks respond (Fig. 7). Experiments share the runs they have in
common. landscape looks at the loss around trained networks (Li et al. 2018). normalization,
shortcut_ratio and regularization train networks in several settings each, the last two on few
images. families trains the networks that followed beside the paper's, and times them. lesion
deletes blocks of trained networks (Veit et al. 2016). gradients looks at networks before training
(Balduzzi et al. 2017). imagenet trains nothing: it evaluates networks trained here and public
weights (Tables 2 to 5). Nor do responses, lesion and landscape where they are given finished runs
of `train`, or folders of such runs. Each of these receives responses.json, the standard deviation
of what each 3x3 convolution gives after batch normalization and before the nonlinearity or the
addition, over the images of the run's evaluation; lesion.json, the errors without each block, and
without several; or landscape.json, the loss on a plane. detection trains detectors on images of
shapes, with a plain and a residual backbone (Table 7) and with the improvements of Table 9, and
measures them.

The runs are made one after another, or over --workers; the same command goes on where it was
stopped or killed. What stands after -- are further flags of every run: `train`'s, `evaluate`'s for
imagenet, or `detection.train`'s. At the end OUT.png, OUT.md and OUT.json are written; what was not
run is marked so. Sums are made in another order where a run has more threads, which changes errors
a little: on a CPU, repeat a result with as many --workers.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from . import drawing, processes
from .commands import evaluate_flags, reproduce_flags, shared_flags, shell, train_flags
from .detection import train as detector
from .errors import InputError, unknown
from .files import make_folder, readable
from .reproduction import course, detection, experiments, gradients, measuring, results
from .reproduction.jobs import Machine
from .reproduction.measuring import MEASURES

FLAGS = reproduce_flags.FLAGS
DETECTION = detection.EXPERIMENT
GRADIENTS = gradients.EXPERIMENT
TASKS = (*experiments.EXPERIMENTS, GRADIENTS, "imagenet", DETECTION)
# Flags that say where things are, or that only look: left out of the command that is written down.
_PLACES = ("out", "data_dir", "weights_dir", "run")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    own, rest = shell.split_rest(argv)
    task, own = shell.split_task(own)
    return shell.run(
        lambda folders=(): _main(task, folders, rest),
        FLAGS,
        own,
        __doc__,
        positional=task in MEASURES,  # of these folders' runs
        task=task,
        groups=_groups(task),
        after=_after(task),
    )


def _groups(task):
    """Of the flags that an experiment has."""
    if task not in TASKS:
        return None
    own = {"imagenet": ("ImageNet",), DETECTION: ("Seeds",)}
    if task == GRADIENTS:  # in this process
        return ("Data", "Networks", "Seeds")
    return ("Data", *own.get(task, ("Networks", "Seeds")), "Devices")


def _after(task):
    """What the flags after -- are for, and which there are."""
    if task == "imagenet":
        return "evaluation", evaluate_flags.FLAGS
    return "training", detector.FLAGS if task == DETECTION else train_flags.FLAGS


def _main(task: str | None, folders: Sequence[str], rest: Sequence[str]) -> int:
    if folders:
        return _measure(task, folders, rest)
    if task not in TASKS:
        raise (
            unknown("experiment", task, TASKS)
            if task
            else InputError(f"Name an experiment before the flags: {', '.join(TASKS)}.")
        )
    depths, seeds = _numbers("depths"), _numbers("seeds")
    dataset = course.dataset(task, FLAGS.dataset)
    place = results.place(FLAGS.folder, task, dataset, FLAGS.scale, depths, seeds)
    out = Path(FLAGS.out or place)
    if out.name in ("", "..") or out.suffix in (".png", ".md", ".json"):
        raise InputError(f"--out is a path without suffix such as results/{task}, not {FLAGS.out}.")
    drawing.check()  # not after hours of training
    folder = make_folder(Path(FLAGS.folder) / f"{dataset}_{FLAGS.scale}" / "runs")
    machine = Machine(FLAGS.workers, FLAGS.gpus_per_worker, FLAGS.run)
    order = course.Order(task, dataset, FLAGS.scale, folder, rest, FLAGS.data_dir, machine)
    if task == GRADIENTS:
        if rest:
            raise InputError(f"{task} trains nothing: no flags stand after --.")
        status, result = course.gradients_of(order, depths, seeds)
    elif task == "imagenet":
        status, result = _evaluate(order)
    else:
        status, result = _train(order, depths, seeds)
    if result is not None:
        about = {"experiment": task, "dataset": dataset, "scale": FLAGS.scale, "flags": rest}
        results.write(out, result, **about, command=_command(task, rest))
    return status


def _measure(task, folders, rest):
    others = {f.name for f in shared_flags.all_flags(FLAGS) if f.present} - {"data_dir", "flagfile"}
    if rest or others:
        raise InputError(f"{task} RUN... takes no flag but --data_dir: it only measures runs.")
    shell.announce(f"{task} of trained networks")
    measuring.measure(task, folders, FLAGS.data_dir)
    return 0


def _numbers(flag) -> list[int]:
    return list(dict.fromkeys(shared_flags.whole_numbers(flag, FLAGS[flag].value)))


def _train(order, depths, seeds):
    from . import train

    own = ("recipe", "model", "dataset", "seed", "workdir", "data_dir")
    if order.experiment == DETECTION:
        more = ("context", "refine", "weights", "neck", "eval_dataset")
        _check_rest(detector, "detection.train", order.flags, (*own, *more))
        longer = not detector.FLAGS["train_steps"].present  # of which all are given as many
        return course.detect(order, seeds, longer, _differences(detector))
    _check_rest(train, "train", order.flags, (*own, "shortcut"))
    return course.train(order, depths, seeds, _differences(train))


def _differences(command):
    """`differences` of a command that trains, which checks its flags here, and not in each run."""

    def differences(workdir, arguments):
        differing = command.differences(workdir, arguments)
        if FLAGS.run:
            try:
                command.check()
            except InputError as error:
                raise InputError(shared_flags.in_flags(command.FLAGS, str(error))) from error
        return differing

    return differences


def _evaluate(order):
    from . import evaluate

    own = ("model", "weights", "ensemble", "dataset", "data_dir", "split", "protocol", "results")
    _check_rest(evaluate, "evaluate", order.flags, (*own, "weights_dir", "per_class"))
    return course.evaluate(order, FLAGS.trained, FLAGS.weights, FLAGS.weights_dir)


def _check_rest(command, name, rest, own: Sequence[str]) -> None:
    """Refuses flags after -- that the command does not have, or that are the experiment's own."""
    shared_flags.parse(command.FLAGS, [name, *rest])
    for flag in (*own, "help", "helpfull"):
        if command.FLAGS[flag].present:
            raise InputError(
                f"--{flag} after -- would make other runs than the experiment's: leave it out."
            )


def _command(task, rest):
    """The command that makes the same elsewhere."""
    own = [
        f.serialize() for f in shared_flags.all_flags(FLAGS) if f.present and f.name not in _PLACES
    ]
    after = ["--", *rest] if rest else []
    return readable(shlex.join(["python", "-m", "resnet_keras.reproduce", task, *own, *after]))


if __name__ == "__main__":
    processes.leave(main())
