r"""Writes a network for another runtime: a folder with the model, its labels and its preprocessing.

    python -m resnet_keras.export resnet20 --weights=digits --format=litert --quantize=int8 \
        --dataset=digits
    python -m resnet_keras.export resnet50 --weights=imagenet --format=onnx
    python -m resnet_keras.export runs/mine --format=openvino --quantize=float16 --out=mine_openvino
    python -m resnet_keras.export runs/detector --format=litert --sides=480,640
    python -m resnet_keras.export runs/series --format=litert

MODEL is a network of the zoo with --weights, or a folder of zoo.save or of a run of train, for
images or time series; or a detector: the folder of a run of detection.train, or a .keras file, with
--sides. Before the folder is there, the file is run by its own runtime and compared with the
network: the size and the largest difference are printed, and stand in the folder's README.md beside
a few lines of code that predict with it. evaluate and predict take the folder of a classifier in a
network's place, and benchmark predict, of images, as a peer.

Formats are savedmodel (TensorFlow), litert (extra `litert`), onnx (`onnx`) and openvino
(`openvino`). float16 halves the file; dynamic and int8 make a quarter of it. int8 takes uint8
pixels, and needs --dataset for images to calibrate with.

The folder of a savedmodel is what TensorFlow Serving is given. --triton=REPOSITORY copies an onnx
into a model repository of NVIDIA's Triton.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from . import processes, zoo
from .classification import protocols
from .commands import decoders, export_flags, shared_flags, shell
from .commands.parsing import check_groups
from .deployment import calibration, formats, triton
from .detection import loading
from .errors import InputError

FLAGS = export_flags.FLAGS
ANY_LENGTH = 128  # of made-up series for a network that takes any


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__, positional=True)


def _main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise InputError("Name one MODEL: a network with --weights, or a folder that has weights.")
    if FLAGS.format is None:
        raise InputError(f"Give --format: one of {', '.join(formats.FORMATS)}.")
    if FLAGS.triton and FLAGS.format != "onnx":
        raise InputError(f"--triton is for --format=onnx, not {FLAGS.format}: leave it out.")
    (name,) = arguments
    if not zoo.networks.is_name(name) and _is_detector(Path(name)):
        return _export_detector(name)
    formats.check(FLAGS.format, FLAGS.quantize)
    network, file = shared_flags.find_classifier(name, FLAGS.weights, FLAGS.weights_dir)
    export_flags.check(network)
    shown = None if network.takes_series else shared_flags.preprocessing_of(FLAGS, file)
    out = _out(name)
    shell.announce(f"{name} as {FLAGS.format} in {out}", file=sys.stderr)
    shell.start_tensorflow()

    from .deployment import exporting

    _check_free(out)
    with decoders.quiet():
        if shown is None:
            model, compared, calibrated = _for_series(network, file)
        else:
            model, compared, calibrated = _for_images(network, file, shown)
    about = exporting.About(
        network.name,
        FLAGS.weights,
        shown,
        "" if shown is None else file.assumed,
        file.class_names,
        file.entry.licence if file.entry else None,
    )
    names = ("reduce_range", "exif_orientation")
    options = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    found = shell.quietly(
        lambda: exporting.export(
            model,
            out,
            format=FLAGS.format,
            quantize=FLAGS.quantize,
            about=about,
            compared=compared,
            calibration=calibrated,
            batch_size=FLAGS.batch_size,
            **options,
        )
    )
    _finish(found, out)
    doubt = exporting.doubt(found)
    if doubt:
        warnings.warn(doubt, stacklevel=2)


def _is_detector(path):
    """Whether it is a model in one piece, or the folder of a run that has such a one."""
    return path.suffix == ".keras" or (path.is_dir() and any(path.glob("*.keras")))


def _export_detector(name):
    check_groups(FLAGS, "a detector", ("File", "Detector"))
    size = _size()
    file, out = loading.find(name), _out(name)
    shell.announce(f"{file} as {FLAGS.format} in {out}", file=sys.stderr)
    shell.start_tensorflow()

    from .deployment import detecting, exporting

    detecting.check(FLAGS.format, FLAGS.quantize)
    _check_free(out)
    model = loading.load(file)
    detecting.check_precision(model)
    about = exporting.About(model.name, str(file), class_names=model.class_names)
    found = shell.quietly(
        lambda: detecting.export(
            model,
            out,
            size,
            format=FLAGS.format,
            quantize=FLAGS.quantize,
            about=about,
            batch_size=FLAGS.batch_size,
        )
    )
    _finish(found, out)


def _size():
    """Height and width of a detector's images; None for any."""
    if not FLAGS.sides and FLAGS.format == "savedmodel":
        return None
    if len(FLAGS.sides) != 2:
        raise InputError(
            "A detector is exported for images of one size, and as SavedModel for any: give "
            "--sides=480,640."
        )
    height, width = shared_flags.whole_numbers("sides", FLAGS.sides)
    return height, width


def _check_free(out):
    """Refuses places that are taken, before the work begins."""
    from .deployment import exporting

    exporting.free(out)
    if FLAGS.triton:
        triton.free(FLAGS.triton, out.name)


def _finish(found, out):
    """Tells what was written, and gives Triton its copy."""
    from .deployment import card

    print(f"{out}: {sum(found.sizes.values()):,} bytes; {card.in_words(found)}")
    if FLAGS.triton:
        print(f"{triton.write(found, FLAGS.triton)}: for tritonserver --model-repository")


def _out(name):
    if FLAGS.out:
        return Path(FLAGS.out)
    parts = [Path(name).name or "network", FLAGS.format]
    return Path("_".join([*parts, *([] if FLAGS.quantize == "none" else [FLAGS.quantize])]))


def _for_images(network, file, shown):
    """The network, images to compare it with its file, and to calibrate; None without."""
    size = None if FLAGS.any_size else shown.image_size
    model = zoo.build(network, file, input_shape=(size, size, 3), dtype="float32")
    if FLAGS.dataset is None:
        return model, calibration.made_up((shown.image_size, shown.image_size)), None
    data = calibration.Data(FLAGS.dataset, shown, FLAGS.data_dir, FLAGS.exif_orientation)
    calibrated = None
    if FLAGS.quantize == formats.INT8:
        calibrated = data.calibrating(FLAGS.calibration_images or calibration.DEFAULT)
    return model, data.compared(), calibrated


def _for_series(network, file):
    """The same for series, without calibration.

    The length is the network's own; for LiteRT, if that is any, the data set's.
    """
    model = zoo.build(network, file, dtype="float32")
    length, channels = model.input_shape[1:]
    needs_length = length is None and not formats.FORMATS[FLAGS.format].free
    wanted = None if FLAGS.any_size else length
    compared = None
    if FLAGS.dataset is not None:
        protocols.check_fit(model, FLAGS.dataset, FLAGS.data_dir)
        protocols.check_names(file.class_names, FLAGS.dataset, FLAGS.data_dir)
        compared = calibration.series(FLAGS.dataset, FLAGS.data_dir)
        wanted = compared.values.shape[1] if needs_length else wanted
    elif needs_length:
        raise InputError(
            f"{FLAGS.format} takes series of one length, and {network.name} was built for any: "
            "name data of that length with --dataset."
        )
    if wanted != length:
        model = zoo.build(network, file, input_shape=(wanted, channels), dtype="float32")
    if compared is None:
        scale = model.get_layer("normalization")
        shape = (length or ANY_LENGTH, channels)
        compared = calibration.made_up_series(shape, scale.initial_mean, scale.initial_std)
    return model, compared, None


if __name__ == "__main__":
    processes.leave(main())
