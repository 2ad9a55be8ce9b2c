"""The flags of `resnet_keras.train`: their meaning, what they come to, a run's flagfile of them."""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from resnet_keras import __version__, pipelines, zoo
from resnet_keras.errors import InputError
from resnet_keras.facts import INTERPOLATIONS
from resnet_keras.pipelines import splits
from resnet_keras.training import run_folder

from . import shared_flags

# Flags that decide nothing: a run goes on with other values.
FREE = {
    "checkpoint_every",
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
_FOUND_OUT = {"train_split", "eval_split", "deterministic", "exif_orientation"}
STEPS = "train_steps"
_UNSAVED = {"help", "flagfile", "recipe", "workdir"}


FLAGS = shared_flags.new_flags()
_text = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_whole = functools.partial(flags.DEFINE_integer, flag_values=FLAGS)
_number = functools.partial(flags.DEFINE_float, flag_values=FLAGS)
_choice = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_switch = functools.partial(flags.DEFINE_bool, flag_values=FLAGS)
_items = functools.partial(flags.DEFINE_list, flag_values=FLAGS)

# The run, its network and its data.
_text("recipe", None, f"Packaged recipe to start from: {', '.join(zoo.recipes.names())}.")
shared_flags.define_path(FLAGS, "workdir", "Folder of the run. Without it, a new one below runs/.")
shared_flags.define_model_flags(FLAGS, "resnet20")
_text("freeze", None, "Last stage that is not trained, conv1 to conv5 (with --weights).")
_choice("shortcut", None, ["A", "B", "C"], "Shortcut option; the network's default without.")
_switch("stride_in_1x1", None, "Where bottleneck blocks stride; --nostride_in_1x1 is v1.5.")
shared_flags.define_data_flags(FLAGS, "cifar10")
shared_flags.define_split_flag(FLAGS, "train_split", "Without, trainval, or train of photographs.")
shared_flags.define_split_flag(FLAGS, "eval_split", "Without, test, or val of photographs.")
_choice(
    "normalization",
    "channel",
    ["channel", "pixel"],
    "Subtract the data set's mean and divide by its deviation per channel, or subtract the "
    "training images' mean per pixel (Sec. 4.2).",
)

# Steps, and how they learn.
_whole("batch_size", 128, "Global batch size, split among the replicas.", 1)
_whole("train_steps", 64000, "Iterations to train for.", 1)
_whole("eval_every", 1000, "Iterations between evaluations.", 1)
_whole("eval_batch_size", 500, "Examples evaluated at once.", 1)
_whole("seed", 0, "Of the initial weights, the order and the augmentation.", 0, 2**31 - 1)
_number("learning_rate", 0.1, "Learning rate after warm-up.", 0)
_choice(
    "schedule",
    "step",
    ["step", "cosine", "plateau"],
    "step multiplies the learning rate by --decay_factor at --boundaries, plateau when "
    "--patience evaluations in a row brought no better error; cosine lets it fall to 0.",
)
_items("boundaries", [], "Iterations at which the step schedule acts.")
_number("decay_factor", 0.1, "What the learning rate is multiplied by.", 0, 1)
_whole("patience", 5, "Evaluations without a better error that make a plateau.", 1)
_whole("warmup_steps", 0, "Iterations of linear warm-up.", 0)
_number(
    "warmup_until_error",
    0,
    "Train at --warmup_scale times the learning rate until the training error is below this "
    "(0.8 for ResNet-110, Sec. 4.2). 0 turns it off.",
    0,
    1,
)
_number("warmup_scale", 0.1, "See --warmup_until_error.", 0, 1)
_number("momentum", 0.9, "Of SGD.", 0, 1)
_number("weight_decay", 1e-4, "Coupled weight decay: this times w joins w's gradient.", 0)
_choice("decayed", "kernels", ["kernels", "all"], "Decay the kernels, or all trainable variables.")
_number("clip_norm", None, "Shorten the gradient to this global norm.", 0)

# What keeps it from learning by heart.
_number("label_smoothing", 0, "Share of each label that is spread over all classes.", 0, 1)
_number(
    "stochastic_depth",
    0,
    "Rate at which the last block drops its residual branch; earlier ones in proportion.",
    0,
    1,
)
_number("dropout", 0, "Rate at which features are dropped before the logits.", 0, 1)
_number(
    "ema",
    0,
    "Decay of a moving average of the weights, such as 0.9999, which is what is evaluated and "
    "saved. 0 turns it off.",
    0,
    1,
)

# How it is computed.
_choice(
    "dtype",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Precision of the layers; weights, statistics and logits stay float32. float16 comes with "
    "loss scaling.",
)
_switch("jit_compile", False, "Compile the training step with XLA (needs one device).")
_switch(
    "deterministic",
    None,
    "Only operations that give the same bits each time. Without the flag, on GPUs; on CPUs "
    "runs were measured to repeat without.",
)
_whole(
    "accumulate_steps",
    1,
    "Split each batch into so many that are computed one after the other and make one update.",
    1,
)
_whole(
    "steps_per_execution",
    1,
    "Iterations that Keras makes in its graph between two looks at the run; for small networks. "
    "How long they wait for input is not seen then.",
    1,
)
_switch("remat", False, "Compute each block again for its gradient, to save memory.")

# On which devices.
_choice(
    "strategy",
    "mirrored",
    ["mirrored", "one_device", "multi_worker"],
    "How replicas are made; multi_worker is mirrored on the machines of TF_CONFIG.",
)
_whole(
    "logical_cpus",
    1,
    "Without a GPU, split the CPU into so many devices, each with a replica of its own.",
    1,
    64,
)
_switch("sync_batch_norm", False, "Take batch statistics over all replicas, not over each.")

# What the run leaves.
_whole("checkpoint_every", None, "Iterations between checkpoints; --eval_every without.", 1)
_whole("keep_checkpoints", 3, "Keep the last so many.", 1)
_switch("tensorboard", True, "Write TensorBoard events.")
_switch("profile", False, "Write a TensorBoard profile of 10 executions, from the third on.")

# Encoded images only: ImageNet, folders, other data sets of TFDS.
shared_flags.define_view_flags(FLAGS)
_whole(
    "max_corrupt",
    100,
    "Images that cannot be decoded and are replaced, at most; each service counts its own, and "
    "each start of a run counts anew.",
    0,
)
_whole("eval_resize", None, "Shorter side before the centre crop; 256/224 of it without.", 1)
_choice("interpolation", "bilinear", list(INTERPOLATIONS), "Of --eval_resize.")
_items("services", [], "Hosts that make the training batches, as grpc://HOST:PORT.")
_whole("threads", None, "Of a pool of its own for the data pipelines.", 1)
_whole("ram_budget", None, "MiB for prefetched batches; four batches without.", 1)


def check(file: "zoo.weights.WeightsFile | None") -> None:
    """Refuses flags that contradict each other, or the weights that training begins with.

    Raises:
        InputError: as said.
    """
    if file is not None and FLAGS.normalization != "channel":
        raise InputError("--normalization is for new networks: weights have their own.")
    if file is None and FLAGS.freeze:
        raise InputError("--freeze is for networks with --weights.")
    if FLAGS.strategy == "multi_worker" and not FLAGS.workdir:
        raise InputError("Workers share one folder: give --workdir, which all of them can read.")
    for name in ("train_steps", "eval_every", "checkpoint_every"):
        if (FLAGS[name].value or 0) % FLAGS.steps_per_execution:
            raise InputError(
                f"--{name}={FLAGS[name].value} must be a multiple of --steps_per_execution="
                f"{FLAGS.steps_per_execution}: the run is looked at only so often."
            )


def check_longer() -> None:
    """Refuses more steps than a run was begun with where its learning rate tells of their number.

    Raises:
        InputError: as said.
    """
    folder = Path(FLAGS.workdir or "")
    there = run_folder.flags_of(run_folder.read_text(folder / run_folder.FLAGS)).get(STEPS)
    if not FLAGS.workdir or FLAGS.schedule != "cosine" or there in (None, str(FLAGS.train_steps)):
        return
    weights = run_folder.last_weights(folder)
    begin = f" from its weights, by --weights={weights}," if weights else ""
    raise InputError(
        f"{folder} holds a run whose cosine comes to 0 at --train_steps={there}, so that it cannot "
        f"be made longer or shorter: begin another one{begin} in another --workdir."
    )


def finished_line() -> str:
    """What is said of a run that has come to its end, and how it can be taken further."""
    weights = run_folder.last_weights(Path(FLAGS.workdir))
    longer = "" if FLAGS.schedule == "cosine" else ", --train_steps=MORE goes on with it"
    return (
        f"{FLAGS.workdir} holds a finished run: {weights}{longer}; --weights={weights} begins "
        "another one from its weights, in another --workdir"
    )


def choose_splits() -> None:
    """Finds out what is trained and evaluated on, and how, where flags do not say it.

    Raises:
        InputError: there is no such data set.
    """
    in_memory = pipelines.info(FLAGS.dataset, FLAGS.data_dir).in_memory
    FLAGS.train_split = FLAGS.train_split or ("trainval" if in_memory else "train")
    FLAGS.eval_split = FLAGS.eval_split or ("test" if in_memory else "val")
    if not in_memory and FLAGS.exif_orientation is None:
        FLAGS.exif_orientation = pipelines.turns_by_exif(FLAGS.dataset)
    if splits.overlap(FLAGS.train_split, FLAGS.eval_split):
        warnings.warn(
            f"--eval_split={FLAGS.eval_split} has images of --train_split={FLAGS.train_split} in "
            "it: the error does not tell of new images",
            stacklevel=2,
        )


def choose_deterministic(device: str) -> None:
    """Finds out whether operations give the same bits each time: on a "GPU", not on a "CPU".

    Raises:
        InputError: there are no such operations for what is asked.
    """
    if FLAGS.deterministic is None:
        FLAGS.deterministic = device == "GPU"
    if FLAGS.deterministic and FLAGS.freeze and device == "GPU":
        raise InputError(
            "TensorFlow has no deterministic kernel for frozen batch normalization on GPUs: "
            "add --nodeterministic."
        )


def run_flags() -> str:
    """The flagfile that repeats this run: every flag's value, whatever its source."""
    import keras
    import tensorflow as tf

    return (
        "# python -m resnet_keras.train --flagfile=run.flags\n"
        f"# resnet_keras {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}\n"
        f"{_lines()}"
    )


def _lines():
    lines = [
        flag.serialize() for flag in shared_flags.all_flags(FLAGS) if flag.name not in _UNSAVED
    ]
    return "".join(f"{line}\n" for line in lines if line)  # empty for a flag without a value


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
    return run_folder.differences(workdir, _lines(), FREE | found_out)
