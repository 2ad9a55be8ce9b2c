"""Measures top-1 and top-5 error on a data set, every example once, by the paper's protocols.

    python -m resnet_keras.evaluate --model=resnet20 --weights=digits --dataset=digits
    python -m resnet_keras.evaluate --model=resnet34 --weights=runs/mine/weights.safetensors \\
        --dataset=imagenet2012 --split=val --protocol=ten_crop
    python -m resnet_keras.evaluate --ensemble=resnet34=a.safetensors,resnet50=b.safetensors \\
        --dataset=folder --data_dir=my_images --protocol=multi_scale

Protocols for photographs: single_crop (the centre of the image, its shorter side resized), ten_crop
(corners, centre and their mirror images, softmax scores averaged) and multi_scale (fully
convolutional at several scales, scores averaged over positions, mirror images and scales).
"""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from . import __version__, pipelines, zoo
from .commands import shared_flags, shell
from .errors import InputError
from .files import make_folder, write_atomically

if TYPE_CHECKING:
    import keras
    import numpy as np

FLAGS = shared_flags.new_flags()
PROTOCOLS = ("single_crop", zoo.paper.TEN_CROP, zoo.paper.MULTI_SCALE)
SCALES = (224, 256, 384, 480, 640)  # Sec. 3.4


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
    choice("protocol", "single_crop", list(PROTOCOLS), "For photographs; see above.")
    shared_flags.define_crop_flags(FLAGS)
    flags.DEFINE_list(
        "scales", [str(s) for s in SCALES], "Shorter sides of multi_scale.", flag_values=FLAGS
    )
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


class Errors(NamedTuple):
    """Errors in [0, 1] and the number of examples they were measured on."""

    top1: float
    top5: float
    examples: int


class Scores(NamedTuple):
    """What a model says of every example, in the data set's order.

    `log_shares`, float64 (examples, classes), are logarithms of softmax scores, for a sure
    network's scores are too small to be told from 0; `labels` are int32 (examples,).
    """

    log_shares: "np.ndarray"
    labels: "np.ndarray"


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    members = _members()
    found = [
        shared_flags.find_classifier(name, weights, FLAGS.weights_dir) for name, weights in members
    ]
    shell.start_tensorflow()
    photographs = not pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    crops = (FLAGS.resize, FLAGS.interpolation, FLAGS.crop, FLAGS.image_size)
    if not photographs and (FLAGS.protocol != "single_crop" or any(crops)):
        raise InputError(
            f"{FLAGS.dataset} is measured on its images as they are: --protocol, --image_size, "
            "--resize, --interpolation and --crop are for photographs."
        )
    if FLAGS.protocol == "multi_scale" and FLAGS.resize:
        raise InputError("--resize is for crops; the sizes of multi_scale are --scales.")
    if FLAGS.per_class:
        make_folder(Path(FLAGS.per_class).parent)
    split = FLAGS.split or ("val" if photographs else "test")
    protocols = [
        _protocol(file) if photographs else {"protocol": zoo.paper.SINGLE_VIEW} for _, file in found
    ]

    def measured():
        for (network, file), protocol in zip(found, protocols, strict=True):
            model = zoo.build(network, file, dtype=FLAGS.dtype, **_shape(protocol))
            check_fit(model, FLAGS.dataset, FLAGS.data_dir)
            if photographs:
                yield _photograph_scores(model, split, protocol)
            else:
                yield _single_view_scores(model, split)

    scores = average(measured())
    errors = count_errors(scores)
    names = " + ".join(
        name if weights is None else f"{name} with weights {weights}" for name, weights in members
    )
    told = protocols[0]["protocol"]
    print(
        f"{names} on {FLAGS.dataset}/{split}: top-1 error {100 * errors.top1:.2f} %, "
        f"top-5 error {100 * errors.top5:.2f} % ({errors.examples} examples, {told})"
    )
    if FLAGS.per_class:
        write_per_class(Path(FLAGS.per_class), scores, _class_names(split))
    if FLAGS.results:
        key = {
            "model": "+".join(name for name, _ in members),
            "weights": "+".join(str(weights or "its own") for _, weights in members),
            "dataset": FLAGS.dataset,
            **({"data_dir": FLAGS.data_dir} if FLAGS.dataset == pipelines.FOLDER else {}),
            "split": split,
            **_common(protocols),
            "dtype": FLAGS.dtype,
        }
        if FLAGS.exif_orientation is not None:
            key["exif_orientation"] = FLAGS.exif_orientation
        training = [file.training for _, file in found]
        record(
            Path(FLAGS.results),
            key,
            errors,
            training=training[0] if len(training) == 1 else training,
        )


