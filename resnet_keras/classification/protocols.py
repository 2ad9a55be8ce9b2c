"""The paper's test protocols: how images are shown to a network whose errors are measured.

    protocol = protocols.of_photographs("ten_crop", file.preprocessing, file.model)
    scores = protocols.score_ensemble([(network, file)], [protocol], "imagenet2012", "val")

single_crop is the centre of the image, its shorter side resized; ten_crop the corners, the centre
and their mirror images, softmax scores averaged; multi_scale is fully convolutional at several
scales, scores averaged over positions, mirror images and scales. Data sets in memory have a single
view, their images as they are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resnet_keras import pipelines, zoo
from resnet_keras.errors import InputError

from .scores import Errors, Scores, average, count_errors, log_softmax, logarithms

if TYPE_CHECKING:
    import keras

SINGLE_CROP, TEN_CROP, MULTI_SCALE = "single_crop", zoo.paper.TEN_CROP, zoo.paper.MULTI_SCALE
PROTOCOLS = (SINGLE_CROP, TEN_CROP, MULTI_SCALE)
SCALES = (224, 256, 384, 480, 640)  # Sec. 3.4


class Protocol(NamedTuple):
    """How images are shown to a network.

    Attributes:
        name: one of `PROTOCOLS`, or "single view" for images in memory, which have no more.
        preprocessing: of photographs; of multi_scale, all but `resize`.
        scales: lengths of the shorter side, of multi_scale only.
    """

    name: str = zoo.paper.SINGLE_VIEW
    preprocessing: zoo.Preprocessing | None = None
    scales: tuple[int, ...] = ()

    @property
    def input_shape(self) -> tuple[int | None, int | None, int] | None:
        """What images a model is built for; None for its own, where there is one size only."""
        if self.preprocessing is None:
            return None
        side = None if self.name == MULTI_SCALE else self.preprocessing.image_size
        return (side, side, 3)

    def facts(self) -> dict[str, Any]:
        """The protocol as measurements record it."""
        shown = self.preprocessing
        if shown is None:
            return {"protocol": self.name}
        sides = {"scales": [*self.scales]} if self.name == MULTI_SCALE else {"resize": shown.resize}
        # What is as ever is left out, for records made before these could be said.
        usual = zoo.Preprocessing()._asdict()
        modes = {key: getattr(shown, key) for key in ("crop_mode", "antialias")}
        return {
            "protocol": self.name,
            "image_size": shown.image_size,
            **sides,
            "interpolation": shown.interpolation,
            **{key: mode for key, mode in modes.items() if mode != usual[key]},
        }


def of_photographs(
    name: str, preprocessing: zoo.Preprocessing, model: str, scales: Sequence[int] = SCALES
) -> Protocol:
    """A protocol for photographs.

    Args:
        name: one of `PROTOCOLS`.
        preprocessing: as the weights, or the user, say.
        model: what errors call the network.
        scales: of multi_scale.

    Raises:
        InputError: the network was not made for such a protocol.
    """
    if preprocessing.crop_mode != "centre" and name != SINGLE_CROP:
        raise InputError(
            f"{name} is of images in their proportions, and {model} was made for stretched ones: "
            f"take protocol={SINGLE_CROP}, or say crop=centre."
        )
    if name != MULTI_SCALE:
        return Protocol(name, preprocessing)
    size = preprocessing.image_size
    if min(scales, default=0) < size:
        raise InputError(
            f"scales must be {size} or more, for {model} was made for images of side {size}."
        )
    return Protocol(name, preprocessing, tuple(scales))


def score_ensemble(
    classifiers: "Sequence[tuple[zoo.networks.Network, zoo.weights.WeightsFile]]",
    protocols: Sequence[Protocol],
    dataset: str,
    split: str,
    *,
    dtype: str | None = None,
    **options: Any,
) -> Scores:
    """Builds networks with their weights, one at a time, and averages their softmax scores.

    Args:
        classifiers: as `zoo.weights.find` gives them; one or more.
        protocols: how each of them is shown the images.
        dataset: of `pipelines`.
        split: of the data set.
        dtype: the policy of the layers.
        **options: of `score`.

    Raises:
        InputError: a network does not fit the data set, or what `pipelines` raises.
    """

    def members():
        for (network, file), protocol in zip(classifiers, protocols, strict=True):
            shape = {"input_shape": protocol.input_shape} if protocol.input_shape else {}
            model = zoo.build(network, file, dtype=dtype, **shape)
            yield score_model(model, protocol, dataset, split, **options)

    return average(members())


def score_model(
    model: "keras.Model", protocol: Protocol, dataset: str, split: str, **options: Any
) -> Scores:
    """`score`, of a model that may not fit the data set.

    Raises:
        InputError: it does not, or what `pipelines` raises.
    """
    check_fit(model, dataset, options.get("data_dir"))
    return score(model, protocol, dataset, split, **options)


def score(
    model: "keras.Model",
    protocol: Protocol,
    dataset: str,
    split: str,
    *,
    batch_size: int = 100,
    data_dir: str | None = None,
    exif_orientation: bool | None = None,
) -> Scores:
    """Scores every example of a split by a protocol.

    Args:
        model: pixels to logits, built for `protocol.input_shape`; but for multi_scale, anything
            that has its `name`, `input_shape`, `output_shape` and `predict_on_batch`.
        protocol: how it is shown the images.
        dataset: of `pipelines`.
        split: of the data set.
        batch_size: crops at once.
        data_dir: where the data set is, see `pipelines.info`.
        exif_orientation: of photographs; without, the data set's usual way, but as Keras's loader
            leaves them for a network that was trained on that.
    """
    shown = protocol.preprocessing
    if exif_orientation is None and shown is not None and not shown.heeds_exif:
        exif_orientation = False
    source = {"data_dir": data_dir, "exif_orientation": exif_orientation}
    if shown is not None and protocol.name == MULTI_SCALE:
        return multi_scale_scores(
            fully_convolutional(model, shown.image_size),
            pipelines.open_split(dataset, split, **source),
            protocol.scales,
            pixels_per_batch=batch_size * shown.image_size**2,
            interpolation=shown.interpolation,
            antialias=shown.antialias,
        )
    if shown is None:
        views: dict[str, Any] = {"image_size": _own_side(model, dataset, data_dir)}
    elif protocol.name == TEN_CROP:
        views, batch_size = {**shown._asdict(), "crops": "ten"}, max(1, batch_size // 10)
    else:
        views = {**shown._asdict(), "crops": "centre"}
    # `predict_on_batch` moves what it needs to the device.
    examples = pipelines.evaluation(dataset, split, batch_size, device=None, **views, **source)
    return crop_scores(model, examples)


def _own_side(model, dataset, data_dir):
    """The side the model was built for, where the data set can be resized to it."""
    side = model.input_shape[1] or getattr(model, "image_size", None)  # of an exported model
    return side if side is not None and pipelines.info(dataset, data_dir).resizable else None


def measure(model: "keras.Model", dataset) -> Errors:
    """Returns the model's errors over all of `dataset`; arguments as for `crop_scores`."""
    return count_errors(crop_scores(model, dataset))


