"""Measures how well a segmenter tells the classes of pixels: mean IoU and pixel accuracy.

    python -m resnet_keras.segmentation.evaluate --model=runs/mine --dataset=shapes --per_class
    python -m resnet_keras.segmentation.evaluate --model=runs/mine --dataset=voc --data_dir=VOC \
        --scales=0.5,0.75,1,1.25,1.5,1.75 --mirrored

Images are shown one by one and whole. With several --scales, and with --mirrored, the mean of the
softmax over all looks decides.
"""

import sys
from collections.abc import Sequence

import numpy as np

from resnet_keras import processes
from resnet_keras.commands import decoders, runs, shell
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.errors import InputError
from resnet_keras.pipelines import masks
from resnet_keras.tables import Table, markdown

from . import flags, loading, scores

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.path("model", "Segmenter to measure. The folder of a run, or a .keras file.")
_run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
_run.whole("batch_size", 1, "Images at once. Several are filled up to one size.", 1)
_run.switch("per_class", False, "Print IoU and accuracy of each class.")
flags.define_looks(_run)
flags.define_data(FLAGS, None).split("split", "Split to measure on. Without the flag, val.", "val")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    if FLAGS.model is None or FLAGS.dataset is None:
        raise InputError("Give --model=RUN and --dataset=NAME.")
    file = loading.find(FLAGS.model, FLAGS.which)
    masks.check_name(FLAGS.dataset)
    scale, scales = flags.scale_of(FLAGS), flags.factors(FLAGS)
    shell.announce(f"{file} on {FLAGS.dataset}/{FLAGS.split}", file=sys.stderr)
    shell.start_tensorflow()

    from . import prediction

    model, names = loading.load(file)
    where = runs.given(FLAGS, "data_dir", "annotations", "exif_orientation")
    source = masks.open_split(FLAGS.dataset, FLAGS.split, **where)
    _check_classes(file, names, source.class_names)
    test = masks.evaluation_of(source, FLAGS.batch_size, scale=scale, device=None)
    with decoders.quiet():
        batches = test.as_numpy_iterator()
        matrix = prediction.confusion(model, batches, scales=scales, flip=FLAGS.mirrored)
    print(f"{file} on {FLAGS.dataset}/{FLAGS.split}, {source.num_examples} images")
    print(
        f"mean IoU {scores.mean_iou(matrix):.3f}, pixel accuracy "
        f"{scores.pixel_accuracy(matrix):.3f} ({_looks(scales)})"
    )
    if FLAGS.per_class:
        columns = (scores.iou(matrix), scores.accuracy(matrix))
        rows = [
            [name, *(f"{value:.3f}" if np.isfinite(value) else None for value in values)]
            for name, *values in zip(names, *columns, strict=True)
        ]
        print(markdown(Table("", ["class", "IoU", "accuracy"], rows)))


def _check_classes(file, names, wanted):
    """Refuses a segmenter whose labels are other classes than the data's; numbers name none."""
    numbers = list(map(str, range(len(names))))
    if len(names) != len(wanted):
        raise InputError(
            f"{file} tells {len(names)} classes, and {FLAGS.dataset} has {len(wanted)}: "
            f"{', '.join(wanted[:8])}."
        )
    for number, (one, other) in enumerate(zip(names, wanted, strict=True)):
        if one != other and numbers not in (list(names), list(wanted)):
            raise InputError(
                f"Label {number} is {one!r} to {file}, and {other!r} in {FLAGS.dataset}: a "
                "segmenter is measured on the classes that it was trained on, in their order."
            )


def _looks(scales):
    sizes = "own size" if scales == (1.0,) else f"scales {', '.join(f'{s:g}' for s in scales)}"
    return f"{sizes}, mirrored too" if FLAGS.mirrored else sizes


if __name__ == "__main__":
    processes.leave(main())
