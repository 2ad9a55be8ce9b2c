"""Finds objects in photographs, and draws them.

    python -m resnet_keras.detection.predict --model=runs/mine --out=drawn photos/
    python -m resnet_keras.detection.predict --model=runs/mine --json street.jpg

Prints each image's objects: class, score and the corners x1, y1, x2, y2 in pixels. With --json, a
Mask R-CNN's objects have a "segmentation", too, the run lengths of COCO's format. --out writes a
picture of each image into a folder (extra `plot`), with masks. Images are JPEG, PNG or WebP; of a
folder, all below it. One that cannot be decoded is named, and the exit status is 2.
"""

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_keras import drawing, processes
from resnet_keras.classification.prediction import image_files
from resnet_keras.commands import decoders, exports, photographs, shell
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, readable, write_atomically

from . import flags

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.path("model", "Detector to ask. The folder of a run or of export, or a .keras file.")
_run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
_run.items("scale", [], "Shorter side and the most of the longer one. Without, as in training.")
_run.switch("exif_orientation", True, "Turn photographs upright as EXIF says.")
_output = Group(FLAGS, "Output")
_output.path("out", "Folder for a picture of each image.")
_output.number("threshold", 0.5, "Objects of lower scores are left out.", 0, 1)
_output.switch("json", False, "Print a line of JSON for each image.")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    if FLAGS.model is None or not arguments:
        raise InputError("Give --model=RUN, and images or folders of them after the flags.")
    paths = image_files(arguments)
    detector = exports.find_detector(FLAGS.model, FLAGS.which)
    exports.check_settled(FLAGS, detector, "which")
    scale = flags.scale_of(FLAGS)
    if FLAGS.out:
        drawing.check()
        make_folder(FLAGS.out)
        check_names(paths, FLAGS.out)
    shell.announce(f"{exports.path_of(detector)} on {len(paths)} image(s)", file=sys.stderr)
    shell.start_tensorflow()

    from . import prediction

    model = exports.load_detector(detector)
    names = getattr(model, "class_names", None)
    look = functools.partial(
        prediction.of_file, model, scale=scale, exif_orientation=FLAGS.exif_orientation
    )
    with decoders.quiet():
        for path, (image, found) in photographs.answered(paths, look, as_json=FLAGS.json):
            size = image.shape[:2] if FLAGS.json else None
            objects = prediction.told(found, names, FLAGS.threshold, size=size)
            print(_line(path, objects), flush=True)
            if FLAGS.out:
                picture = prediction.draw(
                    image,
                    found,
                    names,
                    threshold=FLAGS.threshold,
                    caption=readable(Path(path).name),
                )
                write_atomically(picture_of(path, FLAGS.out), picture)


def _line(path, objects):
    if FLAGS.json:
        return json.dumps({"image": path, "objects": objects})
    lines = [f"  {o['class']} {o['score']:.2f} at {', '.join(map(str, o['box']))}" for o in objects]
    return "\n".join([readable(path), *(lines or ["  nothing"])])


def picture_of(path: str, folder: str) -> Path:
    """The file that an image is drawn into."""
    return Path(folder) / f"{Path(path).stem}.png"


def check_names(paths: Sequence[str], folder: str) -> None:
    """Refuses images whose pictures in a folder would be one file.

    Raises:
        InputError: as said, or a picture would take the place of an image.
    """
    seen = {}
    for path in paths:
        picture = picture_of(path, folder)
        other = seen.setdefault(picture, path)
        if other != path:
            raise InputError(f"{other} and {path} would be drawn into one file: name one of them.")
        if picture.resolve() == Path(path).resolve():
            raise InputError(f"--out={folder} would overwrite {path}: name another folder.")


if __name__ == "__main__":
    processes.leave(main())
