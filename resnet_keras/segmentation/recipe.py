"""What a run of a segmenter is made of, from explicit arguments."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.pipelines import masks

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from resnet_keras.pipelines import maps

# Columns of metrics.csv: what Keras's logs call them.
COLUMNS = {
    name: name
    for part in ("", "val_")
    for name in (f"{part}loss", f"{part}miou", f"{part}pixel_accuracy")
}
MONITOR = ("val_miou", "max")
# Of the auxiliary head's loss: PSPNet (arXiv 1612.01105, Sec. 3.3). torchvision takes 0.5.
AUXILIARY_WEIGHT = 0.4


class Data(NamedTuple):
    """The images of a run; see `pipelines.masks.training` for each of them."""

    dataset: str
    train_split: str
    eval_split: str
    data_dir: str | None = None
    annotations: str | None = None
    exif_orientation: bool = False

    def open(self) -> "tuple[maps.LabelMaps, maps.LabelMaps]":
        """Opens the splits to train and to evaluate on, which must have the same classes.

        Raises:
            InputError: what is wrong with the data.
        """
        names = ("data_dir", "annotations", "exif_orientation")
        where = {name: getattr(self, name) for name in names}
        train = masks.open_split(self.dataset, self.train_split, **where)
        classes = train.class_names
        return train, masks.open_split(self.dataset, self.eval_split, class_names=classes, **where)


def build(
    network: str,
    weights: str | None = None,
    *,
    weights_dir: str | None = None,
    class_names: Sequence[str],
    output_stride: int | None = None,
    dtype: str | None = None,
    synchronized: bool = False,
    frozen_statistics: bool = True,
    freeze: str | None = None,
    **arguments: Any,
) -> "keras.Model":
    """Builds a segmenter, under the strategy's scope; it is yet to be compiled.

    Args:
        network: of the backbone, in the zoo.
        weights: of the backbone; None for new ones.
        weights_dir: see `zoo.get`.
        class_names: in the order of the labels.
        output_stride: of the backbone; its own without.
        dtype: the policy of the layers.
        synchronized: whether batch normalization takes its statistics over all replicas.
        frozen_statistics: whether the backbone's batch normalization becomes a scale and an offset,
            see `statistics.frozen`; with `weights` only.
        freeze: the last stage of the backbone that is not trained.
        **arguments: of `building.segmenter`.

    Raises:
        InputError: an argument is none of the above, or does not fit the others.
    """
    from resnet_keras.detection import backbones, statistics

    from . import building

    strides = {} if output_stride is None else {"output_stride": output_stride}
    backbone, frozen = backbones.build(
        network,
        weights,
        weights_dir=weights_dir,
        dtype=dtype,
        frozen_statistics=frozen_statistics,
        freeze=freeze,
        **strides,
    )
    model = building.segmenter(
        backbone, len(class_names), class_names=list(class_names), **arguments
    )
    # The head has some in any case, also on a backbone without.
    statistics.synchronize(statistics.normalizations(model), synchronized, frozen)
    return model


def compiled(
    model: "keras.Model",
    optimizer: "keras.Optimizer",
    num_classes: int,
    *,
    auxiliary_weight: float = AUXILIARY_WEIGHT,
    jit_compile: bool = False,
) -> "keras.Model":
    """Compiles a segmenter with its loss and metrics, and returns it.

    Args:
        model: with one output, or with "logits" and "auxiliary".
        optimizer: of Keras.
        num_classes: of the logits.
        auxiliary_weight: of the auxiliary output's loss.
        jit_compile: as of `compile`.
    """
    from . import losses, metrics

    loss, measures, weights = losses.PixelCrossEntropy(), metrics.ConfusionMatrix(num_classes), None
    if isinstance(model.output, dict):
        loss = {name: losses.PixelCrossEntropy(name=f"{name}_loss") for name in model.output}
        weights = {name: auxiliary_weight if name == "auxiliary" else 1.0 for name in model.output}
        measures = {"logits": [measures]}
    else:
        measures = [measures]
    model.compile(
        optimizer, loss=loss, loss_weights=weights, metrics=measures, jit_compile=jit_compile
    )
    return model


def targets_for(model: "keras.Model", batches: "tf.data.Dataset") -> "tf.data.Dataset":
    """The batches with a mask for each output of the model."""
    if not isinstance(model.output, dict):
        return batches
    names = sorted(model.output)
    count = batches.cardinality()
    import tensorflow as tf

    shared = batches.map(lambda images, masks: (images, dict.fromkeys(names, masks)))
    return shared.apply(tf.data.experimental.assert_cardinality(count))
