"""Whether a run may be made longer: so that it ends as if it had been begun with more steps."""

import json
from pathlib import Path

import keras

from resnet_keras.errors import InputError

from . import run_folder
from .callbacks import own_optimizer

SCHEDULE = "schedule"  # where environment.json has it


def check(folder: Path, model: keras.Model, steps: int, eval_every: int) -> None:
    """Checks a run that is to be made longer.

    Args:
        folder: of the run.
        model: compiled for the longer run.
        steps: with which it was begun.
        eval_every: steps between evaluations.

    Raises:
        InputError: a run of more steps would have been another one from the begin, or there is no
            checkpoint to go on from.
    """
    weights = run_folder.last_weights(folder)
    began = run_folder.read_environment(folder / run_folder.ENVIRONMENT).get(SCHEDULE)
    reason = obstacle(folder, steps, eval_every)
    if began is not None and began != schedule(model):
        reason = "the learning rates of its steps so far depend on how many there are in all"
    if reason:
        begin = f", or begin another one from its weights, {weights}" if weights else ""
        raise InputError(
            f"{folder} holds a run of {steps} steps that cannot be made longer, as {reason}: leave "
            f"it at {steps} steps{begin}."
        )


def obstacle(folder: Path, steps: int, eval_every: int) -> str | None:
    """Why the files of a run allow no longer one; None where they do. Arguments as of `check`."""
    weights = run_folder.last_weights(folder)
    checkpoints = folder / run_folder.CHECKPOINTS
    if steps % eval_every and (weights or any(checkpoints.glob(f"step-{steps:08}-*"))):
        return f"a longer one has no evaluation at step {steps}, between two of eval_every"
    if weights and not any(checkpoints.glob("step-*")):
        return "its checkpoints are gone"
    return None


def schedule(model: keras.Model) -> str | None:
    """The optimizer's learning-rate schedule as JSON; None where it has none, or does not tell."""
    try:
        rate = own_optimizer(model).get_config().get("learning_rate")
    except NotImplementedError:  # a schedule without `get_config`
        return None
    return json.dumps(rate, sort_keys=True, default=str) if isinstance(rate, dict) else None
