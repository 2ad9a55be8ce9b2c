"""Loads what is in a weights file into a network, all of it or nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnet_keras.errors import InputError

from . import formats, layouts
from .file import WeightsFile

if TYPE_CHECKING:
    import keras


def assign(model, weights: WeightsFile, *, skip: tuple[str, ...] = ()) -> None:
    """Loads a file's tensors into a model's weights, all of them or none.

    Args:
        model: a `keras.Model`.
        weights: from `weights.read`.
        skip: layers that keep their own values, whatever the file holds for them.

    Raises:
        InputError: a tensor is missing, left over, of another shape, or not finite.
    """

    def skipped(name):
        return name.split("/", 1)[0] in skip

    tensors = weights.tensors
    if layouts.numbered(tensors):
        tensors = layouts.keras_variables(tensors, model)
    elif weights.layout == layouts.KERAS:
        tensors = layouts.by_index(tensors, model)
    wanted = {v.path: v for v in model.weights if not skipped(v.path)}
    given = {name: t for name, t in tensors.items() if not skipped(name)}
    if weights.layout in (layouts.TORCH, layouts.KERAS_APPLICATIONS, layouts.KERAS_HUB):
        # The model's normalization was built with theirs, which is not in the file.
        wanted = {n: v for n, v in wanted.items() if not n.startswith("normalization/")}
    fill(weights.path, model.name, wanted, given)


def fill(
    path: object,
    name: str,
    wanted: Mapping[str, "keras.Variable"],
    given: Mapping[str, formats.Tensor],
) -> None:
    """Sets variables to the tensors of the same names, all of them or none.

    Args:
        path: of the file, for messages.
        name: of the model, for messages.
        wanted: variables by name.
        given: tensors by name.

    Raises:
        InputError: as `assign`.
    """
    missing = sorted(wanted.keys() - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the model lacks"
        raise InputError(
            f"{path} does not fit {name}: it {what} "
            f"({len(missing)} missing, {len(extra)} left over)."
        )
    for key, variable in wanted.items():
        if tuple(variable.shape) != given[key].shape:
            raise InputError(
                f"{path} does not fit {name}: {key} has shape "
                f"{given[key].shape} in the file and {tuple(variable.shape)} in the model."
            )
    for key in wanted:  # once to check, so that a broken tensor leaves the model as it was
        given[key].read()
    for key, variable in wanted.items():
        variable.assign(given[key].read())
