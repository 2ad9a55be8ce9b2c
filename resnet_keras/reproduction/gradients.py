"""What reaches the pixels and the kernels of networks, before training and after some steps.

Balduzzi, Frean, Leary, Lewis, Ma and McWilliams, *The Shattered Gradients Problem: If resnets are
the answer, then what is the question?*, arXiv 1702.08591: the gradients of plain networks at
neighbouring inputs resemble each other less and less with depth, until they are noise, and those of
residual networks far less so (Sec. 2, Fig. 2 and 3 there). He et al. (Sec. 4.1) say that the
gradients of their plain networks are healthy: the norms of the kernels' gradients are measured,
too. All of it is measured once more after the first steps of training.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras import pipelines, zoo
from resnet_keras.classification import measurements
from resnet_keras.commands import shell
from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, write_atomically

if TYPE_CHECKING:
    import keras
    import numpy as np

EXPERIMENT = "gradients"
DEPTHS = {"paper": (8, 20, 32, 56, 110), "quick": (8, 20)}
SEEDS = {"paper": (0, 1, 2), "quick": (0,)}
BATCH = 128  # images whose statistics all normalizations have
LINES, POINTS = 10, 65  # straight lines between two images each, and points on them
LAGS = 16
# Steps of training between the measurements, of `BATCH` images; the paper's rate and momentum.
STEPS, LEARNING_RATE, MOMENTUM = 100, 0.1, 0.9


class Start(NamedTuple):
    """A network that is measured before training and after `STEPS` steps of it."""

    network: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.network}-seed{self.seed}"


def starts(depths: Sequence[int], seeds: Sequence[int], scale: str) -> list[Start]:
    """Plain and residual networks of several depths, all of one seed after those of another.

    Raises:
        InputError: there is no network of a depth for small images.
    """
    names = [f"{kind}{depth}" for depth in depths or DEPTHS[scale] for kind in ("plain", "resnet")]
    for name in names:
        if zoo.networks.find(name).dataset != "cifar10":
            raise InputError(f"{name} is a network for ImageNet: depths are 8, 14, 20, 26, ...")
    return [Start(name, seed) for seed in seeds or SEEDS[scale] for name in names]


def measure(
    folder: Path, listed: Sequence[Start], dataset: str, data_dir: str | None = None
) -> None:
    """Measures what was not, and writes each as soon as it is made.

    Args:
        folder: that receives NETWORK-seedN.json.
        listed: of `starts`.
        dataset: whose training images are seen, the first of them in a shuffled order.
        data_dir: as `pipelines.arrays` takes it.
    """
    seen = list(pipelines.fingerprint(dataset, data_dir) or (dataset, ""))
    missing = []
    for start in listed:
        result = _stored(folder, start)
        if result is not None and result.get("data", seen) != seen:
            raise InputError(
                f"{folder / start.name}.json is of other data, {result['data'][0]}: name another "
                "folder."
            )
        if result is None or not _is_whole(result):
            missing.append(start)
    if not missing:
        return
    shell.announce(f"gradients of {len(missing)} network(s)")
    shell.start_tensorflow()
    import keras
    import numpy as np

    side = {"image_size": 16} if dataset == "digits" else {}
    images, labels = pipelines.arrays(dataset, "trainval", data_dir=data_dir, **side)
    chosen = np.random.default_rng(0).permutation(len(images))[:BATCH]
    known = pipelines.info(dataset, data_dir)
    for start in missing:
        keras.utils.set_random_seed(start.seed)
        shape = known.input_shape(side.get("image_size"))
        options = {"num_classes": known.num_classes, "mean": known.mean, "std": known.std}
        model = zoo.get(start.network, input_shape=shape, **options)
        before = _measured(model, images[chosen], labels[chosen])
        if not _is_finite(before):
            raise InputError(
                f"The gradients of {start.network} are too large for float32: leave its depth out."
            )
        loss = _train(model, images, labels, start.seed)
        after = _measured(model, images[chosen], labels[chosen])
        result = {
            "network": start.network,
            "seed": start.seed,
            "data": seen,
            "versions": measurements.versions(),
            **before,
            "trained": {"steps": STEPS, "loss": loss, **after},
        }
        if not (_is_finite(after) and math.isfinite(loss)):
            raise InputError(
                f"{start.name} diverged in {STEPS} steps at a learning rate of {LEARNING_RATE}: "
                "leave that seed, or its depth, out."
            )
        write_atomically(
            make_folder(folder) / f"{start.name}.json", json.dumps(result, indent=1) + "\n"
        )
        first, later = (next(iter(one["norms"].values())) for one in (before, after))
        print(
            f"[{start.name}] autocorrelation {before['autocorrelation'][1]:.2f} at a lag of 1, "
            f"gradient of the first kernel {first:.3g}; after {STEPS} steps {later:.3g}",
            flush=True,
        )
        keras.utils.clear_session()


def _measured(model, images, labels):
    return {
        "autocorrelation": autocorrelation(model, images),
        "norms": kernel_norms(model, images, labels),
    }


def _is_finite(measured):
    return all(map(math.isfinite, [*measured["autocorrelation"], *measured["norms"].values()]))


def _train(model, images, labels, seed):
    """Trains for `STEPS` steps, without augmentation or decay; returns the last ten's mean loss."""
    import keras
    import numpy as np

    generator, needed = np.random.default_rng(seed), STEPS * BATCH
    epochs = [generator.permutation(len(images)) for _ in range(-(-needed // len(images)))]
    order = np.concatenate(epochs)[:needed]
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    loss = math.nan
    for step, batch in enumerate(order.reshape(STEPS, BATCH)):
        if step == STEPS - 10:
            model.reset_metrics()  # what `train_on_batch` returns is a mean since then
        loss = model.train_on_batch(images[batch], labels[batch])
    return float(loss)


def autocorrelation(model: "keras.Model", images: "np.ndarray") -> list[float]:
    """How alike the gradients at points of a straight line from one image to another are.

    Of the first logit with respect to the pixels, at `POINTS` points on each of `LINES` lines. All
    points see the batch statistics of the images, as in training.

    Args:
        model: of `zoo.get`.
        images: pixels (batch, height, width, channels), of which pairs are the lines' ends.

    Returns:
        For each lag from 0 to `LAGS` the mean over lines of the autocorrelation of the gradients,
        less their mean over the line: 1 at a lag of 0; of white noise 0 at any other.
    """
    import numpy as np
    import tensorflow as tf

    watched = _with_statistics_of(model, images)
    sums = np.zeros(LAGS + 1)
    shares = np.linspace(0, 1, POINTS, dtype="float32")[:, None, None, None]
    for first, last in zip(images[:LINES], images[LINES : 2 * LINES], strict=True):
        points = tf.constant((1 - shares) * first.astype("float32") + shares * last)
        with tf.GradientTape() as tape:
            tape.watch(points)
            total = tf.reduce_sum(watched(points, training=False)[:, 0])
        gradients = tape.gradient(total, points).numpy().reshape(POINTS, -1).astype("float64")
        sums += _autocorrelation(gradients)
    return (sums / LINES).tolist()


def _autocorrelation(series):
    """Of a series of vectors, (points, size), by lag; pairs are averaged, as there are fewer."""
    import numpy as np

    centred = series - series.mean(axis=0)
    variance = np.mean(np.sum(centred**2, axis=1))
    pairs = [(centred[: len(centred) - lag], centred[lag:]) for lag in range(LAGS + 1)]
    if not variance:  # all gradients are equal
        return np.ones(LAGS + 1)
    return np.array([np.mean(np.sum(a * b, axis=1)) for a, b in pairs]) / variance


def _with_statistics_of(model, images):
    """The model, whose moving statistics become those of a batch."""
    normalizations = [layer for layer in model.layers if hasattr(layer, "moving_mean")]
    kept = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in zip(normalizations, kept, strict=True):
        layer.momentum = momentum
    return model


def kernel_norms(
    model: "keras.Model", images: "np.ndarray", labels: "np.ndarray"
) -> dict[str, float]:
    """The Euclidean norm of the loss's gradient with respect to each kernel, by layer, in order.

    Args:
        model: of `zoo.get`.
        images: pixels (batch, height, width, channels).
        labels: of their classes, (batch,).
    """
    import tensorflow as tf

    kernels = {layer.name: layer.kernel.value for layer in model.layers if hasattr(layer, "kernel")}
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, [*kernels.values()])
    return {
        name: float(tf.norm(gradient)) for name, gradient in zip(kernels, gradients, strict=True)
    }


def read(folder: Path, start: Start) -> dict[str, Any] | None:
    """Reads what `measure` wrote of a network; None before, or if that is of other steps.

    Raises:
        InputError: it is not what `measure` writes.
    """
    result = _stored(folder, start)
    return result if result is not None and _is_whole(result) else None


def _is_whole(result):
    """Whether the training is there that earlier versions did not have."""
    return result.get("trained", {}).get("steps") == STEPS


def _stored(folder, start):
    path = folder / f"{start.name}.json"
    try:
        result = json.loads(path.read_text())
        parts = [result, *([result["trained"]] if "trained" in result else [])]
        if any(len(p["autocorrelation"]) != LAGS + 1 or not _is_finite(p) for p in parts):
            raise ValueError("numbers are missing")
        if len(parts) == 2 and not math.isfinite(parts[1]["loss"]):
            raise ValueError("the loss is no number")
        return result
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{path} cannot be used: remove it ({error}).") from error


def by_network(results: Mapping[Start, Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """What was measured, by the name of the network, in the order of its seeds."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for start, result in results.items():
        grouped.setdefault(start.network, []).append(result)
    return grouped
