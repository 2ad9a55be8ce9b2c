"""What a trained network does without some of its blocks (Veit, Wilber and Belongie 2016).

*Residual Networks Behave Like Ensembles of Relatively Shallow Networks*, arXiv 1605.06431, Sec. 4.1
and 4.2: of a residual network any block can be deleted and the error hardly changes, but where the
features change their size; of a plain one nothing is left. A deleted residual block is its shortcut
only. Of a plain network only blocks that keep the size of their features can be deleted.
"""

import contextlib
import json
import random
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE = "lesion.json"
COUNTS = (2, 3, 5, 8, 10, 15, 20)  # of blocks that are deleted at a time
DRAWS = 10  # of each
_BLOCK = re.compile(r"(conv\d+_block\d+)_out")


class Block(NamedTuple):
    """A block of a network.

    Attributes:
        name: such as "conv2_block1".
        network: it alone, from its input to its output.
        branch: the variables of its residual branch that make it 0 where they are; none of a block
            without a shortcut.
        deletable: whether what follows it can go on without it.
        grows: whether its features are of another size than its input.
    """

    name: str
    network: "keras.Model"
    branch: Sequence["keras.Variable"]
    deletable: bool
    grows: bool


class Parts(NamedTuple):
    """A network in parts: what is before the first block, the blocks, what is behind the last."""

    stem: "keras.Model"
    blocks: Sequence[Block]
    head: "keras.Model"


def parts(model: "keras.Model") -> Parts:
    """Takes a network of `zoo.get` apart; the parts share its weights.

    Raises:
        InputError: it has no blocks that can be deleted, each with one input and one output.
    """
    import keras

    names = [match[1] for layer in model.layers if (match := _BLOCK.fullmatch(layer.name))]
    if not names:
        raise InputError(f"{model.name} has no blocks.")
    ends = [model.get_layer(f"{name}_out").output for name in names]
    start = _input_of(model, names[0])
    blocks = []
    for name, before, behind in zip(names, [start, *ends[:-1]], ends, strict=True):
        branch = _branch(model, name)
        grows = before.shape != behind.shape
        try:
            network = keras.Model(before, behind, name=name)
        except ValueError as error:
            raise InputError(f"{model.name} cannot be measured without {name}: {error}") from error
        blocks.append(Block(name, network, branch, bool(branch) or not grows, grows))
    if not any(block.deletable for block in blocks):
        raise InputError(f"{model.name} has no block that what follows could go on without.")
    stem = keras.Model(model.input, start, name="stem")
    return Parts(stem, blocks, keras.Model(ends[-1], model.output, name="head"))


def _input_of(model, name):
    """The tensor that a block sees, by the way of its shortcut if it has one."""
    tensor = model.get_layer(f"{name}_out").output
    while (layer := tensor._keras_history.operation).name.startswith(f"{name}_"):
        tensor = layer._inbound_nodes[0].input_tensors[0]  # later nodes are other models'
    return tensor


def _branch(model, name):
    """The last variables of a block's residual branch, at 0 of which the branch is 0."""
    import keras

    own = {f"{name}_add", f"{name}_out"}  # of pre-activation blocks the output itself
    sums = [n for n in model.layers if n.name in own and isinstance(n, keras.layers.Add)]
    if not sums:
        return ()
    # The shortcut comes first, see `blocks.add_relu`.
    layer = sums[0]._inbound_nodes[0].input_tensors[1]._keras_history.operation
    while not layer.weights:  # what scales or drops the branch
        layer = layer._inbound_nodes[0].input_tensors[0]._keras_history.operation
    names = ("gamma", "beta") if hasattr(layer, "gamma") else ("kernel", "bias")
    return tuple(v for name in names if (v := getattr(layer, name, None)) is not None)


@contextlib.contextmanager
def _at_zero(variables: "Sequence[keras.Variable]") -> Iterator[None]:
    from keras import ops

    kept = [ops.convert_to_numpy(variable) for variable in variables]
    for variable, values in zip(variables, kept, strict=True):
        variable.assign(0 * values)
    try:
        yield
    finally:
        for variable, values in zip(variables, kept, strict=True):
            variable.assign(values)


def of_run(
    model: "keras.Model", batches: "Iterable[tuple[np.ndarray, np.ndarray]]"
) -> dict[str, Any]:
    """Measures a network without each of its blocks, and without several of them.

    Args:
        model: of `zoo.get`, trained.
        batches: (pixels, labels) of an evaluation.

    Returns:
        "examples"; "error" of the whole network, a share; "single", for each block's name the error
        without it, None where it cannot be deleted; "grows", the blocks that change the features'
        size; "several", for each number of deleted blocks as text the errors of `DRAWS` choices.
    """
    import numpy as np

    whole = parts(model)
    names = [block.name for block in whole.blocks if block.deletable]
    chosen = {count: _choices(names, count) for count in COUNTS if count < len(names)}
    examples, wrong = 0, 0
    single = dict.fromkeys(names, 0)
    several = {count: [0] * DRAWS for count in chosen}
    for images, labels in batches:
        examples += len(labels)
        features = [np.asarray(whole.stem.predict_on_batch(images))]
        for block in whole.blocks:
            features.append(np.asarray(block.network.predict_on_batch(features[-1])))
        wrong += _wrong(whole.head, features[-1], labels)
        for place, block in enumerate(whole.blocks):
            if block.deletable:
                left = _run(whole.blocks[place:], features[place], {block.name})
                single[block.name] += _wrong(whole.head, left, labels)
        for count, sets in chosen.items():
            for draw, deleted in enumerate(sets):
                left = _run(whole.blocks, features[0], deleted)
                several[count][draw] += _wrong(whole.head, left, labels)
    return {
        "examples": examples,
        "error": wrong / examples,
        "single": {
            b.name: single[b.name] / examples if b.deletable else None for b in whole.blocks
        },
        "grows": [block.name for block in whole.blocks if block.grows],
        "several": {str(n): [count / examples for count in own] for n, own in several.items()},
    }


def _choices(names, count):
    """The same for each network of as many blocks."""
    draws = random.Random(count)
    return [frozenset(draws.sample(names, count)) for _ in range(DRAWS)]


def _run(blocks: Sequence[Block], features: "np.ndarray", deleted) -> "np.ndarray":
    """The features behind blocks, of which some are deleted."""
    import numpy as np

    for block in blocks:
        if block.name not in deleted:
            features = np.asarray(block.network.predict_on_batch(features))
        elif block.branch:
            with _at_zero(block.branch):
                features = np.asarray(block.network.predict_on_batch(features))
    return features


def _wrong(head, features, labels):
    import numpy as np

    logits = np.asarray(head.predict_on_batch(features))
    return int((logits.argmax(-1) != labels).sum())


def in_words(result: dict[str, Any]) -> str:
    """What is printed of a run."""
    single = errors(result)
    middle, worst = statistics.median(single), max(single)
    return (
        f"error {100 * result['error']:.2f} %, without one block {100 * middle:.2f} % (median), "
        f"at worst {100 * worst:.2f} %"
    )


def errors(result: dict[str, Any]) -> list[float]:
    """The errors without one block, as shares, of those that can be deleted, in their order."""
    return [error for error in result["single"].values() if error is not None]


def read(folder: Path) -> dict[str, Any] | None:
    """Reads what `measuring` wrote about a run, if it did.

    Raises:
        InputError: the file is no such thing.
    """
    try:
        result = json.loads((folder / FILE).read_text())
        _ = float(result["error"]), max(errors(result)), [*map(max, result["several"].values())]
        return result
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{folder / FILE} cannot be used: remove it ({error}).") from error
