"""Loads what is in a weights file into a network, all of it or nothing."""

from resnet_keras.errors import InputError

from . import layouts
from .file import WeightsFile


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
    if weights.layout in (layouts.TORCH, layouts.KERAS_APPLICATIONS):
        # The model's normalization was built with theirs, which is not in the file.
        wanted = {n: v for n, v in wanted.items() if not n.startswith("normalization/")}
    missing = sorted(wanted.keys() - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the model lacks"
        raise InputError(
            f"{weights.path} does not fit {model.name}: it {what} "
            f"({len(missing)} missing, {len(extra)} left over)."
        )
    for name, variable in wanted.items():
        if tuple(variable.shape) != given[name].shape:
            raise InputError(
                f"{weights.path} does not fit {model.name}: {name} has shape "
                f"{given[name].shape} in the file and {tuple(variable.shape)} in the model."
            )
    for name in wanted:  # once to check, so that a broken tensor leaves the model as it was
        given[name].read()
    for name, variable in wanted.items():
        variable.assign(given[name].read())
