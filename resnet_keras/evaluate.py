r"""Measures top-1 and top-5 error on a data set, every example once, by the paper's protocols.

    python -m resnet_keras.evaluate --model=resnet20 --weights=digits --dataset=digits
    python -m resnet_keras.evaluate --model=resnet34 --weights=runs/mine/weights.safetensors \
        --dataset=imagenet2012 --split=val --protocol=ten_crop
    python -m resnet_keras.evaluate --ensemble=resnet34=a.safetensors,resnet50=b.safetensors \
        --dataset=folder --data_dir=my_images --protocol=multi_scale

Protocols for photographs: single_crop (the centre of the image, its shorter side resized), ten_crop
(corners, centre and their mirror images, softmax scores averaged) and multi_scale (fully
convolutional at several scales, scores averaged over positions, mirror images and scales).
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from . import pipelines, processes, zoo
from .classification import measurements, protocols
from .classification.classifier import check_inputs, class_names
from .classification.protocols import Protocol
from .classification.scores import count_errors
from .commands import decoders, evaluate_flags, shared_flags, shell
from .errors import InputError
from .files import make_folder

FLAGS = evaluate_flags.FLAGS


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    members = _members()
    photographs = not pipelines.is_in_memory(FLAGS.dataset)
    split = FLAGS.split or ("val" if photographs else "test")
    _check_flags(photographs, split)
    classifiers = [
        shared_flags.find_classifier(name, weights, FLAGS.weights_dir) for name, weights in members
    ]
    for network, file in classifiers:
        check_inputs(network, FLAGS.dataset)
        if network.takes_series:
            protocols.check_names(file.class_names, FLAGS.dataset, FLAGS.data_dir)
    shown = [_protocol(file) if photographs else Protocol() for _, file in classifiers]
    if FLAGS.per_class:
        make_folder(Path(FLAGS.per_class).parent)
    names = " + ".join(
        name if weights is None else f"{name} with weights {weights}" for name, weights in members
    )
    shell.announce(f"{names} on {FLAGS.dataset}/{split}", file=sys.stderr)
    shell.start_tensorflow()
    with decoders.quiet():
        scores = protocols.score_ensemble(
            classifiers,
            shown,
            FLAGS.dataset,
            split,
            dtype=FLAGS.dtype,
            batch_size=FLAGS.batch_size,
            data_dir=FLAGS.data_dir,
            exif_orientation=FLAGS.exif_orientation,
        )
    errors = count_errors(scores)
    print(
        f"{names} on {FLAGS.dataset}/{split}: {measurements.in_words(errors)} "
        f"({errors.examples} examples, {shown[0].name})"
    )
    if FLAGS.per_class:
        count = scores.log_shares.shape[1]
        classes = class_names(FLAGS.dataset, split, FLAGS.data_dir) or map(str, range(count))
        measurements.write_per_class(Path(FLAGS.per_class), scores, [*classes])
    if FLAGS.results:
        training = [file.training for _, file in classifiers]
        measurements.record(
            Path(FLAGS.results),
            measurements.key(
                members,
                shown,
                dataset=FLAGS.dataset,
                data_dir=FLAGS.data_dir,
                split=split,
                dtype=FLAGS.dtype,
                exif_orientation=FLAGS.exif_orientation,
            ),
            errors,
            training=training[0] if len(training) == 1 else training,
        )


def _check_flags(photographs: bool, split: str) -> None:
    """Refuses flags that have no effect, or name what is not there."""
    crops = (FLAGS.resize, FLAGS.interpolation, FLAGS.crop, FLAGS.image_size)
    if not photographs and (FLAGS.protocol != protocols.SINGLE_CROP or any(crops)):
        pipelines.check_images(FLAGS.dataset, "--protocol and what it takes")
        raise InputError(
            f"{FLAGS.dataset} is measured on its images as they are: --protocol, --image_size, "
            "--resize, --interpolation and --crop are for photographs."
        )
    if FLAGS.protocol == protocols.MULTI_SCALE and FLAGS.resize:
        raise InputError("--resize is for crops; the sizes of multi_scale are --scales.")
    if FLAGS.protocol != protocols.MULTI_SCALE and FLAGS["scales"].present:
        warnings.warn("--scales has no effect: it belongs to --protocol=multi_scale", stacklevel=2)
    place = {"data_dir": FLAGS.data_dir, "exif_orientation": FLAGS.exif_orientation}
    pipelines.check_names(FLAGS.dataset, (split,), **place)


def _members() -> list[tuple[str, str | None]]:
    """(model, weights) of each model to measure."""
    if not FLAGS.ensemble:
        return [(FLAGS.model, FLAGS.weights)]
    for name in ("model", "weights"):
        if FLAGS[name].present:
            raise InputError(f"--ensemble names models and their weights: leave --{name} out.")
    pairs = [tuple(member.split("=", 1)) for member in FLAGS.ensemble]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise InputError("--ensemble is NAME=WEIGHTS,NAME=WEIGHTS,... of two models or more.")
    return [(name, weights) for name, weights in pairs]


def _protocol(file: "zoo.weights.WeightsFile") -> Protocol:
    """How photographs are shown to a model: by the flags, or as its weights say."""
    shown = shared_flags.preprocessing_of(FLAGS, file)
    if FLAGS.protocol != protocols.MULTI_SCALE:
        return protocols.of_photographs(FLAGS.protocol, shown, file.model)
    scales = shared_flags.whole_numbers("scales", FLAGS.scales)
    return protocols.of_photographs(FLAGS.protocol, shown, file.model, scales)


if __name__ == "__main__":
    processes.leave(main())