def _common(protocols):
    """One protocol for the record; where an ensemble's members differ, all of them."""
    if all(protocol == protocols[0] for protocol in protocols):
        return protocols[0]
    return {"protocol": protocols[0]["protocol"], "members": protocols}


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


_MODES = ("crop_mode", "antialias")


def _protocol(file) -> dict[str, Any]:
    """How photographs are shown to a model: by the flags, or as its weights say."""
    shown = shared_flags.preprocessing_of(FLAGS, file)
    size = shown.image_size
    protocol: dict[str, Any] = {"protocol": FLAGS.protocol, "image_size": size}
    if shown.crop_mode != "centre" and FLAGS.protocol != "single_crop":
        raise InputError(
            f"{FLAGS.protocol} is of images in their proportions, and {file.model} was made for "
            "stretched ones: take --protocol=single_crop, or say --crop=centre."
        )
    if FLAGS.protocol == "multi_scale":
        protocol["scales"] = shared_flags.whole_numbers("scales", FLAGS.scales)
        if min(protocol["scales"], default=0) < size:
            raise InputError(
                f"--scales must be {size} or more, for {file.model} was made for images of side "
                f"{size}."
            )
    else:
        protocol["resize"] = shown.resize
    protocol["interpolation"] = shown.interpolation
    # What is as ever is left out, for records made before these could be said.
    usual = zoo.Preprocessing()._asdict()
    modes = {key: getattr(shown, key) for key in _MODES}
    return protocol | {key: mode for key, mode in modes.items() if mode != usual[key]}


def _shape(protocol) -> dict[str, Any]:
    """What images a model must be built for; its own where there is one size only."""
    if "image_size" not in protocol:
        return {}
    side = None if protocol["protocol"] == "multi_scale" else protocol["image_size"]
    return {"input_shape": (side, side, 3)}


def _single_view_scores(model, split) -> Scores:
    dataset = pipelines.evaluation(
        FLAGS.dataset,
        split,
        FLAGS.batch_size,
        image_size=_image_size(model, FLAGS.dataset),
        data_dir=FLAGS.data_dir,
        exif_orientation=FLAGS.exif_orientation,
        device=None,  # `predict_on_batch` moves what it needs
    )
    return crop_scores(model, dataset)


