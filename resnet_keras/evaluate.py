"""Measures top-1 and top-5 error of a network on a data set, every example once.

    python -m resnet_keras.evaluate --model=resnet20 --weights=digits --dataset=digits
    python -m resnet_keras.evaluate --model=resnet56 --weights=runs/mine/weights.safetensors \\
        --dataset=cifar10
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from . import __version__, cli, pipelines, zoo
from .errors import InputError
from .files import write_atomically
from .pipelines import DATASETS, SPLITS

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

FLAGS = cli.new_flags()
PROTOCOL = "single view"

flags.DEFINE_string("model", "resnet20", "Zoo network.", flag_values=FLAGS)
flags.DEFINE_string(
    "weights", None, "Registered tag such as digits, or a .safetensors file.", flag_values=FLAGS
)
flags.DEFINE_enum("dataset", "digits", list(DATASETS), "Data set.", flag_values=FLAGS)
flags.DEFINE_enum("split", "test", list(SPLITS), "Examples to evaluate on.", flag_values=FLAGS)
flags.DEFINE_string(
    "data_dir", None, "Where TensorFlow Datasets keeps its files.", flag_values=FLAGS
)
flags.DEFINE_integer("batch_size", 500, "Examples evaluated at once.", 1, flag_values=FLAGS)
flags.DEFINE_enum(
    "dtype",
    "float32",
    ["float32", "mixed_bfloat16"],
    "Precision of the layers.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "results",
    None,
    "JSON file of measurements in which to write this one, in place of an older one of the same "
    "model, weights, data set and protocol.",
    flag_values=FLAGS,
)


class Errors(NamedTuple):
    """Errors in [0, 1] and the number of examples they were measured on."""

    top1: float
    top5: float
    examples: int


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return cli.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    if FLAGS.weights is None:
        raise InputError(
            "Give --weights=TAG or --weights=FILE.safetensors; an untrained network errs at random."
        )
    path = zoo.weights.resolve(zoo.networks.find(FLAGS.model).name, FLAGS.weights)
    cli.start_tensorflow()
    model = zoo.get(FLAGS.model, weights=FLAGS.weights, dtype=FLAGS.dtype)
    check_fit(model, FLAGS.dataset)
    dataset = pipelines.evaluation(
        FLAGS.dataset,
        FLAGS.split,
        FLAGS.batch_size,
        image_size=_image_size(model, FLAGS.dataset),
        data_dir=FLAGS.data_dir,
    )
    errors = measure(model, dataset)
    print(
        f"{FLAGS.model} with weights {FLAGS.weights} on {FLAGS.dataset}/{FLAGS.split}: "
        f"top-1 error {100 * errors.top1:.2f} %, top-5 error {100 * errors.top5:.2f} % "
        f"({errors.examples} examples, {PROTOCOL})"
    )
    if FLAGS.results:
        record(
            Path(FLAGS.results),
            {
                "model": FLAGS.model,
                "weights": FLAGS.weights,
                "dataset": FLAGS.dataset,
                "split": FLAGS.split,
                "protocol": PROTOCOL,
                "dtype": FLAGS.dtype,
            },
            errors,
            training=zoo.weights.read(path).training,
        )


def measure(model: "keras.Model", dataset: "tf.data.Dataset") -> Errors:
    """Returns the model's errors over all of `dataset`, ragged last batch included.

    Args:
        model: pixels to logits.
        dataset: batches of (images, int labels).
    """
    import numpy as np

    from .metrics import top1_error, top5_error

    top1, top5 = [], []
    for images, labels in dataset:
        logits = model.predict_on_batch(images)
        top1.append(np.asarray(top1_error(labels, logits)))
        top5.append(np.asarray(top5_error(labels, logits)))
    wrong1, wrong5 = np.concatenate(top1), np.concatenate(top5)
    return Errors(float(wrong1.mean()), float(wrong5.mean()), len(wrong1))


def check_fit(model: "keras.Model", dataset: str) -> None:
    """Refuses a model whose logits or pixels are not the data set's."""
    facts = pipelines.info(dataset)
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


def record(path: Path, key: dict[str, Any], errors: Errors, *, training: dict[str, Any]) -> None:
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
