"""The errors that a user can cause, each one sentence that names the fix."""

import difflib
import importlib
import importlib.util
import re
import types
from collections.abc import Iterable, Mapping

# What a TensorFlow graph has to say to the user stands between these in its error's message.
MARKS = ("<resnet_keras: ", " :resnet_keras>")

# What other projects call what is called otherwise here; of several, those that are there count.
_SYNONYMS = {
    "10crop": ("ten_crop",),
    "accumulation_steps": ("accumulate_steps",),
    "amp": ("dtype",),
    "arch": ("model",),
    "architecture": ("model",),
    "batch": ("batch_size",),
    "bf16": ("mixed_bfloat16",),
    "bfloat16": ("mixed_bfloat16",),
    "bs": ("batch_size",),
    "checkpoint": ("weights",),
    "classes": ("num_classes",),
    "clip_grad": ("clip_norm",),
    "clip_grad_norm": ("clip_norm",),
    "color_jitter": ("colour_jitter",),
    "config": ("flagfile",),
    "data": ("dataset",),
    "data_path": ("data_dir",),
    "drop_path": ("stochastic_depth",),
    "drop_path_rate": ("stochastic_depth",),
    "drop_rate": ("dropout",),
    "epochs": ("train_steps", "steps"),
    "float16": ("mixed_float16",),
    "fp16": ("dtype", "mixed_float16"),
    "gamma": ("decay_factor",),
    "global_pool": ("pooling",),
    "gpus": ("gpus_per_worker", "strategy"),
    "gradient_accumulation_steps": ("accumulate_steps",),
    "horizontal_flip": ("flip",),
    "img_size": ("image_size", "input_shape"),
    "input_size": ("input_shape", "image_size"),
    "iterations": ("train_steps", "steps"),
    "jit": ("jit_compile",),
    "label_smooth": ("label_smoothing",),
    "log_dir": ("workdir", "out"),
    "logdir": ("workdir", "out"),
    "lr": ("learning_rate",),
    "lr_decay": ("decay_factor",),
    "max_steps": ("train_steps", "steps"),
    "milestones": ("boundaries",),
    "mixed_precision": ("dtype",),
    "model_dir": ("workdir",),
    "model_ema": ("ema",),
    "n_classes": ("num_classes",),
    "nb_classes": ("num_classes",),
    "network": ("model",),
    "num_epochs": ("train_steps", "steps"),
    "num_steps": ("train_steps", "steps"),
    "num_workers": ("threads",),
    "output": ("out", "workdir", "results"),
    "output_dir": ("workdir", "out"),
    "path": ("data_dir",),
    "precision": ("dtype",),
    "pretrained": ("weights",),
    "random_erase": ("random_erasing",),
    "resolution": ("image_size",),
    "resume": ("workdir",),
    "save_dir": ("workdir", "out"),
    "size": ("image_size",),
    "smoothing": ("label_smoothing",),
    "split": ("eval_split",),
    "steps": ("train_steps",),
    "sync_bn": ("sync_batch_norm",),
    "val_every": ("eval_every",),
    "warmup": ("warmup_steps",),
    "warmup_epochs": ("warmup_steps",),
    "wd": ("weight_decay",),
    "weight": ("weights",),
    "workers": ("threads",),
    "xla": ("jit_compile",),
}


class InputError(ValueError):
    """A mistake in what the user gave: a name, flag, file, shape or value.

    The command lines print its message without a traceback and exit with status 2.
    """


class MissingExtraError(InputError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


def unknown(
    kind: str, given: object, choices: Iterable[object], also: Mapping[str, str] | None = None
) -> InputError:
    """Returns the error for a name that is none of `choices`; the nearest one is said first.

    Args:
        kind: what it should name.
        given: the name.
        choices: those that there are.
        also: see `hint`.
    """
    choices = [str(choice) for choice in choices]
    near = hint(given, choices, also)
    return InputError(f"Unknown {kind} {given!r}.{near} Choose one of {', '.join(choices)}.")


def hint(given: object, choices: Iterable[str], also: Mapping[str, str] | None = None) -> str:
    """Returns " Did you mean 'NAME'?" for the choice that is nearest, or "".

    Args:
        given: a name that is none of them.
        choices: those that there are.
        also: other names, and what each of them is called here.
    """
    names = {**{choice.lower(): choice for choice in choices}, **(also or {})}
    name = str(given).lower()
    synonyms = [other for other in _SYNONYMS.get(name, ()) if other in names]
    near = [name] if name in names else synonyms
    near += difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


def require(module: str, extra: str | None) -> types.ModuleType:
    """Imports an optional module, or raises `MissingExtraError`, which names its extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != missing:
            raise  # the package is there and broken: that is not the user's missing extra
        raise _missing(missing, extra) from error


def check_installed(module: str, extra: str | None) -> None:
    """Raises what `require` would for a package that is not there, without importing it."""
    package = module.split(".")[0]
    if importlib.util.find_spec(package) is None:
        raise _missing(package, extra)


def _missing(package, extra):
    wanted = f"'resnet_keras[{extra}]'" if extra else package
    return MissingExtraError(
        f"This needs the package {package!r}, which is not installed: pip install {wanted}."
    )


def told(error: BaseException) -> InputError | None:
    """Returns the user's error that a TensorFlow error tells between `MARKS`, if it does."""
    start, end = map(re.escape, MARKS)
    match = re.search(f"{start}(.*?){end}", str(error), re.DOTALL)
    return InputError(match.group(1)) if match else None