def crop_scores(model: "keras.Model", dataset) -> Scores:
    """Scores every example of `dataset`, the ragged last batch included.

    Args:
        model: pixels to logits.
        dataset: batches of (images, int labels); images are (batch, height, width, channels), or
            (batch, crops, height, width, channels), whose crops' softmax shares are averaged, or
            series (batch, length, channels).
    """
    log_shares, labels = [], []
    for images, batch_labels in dataset:
        images = np.asarray(images)
        flat = images.reshape(-1, *images.shape[-3:]) if images.ndim == 5 else images
        of_crops = log_softmax(np.asarray(model.predict_on_batch(flat)))
        if images.ndim == 5:
            shares = np.exp(of_crops).reshape(*images.shape[:2], -1)
            log_shares.append(logarithms(shares.mean(axis=1)))
        else:
            log_shares.append(of_crops)
        labels.append(np.asarray(batch_labels))
    return Scores(np.concatenate(log_shares), np.concatenate(labels))


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

    from resnet_keras.networks.blocks import CHANNELS_LAST

    if any(layer.name == "fc6" for layer in model.layers):
        raise InputError(
            f"{model.name} has hidden layers, and is not tested as a fully convolutional network "
            "here: take another protocol."
        )
    features = model.get_layer("avg_pool").input
    window = keras.Model(model.input, features).compute_output_shape(
        (1, image_size, image_size, 3)
    )[1]
    pooling = keras.layers.AveragePooling2D(
        window, strides=1, data_format=CHANNELS_LAST, name="sliding_pool"
    )
    pooled = pooling(features)
    for layer in model.layers:
        if layer.name == "maxout":
            pooled = layer(pooled)
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
        pixels_per_batch: so many, of images that have one size.
        interpolation: of resizing.
        antialias: whether an image that shrinks is smoothed.
    """
    from resnet_keras.pipelines import encoded, stream

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
    return Scores(logarithms(total / (2 * len(scales))), labels)


def check_names(class_names: Sequence[str] | None, dataset: str, data_dir: str | None) -> None:
    """Refuses weights whose classes are not those of series' data, or in another order.

    Raises:
        InputError: as said.
    """
    names = pipelines.info(dataset, data_dir).class_names
    if class_names is not None and names is not None and tuple(class_names) != tuple(names):
        raise InputError(
            f"The weights are of the classes {', '.join(class_names)}, and {dataset} has "
            f"{', '.join(names)}: take data with the same classes in the same order."
        )


def check_order(own: Sequence[str] | None, names: Sequence[str] | None) -> str | None:
    """Refuses classes of which the data have some at other places, whose errors would mean nothing.

    Args:
        own: names of a model's classes, if they are known.
        names: of the data's.

    Returns:
        What to say of other names, which may be other words for the same classes.

    Raises:
        InputError: as said.
    """
    if own is None or names is None or len(own) != len(names):
        return None
    names = [zoo.entry.imagenet_name(name) for name in names]
    other = [
        (name in own, f"class {place} of the model is {mine!r}, and of the data {name!r}")
        for place, (mine, name) in enumerate(zip(own, names, strict=True))
        if name != mine
    ]
    for is_elsewhere, said in other:
        if is_elsewhere:
            raise InputError(f"The data have the classes in another order: {said}.")
    return f"{other[0][1]}: they are taken for the same" if other else None


def check_fit(model: "keras.Model", dataset: str, data_dir: str | None = None) -> None:
    """Refuses a model whose logits or pixels are not the data set's.

    Raises:
        InputError: as said.
    """
    facts = pipelines.info(dataset, data_dir)
    classes, side = facts.num_classes, model.input_shape[1]
    if facts.series:
        own, theirs = model.input_shape[1:], facts.input_shape()
        if own[1] != theirs[1] or own[0] not in (None, theirs[0]):
            raise InputError(
                f"{model.name} takes series of shape {own} (length, channels) and {dataset} has "
                f"{theirs}: take weights that were trained on it."
            )
    elif not facts.resizable and side not in (None, facts.image_size):
        raise InputError(
            f"{model.name} takes images of side {side} and {dataset} has {facts.image_size}: "
            "take weights that were trained on it."
        )
    if model.output_shape[-1] != classes:
        raise InputError(
            f"{model.name} has {model.output_shape[-1]} classes and {dataset} has {classes}: "
            "take weights that were trained on it."
        )
