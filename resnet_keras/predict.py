"""Names what images show: the most probable classes and their probabilities.

    python -m resnet_keras.predict --model=resnet50 --weights=imagenet cat.jpg photographs/
    python -m resnet_keras.predict --model=my_published_model --json --plot=seen.png *.png

Images are JPEG or PNG; of a folder, all below it. Each is resized and cropped as the weights' own
test does, which `zoo.info` tells; for a file that does not say it, --image_size, --resize,
--interpolation and --crop do. A file that cannot be decoded is named, and the exit status is 2.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from . import drawing, zoo
from .commands import shared_flags, shell
from .errors import InputError
from .files import make_folder, write_atomically
from .pipelines import listing

if TYPE_CHECKING:
    import keras
    import numpy as np

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
        "Turn photographs upright as EXIF says, as phones note it. Without the flag they are turned, "
        "unless the network was trained on what Keras's loader shows, which does not.",
        flag_values=FLAGS,
    )
    shared_flags.define_path(
        FLAGS,
        "plot",
        f"PNG file in which to draw the images, as the network sees them, with their labels; "
        f"the first {MOST_DRAWN}.",
    )


_define_flags()


class Guess(NamedTuple):
    """A class that an image may show."""

    label: int
    name: str
    probability: float


class Prediction(NamedTuple):
    """What a network says of an image file.

    `image` is what it saw, uint8 (height, width, 3); `guesses` the most probable classes first,
    None where the file could not be decoded.
    """

    path: str
    image: "np.ndarray"
    guesses: list[Guess] | None


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> int:
    if FLAGS.model is None:
        raise InputError("Give --model=NAME --weights=TAG, or --model=FOLDER that zoo.save wrote.")
    paths = image_files(arguments)
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
    found = predict(
        model,
        paths,
        preprocessing=shown,
        class_names=file.class_names,
        top=FLAGS.top,
        batch_size=FLAGS.batch_size,
        exif_orientation=shown.heeds_exif
        if FLAGS.exif_orientation is None
        else FLAGS.exif_orientation,
    )
    return _report(found, len(paths))


def _report(found, count) -> int:
    kept, broken, rows = [], [], []
    for prediction in found:
        if len(kept) < MOST_DRAWN and FLAGS.plot:
            kept.append(prediction)
        if prediction.guesses is None:
            broken.append(prediction.path)
        if FLAGS.json:
            rows.append(_row(prediction))
        elif prediction.guesses is not None:
            print(_table(prediction), flush=True)
    if FLAGS.json:
        print(json.dumps(rows, indent=2))
    if FLAGS.plot:
        write_atomically(FLAGS.plot, _sheet(kept, count))
    if broken:
        raise InputError(
            f"{len(broken)} of {count} images cannot be decoded as JPEG or PNG: "
            f"{', '.join(map(_readable, broken[:10]))}{', ...' if len(broken) > 10 else ''}."
        )
    return 0


def image_files(arguments: Sequence[str]) -> list[str]:
    """Lists files as they are given, and the JPEG and PNG files below folders by name.

    Of folders, hidden files are left out and links are followed, as in training.

    Raises:
        InputError: nothing is given, or something is not there or holds no images.
    """
    paths: list[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            found = listing.images_below(argument)
            if not found:
                raise InputError(f"The folder {argument} has no JPEG or PNG files below it.")
            paths += found
        elif os.path.isfile(argument):
            paths.append(argument)
        else:
            raise InputError(f"There is no image or folder {argument}.")
    if not paths:
        raise InputError("Name images or folders of them after the flags.")
    return paths


def predict(
    model: "keras.Model",
    paths: Sequence[str],
    *,
    preprocessing: "zoo.Preprocessing",
    class_names: Sequence[str] | None = None,
    top: int = 5,
    batch_size: int = 32,
    exif_orientation: bool = True,
) -> Iterator[Prediction]:
    """Predicts the classes of image files, batch by batch.

    Args:
        model: pixels to logits, for crops of `preprocessing.image_size`.
        paths: of JPEG and PNG files.
        preprocessing: how they are shown to it.
        class_names: in the order of the logits; without, classes go by their numbers.
        top: how many classes to name.
        batch_size: images at once.
        exif_orientation: whether JPEGs are turned upright as their EXIF says.
    """
    import numpy as np

    from .evaluate import log_softmax
    from .pipelines import encoded, stream

    shown = {**preprocessing._asdict(), "exif_orientation": exif_orientation}
    files = encoded.images(paths, **shown).batch(batch_size)
    names = iter(paths)
    for images, readable in stream.prefetch(files, None):
        images = np.asarray(images)
        shares = np.exp(log_softmax(model.predict_on_batch(images)))
        for image, good, share in zip(images, np.asarray(readable), shares, strict=True):
            best = np.argsort(-share, kind="stable")[:top]
            guesses = [
                Guess(int(n), class_names[n] if class_names else f"class {n}", float(share[n]))
                for n in best
            ]
            yield Prediction(next(names), image, guesses if good else None)


def _readable(path):
    return os.fsencode(path).decode(errors="replace")  # names of files need not be UTF-8


def _table(prediction):
    lines = [_readable(prediction.path)]
    lines += [f"  {100 * g.probability:6.2f} %  {g.label:4}  {g.name}" for g in prediction.guesses]
    return "\n".join(lines)


def _row(prediction):
    if prediction.guesses is None:
        return {"image": prediction.path, "error": "cannot be decoded as JPEG or PNG"}
    guesses = [
        {"class": g.label, "name": g.name, "probability": round(g.probability, 6)}
        for g in prediction.guesses
    ]
    return {"image": prediction.path, "top": guesses}


def _sheet(predictions, count):
    import numpy as np

    from .pipelines import preview

    def text(prediction):
        if prediction.guesses is None:
            return "not decoded"
        first, *others = prediction.guesses
        likely = [first, *(guess for guess in others if guess.probability >= 0.01)]
        return "\n".join(f"{g.name}: {100 * g.probability:.0f} %" for g in likely[:2])

    first = "" if len(predictions) == count else f", the first {len(predictions)}"
    model = f"{FLAGS.model} {FLAGS.weights}" if FLAGS.weights else FLAGS.model
    caption = f"{model}: {count} image(s){first}"
    images = np.stack([prediction.image for prediction in predictions])
    return preview.draw(images, [text(p) for p in predictions], caption)


if __name__ == "__main__":
    sys.exit(main())
