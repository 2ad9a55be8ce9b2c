"""What the flags of `resnet_keras.train` come to: checked, as arguments, and as a flagfile."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_keras import pipelines, zoo
from resnet_keras.classification import classifier, recipe
from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import FROZEN, GROUP, LAYER
from resnet_keras.networks import widths
from resnet_keras.pipelines import sharing, splits
from resnet_keras.training import limits, run_folder
from resnet_keras.zoo import building
from resnet_keras.zoo import network as rows

from . import runs, shared_flags, train_teachers
from .train_flags import FLAGS

# Flags that decide nothing: a run goes on with other values.
FREE = {
    "checkpoint_every",
    "cluster",
    "data_dir",
    "keep_checkpoints",
    "profile",
    "ram_budget",
    "services",
    "tensorboard",
    "threads",
    "weights_dir",
}


# Flags that, left out, are found out when a run begins, and written down for it.
_FOUND_OUT = {
    "data_sha256",
    "deterministic",
    "distill",
    "eval_split",
    "exif_orientation",
    "teacher_checksum",
    "temperature",
    "train_split",
}
_STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")


def check() -> None:
    """Refuses flags that contradict each other; needs no TensorFlow.

    Raises:
        InputError: as said.
    """
    _check_data()
    _check_replicas()
    train_teachers.choose_amounts()
    limits.check_sgd(**given("decayed", "weight_decay", "accumulate_steps", "clip_norm", "ema"))
    steps = given("train_steps", "warmup_steps", "warmup_until_error")
    limits.check_schedule(FLAGS.schedule, boundaries=boundaries(), **steps)
    _warn_of_a_short_run()
    _warn_of_idle_flags()
    for name in ("train_steps", "eval_every", "checkpoint_every"):
        count = FLAGS[name].value or 0
        if count % FLAGS.steps_per_execution:
            multiple = -(-count // FLAGS.steps_per_execution) * FLAGS.steps_per_execution
            raise InputError(
                f"--{name}={count} must be a multiple of --steps_per_execution="
                f"{FLAGS.steps_per_execution}, for the run is looked at only so often: take "
                f"--{name}={multiple}."
            )


def _check_data():
    _choose_splits()
    pipelines.check_names(
        FLAGS.dataset,
        (FLAGS.train_split, FLAGS.eval_split),
        **given("data_dir", "image_size", "exif_orientation"),
    )
    in_memory = pipelines.is_in_memory(FLAGS.dataset)
    view = shared_flags.view_of(FLAGS, in_memory=in_memory)
    small = shared_flags.small_view_of(FLAGS, in_memory=in_memory)
    pipelines.check_padding(FLAGS.dataset, FLAGS.padding, small.get("flip"))
    if view is not None:
        if FLAGS.image_size:
            view = view._replace(image_size=FLAGS.image_size)
        view.check()
    recipe.check_evaluation(FLAGS.dataset, FLAGS.image_size, FLAGS.eval_resize)
    classifier.check_normalization(FLAGS.dataset, FLAGS.normalization)
    if not in_memory and FLAGS.exif_orientation is None:
        FLAGS.exif_orientation = pipelines.turns_by_exif(FLAGS.dataset)
    _find_out_files()


def _find_out_files():
    """Finds out which files a user brings: a run is bound to them, wherever they lie."""
    known = pipelines.fingerprint(FLAGS.dataset, FLAGS.data_dir)
    if FLAGS.data_sha256 and known is None:
        raise InputError(
            "--data_sha256 is of files that you bring, as with --dataset=ucr or arrays: leave it "
            "out."
        )
    name, found = known or (None, None)
    if FLAGS.data_sha256 not in (None, found):
        raise InputError(
            f"{FLAGS.data_dir} has other {examples()}, {name}, than those of --data_sha256="
            f"{FLAGS.data_sha256}: their files have {found}."
        )
    FLAGS.data_sha256 = found


def _choose_splits():
    """Finds out what is trained and evaluated on, where flags do not say it."""
    in_memory = pipelines.is_in_memory(FLAGS.dataset)
    FLAGS.train_split = FLAGS.train_split or ("trainval" if in_memory else "train")
    FLAGS.eval_split = FLAGS.eval_split or ("test" if in_memory else "val")
    if splits.overlap(FLAGS.train_split, FLAGS.eval_split):
        noun = examples()
        warnings.warn(
            f"--eval_split={FLAGS.eval_split} has {noun} of --train_split={FLAGS.train_split} in "
            f"it: the error does not tell of new {noun}",
            stacklevel=2,
        )


def examples() -> str:
    """What the data set has, in a word."""
    return "series" if pipelines.is_series(FLAGS.dataset) else "images"


def _check_replicas():
    workers = runs.check_workers(FLAGS)
    # GPUs, which would make more replicas, are not known yet.
    limits.check_batch(FLAGS.batch_size, max(workers, FLAGS.logical_cpus), FLAGS.accumulate_steps)
    _check_hosts(workers)


def _check_hosts(workers):
    """Refuses what cannot be shared out among the machines that train, or that make batches."""
    in_memory = pipelines.is_in_memory(FLAGS.dataset)
    if FLAGS.services and in_memory:
        raise InputError(f"{FLAGS.dataset} is held in memory: --services are for photographs.")
    if not in_memory and (workers > 1 or len(FLAGS.services) > 1):
        sharing.check_shares(FLAGS.batch_size, workers, FLAGS.accumulate_steps, "batch_size")


def _warn_of_a_short_run():
    steps, bounds = FLAGS.train_steps, boundaries()
    if bounds and bounds[0] >= steps:
        warnings.warn(
            f"--boundaries={','.join(FLAGS.boundaries)} lie beyond --train_steps={steps}: the "
            "learning rate does not fall",
            stacklevel=2,
        )
    if FLAGS.warmup_steps > steps:
        warnings.warn(
            f"--warmup_steps={FLAGS.warmup_steps} are more than --train_steps={steps}: the "
            "learning rate does not reach its value",
            stacklevel=2,
        )


def _warn_of_idle_flags():
    """Warns of flags that are given and act only beside others, which are not."""
    of_photographs = pipelines.is_in_memory(FLAGS.dataset) and "it is for photographs"
    idle = {
        "patience": FLAGS.schedule != "plateau" and "it belongs to --schedule=plateau",
        "decay_factor": FLAGS.schedule == "cosine" and "it belongs to the schedules step, plateau",
        "warmup_scale": not FLAGS.warmup_until_error and "it belongs to --warmup_until_error",
        "scales": FLAGS.min_area > 0 and f"--min_area={FLAGS.min_area:g} takes its place",
        "interpolation": of_photographs,
        "max_corrupt": of_photographs,
        **train_teachers.idle(),
    }
    for name, reason in idle.items():
        if reason and FLAGS[name].value != FLAGS[name].default:
            warnings.warn(f"--{name} has no effect: {reason}", stacklevel=2)


def check_network(network: "zoo.networks.Network", file: "zoo.weights.WeightsFile | None") -> None:
    """Refuses flags that do not fit the network, or the weights that training begins with.

    Raises:
        InputError: as said.
    """
    classifier.check_inputs(network.takes_series, network.name, FLAGS.dataset)
    options = {name: value for name, value in _options().items() if value is not None}
    if FLAGS.norm_layer:
        options[rows.NORMALIZATION] = FLAGS.norm_layer
    building.check_options(network, file, **options)
    _warn_of_few_channels(network)
    if FLAGS.stochastic_depth and not network.residual:
        raise InputError(
            f"{network.name} has no residual branches to drop: leave --stochastic_depth out."
        )
    if FLAGS.block_dropout and "block_dropout" not in network.options:
        raise InputError(
            f"{network.name} has no dropout between its convolutions, which resnetN, wide networks "
            "(wrn28_10) and DenseNets have: leave --block_dropout out."
        )
    if FLAGS.sync_batch_norm and not network.normalized:
        raise InputError(f"{network.name} has no batch normalization: leave --sync_batch_norm out.")
    if FLAGS.sync_batch_norm and FLAGS.norm_layer in (GROUP, LAYER, FROZEN):
        raise InputError(
            f"--norm_layer={FLAGS.norm_layer} takes no statistics of a batch: leave "
            "--sync_batch_norm out."
        )
    if FLAGS.norm_layer == FROZEN and file is None:
        raise InputError(
            "--norm_layer=frozen keeps the statistics of --weights: give them, or take group."
        )
    if FLAGS.remat and not network.normalized:
        raise InputError(
            f"{network.name} keeps as much with --remat, for it has no batch normalization: leave "
            "--remat out."
        )
    if file is not None and FLAGS.normalization != "channel":
        raise InputError("--normalization is for new networks: weights have their own.")
    if FLAGS.freeze and file is None:
        raise InputError("--freeze is for networks with --weights.")
    if FLAGS.freeze and FLAGS.freeze not in _STAGES:
        raise unknown("stage", FLAGS.freeze, _STAGES)


def _warn_of_few_channels(network):
    counts = "width" in network.options and "width" not in network.late
    if counts and FLAGS.width is not None and FLAGS.width <= widths.WIDEST:
        warnings.warn(
            f"--width={FLAGS.width:g} of {network.name} is the number of channels of its first "
            f"stage, {network.options['width']} by its paper",
            stacklevel=2,
        )


def check_longer() -> None:
    """Refuses more steps than a run was begun with where its learning rate tells of their number.

    Raises:
        InputError: as said.
    """
    folder = Path(FLAGS.workdir or "")
    there = run_folder.flags_of(run_folder.read_text(folder / run_folder.FLAGS)).get(runs.STEPS)
    if not FLAGS.workdir or FLAGS.schedule != "cosine" or there in (None, str(FLAGS.train_steps)):
        return
    weights = run_folder.last_weights(folder)
    begin = f" from its weights, by --weights={weights}," if weights else ""
    raise InputError(
        f"{folder} holds a run whose cosine comes to 0 at --train_steps={there}, so that it cannot "
        f"be made longer or shorter: begin another one{begin} in another --workdir."
    )


def choose_deterministic(device: str) -> None:
    """Finds out whether operations give the same bits each time: on a "GPU", not on a "CPU".

    Raises:
        InputError: there are no such operations for what is asked.
    """
    if FLAGS.deterministic is None:
        FLAGS.deterministic = device == "GPU"
    frozen = FLAGS.freeze or FLAGS.norm_layer == FROZEN
    if FLAGS.deterministic and frozen and device == "GPU":
        raise InputError(
            "TensorFlow has no deterministic kernel for frozen batch normalization on GPUs: "
            "add --nodeterministic."
        )


def given(*names: str) -> dict[str, Any]:
    """Flags as the arguments of the same names."""
    return runs.given(FLAGS, *names)


def boundaries() -> list[int]:
    """The steps of --boundaries."""
    return shared_flags.whole_numbers("boundaries", FLAGS.boundaries)


def streams(data: recipe.Data) -> dict[str, Any]:
    """Arguments of `recipe.streams`."""
    names = ("batch_size", "eval_batch_size", "accumulate_steps", "seed", "max_corrupt", "services")
    evaluated = ("eval_resize", "interpolation")
    view = shared_flags.view_of(FLAGS, in_memory=data.in_memory)
    small = shared_flags.small_view_of(FLAGS, in_memory=data.in_memory)
    return {"view": view, **small, **given(*names, *evaluated, "threads", "ram_budget")}


def model() -> dict[str, Any]:
    """What a network is built with for the data set."""
    return classifier.model_options(
        FLAGS.dataset,
        FLAGS.train_split,
        **_options(),
        **given("normalization", "image_size", "data_dir"),
    )


def _options():
    shortcuts = ("shortcut", "projections", "stride_in_1x1")
    return given(*shortcuts, "width", "maxout", "z_normalization")


def optimizer() -> dict[str, Any]:
    """Arguments of `classifier.make_optimizer`."""
    rate = ("schedule", "learning_rate", "train_steps", "decay_factor", "patience")
    warm_up = ("warmup_steps", "warmup_until_error", "warmup_scale")
    update = ("momentum", "nesterov", "weight_decay", "decayed")
    more = ("accumulate_steps", "clip_norm", "ema")
    return {
        "boundaries": boundaries(),
        "loss_scaling": FLAGS.dtype == "mixed_float16",
        **given(*rate, *warm_up, *update, *more),
    }


def provenance(file: "zoo.weights.WeightsFile | None") -> dict[str, Any]:
    """How the weights come to be, for their file."""
    began = {} if file is None else {"weights": FLAGS.weights or FLAGS.model}
    own = pipelines.own_files(FLAGS.dataset, FLAGS.data_dir)
    brought = {} if own is None else {"data": own[0]}
    return {**given("recipe", "seed"), **brought, **began, **train_teachers.provenance()}


def folder_name() -> str:
    """What the folder of a run is called that has no --workdir."""
    return FLAGS.recipe or f"{Path(FLAGS.model).name}_{FLAGS.dataset.replace('/', '_')}"


def differences(workdir: Path, arguments: Sequence[str]) -> list[str]:
    """Tells how a run that has begun differs from what these arguments would make of it.

    Needs no TensorFlow, so what a run finds out for itself is not compared.

    Raises:
        InputError, absl.flags.Error: the arguments are none of this command's.
    """
    shared_flags.parse(FLAGS, ["train", *arguments])
    if not (workdir / run_folder.FLAGS).exists():
        return []
    found_out = {name for name in _FOUND_OUT if FLAGS[name].value is None}
    return run_folder.differences(workdir, runs.lines(FLAGS), FREE | found_out)
