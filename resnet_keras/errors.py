"""The errors that a user can cause, each one sentence that names the fix."""

import difflib
import importlib
import re
import types
from collections.abc import Iterable

# What a TensorFlow graph has to say to the user stands between these in its error's message.
MARKS = ("<resnet_keras: ", " :resnet_keras>")

# What other projects call what is called otherwise here.
_SYNONYMS = {
    "pretrained": ("weights",),
    "weight": ("weights",),
    "classes": ("num_classes",),
    "n_classes": ("num_classes",),
    "nb_classes": ("num_classes",),
    "input_size": ("input_shape", "image_size"),
    "img_size": ("image_size", "input_shape"),
    "global_pool": ("pooling",),
    "drop_rate": ("dropout",),
    "drop_path_rate": ("stochastic_depth",),
    "precision": ("dtype",),
    "lr": ("learning_rate",),
    "color_jitter": ("colour_jitter",),
    "random_erase": ("random_erasing",),
    "mnist": ("tfds/mnist",),
}


class InputError(ValueError):
    """A mistake in what the user gave: a name, flag, file, shape or value.

    The command lines print its message without a traceback and exit with status 2.
    """


class MissingExtraError(InputError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


def unknown(kind: str, given: object, choices: Iterable[object]) -> InputError:
    """Returns the error for a name that is none of `choices`; the nearest one is said first."""
    choices = [str(choice) for choice in choices]
    return InputError(
        f"Unknown {kind} {given!r}.{hint(given, choices)} Choose one of {', '.join(choices)}."
    )


def hint(given: object, choices: Iterable[str]) -> str:
    """Returns " Did you mean 'NAME'?" for the choice that is nearest, or ""."""
    choices = list(choices)
    name = str(given)
    near = [other for other in _SYNONYMS.get(name.lower(), ()) if other in choices]
    near += difflib.get_close_matches(name, choices, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def require(module: str, extra: str | None) -> types.ModuleType:
    """Imports an optional module, or raises `MissingExtraError`, which names its extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != missing:
            raise  # the package is there and broken: that is not the user's missing extra
        wanted = f"'resnet_keras[{extra}]'" if extra else missing
        raise MissingExtraError(
            f"This needs the package {missing!r}, which is not installed: pip install {wanted}."
        ) from error


def told(error: BaseException) -> InputError | None:
    """Returns the user's error that a TensorFlow error tells between `MARKS`, if it does."""
    start, end = map(re.escape, MARKS)
    match = re.search(f"{start}(.*?){end}", str(error), re.DOTALL)
    return InputError(match.group(1)) if match else None
