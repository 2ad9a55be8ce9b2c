"""Flags that commands share, and their values as arguments of what lies below."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from resnet_keras import deployment, zoo
from resnet_keras.errors import InputError
from resnet_keras.facts import INTERPOLATIONS

from .definitions import Group
from .definitions import all_flags as all_flags
from .definitions import new_flags as new_flags
from .parsing import HOLD_OUT as HOLD_OUT
from .parsing import in_flags as in_flags
from .parsing import parse as parse

if TYPE_CHECKING:
    from resnet_keras.pipelines import View

# How one image is shown; nothing of it is for series.
OF_IMAGES = ("image_size", "resize", "interpolation", "crop", "exif_orientation")


def define_model_flags(values: flags.FlagValues, model: str | None) -> None:
    """Defines --model, by default `model`, --weights and --weights_dir."""
    group = Group(values, "Model")
    group.path("model", "Zoo network, or a folder of zoo.save.", model)
    group.path("weights", "Registered tag such as imagenet, or a weights file.")
    group.path(
        "weights_dir",
        "Folder with files of registered weights. For machines without network.",
    )


def find_classifier(
    model: str, weights: str | None, weights_dir: str | None
) -> "tuple[zoo.networks.Network, zoo.weights.WeightsFile]":
    """`zoo.weights.find` for a network that answers to RGB images, or series, with classes."""
    network, file = zoo.weights.find(model, weights, weights_dir)
    if file is None:
        raise InputError(
            "Give --weights=TAG or --weights=FILE, or as --model a folder that zoo.save wrote; an "
            "untrained network answers at random."
        )
    if file.headless:
        raise InputError(f"{file.path} has no head, but features: name weights that classify.")
    if network.takes_series:
        return network, file
    mean = {**file.defaults, **file.options}["mean"]
    channels = getattr(mean, "shape", (len(mean),))[-1]
    if channels != 3:
        raise InputError(f"{file.path} takes images of {channels} channel(s), and these are RGB.")
    return network, file


def define_crop_flags(values: flags.FlagValues) -> None:
    """Defines --resize, --interpolation and --crop, for `preprocessing_of`."""
    group = Group(values, "View")
    group.whole(
        "resize",
        None,
        "Shorter side in pixels before the crop. With --crop=stretch, both sides. Without the "
        "flag, as the weights say.",
        1,
        zoo.entry.MAX_SIDE,
    )
    group.choice(
        "interpolation",
        None,
        INTERPOLATIONS,
        "How images are resized: bilinear or bicubic. Without the flag, as the weights say.",
    )
    group.choice(
        "crop",
        None,
        zoo.entry.CROP_MODES,
        "What is shown of an image: centre or stretch. centre takes the middle of the resized "
        "image; stretch shows all of it, made square as Keras's image_dataset_from_directory does "
        "it. Without the flag, as the weights say.",
    )


def refuse_of_images(values: flags.FlagValues, network: str, others: Sequence[str] = ()) -> None:
    """Raises `InputError` where a network for series is given a flag that is for images.

    Args:
        values: the flags.
        network: its name.
        others: flags of the command that are for images, beside `OF_IMAGES`.
    """
    for name in (*OF_IMAGES, *others):
        if name in values and values[name].present:
            raise InputError(f"{network} takes series: leave --{name} out, it is for images.")


def preprocessing_of(
    values: flags.FlagValues, file: zoo.weights.WeightsFile | deployment.Exported
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
    group = Group(values, "Data")
    group.text(
        "dataset",
        dataset,
        "Name such as digits, folder or tfds/NAME. It is digits, cifar10, cifar100, mnist, "
        "fashion_mnist, svhn_cropped, imagenet2012, tfds/NAME for any classification data set of "
        "TensorFlow Datasets, arrays/NAME for one of small images that are held in memory, arrays "
        "for a folder with files of MNIST's form or one .npz file, or folder for "
        "DATA_DIR/train/CLASS/ and DATA_DIR/val/CLASS/, or for DATA_DIR/CLASS/, of which 20 % are "
        "val. Time series are digits_series, and ucr for a folder with NAME_TRAIN.tsv and "
        "NAME_TEST.tsv, the same as .ts, or one .npz file.",
    )
    group.path(
        "data_dir",
        "The data set's folder. That of --dataset=folder, arrays or ucr, or where TensorFlow "
        "Datasets keeps its files. mnist and its kin may be IDX files or one .npz file there.",
        local=False,  # TensorFlow Datasets reads from gs:// too
    )
    group.whole(
        "image_size",
        None,
        "Side of the images in pixels. Without the flag, 32 for digits and 224 for photographs; "
        "CIFAR's images have 32, MNIST's 28.",
        1,
    )
    group.switch(
        "exif_orientation",
        None,
        "Turn photographs upright as EXIF says. Without the flag, those of --dataset=folder are, "
        "and published data sets are left as they were always used.",
    )


def define_view_flags(values: flags.FlagValues) -> None:
    """Defines a flag for each field of `pipelines.View` but its size; the paper's by default."""
    group = Group(values, "View")
    group.items(
        "scales",
        None,
        "Range of the shorter side before the crop. It is drawn for each photograph (Sec. 3.4). "
        "Without the flag, 256,480 for crops of 224 pixels and in proportion for others.",
    )
    group.number(
        "min_area",
        0,
        "Smallest share of the image in a crop. With it, crops hold between this share of the "
        "image and all of it, instead of --scales. 0 turns it off.",
        high=1,
    )
    group.switch(
        "flip",
        True,
        "Mirror half of the images. Digits, those of MNIST and SVHN among them, never are.",
    )
    group.whole(
        "padding",
        None,
        "Pixels around small images. A crop of their size is taken at random (Sec. 4.2). Without "
        "the flag, 4 for CIFAR and other small images in memory.",
        0,
    )
    group.number(
        "pca_noise",
        0.1,
        "Strength of colour noise. It is along ImageNet's principal components (Sec. 3.4).",
    )
    group.number(
        "colour_jitter",
        0,
        "Largest change of colours. Brightness, contrast and saturation change so much at most.",
        high=1,
    )
    group.number(
        "rand_augment",
        0,
        "Strength of Keras's RandAugment. It takes milliseconds for an image.",
        high=1,
    )
    group.number(
        "random_erasing",
        0,
        "Share of images that lose a rectangle. It is filled with noise.",
        high=1,
    )
    group.number("mixup", 0, "Alpha of mixup. 0 turns it off.")
    group.number("cutmix", 0, "Alpha of cutmix. 0 turns it off.", high=1)


