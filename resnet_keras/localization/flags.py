"""The flags of `resnet_keras.localization.train`, `evaluate` and `predict`."""

from typing import TYPE_CHECKING, Any

from absl import flags

from resnet_keras.commands import runs, training_groups
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.commands.shared_flags import whole_numbers
from resnet_keras.detection import flags as detection
from resnet_keras.detection.recipe import Data
from resnet_keras.errors import InputError
from resnet_keras.pipelines import objects, shapes
from resnet_keras.training import limits

from . import protocols, recipe

if TYPE_CHECKING:
    from .localizer import Localizer

# Flags that decide nothing: a run goes on with other values.
FREE = {
    *("checkpoint_every", "cluster", "data_dir", "keep_checkpoints", "tensorboard", "weights_dir"),
}
# Of a localizer, and so no flags of an R-CNN, which has its localizer's.
LOCALIZERS = ("endpoint", "anchor_sizes", "anchor_ratios", "samples", "overlaps", "top")


def define_data(values: flags.FlagValues, dataset: str | None) -> Group:
    """Defines --dataset, --data_dir, --scale and more; returns their group."""
    group = Group(values, "Data")
    group.text(
        "dataset",
        dataset,
        "Name such as main_shapes or ilsvrc. main_shapes is made here; ilsvrc is ImageNet's folder "
        "with the XML of its localization task; shapes, voc, coco, tfds/coco/YEAR and "
        "tfds/voc/YEAR do as well.",
    )
    group.path("data_dir", "The data set's folder, or TensorFlow Datasets' own.", local=False)
    group.items(
        "scale",
        [],
        "Shorter side and the most of the longer one, in tests. Such as 256,512; of images that "
        "are made here, their own.",
    )
    group.switch("exif_orientation", False, "Turn photographs upright as EXIF says.")
    group.whole("max_faulty", 0, "Objects with faulty boxes that are left out at most.", 0)
    return group


def train_flags() -> flags.FlagValues:
    """The flags of `train`."""
    values = new_flags(recipes="localization")
    training_groups.define_run(values, batch_size=256, eval_batch_size=16)
    model = training_groups.define_backbone(values, None)
    model.text("endpoint", None, "Stage that boxes are proposed on. Without the flag, the last.")
    model.items("anchor_sizes", ["64", "128", "256"], "Sides of the anchors in pixels.")
    model.items("anchor_ratios", ["0.5", "1", "2"], "Heights over widths of the anchors.")
    model.whole("samples", 8, "Anchors of an image that are trained on. Half are positive.", 2)
    model.items("overlaps", ["0.7", "0.3"], "IoU from which an anchor is positive, and negative.")
    model.whole("top", 5, "Classes that count for the localization error. ILSVRC's is 5.", 1)
    rcnn = Group(values, "R-CNN")
    rcnn.path(
        "localizer",
        "Localizer on whose boxes an R-CNN is trained. A run, or a .keras file; without --model, "
        "R-CNN begins as a copy of its network.",
    )
    rcnn.whole("side", 224, "Side of the warped regions in pixels.", 1)
    rcnn.whole("proposals", 200, "Boxes of the localizer, for each class.", 1)
    rcnn.whole("rois", 1, "Boxes of an image that a step trains on.", 1)
    data = define_data(values, "main_shapes")
    data.whole("crop", 224, "Side of the random crops of training in pixels.", 1)
    data.items("train_scales", [], "Shorter sides that training draws from. Before the crop.")
    data.split("train_split", "Split to train on.", "train")
    data.split("eval_split", "Split to evaluate on.", "val")
    data.whole("max_corrupt", 100, "Broken images that are left out at most.", 0)
    training_groups.define_optimizer(values, schedules=["step", "cosine"], learning_rate=0.001)
    training_groups.define_speed(values, "Boxes and losses")
    devices = training_groups.define_devices(values)
    devices.switch("sync_batch_norm", False, "Take batch statistics over all replicas.")
    return values


