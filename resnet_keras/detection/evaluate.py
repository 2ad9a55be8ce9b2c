"""Measures how well a detector finds objects: COCO's and Pascal VOC's average precision.

    python -m resnet_keras.detection.evaluate --model=runs/mine --dataset=shapes
    python -m resnet_keras.detection.evaluate --model=runs/mine --dataset=voc --data_dir=my_data \
        --per_class

AP is printed as COCO has it, and as VOC had it in 2007 (at 11 recalls) and has it since (the area).
"""

import sys
from collections.abc import Sequence

from resnet_keras import processes
from resnet_keras.commands import decoders, shell
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.errors import InputError
from resnet_keras.pipelines import objects
from resnet_keras.tables import Table, markdown

from . import flags, loading, scores

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.path("model", "Detector to measure. The folder of a run, or a .keras file.")
_run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
_run.whole("batch_size", 2, "Images at once.", 1)
_run.switch("per_class", False, "Print average precision of each class.")
flags.define_data(FLAGS, None).split("split", "Split to measure on. Without the flag, val.", "val")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    if FLAGS.model is None or FLAGS.dataset is None:
        raise InputError("Give --model=RUN and --dataset=NAME.")
    file = loading.find(FLAGS.model, FLAGS.which)
    flags.check_dataset(FLAGS.dataset)
    flags.scores_need()
    scale = flags.scale_of(FLAGS)
    shell.announce(f"{file} on {FLAGS.dataset}/{FLAGS.split}", file=sys.stderr)
    shell.start_tensorflow()

    from . import measuring

    model = loading.load(file)
    names = ("data_dir", "annotations", "exif_orientation", "max_faulty")
    where = {name: FLAGS[name].value for name in names}
    source = objects.open_split(FLAGS.dataset, FLAGS.split, **where)
    if len(source.class_names) != model.num_classes:
        raise InputError(
            f"{file} tells {model.num_classes} classes, and {FLAGS.dataset} has "
            f"{len(source.class_names)}: {', '.join(source.class_names[:8])}."
        )
    own = getattr(model, "scale", None)
    test = objects.evaluation(
        FLAGS.dataset,
        FLAGS.split,
        FLAGS.batch_size,
        scale=scale or (tuple(own) if own else None),
        class_names=getattr(model, "class_names", None),
        device=None,
        **where,
    )
    with decoders.quiet():
        truth, found = measuring.detections(model, test)
    measured = scores.coco(truth, found, source.category_ids)
    voc = {
        metric: scores.voc(truth, found, model.num_classes, metric=metric)
        for metric in scores.VOC_METRICS
    }
    print(f"{file} on {FLAGS.dataset}/{FLAGS.split}, {len(truth)} images")
    print("COCO: " + ", ".join(f"{name} {value:.3f}" for name, value in measured.values.items()))
    print(f"VOC: mAP at IoU .5, 11 points (07) {voc['07'].mean:.3f}, area {voc['area'].mean:.3f}")
    if FLAGS.per_class:
        columns = (measured.ap, measured.ap50, voc["07"].ap, voc["area"].ap)
        rows = [
            [name, *(f"{value:.3f}" if value >= 0 else None for value in values)]  # -1, NaN: none
            for name, *values in zip(source.class_names, *columns, strict=True)
        ]
        print(markdown(Table("", ["class", "AP", "AP50", "VOC 07", "VOC area"], rows)))


if __name__ == "__main__":
    processes.leave(main())