def view_of(values: flags.FlagValues, *, in_memory: bool) -> "View | None":
    """Returns the view for a data set, None for one in memory, which takes no flags of views."""
    from resnet_keras.pipelines import View, check_images

    described = view(values)
    if not in_memory:
        return described
    if described._replace(flip=True) != View():
        check_images(values["dataset"].value, "--scales, --mixup and the other flags of views")
        raise InputError(
            f"{values['dataset'].value} has its own augmentation: --scales, --mixup and the other "
            "flags of views are for photographs."
        )
    return None


def small_view_of(values: flags.FlagValues, *, in_memory: bool) -> dict[str, Any]:
    """`padding` and `flip` of `pipelines.training` for images in memory; nothing for others."""
    if not in_memory:
        return {}
    # What is not refused is left to the data set.
    return {"padding": values["padding"].value, "flip": None if values["flip"].value else False}


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


def scale_of(values: flags.FlagValues) -> tuple[int, int] | None:
    """The sides of --scale, of images that keep their shape; None without."""
    sides = whole_numbers("scale", values["scale"].value)
    if not sides:
        return None
    if len(sides) != 2 or not 0 < sides[0] <= sides[1]:
        raise InputError(
            f"--scale is the shorter side and the most of the longer one, such as 600,1000, not "
            f"{','.join(map(str, sides))}."
        )
    return sides[0], sides[1]
