r"""Removes whole channels of a trained network, which makes it smaller and faster on any machine.

    python -m resnet_keras.prune --model=resnet56 --weights=digits --share=0.3 \
        --out=pruned.safetensors
    python -m resnet_keras.train --model=resnet56 --weights=pruned.safetensors --dataset=digits \
        --image_size=16 --batch_size=64 --train_steps=300 --learning_rate=0.02 --schedule=cosine

Of each block a share of the channels between its convolutions goes, the weakest ones. The network
errs more than before until it is trained on, as any other with --weights. What --out names is read
by every command that takes --weights.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from . import processes, zoo
from .commands import shared_flags, shell
from .commands.definitions import Group, new_flags
from .deployment import pruning
from .errors import InputError
from .files import make_folder

FLAGS = new_flags()
shared_flags.define_model_flags(FLAGS, None)
_pruning = Group(FLAGS, "Pruning")
_pruning.number(
    "share", None, "Share of inner channels to remove. For instance 0.3, of each block."
)
_pruning.choice(
    "by",
    "l1",
    sorted(pruning.CRITERIA),
    "Which channels go: gamma or l1. l1 are those whose filters have the least absolute sum, gamma "
    "those that batch normalization makes smallest.",
)
_pruning.path("out", "Weights file to write, NAME.safetensors.")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    return shell.run(_main, FLAGS, argv, __doc__)


def _main() -> None:
    path = _check_flags()
    network, file = zoo.weights.find(FLAGS.model, FLAGS.weights, FLAGS.weights_dir)
    if file is None:
        raise InputError("Give --weights=TAG or --weights=FILE: only trained channels tell.")
    pruning.check_network(network)
    if path.exists() and path.samefile(file.path):
        raise InputError(f"--out={path} has the weights that are to be pruned: name another file.")
    make_folder(path.parent)
    weights = f" {FLAGS.weights}" if FLAGS.weights else ""
    shell.announce(f"pruning {FLAGS.model}{weights}", file=sys.stderr)
    shell.start_keras()
    model = zoo.build(network, file)
    smaller = pruning.prune(model, FLAGS.share, by=FLAGS.by)
    zoo.weights.save(
        path,
        smaller,
        training={**file.training, "pruned": FLAGS.share},
        preprocessing=None if file.assumed else file.preprocessing,
        class_names=file.class_names,
    )
    print(_told(model, smaller))
    print(f"{path}: train it on with --model={network.name} --weights={path}")


def _check_flags() -> Path:
    """The file to write; needs no Keras."""
    if FLAGS.model is None:
        raise InputError("Give --model=NAME --weights=TAG, or --model=FOLDER that zoo.save wrote.")
    if FLAGS.share is None:
        raise InputError("Give --share, of each block's inner channels that go, such as 0.3.")
    pruning.check(FLAGS.share, FLAGS.by)
    if FLAGS.out is None or not FLAGS.out.endswith(".safetensors"):
        raise InputError("Give --out=NAME.safetensors, the file of the smaller network's weights.")
    return Path(FLAGS.out)


def _told(model, smaller):
    """A line for parameters and one for multiply-adds, before and after."""
    from .networks.counts import count_multiply_adds, count_parameters

    counts = {"parameters": count_parameters}
    if None not in model.input_shape[1:]:
        counts["multiply-adds"] = count_multiply_adds
    lines = []
    for name, count in counts.items():
        before, after = count(model), count(smaller)
        share = 100 * (after - before) / before
        lines.append(f"  {name:<14}{before:>16,} -> {after:>14,}  ({share:+.1f} %)")
    return "\n".join(lines)


if __name__ == "__main__":
    processes.leave(main())
