r"""Measures how well a detector finds objects: COCO's and Pascal VOC's average precision.

    python -m resnet_keras.detection.evaluate --model=runs/mine --dataset=shapes
    python -m resnet_keras.detection.evaluate --model=runs/mine --dataset=voc --data_dir=my_data \
        --protocol=paper_multi_scale --refine --metric=voc07,voc --per_class
    python -m resnet_keras.detection.evaluate --ensemble=runs/one,runs/two --dataset=coco \
        --data_dir=my_data --predictions=found.json --precision_recall=curves.png

AP is printed as COCO has it, and as VOC had it in 2007 (voc07, at 11 recalls) and has had it since
2010 (voc, the area). Of a Mask R-CNN COCO's AP of masks is printed, too.
"""

import datetime
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_keras import drawing, processes
from resnet_keras.classification import measurements
from resnet_keras.commands import decoders, exports, runs, shell
from resnet_keras.files import make_folder, write_atomically
from resnet_keras.pipelines import objects
from resnet_keras.tables import Table, markdown

from . import curves, flags, scores

FLAGS = flags.evaluate_flags()
_SETTLED = ("refine", "score_threshold", "detections")  # of a detector that was exported


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    flags.check_evaluate(FLAGS)
    detectors = [exports.find_detector(p, FLAGS.which) for p in FLAGS.ensemble or [FLAGS.model]]
    for found in detectors:
        exports.check_settled(FLAGS, found, *_SETTLED, "protocol", "ensemble", "which")
    files = [exports.path_of(found) for found in detectors]
    _check_outputs()
    what = f"{' + '.join(map(str, files))} on {FLAGS.dataset}/{FLAGS.split}"
    shell.announce(what, file=sys.stderr)
    shell.start_tensorflow()

    source, scale, truth, found = _detections(detectors)
    if FLAGS.predictions:
        results = scores.coco_results(found, source.category_ids)
        write_atomically(FLAGS.predictions, json.dumps(results) + "\n")
    coco = scores.coco(truth, found, source.category_ids)
    classes = len(source.class_names)
    voc = {
        metric: scores.voc(truth, found, classes, metric=metric) for metric in scores.VOC_METRICS
    }
    masks = None
    if truth and truth[0].masks is not None:
        masks = scores.coco(truth, found, source.category_ids, masks=True)
    title = f"{what}, {len(truth)} images"
    print(title)
    _print(coco, voc, masks, source.class_names)
    if FLAGS.precision_recall:
        write_atomically(FLAGS.precision_recall, curves.draw(coco, source.class_names, title))
    if FLAGS.results:
        row = _row(coco, voc, masks, source.class_names, len(truth))
        measurements.put(Path(FLAGS.results), _key(files, scale), row)


def _check_outputs():
    """Refuses files that cannot be written, before hours of work for them."""
    for path in (FLAGS.results, FLAGS.predictions, FLAGS.precision_recall):
        if path:
            make_folder(Path(path).parent)
    if FLAGS.results:
        measurements.rows(Path(FLAGS.results))
    if FLAGS.precision_recall:
        drawing.check()


def _detections(detectors):
    """The data set, the scale at which it is shown, and its objects and those that are found."""
    from . import measuring, testing

    models = [exports.load_detector(found) for found in detectors]
    changes = runs.given(FLAGS, *_SETTLED)
    if any(value is not None for value in changes.values()):
        for model in models:
            testing.adjust(model, **changes)
    where = runs.given(FLAGS, "data_dir", "annotations", "exif_orientation", "max_faulty")
    masks = _with_masks(models)
    source = objects.open_split(FLAGS.dataset, FLAGS.split, masks=masks, **where)
    model, scale = testing.combine(
        models,
        FLAGS.protocol,
        scale=flags.scale_of(FLAGS),
        scales=flags.whole_numbers("scales", FLAGS.scales),
        untold=source.scale,
    )
    names = measuring.names_of(model, source.class_names)
    scores.check_classes(names, source.class_names)
    test = objects.evaluation_of(source, FLAGS.batch_size, scale=scale, device=None)
    with decoders.quiet():
        truth, found = measuring.detections(model, test, source.outlines)
    if names != source.class_names:
        found = scores.relabelled(found, names, source.class_names)
    return source, scale, truth, found


def _with_masks(models):
    """Whether masks are measured; says so where a detector's are not."""
    if all(model.mask_side is None for model in models):
        return False
    if FLAGS.dataset not in objects.MASKED:
        print(f"Masks are not measured: {FLAGS.dataset} has none here.", file=sys.stderr)
        return False
    return True


def _print(coco, voc, masks, names):
    printed = {name: name in FLAGS.metric for name in flags.METRICS}
    if printed["coco"]:
        print(f"COCO: {_numbers(coco)}")
        if masks:
            print(f"COCO, masks: {_numbers(masks)}")
    means = {
        "voc07": f"11 points (07) {_text(voc['07'].mean)}",
        "voc": f"area {_text(voc['area'].mean)}",
    }
    if printed["voc07"] or printed["voc"]:
        shown = [text for name, text in means.items() if printed[name]]
        print(f"VOC: mAP at IoU .5, {', '.join(shown)}")
    if FLAGS.per_class:
        columns = {
            **({"AP": coco.ap, "AP50": coco.ap50} if printed["coco"] else {}),
            **({"mask AP": masks.ap, "mask AP50": masks.ap50} if masks and printed["coco"] else {}),
            **({"VOC 07": voc["07"].ap} if printed["voc07"] else {}),
            **({"VOC area": voc["area"].ap} if printed["voc"] else {}),
        }
        values = zip(*columns.values(), strict=True)
        rows = [[name, *map(_text, own)] for name, own in zip(names, values, strict=True)]
        print(markdown(Table("", ["class", *columns], rows)))


def _numbers(coco):
    return ", ".join(f"{name} {_text(value)}" for name, value in coco.values.items())


def _known(value):
    """A measure in [0, 1]; None for what there are no objects of: COCO's -1, and VOC's NaN."""
    return None if math.isnan(value) or value < 0 else round(float(value), 6)


def _text(value):
    return "-" if _known(value) is None else f"{value:.3f}"


def _key(files, scale):
    """What was measured, and how."""
    given = runs.given(FLAGS, "refine", "score_threshold", "detections", "max_faulty")
    return {
        "weights": "+".join(map(str, files)),
        **runs.given(FLAGS, "dataset", "data_dir", "annotations", "split", "protocol"),
        "scale": list(scale),
        "scale_given": list(flags.scale_of(FLAGS) or ()),
        "scales": flags.whole_numbers("scales", FLAGS.scales),
        "exif_orientation": FLAGS.exif_orientation,
        # Those not given too, or a row with them would pass for the same measurement.
        **given,
    }


def _row(coco, voc, masks, names, images):
    per_class = zip(names, coco.ap, coco.ap50, voc["07"].ap, voc["area"].ap, strict=True)
    columns = ("ap", "ap50", "voc07", "voc")
    return {
        "images": images,
        "coco": {name: _known(value) for name, value in coco.values.items()},
        **({"masks": {n: _known(value) for n, value in masks.values.items()}} if masks else {}),
        "voc07": _known(voc["07"].mean),
        "voc": _known(voc["area"].mean),
        "per_class": {
            name: dict(zip(columns, map(_known, values), strict=True))
            for name, *values in per_class
        },
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    processes.leave(main())
