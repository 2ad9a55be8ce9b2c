"""Names what images or series show: the most probable classes and their probabilities.

    python -m resnet_keras.predict --model=resnet50 --weights=imagenet cat.jpg photographs/
    python -m resnet_keras.predict --model=my_published_model --json --plot=seen.png *.png
    python -m resnet_keras.predict --model=resnet50 --weights=imagenet --engine=auto photographs/
    python -m resnet_keras.predict --model=exported/resnet50_onnx photographs/
    python -m resnet_keras.predict --model=runs/resnet1d_digits series.csv

Images are JPEG, PNG or WebP; of a folder, all below it, and what else lies there is named and left
out. Each is resized and cropped as the weights' own test does, which `zoo.info` tells; for a file
that does not say it, --image_size, --resize, --interpolation and --crop do. A file that cannot be
decoded is named, and the exit status is 2.

A network for time series takes files with a series on each line: .csv with commas between values;
.tsv and .ts as in the UCR and UEA archives, whose classes are left out; .npz with an array x.
"""

import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import drawing, processes, zoo
from .classification import prediction
from .commands import decoders, exports, predict_flags, shared_flags, shell
from .commands.predict_flags import MOST_DRAWN
from .deployment import engines
from .errors import InputError
from .files import make_folder, readable, write_atomically
from .pipelines import listing

FLAGS = predict_flags.FLAGS


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> int:
    if FLAGS.model is None:
        raise InputError("Give --model=NAME --weights=TAG, or --model=FOLDER that zoo.save wrote.")
    if not arguments:
        raise InputError("Name images or folders of them, or files of series, after the flags.")
    found = exports.find(FLAGS)
    if found is None:
        network, file = shared_flags.find_classifier(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
        if network.takes_series:
            return _predict_series(arguments, network, file)
        _engine()  # is told of before anything takes time
    else:
        network, file = None, found
        if found.takes_series:
            return _predict_series(arguments, None, found)
    paths = prediction.image_files(arguments)
    if FLAGS.plot:
        if not FLAGS.plot.lower().endswith(".png"):
            raise InputError(f"--plot is a PNG: name it {FLAGS.plot}.png.")
        make_folder(Path(FLAGS.plot).parent)
        drawing.check()
    shown = shared_flags.preprocessing_of(FLAGS, file)
    weights = f" {FLAGS.weights}" if FLAGS.weights else ""
    what = f"{FLAGS.model}{weights} on {len(paths)} image(s)"
    if network is None:
        _start(what, tensorflow=found.format == "savedmodel")
        model = exports.opened(found)
    else:
        model = _model(network, file, shown.image_size, what)
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


def _start(what, *, tensorflow):
    """Imports TensorFlow, where it is what predicts or exports, and says so."""
    if not tensorflow:
        shell.start_without_tensorflow()
        return
    shell.announce(what, file=sys.stderr)
    shell.start_tensorflow()


def _engine() -> str:
    return engines.choose(FLAGS.engine, FLAGS.dtype or "float32")


def _model(network, file, size, what):
    """The network in its engine."""
    engine = _engine()
    if engine != engines.KERAS:
        try:
            return _opened(network, file, engine, size, what)
        except InputError as error:
            if FLAGS.engine != engines.AUTO:
                raise
            advice = "--engine=keras does so at once."
            warnings.warn(f"keras predicts instead of {engine}: {error} {advice}", stacklevel=2)
    _start(what, tensorflow=True)
    dtype = {"dtype": FLAGS.dtype} if FLAGS.dtype else {}  # otherwise that of the weights
    return zoo.build(network, file, input_shape=(size, size, 3), **dtype)


def _opened(network, file, engine, size, what):
    """The network in another engine, without what converters print."""
    kept = engines.is_kept(network, file, engine, image_size=size)
    _start(what, tensorflow=not kept)
    if not kept:
        print(f"resnet_keras: exporting {network.name} for {engine}, once ...", file=sys.stderr)
    with warnings.catch_warnings(record=True) as told, shell.captured_stderr():
        warnings.simplefilter("always", UserWarning)
        try:
            opened = engines.open_engine(
                network, file, engine, image_size=size, dtype=FLAGS.dtype or "float32"
            )
        except InputError as error:
            opened = error
    for warning in told:  # such as of a damaged file; converters' are of other modules
        if warning.filename == engines.__file__:
            print(f"warning: {warning.message}", file=sys.stderr)
    if isinstance(opened, InputError):
        raise opened
    return opened


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
            print(_table(predicted.path, predicted.guesses), flush=True)
    if FLAGS.json:
        print(json.dumps(rows, indent=2))
    if FLAGS.plot:
        write_atomically(FLAGS.plot, prediction.draw(drawn, _caption(len(drawn), count)))
    if broken:
        raise InputError(zoo.prediction.undecodable(broken, count))
    return 0


def _predict_series(arguments, network, file) -> int:
    """Of a network with its weights; or, without the first, of an exported model."""
    name = network.name if network else file.network
    shared_flags.refuse_of_images(FLAGS, name, predict_flags.OF_IMAGES)
    # A file that does not say its shape is refused when the network is built.
    built_for = file.options.get("input_shape") if network else file.input.shape[1:]
    examples = prediction.series_in(arguments, built_for)
    count = sum(len(values) for _, values in examples)
    what = f"{FLAGS.model} on {count} series"
    if network is None:
        _start(what, tensorflow=file.format == "savedmodel")
        model = exports.opened(file)
    else:
        _start(what, tensorflow=True)
        model = zoo.build(network, file)
    rows = []
    options = {"class_names": file.class_names, "top": FLAGS.top, "batch_size": FLAGS.batch_size}
    for path, values in examples:
        predictions = zoo.prediction.of_series(model, values, **options)
        for number, guesses in enumerate(predictions):
            if FLAGS.json:
                rows.append({"series": path, "number": number, "top": _guesses(guesses)})
            else:
                print(_table(f"{path}, series {number}", guesses), flush=True)
    if FLAGS.json:
        print(json.dumps(rows, indent=2))
    return 0


def _table(title, guesses):
    lines = [readable(title)]
    lines += [f"  {100 * g.probability:6.2f} %  {g.label:4}  {g.name}" for g in guesses]
    return "\n".join(lines)


def _row(predicted):
    if predicted.guesses is None:
        return {"image": predicted.path, "error": f"cannot be decoded as {listing.FORMATS}"}
    return {"image": predicted.path, "top": _guesses(predicted.guesses)}


def _guesses(guesses):
    return [
        {"class": g.label, "name": g.name, "probability": round(g.probability, 6)} for g in guesses
    ]


def _caption(drawn, count):
    first = "" if drawn == count else f", the first {drawn}"
    model = f"{FLAGS.model} {FLAGS.weights}" if FLAGS.weights else FLAGS.model
    return f"{model}: {count} image(s){first}"


if __name__ == "__main__":
    processes.leave(main())
