"""Flags that commands share, and their values as arguments of what lies below.

Each command keeps its flags in an `absl.flags.FlagValues` of its own, so that importing two
commands into one process does not collide, and `--help` needs no TensorFlow.
"""

import os
import re
import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from absl import flags

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.facts import INTERPOLATIONS

if TYPE_CHECKING:
    from resnet_keras.pipelines import View

HOLD_OUT = (
    "Without one, hold out a share of train, in quotes for the shell: "
    "'--train_split=train[:90%]' '--eval_split=train[90%:]' (of evaluate and preview "
    "'--split=train[90%:]')."
)


def new_flags() -> flags.FlagValues:
    """Returns an empty set of flags with --help and --flagfile."""
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    define_path(values, "flagfile", "Read flags from this file; later flags win.")
    return values


def define_path(values: flags.FlagValues, name: str, help: str, default: str | None = None) -> None:
    """Defines a flag that takes the path of a file or folder, with ~ for the user's own folder.

    The shell leaves --flag=~/path as it is, for it expands a ~ only where a word begins.
    """
    flags.DEFINE(_PathParser(), name, default, help, values, flags.ArgumentSerializer())


def define_paths(
    values: flags.FlagValues, name: str, help: str, default: Sequence[str] = ()
) -> None:
    """Defines a flag that takes a list of paths, or of NAME=PATH; see `define_path`."""
    serializer = flags.CsvListSerializer(",")
    flags.DEFINE(_PathsParser(), name, list(default), help, values, serializer)


class _PathParser(flags.ArgumentParser):
    def parse(self, argument):
        return os.path.expanduser(argument)


class _PathsParser(flags.ListParser):
    def parse(self, argument):
        return [_expanded(item) for item in super().parse(argument)]


def _expanded(item):
    name, given, path = item.partition("=")
    return f"{os.path.expanduser(name)}{given}{os.path.expanduser(path)}"


def define_model_flags(values: flags.FlagValues, model: str | None) -> None:
    """Defines --model, by default `model`, --weights and --weights_dir."""
    define_path(values, "model", "Zoo network, or a folder that zoo.save wrote.", model)
    define_path(values, "weights", "Registered tag such as imagenet or digits, or a weights file.")
    define_path(
        values,
        "weights_dir",
        "Folder with files of registered weights, for machines without network.",
    )


def find_classifier(
    model: str, weights: str | None, weights_dir: str | None
) -> "tuple[zoo.networks.Network, zoo.weights.WeightsFile]":
    """`zoo.weights.find` for a network that answers to RGB images with classes."""
    network, file = zoo.weights.find(model, weights, weights_dir)
    if file is None:
        raise InputError(
            "Give --weights=TAG or --weights=FILE, or as --model a folder that zoo.save wrote; an "
            "untrained network answers at random."
        )
    if file.headless:
        raise InputError(f"{file.path} has no head, but features: name weights that classify.")
    mean = {**file.defaults, **file.options}["mean"]
    channels = getattr(mean, "shape", (len(mean),))[-1]
    if channels != 3:
        raise InputError(f"{file.path} takes images of {channels} channel(s), and these are RGB.")
    return network, file


def define_crop_flags(values: flags.FlagValues) -> None:
    """Defines --resize, --interpolation and --crop, for `preprocessing_of`."""
    flags.DEFINE_integer(
        "resize",
        None,
        "Shorter side before crops, in pixels, or both sides with --crop=stretch; the weights' own "
        "without.",
        1,
        zoo.entries.MAX_SIDE,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "interpolation",
        None,
        list(INTERPOLATIONS),
        "Of resizing; the weights' own without.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "crop",
        None,
        list(zoo.entries.CROP_MODES),
        "centre takes the middle of the resized image; stretch shows all of it, made square as "
        "Keras's image_dataset_from_directory does it. The weights' own without.",
        flag_values=values,
    )


