"""The flags of `resnet_keras.detection.train`, `evaluate` and `predict`, and what they come to."""

from typing import Any

from absl import flags

from resnet_keras import zoo
from resnet_keras.commands import runs, training_groups
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.commands.shared_flags import scale_of as scale_of
from resnet_keras.commands.shared_flags import whole_numbers
from resnet_keras.errors import InputError, require, unknown
from resnet_keras.pipelines import objects

from . import backbones as backbones  # adds its networks to the zoo
from . import recipe, scores
from .settings import settings as make_settings

# Flags that decide nothing: a run goes on with other values.
FREE = {"annotations", "checkpoint_every", "data_dir", "keep_checkpoints", "tensorboard"}


def define_data(values: flags.FlagValues, dataset: str | None) -> Group:
    """Defines --dataset, --data_dir, --annotations, --scale and more; returns their group."""
    group = Group(values, "Data")
    group.text(
        "dataset",
        dataset,
        "Name such as shapes, coco or voc. shapes is made here; coco and voc are folders in the "
        "format of these data sets; tfds/coco/YEAR and tfds/voc/YEAR are TensorFlow Datasets'.",
    )
    group.path("data_dir", "The data set's folder, or TensorFlow Datasets' own.", local=False)
    group.path("annotations", "JSON file of --dataset=coco. Without the flag, the one in DATA_DIR.")
    group.items(
        "scale",
        [],
        "Shorter side and the most of the longer one. Such as 600,1000, the paper's and the "
        "default; of shapes, the images' own.",
    )
    group.switch(
        "exif_orientation",
        False,
        "Turn photographs upright as EXIF says. For boxes that are about the upright images.",
    )
    group.whole(
        "max_faulty",
        0,
        "Objects with faulty boxes that are left out at most.",
        0,
    )
    return group


def train_flags() -> flags.FlagValues:
    """The flags of `train`."""
    values = new_flags(recipes="detection")
    training_groups.define_run(values, batch_size=2, eval_batch_size=2)
    model = training_groups.define_backbone(values, "resnet50")
    model.choice("neck", "c4", ["c4", "fpn"], "What RoIs are taken of: c4 or fpn. c4 is the paper.")
    model.choice(
        "preset",
        "paper",
        ["paper", "torchvision", "detectron2"],
        "Whose numbers the detector has. paper, torchvision or detectron2.",
    )
    model.choice(
        "box_head",
        "two_mlp",
        ["two_mlp", "convolutions"],
        "Head of --neck=fpn. two_mlp, or convolutions with batch normalization.",
    )
    model.choice(
        "roi_form",
        "crop",
        ["crop", "matmul"],
        "How RoIAlign is computed: crop or matmul. Both give the same; matmul is for GPUs and for "
        "small images.",
    )
    model.switch("context", False, "Let each RoI see features of the whole image.")
    model.switch("refine", False, "Look at each box again in inference, and vote.")
    model.items("anchor_sizes", [], "Sides of the anchors in pixels. A / stands between levels.")
    model.items(
        "settings",
        [],
        "Other numbers of the detector, NAME=NUMBER. NAME=NUMBER/NUMBER for several; names are "
        "those of resnet_keras.detection.settings.Settings.",
    )
    data = define_data(values, "shapes")
    data.split("train_split", "Split to train on.", "train")
    data.split("eval_split", "Split to evaluate on.", "val")
    data.whole("max_corrupt", 100, "Broken images that are left out at most.", 0)
    training_groups.define_optimizer(values, schedules=["step", "cosine"], learning_rate=0.001)
    training_groups.define_speed(values, "Boxes and losses")
    return values


def check_train(values: flags.FlagValues) -> None:
    """Refuses flags of `train` that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    from resnet_keras.training import limits

    check_dataset(values["dataset"].value)
    scores_need()
    limits.check_strategy(values["strategy"].value, values["logical_cpus"].value)
    limits.check_xla(values["strategy"].value, values["jit_compile"].value)
    limits.check_schedule(
        values["schedule"].value,
        boundaries=whole_numbers("boundaries", values["boundaries"].value),
        **runs.given(values, "train_steps", "warmup_steps"),
    )
    if values["freeze"].value and not values["weights"].value:
        raise InputError("--freeze is for backbones with --weights.")
    make_settings(values["preset"].value, values["neck"].value, **detector_changes(values))
    scale_of(values)
    if values["box_head"].value != "two_mlp" and values["neck"].value != "fpn":
        raise InputError("--box_head is for --neck=fpn: the head of c4 is the last stage.")


def check_dataset(name: str) -> None:
    """Refuses a data set without boxes."""
    if not objects.has_objects(name):
        raise unknown(
            "data set of images with boxes", name, [*objects.DATASETS, "tfds/coco", "tfds/voc"]
        )


def scores_need() -> None:
    """Raises `MissingExtraError` where pycocotools is not installed."""
    require("pycocotools.coco", extra=scores.EXTRA)


def detector_changes(values: flags.FlagValues) -> dict[str, Any]:
    """The settings that differ from the preset's."""
    changed = dict(recipe.changes(values["settings"].value))
    if values["anchor_sizes"].value:
        text = ",".join(values["anchor_sizes"].value)
        try:
            levels = tuple(tuple(float(s) for s in part.split(",")) for part in text.split("/"))
        except ValueError as error:
            raise InputError(
                f"--anchor_sizes are numbers, with a / between levels, not {text}."
            ) from error
        changed["anchor_sizes"] = levels
    form = {"crop": "auto", "matmul": "matmul"}[values["roi_form"].value]
    return {**changed, "roi_form": form}


def data_of(values: flags.FlagValues) -> recipe.Data:
    """The data of a run."""
    names = [name for name in recipe.Data._fields if name != "scale"]
    return recipe.Data(scale=scale_of(values), **runs.given(values, *names))


def find_backbone(values: flags.FlagValues) -> None:
    """Raises `InputError` where there is no such network, or no such weights."""
    zoo.weights.find(*runs.given(values, "model", "weights", "weights_dir").values())
