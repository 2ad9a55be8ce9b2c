"""Times a network, or the input pipeline, against named peers, side by side in one run.

    python -m resnet_keras.benchmark train --model=resnet50 --batch_size=32 --dtype=mixed_bfloat16
    python -m resnet_keras.benchmark train --model=resnet1202 --image_size=32 --peer=none --remat
    python -m resnet_keras.benchmark predict --peer=keras.applications,torch,onnxruntime,openvino
    python -m resnet_keras.benchmark load --model=resnet50
    python -m resnet_keras.benchmark input

`train` times training steps, `predict` inference, `build` the construction of the model, `load`
that and the loading of its weights from a local file (ours safetensors, the peer's .weights.h5).
Peers are keras.applications; torch, with torchvision's network, eager and compiled; onnxruntime and
openvino (predict only, with torch); and `untuned`, this package without the settings of its
commands. Each runs in a process of its own, as its users run it, on all cores. A network
that a peer has not is timed without it.

`input` times the input pipeline of training on one thread, on JPEGs that it makes itself.

The contestants take turns, round by round, so that a machine whose speed drifts treats all alike;
the figures are medians over rounds, in wall time and in CPU time, and the ratio is the median of
the rounds' ratios. Works on every Keras backend, but for `input` and --remat, which are
TensorFlow's.
"""

import json
import sys
from collections.abc import Sequence

from absl import flags

from . import zoo
from .benchmarks import networks
from .commands import shared_flags, shell
from .errors import InputError

FLAGS = shared_flags.new_flags()
TASKS = (*networks.MODEL_TASKS, "input")

flags.DEFINE_integer("rounds", 5, "Rounds of each.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Images in a batch.", 1, flag_values=FLAGS)
flags.DEFINE_bool("json", False, "Print the result as JSON.", flag_values=FLAGS)
# Of the tasks but input:
flags.DEFINE_string("model", "resnet50", "Zoo network (not for input).", flag_values=FLAGS)
flags.DEFINE_list(
    "peer",
    ["keras.applications"],
    f"Whom to compare with, some of {', '.join(networks.PEERS)}, or none (input: see --peers).",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "image_size", 224, "Side of the images in pixels (not for input).", 1, flag_values=FLAGS
)
flags.DEFINE_enum(
    "dtype",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Precision of the layers (not for input).",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "steps",
    3,
    "Batches in a round (build and load: always one model; input: see --images).",
    1,
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "jit_compile",
    None,
    "XLA; without the flag, what Keras chooses (not for input).",
    flag_values=FLAGS,
)
# Of train:
flags.DEFINE_bool(
    "remat",
    False,
    "Keep each block's input only, and compute the block again for its gradient (train only; the "
    "peer does not).",
    flag_values=FLAGS,
)
# Of input:
flags.DEFINE_list(
    "peers",
    ["decode", "tf.data", "pillow", "opencv"],
    "Whom to compare with (input only); pillow and opencv need the extra benchmark.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("files", 64, "JPEGs that are made (input only).", 1, flag_values=FLAGS)
flags.DEFINE_integer(
    "images", 512, "Images in a round, in whole batches (input only).", 1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "memory_images",
    0,
    "Images over which our pipeline's resident memory is watched (input only); 0: it is not.",
    0,
    flag_values=FLAGS,
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    task, rest = shell.split_task(argv)
    return shell.run(lambda: _main(task), FLAGS, rest, __doc__)


def _main(task: str | None) -> None:
    if task not in TASKS:
        raise InputError(f"Name what to time first: one of {', '.join(TASKS)}.")
    if FLAGS.remat and task != "train":
        raise InputError(f"--remat changes training only, and not {task}: leave it out.")
    if task == "input":
        _input()
        return
    zoo.networks.find(FLAGS.model)
    result = networks.compare(
        task,
        FLAGS.model,
        peers=[peer for peer in FLAGS.peer if peer != "none"],
        batch_size=FLAGS.batch_size,
        image_size=FLAGS.image_size,
        dtype=FLAGS.dtype,
        steps=FLAGS.steps,
        rounds=FLAGS.rounds,
        jit_compile="auto" if FLAGS.jit_compile is None else FLAGS.jit_compile,
        remat=FLAGS.remat,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else networks.report(result))


def _input() -> None:
    shell.start_tensorflow()
    from .benchmarks import input as input_benchmark

    result = input_benchmark.compare(
        files=FLAGS.files,
        images=FLAGS.images,
        rounds=FLAGS.rounds,
        batch_size=FLAGS.batch_size,
        peers=FLAGS.peers,
        memory_images=FLAGS.memory_images,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else input_benchmark.report(result))


if __name__ == "__main__":
    sys.exit(main())