def preprocessing_of(
    values: flags.FlagValues, file: "zoo.weights.WeightsFile"
) -> zoo.Preprocessing:
    """How images are shown to a network: as its weights say, unless flags say otherwise.

    Where neither says it, a warning tells what is assumed.
    """
    own = file.shown(values["image_size"].value)
    resize, interpolation, crop = (values[n].value for n in ("resize", "interpolation", "crop"))
    if file.assumed and not (resize or interpolation or crop):
        warnings.warn(
            f"{file.path} {file.assumed}: assumed {own}; say otherwise with --image_size, "
            "--resize, --interpolation and --crop.",
            stacklevel=2,
        )
    if crop == "stretch" and own.crop_mode != "stretch":
        own = zoo.Preprocessing.stretched(own.image_size, own.interpolation)
    elif crop and crop != own.crop_mode:
        own = zoo.Preprocessing(own.image_size, own.resize, own.interpolation)
    shown = own._replace(
        resize=resize or own.resize, interpolation=interpolation or own.interpolation
    )
    if shown.resize < shown.image_size:
        raise InputError(
            f"Crops of side {shown.image_size} (--image_size) do not fit a shorter side of "
            f"{shown.resize} (--resize)."
        )
    return shown


def define_data_flags(values: flags.FlagValues, dataset: str | None) -> None:
    """Defines --dataset, by default `dataset`, --data_dir, --image_size and --exif_orientation."""
    flags.DEFINE_string(
        "dataset",
        dataset,
        "digits, cifar10, cifar100, imagenet2012, tfds/NAME for any classification data set of "
        "TensorFlow Datasets, or folder for DATA_DIR/train/CLASS/ and DATA_DIR/val/CLASS/, or for "
        "DATA_DIR/CLASS/, of which 20 % are val.",
        flag_values=values,
    )
    define_path(
        values,
        "data_dir",
        "The folder of --dataset=folder, or where TensorFlow Datasets keeps its files.",
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Side in pixels (not for CIFAR); 32 for digits and 224 for photographs without.",
        1,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "exif_orientation",
        None,
        "Turn photographs upright as EXIF says. Without the flag, those of --dataset=folder are, "
        "and published data sets are left as they were always used.",
        flag_values=values,
    )


def define_split_flag(
    values: flags.FlagValues, name: str, help: str, default: str | None = None
) -> None:
    """Defines a flag that takes a split or a share of one."""
    flags.DEFINE(
        _SplitParser(),
        name,
        default,
        f"{help} A share is 'train[:90%]' or 'train[5000:]', in quotes for the shell.",
        flag_values=values,
        serializer=flags.ArgumentSerializer(),
    )


class _SplitParser(flags.ArgumentParser):
    """Refuses what is no split; whether there is such a one, the data set tells."""

    def parse(self, argument):
        from resnet_keras.pipelines import splits

        return str(splits.parse(argument))


def define_view_flags(values: flags.FlagValues) -> None:
    """Defines a flag for each field of `pipelines.View` but its size; the paper's by default."""

    def number(name, default, help, high=None):
        flags.DEFINE_float(name, default, help, 0, high, flag_values=values)

    flags.DEFINE_list(
        "scales",
        None,
        "Photographs: the shorter side is drawn from this range before the crop (Sec. 3.4). "
        "Without, 256,480 for crops of 224 pixels and in proportion for others.",
        flag_values=values,
    )
    number("min_area", 0, "Instead, crop between this share of the image and all of it.", 1)
    flags.DEFINE_bool("flip", True, "Mirror half of the photographs.", flag_values=values)
    number("pca_noise", 0.1, "Colour noise along ImageNet's principal components (Sec. 3.4).")
    number("colour_jitter", 0, "Change of brightness, contrast and saturation, at most.", 1)
    number("rand_augment", 0, "Strength of Keras's RandAugment; milliseconds for an image.", 1)
    number("random_erasing", 0, "Share of photographs from which a rectangle is erased.", 1)
    number("mixup", 0, "Alpha of mixup.")
    number("cutmix", 0, "Alpha of cutmix.")


