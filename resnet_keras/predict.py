"""Names what images show: the most probable classes and their probabilities.

    python -m resnet_keras.predict --model=resnet50 --weights=imagenet cat.jpg photographs/
    python -m resnet_keras.predict --model=my_published_model --json --plot=seen.png *.png

Images are JPEG, PNG or WebP; of a folder, all below it, and what else lies there is named and left
out. Each is resized and cropped as the weights' own test does, which `zoo.info` tells; for a file
that does not say it, --image_size, --resize, --interpolation and --crop do. A file that cannot be
decoded is named, and the exit status is 2.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import flags

from . import drawing, zoo
from .classification import prediction
from .commands import decoders, shared_flags, shell
from .errors import InputError
from .files import make_folder, write_atomically
from .pipelines import listing

FLAGS = shared_flags.new_flags()
MOST_DRAWN = 100


def _define_flags() -> None:
    shared_flags.define_model_flags(FLAGS, None)
    flags.DEFINE_integer(
        "image_size",
        None,
        "Side of the crop; the weights' own without.",
        1,
        zoo.entries.MAX_SIDE,
        flag_values=FLAGS,
    )
    shared_flags.define_crop_flags(FLAGS)
    flags.DEFINE_integer("top", 5, "Classes to name for each image.", 1, flag_values=FLAGS)
    flags.DEFINE_integer("batch_size", 32, "Images at once.", 1, flag_values=FLAGS)
    flags.DEFINE_bool("json", False, "Print JSON instead of a table.", flag_values=FLAGS)
    flags.DEFINE_bool(
        "exif_orientation",
        None,
        "Turn photographs upright as EXIF says, as phones note it. Without the flag they are "
        "turned, unless the network was trained on what Keras's loader shows, which does not.",
        flag_values=FLAGS,
    )
    shared_flags.define_path(
        FLAGS,
        "plot",
        f"PNG file in which to draw the images, as the network sees them, with their labels; "
        f"the first {MOST_DRAWN}.",
    )


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> int:
    if FLAGS.model is None:
        raise InputError("Give --model=NAME --weights=TAG, or --model=FOLDER that zoo.save wrote.")
    if not arguments:
        raise InputError("Name images or folders of them after the flags.")
    paths = prediction.image_files(arguments)
    if FLAGS.plot:
        if not FLAGS.plot.lower().endswith(".png"):
            raise InputError(f"--plot is a PNG: name it {FLAGS.plot}.png.")
        make_folder(Path(FLAGS.plot).parent)
        drawing.check()
    network, file = shared_flags.find_classifier(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    shown = shared_flags.preprocessing_of(FLAGS, file)
    shell.start_tensorflow()
    size = shown.image_size
    model = zoo.build(network, file, input_shape=(size, size, 3))
    predictions = zoo.prediction.of_files(
        model,
        paths,
        preprocessing=shown,
        class_names=file.class_names,
        top=FLAGS.top,
        batch_size=FLAGS.batch_size,
        exif_orientation=FLAGS.exif_orientation,
    )
    with decoders.quiet():
        return _report(predictions, len(paths))


def _report(predictions: Iterable[zoo.prediction.Prediction], count: int) -> int:
    drawn, broken, rows = [], [], []
    for predicted in predictions:
        if len(drawn) < MOST_DRAWN and FLAGS.plot:
            drawn.append(predicted)
        if predicted.guesses is None:
            broken.append(predicted.path)
        if FLAGS.json:
            rows.append(_row(predicted))
        elif predicted.guesses is not None:
            print(_table(predicted), flush=True)
    if FLAGS.json:
        print(json.dumps(rows, indent=2))
    if FLAGS.plot:
        write_atomically(FLAGS.plot, prediction.draw(drawn, _caption(len(drawn), count)))
    if broken:
        raise InputError(zoo.prediction.undecodable(broken, count))
    return 0


def _readable(path):
    return os.fsencode(path).decode(errors="replace")  # names of files need not be UTF-8


def _table(predicted):
    lines = [_readable(predicted.path)]
    lines += [f"  {100 * g.probability:6.2f} %  {g.label:4}  {g.name}" for g in predicted.guesses]
    return "\n".join(lines)


def _row(predicted):
    if predicted.guesses is None:
        return {"image": predicted.path, "error": f"cannot be decoded as {listing.FORMATS}"}
    guesses = [
        {"class": g.label, "name": g.name, "probability": round(g.probability, 6)}
        for g in predicted.guesses
    ]
    return {"image": predicted.path, "top": guesses}


def _caption(drawn, count):
    first = "" if drawn == count else f", the first {drawn}"
    model = f"{FLAGS.model} {FLAGS.weights}" if FLAGS.weights else FLAGS.model
    return f"{model}: {count} image(s){first}"


if __name__ == "__main__":
    sys.exit(main())
