"""The flags of `resnet_keras.segmentation.train`, `evaluate`, `predict`, and what they come to."""

from typing import Any

from absl import flags

from resnet_keras import zoo
from resnet_keras.commands import runs, training_groups
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.commands.shared_flags import scale_of as scale_of
from resnet_keras.commands.shared_flags import whole_numbers
from resnet_keras.detection import backbones as backbones  # adds its networks to the zoo
from resnet_keras.errors import InputError
from resnet_keras.pipelines import masks

from . import recipe
from .segmenters import HEADS

# Flags that decide nothing: a run goes on with other values.
FREE = {
    *("annotations", "checkpoint_every", "data_dir", "keep_checkpoints", "tensorboard"),
    "weights_dir",
}


def define_data(values: flags.FlagValues, dataset: str | None) -> Group:
    """Defines --dataset, --data_dir, --annotations, --scale and more; returns their group."""
    group = Group(values, "Data")
    group.text(
        "dataset",
        dataset,
        "Name such as shapes, voc, coco or folder. shapes is made here; voc and coco are folders "
        "in the format of these data sets; folder holds images/ and masks/ with files of the same "
        "names, and classes.txt; tfds/oxford_iiit_pet is TensorFlow Datasets'.",
    )
    group.path("data_dir", "The data set's folder, or TensorFlow Datasets' own.", local=False)
    group.path("annotations", "JSON file of --dataset=coco. Without the flag, the one in DATA_DIR.")
    group.items(
        "scale",
        [],
        "Shorter side and the most of the longer one. Such as 520,1040. Without the flag, images "
        "keep their size.",
    )
    group.switch(
        "exif_orientation",
        False,
        "Turn photographs upright as EXIF says. For masks that are of the upright images.",
    )
    return group


def train_flags() -> flags.FlagValues:
    """The flags of `train`."""
    values = new_flags(recipes="segmentation")
    training_groups.define_run(values, batch_size=16, eval_batch_size=1)
    model = training_groups.define_backbone(values, "resnet50")
    model.choice("head", "deeplabv3", HEADS, "What stands on the backbone: fcn or deeplabv3.")
    model.whole(
        "output_stride",
        None,
        "How many times smaller the last features are. Such as 16 or 8, by dilation; without the "
        "flag, the backbone's own.",
        1,
    )
    model.switch("auxiliary", False, "Train a second head, on the stage before the last.")
    model.number("auxiliary_weight", recipe.AUXILIARY_WEIGHT, "Weight of the second head's loss.")
    model.text(
        "skip",
        None,
        "Stage whose features refine the mask, such as conv2. None undoes a recipe's.",
    )
    model.number("dropout", None, "Dropout before the logits. Without the flag, the head's own.")
    data = define_data(values, "shapes")
    data.split("train_split", "Split to train on.", "train")
    data.split("eval_split", "Split to evaluate on.", "val")
    data.items(
        "crop_size",
        [],
        "Height and width of training images, or one side. Without the flag, 513; of shapes, the "
        "images' own.",
    )
    data.items("scales", ["0.5", "2"], "Range of the factor by which training images are resized.")
    data.switch("flip", True, "Mirror half of the training images.")
    data.whole("max_corrupt", 100, "Broken images that are left out at most.", 0)
    rate = training_groups.define_optimizer(
        values, schedules=["poly", "step", "cosine"], learning_rate=0.01
    )
    rate.number("power", 0.9, "Power of --schedule=poly.")
    training_groups.define_speed(values, "Logits and loss")
    devices = training_groups.define_devices(values, machines=False)
    devices.switch("sync_batch_norm", False, "Take batch statistics over all replicas.")
    return values


def check_train(values: flags.FlagValues) -> None:
    """Refuses flags of `train` that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    from resnet_keras.training import limits

    masks.check_name(values["dataset"].value)
    limits.check_strategy(values["strategy"].value, values["logical_cpus"].value)
    limits.check_xla(values["strategy"].value, values["jit_compile"].value)
    limits.check_schedule(
        values["schedule"].value,
        boundaries=whole_numbers("boundaries", values["boundaries"].value),
        **runs.given(values, "train_steps", "warmup_steps"),
    )
    if values["freeze"].value and not values["weights"].value:
        raise InputError("--freeze is for backbones with --weights.")
    view(values)


def check_pooling(values: flags.FlagValues, replicas: int) -> None:
    """Raises `InputError` where DeepLabV3's pooled features would be normalized one by one."""
    together = 1 if values["sync_batch_norm"].value else replicas
    if values["head"].value == "deeplabv3" and values["batch_size"].value < 2 * together:
        remedy = f"--batch_size={2 * replicas}{', or --sync_batch_norm' if replicas > 1 else ''}"
        raise InputError(
            "DeepLabV3 normalizes means over whole images, of which a replica needs two or more in "
            f"a batch: take {remedy}, or --head=fcn."
        )


def view(values: flags.FlagValues) -> dict[str, Any]:
    """What is done to training images, as arguments of `masks.training`."""
    sides = whole_numbers("crop_size", values["crop_size"].value)
    if len(sides) not in (0, 1, 2) or any(side < 1 for side in sides):
        raise InputError(
            "--crop_size is a side in pixels such as 513, or height and width, not "
            f"{','.join(map(str, sides))}."
        )
    return {
        "crop_size": (sides[0], sides[-1]) if sides else None,
        "scales": _scales(values["scales"].value),
        "scale": scale_of(values),
        "flip": values["flip"].value,
    }


def _scales(texts):
    try:
        low, high = map(float, texts)
    except ValueError as error:
        raise InputError(
            f"--scales are two numbers such as 0.5,2, not {','.join(texts)}."
        ) from error
    if not 0 < low <= high:
        raise InputError(f"--scales are positive and increase, not {','.join(texts)}.")
    return low, high


def factors(values: flags.FlagValues) -> tuple[float, ...]:
    """The factors of --scales of a test."""
    texts = values["scales"].value
    try:
        found = tuple(map(float, texts))
    except ValueError:
        found = ()
    if not found or min(found) <= 0:
        raise InputError(
            f"--scales are positive factors such as 0.75,1,1.25, not {','.join(texts)}."
        )
    return found


def define_looks(group: Group) -> None:
    """Defines --scales and --mirrored, of a test by several looks at each image."""
    group.items(
        "scales",
        ["1"],
        "Factors by which images are resized, whose answers are averaged. DeepLab's are "
        "0.5,0.75,1,1.25,1.5,1.75.",
    )
    group.switch("mirrored", False, "Average with the mirrored images' answers.")


def filled_up(values: flags.FlagValues, replicas: int) -> str | None:
    """What is to be said of a run whose evaluations show several images in one batch; or None."""
    if values["dataset"].value == "shapes" or max(values["eval_batch_size"].value, replicas) == 1:
        return None
    return (
        "Images of an evaluation are filled up with grey to the largest of their batch, which the "
        "network sees: for figures that can be compared, measure with segmentation.evaluate."
    )


def data_of(values: flags.FlagValues) -> recipe.Data:
    """The data of a run."""
    return recipe.Data(**runs.given(values, *recipe.Data._fields))


def find_backbone(values: flags.FlagValues) -> None:
    """Raises `InputError` where there is no such network, or no such weights."""
    zoo.weights.find(*runs.given(values, "model", "weights", "weights_dir").values())
