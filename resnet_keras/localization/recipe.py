"""What a run of a localizer is made of, from explicit arguments."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras import zoo
from resnet_keras.detection import recipe as detection
from resnet_keras.pipelines import main_objects

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from resnet_keras.pipelines import scenes

    from .localizer import Localizer
    from .rcnn import RCNN

# Columns of metrics.csv: what Keras's logs call them.
COLUMNS = {
    "loss": "loss",
    "class_loss": "class_loss",
    "object_loss": "object_loss",
    "box_loss": "box_loss",
    "val_localization_error": "val_localization_error",
    "val_true_class_error": "val_true_class_error",
    "val_class_error": "val_class_error",
}
MONITOR = ("val_localization_error", "min")
LONGER = 2  # times the shorter side: the most that a training image's longer side is


def streams(
    data: detection.Data,
    strategy: "tf.distribute.Strategy",
    *,
    crop: int,
    scales: Sequence[tuple[int, int]],
    **sizes: int,
) -> "tuple[scenes.Scenes, Callable[[int], tf.data.Dataset], tf.data.Dataset]":
    """What is trained on, its batches from a step on, and the evaluation's: this worker's share.

    Args:
        data: the images; `data.scale` is the evaluation's.
        strategy: whose replicas share a batch.
        crop: side of the crops.
        scales: of training images before the crop, see `pipelines.objects.training`; none takes
            the evaluation's.
        **sizes: `batch_size`, `eval_batch_size`, `seed` and `max_corrupt` of `detection.streams`.

    Raises:
        InputError: what is wrong with the data, shown by a first batch.
    """
    source, _, train, test = detection.streams(
        data,
        strategy,
        scales=scales,
        training_of=functools.partial(main_objects.training_of, crop=crop),
        evaluation_of=main_objects.evaluation_of,
        **sizes,
    )
    return source, train, test


def build(
    network: str,
    weights: str | None = None,
    *,
    weights_dir: str | None = None,
    class_names: Sequence[str],
    dtype: str | None = None,
    frozen_statistics: bool = True,
    freeze: str | None = None,
    sync_batch_norm: bool = False,
    **arguments: Any,
) -> "Localizer":
    """Builds a localizer, under the strategy's scope; it is yet to be compiled.

    Args:
        network: of the backbone, in the zoo.
        weights: of the backbone; None for new ones. Where they are of as many classes, the
            classifier begins with theirs; else anew, which is printed.
        weights_dir: see `zoo.get`.
        class_names: in the order of the labels.
        dtype: the policy of the layers.
        frozen_statistics: whether the backbone's batch normalization becomes a scale and an offset,
            with `weights` only.
        freeze: the last stage of the backbone that is not trained.
        sync_batch_norm: whether batch statistics are taken over all replicas.
        **arguments: of `Localizer`.

    Raises:
        InputError: an argument is none of the above, or does not fit the others.
    """
    from resnet_keras.detection import backbones, statistics

    from .localizer import Localizer

    backbone, frozen = backbones.build(
        network,
        weights,
        weights_dir=weights_dir,
        dtype=dtype,
        frozen_statistics=frozen_statistics,
        freeze=freeze,
    )
    model = Localizer(backbone, len(class_names), class_names=list(class_names), **arguments)
    if weights is not None:
        _take_classifier(model, network, weights, weights_dir)
    statistics.synchronize(of_the_batch(model), sync_batch_norm, frozen)
    return model


def _take_classifier(model, network, weights, weights_dir):
    """Gives the classifier the pre-trained one's weights, if that is of as many classes."""
    whole = zoo.get(network, weights=weights, weights_dir=weights_dir)
    logits = whole.layers[-1]
    own = [tuple(value.shape) for value in model.classifier.get_weights()]
    if [tuple(value.shape) for value in logits.get_weights()] == own:
        model.classifier.set_weights(logits.get_weights())
    else:
        print(
            f"The classifier of {model.num_classes} classes starts anew: {network}'s weights are "
            f"of {whole.output.shape[-1]} classes."
        )


def build_rcnn(
    localizer: "Localizer",
    network: str | None = None,
    weights: str | None = None,
    *,
    weights_dir: str | None = None,
    dtype: str | None = None,
    frozen_statistics: bool = True,
    freeze: str | None = None,
    sync_batch_norm: bool = False,
    **arguments: Any,
) -> "RCNN":
    """Builds an R-CNN on a trained localizer, under the strategy's scope.

    Args:
        localizer: whose boxes it looks at; not compiled, or its optimizer is saved, too.
        network: of its own backbone; None takes a copy of the localizer's, with its weights.
        weights: see `build`, like all that is not told here.
        weights_dir: see there.
        dtype: see there.
        frozen_statistics: see there.
        freeze: see there.
        sync_batch_norm: see there.
        **arguments: of `RCNN`.
    """
    from resnet_keras.detection import backbones, statistics

    from .rcnn import RCNN

    backbone, frozen = None, False
    if network is not None:
        backbone, frozen = backbones.build(
            network,
            weights,
            weights_dir=weights_dir,
            dtype=dtype,
            frozen_statistics=frozen_statistics,
            freeze=freeze,
        )
    model = RCNN(localizer, backbone, **arguments)
    statistics.synchronize(of_the_batch(model), sync_batch_norm, frozen)
    return model


def of_the_batch(model: "Localizer | RCNN") -> "list[keras.layers.BatchNormalization]":
    """Batch normalizations that take the statistics of each batch of training."""
    from resnet_keras.detection import statistics

    return [layer for layer in statistics.normalizations(model.backbone) if layer.trainable]
