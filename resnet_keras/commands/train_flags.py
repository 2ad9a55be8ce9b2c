"""The flags of `resnet_keras.train`; what they come to is in `train_arguments`."""

from resnet_keras.facts import INTERPOLATIONS, NORMALIZATIONS
from resnet_keras.training import cluster, limits

from . import shared_flags
from .definitions import Group, new_flags

FLAGS = new_flags(recipes="")

_run = Group(FLAGS, "Run")
_run.path("workdir", "Folder of the run. Without it, a new one below runs/.")
_run.whole("train_steps", 64000, "Steps to train for. A step is one batch.", 1)
_run.whole("batch_size", 128, "Images in a global batch. The replicas share it.", 1)
_run.whole("eval_every", 1000, "Steps between evaluations.", 1)
_run.whole("eval_batch_size", 500, "Images that are evaluated at once.", 1)
_run.whole(
    "seed", 0, "Seed of weights, order and augmentation. One seed gives one run.", 0, 2**31 - 1
)
_run.whole(
    "checkpoint_every",
    None,
    "Steps between checkpoints. Without the flag, as many as between evaluations.",
    1,
)
_run.whole("keep_checkpoints", 3, "How many of the last checkpoints are kept.", 1)
_run.switch("tensorboard", True, "Write TensorBoard events.")
_run.switch(
    "profile",
    False,
    "Write a TensorBoard profile. It shows 10 executions, from the third on.",
)

shared_flags.define_model_flags(FLAGS, "resnet20")
_model = Group(FLAGS, "Model")
_model.text(
    "freeze",
    None,
    "Last stage that is not trained, conv1 to conv5. It is for networks with --weights.",
)
_model.choice(
    "shortcut",
    None,
    ["A", "B", "C"],
    "Shortcut option of the paper: A, B or C. Without the flag, the network's default.",
)
_model.number(
    "projections",
    None,
    "Share of the first blocks with projected shortcuts. It is for resnetN with --shortcut=A "
    "or B, of which it makes C step by step; 0.5 is the first half of the blocks. Without the "
    "flag, 0, or what weights have.",
    high=1,
)
_model.switch(
    "stride_in_1x1",
    None,
    "Stride in a bottleneck block's first 1x1. That is the paper's network; --nostride_in_1x1 is "
    "v1.5, with the stride in the 3x3. Without the flag, the network's default.",
)
_model.whole_or_share(
    "width",
    None,
    "Times the channels of ResNets, such as 0.5. Those of ImageNet's first stage are rounded to a "
    "multiple of 8. Of resnet1d, VGG and resnetv2_50 it is the channels of the first stage. "
    "Without the flag, 1, or those networks' 64.",
)
_model.choice(
    "norm_layer",
    None,
    NORMALIZATIONS,
    "What stands behind convolutions: batch, group, ... batch is batch normalization, synchronized "
    "over all replicas; group and layer normalize each image by itself; frozen, with --weights, is "
    "batch normalization that stays as it is. Without the flag, batch, or what weights have.",
)
_model.whole(
    "maxout",
    None,
    "Linear maps of which the maximum is taken. 2 or more put such a layer "
    "before the logits (Maxout Networks, arXiv 1302.4389); VGG has none. Without the flag, none, "
    "or what weights have.",
    2,
)
_model.switch(
    "z_normalization",
    None,
    "Bring each series to mean 0 and deviation 1. resnet1d does so without the flag; "
    "--noz_normalization keeps levels and amplitudes, where they tell classes.",
)

shared_flags.define_data_flags(FLAGS, "cifar10")
_data = Group(FLAGS, "Data")
_data.split(
    "train_split",
    "Split to train on. Without the flag, trainval, or train of photographs.",
)
_data.split("eval_split", "Split to evaluate on. Without the flag, test, or val of photographs.")
_data.text(
    "data_sha256",
    None,
    "SHA-256 of what ucr or arrays hold. A run writes it down, and refuses others.",
)
_data.choice(
    "normalization",
    "channel",
    ["channel", "pixel"],
    "Mean to subtract, per channel or per pixel. channel subtracts the data set's mean and divides "
    "by its deviation; pixel subtracts the training images' mean (Sec. 4.2).",
)
_data.whole(
    "max_corrupt",
    100,
    "Broken images that are replaced at most. Each service counts its own, and each start of a run "
    "counts anew.",
    0,
)

shared_flags.define_view_flags(FLAGS)
_view = Group(FLAGS, "View")
_view.whole(
    "eval_resize",
    None,
    "Shorter side before an evaluation's crop. Without the flag, 256/224 of the crop.",
    1,
)
_view.choice(
    "interpolation",
    "bilinear",
    INTERPOLATIONS,
    "How evaluation resizes: also bicubic.",
)