def check_train(values: flags.FlagValues) -> None:
    """Refuses flags of `train` that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    check_dataset(values["dataset"].value)
    replicas = max(runs.check_workers(values), values["logical_cpus"].value)
    limits.check_batch(values["batch_size"].value, replicas)  # GPUs are not known yet
    limits.check_schedule(
        values["schedule"].value,
        boundaries=whole_numbers("boundaries", values["boundaries"].value),
        **runs.given(values, "train_steps", "warmup_steps"),
    )
    if not values["model"].value and not values["localizer"].value:
        raise InputError("Give --model=NETWORK, or --localizer=RUN to train an R-CNN on its boxes.")
    if values["weights"].value and not values["model"].value:
        raise InputError("--weights are of a --model: name it.")
    if values["freeze"].value and not values["weights"].value:
        raise InputError("--freeze is for backbones with --weights.")
    detection.scale_of(values)
    scales_of(values)
    if values["localizer"].value:
        _check_rcnn(values)
    else:
        model_arguments(values)


def _check_rcnn(values):
    """Refuses flags that an R-CNN does not heed."""
    told = [f"--{name}" for name in LOCALIZERS if values[name].present]
    if told:
        raise InputError(
            f"{' and '.join(told)}: with --localizer, these are the localizer's; leave them out."
        )


def leave_out(values: flags.FlagValues) -> None:
    """Takes the flags that an R-CNN does not heed out of its run.flags."""
    for name in LOCALIZERS:
        values[name].value = None


def check_copy(values: flags.FlagValues, localizer: "Localizer") -> None:
    """Refuses a precision that a copy of the localizer's network does not have.

    Raises:
        InputError: as said.
    """
    has = localizer.backbone.dtype_policy.name
    if not values["model"].value and values["dtype"].value != has:
        raise InputError(
            f"Without --model, R-CNN is a copy of the localizer's network, which is of {has}: give "
            f"--dtype={has}, or a --model."
        )


def check_dataset(name: str) -> None:
    """Refuses a data set without boxes."""
    if name.removeprefix("tfds/").split("/")[0] == "imagenet2012":
        raise InputError(
            "TensorFlow Datasets' imagenet2012 has no boxes: give --dataset=ilsvrc and "
            "--data_dir=FOLDER, which holds Annotations/CLS-LOC/ and Data/CLS-LOC/."
        )
    detection.check_dataset(name)


def scales_of(values: flags.FlagValues) -> list[tuple[int, int]]:
    """The scales that training draws from; none without --train_scales."""
    sides = whole_numbers("train_scales", values["train_scales"].value)
    if any(side < 1 for side in sides):
        raise InputError("--train_scales are positive.")
    return [(side, recipe.LONGER * side) for side in sides]


def scale_of(values: flags.FlagValues, localizer: "Localizer | None" = None) -> tuple[int, int]:
    """The scale of the tests: --scale, the localizer's, or what data or crops suggest."""
    given = detection.scale_of(values) or (localizer and localizer.scale)
    if given:
        return given
    if values["dataset"].value in objects.MADE:
        side = shapes.SIDES[values["dataset"].value]
        return side, side
    shorter = round(values["crop"].value * 256 / 224)  # Sec. 3.4
    return shorter, recipe.LONGER * shorter


def model_arguments(values: flags.FlagValues) -> dict[str, Any]:
    """Arguments of `Localizer` from flags."""
    return {
        **{name: _numbers(values, name) for name in ("anchor_sizes", "anchor_ratios", "overlaps")},
        **runs.given(values, "endpoint", "samples", "top", "crop"),
    }


def _numbers(values, name):
    items = values[name].value
    try:
        return tuple(float(item) for item in items)
    except ValueError as error:
        raise InputError(f"--{name} are numbers, not {','.join(items)}.") from error


def data_of(values: flags.FlagValues, localizer: "Localizer | None" = None) -> Data:
    """The data of a run, of an R-CNN on a localizer."""
    names = ("dataset", "train_split", "eval_split", "data_dir", "exif_orientation", "max_faulty")
    return Data(scale=scale_of(values, localizer), **runs.given(values, *names))


def evaluate_flags() -> flags.FlagValues:
    """The flags of `evaluate`."""
    values = new_flags()
    run = Group(values, "Run")
    run.path("model", "Localizer or R-CNN to measure. The folder of a run, or a .keras file.")
    run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
    run.paths("ensemble", "Models to join, instead of --model. RUN,RUN of the same classes.")
    run.whole("batch_size", 16, "Images at once.", 1)
    data = define_data(values, None)
    data.split("split", "Split to measure on. Without the flag, val.", "val")
    test = Group(values, "Test")
    test.choice(
        "protocol",
        protocols.DENSE,
        protocols.PROTOCOLS,
        "dense, center_crop or multi_scale. dense shows whole images, center_crop the middle of "
        "each, multi_scale whole ones at several scales.",
    )
    test.whole("top", None, "Classes that count. Without the flag, the model's: ILSVRC's is 5.", 1)
    output = Group(values, "Output")
    output.path("results", "JSON file to add the measurement to.")
    return values


def check_evaluate(values: flags.FlagValues) -> None:
    """Refuses flags of `evaluate` that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    detection.check_models(values, "models")
    check_dataset(values["dataset"].value)
    detection.scale_of(values)
    path = values["results"].value
    if path and not path.lower().endswith(".json"):
        raise InputError(f"--results is a JSON file: name it {path}.json.")
