"""What a run of the paper's training is made of, from explicit arguments.

data = Data("digits", "trainval", "test", image_size=16)
train, test = streams(data, strategy, batch_size=64)
model = build(network, None, model_options(data.dataset, data.train_split))
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras import pipelines, zoo
from resnet_keras.errors import InputError

from . import teachers

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

MIB = 2**20


class Data(NamedTuple):
    """The images of a run; see `pipelines.training` for each of them."""

    dataset: str
    train_split: str
    eval_split: str
    image_size: int | None = None
    data_dir: str | None = None
    exif_orientation: bool | None = None

    @property
    def series(self) -> bool:
        """Whether they are no images, but time series."""
        return pipelines.is_series(self.dataset)

    @property
    def in_memory(self) -> bool:
        """Whether they are no encoded photographs."""
        return pipelines.info(self.dataset, self.data_dir).in_memory


def streams(
    data: Data,
    strategy: "tf.distribute.Strategy",
    *,
    batch_size: int,
    eval_batch_size: int = 500,
    accumulate_steps: int = 1,
    seed: int = 0,
    view: "pipelines.View | None" = None,
    padding: int | None = None,
    flip: bool | None = None,
    max_corrupt: int = 100,
    services: Sequence[str] = (),
    eval_resize: int | None = None,
    interpolation: str = "bilinear",
    threads: int | None = None,
    ram_budget: int | None = None,
) -> "tuple[Callable[[int], tf.data.Dataset], tf.data.Dataset]":
    """The batches of a run, for `training.fit`.

    Args:
        data: the images.
        strategy: whose replicas share a batch.
        batch_size: of training, over all replicas.
        eval_batch_size: examples evaluated at once.
        accumulate_steps: parts in which a batch of training is delivered.
        seed: of the order and of every random draw.
        view: how photographs are augmented; the paper's way without.
        padding, flip: how small images in memory are, see `pipelines.training`.
        max_corrupt: how many images that cannot be decoded are replaced.
        services: hosts that make the batches of training, see `pipelines.training`.
        eval_resize: shorter side of photographs before the centre crop of an evaluation.
        interpolation: of that.
        threads: of a pool of its own.
        ram_budget: MiB for prefetched batches.

    Returns:
        A function from the first step to the training batches, and the evaluation's batches.

    Raises:
        InputError: what is wrong with the data, shown by a first batch.
    """
    from resnet_keras.training import replicas

    shared: dict[str, Any] = {
        "image_size": data.image_size,
        "data_dir": data.data_dir,
        "exif_orientation": data.exif_orientation,
        "shard": tuple(replicas.workers(strategy)),
        "device": None,  # the strategy brings batches to the devices
        "threads": threads,
        "ram_budget": ram_budget and ram_budget * MIB,
    }
    check_evaluation(data.dataset, data.image_size, eval_resize)

    @functools.cache  # a new run's first batches are those that were tried below
    def train(start_step: int) -> "tf.data.Dataset":
        return pipelines.training(
            data.dataset,
            data.train_split,
            batch_size,
            seed=seed,
            start_step=start_step,
            parts=accumulate_steps,
            max_corrupt=max_corrupt,
            services=services,
            view=view,
            padding=padding,
            flip=flip,
            **shared,
        )

    train(0)  # what is wrong with the data shows before anything is written
    protocol: dict[str, Any] = {} if data.in_memory else {"interpolation": interpolation}
    if eval_resize:
        protocol["resize"] = eval_resize
    test = pipelines.evaluation(
        data.dataset,
        data.eval_split,
        eval_batch_size,
        replicas=strategy.num_replicas_in_sync,
        **protocol,
        **shared,
    )
    return train, test


def check_evaluation(dataset: str, image_size: int | None, eval_resize: int | None) -> None:
    """Raises `InputError` for an evaluation that resizes pixels in memory, or to less than a crop.

    Args:
        dataset: of `pipelines`.
        image_size: side of the crop; None for the data set's own.
        eval_resize: shorter side before the crop; None for its usual one.
    """
    if eval_resize is None:
        return
    pipelines.check_images(dataset, f"eval_resize={eval_resize}")
    if pipelines.is_in_memory(dataset):
        raise InputError(f"{dataset} is evaluated as it is, without eval_resize.")
    side = image_size or pipelines.View().image_size
    if eval_resize < side:
        raise InputError(
            f"Crops of side {side} (image_size) do not fit a shorter side of "
            f"eval_resize={eval_resize}: take eval_resize={pipelines.test_side(side)}."
        )


def preprocessing(
    data: Data, size: int, *, eval_resize: int | None = None, interpolation: str = "bilinear"
) -> zoo.Preprocessing | None:
    """How the evaluation of a run sees images of side `size`, for whoever uses its weights.

    None for series, which are shown as they are.
    """
    if data.series:
        return None
    if data.in_memory:
        return zoo.Preprocessing(size, size)
    return zoo.Preprocessing(size, eval_resize or pipelines.view.test_side(size), interpolation)


def build(
    network: "zoo.networks.Network",
    file: "zoo.weights.WeightsFile | None",
    options: Mapping[str, Any],
    *,
    dtype: str | None = None,
    norm_layer: str | None = None,
    sync_batch_norm: bool = False,
    stochastic_depth: float = 0.0,
    dropout: float = 0.0,
    block_dropout: float = 0.0,
    freeze: str | None = None,
    remat: bool = False,
) -> "keras.Model":
    """Builds a network for training, under the strategy's scope; it is yet to be compiled.

    Args:
        network: a row of the zoo.
        file: weights to begin with, as `zoo.weights.find` opens them; None for new ones.
        options: of `options_for`.
        dtype: the policy of the layers.
        norm_layer: `normalization` of `zoo.get`; None for "batch", or what the weights have.
        sync_batch_norm: whether batch statistics are taken over all replicas.
        stochastic_depth: rate at which the last block drops its residual branch.
        dropout: rate at which features are dropped before the logits.
        block_dropout: rate at which they are dropped in each block of a ResNet of the paper's, a
            wide network or a DenseNet.
        freeze: the last stage that is not trained.
        remat: whether blocks are computed again for their gradients.
    """
    training_only = {
        "stochastic_depth": stochastic_depth,
        "dropout": dropout,
        "block_dropout": block_dropout,
    }
    own = {"dropout"} if network.family.head else set()  # VGG's own rate is not 0
    normalization = {"normalization": norm_layer} if norm_layer else {}
    model = zoo.build(
        network,
        file,
        dtype=dtype,
        synchronized=sync_batch_norm,
        **normalization,
        **{name: rate for name, rate in training_only.items() if rate or name in own},
        **options,
    )
    if freeze:
        zoo.freeze(model, freeze)
    if remat:
        from resnet_keras.networks import rematerialize

        model = rematerialize.rematerialize(model)
    return model


def taught(
    student: "keras.Model",
    teacher: teachers.Teacher,
    *,
    dtype: str | None = None,
    distill: float = teachers.DISTILL,
    temperature: float = teachers.TEMPERATURE,
) -> "keras.Model":
    """Builds a teacher, and the model that trains a student by it; under the strategy's scope.

    Args:
        student: of `build`.
        teacher: of `teachers.find`.
        dtype: the policy of its layers.
        distill, temperature: see `distilled`.
    """
    from .distillation import distilled

    network = zoo.build(
        teacher.network, teacher.file, dtype=dtype, input_shape=student.input_shape[1:]
    )
    return distilled(student, network, distill=distill, temperature=temperature)


def options_for(
    file: "zoo.weights.WeightsFile | None", options: Mapping[str, Any]
) -> dict[str, Any]:
    """What of `model_options` a network is built with; weights have their own normalization."""
    if file is None:
        return dict(options)
    new_head = {"include_top": True}  # where the weights have none
    return {k: v for k, v in options.items() if k not in ("mean", "std")} | new_head


def save(
    path: Path,
    model: "keras.Model",
    *,
    training: Mapping[str, Any],
    preprocessing: zoo.Preprocessing | None,
    class_names: Sequence[str] | None,
) -> None:
    """Writes PATH.safetensors, which `zoo.get(name, weights=PATH)` loads.

    Args:
        path: without the ending.
        model: trained; of one of `distilled`, the student is written.
        training: how, for the file's header, which adds the steps.
        preprocessing: how the network is shown images.
        class_names: in the order of the labels, where they have names.
    """
    from keras import ops

    from .distillation import student_of

    steps = int(ops.convert_to_numpy(model.optimizer.iterations))
    zoo.weights.save(
        f"{path}.safetensors",
        student_of(model),
        training={**training, "steps": steps},
        preprocessing=preprocessing,
        class_names=class_names,
    )
