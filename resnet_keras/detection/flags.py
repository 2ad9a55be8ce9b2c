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
from resnet_keras.training import limits

from . import backbones as backbones  # adds its networks to the zoo
from . import protocols, recipe, scores
from .settings import settings as make_settings

METRICS = ("coco", "voc07", "voc")
# Flags that decide nothing: a run goes on with other values.
FREE = {
    *("annotations", "checkpoint_every", "cluster", "data_dir", "keep_checkpoints"),
    *("tensorboard", "weights_dir"),
}


def define_data(values: flags.FlagValues, dataset: str | None) -> Group:
    """Defines --dataset, --data_dir, --annotations, --scale and more; returns their group."""
    group = Group(values, "Data")
    group.text(
        "dataset",
        dataset,
        "Name such as shapes, coco or voc. shapes is made here; coco and voc are folders in the "
        "format of these data sets; tfds/coco/YEAR and tfds/voc/YEAR are TensorFlow Datasets', "
        "tfds/voc/2007+2012 both years together.",
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


def evaluate_flags() -> flags.FlagValues:
    """The flags of `evaluate`."""
    values = new_flags()
    run = Group(values, "Run")
    run.path("model", "Detector to measure. The folder of a run or of export, or a .keras file.")
    run.choice("which", "best", ["best", "last"], "Which weights of a run are taken: best or last.")
    run.paths("ensemble", "Detectors to join, instead of --model. RUN,RUN of the same classes.")
    run.whole("batch_size", 2, "Images at once.", 1)
    data = define_data(values, None)
    data.split("split", "Split to measure on. Without the flag, val.", "val")
    test = Group(values, "Test")
    test.choice(
        "protocol",
        protocols.SINGLE,
        protocols.PROTOCOLS,
        "single is one scale, paper_multi_scale is five. Of these each proposal is seen at two "
        "adjacent ones, and the larger of their features is taken (appendix B).",
    )
    test.items(
        "scales",
        [],
        "Shorter sides of paper_multi_scale. Without the flag, 200,400,600,800,1000 for a "
        "detector trained at 600, and in proportion for others.",
    )
    test.switch("refine", None, "Look at each box again, and vote. Without the flag, as the model.")
    test.number("score_threshold", None, "Detections of lower scores do not count.", 0, 1)
    test.whole("detections", None, "Detections of an image at most.", 1)
    output = Group(values, "Output")
    output.items("metric", METRICS, "What is printed: coco, voc07 and voc, which is the area.")
    output.switch("per_class", False, "Print average precision of each class.")
    output.path(
        "results",
        "JSON file to add the measurement to. It takes the place of an older one of the same "
        "weights, data set and test.",
    )
    output.path("predictions", "JSON file for the detections, in COCO's results format.")
    output.path("precision_recall", "PNG file for the curves of precision over recall.")
    return values


def check_models(values: flags.FlagValues, noun: str) -> None:
    """Refuses an evaluation of no model, or of several that are told twice.

    Raises:
        InputError: as said; `noun` is what the models are.
    """
    model, ensemble = values["model"].value, values["ensemble"].value
    if not (model or ensemble) or values["dataset"].value is None:
        raise InputError("Give --model=RUN and --dataset=NAME.")
    if model and ensemble:
        raise InputError(f"--ensemble names {noun}: leave --model out.")
    if len(ensemble) == 1:
        raise InputError(f"--ensemble is RUN,RUN,... of two {noun} or more; one is --model.")


def check_evaluate(values: flags.FlagValues) -> None:
    """Refuses flags of `evaluate` that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    check_models(values, "detectors")
    check_dataset(values["dataset"].value)
    for name in values["metric"].value:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    if not values["metric"].value:
        raise InputError(f"--metric is one or more of {','.join(METRICS)}.")
    scales = whole_numbers("scales", values["scales"].value)
    if scales and values["protocol"].value != protocols.PAPER_MULTI_SCALE:
        raise InputError(
            "--scales is for --protocol=paper_multi_scale; the one of single is --scale."
        )
    if scales:
        protocols.check_scales(scales)
    scale_of(values)
    for name, suffix in (
        ("results", ".json"),
        ("predictions", ".json"),
        ("precision_recall", ".png"),
    ):
        path = values[name].value
        if path and not path.lower().endswith(suffix):
            raise InputError(f"--{name} is a {suffix[1:].upper()} file: name it {path}{suffix}.")
    if values["results"].value and values["results"].value == values["predictions"].value:
        raise InputError("--results and --predictions are one file: name another.")
    scores_need()


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
        "roi",
        "align",
        ["align", "max_pool"],
        "How RoIs are pooled: align or max_pool. max_pool is the paper's.",
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
    model.switch("masks", False, "Find masks, too: Mask R-CNN. For shapes and coco.")
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
    data.text("eval_dataset", None, "Data set of --eval_split. Without the flag, --dataset.")
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
    check_dataset(values["eval_dataset"].value or values["dataset"].value)
    if values["masks"].value:
        for name in ("dataset", "eval_dataset"):
            objects.check_masks(values[name].value or values["dataset"].value)
    scores_need()
    replicas = max(runs.check_workers(values), values["logical_cpus"].value)
    limits.check_batch(values["batch_size"].value, replicas)  # GPUs are not known yet
    limits.check_schedule(
        values["schedule"].value,
        boundaries=whole_numbers("boundaries", values["boundaries"].value),
        **runs.given(values, "train_steps", "warmup_steps"),
    )
    if values["freeze"].value and not values["weights"].value:
        raise InputError("--freeze is for backbones with --weights.")
    make_settings(values["preset"].value, values["neck"].value, **detector_changes(values))
    scale_of(values)
    if values["roi"].value == "max_pool" and values["neck"].value == "fpn":
        raise InputError("--roi=max_pool is for --neck=c4: a pyramid takes --roi=align.")
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
    return {**changed, "roi": values["roi"].value, "roi_form": form}


def data_of(values: flags.FlagValues) -> recipe.Data:
    """The data of a run."""
    names = [name for name in recipe.Data._fields if name != "scale"]
    return recipe.Data(scale=scale_of(values), **runs.given(values, *names))


def find_backbone(values: flags.FlagValues) -> None:
    """Raises `InputError` where there is no such network, or no such weights."""
    zoo.weights.find(*runs.given(values, "model", "weights", "weights_dir").values())