def view_of(values: flags.FlagValues, *, in_memory: bool) -> "View | None":
    """Returns the view for a data set, None for one in memory, which takes no flags of views."""
    from resnet_keras.pipelines import View

    described = view(values)
    if not in_memory:
        return described
    if described != View():
        raise InputError(
            f"{values['dataset'].value} has its own augmentation: --scales, --mixup and the other "
            "flags of views are for photographs."
        )
    return None


def view(values: flags.FlagValues) -> "View":
    """Returns the training view that the flags of `define_view_flags` describe."""
    from resnet_keras.pipelines import View

    names = set(View._fields) - {"image_size", "scales"}
    given = {name: values[name].value for name in names}
    if values["scales"].value is None:
        return View(**given)
    scales = whole_numbers("scales", values["scales"].value)
    if len(scales) != 2:
        raise InputError(f"--scales are two whole numbers such as 256,480, not {len(scales)}.")
    return View(scales=(scales[0], scales[1]), **given)


def whole_numbers(flag: str, texts: Sequence[str]) -> list[int]:
    """Reads a list flag of whole numbers."""
    try:
        return [int(text) for text in texts]
    except ValueError:
        raise InputError(
            f"--{flag} is a list of whole numbers such as 256,480, not {','.join(texts)}."
        ) from None


def parse(values: flags.FlagValues, argv: Sequence[str], positional: bool = False) -> list[str]:
    """Sets the flags from a command's arguments, its name first; returns those that are no flags.

    Raises:
        InputError, flags.Error: they cannot be understood.
    """
    for flag in all_flags(values):
        flag.unparse()  # a second call in one process starts from the defaults again
    recipes = _named_recipes(argv)
    # The packaged files come before the other flags, which win. absl reads --flagfile itself.
    files = [f"--flagfile={zoo.recipes.path(name)}" for name in recipes]
    try:
        rest = values([argv[0], *files, *argv[1:]])[1:]
    except UnicodeDecodeError as error:
        raise InputError(f"The flagfile is no text: {error}.") from error
    if rest and not positional:
        raise InputError(f"Unexpected argument {rest[0]!r}: flags are written --name=value.")
    if "recipe" in values and values["recipe"].value not in (None, *recipes):
        raise InputError("--recipe is for the command line; in a flagfile write --flagfile=PATH.")
    return [os.path.expanduser(argument) for argument in rest]


def _named_recipes(argv: Sequence[str]) -> list[str]:
    """The values of --recipe=NAME and --recipe NAME."""
    names = []
    for position, argument in enumerate(argv):
        if argument in ("--recipe", "-recipe"):
            names += argv[position + 1 : position + 2]
        elif argument.startswith(("--recipe=", "-recipe=")):
            names.append(argument.split("=", 1)[1])
    return names


def in_flags(values: flags.FlagValues, text: str, names: Collection[str] | None = None) -> str:
    """Says with a command's flags what the library says with arguments: name=value.

    That is --name=value, and --name or --noname for True and False. What looks like the name of a
    file or a part of another word stays.

    Args:
        values: of the command.
        text: of the library.
        names: of the arguments that it may speak of; None for any flag of the command.
    """
    from resnet_keras.pipelines import splits

    def flag(match):
        name, value = match["name"], match["value"].strip('"')
        known = name in values and (names is None or name in names)
        if not known or value == "None":  # which no flag can be given
            return match[0]
        if values[name].boolean and value in ("True", "False"):
            return f"--{name}" if value == "True" else f"--no{name}"
        return f"--{name}={value}"

    text = text.replace(splits.HOLD_OUT, HOLD_OUT)
    argument = r'(?<![^\s(])(?P<name>[a-z]\w+)=(?P<value>"[^"]*"|\w++)(?![-/\\]|\.\w)'
    return re.sub(argument, flag, text)


def all_flags(values: flags.FlagValues) -> list[flags.Flag]:
    """Returns each flag once, by name."""
    unique = {values[name].name: values[name] for name in values}  # short names come up twice
    return [unique[name] for name in sorted(unique)]
