"""Tells what photographs show and where, and draws it.

    python -m resnet_keras.localization.predict --model=runs/mine --out=drawn photos/
    python -m resnet_keras.localization.predict --model=runs/mine --json --top=5 street.jpg

Prints each image's most probable classes with a box for each: class, probability and the corners
x1, y1, x2, y2 in pixels. --out writes a picture of each image into a folder (extra `plot`). Images
are JPEG, PNG or WebP; of a folder, all below it. One that cannot be decoded is named, and the exit
status is 2.
"""

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_keras import drawing, processes
from resnet_keras.classification.prediction import image_files
from resnet_keras.commands import decoders, photographs, shell
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.detection import flags as detection
from resnet_keras.detection import predict as detection_predict
from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, readable, write_atomically

from . import loading, protocols

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.path("model", "Localizer or R-CNN to ask. The folder of a run, or a .keras file.")
_run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
_run.items("scale", [], "Shorter side and the most of the longer one. Without, as in training.")
_run.choice(
    "protocol",
    protocols.DENSE,
    [protocols.DENSE, protocols.MULTI_SCALE],
    "dense or multi_scale. multi_scale shows images at several scales.",
)
_run.switch("exif_orientation", True, "Turn photographs upright as EXIF says.")
_run.whole("top", 1, "Classes to tell of each image.", 1)
_output = Group(FLAGS, "Output")
_output.path("out", "Folder for a picture of each image.")
_output.switch("json", False, "Print a line of JSON for each image.")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    if FLAGS.model is None or not arguments:
        raise InputError("Give --model=RUN, and images or folders of them after the flags.")
    paths = image_files(arguments)
    file = loading.find(FLAGS.model, FLAGS.which)
    scale = detection.scale_of(FLAGS)
    if FLAGS.out:
        drawing.check()
        make_folder(FLAGS.out)
        detection_predict.check_names(paths, FLAGS.out)
    shell.announce(f"{file} on {len(paths)} image(s)", file=sys.stderr)
    shell.start_tensorflow()

    from resnet_keras.detection import prediction

    from . import testing

    model = testing.Test([loading.load(file)], FLAGS.protocol, top=FLAGS.top)
    names = model.class_names
    look = functools.partial(
        prediction.of_file, model, scale=scale, exif_orientation=FLAGS.exif_orientation
    )
    with decoders.quiet():
        for path, (image, found) in photographs.answered(paths, look, as_json=FLAGS.json):
            answers = prediction.told(found, names, 0.0)
            print(_line(path, answers), flush=True)
            if FLAGS.out:
                best = prediction.name_of(int(found["labels"][0]), names)
                picture = prediction.draw(
                    image,
                    found,
                    names,
                    threshold=0.0,
                    caption=readable(Path(path).name),
                    title=f"most probable: {best}",
                )
                write_atomically(detection_predict.picture_of(path, FLAGS.out), picture)


def _line(path, answers):
    if FLAGS.json:
        return json.dumps({"image": path, "answers": answers})
    rows = [f"  {a['class']} {a['score']:.2f} at {', '.join(map(str, a['box']))}" for a in answers]
    return "\n".join([readable(path), *rows])


if __name__ == "__main__":
    processes.leave(main())