_optimizer = Group(FLAGS, "Optimizer")
_optimizer.number("learning_rate", 0.1, "Learning rate after the warm-up.")
_optimizer.choice(
    "schedule",
    "step",
    ["step", "cosine", "plateau"],
    "How the rate falls: step, cosine or plateau. step multiplies it by --decay_factor at "
    "--boundaries, plateau when --patience evaluations in a row brought no better error; cosine "
    "lets it fall to 0.",
)
_optimizer.items("boundaries", [], "Steps at which the step schedule acts.")
_optimizer.number(
    "decay_factor",
    0.1,
    "Factor of the rate at each fall. It belongs to the schedules step and plateau.",
    high=1,
)
_optimizer.whole("patience", 5, "Evaluations without progress that make a plateau.", 1)
_optimizer.whole("warmup_steps", 0, "Steps of linear warm-up.", 0)
_optimizer.number(
    "warmup_until_error",
    0,
    "Training error that ends a slow start. Until then the rate is multiplied by --warmup_scale "
    "(0.8 for ResNet-110, Sec. 4.2). 0 turns it off.",
    high=1,
)
_optimizer.number(
    "warmup_scale",
    0.1,
    "Factor of the rate in a slow start. It belongs to --warmup_until_error.",
    high=1,
)
_optimizer.number("momentum", 0.9, "Momentum of SGD.", high=1)
_optimizer.switch("nesterov", False, "Nesterov's momentum: the step looks ahead.")
_optimizer.number("weight_decay", 1e-4, "Coupled weight decay. This times w joins w's gradient.")
_optimizer.choice(
    "decayed",
    "kernels",
    limits.DECAYED,
    "What is decayed: kernels, or all variables. Those that are not trained never are.",
)
_optimizer.number(
    "clip_norm", None, "Global norm to which gradients are cut. Without the flag, none is."
)

_regularization = Group(FLAGS, "Regularization")
_regularization.number("label_smoothing", 0, "Share of each label spread over all classes.", high=1)
_regularization.number(
    "stochastic_depth",
    0,
    "Rate of dropping the last residual branch. Earlier blocks drop theirs in proportion.",
    high=1,
)
_regularization.number(
    "dropout", 0, "Rate of dropping features before the logits. Of VGG 0.5 is usual.", high=1
)
_regularization.number(
    "block_dropout",
    0,
    "Rate of dropping features inside blocks. For resnetN, wide networks and DenseNets.",
    high=1,
)
_regularization.number(
    "ema",
    0,
    "Decay of an average of the weights. With one such as 0.9999, the average is what is evaluated "
    "and saved. 0 turns it off.",
    high=1,
)

_teacher = Group(FLAGS, "Teacher")
_teacher.path(
    "teacher",
    "Trained network that this one learns from. A network of the zoo with --teacher_weights, or a "
    "folder of a run or of zoo.save. It sees the same images, and is not changed.",
)
_teacher.path("teacher_weights", "Its weights. A registered tag, or a weights file.")
_teacher.number(
    "distill",
    None,
    "The teacher's share of the loss. The labels have the rest. Without the flag, 0.9.",
    high=1,
)
_teacher.number(
    "temperature",
    None,
    "What both networks' logits are divided by. Without the flag, 4. The divergence of the "
    "student's shares from the teacher's is multiplied by its square.",
)
_teacher.text(
    "teacher_checksum",
    None,
    "First 16 digits of its file's SHA-256. Without the flag, those of the file that is there; a "
    "run that is started again refuses another file.",
)

_speed = Group(FLAGS, "Speed")
_speed.choice(
    "dtype",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Precision, such as mixed_bfloat16. Weights, statistics and logits stay float32. mixed_float16 "
    "comes with loss scaling.",
)
_speed.switch("jit_compile", False, "Compile the training step with XLA. It needs one device.")
_speed.switch(
    "deterministic",
    None,
    "Use only operations that repeat to the bit. Without the flag, on GPUs; on CPUs runs were "
    "measured to repeat without.",
)
_speed.whole(
    "accumulate_steps",
    1,
    "Parts of a batch, computed one by one. Together they make one update.",
    1,
)
_speed.whole(
    "steps_per_execution",
    1,
    "Steps between two looks at the run. For small networks; how long they wait for input is not "
    "seen then.",
    1,
)
_speed.switch("remat", False, "Compute blocks again, to save memory. That is for their gradients.")
_speed.whole("threads", None, "Threads of the input pipelines' own pool.", 1)
_speed.whole(
    "ram_budget",
    None,
    "MiB for prefetched batches. Without the flag, as much as four batches take.",
    1,
)
_speed.items("services", [], "Hosts that make the training batches. Each is grpc://HOST:PORT.")

_devices = Group(FLAGS, "Devices")
_devices.choice(
    "strategy",
    "mirrored",
    limits.STRATEGIES,
    "Replicas: also one_device or multi_worker. mirrored has one on each GPU, or on each "
    "logical CPU without one; multi_worker is mirrored over several machines.",
)
_devices.choice(
    "cluster",
    "tf_config",
    cluster.CLUSTERS,
    "Who lists workers: tf_config or slurm. tf_config is the environment variable TF_CONFIG; "
    "slurm takes the tasks of a job step, which srun starts.",
)
_devices.whole(
    "logical_cpus",
    1,
    "Parts of the CPU, a replica on each. It is for machines without a GPU.",
    1,
    64,
)
_devices.switch("sync_batch_norm", False, "Take batch statistics over all replicas.")
