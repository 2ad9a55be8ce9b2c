"""Groups of flags that the commands that train on whole images have in common."""

from collections.abc import Sequence

from absl import flags

from resnet_keras.training import cluster, limits

from .definitions import Group


def define_run(values: flags.FlagValues, *, batch_size: int, eval_batch_size: int) -> None:
    """Defines --workdir, --train_steps, --batch_size, and what else a run is measured by."""
    run = Group(values, "Run")
    run.path("workdir", "Folder of the run. Without it, a new one below runs/.")
    run.whole("train_steps", 1000, "Steps to train for. A step is one batch.", 1)
    run.whole("batch_size", batch_size, "Images in a global batch. The replicas share it.", 1)
    run.whole("eval_every", 500, "Steps between evaluations.", 1)
    run.whole("eval_batch_size", eval_batch_size, "Images that are evaluated at once.", 1)
    run.whole("seed", 0, "Seed of weights, order and samples.", 0, 2**31 - 1)
    run.whole("checkpoint_every", None, "Steps between checkpoints. As --eval_every without.", 1)
    run.whole("keep_checkpoints", 3, "How many of the last checkpoints are kept.", 1)
    run.switch("tensorboard", True, "Write TensorBoard events.")


def define_backbone(values: flags.FlagValues, model: str | None) -> Group:
    """Defines --model, --weights, and what is kept of these; returns their group."""
    group = Group(values, "Model")
    group.path("model", "Backbone, a network of the zoo.", model)
    group.path("weights", "Weights of the backbone. A tag such as imagenet, or a file.")
    group.path("weights_dir", "Folder with files of registered weights.")
    group.switch(
        "frozen_statistics",
        True,
        "Keep the statistics of weights' batch normalization. It becomes a scale and an offset.",
    )
    group.text("freeze", None, "Last stage of the backbone that is not trained.")
    return group


def define_optimizer(
    values: flags.FlagValues, *, schedules: Sequence[str], learning_rate: float
) -> Group:
    """Defines --learning_rate, --schedule and the like; returns their group."""
    rate = Group(values, "Optimizer")
    rate.number("learning_rate", learning_rate, "Learning rate after the warm-up.")
    rate.choice("schedule", schedules[0], schedules, "How the learning rate falls.")
    rate.items("boundaries", [], "Steps at which the learning rate falls. For --schedule=step.")
    rate.number("decay_factor", 0.1, "What it is multiplied by there.", 0, 1)
    rate.whole("warmup_steps", 0, "Steps of linear warm-up.", 0)
    rate.number("momentum", 0.9, "Momentum of SGD.", 0, 1)
    rate.number("weight_decay", 1e-4, "Coupled weight decay. This times w joins w's gradient.")
    rate.number("clip_norm", None, "Largest global norm of the gradient.")
    return rate


def define_speed(values: flags.FlagValues, stays_float: str) -> None:
    """Defines --dtype and --jit_compile."""
    speed = Group(values, "Speed")
    speed.choice(
        "dtype",
        "float32",
        ["float32", "mixed_bfloat16"],
        f"Precision of the layers. {stays_float} stay float32.",
    )
    speed.switch("jit_compile", False, "Compile the training step with XLA.")


def define_devices(values: flags.FlagValues, *, machines: bool = True) -> Group:
    """Defines --strategy and --logical_cpus, for several machines --cluster; returns their group.

    Args:
        values: the flags.
        machines: whether a run may be on several machines.
    """
    devices = Group(values, "Devices")
    several = limits.STRATEGIES if machines else ["mirrored", "one_device"]
    devices.choice(
        "strategy",
        "mirrored",
        several,
        f"Replicas: also one_device{' or multi_worker' if machines else ''}. mirrored has one on "
        "each GPU, or on each logical CPU without one"
        f"{'; multi_worker is mirrored over several machines' if machines else ''}.",
    )
    if machines:
        devices.choice(
            "cluster",
            "tf_config",
            cluster.CLUSTERS,
            "Who lists workers: tf_config or slurm. tf_config is the environment variable "
            "TF_CONFIG; slurm takes the tasks of a job step, which srun starts.",
        )
    devices.whole("logical_cpus", 1, "Devices that the CPU is split into.", 1, 64)
    return devices
