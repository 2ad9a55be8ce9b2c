r"""Measures top-1 and top-5 error on a data set, every example once, by the paper's protocols.

    python -m resnet_keras.evaluate --model=resnet20 --weights=digits --dataset=digits
    python -m resnet_keras.evaluate --model=resnet34 --weights=runs/mine/weights.safetensors \
        --dataset=imagenet2012 --split=val --protocol=ten_crop
    python -m resnet_keras.evaluate --model=exported/resnet20_int8 --dataset=digits
    python -m resnet_keras.evaluate --ensemble=resnet34=a.safetensors,resnet50=b.safetensors \
        --dataset=folder --data_dir=my_images --protocol=multi_scale

Protocols for photographs: single_crop (the centre of the image, its shorter side resized), ten_crop
(corners, centre and their mirror images, softmax scores averaged) and multi_scale (fully
convolutional at several scales, scores averaged over positions, mirror images and scales).

A folder of `python -m resnet_keras.export` is measured as it will be used, by its own runtime.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import deployment, pipelines, processes, zoo
from .classification import measurements, protocols
from .classification.classifier import check_inputs, class_names
from .classification.protocols import Protocol
from .classification.scores import Scores, count_errors
from .commands import decoders, evaluate_flags, exports, shared_flags, shell
from .errors import InputError
from .files import make_folder

FLAGS = evaluate_flags.FLAGS


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    photographs = not pipelines.is_in_memory(FLAGS.dataset)
    split = FLAGS.split or ("val" if photographs else "test")
    _check_flags(photographs, split)
    found = None if FLAGS.ensemble else exports.find(FLAGS)
    measured = _networks(photographs) if found is None else _exported(found, photographs)
    if FLAGS.per_class:
        make_folder(Path(FLAGS.per_class).parent)
    shell.announce(f"{measured.name} on {FLAGS.dataset}/{split}", file=sys.stderr)
    shell.start_tensorflow()
    names = class_names(FLAGS.dataset, split, FLAGS.data_dir)
    said = [protocols.check_order(own, names) for own in measured.classes]
    with decoders.quiet():
        scores = measured.score(
            FLAGS.dataset,
            split,
            batch_size=FLAGS.batch_size,
            data_dir=FLAGS.data_dir,
            exif_orientation=FLAGS.exif_orientation,
        )
    errors = count_errors(scores)
    for text in dict.fromkeys(filter(None, said)):
        warnings.warn(text, stacklevel=2)
    print(
        f"{measured.name} on {FLAGS.dataset}/{split}: {measurements.in_words(errors)} "
        f"({errors.examples} examples, {measured.shown[0].name})"
    )
    if FLAGS.per_class:
        count = scores.log_shares.shape[1]
        classes = names or map(str, range(count))
        measurements.write_per_class(Path(FLAGS.per_class), scores, [*classes])
    if FLAGS.results:
        measurements.record(
            Path(FLAGS.results),
            measurements.key(
                measured.members,
                measured.shown,
                dataset=FLAGS.dataset,
                data_dir=FLAGS.data_dir,
                split=split,
                dtype=measured.dtype,
                exif_orientation=FLAGS.exif_orientation,
            ),
            errors,
            training=measured.training,
            exported=measured.exported,
        )


class _Measured(NamedTuple):
    """What is measured: networks with their weights, or an exported model."""

    members: list[tuple[str, str | None]]  # (model, weights) of each
    classes: list[Sequence[str] | None]  # their names, of each, where they are known
    shown: list[Protocol]  # to each of them
    score: Callable[..., Scores]  # by data set, split and the other arguments of `protocols.score`
    dtype: str
    training: Any = None
    exported: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        said = [m if w is None else f"{m} with weights {w}" for m, w in self.members]
        return " + ".join(said)


def _networks(photographs: bool) -> _Measured:
    members = _members()
    classifiers = [
        shared_flags.find_classifier(name, weights, FLAGS.weights_dir) for name, weights in members
    ]
    for network, file in classifiers:
        check_inputs(network.takes_series, network.name, FLAGS.dataset)
        if network.takes_series:
            protocols.check_names(file.class_names, FLAGS.dataset, FLAGS.data_dir)
    shown = [_protocol(file) if photographs else Protocol() for _, file in classifiers]
    score = functools.partial(protocols.score_ensemble, classifiers, shown, dtype=FLAGS.dtype)
    training = [file.training for _, file in classifiers]
    told = training[0] if len(training) == 1 else training
    classes = [file.class_names for _, file in classifiers]
    return _Measured(members, classes, shown, score, FLAGS.dtype, told)


def _exported(found: deployment.Exported, photographs: bool) -> _Measured:
    check_inputs(found.takes_series, FLAGS.model, FLAGS.dataset)
    if found.takes_series:
        protocols.check_names(found.class_names, FLAGS.dataset, FLAGS.data_dir)
    if photographs and FLAGS.protocol == protocols.MULTI_SCALE:
        raise InputError(
            f"{FLAGS.model} is an exported model, which scores an image as a whole, and "
            f"{protocols.MULTI_SCALE} scores positions of it: take another --protocol."
        )
    shown = _protocol(found) if photographs else Protocol()

    def score(*data, **options):
        model = exports.opened(found)
        return protocols.score_model(model, shown, *data, **options)

    facts = {key: getattr(found, key) for key in ("network", "weights", "format", "quantize")}
    members: list[tuple[str, str | None]] = [(FLAGS.model, None)]
    names = [found.class_names]
    return _Measured(members, names, [shown], score, exports.precision(found), exported=facts)


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


def _protocol(file: zoo.weights.WeightsFile | deployment.Exported) -> Protocol:
    """How photographs are shown to a model: by the flags, or as its weights say."""
    shown = shared_flags.preprocessing_of(FLAGS, file)
    model = file.network if isinstance(file, deployment.Exported) else file.model
    if FLAGS.protocol != protocols.MULTI_SCALE:
        return protocols.of_photographs(FLAGS.protocol, shown, model)
    scales = shared_flags.whole_numbers("scales", FLAGS.scales)
    return protocols.of_photographs(FLAGS.protocol, shown, model, scales)


if __name__ == "__main__":
    processes.leave(main())