def _photograph_scores(model, split, protocol) -> Scores:
    size, interpolation = protocol["image_size"], protocol["interpolation"]
    modes = {key: protocol[key] for key in _MODES if key in protocol}
    if protocol["protocol"] == "multi_scale":
        source = pipelines.open_split(
            FLAGS.dataset,
            split,
            data_dir=FLAGS.data_dir,
            exif_orientation=_exif_orientation(modes),
        )
        return multi_scale_scores(
            fully_convolutional(model, size),
            source,
            protocol["scales"],
            pixels_per_batch=FLAGS.batch_size * size * size,
            interpolation=interpolation,
            **modes,
        )
    ten = protocol["protocol"] == "ten_crop"
    dataset = pipelines.evaluation(
        FLAGS.dataset,
        split,
        max(1, FLAGS.batch_size // 10) if ten else FLAGS.batch_size,
        image_size=size,
        data_dir=FLAGS.data_dir,
        exif_orientation=_exif_orientation(modes),
        device=None,
        resize=protocol["resize"],
        interpolation=interpolation,
        crops="ten" if ten else "centre",
        **modes,
    )
    return crop_scores(model, dataset)


def _exif_orientation(modes) -> bool | None:
    """The flag's; without it None, the data set's usual way, but for what Keras's loader shows."""
    if FLAGS.exif_orientation is None and not zoo.Preprocessing(**modes).heeds_exif:
        return False
    return FLAGS.exif_orientation


def measure(model: "keras.Model", dataset) -> Errors:
    """Returns the model's errors over all of `dataset`; arguments as for `crop_scores`."""
    return count_errors(crop_scores(model, dataset))


def crop_scores(model: "keras.Model", dataset) -> Scores:
    """Scores every example of `dataset`, the ragged last batch included.

    Args:
        model: pixels to logits.
        dataset: batches of (images, int labels); images are (batch, height, width, channels), or
            (batch, crops, height, width, channels), whose crops' softmax shares are averaged.
    """
    import numpy as np

    found, labels = [], []
    for images, batch_labels in dataset:
        images = np.asarray(images)
        flat = images.reshape(-1, *images.shape[-3:])
        logits = np.asarray(model.predict_on_batch(flat))
        if images.ndim == 5:
            shares = np.exp(log_softmax(logits)).reshape(*images.shape[:2], -1)
            found.append(_log(shares.mean(axis=1)))
        else:
            found.append(log_softmax(logits))
        labels.append(np.asarray(batch_labels))
    return Scores(np.concatenate(found), np.concatenate(labels))


def fully_convolutional(model: "keras.Model", image_size: int) -> "keras.Model":
    """Turns a classifier into one that scores every position of an image of any size.

    The global average pooling becomes an average over a sliding window of the size that the
    features of an `image_size` image have (7x7 for 224), and the classifier acts at each position
    (Sec. 3.4; Sermanet et al. 2014).

    Args:
        model: of `zoo.get(..., input_shape=(None, None, 3))`.
        image_size: side of the images that it was trained on.

    Returns:
        A model from pixels (batch, height, width, 3) to logits (batch, rows, columns, classes);
        the sides of the images must be at least `image_size`.
    """
    import keras

    from .networks.blocks import CHANNELS_LAST

    features = model.get_layer("avg_pool").input
    window = keras.Model(model.input, features).compute_output_shape(
        (1, image_size, image_size, 3)
    )[1]
    pooling = keras.layers.AveragePooling2D(
        window, strides=1, data_format=CHANNELS_LAST, name="sliding_pool"
    )
    pooled = pooling(features)
    dense = keras.Model(model.input, model.get_layer("logits")(pooled), name=model.name)
    dense.compile(jit_compile=False)  # XLA would compile for each size of image
    return dense


def multi_scale_scores(
    model: "keras.Model",
    source: "pipelines.Source",
    scales: Sequence[int],
    *,
    pixels_per_batch: int,
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> Scores:
    """Averages softmax shares over positions, mirror images and scales.

    Args:
        model: of `fully_convolutional`.
        source: of encoded images.
        scales: lengths of the shorter side.
        pixels_per_batch, interpolation, antialias: see `encoded.whole_images`.
    """
    import numpy as np

    from .pipelines import encoded, stream

    total = np.zeros((source.num_examples, model.output_shape[-1]), "float64")
    labels = np.zeros(source.num_examples, "int32")
    for scale in scales:
        batches = encoded.whole_images(
            source, scale, pixels_per_batch, interpolation=interpolation, antialias=antialias
        )
        for numbers, images, batch_labels in stream.prefetch(batches, None):
            images = np.asarray(images)
            for view in (images, images[:, :, ::-1]):
                logits = np.asarray(model.predict_on_batch(view))
                total[numbers] += np.exp(log_softmax(logits)).mean(axis=(1, 2))
            labels[numbers] = batch_labels
    return Scores(_log(total / (2 * len(scales))), labels)


def average(members: Iterable[Scores]) -> Scores:
    """The mean of the models' softmax scores; all must be of the same examples."""
    import numpy as np

    each = iter(members)
    first = next(each)
    total, count = None, 1
    for member in each:  # one at a time: on ImageNet each holds 400 MB
        if not np.array_equal(first.labels, member.labels):
            raise InputError("The models of an ensemble must be measured on the same examples.")
        total = np.exp(first.log_shares) if total is None else total
        total += np.exp(member.log_shares)
        count += 1
    return first if total is None else Scores(_log(total / count), first.labels)


def log_softmax(logits):
    """Float64 logarithms of the softmax shares along the last axis."""
    import numpy as np

    logits = np.asarray(logits, "float64")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _log(shares):
    import numpy as np

    return np.log(np.maximum(shares, np.finfo("float64").tiny))


def wrong(scores: Scores, k: int) -> "np.ndarray":
    """Whether each example's label is not among the `k` largest scores, bool (examples,).

    Ties count against the label, as in `metrics.top_k_error`.
    """
    import numpy as np

    own = np.take_along_axis(scores.log_shares, scores.labels[:, None], axis=1)
    rivals = np.sum(scores.log_shares >= own, axis=1) - 1
    return (rivals >= k) | ~np.isfinite(own[:, 0])


def count_errors(scores: Scores) -> Errors:
    """Returns the errors over all examples."""
    top1, top5 = wrong(scores, 1), wrong(scores, 5)
    return Errors(float(top1.mean()), float(top5.mean()), len(top1))


def write_per_class(path: Path, scores: Scores, names: Sequence[str]) -> None:
    """Writes a CSV with a row per class: number, name, examples, top-1 and top-5 error."""
    top1, top5 = wrong(scores, 1), wrong(scores, 5)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("class", "name", "examples", "top1_error", "top5_error"))
    for label, name in enumerate(names):
        own = scores.labels == label
        errors = [f"{found[own].mean():.6f}" if own.any() else "" for found in (top1, top5)]
        rows.writerow((label, name, int(own.sum()), *errors))
    write_atomically(path, text.getvalue())


def _class_names(split):
    facts = pipelines.info(FLAGS.dataset, FLAGS.data_dir)
    known = zoo.entries.class_names(FLAGS.dataset)
    if known or facts.in_memory:
        return known or [str(label) for label in range(facts.num_classes)]
    return pipelines.open_split(FLAGS.dataset, split, data_dir=FLAGS.data_dir).class_names


def check_fit(model: "keras.Model", dataset: str, data_dir: str | None = None) -> None:
    """Refuses a model whose logits or pixels are not the data set's."""
    facts = pipelines.info(dataset, data_dir)
    classes, side = facts.num_classes, model.input_shape[1]
    if not facts.resizable and side not in (None, facts.image_size):
        raise InputError(
            f"{model.name} takes images of side {side} and {dataset} has {facts.image_size}: "
            "take weights that were trained on it."
        )
    if model.output_shape[-1] != classes:
        raise InputError(
            f"{model.name} has {model.output_shape[-1]} classes and {dataset} has {classes}: "
            "take weights that were trained on it."
        )


def record(path: Path, key: dict[str, Any], errors: Errors, *, training: Any) -> None:
    """Puts a measurement into a JSON list, in place of the one with the same `key`.

    Args:
        path: of the list, made if it is not there.
        key: what was measured and how.
        errors: the figures.
        training: how the weights were made.

    Raises:
        InputError: the file is there and is no such list, or cannot be written.
    """
    import keras
    import tensorflow as tf

    try:
        rows = json.loads(path.read_text()) if path.exists() else []
        others = [row for row in rows if any(row.get(k) != v for k, v in key.items())]
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise InputError(f"{path} is not a JSON list of results ({error}).") from error
    row = {
        **key,
        "examples": errors.examples,
        "top1_error": round(errors.top1, 6),
        "top5_error": round(errors.top5, 6),
        "training": training,
        "versions": {
            "resnet_keras": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }
    write_atomically(path, json.dumps([*others, row], indent=2) + "\n")


def _image_size(model, dataset):
    """The side the model was built for, where the data set can be resized to it."""
    side = model.input_shape[1]
    return side if side is not None and pipelines.info(dataset).resizable else None


if __name__ == "__main__":
    sys.exit(main())
