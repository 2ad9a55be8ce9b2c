r"""Measures the localization error of ILSVRC, with predicted classes and with the true one.

    python -m resnet_keras.localization.evaluate --model=runs/mine --dataset=main_shapes
    python -m resnet_keras.localization.evaluate --model=runs/mine --dataset=ilsvrc \
        --data_dir=ILSVRC --protocol=multi_scale --top=5
    python -m resnet_keras.localization.evaluate --ensemble=runs/one,runs/two --dataset=main_shapes

An image is wrong unless one of its first answers has the class of its largest object, and a box
that overlaps an object of this class by an IoU of one half.
"""

import datetime
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_keras import processes
from resnet_keras.classification import measurements
from resnet_keras.commands import decoders, runs, shell
from resnet_keras.detection import flags as detection
from resnet_keras.files import make_folder
from resnet_keras.pipelines import objects

from . import flags, loading, scores

FLAGS = flags.evaluate_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    flags.check_evaluate(FLAGS)
    files = [loading.find(path, FLAGS.which) for path in FLAGS.ensemble or [FLAGS.model]]
    if FLAGS.results:
        make_folder(Path(FLAGS.results).parent)
        measurements.rows(Path(FLAGS.results))
    what = f"{' + '.join(map(str, files))} on {FLAGS.dataset}/{FLAGS.split}"
    shell.announce(what, file=sys.stderr)
    shell.start_tensorflow()

    from resnet_keras.pipelines import main_objects

    from . import measuring, testing

    models = [loading.load(file) for file in files]
    test = testing.Test(models, FLAGS.protocol, top=FLAGS.top, scale=detection.scale_of(FLAGS))
    where = runs.given(FLAGS, "data_dir", "exif_orientation", "max_faulty")
    source = objects.open_split(FLAGS.dataset, FLAGS.split, **where)
    scores.check_classes(test.class_names, source.class_names, test.num_classes)
    batches = main_objects.evaluation_of(source, FLAGS.batch_size, scale=test.scale, device=None)
    with decoders.quiet():
        truth, found = measuring.answers(test, batches)
    errors = scores.errors(truth, found, top=test.top)
    print(f"{what}, {errors.images} images with objects, {FLAGS.protocol}")
    print(scores.told(errors, test.top))
    if FLAGS.results:
        key = {
            "weights": "+".join(map(str, files)),
            **runs.given(FLAGS, "dataset", "data_dir", "split", "protocol"),
            "scale": list(test.scale),
            "top": test.top,
        }
        measurements.put(Path(FLAGS.results), key, _row(errors))


def _row(errors):
    known = {
        name: None if math.isnan(value) else round(value, 6)
        for name, value in errors._asdict().items()
    }
    return {**known, "date": datetime.date.today().isoformat()}


if __name__ == "__main__":
    processes.leave(main())
