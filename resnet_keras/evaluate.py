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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from . import pipelines, zoo
from .classification import measurements, protocols
from .classification.classifier import class_names
from .classification.protocols import Protocol
from .classification.scores import count_errors
from .commands import decoders, shared_flags, shell
from .errors import InputError
from .files import make_folder

FLAGS = shared_flags.new_flags()


def _define_flags() -> None:
    def choice(name, default, choices, help):
        flags.DEFINE_enum(name, default, choices, help, flag_values=FLAGS)

    shared_flags.define_model_flags(FLAGS, "resnet20")
    shared_flags.define_paths(
        FLAGS,
        "ensemble",
        "Instead of --model and --weights: NAME=WEIGHTS for each of several models, whose softmax "
        "scores are averaged.",
    )
    shared_flags.define_data_flags(FLAGS, "digits")
    shared_flags.define_split_flag(
        FLAGS, "split", "Examples; test, or val of photographs, without."
    )
    choice(
        "protocol", protocols.SINGLE_CROP, list(protocols.PROTOCOLS), "For photographs; see above."
    )
    shared_flags.define_crop_flags(FLAGS)
    scales = [str(scale) for scale in protocols.SCALES]
    flags.DEFINE_list("scales", scales, "Shorter sides of multi_scale.", flag_values=FLAGS)
    flags.DEFINE_integer("batch_size", 100, "Crops evaluated at once.", 1, flag_values=FLAGS)
    choice("dtype", "float32", ["float32", "mixed_bfloat16"], "Precision of the layers.")
    shared_flags.define_path(
        FLAGS, "per_class", "CSV file in which to write the errors of each class."
    )
    shared_flags.define_path(
        FLAGS,
        "results",
        "JSON file of measurements in which to write this one, in place of an older one of the "
        "same model, weights, data set and protocol.",
    )


_define_flags()


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    members = _members()
    classifiers = [
        shared_flags.find_classifier(name, weights, FLAGS.weights_dir) for name, weights in members
    ]
    shell.start_tensorflow()
    photographs = not pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    _check_flags(photographs)
    if FLAGS.per_class:
        make_folder(Path(FLAGS.per_class).parent)
    split = FLAGS.split or ("val" if photographs else "test")
    shown = [_protocol(file) if photographs else Protocol() for _, file in classifiers]
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
    names = " + ".join(
        name if weights is None else f"{name} with weights {weights}" for name, weights in members
    )
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
            _key(members, split, shown),
            errors,
            training=training[0] if len(training) == 1 else training,
        )


def _check_flags(photographs: bool) -> None:
    """Refuses flags that have no effect."""
    crops = (FLAGS.resize, FLAGS.interpolation, FLAGS.crop, FLAGS.image_size)
    if not photographs and (FLAGS.protocol != protocols.SINGLE_CROP or any(crops)):
        raise InputError(
            f"{FLAGS.dataset} is measured on its images as they are: --protocol, --image_size, "
            "--resize, --interpolation and --crop are for photographs."
        )
    if FLAGS.protocol == protocols.MULTI_SCALE and FLAGS.resize:
        raise InputError("--resize is for crops; the sizes of multi_scale are --scales.")


def _members() -> list[tuple[str, str | None]]:
    """(model, weights) of each model to measure."""
    if not FLAGS.ensemble:
        return [(FLAGS.model, FLAGS.weights)]
    if FLAGS.weights is not None:
        raise InputError("--ensemble names the weights of its models: leave --weights out.")
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


def _key(members, split, shown) -> dict[str, Any]:
    """What the record says that was measured, and how."""
    facts = [protocol.facts() for protocol in shown]
    alike = all(recorded == facts[0] for recorded in facts)
    key = {
        "model": "+".join(name for name, _ in members),
        "weights": "+".join(str(weights or "its own") for _, weights in members),
        "dataset": FLAGS.dataset,
        **({"data_dir": FLAGS.data_dir} if FLAGS.dataset == pipelines.FOLDER else {}),
        "split": split,
        **(facts[0] if alike else {"protocol": FLAGS.protocol, "members": facts}),
        "dtype": FLAGS.dtype,
    }
    if FLAGS.exif_orientation is not None:
        key["exif_orientation"] = FLAGS.exif_orientation
    return key


if __name__ == "__main__":
    sys.exit(main())
