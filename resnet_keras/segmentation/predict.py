"""Tells the class of each pixel of photographs.

    python -m resnet_keras.segmentation.predict --model=runs/mine --out=masks photos/
    python -m resnet_keras.segmentation.predict --model=runs/mine --json street.jpg

Prints each image's classes, with their shares of its pixels. --out is a folder for two files of
each image: NAME.png, the mask, whose palette indices are the classes, and NAME_overlay.png, the
image with the mask's colours over it. An image that cannot be decoded is named, and the exit status
is 2.
"""

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_keras import processes
from resnet_keras.classification.prediction import image_files
from resnet_keras.commands import decoders, photographs, shell
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, readable, write_atomically

from . import flags, loading

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.path("model", "Segmenter to ask. The folder of a run, or a .keras file.")
_run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
_run.items("scale", [], "Shorter side and the most of the longer one. Without, the images' own.")
_run.switch("exif_orientation", True, "Turn photographs upright as EXIF says.")
flags.define_looks(_run)
_output = Group(FLAGS, "Output")
_output.path("out", "Folder for a mask and an overlay of each image.")
_output.switch("json", False, "Print a line of JSON for each image.")
MASK, OVERLAY = ".png", "_overlay.png"


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    if FLAGS.model is None or not arguments:
        raise InputError("Give --model=RUN, and images or folders of them after the flags.")
    paths = image_files(arguments)
    file = loading.find(FLAGS.model, FLAGS.which)
    scale, scales = flags.scale_of(FLAGS), flags.factors(FLAGS)
    if FLAGS.out:
        make_folder(FLAGS.out)
        _check_names(paths)
    shell.announce(f"{file} on {len(paths)} image(s)", file=sys.stderr)
    shell.start_tensorflow()

    import tensorflow as tf

    from resnet_keras.pipelines import png

    from . import prediction

    model, names = loading.load(file)
    look = functools.partial(
        prediction.of_file,
        model,
        scale=scale,
        scales=scales,
        flip=FLAGS.mirrored,
        exif_orientation=FLAGS.exif_orientation,
    )
    with decoders.quiet():
        for path, (image, labels) in photographs.answered(paths, look, as_json=FLAGS.json):
            print(_line(path, _shares(labels, names)), flush=True)
            if FLAGS.out:
                overlay = png.overlay(image, labels, ground=png.ground(names))
                write_atomically(_file(path, MASK), png.encode(labels))
                write_atomically(_file(path, OVERLAY), tf.io.encode_png(overlay).numpy())


def _shares(labels, names):
    """The classes that are there, the largest first, with their shares of the pixels."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[n]: round(float(counts[n] / labels.size), 4) for n in order if counts[n]}


def _line(path, shares):
    if FLAGS.json:
        return json.dumps({"image": path, "classes": shares})
    lines = [f"  {name} {100 * share:.1f} %" for name, share in shares.items()]
    return "\n".join([readable(path), *lines])


def _file(path, ending):
    return Path(FLAGS.out) / f"{Path(path).stem}{ending}"


def _check_names(paths):
    """Refuses images whose masks or overlays would be one file, or an image itself."""
    images = {Path(path).resolve(): path for path in paths}
    seen = {}
    for path in paths:
        for ending in (MASK, OVERLAY):
            file = _file(path, ending)
            other = seen.setdefault(file, path)
            if other != path:
                raise InputError(
                    f"{other} and {path} would write one file {file}: name one of them."
                )
            if file.resolve() in images:
                raise InputError(
                    f"--out={FLAGS.out} would overwrite {images[file.resolve()]}: name another "
                    "folder."
                )


if __name__ == "__main__":
    processes.leave(main())
