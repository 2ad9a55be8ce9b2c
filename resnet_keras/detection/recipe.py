"""What a run of a detector is made of, from explicit arguments."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.pipelines import objects

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from resnet_keras.pipelines import scenes

    from .faster_rcnn import FasterRCNN

# Columns of metrics.csv: what Keras's logs call them.
COLUMNS = {
    "loss": "loss",
    "rpn_class_loss": "rpn_class_loss",
    "rpn_box_loss": "rpn_box_loss",
    "class_loss": "class_loss",
    "box_loss": "box_loss",
    "val_ap": "val_ap",
    "val_ap50": "val_ap50",
    "val_ap75": "val_ap75",
}
MASK_COLUMNS = {
    name: name for name in ("mask_loss", "val_mask_ap", "val_mask_ap50", "val_mask_ap75")
}
MONITOR = ("val_ap", "max")
MASK_MONITOR = ("val_mask_ap", "max")


class Data(NamedTuple):
    """The images of a run; see `pipelines.objects.training` for each of them.

    `eval_dataset` is the data set of `eval_split`; None takes `dataset`. With `masks` objects have
    masks.
    """

    dataset: str
    train_split: str
    eval_split: str
    data_dir: str | None = None
    annotations: str | None = None
    exif_orientation: bool = False
    max_faulty: int = 0
    scale: tuple[int, int] | None = None
    eval_dataset: str | None = None
    masks: bool = False

    def open(self) -> "tuple[scenes.Scenes, scenes.Scenes]":
        """Opens the splits to train and to evaluate on, which must have the same classes.

        Raises:
            InputError: what is wrong with the data.
        """
        names = ("data_dir", "annotations", "exif_orientation", "max_faulty", "masks")
        where = {name: getattr(self, name) for name in names}
        train = objects.open_split(self.dataset, self.train_split, **where)
        classes = train.class_names
        tested = self.eval_dataset or self.dataset
        return train, objects.open_split(tested, self.eval_split, class_names=classes, **where)


def streams(
    data: Data,
    strategy: "tf.distribute.Strategy",
    *,
    batch_size: int,
    eval_batch_size: int,
    seed: int = 0,
    max_corrupt: int = 100,
    scales: Sequence[tuple[int, int]] | None = None,
    training_of: Callable = objects.training_of,
    evaluation_of: Callable = objects.evaluation_of,
) -> "tuple[scenes.Scenes, scenes.Scenes, Callable[[int], tf.data.Dataset], tf.data.Dataset]":
    """What is trained and evaluated on, and batches of both: this worker's share.

    Those of training are from a step on.

    Args:
        data: the images.
        strategy: whose replicas share a batch.
        batch_size: of training, over all replicas.
        eval_batch_size: images evaluated at once, over all replicas.
        seed: of the order and of every draw.
        max_corrupt: how many images that cannot be decoded are left out.
        scales: of training images, see `pipelines.objects.training`; none takes the evaluation's.
        training_of: makes batches of training of a source, as `pipelines.objects.training_of`.
        evaluation_of: the same of the evaluation.

    Raises:
        InputError: what is wrong with the data, shown by a first batch.
    """
    from resnet_keras.training import replicas

    shard = tuple(replicas.workers(strategy))
    source, tested = data.open()

    @functools.cache  # a new run's first batches are those that were tried below
    def train(start_step: int) -> "tf.data.Dataset":
        return training_of(
            source,
            batch_size,
            seed=seed,
            start_step=start_step,
            scales=scales or (data.scale and [data.scale]),
            max_corrupt=max_corrupt,
            shard=shard,
            device=None,  # the strategy brings batches to the devices
        )

    train(0)  # what is wrong with the data shows before anything is written
    test = evaluation_of(
        tested,
        eval_batch_size,
        scale=data.scale,
        replicas=strategy.num_replicas_in_sync,
        shard=shard,
        device=None,
    )
    return source, tested, train, test


def build(
    network: str,
    weights: str | None = None,
    *,
    weights_dir: str | None = None,
    class_names: Sequence[str],
    scale: tuple[int, int],
    dtype: str | None = None,
    frozen_statistics: bool = True,
    freeze: str | None = None,
    sync_batch_norm: bool = False,
    masks: bool = False,
    **arguments: Any,
) -> "FasterRCNN":
    """Builds a detector, under the strategy's scope; it is yet to be compiled.

    Args:
        network: of the backbone, in the zoo.
        weights: of the backbone; None for new ones.
        weights_dir: see `zoo.get`.
        class_names: of the objects.
        scale: (shorter side, most of the longer side) of the images.
        dtype: the policy of the layers.
        frozen_statistics: whether the backbone's batch normalization becomes a scale and an offset,
            see `statistics.frozen`; with `weights` only.
        freeze: the last stage of the backbone that is not trained.
        sync_batch_norm: whether batch statistics are taken over all replicas; for detectors that
            have some.
        masks: whether it is a `MaskRCNN`.
        **arguments: of `FasterRCNN`.

    Raises:
        InputError: an argument is none of the above, or does not fit the others.
    """
    from . import backbones, statistics
    from .faster_rcnn import FasterRCNN
    from .mask_rcnn import MaskRCNN

    backbone, frozen = backbones.build(
        network,
        weights,
        weights_dir=weights_dir,
        dtype=dtype,
        frozen_statistics=frozen_statistics,
        freeze=freeze,
        endpoints=backbones.endpoints(network, arguments.get("neck", "c4")),
    )
    model = (MaskRCNN if masks else FasterRCNN)(
        backbone, len(class_names), class_names=list(class_names), scale=list(scale), **arguments
    )
    statistics.synchronize(of_the_batch(model), sync_batch_norm, frozen)
    return model


def of_the_batch(model: "FasterRCNN") -> "list[keras.layers.BatchNormalization]":
    """A detector's batch normalizations that take the statistics of each batch of training."""
    from . import statistics

    parts = (model.backbone, model.neck, model.box_head, getattr(model, "mask_head", None))
    parts = (part for part in parts if part is not None)
    return [layer for layer in statistics.normalizations(*parts) if layer.trainable]


def changes(items: Sequence[str]) -> Mapping[str, Any]:
    """Settings of a detector from NAME=NUMBER, or NAME=NUMBER/NUMBER for those of several.

    Raises:
        InputError: it is none of that form.
    """
    result: dict[str, Any] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values = [_number(part) for part in text.split("/")]
        except ValueError as error:
            raise InputError(
                f"settings are NAME=NUMBER, or NAME=NUMBER/NUMBER for several, not {item!r}."
            ) from error
        result[name] = tuple(values) if len(values) > 1 else values[0]
    return result


def _number(text):
    return int(text) if text.lstrip("-").isdigit() else float(text)
